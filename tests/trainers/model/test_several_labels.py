import json
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoModelForSequenceClassification, pipeline

from trainers.config import DataConfig, EncoderConfig, TrainConfig
from trainers.errors import InputError
from trainers.fit import fit
from trainers.model import assemble, decisions, describe_decisions, model_card
from trainers.model.classifier import class_names, load, save
from trainers.model.decisions import check_threshold
from trainers.predict import main
from trainers.serve import application
from trainers.train import prepare

CSV = Path(__file__).parents[2] / "data" / "several_labels.csv"
TEXTS = ["I cannot sign in and the parcel has not arrived.", "The invoice shows a wrong amount.", "Hello"]


@pytest.fixture(scope="module")
def fitted(tiny_encoder_dir, tmp_path_factory):
    """A configuration, its features, what came of the fit and where the model was saved."""
    folder = tmp_path_factory.mktemp("several")
    config = TrainConfig(
        data=DataConfig(source=str(CSV), text="ticket", label_separator=";", max_length=24),
        encoder=EncoderConfig(name=str(tiny_encoder_dir)),
        freeze_depth=2,
        dropout=0.0,
        head_width=8,
        learning_rate=3e-2,
        epochs=6,
    )
    features = prepare(config, cache_directory=folder / "cache")
    result = fit(config, features)
    found = decisions(config, features, result)
    classifier = assemble(
        features.encoder,
        config,
        result,
        names=features.splits.class_names,
        temperature=found.calibration.temperature,
    )
    card = model_card(config, features, result, decisions=found)
    save(classifier, folder / "model", files={"README.md": card}, onnx=True)
    return config, features, result, folder / "model"


def test_a_prediction_has_all_labels_with_their_probabilities(fitted):
    classifier = load(fitted[3])
    for prediction, row in zip(classifier.predict(TEXTS), classifier.predict_proba(TEXTS), strict=True):
        assert prediction.probabilities == dict(zip(class_names(classifier.model), row.tolist(), strict=True))
        has = [name for name, p in prediction.probabilities.items() if p >= 0.5]
        assert set(prediction.labels) == set(has)
        assert prediction.label == ";".join(prediction.labels)
        each = [p if name in has else 1 - p for name, p in prediction.probabilities.items()]
        assert prediction.probability == pytest.approx(np.prod(each))


def test_a_saved_model_tells_transformers_its_problem_type(fitted):
    config = json.loads((fitted[3] / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"


def test_the_pipeline_of_transformers_gives_the_same_probabilities(fitted):
    classify = pipeline("text-classification", model=str(fitted[3]), trust_remote_code=True, top_k=None)
    own = load(fitted[3]).predict(TEXTS)
    for prediction, scores in zip(own, classify(TEXTS), strict=True):
        assert {s["label"]: s["score"] for s in scores} == pytest.approx(prediction.probabilities, abs=1e-5)


def test_the_loss_of_a_saved_model_is_the_binary_cross_entropy(fitted):
    model = AutoModelForSequenceClassification.from_pretrained(fitted[3], trust_remote_code=True)
    ids, labels = torch.tensor([[1, 5, 6, 2], [1, 7, 8, 2]]), torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1]])
    with torch.inference_mode():
        found = model(input_ids=ids, labels=labels)
    probabilities = found.logits.sigmoid()
    wanted = -(labels * probabilities.log() + (1 - labels) * (1 - probabilities).log()).mean()
    assert float(found.loss) == pytest.approx(float(wanted), rel=1e-5)


def test_onnx_gives_the_same_probabilities(fitted):
    import onnxruntime

    classifier = load(fitted[3])
    inputs = classifier.tokenizer(TEXTS, padding=True, return_tensors="np", return_token_type_ids=False)
    [logits] = onnxruntime.InferenceSession(fitted[3] / "model.onnx").run(None, dict(inputs))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), classifier.predict_proba(TEXTS), atol=1e-4)


def test_a_temperature_is_fitted_on_each_text_and_label(fitted):
    from scipy.optimize import minimize_scalar

    from trainers.fit import answer_validation, label_by_label
    from trainers.fit.calibration import log_loss

    config, features, result, _ = fitted
    answers = answer_validation(config, features, result)
    logits, labels = torch.from_numpy(answers.logits_NC), torch.from_numpy(answers.labels_N).double()

    def loss(temperature):
        return float(torch.nn.functional.binary_cross_entropy_with_logits(logits / temperature, labels))

    flat = label_by_label(answers)
    assert log_loss(flat.logits_NC, flat.labels_N) == pytest.approx(loss(1.0))
    best = minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x
    found = decisions(config, features, result).calibration
    assert found.temperature == pytest.approx(best, rel=0.01) or found.reason is not None
    assert found.validation.coverage == ()


def test_the_card_says_that_a_text_may_have_several_labels(fitted):
    card = (fitted[3] / "README.md").read_text()
    assert "Gives a text any of 4 labels, or none: app, billing, delivery, login." in card
    assert 'pipeline("text-classification", model="model", top_k=None)' in card
    assert "- It knows no other labels than these, and may give none." in card
    assert "| none of them |" in card
    assert "answers, one for each text and label" in card


def test_predict_prints_labels_with_their_probabilities(fitted, capsys):
    assert main([str(fitted[3]), *TEXTS, ""]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    for prediction, (labels, known, text) in zip(load(fitted[3]).predict(TEXTS), lines, strict=False):
        assert labels == prediction.label
        assert known == ";".join(f"{prediction.probabilities[name]:.4f}" for name in prediction.labels)
        assert text in TEXTS
    assert lines[-1] == ["", "", ""]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_are_written_back_with_their_labels(fitted, tmp_path, suffix):
    source, out = tmp_path / "in.csv", tmp_path / f"out{suffix}"
    source.write_text("ticket\n" + "\n".join(f'"{text}"' for text in [*TEXTS, " "]) + "\n")
    assert main([str(fitted[3]), "--file", str(source), "--column", "ticket", "--out", str(out)]) == 0
    predictions = [*(p.labels for p in load(fitted[3]).predict(TEXTS)), None]
    if suffix == ".csv":
        import csv

        with out.open(newline="") as file:
            assert [row["prediction"] for row in csv.DictReader(file)] == [
                ";".join(p or ()) for p in predictions
            ]
        return
    if suffix == ".jsonl":
        rows = [json.loads(line)["prediction"] for line in out.read_text().splitlines()]
    else:
        from pyarrow import parquet

        rows = parquet.read_table(out)["prediction"].to_pylist()
    assert rows == [None if p is None else [*p] for p in predictions]


def test_a_text_that_is_not_sure_enough_has_no_labels(fitted, capsys):
    assert main([str(fitted[3]), TEXTS[0], "--abstain-below", "1"]) == 0
    assert capsys.readouterr().out == f"\t\t{TEXTS[0]}\n"


def test_a_server_answers_with_all_labels_of_a_text(fitted):
    classifier = load(fitted[3])
    with TestClient(application(classifier)) as client:
        answered = client.post("/predict", json={"texts": [*TEXTS, "\u200b"]}).json()["predictions"]
    for answer, prediction in zip(answered, classifier.predict(TEXTS), strict=False):
        assert answer["labels"] == list(prediction.labels)
        assert answer["probability"] == pytest.approx(prediction.probability, abs=1e-6)
        assert answer["probabilities"] == pytest.approx(prediction.probabilities, abs=1e-6)
    assert answered[-1] == {"labels": None, "probability": None, "probabilities": None}


def test_a_single_positive_class_is_refused_for_several_labels():
    check_threshold("f1", None, names=("a", "b", "c"), task="several_labels")
    with pytest.raises(
        InputError,
        match="--positive must be one of two classes of which a text has one, got 'a' for texts of",
    ):
        check_threshold("f1", "a", names=("a", "b", "c"), task="several_labels")


@pytest.fixture(scope="module")
def decided(fitted, tmp_path_factory):
    """What --threshold f2 chooses for the same fit, and the model that was saved with it."""
    config, features, result, _ = fitted
    found = decisions(config, features, result, aim="f2", test=True)
    classifier = assemble(
        features.encoder,
        config,
        result,
        names=features.splits.class_names,
        temperature=found.calibration.temperature,
        thresholds=found.thresholds,
    )
    card = model_card(config, features, result, decisions=found)
    folder = tmp_path_factory.mktemp("decided") / "model"
    save(classifier, folder, files={"README.md": card})
    return found, folder


@pytest.mark.parametrize("aim", ["f1", "f2", "f0.5", "balanced_accuracy"])
def test_no_other_cut_of_a_label_is_better_on_validation(fitted, aim):
    from sklearn.metrics import balanced_accuracy_score, fbeta_score

    from trainers.fit import answer_validation, sigmoid

    def by_scikit_learn(said_N, true_N):
        if aim == "balanced_accuracy":
            return balanced_accuracy_score(true_N, said_N)
        return fbeta_score(true_N, said_N, beta=float(aim[1:]), zero_division=0)

    config, features, result, _ = fitted
    found = decisions(config, features, result, aim=aim)
    answers = answer_validation(config, features, result)
    scores_NC = sigmoid(answers.logits_NC / found.calibration.temperature)
    for label, scores_N, true_N in zip(found.labels.labels, scores_NC.T, answers.labels_N.T, strict=True):
        cuts = [by_scikit_learn(scores_N >= p, true_N) for p in (0.0, 0.5, *scores_N, 1.1)]
        assert label.reason is None
        assert by_scikit_learn(scores_N >= label.probability, true_N) == pytest.approx(max(cuts))
        assert label.validation == pytest.approx((cuts[1], max(cuts)))
    assert found.labels.validation.aim == pytest.approx(
        np.mean([label.validation for label in found.labels.labels], axis=0)
    )


def test_the_metric_with_and_without_thresholds_is_scikit_learns(fitted, decided):
    from sklearn.metrics import f1_score

    from trainers.fit import answer_test, sigmoid

    config, features, result, _ = fitted
    found, _ = decided
    answers = answer_test(config, features, result)
    scores_NC = sigmoid(answers.logits_NC / found.calibration.temperature)
    thresholds_C = [label.probability for label in found.labels.labels]
    said = [scores_NC >= 0.5, scores_NC >= thresholds_C]
    assert found.labels.test.metric == pytest.approx(
        [f1_score(answers.labels_N, one, average="micro") for one in said]
    )
    assert found.labels.test.num_changed == (said[0] != said[1]).any(axis=1).sum() > 0


def test_predict_and_server_say_labels_from_their_thresholds_on(decided, capsys):
    found, folder = decided
    classifier = load(folder)
    thresholds_C = [label.probability for label in found.labels.labels]
    assert len(found.thresholds) > 1
    has_NC = classifier.predict_proba(TEXTS) >= thresholds_C
    names = np.array(class_names(classifier.model))
    expected = [set(names[has_C]) for has_C in has_NC]
    assert [set(p.labels) for p in classifier.predict(TEXTS)] == expected
    with TestClient(application(classifier)) as client:
        answered = client.post("/predict", json={"texts": TEXTS}).json()["predictions"]
    assert [set(answer["labels"]) for answer in answered] == expected
    assert main([str(folder), *TEXTS]) == 0
    lines = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert [set(line.split(";")) - {""} for line in lines] == expected


def test_thresholds_leave_probabilities_as_they_are(fitted, decided):
    assert (load(decided[1]).predict_proba(TEXTS) == load(fitted[3]).predict_proba(TEXTS)).all()


def test_the_card_says_each_threshold_and_what_they_change(decided):
    found, folder = decided
    card = (folder / "README.md").read_text()
    label = found.labels.labels[0]
    assert "**Thresholds.** Each label is said from a probability of its own on" in card
    assert (
        f"| app | {label.probability:.4f} | {100 * label.validation[0]:.2f} % → {100 * label.validation[1]:.2f} % | "
        f"{100 * label.test[0]:.2f} % → {100 * label.test[1]:.2f} % |\n"
    ) in card
    assert (
        "| label | said from | F2 on validation, 0.5 → this | F2 on the test split |\n| --- | ---: | ---: | ---: |"
        in card
    )
    for split in ("validation", "the test split"):
        assert f"On {split}, the labels' mean F2 goes from " in card


def test_a_label_that_too_few_texts_have_stays_at_one_half(fitted, monkeypatch):
    config, features, result, _ = fitted
    num_app = int(features.splits.validation.labels_N[:, 0].sum())
    monkeypatch.setattr("trainers.model.label_thresholds.FEWEST", num_app + 1)
    found = decisions(config, features, result, aim="f2")
    app = found.labels.labels[0]
    assert app.probability == 0.5
    assert app.reason == f"{num_app} validation texts have it, fewer than {num_app + 1}"
    told = list(describe_decisions(found, metric=config.metric))
    assert f"  note: 'app' stays at 0.5: {app.reason}" in told
    assert "app" not in found.thresholds
    card = model_card(config, features, result, decisions=found)
    assert f"Left at 0.5: app: {app.reason}" in card
    assert "\n| app | 0.5" not in card


def test_thresholds_of_labels_are_checked_when_a_model_is_loaded(decided, tmp_path):
    import shutil

    from trainers.encoder.files import write_checksums

    folder = tmp_path / "model"
    shutil.copytree(decided[1], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"thresholds": {"spam": 0.3}}))
    write_checksums(folder)
    with pytest.raises(
        InputError, match=r"thresholds must give labels a number from 0 to 1, got .* of 4 labels"
    ):
        load(folder)


def test_a_fit_tells_the_f1_of_each_label_as_scikit_learn_has_it(fitted):
    from sklearn.metrics import f1_score

    from trainers.fit import answer_validation, decide_labels, sigmoid

    config, features, result, _ = fitted
    answers = answer_validation(config, features, result)
    said = decide_labels(sigmoid(answers.logits_NC))
    wanted = f1_score(answers.labels_N, said, average=None, zero_division=np.nan)
    assert list(result.label_f1) == list(features.splits.class_names)
    assert [np.nan if f1 is None else f1 for f1 in result.label_f1.values()] == pytest.approx(
        wanted.tolist(), nan_ok=True
    )
    assert result.figures()["label_f1"] == result.label_f1


def test_a_label_that_no_text_has_and_none_was_given_has_no_f1():
    from trainers.fit import Answers, label_f1

    answers = Answers(np.array([[1, 0, 0], [1, 0, 1]]), np.array([[0.9, 0.1, 0.1], [0.2, 0.2, 0.3]]))
    assert label_f1(answers) == [pytest.approx(2 / 3), None, 0.0]

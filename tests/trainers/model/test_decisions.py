"""A model's temperature and threshold: chosen on validation, saved, applied."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from trainers.data import load_splits
from trainers.encoder.files import write_checksums
from trainers.errors import InputError
from trainers.fit import answer_folds, answer_test, answer_validation, median_class, predict_test
from trainers.fit.features import Features
from trainers.fit.loop import fit
from trainers.model.card import model_card
from trainers.model.classifier import Classifier, assemble, load, save
from trainers.model.decisions import check_threshold, decisions, describe_decisions
from trainers.predict import main as predict
from trainers.serve import answers

TEXTS = ["the film was good", "a dull story", "good good good"]
NAMES = ("negative", "positive")


@pytest.fixture(scope="module")
def fitted(tiny_encoder, tiny_splits, make_config):
    config, features = make_config(epochs=2, ceiling=None), Features(tiny_encoder, tiny_splits)
    return config, features, fit(config, features)


@pytest.fixture(scope="module")
def raw(fitted, tiny_encoder):
    """The model without temperature and threshold."""
    config, _, result = fitted
    return assemble(tiny_encoder, config, result, names=NAMES)


@pytest.fixture(scope="module")
def saved(fitted, tiny_encoder, raw, tmp_path_factory):
    """A model that divides its logits by 2, and says positive where one of three texts has it from."""
    config, _, result = fitted
    middle = float(np.sort(softmax(logits(raw) / 2, axis=1)[:, 1])[1])
    classifier = assemble(
        tiny_encoder, config, result, names=NAMES, temperature=2.0, thresholds={"positive": middle}
    )
    folder = tmp_path_factory.mktemp("decided") / "model"
    save(classifier, folder)
    return folder, middle


def logits(classifier):
    return np.log(classifier.predict_proba(TEXTS).astype(np.float64))


def test_validation_and_test_are_answered_as_in_the_fit(fitted):
    config, features, result = fitted
    validation, test = answer_validation(config, features, result), answer_test(config, features, result)
    right_N = validation.logits_NC.argmax(axis=1) == validation.labels_N
    assert right_N.mean() == pytest.approx(result.validation_accuracy)
    assert (test.logits_NC.argmax(axis=1) == predict_test(config, features, result)).all()
    assert (test.labels_N == features.splits.test.labels_N).all()


def test_a_saved_temperature_divides_the_logits(saved, raw):
    found = load(saved[0])
    assert found.predict_proba(TEXTS) == pytest.approx(softmax(logits(raw) / 2, axis=1), abs=1e-6)


def test_a_saved_threshold_decides(saved):
    found = load(saved[0])
    probabilities_N = found.predict_proba(TEXTS)[:, 1]
    expected = ["positive" if p >= saved[1] else "negative" for p in probabilities_N]
    assert [p.label for p in found.predict(TEXTS)] == expected
    assert [a["label"] for a in answers(found, TEXTS)] == expected
    assert {*expected} == {*NAMES}


def test_a_model_without_either_is_described_as_before(raw, tmp_path):
    save(raw, tmp_path / "model")
    assert not {"logit_temperature", "thresholds"} & set(
        json.loads((tmp_path / "model" / "config.json").read_text())
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("logit_temperature", 0, "logit_temperature must be a number above 0, got 0"),
        ("logit_temperature", "2", "logit_temperature must be a number above 0, got '2'"),
        ("logit_temperature", float("inf"), "logit_temperature must be a number above 0, got inf"),
        ("thresholds", {"neutral": 0.5}, "thresholds must give one of two classes a number from 0 to 1"),
        ("thresholds", {"positive": 2}, "thresholds must give one of two classes a number from 0 to 1"),
        ("thresholds", [0.5], "thresholds must give one of two classes a number from 0 to 1"),
    ],
)
def test_a_damaged_setting_is_named(raw, tmp_path, key, value, message):
    folder = tmp_path / "model"
    save(raw, folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, key: value}))
    write_checksums(folder)
    with pytest.raises(InputError) as caught:
        load(folder)
    assert message in str(caught.value)
    assert str(caught.value).endswith("export the model again: python -m search.export")


@pytest.mark.parametrize("aim", ["f1", "balanced_accuracy"])
def test_what_a_threshold_changes_is_told(fitted, aim):
    config, features, result = fitted
    found = decisions(config, features, result, aim=aim, positive="positive", test=True)
    chosen = found.threshold
    assert (chosen.name, chosen.aim) == ("positive", aim)
    assert chosen.validation.aim[1] >= chosen.validation.aim[0]
    assert chosen.validation.metric[0] == pytest.approx(result.validation_accuracy)
    assert chosen.test.num_texts == len(features.splits.test)
    told = list(describe_decisions(found, metric=config.metric))
    assert told[0].startswith("temperature")
    assert told[1].startswith("threshold: 'positive' from a probability of ")
    assert told[2].startswith("  on validation: ")
    assert told[3].startswith("  on the test split: ")


def test_nothing_is_said_of_the_test_split_unless_it_was_looked_at(fitted):
    config, features, result = fitted
    found = decisions(config, features, result)
    assert found.calibration.test is None
    assert found.threshold is None
    assert len(list(describe_decisions(found, metric=config.metric))) == 1


def test_the_rarer_class_is_the_one_of_the_threshold(fitted):
    config, features, result = fitted
    train = features.splits.train
    rare = np.flatnonzero(train.labels_N == 0)[:5]
    kept = train.some(np.sort(np.concatenate([rare, np.flatnonzero(train.labels_N == 1)])))
    few = Features(features.encoder, replace(features.splits, train=kept))
    assert decisions(config, few, result, aim="f1").threshold.name == "negative"


@pytest.fixture(scope="module")
def folded(tiny_encoder, reviews_dir, make_config):
    """A model that was fitted on all of three folds."""
    config = make_config(data={"train": 60, "validation": None, "folds": 3}, epochs=2, ceiling=None)
    config = config.model_copy(update={"stop_at": (2.0,)})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(reviews_dir)
        splits = load_splits(config.data, tiny_encoder.tokenizer)
    features = Features(tiny_encoder, splits)
    return config, features, fit(config, features)


def test_of_folds_each_text_is_answered_by_a_fit_that_did_not_see_it(folded):
    config, features, result = folded
    assert decisions(config, features, result) is None
    found = decisions(config, features, result, aim="f1", test=True)
    answers = answer_folds(config, features)
    train = features.splits.train
    assert found.folds == 3
    assert found.calibration.validation.num_texts == len(train)
    right_N = answers.logits_NC.argmax(axis=1) == train.labels_N
    assert found.threshold.validation.metric[0] == pytest.approx(right_N.mean())
    assert found.threshold.validation.num_texts == len(train)
    assert found.threshold.test.num_texts == len(features.splits.test)
    told = list(describe_decisions(found, metric=config.metric))
    assert (
        told[0]
        == "temperature and thresholds: 3 fits, each of the other folds, answered for each fold's texts"
    )
    assert any(line.startswith("  on 3 folds: F1 ") for line in told)


def test_the_card_of_folds_says_whose_answers_these_are(folded):
    config, features, result = folded
    found = decisions(config, features, result, aim="f1")
    card = model_card(config, features, result, decisions=found)
    assert "What is said here of 3 folds are answers of 3 fits with the same settings" in card
    assert "its own probabilities were not measured on texts that it had not seen." in card
    assert "on 3 folds. Frostline's `predict` does so" in card
    assert "| 3 folds | " in card


def test_the_data_table_of_folds_names_each_text_once(folded):
    config, features, result = folded
    card = model_card(config, features, result)
    table = card.split("## Data\n")[1]
    assert "| class | train | test |\n| --- | ---: | ---: | \n" in table
    assert f"| all | {len(features.splits.train)} | {len(features.splits.test)} |\n" in table
    assert "the texts of train were cut into 3 folds, each\nof which was validated on once" in table


@pytest.mark.parametrize(
    ("aim", "positive", "names", "message"),
    [
        (None, "spam", None, "--positive needs --threshold, got --positive spam alone; give both"),
        (
            "f1",
            None,
            ("a", "b", "c"),
            "--threshold must be of two classes, or of several labels a text, got 3 classes; leave it out: the most probable class "
            "is said",
        ),
        (
            "f1",
            "spa",
            ("ham", "spam"),
            "--positive must be one of the classes 'ham', 'spam', got 'spa'; did you mean 'spam'?",
        ),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(aim, positive, names, message):
    with pytest.raises(InputError) as caught:
        check_threshold(aim, positive, names=names)
    assert str(caught.value) == message


def test_unsure_answers_have_a_probability_and_no_label(saved, capsys):
    found = load(saved[0]).predict(TEXTS)
    bound = sorted(p.probability for p in found)[1]
    assert predict([str(saved[0]), *TEXTS, "--abstain-below", repr(bound)]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == [p.label if p.probability >= bound else "" for p in found]
    assert all(line[1] for line in lines)
    assert [line[0] for line in lines].count("") == 1


@pytest.mark.parametrize("bound", ["-0.1", "1.5", "nan"])
def test_a_bound_that_is_no_probability_is_refused(saved, capsys, bound):
    assert predict([str(saved[0]), "a", "--abstain-below", bound]) == 2
    assert (
        capsys.readouterr().err
        == f"error: --abstain-below must be a probability from 0 to 1, got {float(bound):g}; change it\n"
    )


def test_transformers_gives_the_same_probabilities(saved):
    found = load(saved[0])
    batch = found.tokenizer(TEXTS, return_tensors="pt", padding=True)
    with torch.inference_mode():
        given = found.model(batch["input_ids"], batch["attention_mask"]).logits.softmax(dim=1).numpy()
    assert given == pytest.approx(found.predict_proba(TEXTS), abs=1e-6)


def test_the_median_class_is_that_without_temperature():
    logits_NC = np.log([[0.4, 0.15, 0.3, 0.15], [0.45, 0.01, 0.01, 0.53]])
    config = SimpleNamespace(problem_type=None, decides="median", logit_temperature=3.0)
    classifier = Classifier(model=SimpleNamespace(config=config), tokenizer=None)
    scaled_NC = softmax(logits_NC / 3, axis=1)
    assert classifier.decide(scaled_NC.astype(np.float32)).tolist() == [1, 3]
    assert median_class(scaled_NC).tolist() == [1, 2]
    config.decides = None
    config.id2label = dict(enumerate("abcd"))
    assert classifier.decide(scaled_NC).tolist() == [0, 3]


def test_a_rule_of_a_newer_version_is_told(saved, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(saved[0], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"decides": "mode"}))
    write_checksums(folder)
    with pytest.raises(InputError, match="decides must be median or absent, got 'mode'; a newer version"):
        load(folder)

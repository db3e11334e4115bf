import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle
from sklearn.linear_model import LogisticRegression
from transformers import BertConfig, BertForSequenceClassification

from trainers.config import DataConfig, EncoderConfig, TrainConfig
from trainers.data import load_splits
from trainers.errors import InputError
from trainers.fit import (
    answer_validation,
    build_features,
    decide_labels,
    fit,
    from_millionths,
    in_millionths,
    predict_test,
    sigmoid,
)
from trainers.fit.losses import mean_loss
from trainers.fit.metrics import cross_entropy, effective_count, losses
from trainers.fit.probe import folds, probes
from trainers.fit.several import Answers, measure_several, positive_weights

CSV = Path(__file__).parents[2] / "data" / "several_labels.csv"


def some_answers(num_texts=60, num_labels=4, seed=0):
    draw = np.random.default_rng(seed)
    labels_NC = (draw.random((num_texts, num_labels)) < 0.3).astype(np.int64)
    probabilities_NC = np.clip(
        0.6 * labels_NC * draw.random(labels_NC.shape) + 0.6 * draw.random(labels_NC.shape), 0, 1
    )
    return Answers(labels_NC, probabilities_NC)


def by_scikit_learn(answers, metric):
    labels_NC, predicted_NC = answers.labels_NC, (answers.probabilities_NC >= 0.5).astype(int)
    if metric == "subset_accuracy":
        return oracle.accuracy_score(labels_NC, predicted_NC)
    if metric == "average_precision":
        return oracle.average_precision_score(labels_NC, answers.probabilities_NC, average="macro")
    average = {"micro_f1": "micro", "macro_f1": "macro"}[metric]
    return oracle.f1_score(labels_NC, predicted_NC, average=average)


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1", "subset_accuracy", "average_precision"])
@pytest.mark.parametrize("seed", range(3))
def test_metrics_are_those_of_scikit_learn(metric, seed):
    answers = some_answers(seed=seed)
    assert measure_several(answers, metric=metric) == pytest.approx(
        by_scikit_learn(answers, metric), abs=1e-12
    )


def test_a_label_that_no_text_has_counts_for_nothing():
    answers = some_answers()
    more = Answers(
        np.hstack([answers.labels_NC, np.zeros((60, 1), dtype=np.int64)]),
        np.hstack([answers.probabilities_NC, np.zeros((60, 1))]),
    )
    for metric in ("micro_f1", "macro_f1", "average_precision"):
        assert measure_several(more, metric=metric) == measure_several(answers, metric=metric)


def test_no_label_anywhere_and_none_said_is_right():
    nothing = Answers(np.zeros((5, 3), dtype=np.int64), np.zeros((5, 3)))
    found = [measure_several(nothing, metric=m) for m in ("micro_f1", "macro_f1", "subset_accuracy")]
    assert found == [1.0, 1.0, 1.0]


def test_answers_of_two_parts_add_up():
    answers = some_answers()
    halves = [
        Answers(answers.labels_NC[s], answers.probabilities_NC[s]) for s in (slice(0, 20), slice(20, 60))
    ]
    assert measure_several(halves[0] + halves[1], metric="micro_f1") == measure_several(
        answers, metric="micro_f1"
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_transformers_own_for_several_labels(smoothing):
    config = BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        num_labels=3,
        problem_type="multi_label_classification",
        hidden_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForSequenceClassification(config).eval()
        ids = torch.randint(20, (5, 7))
        labels = torch.randint(2, (5, 3))
    target = labels.float() * (1 - smoothing) + smoothing / 2
    with torch.inference_mode():
        found = model(input_ids=ids, labels=target)
    own = mean_loss(found.logits, labels, label_smoothing=smoothing)
    assert float(own) == pytest.approx(float(found.loss), rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_mean_of_the_losses_of_all_texts_is_the_loss(weighted):
    answers = some_answers()
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(60, 4))).float()
    labels = torch.from_numpy(answers.labels_NC)
    weights = torch.from_numpy(positive_weights(answers.labels_NC)).float() if weighted else None
    assert losses(logits, labels, weights_C=weights).mean() == pytest.approx(
        cross_entropy(logits, labels, weights_C=weights)
    )


def test_balanced_weights_give_texts_with_a_label_as_much_as_those_without():
    labels_NC = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]])
    assert positive_weights(labels_NC).tolist() == [1 / 3, 3.0, 1.0]


@pytest.mark.parametrize("metric", ["micro_f1", "subset_accuracy", "macro_f1", "average_precision"])
def test_no_more_texts_tell_a_metric_than_there_are(metric):
    assert effective_count(np.diag([90, 80, 70]), metric=metric, of=100) <= 100


def test_the_effective_count_of_micro_f1_errs_on_the_safe_side():
    """Against the spread of micro-F1 over many draws of texts whose labels are right or wrong independently."""
    draw = np.random.default_rng(0)
    found, truths = [], []
    for _ in range(400):
        labels_NC = (draw.random((200, 4)) < 0.15).astype(np.int64)
        wrong_NC = draw.random((200, 4)) < np.where(labels_NC == 1, 0.3, 0.05)
        found.append(
            measure_several(Answers(labels_NC, np.abs(labels_NC - wrong_NC).astype(float)), metric="micro_f1")
        )
        truths.append(labels_NC.sum(axis=0))
    mean = np.mean(found)
    count = effective_count(np.diag(np.mean(truths, axis=0).astype(int)), metric="micro_f1", of=200)
    assert np.std(found) < np.sqrt(mean * (1 - mean) / count)


def test_millionths_keep_on_which_side_of_the_threshold_a_probability_lies():
    probabilities = np.array([[0.5, np.nextafter(0.5, 0), 0.9999999, 0.0, 1.0]])
    kept = from_millionths(in_millionths(probabilities))
    assert (decide_labels(kept) == decide_labels(probabilities)).all()
    assert np.abs(kept - probabilities).max() < 1e-6


def test_the_probe_of_several_labels_is_a_logistic_regression_a_label():
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(120, 6))
    labels = (vectors[:, :3] + draw.normal(size=(120, 3)) > 0.3).astype(np.int64)
    found = next(probes(vectors, labels, weights_C=np.ones(3), seed=0, threads=1))
    values = vectors - vectors.mean(axis=0)
    values /= np.sqrt((values**2).mean())
    for label in range(3):
        model = LogisticRegression(C=found.strength, max_iter=1000).fit(values, labels[:, label])
        np.testing.assert_allclose(
            found.logits(vectors)[:, label], model.decision_function(values), atol=1e-6
        )


def test_a_label_that_all_or_no_training_text_has_does_not_stop_the_probe():
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(40, 4))
    labels = np.stack([np.ones(40), np.zeros(40), draw.integers(2, size=40)], axis=1).astype(np.int64)
    found = next(probes(vectors, labels, weights_C=np.ones(3), seed=0, threads=1))
    assert (found.logits(vectors)[:, 0] > 5).all()
    assert (found.logits(vectors)[:, 1] < -5).all()


def test_folds_of_several_labels_are_disjoint_and_hold_each_label():
    labels = some_answers(100).labels_NC
    parts = folds(labels, seed=0, num_folds=4)
    assert sorted(np.concatenate([unseen for _, unseen in parts]).tolist()) == list(range(100))
    assert all(labels[unseen].any(axis=0).all() for _, unseen in parts)


@pytest.fixture(scope="module")
def tickets(tiny_encoder, tiny_encoder_dir, tmp_path_factory):
    """Features of the tickets, and what makes configurations of fits on them."""
    data = DataConfig(source=str(CSV), text="ticket", label_separator=";", max_length=24)

    def make(**changes):
        usual = {
            "freeze_depth": 2,
            "dropout": 0.1,
            "head_width": 8,
            "learning_rate": 3e-2,
            "epochs": 4,
            "seed": 1,
        }
        return TrainConfig(
            data=data, encoder=EncoderConfig(name=str(tiny_encoder_dir)), **{**usual, **changes}
        )

    splits = load_splits(data, tiny_encoder.tokenizer)
    directory = tmp_path_factory.mktemp("features")
    features = build_features(tiny_encoder, splits, make(), depths=[2], directory=directory, disk_bytes=2**30)
    return features, make


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patience": 1, "ceiling": 0.95, "metric": "macro_f1"},
        {"class_weights": "balanced", "label_smoothing": 0.1, "metric": "average_precision", "ceiling": 0.9},
        {"head_start": "probe", "head_width": 0, "epochs": 0, "metric": "subset_accuracy"},
        {"head_start": "fitted", "ceiling": 0.99},
        {"head_logits": "one", "head_weights": "glorot"},
        {"thaw": {"freeze_depth": 1, "learning_rate": 1e-3, "epochs": 1}},
    ],
)
def test_the_figures_of_a_fit_are_those_of_its_restored_weights(tickets, changes):
    features, make = tickets
    config = make(**changes)
    result = fit(config, features)
    for split, found in (("train", result.training_accuracy), ("validation", result.validation_accuracy)):
        inputs = features.inputs(split, config.last_stage.freeze_depth)
        with torch.inference_mode():
            logits = result.network(inputs.batch(np.arange(len(inputs))))
        answers = Answers(inputs.labels_N.numpy(), logits.double().sigmoid().numpy())
        assert found == pytest.approx(by_scikit_learn(answers, config.metric), abs=1e-6)


def test_a_fit_learns_and_the_same_seed_gives_the_same_bits(tickets):
    features, make = tickets
    first, second = (fit(make(epochs=8), features) for _ in range(2))
    assert first.validation_accuracy == second.validation_accuracy
    assert first.validation_loss == second.validation_loss
    assert first.evaluations[-1].validation_loss < first.evaluations[0].validation_loss


def test_looks_tell_no_hits_of_texts_that_may_be_right_in_part(tickets):
    features, make = tickets
    assert all(evaluation.hits is None for evaluation in fit(make(), features).evaluations)


def test_the_test_split_is_answered_with_a_probability_a_label(tickets):
    features, make = tickets
    config = make()
    answers = predict_test(config, features, fit(config, features))
    assert answers.shape == (len(features.splits.test), 4)
    assert ((answers > 0) & (answers < 1)).all()


def test_a_metric_of_one_label_is_refused(tickets):
    _, make = tickets
    with pytest.raises(
        ValueError,
        match="metric must be micro_f1, macro_f1, subset_accuracy, average_precision for several labels a text, got 'accuracy'",
    ):
        make(metric="accuracy")


@pytest.mark.parametrize(
    "changes",
    [{"class_weights": {"app": 9.0, "billing": 1.0, "delivery": 1.0, "login": 1.0}}, {"loss": "focal"}],
    ids=["weights by label", "focal loss"],
)
def test_weights_by_label_and_focal_loss_are_minimised(tickets, changes):
    features, make = tickets
    plain, other = (fit(make(**more), features) for more in ({}, changes))
    losses = [evaluation.validation_loss for evaluation in other.evaluations]
    assert min(losses) < losses[0]
    said = {
        name: sigmoid(answer_validation(make(), features, result).logits_NC).mean(axis=0)
        for name, result in (("plain", plain), ("other", other))
    }
    if "class_weights" in changes:  # a label whose texts weigh more is given sooner, and it alone
        ratio = said["other"] / said["plain"]
        assert ratio[0] > 1.1
        assert ratio[0] > ratio[1:].max()
    else:
        assert losses[-1] < plain.evaluations[-1].validation_loss


def test_weights_that_lack_a_label_are_refused(tickets):
    features, make = tickets
    with pytest.raises(
        InputError, match="class_weights must give each of the 4 classes its weight, got missing"
    ):
        fit(make(class_weights={"app": 2.0}), features)


def test_metrics_of_several_labels_are_refused_for_one(make_config):
    with pytest.raises(
        ValueError,
        match="metric must be accuracy, balanced_accuracy, macro_f1 for one label a text, got 'micro_f1'",
    ):
        TrainConfig.model_validate({**make_config().model_dump(), "metric": "micro_f1"})


def test_the_tickets_have_texts_with_two_labels_and_with_none():
    with CSV.open(encoding="utf-8", newline="") as file:
        sets = [row["tags"].split(";") if row["tags"] else [] for row in csv.DictReader(file)]
    assert sum(len(names) > 1 for names in sets) > 100
    assert sum(not names for names in sets) > 10
    assert CSV.stat().st_size < 40_000

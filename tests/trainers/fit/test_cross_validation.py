import math
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
import torch

import trainers.fit.feature_building
from trainers.data import fold_rows, load_splits
from trainers.errors import InputError
from trainers.fit.cross_validation import answer_folds, fit_folds, mean_ages, refit_config
from trainers.fit.feature_building import build_features
from trainers.fit.loop import fit
from trainers.model.classifier import weights_sha256
from trainers.train import train

DATA = {"train": 60, "validation": None, "folds": 3}


@pytest.fixture(scope="module")
def folded(tiny_encoder, reviews_dir, make_config, tmp_path_factory):
    """Features of three folds of 60 texts, and how many texts were run through the frozen layers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(reviews_dir)
        splits = load_splits(make_config(data=DATA).data, tiny_encoder.tokenizer)
    done = []
    features = build_features(
        tiny_encoder,
        splits,
        make_config(data=DATA),
        depths=[1, 2, 3],
        directory=tmp_path_factory.mktemp("cache"),
        disk_bytes=2**30,
        on_progress=lambda count, total: done.append((count, total)),
    )
    return features, done


def test_no_text_is_encoded_twice(folded, make_config, monkeypatch):
    features, done = folded
    assert done[-1] == (60, 60)
    monkeypatch.setattr(trainers.fit.feature_building, "Prefix", None)  # nothing is computed from here on
    fit_folds(make_config(data=DATA), features)


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_a_fold_is_fitted_as_texts_that_were_split_so(folded, tiny_encoder, make_config, tmp_path, depth):
    features, _ = folded
    config = make_config(data=DATA, freeze_depth=depth)
    found = fit_folds(config, features)
    pool = features.splits.train
    for fold, (train_rows, validation_rows) in zip(
        found.folds, fold_rows(pool.labels_N, None, config.data), strict=True
    ):
        splits = replace(
            features.splits, train=pool.some(train_rows), validation=pool.some(validation_rows), folds=None
        )
        alone = build_features(
            tiny_encoder, splits, config, depths=[1, 2, 3], directory=tmp_path, disk_bytes=2**30
        )
        result = fit(make_config(data={"train": 40, "validation": 20}, freeze_depth=depth), alone)
        assert fold.validation_accuracy == result.validation_accuracy
        assert fold.training_accuracy == result.training_accuracy
        assert fold.validation_loss == pytest.approx(result.validation_loss, rel=1e-3)
        assert fold.best_epochs == (result.best_epoch,)


def test_figures_are_means_over_the_folds_and_costs_are_sums(folded, make_config):
    features, _ = folded
    told, folds = [], []
    found = fit_folds(
        make_config(data=DATA, patience=None), features, on_evaluation=told.append, on_fold=folds.append
    )
    figures = found.figures()
    assert tuple(folds) == found.folds
    for name in ("validation_accuracy", "training_accuracy", "validation_loss", "best_epoch"):
        assert figures[name] == fmean(getattr(fold, name) for fold in folds)
    assert (
        figures["tokens"] == 2 * 2 * features.splits.train.lengths_N.sum()
    )  # two epochs, each text in two folds
    assert [e.fold for e in told] == [1, 1, 2, 2, 3, 3]
    assert [e.tokens for e in told] == sorted(e.tokens for e in told)
    assert told[-1].tokens == figures["tokens"]


def test_each_fold_is_answered_by_a_fit_of_the_others(folded, make_config):
    features, _ = folded
    config = make_config(data=DATA)
    found = answer_folds(config.model_copy(update={"stop_at": (1.0,)}), features)
    assert (found.labels_N == features.splits.train.labels_N).all()
    rows = fold_rows(features.splits.train.labels_N, None, config.data)
    for fold, (_, validation) in zip(fit_folds(config, features).folds, rows, strict=True):
        right_N = found.logits_NC[validation].argmax(axis=1) == found.labels_N[validation]
        assert right_N.mean() == pytest.approx(fold.validation_accuracy)


def test_peeks_are_taken_in_the_first_fold_alone(folded, make_config):
    told = []
    fit_folds(make_config(data=DATA), folded[0], peeks=[0.5], on_evaluation=told.append)
    assert [e.fold for e in told if e.peek] == [1]


def test_what_is_raised_after_a_fold_ends_the_fit(folded, make_config):
    def stop(fold):
        if fold.fold == 2:
            raise KeyError(fold.fold)

    told = []
    with pytest.raises(KeyError):
        fit_folds(make_config(data=DATA), folded[0], on_evaluation=told.append, on_fold=stop)
    assert {e.fold for e in told} == {1, 2}


def test_ages_are_means_on_the_grid_of_evaluations():
    assert mean_ages([[1.0, 0.5], [1.5, 0.5], [1.5, 1.0]], looks=2) == [1.5, 0.5]
    assert mean_ages([[0.0], [0.0], [1.0]], looks=1) == [0.0]


def test_a_single_fit_needs_to_know_how_long(folded, make_config):
    with pytest.raises(
        InputError, match=r"data.folds = 3 must know from stop_at how long it takes, got none"
    ):
        fit(make_config(data=DATA), folded[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop_at": [1.0]}, "stop_at belongs to data.folds"),
        ({"data": DATA, "stop_at": [3.0]}, "at most 2 epochs for each stage"),
        ({"data": DATA, "stop_at": [1.0, 1.0]}, "at most 2 epochs for each stage"),
    ],
)
def test_ages_that_cannot_be_are_refused(make_config, changes, message):
    with pytest.raises(ValueError, match=message):
        make_config(**changes)


def test_a_refit_takes_all_texts_to_an_age_and_looks_at_no_validation_text(folded, make_config):
    features, _ = folded
    config = make_config(data=DATA, epochs=4, evaluations_per_epoch=2, schedule="linear", stop_at=[2.5])
    told = []
    result = fit(config, features, on_evaluation=told.append)
    assert result.is_refit
    assert (result.epochs, result.best_epoch) == (2.5, 2.5)
    assert all(math.isnan(e.validation_accuracy) for e in told)
    lengths = features.splits.train.lengths_N
    assert 2 * lengths.sum() < result.tokens < 3 * lengths.sum()


@pytest.mark.parametrize("changes", [{}, {"head_start": "fitted"}, {"head_start": "probe", "head_width": 0}])
def test_a_refit_to_the_end_is_a_fit_of_all_texts_that_keeps_its_last_weights(
    folded, make_config, tiny_encoder, tmp_path, changes
):
    features, _ = folded
    pool = features.splits.train
    config = make_config(data=DATA, stop_at=[2.0], **changes)
    found = fit(config, features)
    again = fit(config, features)
    assert weights_sha256(found.network) == weights_sha256(again.network)
    splits = replace(features.splits, validation=pool, folds=None)
    alone = build_features(
        tiny_encoder, splits, config, depths=[1, 2, 3], directory=tmp_path, disk_bytes=2**30
    )
    if changes.get("head_start") == "fitted":  # whose rounds the folds find
        return
    plain = make_config(data={"train": 60, "validation": 60}, patience=None, **changes)
    for name, value in fit(plain, alone).network.state_dict().items():
        assert torch.allclose(value, found.network.state_dict()[name], atol=1e-6), name


def test_two_stages_each_stop_at_their_age(folded, make_config):
    thaw = {"freeze_depth": 1, "learning_rate": 1e-3, "epochs": 2}
    config = make_config(data=DATA, thaw=thaw)
    found = fit_folds(config, folded[0])
    assert all(len(fold.best_epochs) == 2 for fold in found.folds)
    whole = refit_config(config, found.folds)
    result = fit(whole, folded[0])
    assert result.epochs == sum(whole.stop_at)


@pytest.mark.usefixtures("tiny_reviews")
def test_a_configuration_of_a_refit_gives_the_same_bits_as_training_it(folded, make_config, tmp_path):
    config = make_config(data=DATA, stop_at=[1.0], head_start="fitted")
    result, classifier = train(config, cache_directory=tmp_path)
    assert weights_sha256(result.network) == weights_sha256(fit(config, folded[0]).network)
    assert np.isfinite(classifier.predict_proba(["a good film"])).all()

import math

import numpy as np
import pytest

from trainers.config import DataConfig
from trainers.data import fold_rows
from trainers.data.splits import Split, Splits
from trainers.fit import PEEK_TEXTS, design_effect, error_of_mean, groups_of_hits
from trainers.fit.samples import order_of


@pytest.fixture(scope="module")
def answers():
    """Answers to texts of 60 groups of up to 12, right or wrong more alike within a group, and the groups."""
    draw = np.random.default_rng(0)
    groups_N = np.repeat(np.arange(60), draw.integers(1, 13, size=60))
    skill_G = np.clip(0.75 + 0.3 * draw.standard_normal(60), 0, 1)
    return (draw.random(len(groups_N)) < skill_G[groups_N]).astype(float), groups_N


def bootstrapped(values_N, groups_N, *, resamples=4_000):
    """The spread of the mean over groups that are drawn again, each with all its texts."""
    draw = np.random.default_rng(1)
    rows = [np.flatnonzero(groups_N == g) for g in np.unique(groups_N)]
    means = []
    for _ in range(resamples):
        drawn = np.concatenate([rows[g] for g in draw.integers(len(rows), size=len(rows))])
        means.append(values_N[drawn].mean())
    return np.std(means)


def test_the_error_is_that_of_a_bootstrap_over_groups(answers):
    values_N, groups_N = answers
    assert error_of_mean(values_N, groups_N) == pytest.approx(bootstrapped(values_N, groups_N), rel=0.05)
    assert error_of_mean(values_N, groups_N) > 1.3 * error_of_mean(values_N)


def test_the_error_of_a_paired_difference_is_that_of_a_bootstrap_over_groups(answers):
    values_N, groups_N = answers
    other_N = np.where(np.random.default_rng(2).random(len(values_N)) < 0.3, 1 - values_N, values_N)
    expected = bootstrapped(values_N - other_N, groups_N)
    assert error_of_mean(values_N - other_N, groups_N) == pytest.approx(expected, rel=0.05)


def test_groups_of_one_text_are_texts(answers):
    values_N, _ = answers
    alone = error_of_mean(values_N, np.arange(len(values_N)))
    assert alone == pytest.approx(error_of_mean(values_N))
    assert error_of_mean(values_N) == values_N.std(ddof=1) / math.sqrt(len(values_N))


def test_a_single_group_shows_no_spread():
    assert error_of_mean(np.array([0.0, 1.0, 1.0]), np.zeros(3, dtype=np.int64)) == math.inf


def test_the_effect_is_the_ratio_of_the_variances(answers):
    values_N, groups_N = answers
    ratio = (error_of_mean(values_N, groups_N) / error_of_mean(values_N)) ** 2
    assert design_effect(values_N > 0, groups_N, all_N=groups_N) == pytest.approx(ratio)


def test_of_a_sample_the_effect_is_that_of_all_texts():
    draw = np.random.default_rng(3)
    groups_N = np.repeat(np.arange(400), 10)
    hits_N = draw.random(4_000) < np.clip(0.7 + 0.25 * draw.standard_normal(400), 0, 1)[groups_N]
    whole = design_effect(hits_N, groups_N, all_N=groups_N)
    drawn = [draw.permutation(4_000)[:800] for _ in range(40)]
    some = [design_effect(hits_N[rows], groups_N[rows], all_N=groups_N) for rows in drawn]
    assert np.mean(some) == pytest.approx(whole, rel=0.1)


def test_texts_that_differ_within_their_group_have_no_effect_below_one():
    hits_N = np.tile([True, False], 50)
    assert design_effect(hits_N, np.repeat(np.arange(50), 2), all_N=np.repeat(np.arange(50), 2)) == 1.0


@pytest.mark.parametrize("hits_N", [None, np.array([True, False, True])])
def test_where_no_group_was_seen_twice_texts_of_a_group_count_as_one(hits_N):
    all_N = np.repeat(np.arange(5), 4)
    assert design_effect(hits_N, np.arange(3), all_N=all_N) == 4.0


def test_where_all_are_right_nothing_is_known():
    groups_N = np.repeat(np.arange(5), 4)
    assert design_effect(np.ones(20, dtype=bool), groups_N, all_N=groups_N) is None


def splits_of(count, *, grouped=True, folds=None):
    part = Split(
        ids_S=np.zeros(0, dtype=np.int32),
        offsets_N1=np.zeros(count + 1, dtype=np.int64),
        labels_N=np.arange(count) % 2,
        groups_N=np.arange(count) // 4 if grouped else None,
    )
    return Splits(
        train=part,
        validation=part,
        test=part,
        class_names=("a", "b"),
        duplicates=0,
        contradictions=0,
        mended=0,
        folds=folds,
        clusters_N=part.groups_N,
    )


def test_groups_are_those_of_the_texts_that_hits_tell():
    count = PEEK_TEXTS + 100
    [groups_N] = groups_of_hits(splits_of(count), DataConfig(source="imdb", seed=3))
    rows = np.sort(order_of(count, seed=3)[:PEEK_TEXTS])
    np.testing.assert_array_equal(groups_N, rows // 4)
    assert groups_of_hits(splits_of(count, grouped=False), DataConfig(source="imdb")) is None


def test_folds_have_groups_of_their_own():
    config, splits = DataConfig(source="imdb", folds=3), splits_of(120, folds=3)
    found = groups_of_hits(splits, config)
    folds = [part for _, part in fold_rows(splits.train.labels_N, splits.clusters_N, config)]
    for groups_N, part in zip(found, folds, strict=True):
        assert sorted(groups_N) == sorted(part // 4)
    assert not {*found[0]} & {*found[1]}

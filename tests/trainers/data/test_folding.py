import re

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from trainers.config import DataConfig
from trainers.data.folding import check_folds, fold_rows
from trainers.data.sources import Row
from trainers.data.splitting import split_rows
from trainers.data.texts import read_texts
from trainers.errors import InputError


def config(**settings):
    return DataConfig(source="/r.csv", **settings)


@given(st.lists(st.integers(0, 2), min_size=40, max_size=90), st.integers(2, 6), st.integers(0, 9))
def test_each_text_is_validated_on_once_and_every_fold_has_the_classes_of_all(labels, folds, seed):
    labels_N = np.array([*labels, *[0, 1, 2] * 10])
    parts = fold_rows(labels_N, None, config(folds=folds, seed=seed))
    assert np.sort(np.concatenate([validation for _, validation in parts])).tolist() == list(
        range(len(labels_N))
    )
    for train, validation in parts:
        assert not np.intersect1d(train, validation).size
        for label in range(3):
            expected = (labels_N == label).sum() / folds
            assert abs((labels_N[validation] == label).sum() - expected) <= 1


def test_folds_fall_as_scikit_learn_cuts_them():
    labels_N = np.array([0, 1, 1] * 20)
    groups_N = np.arange(60) // 3
    for groups, oracle in (
        (None, StratifiedKFold(4, shuffle=True, random_state=7).split(labels_N, labels_N)),
        (groups_N, StratifiedGroupKFold(4, shuffle=True, random_state=7).split(labels_N, labels_N, groups_N)),
    ):
        found = fold_rows(labels_N, groups, config(folds=4, seed=7))
        assert [(t.tolist(), v.tolist()) for t, v in found] == [(t.tolist(), v.tolist()) for t, v in oracle]


def test_no_group_is_cut_by_a_fold():
    labels_N, groups_N = np.array([0, 1] * 40), np.arange(80) // 5
    for train, validation in fold_rows(labels_N, groups_N, config(folds=4)):
        assert not np.intersect1d(groups_N[train], groups_N[validation]).size


def some_label_sets(num_texts, *, seed=0):
    return (np.random.default_rng(seed).random((num_texts, 3)) < [0.5, 0.2, 0.1]).astype(np.int64)


def test_folds_of_several_labels_have_each_label_in_proportion():
    labels_NC = some_label_sets(203)
    parts = fold_rows(labels_NC, None, config(folds=5))
    assert np.sort(np.concatenate([validation for _, validation in parts])).tolist() == list(range(203))
    for train, validation in parts:
        assert not np.intersect1d(train, validation).size
        assert len(validation) in {40, 41}
        assert np.abs(labels_NC[validation].sum(axis=0) - labels_NC.sum(axis=0) / 5).max() <= 1.5


def test_folds_of_several_labels_cut_no_group():
    labels_NC, groups_N = some_label_sets(200), np.arange(200) // 4
    parts = fold_rows(labels_NC, groups_N, config(folds=5))
    assert np.sort(np.concatenate([validation for _, validation in parts])).tolist() == list(range(200))
    for train, validation in parts:
        assert not np.intersect1d(groups_N[train], groups_N[validation]).size
        assert 36 <= len(validation) <= 44
        assert np.abs(labels_NC[validation].sum(axis=0) - labels_NC.sum(axis=0) / 5).max() <= 4


def test_a_label_of_too_few_texts_is_refused():
    labels_NC = np.zeros((60, 2), dtype=np.int64)
    labels_NC[:30, 0], labels_NC[:3, 1] = 1, 1
    message = "each label must have a text in each of data.folds = 5 folds, got fewer texts of 'b' (3)"
    with pytest.raises(InputError, match=re.escape(message)):
        check_folds(labels_NC, None, ["a", "b"], config(folds=5))


def test_the_seed_of_the_folds_decides_how_they_fall():
    labels_N = np.array([0, 1] * 30)

    def first(**seeds):
        return fold_rows(labels_N, None, config(folds=3, **seeds))[0][1].tolist()

    assert first(seed=2) == first(seed=1, fold_seed=2) != first(seed=1)


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        (
            [0, 1] * 12,
            None,
            "each of data.folds = 5 folds must have 10 texts at least, got 24 texts in all beside the test split; lower "
            "data.folds, or add texts",
        ),
        (
            [0] * 57 + [1] * 3,
            None,
            "each class must have a text in each of data.folds = 5 folds, got fewer texts of 'b' (3); lower data.folds, add texts, "
            "or leave the class out",
        ),
        (
            [0] * 50 + [1] * 10,
            [*range(50), *[50] * 10],
            "has no training text of 'b', since texts that belong together stay together; lower data.folds, or set another "
            "data.seed",
        ),
        (
            [0, 1] * 30,
            [0, 1, 2] * 20,
            "each of data.folds = 5 folds must have a group of texts that belong together, got 3 of them beside the test split; "
            "lower data.folds, or add texts of other groups",
        ),
    ],
)
def test_folds_that_cannot_be_are_refused(labels, groups, message):
    with pytest.raises(InputError, match=re.escape(message)):
        check_folds(np.array(labels), groups and np.array(groups), ["a", "b"], config(folds=5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"folds": 5, "validation": 40},
            "folds and validation exclude each other, got folds = 5 and validation = 40",
        ),
        ({"folds": 5, "validation_source": "/v.csv"}, "folds and validation_source exclude each other"),
        ({"fold_seed": 5}, "fold_seed belongs to folds, got fold_seed = 5 alone; remove it"),
        ({"folds": 1}, "greater than or equal to 2"),
        ({"folds": 11}, "less than or equal to 10"),
    ],
)
def test_settings_that_exclude_folds_are_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        config(**settings)


def test_an_absent_setting_is_not_written():
    assert not {"folds", "fold_seed"} & set(config().model_dump())


def test_a_given_validation_split_joins_the_folds_and_a_test_split_does_not():
    given_splits = ["train"] * 40 + ["validation"] * 20 + ["test"] * 12
    rows = [Row(f"text {i}", str(i % 2), s, "r.csv", i + 2) for i, s in enumerate(given_splits)]
    parts, findings = split_rows(rows, np.arange(72) % 2, np.arange(72), config(folds=3))
    assert (len(parts["train"]), len(parts["validation"]), parts["test"].tolist()) == (
        60,
        0,
        list(range(60, 72)),
    )
    assert [f.message for f in findings] == [
        "the given validation split was joined to the training split: data.folds = 3 cuts both into folds"
    ]


def test_near_duplicates_stay_in_one_fold(tmp_path):
    lines = [f"unlike text number {i} about {chr(97 + i % 26)}{i * 7919},{i % 2}" for i in range(60)]
    lines += [line.replace("unlike", "unlike!") for line in lines[:10]]
    path = tmp_path / "r.csv"
    path.write_text("text,label\n" + "\n".join(lines) + "\n")
    texts = read_texts(DataConfig(source=str(path), folds=3, test=10))
    assert len(texts.folds) == 3
    assert "cut into 3 folds" in next(f.message for f in texts.findings if f.kind == "folds")
    alike = texts.clusters_N
    assert len(np.unique(alike)) < len(alike)
    for train, validation in texts.folds:
        assert not np.intersect1d(alike[train], alike[validation]).size

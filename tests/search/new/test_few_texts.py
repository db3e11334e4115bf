import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from costs import make_costs, make_splits
from hypothesis import given, strategies as st

from search.new.cost import Folds
from search.new.few_texts import Planned, _is_enough, unfolded, with_folds
from search.new.sizes import plan_trials
from search.new.speed import Speed
from trainers.config import DataConfig
from trainers.errors import InputError


def plan(minutes, *, folds):
    """Return what is planned for 400 texts of 60 tokens, a test split of 80 of them aside."""
    splits = make_splits(320, 0, 60) if folds else make_splits(240, 80, 60)
    costs = make_costs(splits, speed=Speed(2, 70e9, 70e9, 4.0, threads=2))
    if folds:
        costs = dataclasses.replace(costs, folds=Folds(5, ends_early=True))
    return Planned(None, None, splits, *plan_trials(costs, trials=None, seconds=60 * minutes))


@pytest.mark.parametrize(("minutes", "is_enough"), [(2, False), (5, False), (15, True), (30, True)])
def test_folds_may_take_layers_but_not_the_top_two(minutes, is_enough):
    one, folds = plan(minutes, folds=False), plan(minutes, folds=True)
    assert _is_enough(folds.plan, one.plan, folds.costs) is is_enough


def test_a_plan_without_all_texts_is_not_enough():
    one, folds = plan(30, folds=False), plan(30, folds=True)
    fewer = dataclasses.replace(folds.plan, sizes=dataclasses.replace(folds.plan.sizes, train=319))
    assert not _is_enough(fewer, one.plan, folds.costs)


@given(st.floats(1, 500))
def test_a_search_with_folds_has_no_more_trials_than_one_without(minutes):
    assert plan(minutes, folds=True).costs.num_trials <= plan(minutes, folds=False).costs.num_trials


def test_splits_with_folds_become_one_split_for_a_fit_that_only_measures():
    splits = dataclasses.replace(make_splits(30, 0, 8), folds=3, clusters_N=np.arange(30))
    plain, data = unfolded(splits, DataConfig(source="imdb", folds=3, fold_seed=4))
    assert (plain.folds, plain.clusters_N, len(plain.validation)) == (None, None, 30)
    assert (data.folds, data.fold_seed) == (None, None)


def test_splits_without_folds_stay_as_they_are():
    splits, data = make_splits(30, 10, 8), DataConfig(source="imdb")
    assert unfolded(splits, data) == (splits, data)


def refuse(_):
    raise InputError("each class must have a text in each of 5 folds")


@pytest.mark.parametrize(
    ("data", "split", "read", "why"),
    [
        ({}, "validation", None, None),
        ({"validation": 30}, None, None, None),
        ({"train": 30}, None, None, None),
        ({"folds": 3}, None, None, None),
        ({}, None, refuse, None),
        (
            {},
            "test",
            lambda _: SimpleNamespace(rows=[SimpleNamespace(split="test")]),
            "the source has splits of its own",
        ),
        (
            {"test_source": "more.csv"},
            None,
            lambda _: SimpleNamespace(rows=[]),
            "the source has splits of its own",
        ),
    ],
)
def test_splits_of_the_user_and_folds_that_cannot_be_had_leave_one_split(monkeypatch, data, split, read, why):
    monkeypatch.setattr("trainers.data.read_texts", read or (lambda _: pytest.fail("read again")))
    texts = SimpleNamespace(rows=[SimpleNamespace(split=split)])
    one = dataclasses.replace(plan(15, folds=False), texts=texts, data=DataConfig(source="texts.csv", **data))
    given = {"metric": "accuracy", "tokenizer": None, "choose": None, "available": 1e9}
    found = with_folds(one, tell=lambda _: pytest.fail("told"), **given)
    assert found == dataclasses.replace(one, without_folds=why)

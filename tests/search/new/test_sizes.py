import dataclasses
import itertools

import numpy as np
import pytest
from costs import MINILM_LAYERS, SPEED, make_costs, make_splits
from hypothesis import HealthCheck, assume, given, settings, strategies as st

import search.new.sizes
from search.new.sizes import (
    CORE_LAYERS,
    DEAR_RECIPES,
    LEAST_TRIALS,
    LITTLE,
    MARGIN,
    MEDIUM,
    MOST_EPOCHS,
    MOST_TRIALS,
    choose_sizes,
    choose_trials,
    trials_that_fill,
)
from search.new.speed import Speed
from search.study.recipes import RECIPES


def choose(splits, *, minutes, **settings):
    return choose_sizes(make_costs(splits, **settings), seconds=60 * minutes)


@st.composite
def searches(draw, fewest_layers=1, fewest_trials=1, ratios=None):
    """Texts, a machine and a number of trials; ``ratios`` bound how its speed in training compares with that in evaluation."""
    train = draw(st.integers(60, 8_000))
    splits = make_splits(train, max(20, train // 3), draw(st.integers(8, 300)))
    evaluation = draw(st.floats(5e9, 5e12))
    speed = Speed(
        workers=draw(st.integers(1, 8)),
        training=draw(st.floats(5e9, 5e12)) if ratios is None else evaluation * draw(ratios),
        evaluation=evaluation,
        start_seconds=draw(st.floats(0.5, 20)),
    )
    return make_costs(
        splits,
        trials=draw(st.integers(fewest_trials, 200)),
        layers=draw(st.integers(fewest_layers, 12)),
        speed=speed,
    )


@given(searches(), st.floats(0.5, 600))
def test_a_search_ends_in_time_or_is_the_cheapest(costs, minutes):
    plan = choose_sizes(costs, seconds=60 * minutes)
    cheapest = choose_sizes(costs, seconds=1e-9)
    assert plan.seconds <= MARGIN * 60 * minutes or plan.sizes == cheapest.sizes


@given(searches(), st.floats(0.5, 600))
def test_time_is_left_only_where_more_would_take_too_long_or_nothing_is_left_to_do(costs, minutes):
    plan = choose_sizes(costs, seconds=60 * minutes)
    if plan.next_seconds is None:
        sizes, splits = plan.sizes, costs.splits
        assert (sizes.train, sizes.validation, sizes.freeze_depth) == (
            len(splits.train),
            len(splits.validation),
            0,
        )
        assert sizes.epochs >= MOST_EPOCHS
    else:
        assert plan.next_seconds > MARGIN * 60 * minutes


@settings(suppress_health_check=[HealthCheck.filter_too_much], max_examples=50)
@given(searches(fewest_layers=2, fewest_trials=10, ratios=st.floats(2 / 3, 2)), st.floats(1, 1_000))
def test_most_of_the_time_is_filled_once_layers_are_trained(costs, factor):
    """Where training is much slower than evaluation, a second epoch of many texts may take twice as long, and nothing is between."""
    seconds = factor * choose_sizes(costs, seconds=1e-9).seconds
    plan = choose_sizes(costs, seconds=seconds)
    assume(plan.next_seconds is not None and costs.num_layers > plan.sizes.freeze_depth)
    assert plan.seconds >= LITTLE * seconds


def test_one_epoch_more_fills_what_one_evaluation_more_an_epoch_would_exceed():
    """Two evaluations in each of 6 epochs took too long, and 69 % of the time was all that was used."""
    speed = dataclasses.replace(SPEED, training=2 * SPEED.evaluation)
    costs = make_costs(make_splits(1_098, 366, 168), speed=speed)
    wishes = [choose_sizes(costs, seconds=seconds) for seconds in np.geomspace(1e4, 3e4, 60)]
    longer = [plan for plan in wishes if plan.sizes.epochs > 6]
    assert longer
    assert all(plan.sizes.evaluations_per_epoch == 1 and plan.next_seconds for plan in longer)


@given(searches(), st.floats(0.5, 600), st.floats(0.5, 600))
def test_more_time_never_means_fewer_texts_or_layers(costs, one, other):
    less, more = (choose_sizes(costs, seconds=60 * minutes).sizes for minutes in sorted((one, other)))
    assert more.train >= less.train
    assert more.freeze_depth <= less.freeze_depth


@given(searches(), st.floats(0.5, 600))
def test_all_texts_come_before_more_than_two_layers(costs, minutes):
    sizes = choose_sizes(costs, seconds=60 * minutes).sizes
    if costs.num_layers - sizes.freeze_depth > CORE_LAYERS:
        assert sizes.train == len(costs.splits.train)


@given(st.integers(60, 1_000), st.floats(0.5, 600))
def test_no_text_of_a_thousand_is_dropped_for_a_layer(train, minutes):
    sizes = choose(make_splits(train, train // 3, 22), minutes=minutes).sizes
    assert sizes.train == train or sizes.freeze_depth == MINILM_LAYERS


def test_tweets_fill_ten_minutes_with_all_texts_and_more_than_the_top_layer():
    """1,100 of them once got half of the time, and the top layer alone; on a busy machine a tenth, and 800 texts."""
    plan = choose(make_splits(1_100, 400, 22), minutes=10)
    assert plan.sizes.train == 1_100
    assert plan.sizes.freeze_depth < MINILM_LAYERS - 1
    assert LITTLE * 600 <= plan.seconds <= 600


def test_a_machine_half_as_fast_is_given_what_half_of_the_time_would_allow():
    splits = make_splits(15_000, 5_000, 250)
    slow = dataclasses.replace(
        SPEED, training=SPEED.training / 1.1, evaluation=SPEED.evaluation / 1.1, start_seconds=4.4
    )
    fast, slower = choose(splits, minutes=20).sizes, choose(splits, minutes=20, speed=slow).sizes
    assert 0.8 * fast.train <= slower.train <= fast.train


def test_all_layers_and_four_epochs_are_allowed_where_there_is_time():
    plan = choose(make_splits(1_500, 500, 14), minutes=60)
    assert (plan.sizes.freeze_depth, plan.sizes.epochs, plan.sizes.train) == (0, 4, 1_500)
    assert plan.next_seconds is None


def test_where_nothing_ends_in_time_the_cheapest_is_taken_and_its_time_told():
    plan = choose(make_splits(15_000, 5_000, 250), minutes=0.001)
    assert (plan.sizes.freeze_depth, plan.sizes.train, plan.sizes.max_length) == (MINILM_LAYERS, 300, 32)
    assert plan.seconds > 0.06


def test_no_more_is_asked_for_than_there_is():
    sizes = choose(make_splits(60, 20, 21), minutes=600).sizes
    assert (sizes.train, sizes.validation, sizes.max_length) == (60, 20, 24)


@pytest.mark.parametrize(("train", "epochs"), [(60, 40), (320, 20), (1_200, 6), (3_000, 4)])
def test_small_training_splits_are_passed_more_often(train, epochs):
    assert choose(make_splits(train, 100, 30), minutes=600).sizes.epochs == epochs


def test_trials_that_fill_the_time_do():
    costs = make_costs(make_splits(240, 80, 20))
    plan = choose_sizes(costs, seconds=3_600)
    assert plan.seconds < LITTLE * 3_600
    trials = trials_that_fill(costs, plan, seconds=3_600)
    filled = dataclasses.replace(costs, num_trials=trials, recipes=plan.recipes).seconds(plan.sizes)
    assert LITTLE * 3_600 <= filled <= 3_600


def test_more_trials_than_recipes_fill_the_time_of_fewer():
    costs = dataclasses.replace(make_costs(make_splits(240, 80, 20)), num_trials=1)
    plan = choose_sizes(costs, seconds=3_600)
    trials = trials_that_fill(costs, plan, seconds=3_600)
    assert trials > len(plan.recipes)
    filled = dataclasses.replace(costs, num_trials=trials, recipes=plan.recipes).seconds(plan.sizes)
    assert LITTLE * 3_600 <= filled <= 3_600


def test_trials_that_fill_a_time_that_is_full_are_those_asked_for():
    costs = make_costs(make_splits(3_000, 1_000, 100))
    assert trials_that_fill(costs, choose_sizes(costs, seconds=300), seconds=1) == 50


def test_a_recipe_that_trains_layers_runs_where_it_takes_a_share_of_the_time_at_most(monkeypatch):
    monkeypatch.setattr(search.new.sizes, "RECIPES", {**RECIPES, "usual": None, "probe": None})
    costs = make_costs(make_splits(1_500, 500, 14))
    seen = []
    for minutes in (0.5, 1, 2, 4, 8, 16, 32):
        plan = choose_sizes(costs, seconds=60 * minutes)
        assert plan.recipes[:2] == ("probe", "frozen-head")
        for recipe in plan.recipes[2:]:
            assert costs.recipe_seconds(recipe, plan.sizes) <= DEAR_RECIPES[recipe] * 60 * minutes
            assert plan.seconds <= MARGIN * 60 * minutes
        seen.append(plan.recipes[2:])
    assert seen[0] == ()
    assert seen[-1] == ("usual", "thaw-top")


def test_recipes_that_do_not_exist_are_left_out(monkeypatch):
    monkeypatch.setattr(search.new.sizes, "RECIPES", {"frozen-head": None})
    assert choose(make_splits(300, 100, 14), minutes=600).recipes == ("frozen-head",)


def test_sizes_do_not_jump_between_neighbouring_minutes():
    """A next rung of a coarse ladder was once a little too dear, and the one below it a tenth of the time."""
    splits = make_splits(3_000, 1_000, 40)
    plans = [choose(splits, minutes=m) for m in np.geomspace(4, 60, 40)]
    shares = [p.seconds / (60 * m) for p, m in zip(plans, np.geomspace(4, 60, 40), strict=True)]
    assert min(shares) >= LITTLE
    for less, more in itertools.pairwise(plans):
        assert less.sizes.freeze_depth - more.sizes.freeze_depth <= 1


def as_deep_as_usual(plan):
    return plan.sizes.freeze_depth == 0 and plan.sizes.epochs >= 3 and "usual" in plan.recipes


@given(searches(), st.floats(0.5, 600))
def test_the_trials_chosen_are_the_most_that_may_each_train_all_layers(costs, minutes):
    chosen, plan = choose_trials(costs, seconds=60 * minutes)
    assert LEAST_TRIALS <= chosen.num_trials <= MOST_TRIALS
    assert plan == choose_sizes(chosen, seconds=60 * minutes)
    if chosen.num_trials > LEAST_TRIALS:
        assert as_deep_as_usual(plan)
    if chosen.num_trials < MOST_TRIALS:
        one_more = dataclasses.replace(costs, num_trials=chosen.num_trials + 1)
        assert not as_deep_as_usual(choose_sizes(one_more, seconds=60 * minutes))


def test_1_100_tweets_in_few_minutes_get_fewer_trials_and_all_layers():
    """Fifty of them trained the top layer alone, and ended 5 points below one fit of all layers."""
    costs = make_costs(make_splits(1_100, 400, 22))
    assert choose_sizes(costs, seconds=300).sizes.freeze_depth > 0
    chosen, plan = choose_trials(costs, seconds=300)
    assert LEAST_TRIALS <= chosen.num_trials < MOST_TRIALS
    assert plan.sizes.freeze_depth == 0


def test_long_texts_are_read_further_before_a_layer_is_trained():
    """A logistic regression on news had 90.0 % with 64 tokens and 92.8 % with 128."""
    costs = make_costs(make_splits(2_000, 400, 300))
    for seconds in range(5, 600, 5):
        sizes = choose_sizes(costs, seconds=seconds).sizes
        assert sizes.max_length >= MEDIUM or sizes.freeze_depth == MINILM_LAYERS

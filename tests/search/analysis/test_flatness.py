import numpy as np
import pytest
from optuna.trial import TrialState
from toys import add, make_study

from search.analysis.flatness import (
    FEWEST_SCORES,
    FEWEST_TRIALS,
    FLAT,
    expected_gain,
    gain_left,
    is_flat,
    note_flat,
    why_flat,
)

SCORES = [0.80, 0.79, 0.76, 0.74, 0.73, 0.72, 0.71, 0.70, 0.69, 0.50]
GAIN_OF_ONE = ((0.80 + 0.79 + 0.76 + 0.74 + 0.73) / 5 - 0.72) / 11


def searched(scores=SCORES):
    """A study of so many complete trials under the ceiling."""
    study = make_study()
    for score in scores:
        add(study, 0.9, score)
    return study


def left(study, num_trials):
    return gain_left(study.trials, num_trials=num_trials)


def drawn(draw, so_far, more, *, studies=20_000):
    """What the best of ``so_far`` scores gains by ``more`` of them: expected by each study, and seen."""
    scores = draw(np.random.default_rng(0), (studies, so_far + more))
    gains = scores.max(axis=1) - scores[:, :so_far].max(axis=1)
    said = [expected_gain(row, num_so_far=so_far, num_more=more) for row in scores[:2000, :so_far].tolist()]
    return np.mean(said), gains.mean()


@pytest.mark.parametrize(("so_far", "more"), [(10, 1), (10, 40), (21, 9), (30, 20)])
def test_of_scores_with_an_exponential_tail_the_gain_is_what_is_seen_on_average(so_far, more):
    said, seen = drawn(lambda generator, size: generator.exponential(0.02, size), so_far, more)
    assert said == pytest.approx(seen, rel=0.05)


def test_of_scores_with_a_shorter_tail_it_is_more_than_what_is_seen():
    for draw in (
        lambda generator, size: generator.normal(0.8, 0.02, size),
        lambda generator, size: generator.uniform(0.7, 0.8, size),
    ):
        said, seen = drawn(draw, 20, 20)
        assert said > 1.2 * seen


def test_the_gain_is_how_far_the_better_half_lies_above_the_next_score_shared_among_all_trials():
    assert expected_gain(SCORES, num_so_far=10, num_more=1) == pytest.approx(GAIN_OF_ONE)
    assert expected_gain(SCORES[::-1], num_so_far=10, num_more=1) == pytest.approx(GAIN_OF_ONE)
    assert expected_gain([0.8, 0.7], num_so_far=2, num_more=2) == pytest.approx(0.1 * (1 / 3 + 1 / 4))


def test_equal_scores_promise_nothing():
    assert expected_gain([0.8] * 10, num_so_far=10, num_more=40) == 0
    assert expected_gain([0.8] * 6 + [0.5] * 4, num_so_far=10, num_more=40) == 0


def test_no_more_trials_gain_nothing():
    assert expected_gain(SCORES, num_so_far=10, num_more=0) == 0
    assert left(searched(), 10) == left(searched(), 5) == 0


def test_a_study_expects_what_its_scores_do():
    assert left(searched(), 11) == pytest.approx(GAIN_OF_ONE)


def test_nothing_can_be_said_before_the_sampler_learns():
    assert left(searched(SCORES[: FEWEST_TRIALS - 1]), 50) is None
    assert left(searched(SCORES[:1]), 50) is None
    assert left(make_study(), 50) is None


def test_nothing_can_be_said_of_trials_that_all_failed():
    study = make_study()
    for _ in range(20):
        add(study, state=TrialState.FAIL, reason="out of memory")
    assert left(study, 50) is None


def test_nothing_can_be_said_while_few_stay_under_the_ceiling():
    study = searched(SCORES[: FEWEST_SCORES - 1])
    for _ in range(20):
        add(study, 0.99, 0.85)
    assert left(study, 50) is None
    add(study, 0.9, 0.72)
    assert left(study, 50) is not None


def test_trials_without_a_score_count_among_those_so_far():
    study = searched()
    add(study, state=TrialState.FAIL, reason="out of memory")
    add(study, 0.7, 0.6, state=TrialState.PRUNED)
    add(study, 0.99, 0.95)  # over the ceiling
    assert left(study, 14) == pytest.approx(expected_gain(SCORES, num_so_far=13, num_more=1))


def test_recipes_are_no_draws_but_use_up_the_budget():
    study = searched()
    for _ in range(3):
        add(study, 0.9, 0.95, recipe="usual")
    assert left(study, 14) == pytest.approx(GAIN_OF_ONE)


def test_a_trial_that_was_repeated_counts_once():
    study = searched(SCORES[:-1])
    add(study, state=TrialState.FAIL, reason="killed")
    add(study, 0.9, SCORES[-1], retry_of=9)
    assert left(study, 11) == pytest.approx(GAIN_OF_ONE)


def test_nothing_can_be_said_while_a_recipe_or_another_trial_waits():
    study = searched()
    add(study, state=TrialState.WAITING)
    assert left(study, 50) is None
    assert not is_flat(study.trials, num_trials=50, noticeable=1.0)


def test_a_trial_under_way_changes_nothing():
    study = searched()
    add(study, state=TrialState.RUNNING)
    assert left(study, 11) == pytest.approx(GAIN_OF_ONE)


def test_a_study_is_flat_if_less_is_expected_than_would_be_noticed():
    trials = searched().trials
    assert is_flat(trials, num_trials=11, noticeable=GAIN_OF_ONE + 1e-9)
    assert not is_flat(trials, num_trials=11, noticeable=GAIN_OF_ONE - 1e-9)
    assert not is_flat(trials, num_trials=50, noticeable=GAIN_OF_ONE)


def test_why_a_search_ended_is_told_with_what_it_takes_for_granted():
    study = searched()
    said = note_flat(study, num_trials=12, noticeable=0.01)
    assert said == (
        "The search ended after 10 of 12 trials: were the other 2 drawn like those so far, they would raise the best score by "
        "0.77 points on average, less than the 1 of --until-flat."
    )
    assert why_flat(study) == {
        "noticeable": 0.01,
        "expected_gain": pytest.approx(0.044 * (1 / 11 + 1 / 12)),
        "finished": 10,
        "num_trials": 12,
        "sentence": said,
    }


@pytest.mark.parametrize(("num_trials", "noticeable"), [(10, 0.1), (50, 0.002)])
def test_a_search_that_has_all_its_trials_or_much_to_gain_did_not_end_flat(num_trials, noticeable):
    study = searched()
    assert note_flat(study, num_trials=num_trials, noticeable=noticeable) is None
    assert FLAT not in study.user_attrs
    assert why_flat(study) is None


def test_what_was_told_holds_until_another_trial_has_finished():
    study = searched()
    note_flat(study, num_trials=12, noticeable=0.01)
    add(study, state=TrialState.RUNNING)
    assert why_flat(study) is not None
    add(study, 0.9, 0.7)
    assert why_flat(study) is None

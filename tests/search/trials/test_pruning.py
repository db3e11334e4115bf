import math

import numpy as np
import optuna
import pytest
from hypothesis import given, strategies as st
from optuna.trial import TrialState

from search.trials.peers import step_of
from search.trials.pruning import FeasiblePruner, difference
from trainers.fit import error_of_mean
from trainers.fit.hits import packed


def peer(scores, *, excess=-0.1, state=TrialState.COMPLETE, peeks=(), hits=None, **attrs):
    """A trial with a score at each epoch, of peeks at some; ``excess`` None is not known yet."""
    looks = [
        {"epoch": epoch, "peek": epoch in peeks, "validation_accuracy": score, "score": score, "hits": hits}
        for epoch, score in scores.items()
    ]
    return optuna.trial.create_trial(
        state=state,
        value=0.5 if state == TrialState.COMPLETE else None,
        intermediate_values={step_of(epoch): score for epoch, score in scores.items()},
        user_attrs={"evaluations": looks, "validation_accuracy": 0.5, "training_accuracy": 0.5} | attrs,
        constraints={} if excess is None else {"over": excess},
    )


def reason(peers, scores, *, rungs=(0.5, 1.0), keep=0.34, least=2, peeks=(), margin=0.0, hits=None, **more):
    study = optuna.create_study(direction="maximize")
    for other in (*peers, peer(scores, excess=None, state=TrialState.RUNNING, peeks=peeks, hits=hits)):
        study.add_trial(other)
    pruner = FeasiblePruner(rungs, keep=keep, peers=least, margin=margin, **more)
    own = study.trials[-1]
    told = pruner.reason(study, own)
    assert pruner.prune(study, own) is (told is not None)
    return told


GOOD = [peer({0.5: 0.80}), peer({0.5: 0.82}), peer({0.5: 0.84})]


def test_trial_below_its_peers_is_pruned_in_words():
    assert reason(GOOD, {0.5: 0.7}) == "rung 0.5 epochs: score 0.700 ranks 4 of 4 feasible, 2 go on"


def test_best_trial_at_a_rung_goes_on():
    assert reason(GOOD, {0.5: 0.9}) is None


def test_infeasible_peers_do_not_raise_the_bar():
    over_fitted = [peer({0.5: 0.95}, excess=0.05) for _ in range(5)]
    assert reason(over_fitted, {0.5: 0.7}) is None


def test_pruned_feasible_peers_count():
    assert reason([peer({0.5: 0.8}, state=TrialState.PRUNED)] * 3, {0.5: 0.7}) is not None


def test_a_full_evaluation_is_not_compared_with_peeks():
    peeked = [peer({0.5: 0.9}, peeks=[0.5])] * 5
    assert reason(peeked, {0.5: 0.1}) is None
    assert reason(peeked, {0.5: 0.1}, peeks=[0.5]) is not None
    assert reason([*peeked, *GOOD], {0.5: 0.7}) == (
        "rung 0.5 epochs: score 0.700 ranks 4 of 4 feasible, 2 go on"
    )


def test_a_peek_is_not_compared_with_full_evaluations():
    assert reason(GOOD, {0.5: 0.1}, peeks=[0.5]) is None


def test_the_training_figure_of_a_peek_in_an_older_database_has_no_say():
    """Version 0.1.0 kept that of batches in train mode: in the constraint, and in the score of the peek."""
    old = peer({0.5: 0.8}, excess=0.05, state=TrialState.PRUNED, peeks=[0.5])
    old.intermediate_values[500] = old.user_attrs["evaluations"][0]["score"] = 0.3
    assert reason([old, old], {0.5: 0.7}, peeks=[0.5]) is not None


def test_failed_peers_do_not_count():
    assert reason([peer({0.5: 0.8}, state=TrialState.FAIL, excess=None)] * 3, {0.5: 0.7}) is None


def test_training_accuracy_alone_never_prunes():
    study = optuna.create_study(direction="maximize")
    for other in GOOD:
        study.add_trial(other)
    # Its score equals the best one's; its training accuracy is far above the ceiling.
    study.add_trial(peer({0.5: 0.84}, excess=0.08, state=TrialState.RUNNING))
    assert FeasiblePruner((0.5,), keep=0.01, peers=1).reason(study, study.trials[-1]) is None


def test_tie_survives():
    assert reason([peer({0.5: 0.8})] * 5, {0.5: 0.8}, keep=0.01) is None


def test_too_few_peers_never_prune():
    assert reason(GOOD[:1], {0.5: 0.1}, least=2) is None
    assert reason(GOOD[:2], {0.5: 0.1}, least=2) is not None


def test_step_that_is_no_rung_never_prunes():
    peers = [peer({0.75: 0.9})] * 5
    assert reason(peers, {0.75: 0.1}) is None


def test_trial_is_judged_at_its_latest_report_only():
    assert reason(GOOD, {0.5: 0.1, 0.75: 0.1}) is None


def test_trial_without_a_report_goes_on():
    assert reason(GOOD, {}) is None


def test_without_rungs_nothing_is_pruned():
    assert reason(GOOD, {0.5: 0.1}, rungs=()) is None


def test_fractions_of_an_epoch_are_whole_steps():
    assert [step_of(e) for e in (0.25, 1 / 3, 0.5, 1.0)] == [250, 333, 500, 1000]


scores = st.integers(min_value=-8, max_value=8).map(lambda eighths: eighths / 8)


@given(st.lists(scores, max_size=8), scores, st.sampled_from([0.1, 0.34, 0.5, 1.0]), st.integers(1, 4))
def test_rank_equals_that_of_a_sorted_list(others, own, keep, least):
    told = reason([peer({1.0: s}) for s in others], {1.0: own}, keep=keep, least=least)
    rank = sorted([*others, own], reverse=True).index(own) + 1
    places = max(1, math.ceil(keep * (len(others) + 1)))
    assert (told is None) == (len(others) < least or rank <= places)


@pytest.mark.parametrize("keep", [0.01, 0.34, 1.0])
def test_at_least_one_trial_goes_on(keep):
    assert reason(GOOD, {0.5: 0.99}, keep=keep) is None


def right(first, last, *, of=300):
    """Hits of a look at so many texts that gets those from ``first`` to ``last`` right."""
    hits_N = np.zeros(of, dtype=bool)
    hits_N[first:last] = True
    return packed(hits_N)


def one_that(share, hits):
    return {"validation_accuracy": share, "score": share, "hits": hits}


def test_a_difference_that_its_look_cannot_see_ends_no_trial():
    twins = [peer({0.5: 0.84}, hits=right(0, 252))] * 3
    own = {0.5: 0.82}, right(6, 252)
    assert reason(twins, own[0], hits=own[1]) is not None
    assert reason(twins, own[0], hits=own[1], margin=3.0) is None


def test_a_clear_difference_ends_a_trial_and_says_how_clear_it_was():
    told = reason([peer({0.5: 0.84}, hits=right(0, 252))] * 3, {0.5: 0.5}, hits=right(102, 252), margin=2.0)
    assert told == (
        "rung 0.5 epochs: score 0.500 ranks 4 of 4 feasible, 2 go on; 34.0 points behind, standard error 2.7"
    )


def test_what_two_looks_both_got_right_or_wrong_adds_no_error():
    behind, error = difference(one_that(0.84, right(0, 252)), one_that(0.82, right(0, 246)))
    hits_N = np.zeros(300)
    hits_N[246:252] = 1
    assert behind == pytest.approx(0.02)
    assert error == pytest.approx(hits_N.std(ddof=1) / math.sqrt(300))


def test_looks_without_hits_are_taken_for_those_of_other_texts():
    behind, error = difference(one_that(0.84, None), one_that(0.82, None))
    assert behind == pytest.approx(0.02)
    assert error == pytest.approx(math.sqrt((0.84 * 0.16 + 0.82 * 0.18) / 300))


def test_what_the_ceiling_takes_off_counts_as_a_difference():
    same = right(0, 252)
    behind, _ = difference(one_that(0.84, same), one_that(0.84, same) | {"score": 0.80})
    assert behind == pytest.approx(0.04)


def test_without_a_margin_any_difference_ends_a_trial():
    assert reason([peer({0.5: 0.84}, hits=right(0, 252))] * 3, {0.5: 0.839}, hits=right(0, 252)) is not None


def test_where_texts_belong_to_groups_the_error_is_one_of_other_groups():
    looks = one_that(0.84, right(0, 252)), one_that(0.82, right(0, 240))
    groups_N = np.arange(300) // 12  # the 12 texts that make the difference are one group
    _, alone = difference(*looks)
    behind, error = difference(*looks, groups_N=groups_N)
    assert behind == pytest.approx(0.04)
    assert error == pytest.approx(error_of_mean((np.arange(300) // 12 == 20).astype(float), groups_N))
    assert error > 3 * alone


def test_a_difference_that_one_group_makes_ends_no_trial():
    peers, own = [peer({0.5: 0.84}, hits=right(0, 252))] * 3, ({0.5: 0.5}, right(102, 252))
    assert reason(peers, own[0], hits=own[1], margin=2.0) is not None
    one = np.where(np.arange(300) < 102, 0, np.arange(300))
    assert reason(peers, own[0], hits=own[1], margin=2.0, groups_N=one) is None

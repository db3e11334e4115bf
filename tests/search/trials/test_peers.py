import math
import random
from itertools import pairwise

import optuna
import pytest
from optuna.trial import TrialState

from search.study import results
from search.trials.peers import look_at, score_of, step_of
from search.trials.pruning import FeasiblePruner, difference
from search.trials.silence import Silences
from trainers.fit.hits import packed

RUNGS = (0.5, 1.0)


def plain_reason(study, trial, *, keep, least, margin):
    """The pruner's answer by a loop over all trials."""
    step = trial.last_step
    if step is None or step not in {step_of(r) for r in RUNGS}:
        return None
    own = look_at(step, trial)
    looks = [
        look_at(step, t)
        for t in study.get_trials(deepcopy=False)
        if t.number != trial.number
        and t.state != TrialState.FAIL
        and step in t.intermediate_values
        and not 0 < results.excess(t) < math.inf
    ]
    peers = sorted((look for look in looks if look["peek"] is own["peek"]), key=score_of, reverse=True)
    if len(peers) < least:
        return None
    rank = 1 + sum(score_of(peer) > score_of(own) for peer in peers)
    places = max(1, math.ceil(keep * (len(peers) + 1)))
    if rank <= places:
        return None
    behind, error = difference(peers[places - 1], own)
    return (
        None if margin and behind <= margin * error else (rank, len(peers) + 1, places, f"{100 * behind:.1f}")
    )


def plain_silences(trials):
    longest = {}
    for trial in trials:
        evaluations = trial.user_attrs.get("evaluations", ())
        moments = [0.0, *(e["seconds"] for e in evaluations)]
        moments.append(trial.user_attrs.get("seconds", moments[-1]))
        if evaluations:
            depth = trial.user_attrs["config"]["freeze_depth"]
            gaps = [b - a for a, b in pairwise(moments)]
            longest[depth] = max(longest.get(depth, 0.0), *gaps)
    return longest


def report(trial, epoch, draw):
    score = draw.choice([0.5, 0.6, 0.7, 0.8])
    look = {"epoch": epoch, "peek": draw.random() < 0.5, "score": score, "validation_accuracy": score}
    look |= {"training_accuracy": 0.9, "seconds": epoch * 10 * draw.random() + 10 * epoch}
    if draw.random() < 0.8:
        look["hits"] = packed([draw.random() < score for _ in range(24)])
    trial.set_user_attr("evaluations", [*trial.user_attrs.get("evaluations", ()), look])
    trial.report(look["validation_accuracy"] if look["peek"] else score, step_of(epoch))


def end(study, trial, draw):
    state = draw.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
    if draw.random() < 0.8:
        training = draw.choice([0.8, 0.95])
        trial.set_user_attr("validation_accuracy", 0.7)
        trial.set_user_attr("training_accuracy", training)
        trial.set_constraint("over", training - 0.92)
    trial.set_user_attr("seconds", 50 + 10 * draw.random())
    study.tell(
        trial,
        *([0.7] if state == TrialState.COMPLETE else []),
        state=None if state == TrialState.COMPLETE else state,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("keep", "margin"), [(0.34, 0.0), (0.34, 1.0)])
def test_decisions_and_silences_equal_those_of_a_loop_over_all_trials(seed, keep, margin):
    draw, study = random.Random(seed), optuna.create_study(direction="maximize")
    pruner, silences = FeasiblePruner(RUNGS, keep=keep, peers=2, margin=margin), Silences()
    under_way, num_pruned = {}, 0
    for _ in range(100):
        if not under_way or (len(under_way) < 6 and draw.random() < 0.4):
            trial = study.ask()
            trial.set_user_attr("config", {"freeze_depth": draw.randrange(3)})
            under_way[trial.number] = trial, [0.25, *RUNGS]
        else:
            number = draw.choice(list(under_way))
            trial, ages = under_way[number]
            if ages and draw.random() < 0.9:
                report(trial, ages.pop(0), draw)
                now = study.get_trials(deepcopy=False)[number]
                wanted = plain_reason(study, now, keep=keep, least=2, margin=margin)
                found = pruner.reason(study, now)
                assert (found is None) == (wanted is None)
                if wanted:
                    rank, of, places, behind = wanted
                    assert f"ranks {rank} of {of} feasible, {places} go on" in found
                    assert not margin or f"{behind} points behind" in found
                    num_pruned += 1
            else:
                del under_way[number]
                end(study, trial, draw)
        trials = study.get_trials(deepcopy=False)
        if draw.random() < 0.5:
            assert silences.look(trials).longest == plain_silences(trials)
    assert num_pruned > 0

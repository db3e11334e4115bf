import random

import optuna
import pytest
from optuna.trial import TrialState

from search.study import results
from search.study.endings import INTERRUPTED, KILLED, Reason, as_attributes
from search.study.retries import retry
from search.study.space import place
from search.study.tally import Tally, tally_of

KINDS = (
    "rung 0.5 epochs: score 0.700 ranks 5 of 5",
    "rung 1 epochs: score 0.7 ranks 4 of 4",
    "diverged: loss is nan",
)


def end(study, trial, draw):
    """End a running trial as chance wants it."""
    state = draw.choice([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, None])
    if state is None:
        retry(study, trial, reason=draw.choice([KILLED, INTERRUPTED]))
        return
    if draw.random() < 0.9:
        training = draw.choice([0.8, 0.9, 0.95])
        for key, value in {
            "training_accuracy": training,
            "validation_accuracy": 0.8,
            "seconds": draw.random(),
        }.items():
            trial.set_user_attr(key, value)
        trial.set_constraint("over", training - 0.92)
    for key, value in as_attributes(Reason.of_text(draw.choice(KINDS))).items():
        trial.set_user_attr(key, value)
    value = draw.choice([-0.1, 0.0, 0.7, 0.8]) if state == TrialState.COMPLETE else None
    study.tell(trial, value, state=None if value is not None else state)


def check(tally, trials):
    ended = results.finished(trials)
    assert tally.num_finished == len(ended)
    best = results.best_feasible(trials)
    assert (tally.best and tally.best.number) == (best and best.number)
    counts, plain = tally.counts(), results.count(ended)
    assert counts == plain
    assert list(counts.pruned_by_reason) == list(plain.pruned_by_reason)
    assert list(counts.failed_by_reason) == list(plain.failed_by_reason)
    assert sorted(tally.seconds) == sorted(
        t.user_attrs["seconds"] for t in ended if "seconds" in t.user_attrs
    )
    searched = [t for t in trials if "recipe" not in t.user_attrs]
    best = results.best_feasible(searched)
    assert (tally.best_searched and tally.best_searched.number) == (best and best.number)
    assert tally.num_searched == sum("recipe" not in t.user_attrs for t in ended)
    assert tally.num_waiting == sum(t.state == TrialState.WAITING for t in trials)
    assert [tally.place(n) for n in range(len(trials) + 1)] == [
        place(trials, n) for n in range(len(trials) + 1)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_up_equals_a_loop_over_all_trials(seed):
    draw, study, under_way = random.Random(seed), optuna.create_study(direction="maximize"), []
    for _ in range(60):
        if draw.random() < 0.1:
            study.enqueue_trial({}, user_attrs=draw.choice([{}, {"recipe": "usual"}]))
        if not under_way or draw.random() < 0.5:
            under_way.append(study.ask())
        else:
            end(study, under_way.pop(draw.randrange(len(under_way))), draw)
        if draw.random() < 0.5:
            check(tally_of(study), study.trials)
    check(tally_of(study), study.trials)
    check(Tally().look(study.trials), study.trials)


def test_a_trial_that_counted_and_is_repeated_after_all_does_not_count():
    study = optuna.create_study(direction="maximize")
    study.tell(study.ask(), state=TrialState.FAIL)
    assert tally_of(study).num_finished == 1
    study.enqueue_trial({}, user_attrs={"retry_of": 0})
    check(tally_of(study), study.trials)
    assert tally_of(study).num_finished == 0


def test_fewer_trials_than_before_are_counted_anew():
    study = optuna.create_study(direction="maximize")
    for value in (0.1, 0.2):
        study.tell(study.ask(), value)
    tally = Tally().look(study.trials)
    check(tally.look(study.trials[:1]), study.trials[:1])


def test_ended_trials_are_not_read_again():
    study = optuna.create_study(direction="maximize")
    for _ in range(3):
        study.tell(study.ask(), state=TrialState.FAIL)

    class Counted(list):
        num_read = 0

        def __getitem__(self, place):
            self.num_read += 1
            return super().__getitem__(place)

    trials, tally = Counted(study.trials), Tally()
    tally.look(trials)
    before = trials.num_read
    tally.look(trials)
    assert trials.num_read == before > 0

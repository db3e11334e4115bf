import sqlite3
from contextlib import closing
from pathlib import Path
from typing import get_args

import optuna
import pytest
from optuna.trial import TrialState

from search.study import attributes as attr
from search.study.endings import INTERRUPTED, KILLED, Ending, Reason, as_attributes, reason_of
from search.study.results import count
from search.study.retries import MAX_RETRIES, retry
from trainers.fit.stopping import StopReason

OLD = Path(__file__).parents[2] / "data" / "version-0.1.0"

RUNG = "rung 0.5 epochs: score 0.700 ranks 5 of 5 feasible, 3 go on; 1.2 points behind, standard error 0.3"

# Every text that was ever stored, what it tells, and how it is counted.
TEXTS = [
    ("epochs", Ending.EPOCHS, "epochs"),
    ("patience", Ending.PATIENCE, "patience"),
    ("ceiling", Ending.CEILING, "ceiling"),
    (RUNG, Ending.RUNG, "rung 0.5"),
    ("rung 2 epochs", Ending.RUNG, "rung 2"),
    ("diverged: training loss nan at learning rate 0.01", Ending.DIVERGED, "diverged"),
    ("out of memory", Ending.OUT_OF_MEMORY, "out of memory"),
    ("timed out: no news for 12 s", Ending.TIMED_OUT, "timed out"),
    ("killed", Ending.KILLED, "killed"),
    ("killed for lack of memory, it seems", Ending.KILLED, "killed for lack of memory, it seems"),
    (
        "killed for lack of memory, beside other fits",
        Ending.KILLED_BESIDE_OTHERS,
        "killed for lack of memory, beside other fits",
    ),
    ("interrupted", Ending.INTERRUPTED, "interrupted"),
    ("bug: ValueError: killed: rung 1", Ending.BUG, "bug"),
    ("something else: x", Ending.OTHER, "something else"),
    ("other", Ending.OTHER, "other"),
]


def trial(**attributes):
    return optuna.trial.create_trial(state=TrialState.FAIL, user_attrs=attributes)


@pytest.mark.parametrize(("text", "ending", "heading"), TEXTS)
def test_a_text_that_was_stored_alone_tells_the_kind(text, ending, heading):
    found = reason_of(trial(reason=text))
    assert found == Reason(ending, text)
    assert (str(found), found.heading) == (text, heading)
    assert count([trial(reason=text)]).failed_by_reason == {heading: 1}


def test_all_reasons_of_version_0_1_0_are_known():
    texts = []
    for file in OLD.rglob("study.db"):
        with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as database:
            found = database.execute("SELECT value_json FROM trial_user_attributes WHERE key = 'reason'")
            texts += [value.strip('"') for (value,) in found]
    assert texts
    assert Ending.OTHER not in {Reason.of_text(text).ending for text in texts}


def test_the_kind_decides_whatever_the_words_are():
    told = trial(reason="killed in other words", ending="timed out")
    assert reason_of(told) == Reason(Ending.TIMED_OUT, "killed in other words")


def test_a_kind_of_a_later_version_is_another_one():
    assert reason_of(trial(reason="x", ending="eclipse")) == Reason(Ending.OTHER, "x")


def test_a_trial_that_recorded_none_has_no_reason():
    assert reason_of(trial()) is None
    assert count([trial()]).failed_by_reason == {"reason unknown": 1}


@pytest.mark.parametrize(
    "reason",
    [
        KILLED,
        INTERRUPTED,
        Reason.of_kill("for lack of memory"),
        Reason.of_kill("for lack of memory", beside_others=True),
        Reason.of_bug(ValueError("rung 1")),
        *(Reason(Ending(name), name) for name in (*get_args(StopReason), "epochs")),
    ],
    ids=str,
)
def test_words_and_kind_agree_so_that_an_earlier_version_reads_them_alike(reason):
    assert Reason.of_text(reason.text) == reason
    assert reason_of(trial(**as_attributes(reason))) == reason


@pytest.mark.parametrize("remembered", ["both", "words alone"])
@pytest.mark.parametrize(
    ("reason", "num_trials"),
    [(KILLED, MAX_RETRIES + 1), (Reason.of_kill("for lack of memory", beside_others=True), 6)],
    ids=str,
)
def test_only_what_was_killed_by_its_own_fault_is_given_up(reason, num_trials, remembered):
    study = optuna.create_study()
    for _ in range(5):
        if all(t.state.is_finished() for t in study.trials) and study.trials:
            break
        running = study.ask()
        retry(study, running, reason=reason)
        if remembered == "words alone":
            number = study.trials[running.number]._trial_id
            study._storage._get_trial(number).user_attrs.pop(attr.ENDING)
    assert len(study.trials) == num_trials

"""A suite that cannot fail proves nothing: each kind of violation is noticed."""

import pytest
from invariants import best_number, check_export, check_invariants, check_report, given_up
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

SETUP = {"freeze_depth": 2, "dropout": 0.2, "head_width": 8, "learning_rate": 0.003, "patience": 1}
SPACE = {
    "freeze_depth": IntDistribution(1, 3),
    "dropout": FloatDistribution(0, 0.5),
    "head_width": IntDistribution(8, 16),
    "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
    "patience": IntDistribution(1, 3),
}


def trial(number, state="COMPLETE", *, dropout=None, excess=-0.1, **attrs):
    params = SETUP | {"dropout": number / 10 if dropout is None else dropout}
    made = create_trial(
        state=TrialState[state],
        value=0.5 + number / 16 if state == "COMPLETE" else None,
        params=params,
        distributions=SPACE,
        user_attrs={"validation_accuracy": 0.75} | attrs,
        constraints={"over": excess},
    )
    made.number = number
    return made


def told(number, state="COMPLETE"):
    return {
        "event": "told",
        "pid": 1,
        "number": number,
        "state": state,
        "value": 0.5 + number / 16 if state == "COMPLETE" else None,
    }


def fitted(number, accuracy=0.75):
    return {
        "event": "fit ended",
        "pid": 2,
        "setup": SETUP | {"dropout": number / 10},
        "validation_accuracy": accuracy,
    }


SOUND = (trial(0), trial(1, "FAIL", reason="killed"), trial(2, dropout=0.1, retry_of=1), trial(3, "PRUNED"))
ENTRIES = (told(0), told(1, "FAIL"), told(2), told(3, "PRUNED"), fitted(0), fitted(1))


def broken(trials=SOUND, entries=ENTRIES, num_trials=3):
    return [(b.kind, b.text) for b in check_invariants(trials, entries, num_trials=num_trials)]


def test_sound_study_breaks_nothing():
    assert broken() == []


def test_number_given_twice_is_noticed():
    assert ("duplicated", "2 trials have number 0") in broken((*SOUND, trial(0)), num_trials=4)


def test_number_left_out_is_noticed():
    assert broken((*SOUND, trial(5)), num_trials=4) == [("lost", "no trial has number 4")]


@pytest.mark.parametrize("state", ["RUNNING", "WAITING"])
def test_trial_that_has_not_ended_is_noticed(state):
    assert broken((*SOUND, trial(4, state))) == [("lost", f"trial 4 is still {state}")]


@pytest.mark.parametrize(("num_trials", "kind"), [(4, "lost"), (2, "duplicated")])
def test_budget_missed_either_way_is_noticed(num_trials, kind):
    assert broken(num_trials=num_trials) == [(kind, f"3 trials have ended, not {num_trials}")]


def test_trial_repeated_twice_is_noticed():
    again = trial(4, dropout=0.1, retry_of=1)
    assert broken((*SOUND, again)) == [("duplicated", "trial 1 was repeated 2 times")]


def test_ended_trial_that_was_repeated_is_noticed():
    again = trial(4, dropout=0.0, retry_of=0)
    assert broken((*SOUND, again)) == [("duplicated", "trial 0 is COMPLETE and was repeated all the same")]


def test_repeat_with_other_parameters_is_noticed():
    other = trial(2, dropout=0.3, retry_of=1)
    assert ("lost", "trial 2 repeats trial 1 with other parameters") in broken((*SOUND[:2], other, SOUND[3]))


@pytest.mark.parametrize("reason", ["killed", "interrupted"])
def test_trial_cut_off_and_not_repeated_is_noticed(reason):
    trials = (SOUND[0], trial(1, "FAIL", reason=reason), trial(2), SOUND[3])
    assert broken(trials, (), 4) == [("lost", f"trial 1 failed ({reason}) and was not repeated")]


def test_trial_that_failed_without_a_reason_is_noticed():
    assert broken((trial(0, "FAIL"),), (), 1) == [("lost", "trial 0 failed (None) and was not repeated")]


def test_setup_given_up_after_its_repeats_breaks_nothing():
    killed = [
        trial(n, "FAIL", dropout=0.1, reason="killed", **({"retry_of": n - 1} if n else {})) for n in range(3)
    ]
    assert broken(killed, (), 1) == []
    assert (given_up(killed), given_up(SOUND)) == (1, 0)


def test_trial_that_failed_for_a_reason_of_its_own_need_not_be_repeated():
    assert broken((trial(0, "FAIL", reason="out of memory"),), (), 1) == []


def test_result_that_was_stored_and_is_gone_is_noticed():
    assert broken(entries=(*ENTRIES, told(7))) == [("lost", "trial 7 was told COMPLETE 0.9375, and is gone")]


def test_result_that_has_changed_is_noticed():
    changed = [{**e, "value": 0.9} if e == told(0) else e for e in ENTRIES]
    assert broken(entries=changed) == [("lost", "trial 0 was told COMPLETE 0.9, and is COMPLETE 0.5")]


def test_trial_told_twice_is_noticed():
    assert broken(entries=(*ENTRIES, told(0))) == [("duplicated", "trial 0 was told 2 times")]


def test_fit_whose_figures_are_nowhere_is_noticed():
    assert broken(entries=(*ENTRIES, fitted(0, 0.6)))[0][0] == "lost"


def test_fit_of_a_trial_that_was_cut_off_and_says_so_breaks_nothing():
    assert broken(entries=(*ENTRIES, fitted(1, 0.6))) == []


def test_trial_in_two_live_processes_is_noticed():
    entry = {"event": "overlap", "pid": 3, "setup": SETUP}
    assert broken(entries=(*ENTRIES, entry)) == [("duplicated", f"two live processes fitted {SETUP}")]


def test_best_trial_keeps_its_constraint_and_is_the_earlier_of_equals():
    low, tie, over = trial(0), trial(1), trial(2, excess=0.1)
    tie = replace_value(tie, low.value)
    assert best_number([low, tie, over]) == 0
    assert best_number([over]) is None


def replace_value(made, value):
    made.value = value
    return made


def test_export_of_another_trial_without_its_model_is_noticed(tmp_path):
    (tmp_path / "winner.toml").write_text("# Trial 0 of study 'tiny', seed 0.\n")
    assert [b.text.partition(";")[0] for b in check_export(tmp_path, SOUND)] == [
        "winner.toml is not of trial 2: # Trial 0 of study 'tiny', seed 0.",
        f"no model directory {tmp_path}/model",
    ]


def test_export_with_another_configuration_is_noticed(tmp_path):
    (tmp_path / "winner.toml").write_text("# Trial 0 of study 'tiny', seed 0.\ndropout = 0.5\n")
    found = check_export(tmp_path, [trial(0, config={"dropout": 0.0})])
    assert found[0].text == "winner.toml is not the configuration of trial 0"


def summary(**changes):
    rows = [{"number": t.number, "state": t.state.name.lower(), "value": t.value} for t in SOUND]
    return {"best": {"number": 2}, "counts": {"finished": 3}, "trials": rows} | changes


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"best": {"number": 0}}, "the report's best trial is 0, the database's 2"),
        ({"best": None}, "the report's best trial is None, the database's 2"),
        ({"counts": {"finished": 4}}, "the report counts 4 trials, not 3"),
        ({"trials": summary()["trials"][:3]}, "the report lists 3 of 4 trials"),
        (
            {"trials": [{"number": 0, "state": "fail", "value": None}, *summary()["trials"][1:]]},
            "the report's row of trial 0 is not the database's",
        ),
    ],
)
def test_report_that_disagrees_with_the_database_is_noticed(changes, text):
    assert check_report(summary(), SOUND, num_trials=3) == []
    assert [b.text for b in check_report(summary(**changes), SOUND, num_trials=3)] == [text]

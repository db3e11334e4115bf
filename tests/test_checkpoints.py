import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume
from optuna.trial import TrialState
from toys import DATA, add, evaluation, fill, make_study

from search.checkpoints import checkpoints, floor_of, growth, hypervolume, outlook, pareto_front

SHARES = st.integers(0, 20).map(lambda n: n / 20)
POINTS = st.lists(st.tuples(SHARES, SHARES), max_size=12)
CEILING = 0.92


@pytest.fixture
def study():
    return make_study()


def rows_of(study, ceiling=CEILING):
    return checkpoints(study.trials, ceiling=ceiling)


def test_every_full_evaluation_is_a_checkpoint_and_no_peek_is(study):
    add(study, 0.9, 0.86, evaluations=[evaluation(0.5, 0.8, 0.7, peek=True), evaluation(1.0, 0.84, 0.85)])
    assert [(r["trial"], r["epoch"]) for r in rows_of(study)] == [(0, 1.0), (0, 2.0)]


def test_what_was_restored_has_its_exact_figures(study):
    add(study, 0.91, 0.86, evaluations=[evaluation(2.0, 0.86, 0.90), evaluation(3.0, 0.85, 0.95)])
    restored, other = rows_of(study)
    assert (restored["training_accuracy"], restored["exact"], restored["restored"]) == (0.91, True, True)
    assert (other["training_accuracy"], other["exact"], other["restored"]) == (0.95, False, False)
    assert [r["feasible"] for r in (restored, other)] == [True, False]


def test_pruned_trials_have_checkpoints_and_restore_none(study):
    add(study, 0.74, 0.70, state=TrialState.PRUNED, evaluations=[evaluation(1.0, 0.70, 0.74)])
    assert [r["restored"] for r in rows_of(study)] == [False]


def test_trials_that_were_run_again_do_not_count_twice(study):
    add(study, state=TrialState.FAIL, reason="killed", evaluations=[evaluation(1.0, 0.9, 0.5)])
    add(study, 0.8, 0.7, retry_of=0)
    assert {r["trial"] for r in rows_of(study)} == {1}


def test_front_is_what_no_other_beats(study):
    front = pareto_front(rows_of(fill(study)))
    rows = rows_of(study)

    def beaten(row):
        return any(
            o["validation_accuracy"] >= row["validation_accuracy"]
            and o["training_accuracy"] <= row["training_accuracy"]
            and (o["validation_accuracy"], o["training_accuracy"])
            != (row["validation_accuracy"], row["training_accuracy"])
            for o in rows
        )

    assert sorted((r["trial"], r["epoch"]) for r in front) == sorted(
        (r["trial"], r["epoch"]) for r in rows if not beaten(r)
    )
    assert any(not r["restored"] for r in front)


@given(points=POINTS, floor=SHARES)
def test_hypervolume_is_optunas(points, floor):
    import numpy as np

    losses = np.array([(-v, t) for v, t in points if v > floor and t < 1])
    expected = compute_hypervolume(losses, np.array([-floor, 1.0])) if len(losses) else 0.0
    assert hypervolume(points, floor=floor) == pytest.approx(expected, abs=1e-12)


@given(points=POINTS, more=POINTS, floor=SHARES)
def test_hypervolume_never_shrinks_with_more_points(points, more, floor):
    assert hypervolume(points + more, floor=floor) >= hypervolume(points, floor=floor) - 1e-12


def test_floor_is_the_largest_class_for_accuracy_and_one_class_of_all_otherwise():
    assert floor_of(DATA, "accuracy") == 0.6
    assert floor_of(DATA, "macro_f1") == 0.5
    assert floor_of(None, "accuracy") == floor_of({}, "accuracy") == 0.0


def test_history_has_an_entry_for_each_finished_trial(study):
    found = growth(fill(study).trials, rows_of(study), floor=0.6)
    assert [entry["finished"] for entry in found["history"]] == list(range(1, 7))
    areas = [entry["hypervolume"] for entry in found["history"]]
    assert areas == sorted(areas)
    points = [(r["validation_accuracy"], r["training_accuracy"]) for r in rows_of(study)]
    assert areas[-1] == pytest.approx(hypervolume(points, floor=0.6))


def test_running_trials_have_no_part_in_the_history(study):
    add(study, 0.8, 0.7)
    add(study, state=TrialState.RUNNING, evaluations=[evaluation(1.0, 0.9, 0.5)])
    found = growth(study.trials, rows_of(study), floor=0.5)
    assert [entry["trial"] for entry in found["history"]] == [0]
    assert found["history"][0]["hypervolume"] == pytest.approx(0.2 * 0.2)


def test_few_trials_tell_nothing():
    assert outlook([0.1] * 19)["pays"] is None
    assert "cannot be told before 20 have finished; 1 has." in outlook([0.1])["sentence"]


@pytest.mark.parametrize(
    ("areas", "pays", "words"),
    [
        (
            [0.1] * 20,
            False,
            "would hardly pay: over the last 10 of 20 finished ones the hypervolume of the Pareto",
        ),
        ([0.1] * 19 + [0.101], True, "may still pay: over the last 10 of 20"),
        ([0.1] * 19 + [0.1009], False, "grew by 0.90 %, less than the 1 %"),
        ([0.0] * 19 + [0.2], True, "rose from nothing."),
        ([0.0] * 20, False, "grew by 0.00 %"),
        ([0.1] * 30 + [0.2] * 30, False, "over the last 15 of 60"),
    ],
)
def test_outlook_follows_its_rule(areas, pays, words):
    found = outlook(areas)
    assert found["pays"] is pays
    assert words in found["sentence"]


def test_a_study_of_optunas_with_two_objectives_has_the_same_front(study):
    rows = rows_of(fill(study))
    other = optuna.create_study(directions=["maximize", "minimize"])
    for row in rows:
        values = [row["validation_accuracy"], row["training_accuracy"]]
        other.add_trial(
            optuna.trial.create_trial(values=values, user_attrs={"row": [row["trial"], row["epoch"]]})
        )
    expected = sorted(t.user_attrs["row"] for t in other.best_trials)
    assert sorted([r["trial"], r["epoch"]] for r in pareto_front(rows)) == expected

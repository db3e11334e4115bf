import json
from io import StringIO

import optuna
import pytest
from hypothesis import given, strategies as st
from optuna.trial import TrialState
from rich.console import Console
from toys import (
    CONFIRMATION as OUTCOME,
    DATA,
    add,
    as_written_by_0_1_0,
    evaluation,
    fill,
    make_spec,
    make_study,
)

from search.analysis.outcome import CONFIRMATION, confirmation_of
from search.dashboard.artifacts import _trial_files
from search.dashboard.learning_curves import curves_figure
from search.dashboard.notes import study_note, trial_note
from search.report.html import render
from search.report.summary import summarise
from search.report.terminal import print_report
from search.study.results import (
    best_feasible,
    finished,
    is_feasible,
    looks,
    nearest_to_feasible,
    notes,
    pareto_front,
    recipe_trials,
    training_kind,
)
from search.trials.progress import _ending


def trial(number, training=None, validation=None, *, state=TrialState.COMPLETE, value=None, **attrs):
    constraints = {}
    if training is not None:
        attrs |= {"training_accuracy": training, "validation_accuracy": validation}
        constraints = {"training_accuracy_over_ceiling": training - 0.92}
    made = optuna.trial.create_trial(
        state=state, value=validation if value is None else value, user_attrs=attrs, constraints=constraints
    )
    made.number = number
    return made


def numbers(trials):
    return [t.number for t in trials]


def test_running_waiting_and_retried_trials_are_not_finished():
    trials = [
        trial(0, 0.9, 0.8),
        trial(1, 0.9, 0.8, state=TrialState.PRUNED),
        trial(2, state=TrialState.FAIL),
        trial(3, state=TrialState.FAIL),
        trial(4, state=TrialState.RUNNING, retry_of=3),
        trial(5, state=TrialState.WAITING),
    ]
    assert numbers(finished(trials)) == [0, 1, 2]


def test_trial_on_the_ceiling_is_feasible():
    assert is_feasible(trial(0, 0.92, 0.8))
    assert not is_feasible(trial(0, 0.9200001, 0.8))


def test_trial_without_a_training_accuracy_is_not_feasible():
    assert not is_feasible(trial(0, value=0.99))


def test_best_feasible_ignores_pruned_and_over_fitted_trials():
    trials = [trial(0, 0.99, 0.95), trial(1, 0.9, 0.94, state=TrialState.PRUNED), trial(2, 0.9, 0.8)]
    assert best_feasible(trials).number == 2


def test_best_feasible_of_equals_is_the_earliest():
    assert best_feasible([trial(0, 0.9, 0.8), trial(1, 0.8, 0.8)]).number == 0


def test_best_feasible_is_none_where_none_is():
    assert best_feasible([trial(0, 0.99, 0.95)]) is None
    assert best_feasible([]) is None


def test_negative_scores_are_ranked_too():
    assert best_feasible([trial(0, 0.9, 0.1, value=-0.5), trial(1, 0.9, 0.1, value=-0.1)]).number == 1


def test_nearest_to_feasible_exceeds_the_ceiling_least():
    assert nearest_to_feasible([trial(0, 0.99, 0.95), trial(1, 0.93, 0.7), trial(2, 0.93, 0.8)]).number == 2


def test_recipe_trial_is_the_latest_finished_one():
    study = optuna.create_study(direction="maximize")
    study.add_trial(trial(0, state=TrialState.FAIL, recipe="frozen-head"))
    study.add_trial(trial(1, 0.9, 0.8, recipe="frozen-head", retry_of=0))
    study.add_trial(trial(2, 0.9, 0.8))
    assert {name: t.number for name, t in recipe_trials(study).items()} == {"frozen-head": 1}


def test_pareto_front_leaves_pruned_trials_out():
    assert numbers(pareto_front([trial(0, 0.9, 0.8), trial(1, 0.5, 0.99, state=TrialState.PRUNED)])) == [0]


shares = st.integers(min_value=0, max_value=8).map(lambda eighths: eighths / 8)


@given(st.lists(st.tuples(shares, shares), max_size=12))
def test_pareto_front_equals_that_of_brute_force(points):
    trials = [trial(i, training, validation) for i, (training, validation) in enumerate(points)]

    def beaten(i):
        training, validation = points[i]
        return any(t <= training and v >= validation and (t, v) != (training, validation) for t, v in points)

    front = pareto_front(trials)
    assert sorted(numbers(front)) == [i for i in range(len(points)) if not beaten(i)]
    accuracies = [t.user_attrs["validation_accuracy"] for t in front]
    assert accuracies == sorted(accuracies, reverse=True)


PEEK = evaluation(0.5, 0.7011, 0.5432, peek=True)
"""As version 0.1.0 left it: the training figure is that of batches in train mode."""


def pruned_at(*evaluations):
    study = make_study()
    rung = "rung 0.5 epochs: score 0.701 ranks 5 of 5 feasible, 3 go on"
    add(study, 0.5432, 0.7011, state=TrialState.PRUNED, reason=rung, evaluations=list(evaluations))
    return study.trials[0]


def test_a_peek_has_no_training_figure_and_its_score_is_validation_alone():
    (peek,) = looks(pruned_at(PEEK | {"score": 0.3}))
    assert (peek["training_accuracy"], peek["score"]) == (None, 0.7011)


def test_a_full_evaluation_is_left_as_it_is():
    full = evaluation(0.5, 0.7, 0.75)
    assert looks(pruned_at(full)) == [full]


def test_a_trial_that_was_pruned_at_a_peek_has_no_training_figure():
    found = pruned_at(evaluation(0.25, 0.6, 0.65), PEEK)
    assert not {"training_accuracy", "training_exact", "gap"} & set(notes(found))
    assert notes(found)["validation_accuracy"] == 0.7011
    assert not is_feasible(found)


def test_what_a_training_figure_is_depends_on_where_the_trial_ended():
    study = fill(make_study())
    kinds = [training_kind(t) for t in study.trials]
    assert kinds == ["exact", "exact", "exact", "estimate", None, "exact"]
    assert training_kind(pruned_at(evaluation(0.25, 0.6, 0.65), PEEK)) == "not measured"


def test_nothing_that_is_shown_holds_the_training_figure_of_a_peek():
    study, spec = fill(make_study()), make_spec()
    add(study, 0.91, 0.86, evaluations=[PEEK, evaluation(2.0, 0.86, 0.9)])
    study.add_trial(pruned_at(evaluation(0.25, 0.69, 0.65), PEEK))
    summary, output = summarise(study, spec), StringIO()
    print_report(study, spec, Console(file=output, width=200))
    shown = {
        "report": output.getvalue(),
        "report.json": json.dumps(summary.plain()),
        "report.html": render(summary, options="--study toy"),
        "study note": study_note(study, spec),
        "curves": curves_figure(study, spec).to_json(),
    }
    for trial in study.trials[-2:]:
        shown |= {
            f"note {trial.number}": trial_note(trial, spec),
            f"line {trial.number}": _ending(trial),
            f"table {trial.number}": list(_trial_files(trial, spec))[1].make().decode(),
        }
    assert [name for name, text in shown.items() if "0.5432" in text or "54.32" in text] == []
    assert all("70.11" in shown[name] for name in ("report.html", "note 7", "line 7"))


def test_the_row_of_a_trial_pruned_at_a_peek_says_that_nothing_was_measured():
    study = make_study()
    study.add_trial(pruned_at(PEEK))
    (row,) = summarise(study, make_spec()).trials
    told = ("training_accuracy", "training_exact", "training_kind", "gap", "feasible")
    assert [getattr(row, k) for k in told] == [None, None, "not measured", None, None]


def kept(outcome):
    """What is read of an outcome that a study keeps."""
    study = make_study()
    study.set_user_attr("data", DATA)
    study._storage.set_study_system_attr(study._study_id, CONFIRMATION, outcome)
    return confirmation_of(study)


def test_an_outcome_is_read_as_it_was_kept():
    assert kept(OUTCOME).plain() == OUTCOME | {"words": None}


def test_of_a_study_that_nobody_confirmed_there_is_none():
    assert confirmation_of(make_study()) is None


def test_an_outcome_of_version_0_1_0_is_read_as_that_of_one_tested_fit():
    first = kept(as_written_by_0_1_0(OUTCOME)).finalists[0]
    assert (first.test.num_fits, first.test.spread) == (1, None)
    assert [fit.test_accuracy for fit in first.fits] == [0.845, None, None]
    assert first.flattery.search_above_fresh.low is not None
    assert first.flattery.fresh_above_test.value == pytest.approx(0.85 - 0.845)


def test_its_comparisons_are_of_two_fits_and_no_pair_stands_twice():
    found = as_written_by_0_1_0(OUTCOME)
    [pair] = found["comparisons"]
    found["comparisons"] += [pair | {"first": pair["second"], "second": pair["first"], "difference": -0.085}]
    [read] = kept(found).comparisons
    assert (read.test, read.num_seeds, read.difference) == ("mcnemar", 1, 0.085)

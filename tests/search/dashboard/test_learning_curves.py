import io

import pytest
from matplotlib import image

from search.dashboard.learning_curves import curve_picture, curves_figure
from search.study import results
from search.study.opening import open_study
from search.study.spec import load_spec


@pytest.fixture(scope="module")
def spec(finished_study):
    return load_spec(finished_study[0])


@pytest.fixture(scope="module")
def study(finished_study, spec):
    return open_study(spec, finished_study[0])


def test_the_picture_is_a_png_that_is_not_blank(study, spec):
    picture = image.imread(io.BytesIO(curve_picture(results.complete(study.trials)[0], spec)))
    assert picture.shape[:2] == (560, 800)
    assert picture.std() > 0.05


def test_the_same_trial_gives_the_same_bytes(study, spec):
    trial = results.complete(study.trials)[0]
    assert curve_picture(trial, spec) == curve_picture(trial, spec)


def test_a_name_with_a_dollar_is_drawn(study, spec):
    trial = study.get_trials()[0]
    trial.set_user_attr("recipe", "$\\frac$")
    assert curve_picture(trial, spec)


def test_the_figure_counts_trials_and_draws_the_best_one_with_its_gap(study, spec):
    traces = {t.name: t for t in curves_figure(study, spec).data}
    best = results.best_feasible(study.trials)
    feasible = sum(map(results.is_feasible, results.complete(study.trials)))
    assert f"feasible ({feasible})" in traces
    training, validation = (traces[f"trial {best.number}, {k}"] for k in ("training", "validation"))
    at = validation.x.index(best.user_attrs["best_epoch"])
    assert validation.y[at] == best.user_attrs["validation_accuracy"]
    assert training.y[at] == best.user_attrs["training_accuracy"]


def test_the_lines_of_different_trials_are_parted(study, spec):
    (feasible,) = [t for t in curves_figure(study, spec).data if t.name.startswith("feasible")]
    assert feasible.x.count(None) == int(feasible.name.split("(")[1].rstrip(")"))


def test_an_empty_study_has_a_figure(spec):
    import optuna

    figure = curves_figure(optuna.create_study(direction="maximize"), spec)
    assert [t.name for t in figure.data] == ["pruned (0)", "infeasible (0)", "feasible (0)"]

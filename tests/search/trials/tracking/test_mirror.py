import datetime
import math

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from search.storage import LeaseLostError
from search.study import KILLED, Reason, StudySpec, as_attributes, attributes as attr
from search.trials.tracking import mirror
from search.trials.tracking.mirror import Mirror, experiment_of, run_of
from search.trials.tracking.runs import Look
from search.trials.tracking.targets import Target

SPEC = StudySpec.model_validate(
    {
        "name": "toy",
        "score": {"metric": "macro_f1", "ceiling": 0.9},
        "data": {"source": "imdb"},
        "fit": {"freeze_depth": 1, "dropout": 0.1, "head_width": 8, "learning_rate": 1e-3, "patience": 2},
    }
)
BEGAN = datetime.datetime(2026, 11, 28, 8)
LOOKS = [
    {"epoch": 0.25, "peek": True, "seconds": 1.5, "validation_loss": 0.7, "validation_accuracy": 0.5}
    | {"training_accuracy": None, "score": 0.5, "exact": False, "hits": "00ff"},
    {"epoch": 1, "peek": False, "seconds": 4.0, "validation_loss": math.nan, "validation_accuracy": 0.625}
    | {"training_accuracy": 0.75, "score": 0.625, "exact": True, "hits": None},
]


def trial(state=TrialState.COMPLETE, *, reason=None, **attributes):
    """A trial with its configuration and two looks."""
    attributes = {attr.CONFIG: {"dropout": 0.1, "data": {"source": "imdb", "split": None}}} | attributes
    attributes |= {attr.EVALUATIONS: LOOKS} | (as_attributes(reason) if reason else {})
    made = create_trial(
        state=state,
        value=0.625 if state == TrialState.COMPLETE else None,
        params={"dropout": 0.1},
        distributions={"dropout": FloatDistribution(0, 1)},
        user_attrs=attributes,
        constraints={"over": -0.15},
    )
    made.datetime_start = BEGAN
    made.datetime_complete = BEGAN + datetime.timedelta(seconds=9) if state.is_finished() else None
    return made


def test_a_trial_is_told_with_settings_curves_figures_reason_and_origin():
    figures = {
        attr.VALIDATION_ACCURACY: 0.625,
        attr.TRAINING_ACCURACY: 0.75,
        attr.GAP: 0.125,
        attr.EPOCHS: 2.0,
    }
    ended = trial(reason=Reason.of_text("patience"), **figures, **{attr.RECIPE: "probe", attr.RETRY_OF: 3})
    run = run_of(ended, metric="macro_f1")
    began = BEGAN.timestamp()
    assert (run.state, run.began, run.ended) == ("complete", began, began + 9)
    assert run.settings == {"dropout": 0.1, "data.source": "imdb", "data.split": "None"}
    assert run.looks == (
        Look(
            epoch=0.25,
            time=began + 1.5,
            figures={"peek/validation_macro_f1": 0.5, "peek/validation_loss": 0.7},
        ),
        Look(
            epoch=1,
            time=began + 4,
            figures={
                "curve/validation_macro_f1": 0.625,
                "curve/training_macro_f1": 0.75,
                "curve/score": 0.625,
            },
        ),
    )
    assert [look.step for look in run.looks] == [250, 1000]
    assert run.figures == {
        "validation_macro_f1": 0.625,
        "training_macro_f1": 0.75,
        "score": 0.625,
        "training_over_ceiling": -0.15,
        "gap": 0.125,
        "epochs": 2.0,
    }
    assert run.notes == {
        "reason": "patience",
        "origin": "recipe probe",
        "repeats": "trial 3",
        "training figure": "exact",
    }


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        (TrialState.RUNNING, None, "running"),
        (TrialState.PRUNED, Reason.of_text("rung 0.5: low"), "pruned"),
        (TrialState.FAIL, Reason.of_text("diverged"), "failed"),
        (TrialState.FAIL, KILLED, "cut off"),
    ],
)
def test_a_trial_is_told_as_it_is_by_then(state, reason, told):
    run = run_of(trial(state, reason=reason), metric="macro_f1")
    assert run.state == told
    assert (run.ended is None) == (told == "running")


def test_the_figures_of_a_running_trial_are_not_final():
    assert (
        run_of(trial(TrialState.RUNNING, **{attr.VALIDATION_ACCURACY: 0.5}), metric="accuracy").figures == {}
    )


class Courier:
    """Keeps what it gets."""

    def __init__(self, *_):
        self.runs, self.did = [], []
        made.append(self)

    def take(self, run):
        self.runs.append((run.number, run.state))

    def close(self):
        self.did.append("close")

    def kill(self):
        self.did.append("kill")


made = []


@pytest.fixture
def study(monkeypatch):
    monkeypatch.setattr(mirror, "Courier", Courier)
    made.clear()
    return optuna.create_study(direction="maximize")


def shown_in(study, tmp_path, *targets):
    return Mirror(study, SPEC, tmp_path, targets, tell=print)


def test_left_in_order_it_shows_what_ended_beside_it(study, tmp_path):
    study.enqueue_trial({"x": 1})
    under_way = study.ask()
    study.enqueue_trial({"x": 2})
    with shown_in(study, tmp_path, Target("mlflow"), Target("wandb")) as shown:
        shown.saw(under_way)
        study.tell(under_way, state=TrialState.FAIL)
    for courier in made:
        assert courier.runs == [(0, "running"), (0, "failed")]
        assert courier.did == ["close", "kill"]


def test_trials_that_another_search_has_now_are_left_alone(study, tmp_path):
    study.add_trial(trial())
    with pytest.raises(LeaseLostError), shown_in(study, tmp_path, Target("mlflow")):
        raise LeaseLostError("gone")
    assert (made[0].runs, made[0].did) == ([], ["kill"])


def test_without_a_tracker_nothing_is_read_or_written(study, tmp_path):
    with shown_in(study, tmp_path) as shown:
        shown.saw(None)
        shown.show_all()
    assert made == []
    assert attr.TRACKING not in study.user_attrs


def test_a_study_keeps_what_tells_it_from_others_of_its_name(study, tmp_path):
    first = experiment_of(study, SPEC, tmp_path)
    other = experiment_of(optuna.create_study(), SPEC, tmp_path)
    assert experiment_of(study, SPEC, tmp_path) == first
    assert (first.name, other.name) == ("toy", "toy")
    assert first.identity != other.identity
    assert first.description == (
        "Frostline study toy: imdb, encoder minilm. Goal: validation 85 %. Constraint: training figure at most 90 %. "
        "A step of a curve is a thousandth of an epoch."
    )

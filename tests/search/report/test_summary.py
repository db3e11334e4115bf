"""What ``report.json`` says stays what it was before it had models: key by key, for studies of every kind."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from optuna.trial import TrialState
from toys import CONFIRMATION, add, as_written_by_0_1_0, evaluation, fill, make_spec, make_study

from search.report.command import write_report
from search.report.models import schema_text
from search.report.summary import summarise, trial_row
from search.study.opening import open_study
from search.study.spec import load_spec
from trainers.errors import InputError

DATA = Path(__file__).parents[2] / "data"
OF_THE_PLACE = ("machine", "versions", "spec")
"""What depends on where and by whom a report is written, or is the study's file again."""

NEWER = ("flat", "majority")
"""What reports say since."""


def every_kind(confirmation):
    """A study with everything that a report knows how to say."""
    study = fill(make_study())
    noted = {"peak_flops": 1e11, "workers": 2, "preparation_seconds": 10.0, "num_layers": 6}
    noted |= {"words": {"validation_accuracy": 0.8, "num_texts": 200, "seconds": 3.0}}
    for name, value in noted.items():
        study.set_user_attr(name, value)
    sample = {"num_validation_texts": 50, "training_interval": [0.7, 0.8]}
    add(
        study,
        0.75,
        0.72,
        evaluations=[evaluation(1.0, 0.7, 0.73) | sample],
        **sample | {"training_exact": False},
    )
    spent = {"flops": 3e12, "training_seconds": 45.0, "evaluation_seconds": 24.0, "batching_seconds": 1.0}
    add(study, 0.95, 0.84, recipe="probe", **spent)
    thaw = {"freeze_depth": 4, "learning_rate": 1e-6, "epochs": 2}
    stage = {"freeze_depth": 6, "validation_accuracy": 0.6, "training_accuracy": 0.65, "epochs": 20.0}
    config = {"freeze_depth": 6, "epochs": 20, "dropout": 0.3, "learning_rate": 1e-5}
    add(
        study,
        0.76,
        0.74,
        recipe="thaw-top",
        config=config | {"thaw": thaw},
        stages=[stage, stage | {"freeze_depth": 4}],
    )
    add(study, 0.61, 0.60, recipe="frozen-head", config=config | {"batch_size": 32}, epochs=3.0)
    add(study, state=TrialState.FAIL, reason="killed")
    add(study, 0.85, 0.83, retry_of=10, start="trial 24 of imdb")
    add(
        study,
        0.9,
        0.7,
        state=TrialState.PRUNED,
        reason="rung 0.5 epochs",
        evaluations=[evaluation(0.5, 0.7, 0.9, peek=True)],
    )
    for n in range(10):
        add(study, 0.80 + n / 100, 0.80 + n / 200, evaluations=[evaluation(2.0, 0.80 + n / 200, 0.79)])
    add(study, state=TrialState.RUNNING, evaluations=[evaluation(1.0, 0.8, 0.99)])
    add(study, state=TrialState.WAITING)
    study._storage.set_study_system_attr(study._study_id, "frostline:confirmation", confirmation)
    return summarise(study, make_spec())


def of_version_0_1_0(folder):
    """What is said of the study that version 0.1.0 searched and confirmed."""
    path = shutil.copytree(DATA / "version-0.1.0", folder / "kept") / "tiny.toml"
    spec = load_spec(path)
    return summarise(open_study(spec, path, create=False), spec)


SUMMARIES = {
    "empty": lambda _: summarise(make_study(), make_spec()),
    "every-kind": lambda _: every_kind(CONFIRMATION | {"words": {"accuracy": 0.8, "low": 0.7, "high": None}}),
    "every-kind-confirmed-by-0.1.0": lambda _: every_kind(as_written_by_0_1_0(CONFIRMATION)),
    "version-0.1.0": of_version_0_1_0,
}


def rounded(text):
    """A report as data; the last digits of a figure are the machine's."""
    report = json.loads(text, parse_float=lambda figure: round(float(figure), 9))
    return {key: value for key, value in report.items() if key not in OF_THE_PLACE + NEWER}


@pytest.mark.parametrize("kind", SUMMARIES)
def test_report_says_what_it_said_before_it_had_models(kind, tmp_path):
    write_report(SUMMARIES[kind](tmp_path), tmp_path / "report.json")
    assert rounded((tmp_path / "report.json").read_text()) == rounded(
        (DATA / "reports" / f"{kind}.json").read_text()
    )


def test_the_schema_that_is_shipped_is_the_models_own():
    shipped = files("search.report").joinpath("report.schema.json").read_text(encoding="utf-8")
    assert shipped == schema_text(), (
        "write it anew: python -c 'from search.report.models import write_schema; write_schema()'"
    )


@pytest.mark.parametrize("kind", SUMMARIES)
def test_a_report_of_before_is_as_its_schema_says(kind, tmp_path):
    today = SUMMARIES[kind](tmp_path).plain()
    report = json.loads((DATA / "reports" / f"{kind}.json").read_text())
    report |= {key: today[key] for key in OF_THE_PLACE}
    Draft202012Validator(json.loads(schema_text())).validate(report)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seconds": "soon"}, "trial 0 in the study's database: seconds cannot be read"),
        ({"reason": ["a", "list"]}, "trial 0 in the study's database: reason cannot be read"),
    ],
)
def test_what_no_version_stored_is_named_with_its_trial(wrong, said):
    study = make_study()
    add(study, 0.8, 0.8, **wrong)
    with pytest.raises(InputError) as caught:
        trial_row(study.trials[0])
    assert str(caught.value).startswith(said)
    assert "restore the database" in str(caught.value)

"""Trials as runs of an MLflow experiment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeVar

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric, Param, RunTag, ViewType

from search.trials.tracking.mlflow_model import write_model
from search.trials.tracking.runs import Experiment, Look, Model, Run

STUDY, TRIAL, DIGEST = "frostline.study", "frostline.trial", "frostline.sha256"
"""Tags by which an experiment, a run and a model are found again."""

STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "cut off": "KILLED"}

MOST_METRICS, MOST_PARAMS, LONGEST_PARAM, LONGEST_TAG = 1000, 100, 6000, 5000
"""What one request may hold."""

T = TypeVar("T")


class MlflowTracker:
    """Runs of one experiment.

    Args:
        client: Of MLflow.
        experiment: Its id.
    """

    def __init__(self, client: MlflowClient, *, experiment: str) -> None:
        self._client = client
        self._experiment = experiment
        self._ids: dict[int, str] = {}

    def began(self, run: Run) -> int | None:
        """Create the run, or find it by its tag; one that the user has deleted stays so."""
        found = self._client.search_runs(
            [self._experiment], f"tags.`{TRIAL}` = '{run.number}'", run_view_type=ViewType.ALL, max_results=1
        )
        if not found:
            info = self._client.create_run(
                self._experiment,
                start_time=_milliseconds(run.began),
                run_name=run.name,
                tags={TRIAL: str(run.number), **_short(run.notes)},
            ).info
        else:
            info = found[0].info
            if info.status != "RUNNING" or info.lifecycle_stage != "active":
                return None
        self._ids[run.number] = info.run_id
        for some in _pieces(run.settings.items(), MOST_PARAMS):
            self._client.log_batch(
                info.run_id, params=[Param(key, str(value)[:LONGEST_PARAM]) for key, value in some]
            )
        return self._num_looks(info.run_id, run) if found else 0

    def _num_looks(self, run_id: str, run: Run) -> int:
        """Count the looks that a run holds."""
        seen = {
            (metric.step, metric.value)
            for key in {key for look in run.looks for key in look.figures}
            for metric in self._client.get_metric_history(run_id, key)
        }
        there = (all((look.step, v) in seen for v in look.figures.values()) for look in run.looks)
        return next((i for i, is_there in enumerate(there) if not is_there), len(run.looks))

    def evaluated(self, run: Run, looks: tuple[Look, ...]) -> None:
        """Add points to the curves."""
        points = (
            Metric(key, value, _milliseconds(look.time), look.step)
            for look in looks
            for key, value in look.figures.items()
        )
        for some in _pieces(points, MOST_METRICS):
            self._client.log_batch(self._ids[run.number], metrics=some)

    def ended(self, run: Run) -> None:
        """Add the figures, and set the status, last."""
        run_id = self._ids[run.number]
        time = _milliseconds(run.ended or run.began)
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, value, time, 0) for key, value in run.figures.items()],
            tags=[RunTag(key, value) for key, value in _short({**run.notes, "state": run.state}).items()],
        )
        self._client.set_terminated(run_id, STATUS[run.state], end_time=time)
        del self._ids[run.number]

    def exported(self, run: Run, model: Model) -> None:
        """Add a model named ``model`` to the run, which ``mlflow.transformers.load_model`` and ``mlflow.pyfunc`` read."""
        [found] = self._client.search_runs(
            [self._experiment], f"tags.`{TRIAL}` = '{run.number}'", max_results=1
        )
        same = self._client.search_logged_models([self._experiment], f"tags.`{DIGEST}` = '{model.sha256}'")
        if any(logged.status == LoggedModelStatus.READY for logged in same):  # a filter cannot ask for it
            return
        logged = self._client.create_logged_model(
            self._experiment,
            name="model",
            source_run_id=found.info.run_id,
            tags={DIGEST: model.sha256, TRIAL: str(run.number), "reason": model.reason[:LONGEST_TAG]},
            params={key: str(value)[:LONGEST_PARAM] for key, value in run.settings.items()},
            model_type="classifier",
        )
        self._client.log_outputs(found.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        state: Literal["READY", "FAILED"] = "FAILED"
        try:
            with TemporaryDirectory() as scratch:
                folder = Path(scratch, "model")
                write_model(model, folder, run_id=found.info.run_id, model_id=logged.model_id)
                self._client.log_model_artifacts(logged.model_id, str(folder))
            state = "READY"
        finally:
            self._client.finalize_logged_model(logged.model_id, state)


def open_tracker(experiment: Experiment, place: str | None) -> tuple[MlflowTracker, str]:
    """Return the tracker of an experiment, and how to see it.

    Args:
        experiment: That is found, or created.
        place: URL of a server, or folder of a database and files; None is what MLflow itself takes.
    """
    if place is None or "://" in place:
        client, artifacts = MlflowClient(tracking_uri=place), None
    else:
        Path(place).mkdir(parents=True, exist_ok=True)
        client = MlflowClient(tracking_uri=f"sqlite:///{place}/mlflow.db")
        artifacts = Path(place, "artifacts").as_uri()
    identifier, name = _find_or_create(client, experiment, artifacts)
    uri = client.tracking_uri
    if uri.startswith("http"):
        how = f"{_without_user(uri).rstrip('/')}/#/experiments/{identifier}"
    else:
        how = f"mlflow server --backend-store-uri {_without_user(uri)} shows experiment {name}"
    return MlflowTracker(client, experiment=identifier), how


def _find_or_create(client: MlflowClient, experiment: Experiment, artifacts: str | None) -> tuple[str, str]:
    """Return id and name of the study's experiment; where the name is taken by another one, it gets a longer one."""
    for name in (experiment.name, f"{experiment.name} {experiment.identity[:8]}"):
        found = client.get_experiment_by_name(name)
        if found is None:
            tags = {STUDY: experiment.identity, "mlflow.note.content": experiment.description}
            return client.create_experiment(name, artifact_location=artifacts, tags=tags), name
        if found.tags.get(STUDY) == experiment.identity and found.lifecycle_stage == "active":
            return found.experiment_id, name
    raise RuntimeError(f"experiment {name!r} is deleted; restore it")


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _short(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value[:LONGEST_TAG] for key, value in tags.items()}


def _pieces(things: Iterable[T], size: int) -> Iterator[list[T]]:
    them = iter(things)
    while some := list(islice(them, size)):
        yield some


def _without_user(uri: str) -> str:
    """Return a URI without user and password."""
    scheme, slashes, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"

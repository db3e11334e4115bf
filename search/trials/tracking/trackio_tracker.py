"""Trials as runs of a Trackio project on this machine."""

from __future__ import annotations

import contextvars
import re

import trackio
from trackio.run import Run as TrackioRun
from trackio.sqlite_storage import SQLiteStorage

from search.trials.tracking.runs import Experiment, Look, Model, Run

STATE = "state"
"""Column of the last row of a run."""


class TrackioTracker:
    """Runs of one project.

    Args:
        project: Its name.
    """

    def __init__(self, project: str) -> None:
        self._project = project
        self._runs: dict[int, TrackioRun] = {}

    def began(self, run: Run) -> int | None:
        """Open the run of this name."""
        rows = SQLiteStorage.get_logs(self._project, run.name)
        if any(STATE in row for row in rows):
            return None
        self._runs[run.number] = self._open(run)
        return len(rows)  # a look is a row there

    def _open(self, run: Run) -> TrackioRun:
        """Open a run in a context of its own: there, no other run is the current one, which would be closed."""
        opened: TrackioRun = contextvars.copy_context().run(
            trackio.init,
            project=self._project,
            name=run.name,
            config=dict(run.settings),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        return opened

    def evaluated(self, run: Run, looks: tuple[Look, ...]) -> None:
        """Add points to the curves."""
        for look in looks:
            self._runs[run.number].log({"epoch": look.epoch, **look.figures}, step=look.step)

    def ended(self, run: Run) -> None:
        """Add figures, state and reason as a last row, and close the run."""
        opened = self._runs.pop(run.number)
        opened.log(
            {**run.figures, **run.notes, STATE: run.state}, step=run.looks[-1].step if run.looks else 0
        )
        opened.finish()  # type: ignore[no-untyped-call,unused-ignore]

    def exported(self, run: Run, model: Model) -> None:
        """Add the model as an artifact; a version of the same content is not added again."""
        opened = self._open(run)
        artifact = trackio.Artifact(
            re.sub(r"[^\w.-]", "-", self._project, flags=re.ASCII),
            type="model",
            description=f"{run.name}: {model.reason}",
            metadata={"trial": run.number, **run.figures},
        )
        artifact.add_dir(model.folder)
        opened.log_artifact(artifact)
        opened.finish()  # type: ignore[no-untyped-call,unused-ignore]


def open_tracker(experiment: Experiment, place: str | None) -> tuple[TrackioTracker, str]:  # noqa: ARG001
    """Return the tracker of an experiment, and how to see it; it has no place of its own to give."""
    project = f"{experiment.name}-{experiment.identity[:8]}"
    return TrackioTracker(project), f"trackio show --project {project}"

"""Trials as runs of a project of Weights & Biases; without an API key they stay on this machine."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import wandb

from search.trials.tracking.runs import Experiment, Look, Model, Run

ENDED = "frostline-ended"
"""File in the folder of a run that has ended, whether it was sent or not."""


class WandbTracker:
    """Runs of one project.

    Args:
        experiment: Whose trials.
        folder: In which wandb keeps its folder ``wandb``.
        is_offline: Whether nothing is sent.
    """

    def __init__(self, experiment: Experiment, *, folder: Path, is_offline: bool) -> None:
        self._experiment = experiment
        self._folder = folder
        self._is_offline = is_offline
        self._runs: dict[int, wandb.Run] = {}

    def began(self, run: Run) -> int | None:
        """Open the run with this trial's id."""
        identifier = f"{self._experiment.identity[:12]}-{run.number}"
        if self._is_kept(identifier):
            return None
        opened = self._open(run, identifier, name=run.name)
        self._runs[run.number] = opened
        return int(opened.step) if opened.resumed else 0  # a look is a step there

    def _is_kept(self, identifier: str) -> bool:
        """Tell whether a run was kept to its end."""
        before = list(self._folder.glob(f"wandb/*run-*-{identifier}"))
        if any((folder / ENDED).exists() for folder in before):
            return True
        for folder in before:
            if folder.name.startswith("offline-"):  # half a run of a killed command: all of it comes again
                shutil.rmtree(folder)
        return False

    def _open(self, run: Run, identifier: str, *, name: str, job: str | None = None) -> wandb.Run:
        opened = wandb.init(
            project=self._experiment.name,
            id=identifier,
            name=name,
            job_type=job,
            group=self._experiment.identity[:12],
            notes=self._experiment.description,
            config=dict(run.settings),
            dir=str(self._folder),
            mode="offline" if self._is_offline else "online",
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                init_timeout=60,
            ),
        )
        opened.define_metric("epoch", hidden=True)
        for kind in ("curve", "peek"):
            opened.define_metric(f"{kind}/*", step_metric="epoch")
        return opened

    def evaluated(self, run: Run, looks: tuple[Look, ...]) -> None:
        """Add points to the curves."""
        for look in looks:
            self._runs[run.number].log({"epoch": look.epoch, **look.figures})

    def ended(self, run: Run) -> None:
        """Add figures, state and reason, and close the run."""
        opened = self._runs.pop(run.number)
        opened.summary.update({**run.figures, **run.notes, "state": run.state})
        folder = Path(opened.dir).parent
        opened.finish(exit_code=0 if run.state in {"complete", "pruned"} else 1)
        (folder / ENDED).touch()

    def exported(self, run: Run, model: Model) -> None:
        """Add the model as an artifact of a run of its own: a run that has been kept offline takes nothing more."""
        identifier = f"{self._experiment.identity[:12]}-{run.number}-{model.sha256[:12]}"
        if self._is_kept(identifier):
            return
        opened = self._open(run, identifier, name=f"{run.name}, exported", job="export")
        artifact = wandb.Artifact(
            re.sub(r"[^\w.-]", "-", self._experiment.name, flags=re.ASCII),
            type="model",
            description=f"{run.name}: {model.reason}",
            metadata={"trial": run.number, **run.figures},
        )
        artifact.add_dir(model.folder)
        opened.log_artifact(artifact)
        folder = Path(opened.dir).parent
        opened.finish()
        (folder / ENDED).touch()


def open_tracker(experiment: Experiment, place: str | None) -> tuple[WandbTracker, str]:  # noqa: ARG001
    """Return the tracker of an experiment, and how to see it; it has no place of its own to give."""
    folder = Path(os.environ.get("WANDB_DIR") or experiment.folder)
    mode = os.environ.get("WANDB_MODE")
    has_key = bool(wandb.api.api_key)
    is_offline = mode != "online" if mode else not has_key
    tracker = WandbTracker(experiment, folder=folder, is_offline=is_offline)
    if not is_offline:
        return tracker, f"project {experiment.name}"
    why = "" if mode else "there is no API key, so "
    return tracker, f"{why}runs stay on this machine; to send them: wandb sync {folder}/wandb/offline-run-*"

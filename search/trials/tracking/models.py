"""An exported model in trackers, with the run of its trial."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from search.trials.tracking.courier import PATIENCE_SECONDS, Courier, Words
from search.trials.tracking.mirror import experiment_of, run_of
from search.trials.tracking.runs import Model
from search.trials.tracking.targets import Target

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.study import StudySpec

SLOWEST = 1e6
"""Bytes a second: a slower connection is not waited for."""

OF_THE_FIT = ("README.md", "winner.toml", "SHA256SUMS")
"""Files that say how long its fit took."""


def keep_model(
    study: optuna.Study,
    spec: StudySpec,
    folder: Path,
    targets: Sequence[Target],
    *,
    trial: FrozenTrial,
    model: Path,
    reason: str,
    tell: Callable[[str], None],
) -> None:
    """Add a model directory to the run of its trial in each tracker; what fails there is told, and harms nothing.

    Args:
        study: Of the trial.
        spec: Of the study.
        folder: Of its results.
        targets: The trackers, which keep models.
        trial: That was exported.
        model: The directory.
        reason: Why this trial.
        tell: Gets what the user should know, from any thread.
    """
    if not targets:
        return
    exported = Model(
        folder=str(model.absolute()),
        sha256=digest(model),
        pair=spec.data.text is not None and not isinstance(spec.data.text, str),
        reason=reason,
    )
    run = run_of(trial, metric=spec.score.metric).model_copy(update={"model": exported})
    words = Words(
        things="the model",
        meanwhile=f"which stays in {model}; the same command tries again",
        none="nothing",
        left="the model is not there; the same command tries again",
        is_counted=False,
    )
    patience = 2 * PATIENCE_SECONDS + sum(p.stat().st_size for p in model.rglob("*")) / SLOWEST
    experiment = experiment_of(study, spec, folder)
    couriers = [Courier(target, experiment, tell, words=words) for target in targets]
    try:
        for courier in couriers:
            courier.take(run)
        for courier in couriers:
            courier.close(patience=patience)
    finally:
        for courier in couriers:
            courier.kill()


def digest(model: Path) -> str:
    """Return the SHA-256 of a model directory, but for what differs between two exports of the same model."""
    total = hashlib.sha256()
    for path in sorted(model.rglob("*")):
        if path.is_file() and path.name not in OF_THE_FIT:
            for part in (str(path.relative_to(model)).encode(), path.read_bytes()):
                total.update(hashlib.sha256(part).digest())
    return total.hexdigest()

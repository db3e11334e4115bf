"""What a search tells its trackers: each trial when it begins, is looked at, and ends, and all of them at both ends of the search."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from search.interrupts import held_back
from search.storage import DatabaseAwayError, LeaseLostError, optuna_private
from search.study import (
    Ending,
    attributes as attr,
    bound,
    excess,
    looks,
    notes,
    origin,
    reason_of,
    training_kind,
)
from search.trials.tracking.courier import Courier
from search.trials.tracking.runs import Experiment, Look, Run, Setting
from search.trials.tracking.targets import Target

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.study import StudySpec

STATES = {"RUNNING": "running", "COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}

CUT_OFF = (Ending.KILLED, Ending.KILLED_BESIDE_OTHERS, Ending.INTERRUPTED)

FIGURES = (attr.VALIDATION_LOSS, attr.GAP, attr.BEST_EPOCH, attr.EPOCHS, attr.SECONDS)
"""Of a trial that has ended, beside its accuracies, score and constraint."""


class Mirror:
    """Shows the trials of a search in trackers.

    It is told of trials as they are by then, so that nothing is lost by what a tracker has missed. Left in order, it shows all
    trials once more: those that were cut off have ended by then, too.

    Args:
        study: Whose trials.
        spec: Of the study.
        folder: Of its results.
        targets: The trackers; none makes all of this do nothing.
        tell: Gets what the user should know, from any thread.
    """

    def __init__(
        self,
        study: optuna.Study,
        spec: StudySpec,
        folder: Path,
        targets: Sequence[Target],
        *,
        tell: Callable[[str], None],
    ) -> None:
        self._study = study
        self._spec = spec
        self._folder = folder
        self._targets = targets
        self._tell = tell
        self._couriers: list[Courier] = []

    def __enter__(self) -> Self:
        """Start the trackers' processes."""
        if self._targets:
            experiment = experiment_of(self._study, self._spec, self._folder)
            self._couriers += [Courier(target, experiment, self._tell) for target in self._targets]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Show what is missing and wait for it, unless the trials are another search's now."""
        away = kind is not None and issubclass(kind, DatabaseAwayError | LeaseLostError)
        try:
            if not away:
                self.show_all()
                for courier in self._couriers:
                    courier.close()
        finally:
            for courier in self._couriers:
                courier.kill()

    def show_all(self) -> None:
        """Show every trial that has begun; what a tracker has already is not added again."""
        for run in self._runs():
            for courier in self._couriers:
                courier.take(run)

    def saw(self, trial: optuna.Trial) -> None:
        """Show a trial as it is now."""
        if self._couriers:
            run = run_of(
                trial.storage.get_trial(optuna_private.trial_id(trial)), metric=self._spec.score.metric
            )
            for courier in self._couriers:
                courier.take(run)

    def _runs(self) -> Iterable[Run]:
        if not self._couriers:
            return []
        with held_back():
            trials = self._study.get_trials(deepcopy=False)
        begun = [t for t in trials if t.state.name in STATES and t.datetime_start is not None]
        return [run_of(t, metric=self._spec.score.metric) for t in begun]


def experiment_of(study: optuna.Study, spec: StudySpec, folder: Path) -> Experiment:
    """Describe a study; the first call gives it what tells it from others of its name."""
    known = study.user_attrs.get(attr.TRACKING)
    if known is None:
        known = uuid.uuid4().hex
        with held_back():
            study.set_user_attr(attr.TRACKING, known)
    return Experiment(
        identity=known,
        name=spec.name,
        metric=spec.score.metric,
        folder=str(folder.absolute()),
        description=(
            f"Frostline study {spec.name}: {spec.data.source}, encoder {spec.encoder.name}. Goal: validation "
            f"{bound(spec.goal.validation_accuracy)}. Constraint: training figure at most {bound(spec.score.ceiling)}. "
            "A step of a curve is a thousandth of an epoch."
        ),
    )


def run_of(trial: FrozenTrial, *, metric: str) -> Run:
    """Describe a trial that has begun."""
    assert trial.datetime_start is not None  # noqa: S101
    began, ended = trial.datetime_start.timestamp(), trial.datetime_complete
    state, reason = STATES[trial.state.name], reason_of(trial)
    if state == "failed" and reason is not None and reason.ending in CUT_OFF:
        state = "cut off"
    known = trial.user_attrs
    said = {
        "reason": None if reason is None else reason.text,
        "origin": origin(known) or "sampler",
        "repeats": f"trial {known[attr.RETRY_OF]}" if attr.RETRY_OF in known else None,
        "training figure": training_kind(trial),
    }
    return Run(
        number=trial.number,
        state=state,
        began=began,
        ended=None if ended is None else ended.timestamp(),
        settings=dict(_flat(known.get(attr.CONFIG) or trial.params)),
        looks=tuple(_look(e, began=began, metric=metric) for e in looks(trial)),
        figures={} if ended is None else _figures(trial, metric=metric),
        notes={key: str(value) for key, value in said.items() if value is not None},
    )


def _look(evaluation: Mapping[str, Any], *, began: float, metric: str) -> Look:
    """Describe an evaluation; the sample of a peek makes a curve of its own."""
    kind = "peek" if evaluation["peek"] else "curve"
    named = {
        f"validation_{metric}": evaluation["validation_accuracy"],
        f"training_{metric}": evaluation["training_accuracy"],
        "validation_loss": evaluation.get("validation_loss"),
        "score": None if evaluation["peek"] else evaluation.get("score"),
    }
    return Look(
        epoch=evaluation["epoch"],
        time=began + evaluation.get("seconds", 0.0),
        figures={f"{kind}/{key}": value for key, value in _finite(named)},
    )


def _figures(trial: FrozenTrial, *, metric: str) -> dict[str, float]:
    known = notes(trial)
    named = {
        f"validation_{metric}": known.get(attr.VALIDATION_ACCURACY),
        f"training_{metric}": known.get(attr.TRAINING_ACCURACY),
        "score": trial.value,
        "training_over_ceiling": excess(trial),
        **{key: known.get(key) for key in FIGURES},
    }
    return dict(_finite(named))


def _finite(figures: Mapping[str, float | None]) -> Iterator[tuple[str, float]]:
    """Yield what is a number: of a fit that diverged, some are not."""
    for key, value in figures.items():
        if value is not None and math.isfinite(value):
            yield key, float(value)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Yield the settings of a configuration, ``data.source`` for a key in a table."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value if isinstance(value, bool | int | float | str) else str(value)

"""What a tracker is told: a study as an experiment, a trial as a run; and what a tracker is."""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

Setting = bool | int | float | str

STEPS_PER_EPOCH = 1000
"""A step is a thousandth of an epoch, as in the study's database."""


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True)


class Experiment(_Plain):
    """A study.

    Attributes:
        identity: Tells it from other studies of the same name.
        name: Of the study.
        metric: What accuracies are measured by.
        folder: Of its results, absolute.
        description: In words.
    """

    identity: str
    name: str
    metric: str
    folder: str
    description: str


class Look(_Plain):
    """An evaluation of a trial under way.

    Attributes:
        epoch: Age.
        time: When, in seconds since 1970.
        figures: By name; peeks have names of their own.
    """

    epoch: float
    time: float
    figures: dict[str, float]

    @property
    def step(self) -> int:
        """The age in whole steps."""
        return round(self.epoch * STEPS_PER_EPOCH)


class Model(_Plain):
    """The model directory that a trial was exported to.

    Attributes:
        folder: Absolute.
        sha256: Tells it from other exports of the trial.
        pair: Whether it takes pairs of texts.
        reason: Why this trial.
    """

    folder: str
    sha256: str
    pair: bool = False
    reason: str


class Run(_Plain):
    """A trial, as far as it has come.

    Attributes:
        number: Of the trial.
        state: ``cut off`` is what was killed or interrupted, and runs again as another trial.
        began: In seconds since 1970.
        ended: Likewise; None while it runs.
        settings: The whole configuration, ``data.source`` for a key in a table.
        looks: In order of age.
        figures: What it is judged by; empty before its end.
        notes: Reason, origin and the like, in words.
        model: What it was exported to; None if it was not, just now.
    """

    number: int
    state: Literal["running", "complete", "pruned", "failed", "cut off"]
    began: float
    ended: float | None = None
    settings: dict[str, Setting] = {}
    looks: tuple[Look, ...] = ()
    figures: dict[str, float] = {}
    notes: dict[str, str] = {}
    model: Model | None = None

    @property
    def name(self) -> str:
        """How people call it."""
        return f"trial {self.number}"


class Tracker(Protocol):
    """Where runs are kept. Any method may raise: the search does not hear of it, and the run comes again later."""

    def began(self, run: Run) -> int | None:
        """Open the run of a trial: the one that was opened for it before, if there is one.

        Returns:
            How many of the trial's looks it holds already; None if it has ended, and nothing is to be added.
        """

    def evaluated(self, run: Run, looks: tuple[Look, ...]) -> None:
        """Add looks to an open run."""

    def ended(self, run: Run) -> None:
        """Add figures, state and reason, and close the run."""


class ModelTracker(Tracker, Protocol):
    """One that keeps models, too."""

    def exported(self, run: Run, model: Model) -> None:
        """Add a model to the run of a trial that has ended; one that is there already is not added again."""

"""What the terminal shows while the search runs; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live as Screen
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.study import attributes as attr, describe_counts, duration, origin, percent, rate, training_figure
from search.trials.notebook import NotebookScreen
from trainers.config import TrainConfig
from trainers.errors import printable

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

REDRAWS_PER_SECOND = 2
"""The CPU belongs to the training; one redraw costs about two milliseconds."""

MOST_SHOWN = 8
"""Trials under way that are drawn, the oldest ones; of the others it is said how many there are."""


def seconds_left(seconds_of_trials: Sequence[float], *, num_left: int) -> float | None:
    """Estimate how long ``num_left`` trials will take from the mean so far; None before two have finished."""
    if len(seconds_of_trials) < 2:
        return None
    return sum(seconds_of_trials) / len(seconds_of_trials) * num_left


@dataclass
class _Running:
    """A trial under way: its settings in words, when it began in monotonic seconds, its latest evaluation."""

    settings: str
    started: float
    evaluation: dict[str, Any] = field(default_factory=dict)


class Live:
    """Stage, progress, the running trials, the best one and the counts.

    On a terminal they stand in a few lines that are redrawn and vanish at the end. Elsewhere each stage and
    each trial's end is a line of its own, without control codes.

    Args:
        console: Where to.
        total_trials: Total number of finished trials.
        ceiling: Training accuracy above which a trial counts as over-fitted.
        trials: The study's so far, if it is continued.
    """

    def __init__(
        self, console: Console, *, total_trials: int, ceiling: float, trials: Iterable[FrozenTrial] = ()
    ) -> None:
        from search.study import Tally  # loads Optuna, for which a question for names must not wait

        self._console = console
        self._ceiling = ceiling
        self._total = total_trials
        self._stage = ""
        self._progress: tuple[str, int, int] | None = None
        self._running: dict[int, _Running] = {}
        self._started = time.monotonic()
        self._tally = Tally()
        self._take_stock(list(trials))
        self._screen: Screen | NotebookScreen | None = None
        if console.is_jupyter:
            self._screen = NotebookScreen(self._render)
        elif console.is_terminal and not console.is_dumb_terminal:
            options: dict[str, Any] = {"refresh_per_second": REDRAWS_PER_SECOND, "transient": True}
            self._screen = Screen(console=console, get_renderable=self._render, **options)

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._screen:
            self._screen.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wipe what was redrawn; messages stay."""
        if self._screen:
            self._screen.stop()

    def stage(self, text: str) -> None:
        """Say what is being prepared."""
        self._stage, self._progress = text, None
        if not self._screen:
            self.message(text)

    def progress(self, description: str, done: int, total: int) -> None:
        """Show how far a preparation is; a plain line comes at every quarter."""
        before, self._progress = self._progress, (description, done, total)
        if not self._screen:
            last_quarter = _quarter(before) if before and before[0] == description else -1
            if _quarter(self._progress) > last_quarter:
                self.message(f"{description}: {done:,} of {total:,}")

    def trial_started(self, trial_number: int, config: TrainConfig) -> None:
        """Show the settings of a trial that runs now."""
        self._stage, self._progress = "", None
        settings = (
            f"trial {trial_number}: freeze depth {config.freeze_depth}, dropout {config.dropout:.2f}, "
            f"width {config.head_width}, learning rate {rate(config.learning_rate)}, "
            f"patience {'none' if config.patience is None else config.patience}"
        )
        self._running[trial_number] = _Running(settings, time.monotonic())

    def evaluated(self, trial_number: int, evaluation: dict[str, Any]) -> None:
        """Show a running trial's latest figures."""
        self._running[trial_number].evaluation = evaluation

    def trial_ended(self, trial: FrozenTrial, trials: Iterable[FrozenTrial]) -> None:
        """Count a trial that ended, and say so.

        Args:
            trial: The one that ended.
            trials: All of the study's.
        """
        self._running.pop(trial.number, None)
        self._take_stock(list(trials))
        if not self._screen:
            best = "; best so far" if self._best and self._best.number == trial.number else ""
            self.message(f"[{self._num_finished}/{self._total}] {_ending(trial)}{best}")

    def message(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def _take_stock(self, trials: list[FrozenTrial]) -> None:
        tally = self._tally.look(trials)
        self._num_finished, self._seconds, self._best = tally.num_finished, tally.seconds, tally.best
        self._counts = describe_counts(tally.counts()) if tally.num_finished else ""

    def _render(self) -> Group:
        """Draw everything; called by the thread that redraws, hence no state is changed here."""
        lines = Table.grid(padding=(0, 1))
        lines.add_column(style="bold", no_wrap=True)
        lines.add_column(overflow="fold")
        rows = [("preparing", self._stage)]
        running = tuple(self._running.values())
        for shown in running[:MOST_SHOWN]:
            rows += [("running", shown.settings), ("so far", self._describe(shown.evaluation))]
        if len(running) > MOST_SHOWN:
            rows.append(("running", f"{len(running) - MOST_SHOWN} more"))
        rows += [("best", _figures(self._best) if self._best else ""), ("ended", self._counts)]
        for name, text in rows:
            if text:
                lines.add_row(name, Text(text))
        if self._progress:
            description, done, total = self._progress
            return Group(_bar(done, total, f"{description}: {done:,} of {total:,}"), lines)
        return Group(_bar(self._num_finished, self._total, self._describe_time()), lines)

    def _describe_time(self) -> str:
        now = time.monotonic()
        text = f"{self._num_finished} of {self._total} trials, {duration(now - self._started)}"
        left = seconds_left(self._seconds, num_left=max(0, self._total - self._num_finished))
        if left is None:
            return text
        mean = sum(self._seconds) / len(self._seconds)
        running = tuple(self._running.values())
        left -= sum(min(now - r.started, mean) for r in running)
        return f"{text}, about {duration(max(0.0, left / max(1, len(running))))} left"

    def _describe(self, e: dict[str, Any]) -> str:
        if not e:
            return ""
        training, about = e["training_accuracy"], "" if e.get("num_validation_texts") is None else "~"
        over = " (over the ceiling)" if training is not None and training > self._ceiling else ""
        return (
            f"epoch {e['epoch']:.4g}, validation {about}{percent(e['validation_accuracy'])}, "
            f"training {training_figure(training, exact=e['exact'])}{over}, "
            f"{duration(e['seconds'])}"
        )


def _bar(done: int, total: int, text: str) -> Table:
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(total=max(1, total), completed=done, width=20), Text(text))
    return bar


def _quarter(progress: tuple[str, int, int]) -> int:
    _, done, total = progress
    return 4 * done // total if total > 0 else 4


def _figures(trial: FrozenTrial) -> str:
    validation, training = (
        trial.user_attrs[key] for key in (attr.VALIDATION_ACCURACY, attr.TRAINING_ACCURACY)
    )
    return f"trial {trial.number}: validation {percent(validation)}, training {percent(training)}"


def _ending(trial: FrozenTrial) -> str:
    from search.study import results

    notes = results.notes(trial)
    state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}[trial.state.name]
    text = f"trial {trial.number} {state}"
    if origin(notes):
        text += f" ({origin(notes)})"
    if attr.VALIDATION_ACCURACY in notes:
        about = "" if notes.get(attr.NUM_VALIDATION_TEXTS) is None else "~"
        text += f": validation {about}{percent(notes[attr.VALIDATION_ACCURACY])}, training "
        training = training_figure(
            notes.get(attr.TRAINING_ACCURACY), exact=notes.get(attr.TRAINING_EXACT, True)
        )
        text += f"{training}, "
        text += f"{notes[attr.EPOCHS]:.4g} epochs, {duration(notes[attr.SECONDS])}"
    return f"{text}; {notes[attr.REASON]}" if attr.REASON in notes else text

"""What runs fits: local processes, or workers of a cluster. Who drives a pool does not know which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from search.trials.news import Ended

if TYPE_CHECKING:
    from search.trials.news import News, Told
    from trainers.config import TrainConfig
    from trainers.fit import Features

NUM_RANDOM = 10
"""Trials that TPE draws at random before it learns, Optuna's default: they may as well run all at once."""

TRIALS_PER_WORKER = 5
"""With this many trials for each worker, the sampler learns from the others' results nearly as much as from one at a time."""


@dataclass(frozen=True)
class Place:
    """Where a fit runs.

    Attributes:
        node: Name of the machine in its cluster.
        device: ``cpu``, or the name of the GPU.
        processor: Name of the machine's processor.
    """

    node: str
    device: str
    processor: str

    @property
    def computes_on(self) -> str:
        """What decides on the last bits of a fit: the GPU, or else the processor."""
        return self.processor if self.device == "cpu" else self.device


class NoWorkerLeftError(KeyboardInterrupt):
    """Nobody was there to fit for so long that the search gives up waiting: it ends as an interrupted one does."""


class Pool(Protocol):
    """Workers with one fit each, at most."""

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """End all fits, whatever they do."""

    @property
    def has_room(self) -> bool:
        """Whether a fit may begin. Always true while none is under way: it then waits for a worker, if there is none."""

    def begin(
        self, job: int, config: TrainConfig, *, test: bool = False, to_beat: float | None = None
    ) -> None:
        """Give a worker a fit.

        Args:
            job: What its news are marked with.
            config: What to fit.
            test: As for ``figures_of``.
            to_beat: As for ``fit``.
        """

    def news(self) -> Iterator[tuple[int, News]]:
        """Wait for news of fits, by job. An evaluation must be answered. There may be none: there is room now.

        Raises:
            NoWorkerLeftError: No worker was there for too long.
        """

    def answer(self, job: int, *, go_on: bool) -> None:
        """Tell a fit that reported an evaluation whether it goes on; if not, it is forgotten."""

    def end_if_silent(self, job: int, *, seconds: float | None) -> None:
        """End a fit once it has said nothing for so long; None lets it be silent for ever."""

    def place(self, job: int) -> Place | None:
        """Return where a fit runs or ran in a cluster; None as long as it waits for a worker, and on this machine."""

    def node_seconds(self) -> dict[str, dict[str, float]]:
        """Return by node what its workers' time went to, ``fitting`` and ``waiting``; of a cluster alone."""


OpenPool = Callable[["Features", Sequence[float]], Pool]
"""From what fits read, and the epochs at which they are peeked at, to workers that have it."""


def drive(
    pool: Pool,
    begin: Callable[[int], int | None],
    *,
    goes_on: Callable[[int, Told], bool] = lambda *_: True,
    watch: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Ended]]:
    """Keep workers busy, and yield how each fit ended, by job; a fit that is not to go on has no end.

    Args:
        pool: Whose workers fit.
        begin: Gives a free worker its next fit and returns the job; None if there is none to begin now. Gets the
            number of those under way.
        goes_on: Takes an evaluation, or what a fold came to, and tells whether its fit goes on.
        watch: Called before news are awaited, whenever others are under way than before.
    """
    under_way: set[int] = set()
    watched: set[int] = set()
    while True:
        while pool.has_room and (begun := begin(len(under_way))) is not None:
            under_way.add(begun)
        if not under_way:
            return
        if under_way != watched:
            watch()
            watched = set(under_way)
        for job, news in pool.news():
            if isinstance(news, Ended):
                under_way.remove(job)
                yield job, news
            else:
                go_on = goes_on(job, news)
                if not go_on:
                    under_way.remove(job)
                pool.answer(job, go_on=go_on)


def most_workers(*, trials_left: int, num_trials: int | None = None) -> int:
    """Return how many workers have something to do, and still let the sampler learn; see ``number_of_workers``."""
    if num_trials is None or num_trials <= NUM_RANDOM:
        return max(1, trials_left)
    return max(1, min(trials_left, num_trials // TRIALS_PER_WORKER))

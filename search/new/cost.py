"""How long a search of some size takes on this machine, and everything that is taken for granted there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from search.new.speed import BATCH_SIZE, Speed
from trainers.config import Precision
from trainers.fit import FIRST_SAMPLE, PEEK_TEXTS

if TYPE_CHECKING:
    from trainers.data import Splits

# What a new study says, and what is taken for granted of other parts of a search: when they change, measure again.

PRECISION: Precision | None = "auto"
"""``fit.precision`` of a new study; None leaves it out. The machine is measured in it."""

HEAD_START_SECONDS = 1.0
"""Of fitting a head to the vectors of the untouched encoder, and of looking at it as epoch 0, by vectors that are there."""

RUNG_SHARES = (0.25, 0.5)
"""Where trials are pruned, in shares of all their epochs."""

PRUNED_SHARES = (1 / 2, 1 / 2)
"""How many of the pruned trials end at each rung: a guess, for with a margin of three standard errors few trials are."""

FIRST_COMPLETE, LATER_COMPLETE = 4, 1.0
"""Trials that run to their end: the first few, which have no peers to be measured against, and a share of all.

All 50 of ``quick`` and all 50 of a study of 2,526 tweets: with a margin of three standard errors hardly a trial is ended.
"""

LIVED = 0.85
"""Share of its epochs that a trial lives that is not pruned: a fit ends where it is seen above the ceiling.

Of 88 fits of up to four epochs on texts of five kinds, 0.71 with a ceiling of 92 %, 0.80 with 96 %, 0.93 with 98 %, on average.
"""

SAMPLE = 2 * FIRST_SAMPLE
"""Training texts that an evaluation looks at: the first sample, doubled once where the ceiling is near."""

HEAD_EPOCHS = 20
"""Of the recipe ``frozen-head``, and of the first stage of ``thaw-top``."""

THAWED = 2
"""Layers that the second stage of ``thaw-top`` trains."""

USUAL_EPOCHS = 3
"""Of the recipe ``usual``, which trains all layers."""

PROBE_SECONDS = 5.0
"""Of the recipe ``probe``, a logistic regression on the frozen vectors chosen by folds."""

STEP_SECONDS = 0.003
"""Of an optimiser step of the head alone, which is no matter of operations."""

EMBEDDING_SECONDS = 1e-8
"""Of an optimiser step for each weight of the embeddings, where these are trained too: 0.1 to 0.2 s for MiniLM's 12 million, as
long as half of the rest for texts of 14 tokens."""

TRIAL_SECONDS = 0.3
"""Of a trial beside its passes over texts: the sampler, the database, a copy of the layers."""

REPORT_SECONDS = 5.0
"""Until the report is written, once the last trial has ended."""

FIRST_TRIALS, FIRST_FITS, LATER_FITS = 4, 3.5, 2.3
"""Of five folds that a trial fits before it ends early, on average: of the first few trials, which have no good one to be measured
against, and of those after them. Of 12 searches of 20 trials on 300 texts (tests/benchmarks/README.md): 3.48 and 2.27."""

LayerFlops = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Sizes:
    """What decides how long a search takes.

    Attributes:
        train: Training texts.
        validation: Validation texts.
        max_length: Tokens kept of a text.
        freeze_depth: Lowest that is searched; the highest is the encoder's depth.
        epochs: Of a fit.
        evaluations_per_epoch: Full evaluations in each.
    """

    train: int
    validation: int
    max_length: int
    freeze_depth: int
    epochs: int
    evaluations_per_epoch: int

    @property
    def rungs(self) -> tuple[float, ...]:
        """Ages in epochs at which trials are pruned."""
        return tuple(self.epochs * share for share in RUNG_SHARES)


@dataclass(frozen=True)
class Folds:
    """Of a study that has any.

    Attributes:
        count: How many.
        ends_early: Whether a trial may end after a fold.
    """

    count: int
    ends_early: bool

    def fits(self, num_trials: int) -> float:
        """Return how many folds a trial fits, on average."""
        if not self.ends_early:
            return float(self.count)
        first = min(num_trials, FIRST_TRIALS)
        mean = (first * FIRST_FITS + (num_trials - first) * LATER_FITS) / num_trials
        return max(1.0, mean * self.count / 5)

    def of_a_fit(self, sizes: Sizes) -> Sizes:
        """Return what one fit has of the texts that the folds share."""
        validation = sizes.train // self.count
        return replace(sizes, train=sizes.train - validation, validation=validation)


@dataclass(frozen=True)
class Costs:
    """What a search on given texts costs on this machine.

    A layer's forward pass over a text is ``layer_flops``, a backward pass is two of them.

    Attributes:
        splits: To be searched with, their texts whole.
        num_trials: Of the search, its recipes among them.
        num_layers: Of the encoder.
        layer_flops: ``Encoder.layer_flops``.
        speed: Of this machine.
        recipes: That run before the search.
        num_embedded: Weights of the encoder's embeddings, which are trained at freeze depth 0 alone.
        folds: Of the texts; None where there is a validation split.
    """

    splits: Splits
    num_trials: int
    num_layers: int
    layer_flops: LayerFlops
    speed: Speed
    recipes: tuple[str, ...] = ()
    num_embedded: int = 0
    folds: Folds | None = None
    _flops_of_length: dict[int, float] = field(default_factory=dict, repr=False, compare=False)

    @property
    def fits(self) -> float:
        """Fits of a trial, on average."""
        return 1.0 if self.folds is None else self.folds.fits(self.num_trials)

    @property
    def first_recipes(self) -> tuple[str, ...]:
        """Those that so few trials have room for."""
        return self.recipes[: self.num_trials]

    def of_a_fit(self, sizes: Sizes) -> Sizes:
        """Return what one fit has of the texts."""
        return sizes if self.folds is None else self.folds.of_a_fit(sizes)

    def seconds(self, sizes: Sizes) -> float:
        """Estimate how long a search takes from the start of its workers to the end of its report.

        Depths are taken to be equally frequent.
        """
        prepared = (sizes.train + sizes.validation) * self.num_layers * self._flops(sizes)
        work = self._trials_seconds(sizes) + sum(
            self.recipe_seconds(name, sizes) for name in self.first_recipes
        )
        # When the last trial ends, the other workers have been without one for half of a trial's time, on average.
        idle = (self.speed.workers - 1) * work / self.num_trials / 2
        return (
            self.speed.start_seconds
            + prepared / (self.speed.evaluation * self.speed.threads)
            + (work + idle) / self.speed.workers
            + REPORT_SECONDS
        )

    def _trials_seconds(self, sizes: Sizes) -> float:
        """Estimate how long one worker takes for all trials, without recipes."""
        sizes = self.of_a_fit(sizes)
        layers = self.num_layers - sizes.freeze_depth
        searched = self.num_trials - len(self.first_recipes)
        complete = min(searched, FIRST_COMPLETE + LATER_COMPLETE * searched)
        ends = {1.0: complete} | {
            share: (searched - complete) * part
            for share, part in zip(RUNG_SHARES, PRUNED_SHARES, strict=True)
        }
        trials = [self._fit_seconds(sizes, layers / 2, share) for share in ends]
        if sizes.freeze_depth == 0:
            embedded = self._embedding_seconds(sizes.epochs * sizes.train) / (layers + 1)
            trials = [seconds + share * embedded for share, seconds in zip(ends, trials, strict=True)]
        work = self.fits * sum(n * seconds for n, seconds in zip(ends.values(), trials, strict=True))
        if sizes.freeze_depth == 0 and searched > 0:  # the setup that is tried first trains all layers
            first = self._fit_seconds(sizes, layers, 1.0) + self._embedding_seconds(
                sizes.epochs * sizes.train
            )
            work += self.fits * (first - trials[0])
        return work

    def recipe_seconds(self, name: str, sizes: Sizes) -> float:
        """Estimate how long a recipe takes, which runs to its end; one that is not known here, no time."""
        num_fits = 1 if self.folds is None else self.folds.count
        return num_fits * self._recipe_fit_seconds(name, self.of_a_fit(sizes))

    def _recipe_fit_seconds(self, name: str, sizes: Sizes) -> float:
        steps = math.ceil(sizes.train / BATCH_SIZE)
        head = TRIAL_SECONDS + HEAD_EPOCHS * steps * STEP_SECONDS
        looked_at = sizes.validation + min(sizes.train, FIRST_SAMPLE)  # once an epoch
        match name:
            case "frozen-head":
                return head
            case "thaw-top":
                layers = min(THAWED, self.num_layers)
                return head + self._passes(
                    sizes,
                    layers,
                    trained=sizes.epochs * sizes.train,
                    looked_at=sizes.epochs * looked_at + sizes.train,
                )
            case "probe":
                return PROBE_SECONDS
            case "usual":
                trained = USUAL_EPOCHS * sizes.train
                return (
                    TRIAL_SECONDS
                    + self._embedding_seconds(trained)
                    + self._passes(
                        sizes,
                        self.num_layers,
                        trained=trained,
                        looked_at=USUAL_EPOCHS * looked_at + sizes.train,
                    )
                )
            case _:
                return 0.0

    def _fit_seconds(self, sizes: Sizes, layers: float, share: float) -> float:
        """Estimate how long a trial takes until it has lived for a share of its epochs."""
        trained = share * sizes.epochs * sizes.train
        looked_at = _texts_looked_at(sizes, share)
        if share == 1:
            trained, looked_at = LIVED * trained, LIVED * looked_at + sizes.train
        seconds = TRIAL_SECONDS + HEAD_START_SECONDS + STEP_SECONDS * trained / BATCH_SIZE
        return seconds + self._passes(sizes, layers, trained=trained, looked_at=looked_at)

    def _embedding_seconds(self, trained: float) -> float:
        return EMBEDDING_SECONDS * self.num_embedded * trained / BATCH_SIZE

    def _passes(self, sizes: Sizes, layers: float, *, trained: float, looked_at: float) -> float:
        flops = layers * self._flops(sizes)
        return flops * (3 * trained / self.speed.training + looked_at / self.speed.evaluation)

    def _flops(self, sizes: Sizes) -> float:
        """Return what a forward pass of a layer over a text takes, on average."""
        known, length = self._flops_of_length, sizes.max_length
        if length not in known:
            known[length] = float(self.layer_flops(np.minimum(self.splits.train.lengths_N, length)).mean())
        return known[length]


def _texts_looked_at(sizes: Sizes, share: float) -> float:
    """Count the texts that a trial looks at until it has lived for a share of its epochs."""
    age = share * sizes.epochs
    full = math.floor(age * sizes.evaluations_per_epoch + 1e-9)
    peeks = sum(r <= age and not (r * sizes.evaluations_per_epoch).is_integer() for r in sizes.rungs)
    return full * (sizes.validation + min(sizes.train, SAMPLE)) + peeks * min(sizes.validation, PEEK_TEXTS)

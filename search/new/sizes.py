"""The best sizes whose search ends in time: first all texts, then more layers, then longer and closer looks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from search.new.cost import USUAL_EPOCHS, Costs, Sizes
from search.new.speed import BATCH_SIZE
from search.study import RECIPES
from trainers.fit import PEEK_TEXTS

if TYPE_CHECKING:
    from trainers.data import Splits

MARGIN = 0.9
"""Share of the time asked for that the estimate may take: it is some tenths off."""

LITTLE = 0.7
"""A search that is expected to take less than this share of the time asked for leaves too much of it."""

FEWEST_TEXTS, SOME_TEXTS, MANY_TEXTS = 300, 1_000, 3_000
"""Training texts: what a search begins with, how many come before any layer, and how many before a third one."""

SHORTEST, SHORT, MEDIUM, LONG = 32, 64, 128, 256
"""Tokens kept of a text, at most."""

CORE_LAYERS = 2
"""Layers that are trained at most where there are texts left to take."""

FEWEST_STEPS, STEPS = 33, 100
"""Optimiser steps of a fit, about: at least, and before more layers come; the default study's have 94."""

MOST_EPOCHS_OF_FEW, MOST_EPOCHS = 20, 4
"""Most epochs of few texts before more layers come, and of any texts after that; few texts may then have twice as many."""

FEWEST_EVALUATIONS, EVALUATIONS, MOST_EVALUATIONS = 2, 4, 10
"""Full evaluations in a fit: at least, before more layers come, and at most; one an epoch in any case."""

LEAST_TRIALS, MOST_TRIALS = 8, 50
"""Of a search whose number of trials nobody named. Replayed over tables of learning curves, a few trials of all layers lay 0.5 to
0.7 points ahead of many that trained at most one, and real searches of one layer 5 to 7 points behind the recipe ``usual``."""

FINE = 1.1
"""Factor between two numbers of texts that are tried."""

CHEAP_RECIPES = ("probe", "frozen-head")
"""Known recipes that a search always runs first, as far as they exist."""

DEAR_RECIPES = {"usual": 0.4, "thaw-top": 0.04}
"""Those that train layers, and the share of the time that each may take at most. What ``usual`` reaches says whether a search is
worth it; ``thaw-top`` is a step of an exercise, and on new texts never came near it."""


@dataclass(frozen=True)
class Plan:
    """Sizes of a search.

    Attributes:
        sizes: That end in time, or the cheapest.
        recipes: That run first.
        seconds: That the search is expected to take.
        next_seconds: What a search takes with the next wish fulfilled; None if there is none left.
    """

    sizes: Sizes
    recipes: tuple[str, ...]
    seconds: float
    next_seconds: float | None


def choose_sizes(costs: Costs, *, seconds: float) -> Plan:
    """Return the best sizes whose search ends in ``seconds``, the cheapest ones if none does.

    More time never means fewer texts or fewer layers: each of the first wishes comes true only once those before it have.
    What is then left goes to the others.
    """
    wishes = _Wishes(costs.splits, costs.num_layers)
    available = MARGIN * seconds
    sizes, next_seconds = wishes.least(), None

    def expected(sizes: Sizes, *more: str) -> float:
        return replace(costs, recipes=_recipes(more)).seconds(sizes)

    for wish in wishes.first():
        sizes, next_seconds = _grown(sizes, wish(sizes), expected, available)
        if next_seconds is not None:
            break
    more: tuple[str, ...] = ()
    for recipe, share in DEAR_RECIPES.items():
        is_dear = costs.recipe_seconds(recipe, sizes) > share * seconds
        if not is_dear and expected(sizes, *more, recipe) <= available:
            more = (*more, recipe)
    for wish in wishes.further():
        sizes, refused = _grown(sizes, wish(sizes), lambda sizes: expected(sizes, *more), available)
        next_seconds = next_seconds or refused
    return Plan(sizes, _recipes(more), expected(sizes, *more), next_seconds)


def choose_trials(costs: Costs, *, seconds: float) -> tuple[Costs, Plan]:
    """Return costs and plan of the most trials that may each train as much as the recipe ``usual``, which runs beside them.

    That is all layers, on all texts, for as many epochs. Trials are 8 to 50: where they may not, the fewest.
    """
    for num_trials in range(MOST_TRIALS, LEAST_TRIALS - 1, -1):
        asked = replace(costs, num_trials=num_trials)
        plan = choose_sizes(asked, seconds=seconds)
        is_deep = plan.sizes.freeze_depth == 0 and plan.sizes.epochs >= USUAL_EPOCHS
        if is_deep and "usual" in plan.recipes:
            break
    return asked, plan


def plan_trials(costs: Costs, *, trials: int | None, seconds: float) -> tuple[Costs, Plan]:
    """Return costs and plan of a search of ``trials`` trials, or of as many as are chosen where it is None."""
    if trials is None:
        return choose_trials(costs, seconds=seconds)
    costs = replace(costs, num_trials=trials)
    return costs, choose_sizes(costs, seconds=seconds)


def trials_that_fill(costs: Costs, plan: Plan, *, seconds: float) -> int:
    """Return how many trials of a plan's sizes take ``seconds``, at least as many as there are."""

    def expected(num_trials: int) -> float:
        return replace(costs, num_trials=num_trials, recipes=plan.recipes).seconds(plan.sizes)

    least = max(costs.num_trials, len(plan.recipes) + 1)
    few, many = expected(least), expected(2 * least)
    share = (MARGIN * seconds - few) / (many - few)
    return least + max(0, math.floor(share * least))


def _recipes(more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in (*CHEAP_RECIPES, *more) if name in RECIPES)


Wish = Callable[[Sizes], Sequence[Sizes]]
"""Sizes -> larger ones, ascending."""


def _grown(
    sizes: Sizes, larger: Sequence[Sizes], expected: Callable[[Sizes], float], available: float
) -> tuple[Sizes, float | None]:
    """Return the largest sizes that end in time, and what the next ones would take; None if there are none."""
    seconds = [expected(candidate) for candidate in larger]
    fitting = [i for i, needed in enumerate(seconds) if needed <= available]
    chosen = fitting[-1] if fitting else -1
    rest = seconds[chosen + 1 :]
    return (larger[chosen] if fitting else sizes), (rest[0] if rest else None)


class _Wishes:
    """What more time is spent on, in the order of its worth."""

    def __init__(self, splits: Splits, num_layers: int) -> None:
        self._num_texts = len(splits.train)
        self._num_validation = len(splits.validation)
        self._num_layers = num_layers
        # 98 of 100 texts keep to it.
        self._longest = max(8 * math.ceil(np.quantile(splits.train.lengths_N, 0.98) / 8), SHORTEST // 2)

    def least(self) -> Sizes:
        """Return the cheapest sizes: a head alone, on few and short texts."""
        sizes = Sizes(
            train=0,
            validation=0,
            max_length=min(self._longest, SHORTEST),
            freeze_depth=self._num_layers,
            epochs=1,
            evaluations_per_epoch=1,
        )
        return self._with_texts(sizes, min(self._num_texts, FEWEST_TEXTS))

    def first(self) -> tuple[Wish, ...]:
        """Return what comes true one after the other."""
        return (
            self._texts(SOME_TEXTS),
            self._lengths(SHORT),
            self._lengths(MEDIUM),
            self._layers(1),
            self._steps,
            self._looks,
            self._layers(CORE_LAYERS),
            self._texts(MANY_TEXTS),
            self._texts(self._num_texts),
            self._layers(self._num_layers),
        )

    def further(self) -> tuple[Wish, ...]:
        """Return what is done with the time that is then left."""
        return (self._epochs, self._lengths(LONG), self._validation, self._more_looks, self._more_epochs)

    def _texts(self, most: int) -> Wish:
        most = min(most, self._num_texts)
        return lambda sizes: [self._with_texts(sizes, count) for count in _fine(sizes.train, most)]

    def _with_texts(self, sizes: Sizes, train: int) -> Sizes:
        validation = min(self._num_validation, max(train // 2, PEEK_TEXTS))
        has_layers = sizes.freeze_depth < self._num_layers
        epochs = epochs_of(train, STEPS if has_layers else FEWEST_STEPS)
        sizes = replace(sizes, train=train, validation=validation)
        return _with_epochs(sizes, epochs, EVALUATIONS if has_layers else FEWEST_EVALUATIONS)

    def _lengths(self, most: int) -> Wish:
        most = min(most, self._longest)
        return lambda sizes: [
            replace(sizes, max_length=length) for length in range(sizes.max_length + 8, most + 1, 8)
        ]

    def _layers(self, most: int) -> Wish:
        num_layers = self._num_layers
        return lambda sizes: [
            replace(sizes, freeze_depth=depth)
            for depth in range(sizes.freeze_depth - 1, num_layers - min(most, num_layers) - 1, -1)
        ]

    def _steps(self, sizes: Sizes) -> list[Sizes]:
        epochs = epochs_of(sizes.train, STEPS)
        return [_with_epochs(sizes, e, FEWEST_EVALUATIONS) for e in range(sizes.epochs + 1, epochs + 1)]

    def _epochs(self, sizes: Sizes) -> list[Sizes]:
        most = max(MOST_EPOCHS, 2 * epochs_of(sizes.train, STEPS))
        return [_with_epochs(sizes, e, EVALUATIONS) for e in range(sizes.epochs + 1, most + 1)]

    def _more_epochs(self, sizes: Sizes) -> list[Sizes]:
        """Return one epoch more after the other where one evaluation more an epoch takes too long."""
        most = math.ceil(MOST_EVALUATIONS / sizes.evaluations_per_epoch)
        return [replace(sizes, epochs=epochs) for epochs in range(sizes.epochs + 1, most + 1)]

    def _looks(self, sizes: Sizes) -> list[Sizes]:
        return _with_evaluations(sizes, EVALUATIONS)

    def _more_looks(self, sizes: Sizes) -> list[Sizes]:
        return _with_evaluations(sizes, MOST_EVALUATIONS)

    def _validation(self, sizes: Sizes) -> list[Sizes]:
        return [replace(sizes, validation=count) for count in _fine(sizes.validation, self._num_validation)]


def epochs_of(train: int, steps: int) -> int:
    """Return the number of epochs in which ``train`` texts make about ``steps`` optimiser steps."""
    return min(MOST_EPOCHS_OF_FEW, max(1, round(steps * BATCH_SIZE / train)))


def _with_epochs(sizes: Sizes, epochs: int, evaluations: int) -> Sizes:
    return replace(sizes, epochs=epochs, evaluations_per_epoch=max(1, math.ceil(evaluations / epochs)))


def _with_evaluations(sizes: Sizes, most: int) -> list[Sizes]:
    counts = range(sizes.evaluations_per_epoch + 1, math.ceil(most / sizes.epochs) + 1)
    return [replace(sizes, evaluations_per_epoch=count) for count in counts]


def _fine(above: int, most: int) -> list[int]:
    """Return numbers above one, in small steps up to the most."""
    counts = []
    while above < most:
        above = min(most, max(above + 1, int(round(FINE * above, -1))))
        counts.append(above)
    return counts

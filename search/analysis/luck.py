"""How much of a search's figure was luck: of the seed, of the choice among many, of a split looked at often.

Shapes: C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, variance
from typing import Protocol

import numpy as np

from search.analysis.confirmed import Difference, Flattery
from search.analysis.statistics import student_half_width
from trainers.config import Metric

Texts = Mapping[str, Sequence[int]]
"""By split, texts of each class, or of each group."""


class Fit(Protocol):
    """A fit on a fresh seed; a figure that is not known is None."""

    @property
    def validation_accuracy(self) -> float | None:
        """By the study's metric; None if it is not known."""

    @property
    def test_accuracy(self) -> float | None:
        """The same on the test split; None if it is not known."""


def flattery(
    searched: float | None,
    fits: Sequence[Fit],
    *,
    metric: Metric,
    texts: Texts | None,
    group_sizes: Texts | None = None,
    totals: Mapping[str, int] | None = None,
) -> Flattery:
    """Return by how much each figure of a setup lies above the one that luck has less part in.

    The search's figure is of one seed and the best of many tries. Fresh seeds on the same validation split lose that
    luck. What the split itself flatters, by having chosen epochs and setups, only the test split can show.

    Args:
        searched: Validation accuracy in the search; None if the setup did not run there.
        fits: On fresh seeds.
        metric: Of them all.
        texts: By split, texts of each class in ``validation`` and ``test``; None if they are not known.
        group_sizes: By split, texts of each group; None where each text stands for itself.
        totals: By split, texts in all, where they may have several labels; None where each has one.

    Returns:
        Each difference, None where there is nothing to compare. Its interval, if it has one, is over seeds; where the test
        split has a part, over seeds and texts, over texts alone for a single fit.
    """
    validation = [fit.validation_accuracy for fit in fits if fit.validation_accuracy is not None]
    tested = [
        (fit.validation_accuracy, fit.test_accuracy)
        for fit in fits
        if fit.validation_accuracy is not None and fit.test_accuracy is not None
    ]
    kept, test = [figure for figure, _ in tested], [figure for _, figure in tested]
    by_texts = _text_variance(kept, test, metric=metric, texts=texts, group_sizes=group_sizes, totals=totals)
    # One more fit of the setup lies as far from the mean of the others as this; a fit that was chosen, farther.
    one_fit = [(variance(validation), len(validation) - 1)] if len(validation) > 1 else None
    from_mean = one_fit and [((1 + 1 / len(validation)) * spread, degrees) for spread, degrees in one_fit]
    return Flattery(
        search_above_fresh=_above(searched, validation, from_mean),
        fresh_above_test=_above(
            fmean(kept) if kept else None,
            test,
            by_texts and [*by_texts, *_of_mean([v - t for v, t in zip(kept, test, strict=True)])],
        ),
        search_above_test=_above(
            searched, test, by_texts and one_fit and [*by_texts, *one_fit, *(_of_mean(test) or one_fit)]
        ),
    )


def _above(
    figure: float | None, others: Sequence[float], parts: list[tuple[float, int]] | None
) -> Difference | None:
    """Subtract a mean; ``parts`` are the variances of the difference, None where they are not known.

    Seeds that all came to the same figure, as on few texts they may, do not say that there is no chance.
    """
    if figure is None or not others:
        return None
    value = figure - fmean(others)
    if parts is None or not any(part for part, _ in parts):
        return Difference(value=value, low=None, high=None)
    half = student_half_width(sum(part for part, _ in parts), parts)
    return Difference(value=value, low=value - half, high=value + half)


def _of_mean(figures: Sequence[float]) -> list[tuple[float, int]]:
    """Return the variance of a mean over seeds, nothing for a single one."""
    return [(variance(figures) / len(figures), len(figures) - 1)] if len(figures) > 1 else []


def _text_variance(
    validation: Sequence[float],
    test: Sequence[float],
    *,
    metric: Metric,
    texts: Texts | None,
    group_sizes: Texts | None,
    totals: Mapping[str, int] | None,
) -> list[tuple[float, int]] | None:
    """Return the variance that drawing other texts would give a mean on each split: at most that of one fit.

    Of groups, at most that of groups whose texts are right or wrong together.

    Source: Kish, Survey Sampling, 1965, of the effective number of groups of uneven sizes.
    """
    from trainers.fit import effective_count, standard_error

    if not texts or not test:
        return None
    parts = []
    for split, figures in (("validation", validation), ("test", test)):
        total = None if totals is None else totals[split]
        count = effective_count(np.diag(np.asarray(texts[split], dtype=np.int64)), metric=metric, of=total)
        if not count:
            return None
        if group_sizes is not None:
            sizes_G = np.asarray(group_sizes[split], dtype=float)
            count *= float(sizes_G.sum() / (sizes_G**2).sum())
        parts.append((standard_error(fmean(figures), count) ** 2, max(1, round(count) - 1)))
    return parts

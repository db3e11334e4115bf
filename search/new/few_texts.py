"""Few texts: a new study then has folds, where there is time for them, since one validation split would say little.

In searches of 300 and 1,000 texts of three sources, the figure that a search gave lay 6 to 10 and 3.5 to 4.5 points off the truth with one
validation split of a fifth of the texts, with five folds 2 to 5 and 1 to 2 points (tests/benchmarks/folds.py). The model did not become
better by it. So folds may take trials, and layers below the top two, but no texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.new.cost import Folds
from search.new.sizes import CORE_LAYERS, MEDIUM, STEPS, epochs_of
from trainers.errors import InputError
from trainers.fit import is_share

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from search.new.cost import Costs
    from search.new.sizes import Plan
    from trainers.config import DataConfig, Metric
    from trainers.data import Splits, Texts

NUM_FOLDS = 5
"""Of a new study that has any; others were not measured."""

FEW_TEXTS = 1_000
"""Texts beside the test split up to which a new study may have folds: the most of which it was measured that a search's figure lies
nearer to the truth with five folds than with one validation split. What is beyond is not known."""

Choose = Callable[["Costs"], tuple["Costs", "Plan"]]
"""Costs -> the same with a number of trials, and the sizes that end in time."""


@dataclass(frozen=True)
class Planned:
    """Texts, and the search of them that ends in time.

    Attributes:
        texts: As they were read.
        data: With what settings.
        splits: Of these texts.
        costs: Of a search.
        plan: Its sizes.
        without_folds: Why there are none where there are so few texts that they may be wanted; else None.
    """

    texts: Texts
    data: DataConfig
    splits: Splits
    costs: Costs
    plan: Plan
    without_folds: str | None = None


def with_folds(
    one: Planned,
    *,
    metric: Metric,
    tokenizer: PreTrainedTokenizerBase,
    choose: Choose,
    available: float,
    tell: Callable[[str], None],
) -> Planned:
    """Return the search with folds where there are few texts, and time for folds; else as it is.

    Splits that the user made stay as they are.

    Args:
        one: Of one validation split.
        metric: Of the score.
        tokenizer: Of the encoder.
        choose: How its plan was made.
        available: Seconds that the search may take.
        tell: Gets a line, where there are folds.
    """
    from trainers.data import load_splits, read_texts

    num_texts = len(one.splits.train) + len(one.splits.validation)
    if num_texts > FEW_TEXTS or has_own_validation(one.texts, one.data):
        return one
    data = one.data.model_copy(update={"folds": NUM_FOLDS})
    try:
        texts = read_texts(data)
    except InputError:  # such as where a class has fewer texts than there are folds
        return one
    if has_own_splits(texts, data):
        return replace(one, without_folds="the source has splits of its own")
    splits = load_splits(data, tokenizer, texts=texts)
    costs, plan = choose(folded(one.costs, splits, metric))
    if plan.seconds > available or not _is_enough(plan, one.plan, costs):
        return replace(
            one,
            without_folds=f"with folds there is no time for {costs.num_trials} trials of all texts and two layers",
        )
    chosen = Planned(texts, data, splits, costs, plan)
    tell(_say(chosen))
    return chosen


def _is_enough(plan: Plan, other: Plan, costs: Costs) -> bool:
    """Tell whether a plan with folds has all texts, and of tokens, epochs and layers what the other has, or what comes first."""
    sizes = plan.sizes
    return (
        sizes.train == len(costs.splits.train)
        and sizes.max_length >= min(other.sizes.max_length, MEDIUM)
        and sizes.epochs >= min(other.sizes.epochs, epochs_of(sizes.train, STEPS))
        and sizes.freeze_depth <= max(other.sizes.freeze_depth, costs.num_layers - CORE_LAYERS)
    )


def folded(costs: Costs, splits: Splits, metric: Metric) -> Costs:
    """Return the costs of a search of splits that may have folds."""
    folds = None if splits.folds is None else Folds(splits.folds, is_share(metric, splits.task))
    return replace(costs, splits=splits, folds=folds)


def unfolded(splits: Splits, data: DataConfig) -> tuple[Splits, DataConfig]:
    """Return splits and settings without folds, for a single fit that no choice depends on: its validation texts are its training texts."""
    if splits.folds is None:
        return splits, data
    return (
        replace(splits, validation=splits.train, folds=None, clusters_N=None),
        data.model_copy(update={"folds": None, "fold_seed": None}),
    )


def has_own_validation(texts: Texts, data: DataConfig) -> bool:
    """Tell whether validation texts are given, or how many there are to be, or folds."""
    named = (data.folds, data.train, data.validation, data.validation_source)
    return named != (None,) * 4 or any(row.split == "validation" for row in texts.rows)


def has_own_splits(texts: Texts, data: DataConfig) -> bool:
    """Tell whether the source, or a file beside it, says of texts in which split they are."""
    return (data.split, data.test_source) != (None, None) or any(row.split for row in texts.rows)


def _say(one: Planned) -> str:
    return (
        f"{len(one.splits.train):,} {'texts' if one.data.pair is None else 'pairs'} are few: they are cut into {one.splits.folds} folds, and each "
        f"is validated on once. A trial takes about {one.costs.fits:.1f} fits, which the estimate below counts. Without data.folds in the "
        "file there is one validation split."
    )

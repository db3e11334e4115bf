"""The figures on a model's card: what was measured of it, and what each one means."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trainers.config import METRIC_NAMES, TrainConfig
from trainers.errors import printable
from trainers.model.markdown import percent
from trainers.model.provenance import Confirmation, Search

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from trainers.fit import FitResult

METRIC_TYPES: dict[str, str] = {"macro_f1": "f1", "micro_f1": "f1", "subset_accuracy": "accuracy"}
"""What Hugging Face calls a metric, where it has another name."""


def figures(
    config: TrainConfig, result: FitResult, search: Search | None, *, tested_itself: bool
) -> list[dict[str, str]]:
    """Return the rows of the card's table of figures.

    Args:
        config: Of the fit.
        result: What it came to.
        search: Where its settings come from; None if nobody knows.
        tested_itself: Whether these weights are the ones that were measured on the test split.
    """
    metric = METRIC_NAMES[config.metric]
    rows = []

    def row(name: str, value: str, meaning: str) -> None:
        rows.append({"name": f"{name} {metric}", "value": value, "meaning": meaning})

    confirmed = search.confirmation if search else None
    if confirmed is not None:
        if confirmed.test is not None:
            texts = "groups of texts" if config.data.group else "texts"
            _test_figures(row, confirmed, tested_itself=tested_itself, texts_drawn=texts)
        if confirmed.test_on_scale is not None:
            meaning = f"mean of {confirmed.num_tested} fits of the same settings on fresh seeds"
            rows.append({"name": "test, on the scale", "value": confirmed.test_on_scale, "meaning": meaning})
        spread = "" if confirmed.spread is None else f" ± {percent(confirmed.spread)}"
        row(
            "confirmed validation",
            percent(confirmed.validation) + spread,
            f"mean and standard deviation of {confirmed.num_seeds} "
            f"{f'times {config.data.folds} folds' if config.data.folds else 'fits'} of the same settings on fresh seeds, of which "
            f"{100 * confirmed.share_under_ceiling:.0f} % kept under the ceiling of training",
        )
    if not result.is_refit:
        row(
            "validation",
            percent(result.validation_accuracy),
            "these weights; they were chosen by such a figure",
        )
    if result.on_scale is not None:
        meaning = "these weights, of classes that are steps of a scale"
        rows.append(
            {
                "name": "validation, on the scale",
                "value": str(result.on_scale).replace("%", " %"),
                "meaning": meaning,
            }
        )
    row("training", percent(result.training_accuracy), "these weights, on all that they were trained on")
    folds = config.data.folds
    if search is not None:
        row(
            "search's validation",
            percent(search.validation_accuracy),
            (
                f"mean of {folds} folds by fits of {folds - 1}/{folds} of the texts that these weights were trained on; "
                if folds
                else ""
            )
            + (
                f"trial {search.trial}, the best of {search.num_trials} trials, so probably too high"
                if search.num_trials > 1
                else f"trial {search.trial}, the only one"
            ),
        )
    return rows


def _test_figures(
    row: Callable[[str, str, str], None], confirmed: Confirmation, *, tested_itself: bool, texts_drawn: str
) -> None:
    texts = f"on {confirmed.num_test:,} texts that no choice was made by"
    low, high = percent(confirmed.low), percent(confirmed.high)
    interval = "" if confirmed.low is None else f" [{low}, {high}]"

    def with_interval(over: str) -> str:
        return f", with a {100 * (confirmed.confidence or 0):g} % interval over {over}" if interval else ""

    whose = "these weights" if tested_itself else f"the same settings fitted with seed {confirmed.test_seed}"
    if confirmed.num_tested == 1:
        row(
            "test",
            percent(confirmed.test) + interval,
            f"{whose}, once, {texts}" + with_interval(f"other {texts_drawn}, not over other seeds"),
        )
        return
    row("test", percent(confirmed.test_of_seed), f"{whose}, once, {texts}")
    row(
        "confirmed test",
        f"{percent(confirmed.test)} ± {percent(confirmed.test_spread)}{interval}",
        f"mean and standard deviation of {confirmed.num_tested} fits of the same settings on fresh seeds, each once, "
        f"{texts}" + with_interval(f"other seeds and other {texts_drawn}"),
    )


def verdict(confirmed: Confirmation | None) -> str:
    """Say which of the figures tells what to expect."""
    if confirmed is None:
        return (
            "Not confirmed: nothing here was measured on texts that had no part in choosing, and validation figures of "
            "what was chosen by them are too good. The test split is untouched."
        )
    if confirmed.test is None:
        return "Not tested: the test split is untouched."
    if confirmed.num_tested == 1:
        return (
            "What to expect of new texts like those is the test figure, of which one seed alone was measured."
        )
    return "What to expect of new texts like those is the confirmed test figure."


def eval_results(config: TrainConfig, source: str, tested: Confirmation | None) -> list[EvalResult] | None:
    """Return what a hub lists beside other models: these weights' figure on texts that no choice was made by, if there is one."""
    from huggingface_hub import EvalResult

    if tested is None or tested.test_of_seed is None:
        return None
    return [
        EvalResult(
            task_type="text-classification",
            dataset_type=config.data.source if config.data.is_hub_id else "text",
            dataset_name=printable(source),
            dataset_split="test",
            metric_type=METRIC_TYPES.get(config.metric, config.metric),
            metric_name=METRIC_NAMES[config.metric],
            metric_value=round(tested.test_of_seed, 6),
        )
    ]

"""What is told about a new study: what its texts are, and how long a search of it takes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from search.terminal import say

if TYPE_CHECKING:
    from search.new.few_texts import Planned
    from trainers.data import Splits


def say_what_to_expect(path: Path, planned: Planned, *, asked: float, start: float, chosen: bool) -> None:
    """Say what was written, how long a search of it takes, and what to do where that is not what was asked for.

    Args:
        path: What was written.
        planned: The search that it holds.
        asked: Seconds that it may take.
        start: Seconds before its workers start.
        chosen: Whether the number of trials was chosen, not named.
    """
    from search.new.choices import in_words
    from search.new.sizes import LITTLE, MARGIN, MOST_TRIALS, trials_that_fill
    from search.study import duration

    plan, costs, folds = planned.plan, planned.costs, planned.splits.folds
    sizes, speed, trials = plan.sizes, costs.speed, costs.num_trials
    what = f"{sizes.train:,} training texts" if folds is None else f"{sizes.train:,} texts in {folds} folds,"
    say(
        f"Wrote {path}: {what} of up to {sizes.max_length} tokens, {sizes.freeze_depth} or more "
        f"of {costs.num_layers} layers frozen, {sizes.epochs} epoch{'s' * (sizes.epochs > 1)} a fit.",
        f"{trials} trials are expected to take {duration(start + plan.seconds)} on {in_words(speed)} of this "
        f"machine; you asked for {duration(asked)}.",
    )
    if chosen and trials < MOST_TRIALS:
        say(f"More trials would have to train fewer layers, or shorter: --trials {MOST_TRIALS} searches so.")
    if planned.without_folds is not None:
        say(
            "One validation split of so few texts says little; data.folds, a comment in the file, validates on each of them. It is left "
            f"out since {planned.without_folds}."
        )
    if speed.is_shared:
        say(
            f"warning: other programs are using this machine: a worker got {speed.share:.0%} of a core. The estimate is for "
            f"the machine without them; beside them expect some {duration(start + plan.seconds / speed.share)}."
        )
    if start + plan.seconds < LITTLE * asked:
        if plan.next_seconds is None:
            more = trials_that_fill(costs, plan, seconds=asked - start)
            say(
                f"These texts allow no more in {trials} trials: all of them, all layers, {sizes.epochs} epochs. Give fewer "
                f"--minutes, or more --trials: {more} would fill the time."
            )
        else:
            enough = math.ceil((start + plan.next_seconds / MARGIN) / 6) / 10
            say(
                f"The next larger study takes more than the time that is left: --minutes {enough:g} would allow it."
            )


def say_what_was_found(splits: Splits, *, of: str) -> None:
    """Print the data page and the lengths of the texts."""
    from rich.console import Console

    from search.analysis import DataPage, print_page
    from trainers.data import describe_data

    page = describe_data(splits)
    # How many tokens are kept is chosen below.
    findings = [finding for finding in page["findings"] if finding["kind"] != "long texts"]
    print_page(DataPage.model_validate({**page, "findings": findings}), Console())
    lengths = sorted(splits.train.lengths_N.tolist())
    say(f"  half of the {of} have up to {lengths[len(lengths) // 2]} tokens, the longest {lengths[-1]}")

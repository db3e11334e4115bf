"""What depth, epochs and a ceiling are worth, by the tables of learning curves.

python tests/benchmarks/tables/ceilings.py tests/benchmarks/tables/curves.parquet

Each line is about the setup that validation would choose, and says what it reaches on the untouched set. A fit under a
ceiling ends where it is seen above it, and restores the lowest validation loss from below, as a search does.
"""

import argparse
import math
from pathlib import Path

import pandas as pd
from rich.console import Console
from tasks import TASKS, prepare

from search.analysis.baseline import measure_baseline
from search.new.ceiling import choose_ceiling
from trainers.data import read_texts
from trainers.fit.feature_files import default_cache_directory

FIT = ["task", "setup", "seed", "head_start"]
FIRST_LOOK = 0.25
"""Epochs: at younger ages a search only peeks."""

CEILINGS = (0.92, 0.94, 0.96, 0.98, 0.99)
SHARES = (1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 8)
GAPS = (0.05, 0.10, 0.15, 0.20)


def restored(fit, is_allowed):
    """Return the row of a fit that a search would restore; None if no age is allowed."""
    fit = fit[fit.age >= FIRST_LOOK].sort_values("age")
    allowed = is_allowed(fit)
    if not allowed.all():
        fit = fit[allowed & (allowed.cummin())]
    return None if fit.empty else fit.loc[fit.validation_loss.idxmin()]


def chosen(rows, is_allowed=lambda fit: fit.age > 0):
    """Return the row of the setup that validation chooses, seeds and head starts apart; None if none is allowed."""
    fits = [restored(fit, is_allowed) for _, fit in rows.groupby(FIT)]
    fits = [fit for fit in fits if fit is not None]
    return max(fits, key=lambda fit: fit.validation_accuracy, default=None)


def head_in_training(rows):
    """Return the training accuracy of a head that was fitted to the untouched encoder, as the most careful fit saw it."""
    fitted = rows[rows.head_start == "fitted"]
    return (
        fitted.loc[fitted.learning_rate == fitted.learning_rate.min()]
        .sort_values("age")
        .training_accuracy.iloc[0]
    )


def rules(baseline, head):
    """Yield the name of each rule, and which ages it allows."""
    ceiling = choose_ceiling(head)
    yield "head + half of the rest", lambda fit, c=ceiling: fit.training_accuracy <= c
    for ceiling in CEILINGS:
        yield f"ceiling {ceiling:.0%}", lambda fit, c=ceiling: fit.training_accuracy <= c
    for share in SHARES:
        ceiling = max(CEILINGS[0], math.ceil(100 * (1 - share * (1 - baseline))) / 100)
        yield f"words + {1 - share:.0%} of the rest", lambda fit, c=ceiling: fit.training_accuracy <= c
    for gap in GAPS:
        yield f"gap {gap:.0%}", lambda fit, g=gap: fit.training_accuracy <= fit.validation_accuracy + g


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, nargs="+", help="Parquet files that build.py wrote.")
    options = parser.parse_args()
    rows = pd.concat([pd.read_parquet(path) for path in options.tables])
    folder = default_cache_directory() / "tables"
    prepare(folder)
    lost, gained = {}, {}
    for task, of_task in rows.groupby("task"):
        baseline = measure_baseline(read_texts(TASKS[task].data(folder)), metric="accuracy")
        head = head_in_training(of_task)
        free = chosen(of_task)
        lost[f"{task} ({of_task.groupby(FIT).ngroups})"] = line = {
            "words": baseline,
            "head, training": head,
            "its ceiling": choose_ceiling(head),
            "free, untouched": free.test_accuracy,
            "free, training": free.training_accuracy,
        }
        for name, is_allowed in rules(baseline, head):
            row = chosen(of_task, is_allowed)
            line[name] = math.nan if row is None else free.test_accuracy - row.test_accuracy
        gained[task] = {
            f"{name} {value}": chosen(part).test_accuracy
            for name in ("freeze_depth", "epochs")
            for value, part in of_task.groupby(name)
        }
    lost, gained = pd.DataFrame(lost), pd.DataFrame(gained).sort_index()
    lost["median"] = lost.median(axis=1)
    console = Console(width=160)
    console.print("Untouched accuracy lost against no ceiling, in shares of one (fits of each task)")
    console.print(lost.round(3).to_string())
    console.print("\nUntouched accuracy of the best setup of each depth and number of epochs")
    console.print(gained.round(3).to_string())


if __name__ == "__main__":
    main()

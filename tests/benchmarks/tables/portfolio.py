"""Which few setups are good on most tasks: chosen from tables of learning curves, judged on the task left out.

python tests/benchmarks/tables/portfolio.py tests/benchmarks/tables/curves.parquet

A fit counts with the look of its lowest validation loss, as early stopping restores it, and two seeds with their mean. A search takes
the best of its setups by validation; what is judged is the accuracy of that one on the untouched set. Setups are chosen greedily, each so
that the mean over tasks of what the task's best setup has above the one taken falls most.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

NUM_LAYERS = 6
SETUP = ("freeze_depth", "dropout", "head_width", "learning_rate", "epochs", "head_start")
MOST = 8
DRAWS = 2000


def measured(rows, *, head_start, ceiling=None, penalty=1.0):
    """Return validation score and untouched accuracy, tasks x setups, of the setups that every task has, and these setups.

    Args:
        rows: Of a table.
        head_start: Which fits to take.
        ceiling: Looks above it are penalised, as a study's score does; None for none.
        penalty: For each point above the ceiling.
    """
    rows = rows[rows.head_start == head_start].copy()
    rows["score"] = rows.validation_accuracy
    if ceiling is not None:
        rows["score"] -= penalty * (rows.training_accuracy - ceiling).clip(lower=0)
    fit = ["task", "setup", "seed"]
    rows = rows[rows.groupby(fit).age.transform("max") == rows.epochs]  # whole fits
    restored = rows.loc[rows.groupby(fit).validation_loss.idxmin()]
    mean = restored.groupby(["task", "setup"])[["score", "test_accuracy"]].mean().unstack("setup")
    score, test = mean["score"], mean["test_accuracy"]
    common = score.columns[score.notna().all()]
    setups = restored.drop_duplicates("setup").set_index("setup").loc[common, list(SETUP)]
    return score[common], test[common], setups


def taken(score, test, chosen):
    """Return for each task the untouched accuracy of the best of the chosen setups by validation."""
    best = score[:, chosen].argmax(axis=1)
    return test[np.arange(len(test)), np.array(chosen)[best]]


def greedy(score, test, count):
    """Return the places of ``count`` setups, each the one that helps the mean over tasks most; on a tie the better one."""
    chosen = []
    for _ in range(min(count, score.shape[1])):
        rest = [s for s in range(score.shape[1]) if s not in chosen]
        chosen.append(max(rest, key=lambda s: (taken(score, test, [*chosen, s]).mean(), test[:, s].mean())))
    return chosen


def judge(score, test, *, draws=DRAWS, seed=0):
    """Return untouched accuracy by left-out task and k: of a portfolio chosen on the other tasks, and of k random setups."""
    generator = np.random.default_rng(seed)
    num_tasks, num_setups = score.shape
    most = min(MOST, num_setups)
    ours, random = np.zeros((num_tasks, most)), np.zeros((num_tasks, most))
    for task in range(num_tasks):
        others = [t for t in range(num_tasks) if t != task]
        own = score[[task]], test[[task]]
        chosen = greedy(score[others], test[others], most)
        for k in range(1, most + 1):
            ours[task, k - 1] = taken(*own, chosen[:k])[0]
            random[task, k - 1] = np.mean(
                [taken(*own, list(generator.choice(num_setups, k, replace=False)))[0] for _ in range(draws)]
            )
    return ours, random


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, nargs="+", help="Parquet files that build.py wrote.")
    parser.add_argument(
        "--head-start", default="fitted", choices=("random", "fitted"), help="Default: fitted."
    )
    parser.add_argument("--ceiling", type=float, help="Penalise training accuracy above it. Default: none.")
    parser.add_argument("--count", type=int, default=5, help="Setups in the portfolio. Default: 5.")
    options = parser.parse_args()
    rows = pd.concat([pd.read_parquet(path) for path in options.tables])
    score, test, setups = measured(rows, head_start=options.head_start, ceiling=options.ceiling)
    tasks, score, test = list(score.index), score.to_numpy(), test.to_numpy()
    say = Console(width=140, highlight=False).print
    say(
        f"{len(tasks)} tasks, {len(setups)} setups that all of them have, head start {options.head_start}, ",
        end="",
    )
    say(f"ceiling {options.ceiling}, {', '.join(pd.unique(rows.precision))}")

    ours, random = judge(score, test)
    table = Table("left out", "of", *(f"k = {k}" for k in range(1, ours.shape[1] + 1)), "best of table")
    for i, task in enumerate(tasks):
        best = f"{100 * test[i].max():.1f}"
        table.add_row(task, "portfolio", *(f"{100 * a:.1f}" for a in ours[i]), best)
        table.add_row("", "random", *(f"{100 * a:.1f}" for a in random[i]), best)
    gain = 100 * (ours - random)
    table.add_row("all", "mean gain", *(f"{g:+.1f}" for g in gain.mean(axis=0)))
    table.add_row("", "worst gain", *(f"{g:+.1f}" for g in gain.min(axis=0)))
    say(table)

    chosen = greedy(score, test, options.count)
    reached = [taken(score, test, chosen[:k]).mean() for k in range(1, len(chosen) + 1)]
    # Beyond the first, only those that still help.
    chosen = chosen[: 1 + int(np.argmax(reached))]
    for k, place in enumerate(chosen, 1):
        setup = dict(setups.iloc[place])
        share = setup.pop("freeze_depth") / NUM_LAYERS
        settings = ", ".join(f'"{key}": {value!r}' for key, value in plain(setup).items())
        line = f'    {{"freeze_share": {share:.3g}, {settings}}},  # with it, {100 * reached[k - 1]:.1f} on average'
        say(line, markup=False, soft_wrap=True)


def plain(setup):
    """Return a setup's settings as Python's own numbers and texts."""
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in setup.items()}


if __name__ == "__main__":
    main()

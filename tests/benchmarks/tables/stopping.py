"""What rules of stopping save and lose: whole searches are replayed over tables of learning curves, and cut where a rule ends them.

python tests/benchmarks/tables/stopping.py --tables curves.parquet --out stopping.parquet

Nothing is simulated again for a rule: a search of one worker that ends after some trials is the beginning of the whole one.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from contenders import CONTENDERS
from landscape import landscapes
from replay import Replay
from rich.console import Console
from simulate import choices, flat, read_tables

from search.analysis.flatness import FEWEST_TRIALS, gain_left

FEWEST_ABOVE = 3
"""Scores above the next by whose mean a spread is told."""

SEARCHES = ("default study", "rungs 1/2 1 2, keep 0.34, margin 3")


def fixed(count):
    """Always so many trials."""
    return lambda _replay, _budget: count


def patience(count):
    """No higher score of a complete trial for so many trials."""

    def rule(replay, budget):
        best, since = -1.0, 0
        for number, trial in enumerate(replay.ended[:budget], start=1):
            if trial.state == "complete" and trial.value > best:
                best, since = trial.value, number
            if number - since >= count:
                return number
        return budget

    return rule


def expected(noticeable, more=None):
    """As the search does it: all trials that are left, or so many more, are expected to gain less."""

    def rule(replay, budget):
        trials = replay.study.get_trials(deepcopy=False)
        for count in range(FEWEST_TRIALS, budget):
            gain = gain_left(trials[:count], num_trials=budget if more is None else count + more)
            if gain is not None and gain < noticeable:
                return count
        return budget

    return rule


def by_spread(noticeable, more=None):
    """Draws of one kind with an exponential tail (Rényi 1953) are expected to raise the best score by less.

    The i-th is the best so far with a chance of 1 / i, and a new best lies as far above the old one as the better half of the
    scores lies above the next.
    """

    def rule(replay, budget):
        for count in range(FEWEST_TRIALS, budget):
            scores = sorted((t.value for t in replay.ended[:count] if t.state == "complete"), reverse=True)
            half = len(scores) // 2
            if half < FEWEST_ABOVE:
                continue
            records = sum(1 / i for i in range(count + 1, (count + more if more else budget) + 1))
            if (np.mean(scores[:half]) - scores[half]) * records < noticeable:
                return count
        return budget

    return rule


def by_model(noticeable):
    """By a Gaussian process over the settings, another trial is expected to gain less."""
    return lambda replay, budget: (
        flat(replay.ended[:budget], replay.spec, enough=10, noticeable=noticeable) or budget
    )


RULES = {
    **{f"always {count}": fixed(count) for count in (10, 20, 30, 40)},
    **{f"no improvement for {count}": patience(count) for count in (10, 15)},
    **{f"all left: below {points}": expected(points / 100) for points in (0.1, 0.2, 0.5, 1, 2)},
    "one more: below 0.2": expected(0.002, more=1),
    **{f"all left, by spread: below {points}": by_spread(points / 100) for points in (0.2, 0.5, 1, 2)},
    "one more, by spread: below 0.2": by_spread(0.002, more=1),
}


def judged(replay, *, ceiling, budget, rules):
    """Return a row a rule: trials, share of the seconds, and points of untouched accuracy lost against the whole search."""
    whole = _chosen(replay, budget, ceiling)
    if whole is None:
        return []
    rows = []
    for name, rule in rules.items():
        count = min(budget, rule(replay, budget))
        chosen = _chosen(replay, count, ceiling)
        left = gain_left(replay.study.get_trials(deepcopy=False)[:count], num_trials=budget)
        rows.append(
            {
                "rule": name,
                "trials": count,
                "time": replay.ended[count - 1].seconds / replay.ended[budget - 1].seconds,
                "lost": np.nan if chosen is None else 100 * (whole.test - chosen.test),
                "expected": np.nan if left is None else 100 * left,
            }
        )
    return rows


def _chosen(replay, count, ceiling):
    found = choices(replay.ended[:count], replay.spec, ceiling=ceiling, shrink=False)
    return found["raw"][0] if found else None


def table(rows):
    """Return trials, time, and points lost with their standard error over studies, by search, budget and rule."""
    grouped = rows.groupby(["search", "ceiling", "budget", "rule"], sort=False)
    return grouped.agg(
        studies=("lost", "count"),
        trials=("trials", "mean"),
        time=("time", "mean"),
        lost=("lost", "mean"),
        error=("lost", "sem"),
        expected=("expected", "mean"),
    ).round(2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tables", type=Path, nargs="+", required=True, help="Parquet files that build.py wrote."
    )
    parser.add_argument("--out", type=Path, required=True, help="Parquet file with a row a study and rule.")
    parser.add_argument("--seeds", type=int, default=40, help="Studies of each task. Default: 40.")
    parser.add_argument("--first-seed", type=int, default=0, help="Default: 0.")
    parser.add_argument("--trials", type=int, default=50, help="Of a whole search. Default: 50.")
    parser.add_argument("--ceiling", type=float, default=1.0, help="As in [score]. Default: 1.0, none.")
    parser.add_argument("--searches", nargs="*", default=SEARCHES, choices=list(CONTENDERS), help="Which.")
    parser.add_argument("--model", action="store_true", help="Judge a Gaussian process, too: slow.")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")  # of experimental samplers
    found = landscapes(read_tables(options.tables), head_start="fitted")
    rules = RULES | ({"model, one more: below 0.2": by_model(0.002)} if options.model else {})
    rows = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name in options.searches:
            for task, landscape in found.items():
                replay = Replay(
                    CONTENDERS[name],
                    landscape,
                    seed=seed,
                    ceiling=options.ceiling,
                    num_trials=options.trials,
                )
                replay.run()
                key = {"search": name, "ceiling": options.ceiling, "budget": options.trials, "task": task}
                rows += [
                    key | {"seed": seed} | row
                    for row in judged(replay, ceiling=options.ceiling, budget=options.trials, rules=rules)
                ]
        pd.DataFrame(rows).to_parquet(options.out)
    Console(width=200).print(table(pd.DataFrame(rows)).to_string(), highlight=False)


if __name__ == "__main__":
    main()

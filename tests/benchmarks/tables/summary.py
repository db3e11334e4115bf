"""Tables of what simulate.py found: regret against time, optimism, promising setups ended early, and the defaults left out.

python tests/benchmarks/tables/summary.py --simulated simulated.parquet --out simulated.md
"""

import argparse
from pathlib import Path

import pandas as pd

RULES = (
    "raw",
    "shrunk",
    "frozen, 1 error",
    "frozen, 2 errors",
    "frozen, 2 errors, 0.5 points",
    "frozen, 2 errors, 0.2 points",
)


def prepared(rows):
    """Add regret and optimism in points; a search without a complete trial has the regret of a guess among setups' median."""
    rows = rows.copy()
    for rule in _rules(rows):
        test = rows[f"{rule}_test"].fillna(rows.reference_median - 0.1)
        rows[f"{rule} regret"] = 100 * (rows.reference_best - test)
        rows[f"{rule} optimism"] = 100 * (rows[f"{rule}_promised"] - rows[f"{rule}_test"])
    return rows


def _rules(rows):
    return [rule for rule in RULES if f"{rule}_test" in rows]


def regrets(rows, rule="raw"):
    """Return mean regret by contender and budget over tasks, and its standard error over seeds."""
    by_seed = rows.groupby(["contender", "budget", "seed"])[f"{rule} regret"].mean()
    wide = by_seed.groupby(["contender", "budget"]).agg(["mean", "sem"]).round(2)
    written = wide.apply(lambda r: f"{r['mean']:.2f} ± {r['sem']:.2f}", axis=1).unstack()
    order = wide["mean"].unstack().mean(axis=1).sort_values().index
    return written.loc[order]


def by_rule(rows):
    """Return regret, optimism and freeze depth by rule of choice, over all contenders and tasks."""
    found = {}
    for rule in _rules(rows):
        found[rule] = rows.groupby("budget").agg(
            regret=(f"{rule} regret", "mean"),
            optimism=(f"{rule} optimism", "mean"),
            depth=(f"{rule}_depth", "mean"),
        )
    return pd.concat(found, axis=1).T.unstack().round(2)


def ended_early(rows):
    """Return the share of trials of the true best tenth that were ended early, and how many trials that is."""
    longest = rows[rows.budget == rows.budget.max()]
    sums = longest.groupby("contender")[["of_best_tenth", "of_best_tenth_ended", "trials", "complete"]].sum()
    studies = longest.groupby("contender").size()
    return pd.DataFrame(
        {
            "ended early, %": (100 * sums.of_best_tenth_ended / sums.of_best_tenth).round(1),
            "of the best tenth, a study": (sums.of_best_tenth / studies).round(1),
            "trials, a study": (sums.trials / studies).round(1),
            "complete, a study": (sums.complete / studies).round(1),
        }
    ).sort_values("ended early, %")


def left_out(rows, budget, names):
    """Choose the best contender on all tasks but one; return what it and each task's own best come to there."""
    mean = (
        rows[(rows.budget == budget) & rows.contender.isin(names)]
        .pivot_table(index="contender", columns="task", values="raw regret")
        .dropna()
    )
    found = []
    for task in mean.columns:
        chosen = mean.drop(columns=task).mean(axis=1).idxmin()
        found.append(
            {
                "left out": task,
                "chosen on the others": chosen,
                "regret there": mean.loc[chosen, task].round(2),
            }
            | {"best there": mean[task].idxmin(), "its regret": mean[task].min().round(2)}
        )
    return pd.DataFrame(found).set_index("left out")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--simulated", type=Path, nargs="+", required=True, help="Parquet files that simulate.py wrote."
    )
    parser.add_argument("--out", type=Path, required=True, help="Markdown file.")
    options = parser.parse_args()
    rows = prepared(pd.concat([pd.read_parquet(path) for path in options.simulated]))
    lines = []
    for (ceiling, workers), part in rows.groupby(["ceiling", "workers"]):
        counts = part.groupby("contender")[["task", "seed"]].nunique()
        whole = part[part.contender.isin(counts.index[counts.task == counts.task.max()])]
        frames = {
            "Regret, tasks that all have": regrets(part[part.task.isin(_shared(part))]),
            "Regret, all tasks": regrets(whole),
            "Rules of choice": by_rule(part),
            "Ended early": ended_early(part),
            "Tasks and seeds": counts,
        }
        for budget in sorted(part.budget.unique()):
            frames[f"Left out, budget {budget:g}"] = left_out(whole, budget, set(whole.contender))
        lines += [f"## Ceiling {ceiling:g}, {workers} workers", ""]
        for name, frame in frames.items():
            lines += [f"### {name}", "", "```", frame.to_string(), "```", ""]
    options.out.write_text("\n".join(lines), encoding="utf-8")


def _shared(rows):
    """Return the tasks that every contender was tried on."""
    tasks = rows.groupby("contender").task.agg(set)
    return set.intersection(*tasks)


if __name__ == "__main__":
    main()

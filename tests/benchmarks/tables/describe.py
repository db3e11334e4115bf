"""What the tables say by themselves: head starts, good ranges, and what a ceiling costs.

python tests/benchmarks/tables/describe.py --tables curves.parquet --out described.md
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from simulate import read_tables

BANDS = [0, 3e-5, 1e-4, 3e-4, 1]
BAND_NAMES = ["1e-5..3e-5", "3e-5..1e-4", "1e-4..3e-4", "3e-4..1e-3"]
DEPTHS = [-1, 1, 3, 5, 6]
DEPTH_NAMES = ["0-1", "2-3", "4-5", "6"]
CEILINGS = (0.92, 0.95, 0.97, 0.99)
GAPS = (0.05, 0.1, 0.15)
EITHER = ((0.92, 0.05), (0.92, 0.1), (0.95, 0.1), (0.97, 0.1), (0.97, 0.15))
PAIR = ["task", "setup", "seed"]
TENTH = 0.1


def prepared(table):
    return table.assign(
        band=pd.cut(table.learning_rate, BANDS, labels=BAND_NAMES).astype(str),
        depths=pd.cut(table.freeze_depth, DEPTHS, labels=DEPTH_NAMES).astype(str),
    )


def heads(table):
    """Compare fitted with random heads, paired over setups and seeds, in points on the untouched texts."""
    wide = table.pivot_table(
        index=[*PAIR, "band", "depths", "age", "epochs"], columns="head_start", values="test_accuracy"
    ).dropna()
    wide["gain"] = 100 * (wide.fitted - wide.random)
    wide = wide.reset_index()
    end = wide[wide.age == wide.epochs]
    return {
        "at the end, by task": _summary(end, ["task"]),
        "at the end, by learning rate": _summary(end, ["band"]),
        "at the end, by freeze depth": _summary(end, ["depths"]),
        "at each age, by task": _summary(wide, ["task", "age"]),
        "best setup of each task, by head": _best(table),
    }


def _summary(rows, by):
    return rows.groupby(by).gain.agg(["count", "mean", "std", "min", "max"]).round(1)


def _best(table):
    pairs = table.groupby([*PAIR]).head_start.transform("nunique") == 2
    ends = table[pairs & (table.age == table.epochs)]
    mean = ends.groupby(["task", "head_start", "setup"]).test_accuracy.mean()
    return (100 * mean.groupby(["task", "head_start"]).max()).unstack().round(1)


def ranges(table, head_start):
    """List the best tenth (at least three) of the setups of each task by what they end with, mean over seeds."""
    ends = table[(table.age == table.epochs) & (table.head_start == head_start)]
    settings = ["setup", "freeze_depth", "learning_rate", "epochs", "dropout", "head_width"]
    mean = ends.groupby(["task", *settings], as_index=False).test_accuracy.mean()
    found = {}
    for task, rows in mean.groupby("task"):
        count = max(3, round(TENTH * len(rows)))
        best = rows.nlargest(count, "test_accuracy").drop(columns="task")
        found[f"{task}, {len(rows)} setups, best {count}"] = best
    return found


def by_setting(table, head_start):
    """Return the mean accuracy at the end less the task's best setup, by rate and depth, and by epochs."""
    ends = table[(table.age == table.epochs) & (table.head_start == head_start)]
    below = ends.assign(
        below=100 * (ends.test_accuracy - ends.groupby("task").test_accuracy.transform("max"))
    )
    return {
        "rate x depth": below.pivot_table(index="band", columns="depths", values="below").round(1),
        "rate x epochs": below.pivot_table(index="band", columns="epochs", values="below").round(1),
    }


def ceilings(table, head_start):
    """Return what a rule on training accuracy costs: the best checkpoint that it admits against the best of all.

    Of each fit the checkpoint of the lowest validation loss among those admitted is restored; a setup is chosen by
    validation accuracy, as in a search, and "oracle" by the untouched texts.
    """
    rows = table[table.head_start == head_start]
    gap = rows.training_accuracy - rows.validation_accuracy
    rules = {"none": np.ones(len(rows), dtype=bool)}
    rules |= {f"training <= {c}": (rows.training_accuracy <= c).to_numpy() for c in CEILINGS}
    rules |= {f"gap <= {g}": (gap <= g).to_numpy() for g in GAPS}
    rules |= {
        f"training <= {c} or gap <= {g}": ((rows.training_accuracy <= c) | (gap <= g)).to_numpy()
        for c, g in EITHER
    }
    found = []
    for name, admitted in rules.items():
        kept = rows[admitted]
        restored = kept.loc[kept.groupby([*PAIR]).validation_loss.idxmin()]
        for task, ends in restored.groupby("task"):
            chosen = ends.sort_values("validation_accuracy").iloc[-1]
            found.append(
                {
                    "rule": name,
                    "task": task,
                    "chosen": 100 * chosen.test_accuracy,
                    "oracle": 100 * ends.test_accuracy.max(),
                    "training of chosen": 100 * chosen.training_accuracy,
                }
            )
    frame = pd.DataFrame(found)
    return {
        figure: frame.pivot(index="rule", columns="task", values=figure).reindex(list(rules)).round(1)
        for figure in ("chosen", "oracle", "training of chosen")
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tables", type=Path, nargs="+", required=True, help="Parquet files that build.py wrote."
    )
    parser.add_argument("--out", type=Path, required=True, help="Markdown file.")
    options = parser.parse_args()
    table = prepared(read_tables(options.tables))
    counts = table.groupby(["task", "head_start"])[["setup"]].nunique().unstack()
    parts = {"Setups": {"counts": counts}, "Head fitted less head random": heads(table)}
    for head_start in ("fitted", "random"):
        if (table.head_start == head_start).any():
            parts[f"Best setups, head {head_start}"] = ranges(table, head_start)
            parts[f"Points below the best, head {head_start}"] = by_setting(table, head_start)
            parts[f"Ceilings, head {head_start}"] = ceilings(table, head_start)
    lines = []
    for title, frames in parts.items():
        lines += [f"## {title}", ""]
        for name, frame in frames.items():
            lines += [f"### {name}", "", "```", frame.to_string(), "```", ""]
    options.out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Search against search: each contender with its own sampler and pruning, for the same time and over the same space.

    python tests/benchmarks/race.py --out race.json

Shown for every seed: after how many seconds a trial first met the goal, and the best validation accuracy under the
ceiling when the time was over. Of the others every evaluation counts at its own moment, of this project whole trials alone, whose
training accuracy is exact. All train by the same recipe, but for the hand-written loop's constant learning rate, and for
"frostline, own recipe", which trains as the studies that come along do.
Everything but imports is charged; this project starts with an empty cache. Where the processor computes in bfloat16, all run
once more so (side_by_side.py says how).
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from side_by_side import BF16, environment, make_task, run, tenth

from trainers.fit.device import computes_bfloat16

OWN_RECIPE = "frostline, own recipe"
CONTENDERS = ("trainer", "trainer, tuned", "hand-written", "ray tune", "frostline, cold", OWN_RECIPE)
EVERYONE = [name + suffix for suffix in ("", BF16) for name in CONTENDERS]
GOAL, CEILING = 0.74, 0.92
DATA = {"source": "rotten_tomatoes", "train": 600, "validation": 400, "test": 10, "max_length": 64}
SPACE = {
    "freeze_depth": [2, 6],
    "dropout": [0.0, 0.5],
    "head_width": [32, 64, 128, 256],
    "learning_rate": [3e-5, 3e-4],
}
EPOCHS = 2
STUDY = {
    "fit": {
        "freeze_depth": {"low": 2, "high": 6},
        "dropout": {"low": 0.0, "high": 0.5},
        "head_width": SPACE["head_width"],
        "learning_rate": {"low": 3e-5, "high": 3e-4, "log": True},
        "patience": {"low": 1, "high": 4},
        "epochs": EPOCHS,
        "evaluations_per_epoch": 1,
        "schedule": "linear",
    },
    "pruning": {"rungs": [0.5, 1.0], "keep": 0.3},
}
RECIPE_OF_STUDIES = {"head_learning_rate_ratio": 10.0, "warmup": 0.1, "encoder_dropout": 0.0}
"""What the studies that come along set."""


def outcome(result, seconds):
    """Return when the goal was first met, the best feasible validation accuracy in time, and how many trials tell."""
    in_time = [t for t in result["trials"] if t["at"] <= seconds]
    feasible = [t for t in in_time if t["train"] <= CEILING]
    return {
        "goal_met_at": min((t["at"] for t in feasible if t["validation"] >= GOAL), default=None),
        "best": max((t["validation"] for t in feasible), default=None),
        "num_trials": len({t["trial"] for t in in_time}),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--contender", nargs="+", choices=EVERYONE, help="Default: all.")
    parser.add_argument("--tiny", action="store_true", help="A tenth of the texts: does it run?")
    parser.add_argument("--out", type=Path, default=Path("race.json"))
    options = parser.parse_args()
    able = computes_bfloat16("cpu")
    contenders = options.contender or [c for c in EVERYONE if able or not c.endswith(BF16)]
    console = Console()
    report = {**environment(), "goal": GOAL, "ceiling": CEILING, "seconds": options.seconds, "runs": []}
    for seed in options.seeds:
        for contender in contenders:
            with tempfile.TemporaryDirectory() as name:
                own = contender.removesuffix(BF16) == OWN_RECIPE
                task = make_task(
                    tenth(DATA) if options.tiny else DATA,
                    Path(name),
                    seed=seed,
                    epochs=EPOCHS,
                    space=SPACE,
                    study={**STUDY, "fit": {**STUDY["fit"], **(RECIPE_OF_STUDIES if own else {})}},
                    seconds=options.seconds,
                )
                result = run(contender.replace(OWN_RECIPE, "frostline, cold"), task, Path(name))
            entry = {"contender": contender, "seed": seed, **result}
            if "error" not in result:
                entry |= outcome(result, options.seconds)
            report["runs"].append(entry)
            options.out.write_text(json.dumps(report, indent=2))
            shown = {k: entry.get(k) for k in ("goal_met_at", "best", "num_trials")}
            console.print(f"seed {seed}, {contender}: {shown}", highlight=False)
    console.print(table(report))


def table(report):
    """Return a row a contender: times to the goal and best accuracies of all seeds, and their medians."""
    rows = Table(title=f"validation >= {GOAL:.0%}, training <= {CEILING:.0%}", title_justify="left")
    for head in ("contender", "goal met after (s)", "median", "best after the time", "median"):
        rows.add_column(head, justify="left" if head == "contender" else "right")
    for contender in dict.fromkeys(r["contender"] for r in report["runs"]):
        runs = [r for r in report["runs"] if r["contender"] == contender]
        times = [r.get("goal_met_at") or float("inf") for r in runs]
        bests = [r.get("best") or 0.0 for r in runs]
        rows.add_row(
            contender,
            ", ".join("failed" if "error" in r else f"{t:.0f}" for r, t in zip(runs, times, strict=True)),
            f"{statistics.median(times):.0f}",
            ", ".join(f"{b:.3f}" for b in bests),
            f"{statistics.median(bests):.3f}",
        )
    return rows


if __name__ == "__main__":
    main()

"""Which way to search finds good setups soonest, on texts that it never saw: searches replayed over tables of learning curves.

python tests/benchmarks/tables/simulate.py --tables curves.parquet --out simulated.parquet --seeds 100

Time is counted in fits of what people would do without a search: all layers, 5e-5, three epochs, one look. Started again, it
goes on where it was.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from contenders import CONTENDERS, USUAL, WIDE, Contender
from landscape import landscapes
from replay import Replay
from rich.console import Console

from search.shrinkage import model
from search.space import distributions

BUDGETS = (3, 5, 10, 20, 40)
DRAWN = 2000
KEYS = ["task", "contender", "workers", "ceiling", "seed"]


def usual_seconds(landscape):
    texts = landscape.num_validation + landscape.num_train
    return landscape.seconds(USUAL, epochs=USUAL["epochs"], texts=texts)


def reference(landscape):
    """Return the expected accuracy of the best of many setups drawn from the wide space, and of the best tenth's last."""
    generator = np.random.default_rng(0)
    rate = WIDE["learning_rate"]
    values = []
    for _ in range(DRAWN):
        settings = {
            "freeze_depth": int(generator.integers(0, 7)),
            "dropout": float(generator.uniform(0, 0.5)),
            "head_width": int(generator.choice(WIDE["head_width"])),
            "learning_rate": float(np.exp(generator.uniform(np.log(rate["low"]), np.log(rate["high"])))),
            "epochs": int(generator.integers(1, 5)),
        }
        accuracy, _, loss = landscape.expected(settings, [e / 2 for e in range(1, 2 * settings["epochs"] + 1)])
        values.append(float(accuracy[np.argmin(loss)]))
    return {"best": max(values), "tenth": float(np.quantile(values, 0.9)), "median": float(np.median(values))}


def choices(ended, spec, *, ceiling, shrink):
    """Return, by rule of choice, which complete trial a search recommends, and the figure that it promises.

    raw: the highest score. shrunk: the highest expected score. frozen: of those that cannot be told apart from that one, and
    are not expected to be more than so much worse, the one that freezes most layers.
    """
    complete = [t for t in ended if t.state == "complete"]
    feasible = [t for t in complete if t.training <= ceiling] or complete
    if not feasible:
        return {}
    raw = max(feasible, key=lambda t: t.value)
    if not shrink:
        return {"raw": (raw, raw.validation)}
    found = {rule: (raw, raw.validation) for rule in ("raw", "shrunk", *FROZEN)}
    space = {k: d for k, d in distributions(spec).items() if k in raw.settings}
    inside = [t for t in complete if all(_holds(d, t.settings[k]) for k, d in space.items())]
    fitted = model([t.settings for t in inside], [t.value for t in inside], space)
    candidates = [t for t in feasible if t in inside]
    if fitted is None or not candidates:
        return found
    means, covariances = fitted.expect([t.settings for t in candidates])
    best = int(means.argmax())
    found["shrunk"] = candidates[best], means[best]
    variances = np.diag(covariances)
    errors = np.sqrt(np.maximum(0, variances + variances[best] - 2 * covariances[best]))
    behind = means[best] - means
    for rule, (times, points) in FROZEN.items():
        tied = [i for i in range(len(candidates)) if behind[i] <= times * errors[i] and behind[i] <= points]
        chosen = max(tied, key=lambda i: (candidates[i].settings["freeze_depth"], means[i]))
        found[rule] = candidates[chosen], means[chosen]
    return found


FROZEN = {
    "frozen, 1 error": (1.0, 1.0),
    "frozen, 2 errors": (2.0, 1.0),
    "frozen, 2 errors, 0.5 points": (2.0, 0.005),
    "frozen, 2 errors, 0.2 points": (2.0, 0.002),
}
"""Standard errors and score within which setups cannot be told apart from the best."""


def _holds(distribution, value):
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return value in distribution.choices
    return distribution.low <= value <= distribution.high


def judged(name, landscape, known, *, seed, workers, ceiling, budgets, num_trials, shrink):
    """Run one study for each budget that has to be planned for, one for all otherwise; return a row a budget."""
    contender: Contender = CONTENDERS[name]
    unit = usual_seconds(landscape)
    rows, replay = [], None
    for budget in sorted(budgets, reverse=True):
        if replay is None or contender.pause_at is not None:
            replay = Replay(
                contender,
                landscape,
                seed=seed,
                workers=workers,
                limit=budget * unit,
                ceiling=ceiling,
                num_trials=num_trials,
            )
            replay.run()
        ended = [t for t in replay.ended if t.seconds <= budget * unit]
        among = [t for t in ended if t.promise >= known["tenth"]]
        row = {
            **dict(zip(KEYS, (landscape.task, name, workers, ceiling, seed), strict=True)),
            "budget": budget,
            "trials": len(ended),
            "complete": sum(t.state == "complete" for t in ended),
            "of_best_tenth": len(among),
            "of_best_tenth_ended": sum(t.state == "pruned" for t in among),
            **{f"reference_{k}": v for k, v in known.items()},
        }
        for rule, (chosen, promised) in choices(ended, replay.spec, ceiling=ceiling, shrink=shrink).items():
            row[f"{rule}_test"] = chosen.test
            row[f"{rule}_promised"] = promised
            row[f"{rule}_depth"] = chosen.settings["freeze_depth"]
        rows.append(row)
    return rows


def read_tables(paths):
    table = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    return table.drop_duplicates(["task", "setup", "seed", "head_start", "age"], ignore_index=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="Parquet files that build.py wrote.")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file with a row a study and budget.")
    parser.add_argument("--seeds", type=int, default=100, help="Simulated studies of each kind. Default: 100.")
    parser.add_argument("--first-seed", type=int, default=0, help="Default: 0.")
    parser.add_argument("--workers", type=int, nargs="*", default=[1], help="Fits under way at once. Default: 1.")
    parser.add_argument("--ceilings", type=float, nargs="*", default=[1.0], help="As in [score]. Default: 1.0, none.")
    parser.add_argument("--contenders", nargs="*", default=list(CONTENDERS), choices=list(CONTENDERS), help="Default: all.")
    parser.add_argument("--budgets", type=float, nargs="*", default=list(BUDGETS), help="In usual fits. Default: 3 5 10 20 40.")
    parser.add_argument("--trials", type=int, default=100, help="At most so many in a study. Default: 100.")
    parser.add_argument("--shrink", action="store_true", help="Judge rules of choice by a model, too: slow.")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")  # of experimental samplers
    table = read_tables(options.tables)
    found = {head_start: landscapes(table, head_start=head_start) for head_start in ("fitted", "random")}
    known = {task: reference(landscape) for task, landscape in found["fitted"].items()}
    rows = pd.read_parquet(options.out).to_dict("records") if options.out.exists() else []
    done = {tuple(row[key] for key in KEYS) for row in rows}
    console = Console()
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for ceiling in options.ceilings:
            for workers in options.workers:
                for name in options.contenders:
                    for task, landscape in found[CONTENDERS[name].head_start].items():
                        if task not in known or (task, name, workers, ceiling, seed) in done:
                            continue
                        rows += judged(
                            name,
                            landscape,
                            known[task],
                            seed=seed,
                            workers=workers,
                            ceiling=ceiling,
                            budgets=options.budgets,
                            num_trials=options.trials,
                            shrink=options.shrink,
                        )
                    pd.DataFrame(rows).to_parquet(options.out)
        console.print(f"seed {seed}: {len(rows)} rows", highlight=False)


if __name__ == "__main__":
    main()

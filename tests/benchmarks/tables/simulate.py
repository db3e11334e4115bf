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
from contenders import CARD, CONTENDERS, STUDY, USUAL, WIDE, Contender
from landscape import SETTINGS, landscapes
from replay import Replay
from rich.console import Console
from shrinkage import holds, model

from search.study.space import distributions

FLAT = (10, 15, 20)
"""Complete trials before which a search does not ask whether another would pay."""

NOTICEABLE = 0.002

BUDGETS = (3, 5, 10, 20, 40)
DRAWN = 1000
KEYS = ["task", "contender", "workers", "ceiling", "seed"]


def usual_seconds(landscape):
    texts = landscape.num_validation + landscape.num_train
    return landscape.seconds(USUAL, epochs=USUAL["epochs"], texts=texts)


def reference(landscape, fit):
    """Return what is expected of setups drawn at random from a space: of the best, of the last of the best tenth, of the middle."""
    generator = np.random.default_rng(0)
    space = Contender(fit=fit).spec(ceiling=1.0).fit
    drawn = [{name: _drawn(space[name], generator) for name in SETTINGS} for _ in range(DRAWN)]
    often = space["evaluations_per_epoch"]
    looks = [(i, n / often) for i, s in enumerate(drawn) for n in range(1, often * s["epochs"] + 1)]
    accuracy, _, loss = landscape.expected_of([drawn[i] for i, _ in looks], [age for _, age in looks])
    restored = pd.DataFrame({"setup": [i for i, _ in looks], "accuracy": accuracy, "loss": loss})
    values = restored.loc[restored.groupby("setup").loss.idxmin()].accuracy
    return {"best": values.max(), "tenth": values.quantile(0.9), "median": values.median()}


def _drawn(setting, generator):
    if isinstance(setting, list):
        return setting[generator.integers(len(setting))]
    if not hasattr(setting, "low"):
        return setting
    if isinstance(setting.low, int) and isinstance(setting.high, int):
        return int(generator.integers(setting.low, setting.high + 1))
    low, high = np.log([setting.low, setting.high]) if setting.log else (setting.low, setting.high)
    value = generator.uniform(low, high)
    return float(np.exp(value) if setting.log else value)


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
    found = dict.fromkeys(("raw", "shrunk", *FROZEN), (raw, raw.validation))
    space = {k: d for k, d in distributions(spec).items() if k in raw.settings}
    inside = [t for t in complete if all(holds(d, t.settings[k]) for k, d in space.items())]
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


def flat(ended, spec, *, enough, noticeable):
    """Return after how many trials the expected gain of another is too small to be noticed; None if it never was.

    Looked at after every fifth trial, from ``enough`` complete ones on.
    """
    space = {k: d for k, d in distributions(spec).items() if k in SETTINGS}
    for count in range(5, len(ended) + 1, 5):
        inside = [
            t
            for t in ended[:count]
            if t.state == "complete" and all(holds(d, t.settings[k]) for k, d in space.items())
        ]
        if len(inside) < enough:
            continue
        fitted = model([t.settings for t in inside], [t.value for t in inside], space)
        if fitted is None:
            continue
        means, _ = fitted.expect([t.settings for t in inside])
        if fitted.gain(float(means.max()), generator=np.random.default_rng(count)) < noticeable:
            return count
    return None


FROZEN = {
    "frozen, 1 error": (1.0, 1.0),
    "frozen, 2 errors": (2.0, 1.0),
    "frozen, 2 errors, 0.5 points": (2.0, 0.005),
    "frozen, 2 errors, 0.2 points": (2.0, 0.002),
}
"""Standard errors and score within which setups cannot be told apart from the best."""


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
        if shrink and budget == max(budgets):
            for enough in FLAT:
                count = flat(ended, replay.spec, enough=enough, noticeable=NOTICEABLE)
                stopped = ended[:count]
                chosen = choices(stopped, replay.spec, ceiling=ceiling, shrink=False).get("raw")
                row[f"flat {enough}_trials"] = len(stopped)
                row[f"flat {enough}_seconds"] = stopped[-1].seconds / ended[-1].seconds
                row[f"flat {enough}_test"] = chosen and chosen[0].test
        rows.append(row)
    return rows


def read_tables(paths):
    table = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    return table.drop_duplicates(["task", "setup", "seed", "head_start", "age"], ignore_index=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tables", type=Path, nargs="+", required=True, help="Parquet files that build.py wrote."
    )
    parser.add_argument("--out", type=Path, required=True, help="Parquet file with a row a study and budget.")
    parser.add_argument(
        "--seeds", type=int, default=100, help="Simulated studies of each kind. Default: 100."
    )
    parser.add_argument("--first-seed", type=int, default=0, help="Default: 0.")
    parser.add_argument(
        "--workers", type=int, nargs="*", default=[1], help="Fits under way at once. Default: 1."
    )
    parser.add_argument(
        "--ceilings", type=float, nargs="*", default=[1.0], help="As in [score]. Default: 1.0, none."
    )
    parser.add_argument(
        "--contenders", nargs="*", default=list(CONTENDERS), choices=list(CONTENDERS), help="Default: all."
    )
    parser.add_argument(
        "--budgets",
        type=float,
        nargs="*",
        default=list(BUDGETS),
        help="In usual fits. Default: 3 5 10 20 40.",
    )
    parser.add_argument("--trials", type=int, default=100, help="At most so many in a study. Default: 100.")
    parser.add_argument("--shrink", action="store_true", help="Judge rules of choice by a model, too: slow.")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")  # of experimental samplers
    table = read_tables(options.tables)
    found = {head_start: landscapes(table, head_start=head_start) for head_start in ("fitted", "random")}
    known = {
        (head_start, task, name): reference(landscape, fit)
        for head_start, by_task in found.items()
        for task, landscape in by_task.items()
        for name, fit in (("wide", WIDE), ("card", CARD))
    }
    rows = pd.read_parquet(options.out).to_dict("records") if options.out.exists() else []
    done = {tuple(row[key] for key in KEYS) for row in rows}
    console = Console()
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for ceiling in options.ceilings:
            for workers in options.workers:
                for name in options.contenders:
                    for task, landscape in found[CONTENDERS[name].head_start].items():
                        if (task, name, workers, ceiling, seed) in done:
                            continue
                        head_start = CONTENDERS[name].head_start
                        space = "card" if CONTENDERS[name].fit in (CARD, STUDY) else "wide"
                        own = known[head_start, task, space]
                        best = max(known[h, t, s]["best"] for h, t, s in known if t == task)
                        rows += judged(
                            name,
                            landscape,
                            {**own, "best": best},
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

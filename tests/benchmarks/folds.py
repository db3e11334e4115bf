"""Few texts searched with one validation split and with folds: how far is the search's figure from the truth?

From a source's texts, a few are drawn a seed, 300 if nothing else is said; 2,000 others are never searched on and say what the
exported model is worth. Each draw is searched three times with the same trials' seeds: with a fifth of the texts as validation
split, with 5 folds, and with 5 folds whose trials never end early. Features are stored once for all. Finished searches are kept:
the same command goes on.

    python tests/benchmarks/folds.py --out folds.jsonl --seeds 10
    python tests/benchmarks/folds.py --out folds.jsonl --seeds 10 --few 1000 --sources questions.csv
    python tests/benchmarks/folds.py --out folds.jsonl --first-seed 10 --seeds 10 --few 3000 --pool 10000
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import optuna
from rich.console import Console
from sklearn.model_selection import train_test_split

from search.study import StudySpec, attributes as attr, best_feasible
from search.trials import Live, run_trials
from trainers.config import TrainConfig
from trainers.data import load_splits
from trainers.encoder import load_encoder
from trainers.fit import answer_validation, build_features, default_cache_directory, fit, mean_ages

MANY, FOLDS = 2_000, 5
NUM_LAYERS = 6
ARMS = ("one split", "folds", "folds, none ended early")


def spec_of(source: str, arm: str, *, few: int, seed: int, layers: int) -> StudySpec:
    """Return the study of an arm: the head alone is searched, or up to some layers, too."""
    return StudySpec.model_validate(
        {
            "name": "folds",
            "seed": seed,
            "score": {"ceiling": 0.97},
            "data": {"source": source, "train": few, "test": 10, "max_length": 64, "seed": seed}
            | ({} if arm == ARMS[0] else {"folds": FOLDS}),
            "fit": {
                "freeze_depth": {"low": NUM_LAYERS - layers, "high": NUM_LAYERS} if layers else NUM_LAYERS,
                "dropout": {"low": 0.0, "high": 0.5},
                "head_width": [0, 32, 128],
                "learning_rate": {"low": 1e-3, "high": 3e-2, "log": True} if not layers else 1e-4,
                "patience": {"low": 1, "high": 4},
                "weight_decay": {"low": 0.001, "high": 0.3, "log": True},
                "head_learning_rate_ratio": 1.0 if not layers else 10.0,
                "epochs": 20 if not layers else 5,
                "encoder_dropout": 0.0,
                "head_start": "random",
            },
            "pruning": {"rungs": [] if arm == ARMS[2] else [1.0]},
            "recipes": {"enqueue": []},
        }
    )


def all_features(source: str, *, few: int, layers: int, pool: int):
    """Store the features of all texts that are drawn from."""
    spec = spec_of(source, ARMS[1], few=few, seed=0, layers=layers)
    data = spec.data.model_copy(update={"train": pool})
    encoder = load_encoder(spec.encoder)
    return build_features(
        encoder,
        load_splits(data, encoder.tokenizer),
        spec.any_config(),
        depths=spec.depths(),
        directory=default_cache_directory(),
        disk_bytes=2**33,
    )


def searched(features, source: str, arm: str, *, few: int, seed: int, layers: int, num_trials: int) -> dict:
    """Search one draw, fit the winner again as an export does, and measure it on all other texts."""
    rows = np.random.default_rng(seed).permutation(len(features.splits.train))
    drawn, others = np.sort(rows[:few]), np.sort(rows[few : few + MANY])
    spec = spec_of(source, arm, few=few, seed=seed, layers=layers)
    if arm == ARMS[0]:
        train, validation = train_test_split(
            drawn, test_size=few // FOLDS, stratify=features.splits.train.labels_N[drawn], random_state=seed
        )
        view = features.of_rows(train=np.sort(train), validation=np.sort(validation))
    else:
        view = features.of_rows(train=drawn, validation=drawn[:1])
        view.splits = replace(view.splits, folds=FOLDS, clusters_N=None)
    study = optuna.create_study(direction="maximize")
    began, wall = time.process_time(), time.monotonic()
    with Live(Console(quiet=True), total_trials=num_trials, ceiling=spec.score.ceiling) as live:
        run_trials(study, spec, view, live, num_trials=num_trials, started=wall, deadline=None)
    seconds = time.process_time() - began
    best = best_feasible(study.trials)
    assert best is not None
    config = TrainConfig.model_validate(best.user_attrs[attr.CONFIG])
    if attr.FOLDS in best.user_attrs:
        ages = [fold["best_epochs"] for fold in best.user_attrs[attr.FOLDS]]
        config = config.model_copy(
            update={"stop_at": tuple(mean_ages(ages, looks=config.evaluations_per_epoch))}
        )
    result = fit(config, view)
    answered = answer_validation(config, features.of_rows(train=drawn, validation=others), result)
    truth = float((answered.logits_NC.argmax(axis=1) == answered.labels_N).mean())
    fits = sum(len(t.user_attrs.get(attr.FOLDS, [None])) for t in study.trials)
    return {
        "source": Path(source).stem,
        "few": few,
        "layers": layers,
        "seed": seed,
        "arm": arm,
        "figure": best.user_attrs[attr.VALIDATION_ACCURACY],
        "truth": truth,
        "fits": fits,
        "tokens": sum(t.user_attrs[attr.TOKENS] for t in study.trials),
        "seconds": seconds,
        "ended_early": sum(t.state.name == "PRUNED" for t in study.trials),
        "score": best.value,
        "trials": [_told(trial) for trial in study.trials],
    }


def _told(trial: optuna.trial.FrozenTrial) -> dict:
    """Return what other bounds of the early end can be read from."""
    notes = trial.user_attrs
    kept = ("validation_accuracy", "training_accuracy", "hits", "tokens")
    folds = [{key: fold[key] for key in kept} for fold in notes.get(attr.FOLDS, ())]
    return {"state": trial.state.name, "value": trial.value, "tokens": notes.get(attr.TOKENS), "folds": folds}


def table(records: list[dict]) -> str:
    """Return the table of what was measured, as Markdown."""
    lines = [
        "| source | texts | layers | arm | seeds | figure | truth | figure - truth | mean distance | fits | tokens | processor s |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key in dict.fromkeys(_key(r)[:3] for r in records):
        same = [r for r in records if _key(r)[:3] == key]
        arms = [arm for arm in ARMS if any(r["arm"] == arm for r in same)]
        whole = {r["seed"] for r in same if sum(s["seed"] == r["seed"] for s in same) == len(arms)}
        for arm in arms:
            rows = [r for r in same if r["arm"] == arm and r["seed"] in whole]
            if not rows:
                continue
            gaps = [100 * (r["figure"] - r["truth"]) for r in rows]
            truths = [100 * r["truth"] for r in rows]
            lines.append(
                f"| {' | '.join(map(str, key))} | {arm} | {len(rows)} | {100 * fmean(r['figure'] for r in rows):.1f} | "
                f"{_mean(truths)} | {_mean(gaps, sign='+')} | {_mean([abs(gap) for gap in gaps])} | "
                f"{fmean(r['fits'] for r in rows):.1f} | {fmean(r['tokens'] for r in rows):,.0f} | "
                f"{fmean(r['seconds'] for r in rows):.0f} |"
            )
    return "\n".join(lines)


def _key(record: dict) -> tuple:
    return record["source"], record["few"], record["layers"], record["seed"], record["arm"]


def _mean(values: list[float], *, sign: str = "") -> str:
    error = f" ± {stdev(values) / len(values) ** 0.5:.1f}" if len(values) > 1 else ""
    return f"{fmean(values):{sign}.1f}{error}"


def main(argv: list[str] | None = None) -> int:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="File of what was measured; it is continued.")
    parser.add_argument("--seeds", type=int, default=10, help="Draws of a source.")
    parser.add_argument("--first-seed", type=int, default=0, help="Of the first draw.")
    parser.add_argument("--few", type=int, default=300, help="Texts of a draw.")
    parser.add_argument(
        "--pool", type=int, help="Texts that are drawn from. [default: 2,000 more than are drawn]"
    )
    parser.add_argument("--trials", type=int, default=20, help="Of a search.")
    parser.add_argument(
        "--arms", type=int, default=len(ARMS), help="How many of the three searches of a draw."
    )
    parser.add_argument("--layers", type=int, default=0, help="Trained at most.")
    parser.add_argument(
        "--sources", nargs="+", default=["rotten_tomatoes", "imdb"], help="As in data.source."
    )
    options = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = (
        [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    )
    done = {_key(r) for r in known}
    features = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for source in options.sources:
            for arm in ARMS[: options.arms]:
                if (Path(source).stem, options.few, options.layers, seed, arm) in done:
                    continue
                if source not in features:
                    features[source] = all_features(
                        source,
                        few=options.few,
                        layers=options.layers,
                        pool=options.pool or options.few + MANY,
                    )
                known.append(
                    searched(
                        features[source],
                        source,
                        arm,
                        few=options.few,
                        seed=seed,
                        layers=options.layers,
                        num_trials=options.trials,
                    )
                )
                with options.out.open("a") as out:
                    out.write(json.dumps(known[-1]) + "\n")
    sys.stdout.write(table(known) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""This project: a list of trials without pruning, or a search."""

import datetime
import importlib
import io
import sys
import time
from pathlib import Path

import optuna
from common import main
from rich.console import Console

from search.study.results import complete
from search.study.spec import StudySpec
from search.trials.progress import Live
from search.trials.scheduler import number_of_workers, run_trials
from search.trials.worker_pool import warm_up
from trainers.data.splits import load_splits
from trainers.encoder.loading import load_encoder
from trainers.fit.feature_building import build_features
from trainers.fit.precision import pinned

MANY = 10_000
LAZY = ("alembic", "optuna.storages._rdb.storage", "sklearn.model_selection")
"""What this project imports when it is needed. No contender is charged for imports."""


def make_spec(task):
    precision = "auto" if task.bf16 else "float32"
    if not task.trials:
        fit = {**task.study["fit"], "precision": precision}
        return StudySpec.model_validate(
            {"name": "benchmark", "seed": task.seed, "data": task.data, **task.study, "fit": fit}
        )
    # Every setup to its end; the one evaluation's training accuracy is exact, as the others have it.
    depths = [t["freeze_depth"] for t in task.trials]
    fit = {
        "freeze_depth": {"low": min(depths), "high": max(depths)},
        "dropout": {"low": 0.0, "high": 0.5},
        "head_width": [32, 64, 128, 256],
        "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
        "patience": 1000,
        "epochs": task.epochs,
        "precision": precision,
    }
    return StudySpec.model_validate(
        {
            "name": "benchmark",
            "score": {"ceiling": 1.0},
            "data": task.data,
            "fit": fit,
            "pruning": {"rungs": []},
        }
    )


def run(task):
    began, started = datetime.datetime.now(), time.monotonic()
    if sys.argv[3:] != ["1"]:
        warm_up()
    spec = make_spec(task)
    encoder = load_encoder(spec.encoder)
    features = build_features(
        encoder,
        load_splits(spec.data, encoder.tokenizer),
        pinned(spec.any_config()),
        depths=spec.depths(),
        directory=Path(task.cache),
        disk_bytes=2**34,
    )
    study = optuna.create_study(direction="maximize", storage=f"sqlite:///{task.database}")
    for trial in task.trials:
        study.enqueue_trial({k: trial[k] for k in spec.fit if k in trial})
    num_trials = len(task.trials) or MANY
    wanted = int(sys.argv[3]) if sys.argv[3:] else "auto"
    run_trials(
        study,
        spec,
        features,
        Live(Console(file=io.StringIO()), total_trials=num_trials, ceiling=spec.score.ceiling),
        num_trials=num_trials,
        started=started,
        deadline=None if task.trials else started + task.seconds,
        num_workers=number_of_workers(wanted, threads=1, trials_left=num_trials),
    )
    return [
        {
            "train": t.user_attrs["training_accuracy"],
            "validation": t.user_attrs["validation_accuracy"],
            "trial": t.number,
            "at": (t.datetime_complete - began).total_seconds(),
        }
        for t in complete(study.trials)
    ]


if __name__ == "__main__":
    for module in LAZY:
        importlib.import_module(module)
    main(run)

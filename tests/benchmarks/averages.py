"""Are averages of weights better than the weights? Within a fit, and over three fits from one head.

python tests/benchmarks/averages.py --out averages.parquet --minutes 60

Each fit gives its last weights, those of its lowest validation loss, and moving averages of all (Izmailov 2018,
arXiv:1803.05407), so that they are compared pair by pair. Three fits begin with the same fitted head and differ in the order of
their batches and in dropout; the mean of their weights is the soup (Wortsman 2022, arXiv:2203.05482), the mean of what they
predict the ensemble. All are measured on texts that nothing was chosen by. Started again, it goes on where it was.
"""

import argparse
import itertools
import math
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

sys.path.append(str(Path(__file__).parent / "tables"))
from build import Traced, prepared
from tasks import TASKS, prepare

import trainers.fit.loop
from trainers.config import EncoderConfig, TrainConfig
from trainers.encoder.loading import load_encoder
from trainers.fit.feature_files import default_cache_directory
from trainers.fit.metrics import confusion, cross_entropy, measure
from trainers.fit.precision import choose_precision

SETUPS = (
    {"freeze_depth": 3, "learning_rate": 2e-4, "epochs": 2, "dropout": 0.1, "head_width": 64},
    {"freeze_depth": 0, "learning_rate": 1e-4, "epochs": 3, "dropout": 0.2, "head_width": 128},
    {"freeze_depth": 2, "learning_rate": 3e-4, "epochs": 2, "dropout": 0.3, "head_width": 64},
    {"freeze_depth": 4, "learning_rate": 2e-4, "epochs": 3, "dropout": 0.1, "head_width": 128},
    {"freeze_depth": 1, "learning_rate": 5e-5, "epochs": 3, "dropout": 0.1, "head_width": 32},
    {"freeze_depth": 0, "learning_rate": 2e-4, "epochs": 2, "dropout": 0.1, "head_width": 64},
    {"freeze_depth": 2, "learning_rate": 1e-4, "epochs": 3, "dropout": 0.2, "head_width": 256},
    {"freeze_depth": 3, "learning_rate": 3e-4, "epochs": 3, "dropout": 0.4, "head_width": 64},
)
"""Such as a search ends with."""

SCHEDULES = ("linear", "constant")
"""The studies' own, and the one that averages were proposed for."""

ORDERS = 3
"""Fits from one head."""

LOOKS_PER_EPOCH = 2
DECAY = 0.9
"""Of the moving average at each step: fits have 50 to 141."""

SHARE = 0.5
"""Of all steps, the last, over which weights are averaged equally."""

KEYS = ("task", "setup", "schedule")


class Averaged(Traced):
    """A fit that keeps its last weights, its best ones and averages of them.

    Args:
        config: Of the fit; its seed is the head's.
        features: From ``prepared``.
        num_validation: Likewise.
        order: Seed of the order of batches and of dropout.
    """

    def __init__(self, config, features, num_validation, order):
        super().__init__(config, features, num_validation)
        torch.manual_seed(order)
        self.generator = np.random.default_rng(order)
        self.step = 0
        self.num_steps = config.epochs * math.ceil(len(self.train) / config.batch_size)
        self.averages = {"moving average": self._weights(), "equal average": self._weights()}
        self.best = None

    def _timetable(self, steps):
        ages = [i / LOOKS_PER_EPOCH for i in range(1, LOOKS_PER_EPOCH * self.config.epochs + 1)]
        return {round(steps * a): a for a in ages}, {}

    @torch.no_grad()
    def _step(self, rows, optimizer):
        with torch.enable_grad():
            super()._step(rows, optimizer)
        self.step += 1
        now = list(self.network.state_dict().values())
        moving, equal = (list(average.values()) for average in self.averages.values())
        get_ema_multi_avg_fn(DECAY)(moving, now, None)
        averaged = self.step - 1 - math.ceil((1 - SHARE) * self.num_steps)
        if averaged >= 0:
            get_swa_multi_avg_fn()(equal, now, torch.tensor(averaged))

    def _evaluate(self, epoch, pooled=None):
        reason = super()._evaluate(epoch, pooled)
        if self.rows[-1]["validation_loss"] == min(row["validation_loss"] for row in self.rows):
            self.best = self._weights()
        return reason

    def _weights(self):
        return {name: value.clone() for name, value in self.network.state_dict().items()}

    def trained(self):
        """Fit, and return the weights by name."""
        for epoch in self._train():
            self._evaluate(epoch)
        return {"last": self._weights(), "restored": self.best, **self.averages}

    def logits(self, weights):
        """Return what weights say of the training split, and of the validation split with the untouched set behind it."""
        self.network.load_state_dict(weights)
        self.network.eval()
        return tuple(
            (sample.run(self.network, np.arange(len(sample))), sample.labels_N)
            for sample in (self.train_sample, self.validation_sample)
        )

    def figures(self, training, both):
        """Return accuracies and losses of what ``logits`` returns."""
        logits_NC, labels_N = both
        parts = {
            "training": training,
            "validation": (logits_NC[: self.num_validation], labels_N[: self.num_validation]),
            "test": (logits_NC[self.num_validation :], labels_N[self.num_validation :]),
        }
        accuracies = {
            f"{name}_accuracy": measure(confusion(*part), metric="accuracy") for name, part in parts.items()
        }
        return accuracies | {f"{name}_loss": cross_entropy(*part) for name, part in parts.items()}


def measured(task, setup, schedule, *, data, features, num_validation):
    """Fit one setup in several orders and return the rows of all weights."""
    config = TrainConfig(
        data=data,
        **SETUPS[setup],
        schedule=schedule,
        head_start="fitted",
        head_learning_rate_ratio=10.0,
        weight_decay=0.01,
        warmup=0.1,
        encoder_dropout=0.0,
        precision=features.precision,
        seed=setup,
    )
    common = dict(zip(KEYS, (task, setup, schedule), strict=True)) | {"precision": features.precision}
    rows, weights, said = [], {}, {}
    with torch.random.fork_rng(devices=[]), trainers.fit.loop.threads(1):
        for order in range(ORDERS):
            fit = Averaged(config, features, num_validation, 1000 + ORDERS * setup + order)
            for name, found in fit.trained().items():
                weights.setdefault(name, []).append(found)
                said.setdefault(name, []).append(fit.logits(found))
                rows.append({**common, "weights": name, "fit": order, **fit.figures(*said[name][-1])})
        for name, several in weights.items():
            soup = {key: torch.stack([w[key] for w in several]).mean(dim=0) for key in several[0]}
            rows.append({**common, "weights": name, "fit": "soup", **fit.figures(*fit.logits(soup))})
            probabilities = [
                (torch.stack([part[0].softmax(1) for part in parts]).mean(dim=0).log(), parts[0][1])
                for parts in zip(*said[name], strict=True)
            ]
            rows.append({**common, "weights": name, "fit": "ensemble", **fit.figures(*probabilities)})
    return rows


def differences(rows):
    """Return what each average gains over what it is compared with, in points, a row a setup.

    Within fits it is compared with the last and with the restored weights; the soup and the ensemble with the mean of the
    fits they are made of, and with the one of them that is best on the validation split.
    """
    found = []
    columns = ["test_accuracy", "training_accuracy", "validation_accuracy"]
    for key, group in rows.groupby(list(KEYS)):
        singles = group[~group["fit"].isin(["soup", "ensemble"])]
        means = singles.groupby("weights")[columns].mean()

        def add(kind, name, against, gained, key=key):
            found.append(
                {
                    **dict(zip(KEYS, key, strict=True)),
                    "kind": kind,
                    "weights": name,
                    "against": against,
                    **100 * gained,
                }
            )

        for name in means.index:
            for against in ("last", "restored"):
                if name != against:
                    add("within a fit", name, against, means.loc[name] - means.loc[against])
            of_name = singles[singles["weights"] == name]
            best = of_name.sort_values(["validation_accuracy", "validation_loss"], ascending=[False, True])
            for kind in ("soup", "ensemble"):
                whole = group[(group["fit"] == kind) & (group["weights"] == name)][columns].iloc[0]
                add(kind, name, "mean of the fits", whole - means.loc[name])
                add(kind, name, "best of them by validation", whole - best[columns].iloc[0])
    return pd.DataFrame(found)


def table(rows):
    """Return the mean gain of each kind of average, with its standard error over setups and tasks."""
    gains = differences(rows)
    shown = Table(title="Points gained, ± standard error over setups and tasks", title_justify="left")
    tasks = sorted(gains["task"].unique())
    heads = ("schedule", "average", "of", "against", "setups", "untouched", *tasks, "training")
    for head in heads:
        shown.add_column(head, justify="left" if head in heads[:4] else "right")
    for key, group in gains.groupby(["schedule", "kind", "weights", "against"], sort=False):
        test, training = group["test_accuracy"], group["training_accuracy"]
        each = [f"{group[group['task'] == task]['test_accuracy'].mean():+.2f}" for task in tasks]
        shown.add_row(
            *key,
            str(len(group)),
            f"{test.mean():+.2f} ± {test.sem():.2f}",
            *each,
            f"{training.mean():+.2f} ± {training.sem():.2f}",
        )
    return shown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="Parquet file with all rows.")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="Begin no setup after these; 0 only shows."
    )
    parser.add_argument("--tasks", nargs="*", default=["trec", "tweets"], choices=list(TASKS))
    parser.add_argument("--setups", type=int, default=len(SETUPS), help="Only the first so many.")
    parser.add_argument("--schedules", nargs="*", default=SCHEDULES, choices=SCHEDULES)
    parser.add_argument("--precision", default="auto", choices=("auto", "float32"))
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    directory = default_cache_directory()
    folder = directory / "tables"
    rows = pd.read_parquet(options.out).to_dict("records") if options.out.exists() else []
    done = {tuple(row[key] for key in KEYS) for row in rows}
    wanted = [
        (task, setup, schedule)
        for schedule, setup, task in itertools.product(
            options.schedules, range(options.setups), options.tasks
        )
        if (task, setup, schedule) not in done
    ]
    ready, encoder, console = {}, None, Console()
    for task, setup, schedule in wanted:
        if time.monotonic() > until:
            break
        if encoder is None:
            prepare(folder)
            encoder, precision = load_encoder(EncoderConfig()), choose_precision(options.precision, "cpu")
        if task not in ready:
            ready[task] = prepared(task, encoder, directory, folder, precision)
        data, features, num_validation = ready[task]
        rows += measured(task, setup, schedule, data=data, features=features, num_validation=num_validation)
        for row in rows:
            row["fit"] = str(row["fit"])
        written = options.out.with_suffix(".part")
        pd.DataFrame(rows).to_parquet(written)
        written.replace(options.out)
        console.print(f"{schedule}, {task}, setup {setup}", highlight=False)
    console.print(table(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()

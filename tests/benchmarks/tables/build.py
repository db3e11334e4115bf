"""Learning curves of setups drawn at random, on texts of five kinds: nothing pruned, nothing stopped.

python tests/benchmarks/tables/build.py --out tests/benchmarks/tables/curves.parquet --minutes 60

Each row is one look at one fit. The untouched set is looked at, too, so that rules which decide by validation can be
judged. Started again, it goes on where it was. Seconds are those of the processor, so that other work on the machine spoils them
little.
"""

import argparse
import itertools
import json
import math
import platform
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from tasks import TASKS, prepare

import trainers.fit.loop
from trainers.config import EncoderConfig, TrainConfig
from trainers.data.splits import Splits, load_splits
from trainers.encoder.loading import load_encoder
from trainers.fit.feature_building import build_features
from trainers.fit.feature_files import default_cache_directory
from trainers.fit.inputs import Batch
from trainers.fit.metrics import confusion, cross_entropy, measure
from trainers.fit.precision import choose_precision

SETUPS = 60
TWICE = SETUPS // 3
"""Setups with a second seed."""

AGES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 3.0, 4.0)
HEAD_STARTS = ("random", "fitted")
KEYS = ("task", "train", "setup", "seed", "head_start")


def draw(setup):
    """Return the settings of a setup, the same for every task."""
    generator = np.random.default_rng(setup)
    return {
        "freeze_depth": int(generator.integers(0, 7)),
        "dropout": round(float(generator.uniform(0.0, 0.5)), 3),
        "head_width": int(generator.choice([32, 64, 128, 256])),
        "learning_rate": float(f"{math.exp(generator.uniform(math.log(1e-5), math.log(1e-3))):.3g}"),
        "epochs": int(generator.integers(1, 5)),
    }


def fits():
    """Yield the keys of all fits, the most useful first."""
    stages = (
        (range(TWICE), (0, 1), HEAD_STARTS),
        (range(TWICE, SETUPS), (0,), ("fitted",)),
        (range(TWICE, SETUPS), (0,), ("random",)),
    )
    for setups, seeds, head_starts in stages:
        for setup, seed, head_start in itertools.product(setups, seeds, head_starts):
            for task, texts in TASKS.items():
                yield task, texts.train, setup, seed, head_start


class Traced(trainers.fit.loop._Fit):
    """A fit that looks at AGES, at the validation split with the untouched set behind it."""

    def __init__(self, config, features, num_validation):
        self.num_validation = num_validation
        self.rows = []
        real = trainers.fit.loop.pooled_splits

        def untouched_left_out(features, config):
            train, both = real(features, config)
            seen = Batch(both.inputs[:num_validation], None, both.labels_B[:num_validation])
            return train, seen

        with mock.patch.object(trainers.fit.loop, "pooled_splits", untouched_left_out):
            super().__init__(config, features, (), lambda _: None)

    def _timetable(self, steps):
        ages = [a for a in AGES if a <= self.config.epochs]
        return {max(1, round(steps * a)): a for a in ages}, {}

    def _evaluate(self, epoch, _pooled=None):
        # All texts, whatever the evaluation itself makes do with, and by the network: the vectors at hand lack the untouched set.
        logits_NC = self.validation_sample.run(self.network.eval(), np.arange(len(self.validation)))
        labels_N = self.validation_sample.labels_N
        reason = super()._evaluate(epoch, None)
        evaluation = self.evaluations[-1]
        row = {"age": epoch, "training_accuracy": evaluation.training_accuracy}
        for name, part in (
            ("validation", slice(0, self.num_validation)),
            ("test", slice(self.num_validation, None)),
        ):
            logits, labels = logits_NC[part], labels_N[part]
            row[f"{name}_accuracy"] = measure(confusion(logits, labels), metric="accuracy")
            row[f"{name}_loss"] = cross_entropy(logits, labels)
            row[f"{name}_right"] = np.packbits((logits.argmax(dim=1) == labels).numpy()).tobytes()
        row |= {
            "training_seconds": self.training_seconds,
            "evaluation_seconds": evaluation.evaluation_seconds,
            "flops": evaluation.flops,
        }
        self.rows.append(row)
        return reason


def prepared(task, encoder, directory, folder, precision):
    """Return features whose validation split has the untouched set behind it, and how long it is itself."""
    data = TASKS[task].data(folder)
    splits = load_splits(data, encoder.tokenizer)
    both = Splits(
        **{**vars(splits), "validation": _joined(splits.validation, splits.test)},
    )
    config = TrainConfig(
        data=data, freeze_depth=1, dropout=0.1, head_width=32, learning_rate=1e-4, precision=precision
    )
    features = build_features(
        encoder, both, config, depths=range(7), directory=directory, disk_bytes=20 * 2**30
    )
    return data, features, len(splits.validation)


def _joined(first, second):
    return type(first)(
        ids_S=np.concatenate([first.ids_S, second.ids_S]),
        offsets_N1=np.concatenate([first.offsets_N1, first.offsets_N1[-1] + second.offsets_N1[1:]]),
        labels_N=np.concatenate([first.labels_N, second.labels_N]),
    )


def measured(task, train, setup, seed, head_start, *, data, features, num_validation):
    """Fit one setup and return its rows."""
    config = TrainConfig(
        data=data,
        **draw(setup),
        head_start=head_start,
        head_learning_rate_ratio=10.0,
        weight_decay=0.01,
        warmup=0.1,
        schedule="linear",
        encoder_dropout=0.0,
        precision=features.precision,
        seed=1000 * setup + seed,
    )
    processor_clock = mock.patch("time.perf_counter", time.process_time)
    with torch.random.fork_rng(devices=[]), trainers.fit.loop.threads(1), processor_clock:
        traced = Traced(config, features, num_validation)
        traced.run(None)
    common = dict(zip(KEYS, (task, train, setup, seed, head_start), strict=True))
    common |= {**draw(setup), "precision": features.precision, "processor": platform.processor() or "unknown"}
    return [{**common, **row} for row in traced.rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="Parquet file with all rows.")
    parser.add_argument("--minutes", type=float, default=60.0, help="Begin no fit after these. Default: 60.")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS), help="Default: all.")
    parser.add_argument("--setups", type=int, default=SETUPS, help="Only the first so many. Default: 60.")
    parser.add_argument("--only", type=int, nargs="*", help="Only these setups, of those.")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32"), help="Default: auto.")
    parser.add_argument(
        "--head-starts", nargs="*", default=HEAD_STARTS, choices=HEAD_STARTS, help="Default: both."
    )
    parser.add_argument("--seeds", type=int, default=2, help="At most so many of each setup. Default: 2.")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    directory = default_cache_directory()
    folder = directory / "tables"
    prepare(folder)
    rows = pd.read_parquet(options.out).to_dict("records") if options.out.exists() else []
    done = {tuple(row[key] for key in KEYS) for row in rows}
    encoder = load_encoder(EncoderConfig())
    precision = choose_precision(options.precision, "cpu")
    ready, console = {}, Console()
    for key in fits():
        task, _, setup, seed, head_start = key
        wanted = (
            task in options.tasks
            and setup < options.setups
            and (options.only is None or setup in options.only)
            and seed < options.seeds
            and head_start in options.head_starts
        )
        if key in done or not wanted:
            continue
        if time.monotonic() > until:
            break
        if task not in ready:
            ready[task] = prepared(task, encoder, directory, folder, precision)
        data, features, num_validation = ready[task]
        rows += measured(*key, data=data, features=features, num_validation=num_validation)
        written = options.out.with_suffix(".part")
        pd.DataFrame(rows).to_parquet(written)
        written.replace(options.out)
        console.print(json.dumps(key), f"{rows[-1]['test_accuracy']:.3f}", highlight=False)


if __name__ == "__main__":
    main()

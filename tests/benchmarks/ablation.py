"""What each shortcut is worth: one fit with it and without, in turns, on one core.

python tests/benchmarks/ablation.py --out ablation.json
"""

import argparse
import contextlib
import datetime
import json
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import trainers.fit
from search.account import measure_peak_flops
from trainers.config import TrainConfig
from trainers.data import load_splits
from trainers.encoder import load_encoder
from trainers.families import set_dropout
from trainers.features import Features, Source, build_features
from trainers.fit import fit
from trainers.network import Network

CONFIG = TrainConfig.model_validate(
    {
        "data": {
            "source": "imdb",
            "train": 240,
            "validation": 120,
            "test": 10,
            "max_length": 128,
            "head_tokens": 30,
        },
        "freeze_depth": 5,
        "dropout": 0.2,
        "head_width": 64,
        "learning_rate": 1e-4,
        "epochs": 1,
        "evaluations_per_epoch": 4,
        "encoder_dropout": 0.0,
        "ceiling": 0.92,
    }
)


def random_batches(lengths_N, *, batch_size, generator):
    order = generator.permutation(len(lengths_N))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def attention_dropout(module, rate):
    set_dropout(module, rate)
    for path, part in module.named_modules():
        if path.endswith("attention.self.dropout"):
            part.p = 0.1


def batch_with_gradient(batch):
    def gather(self, rows):
        found = batch(self, rows)
        if torch.is_grad_enabled() and found.inputs.is_floating_point():
            found.inputs.requires_grad_()
        return found

    return gather


def compiled(init):
    def create(self, *arguments, **options):
        init(self, *arguments, **options)
        for layer in self.layers:
            layer.compile(dynamic=True)

    return create


def adamw(groups, *, fused):
    assert fused
    return real_adamw(groups, foreach=False, fused=False)


real_adamw = torch.optim.AdamW
# As large a share of the training texts as in the default study.
trainers.fit.FIRST_SAMPLE = CONFIG.data.train // 10
VARIANTS = {
    "nothing cached": (),
    "batches of random length": mock.patch.object(trainers.fit, "shuffled_batches", random_batches),
    "AdamW as a loop": mock.patch.object(torch.optim, "AdamW", adamw),
    "attention dropout 0.1": mock.patch("trainers.network.set_dropout", attention_dropout),
    "hidden dropout 0.1": {"encoder_dropout": 0.1},
    "training accuracy on everything": mock.patch.object(trainers.fit, "FIRST_SAMPLE", sys.maxsize),
    "input gradient of the lowest layer": mock.patch.object(
        Source, "batch", batch_with_gradient(Source.batch)
    ),
    "two threads": {"threads": 2},
    "layers compiled": mock.patch.object(Network, "__init__", compiled(Network.__init__)),
}


def seconds_of(config, features):
    began = time.perf_counter()
    fit(config, features)
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("ablation.json"))
    options = parser.parse_args()
    encoder = load_encoder(CONFIG.encoder)
    splits = load_splits(CONFIG.data, encoder.tokenizer)
    rows = Table(title="Time of one fit, relative to all shortcuts taken", title_justify="left")
    for head in ("without", "times as long", "rounds", "first round"):
        rows.add_column(head, justify="left" if head == "without" else "right")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        stored = build_features(
            encoder, splits, CONFIG, depths=[CONFIG.freeze_depth], directory=Path(folder), disk_bytes=2**34
        )
        seconds_of(CONFIG, stored)
        before = seconds_of(CONFIG, stored)
        for name in options.rounds * options.variant:
            change = VARIANTS[name]
            config = CONFIG.model_copy(update=change) if isinstance(change, dict) else CONFIG
            features = stored if change != () else Features(encoder, splits)
            with change if not isinstance(change, dict | tuple) else contextlib.nullcontext():
                seconds = seconds_of(config, features)
            after = seconds_of(CONFIG, stored)
            found = results.setdefault(name, {"ratios": [], "seconds": []})
            found["ratios"].append(2 * seconds / (before + after))
            found["seconds"].append(seconds)
            before = after
    for name, found in results.items():
        rows.add_row(
            name,
            f"{statistics.median(found['ratios']):.2f}",
            ", ".join(f"{r:.2f}" for r in found["ratios"]),
            f"{found['seconds'][0]:.1f} s",
        )
    report = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "peak_gflops": measure_peak_flops() / 1e9,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "results": results,
    }
    options.out.write_text(json.dumps(report, indent=2))
    Console().print(rows)


if __name__ == "__main__":
    main()

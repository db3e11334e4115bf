"""What each shortcut is worth: one fit with it and without, in turns, on one core; and so a short search, on all.

python tests/benchmarks/ablation.py --out ablation.json
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import torch
from rich.console import Console
from rich.table import Table
from side_by_side import environment
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

import trainers.fit.inputs
import trainers.fit.looks
import trainers.fit.loop
from trainers.config import TrainConfig
from trainers.data.splits import load_splits
from trainers.encoder.loading import load_encoder
from trainers.encoder.sections import set_dropout
from trainers.fit.feature_building import build_features
from trainers.fit.features import Features
from trainers.fit.inputs import SplitInputs
from trainers.fit.loop import fit
from trainers.fit.network import Network
from trainers.fit.precision import pinned
from trainers.fit.samples import Sample

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
        "precision": "auto",
    }
)
IN_FLOAT32 = "layers computed in float32"
"""Where the processor computes in bfloat16; elsewhere that is no change."""


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


def compiled(init, *, dynamic):
    def create(self, *arguments, **options):
        init(self, *arguments, **options)
        for layer in self.layers:
            layer.compile(dynamic=dynamic)

    return create


def pad_to_the_limit(parts, *, batch_first, padding_value):
    padded = pad_sequence(parts, batch_first=batch_first, padding_value=padding_value)
    return F.pad(
        padded,
        (0, 0) * (padded.ndim - 2) + (0, CONFIG.data.max_length - padded.shape[1]),
        value=padding_value,
    )


def mask_to_the_limit(lengths_B):
    return torch.arange(CONFIG.data.max_length)[None, :] < lengths_B[:, None]


def adamw(groups, *, fused):
    assert fused
    return real_adamw(groups, foreach=False, fused=False)


real_adamw = torch.optim.AdamW
NOTHING_STORED = "nothing cached"
ONE_LENGTH = mock.patch.multiple(
    trainers.fit.inputs, pad_sequence=pad_to_the_limit, padding_mask=mask_to_the_limit
)
VARIANTS = {
    NOTHING_STORED: (),
    "batches of random length": (mock.patch.object(trainers.fit.loop, "shuffled_batches", random_batches),),
    "all texts padded to one length": (ONE_LENGTH,),
    "AdamW as a loop": (mock.patch.object(torch.optim, "AdamW", adamw),),
    "attention dropout 0.1": (mock.patch("trainers.fit.network.set_dropout", attention_dropout),),
    "hidden dropout 0.1": {"encoder_dropout": 0.1},
    "every look at all texts": (mock.patch.object(trainers.fit.looks, "FIRST_SAMPLE", sys.maxsize),),
    "evaluation without inference mode": (
        mock.patch.object(Sample, "run", torch.no_grad()(Sample.run.__wrapped__)),
    ),
    "input gradient of the lowest layer": (
        mock.patch.object(SplitInputs, "batch", batch_with_gradient(SplitInputs.batch)),
    ),
    "two threads": {"threads": 2},
    IN_FLOAT32: {"precision": "float32"},
    "layers compiled": (mock.patch.object(Network, "__init__", compiled(Network.__init__, dynamic=True)),),
    "layers compiled, one length": (
        mock.patch.object(Network, "__init__", compiled(Network.__init__, dynamic=False)),
        ONE_LENGTH,
    ),
}

ROOT = Path(__file__).parents[2]
STUDY = (ROOT / "studies" / "quick.toml").read_text().replace("epochs = 2\n", "epochs = 6\n")
NUM_TRIALS = 12
SEARCHES = {
    "a search without rungs": ("rungs = [0.5, 1.0]", "rungs = []"),
    "a search without rungs inside an epoch": ("rungs = [0.5, 1.0]", "rungs = [1.0]"),
    "a search with a ceiling of 100 %": ("[goal]", "[score]\nceiling = 1.0\n\n[goal]"),
    "a search in float32": ('precision = "auto"', 'precision = "float32"'),
}
"""What each exchanges in the study. Which setups TPE draws differs, too, after its first ten; imports and report are timed as well."""


def seconds_of_fit(name, encoder, splits, stored):
    """Fit without a shortcut; without any name, with all of them."""
    change = VARIANTS[name] if name else ()
    config = pinned(CONFIG.model_copy(update=change) if isinstance(change, dict) else CONFIG)
    features = stored[config.precision]
    if name == NOTHING_STORED:
        features = Features(encoder, splits, precision=config.precision)
    with contextlib.ExitStack() as stack:
        # As large a share of the training texts as in the default study.
        stack.enter_context(mock.patch.object(trainers.fit.looks, "FIRST_SAMPLE", CONFIG.data.train // 10))
        for patch in () if isinstance(change, dict) else change:
            stack.enter_context(patch)
        began = time.perf_counter()
        fit(config, features)
        return time.perf_counter() - began


def seconds_of_search(name, cache):
    """Search without a shortcut; without any name, with all of them."""
    old, new = SEARCHES[name] if name else ("", "")
    assert old in STUDY
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ablation.toml"
        path.write_text(STUDY.replace(old, new, 1))
        began = time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                "-m",
                "search.run",
                "--study",
                path,
                "--trials",
                str(NUM_TRIALS),
                "--recipes",
                "none",
            ],
            cwd=ROOT,
            env={**os.environ, "XDG_CACHE_HOME": cache},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - began


def compare(names, rounds, seconds_of):
    """Measure each variant between two measurements of what it is compared with."""
    results = {}
    seconds_of(None)  # warms up
    before = seconds_of(None)
    for name in rounds * names:
        seconds = seconds_of(name)
        after = seconds_of(None)
        found = results.setdefault(name, {"ratios": [], "seconds": []})
        found["ratios"].append(2 * seconds / (before + after))
        found["seconds"].append(seconds)
        before = after
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    everything = [*VARIANTS, *SEARCHES]
    parser.add_argument("--variant", nargs="+", choices=everything, default=everything)
    parser.add_argument("--out", type=Path, default=Path("ablation.json"))
    options = parser.parse_args()
    rows = Table(title="Time relative to all shortcuts taken", title_justify="left")
    for head in ("without", "times as long", "rounds", "first round"):
        rows.add_column(head, justify="left" if head == "without" else "right")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        if fits := [v for v in options.variant if v in VARIANTS]:
            encoder = load_encoder(CONFIG.encoder)
            splits = load_splits(CONFIG.data, encoder.tokenizer)
            stored = {
                precision: build_features(
                    encoder,
                    splits,
                    CONFIG.model_copy(update={"precision": precision}),
                    depths=[CONFIG.freeze_depth],
                    directory=Path(folder),
                    disk_bytes=2**34,
                )
                for precision in {"float32", pinned(CONFIG).precision}
            }
            results |= compare(
                fits, options.rounds, lambda name: seconds_of_fit(name, encoder, splits, stored)
            )
        if searches := [v for v in options.variant if v in SEARCHES]:
            results |= compare(searches, options.rounds, lambda name: seconds_of_search(name, folder))
    for name, found in results.items():
        rows.add_row(
            name,
            f"{statistics.median(found['ratios']):.2f}",
            ", ".join(f"{r:.2f}" for r in found["ratios"]),
            f"{found['seconds'][0]:.1f} s",
        )
    report = {**environment(), "results": results}
    options.out.write_text(json.dumps(report, indent=2))
    Console().print(rows)


if __name__ == "__main__":
    main()

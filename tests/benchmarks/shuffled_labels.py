"""How often sound labels are said to look shuffled, and how often shuffled ones are found.

python tests/benchmarks/shuffled_labels.py --out shuffled_labels.json

Each line draws as many texts as are needed before anything is said. Sound labels follow weakly what stands in the
texts: of two equal classes, naive Bayes on the words of 2,000 texts guesses some 67 in 100 of the made-up ones and 70 of
the sentences from Rotten Tomatoes.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from side_by_side import environment

from trainers.config import DataConfig
from trainers.data.shuffled import FEWEST_TEXTS, LEVEL, chance, largest_share, num_telling, similarity
from trainers.data.sources import read_source

CLASSES = (2, 3, 5, 10, 20)
RATIOS = (1, 10, 50, 200)

NUM_WORDS = 6000
NUM_TOPICAL = 40
TOPICAL = 0.04
"""Share of words that a text takes from those of its class."""
FIRST_CHARACTER = 0x4E00


def class_sizes(num_classes, ratio):
    """Return the fewest texts of each class at which the test speaks; sizes fall by the same factor from class to class."""
    share_C = ratio ** -(np.arange(num_classes) / (num_classes - 1))
    for rarest in range(2, 10**6):
        texts_C = np.ceil(rarest * ratio * share_C).astype(int)
        # Of a large class a part is looked at.
        looked_at = np.minimum(texts_C, largest_share(texts_C))
        if num_telling(looked_at) >= FEWEST_TEXTS:
            return texts_C
    raise ValueError(f"{num_classes} classes at 1:{ratio} never tell enough")


def make_texts(texts_C, *, spaces, draw):
    """Return made-up texts: words that are as uneven as in any language, some of them from those of the class."""
    weights = 1 / np.arange(3, NUM_WORDS + 3)
    likely = np.cumsum(weights / weights.sum())
    texts = []
    for count in texts_C:
        topical = draw.choice(np.arange(20, NUM_WORDS), NUM_TOPICAL, replace=False)
        likely_here = np.cumsum(weights[topical] / weights[topical].sum())
        lengths = np.maximum(3, draw.poisson(18, count))
        words = np.searchsorted(likely, draw.random(lengths.sum()))
        own = topical[np.minimum(np.searchsorted(likely_here, draw.random(len(words))), NUM_TOPICAL - 1)]
        words = np.where(draw.random(len(words)) < TOPICAL, own, words)
        texts += [_spell(part, spaces=spaces) for part in np.split(words, np.cumsum(lengths)[:-1])]
    return texts


def _spell(words, *, spaces):
    """Write words in letters and with blanks, or each with two of a hundred characters and none."""
    if spaces:
        return " ".join(f"w{word}" for word in words)
    return "".join(chr(FIRST_CHARACTER + int(part)) for word in words for part in divmod(word, 100))


class Sentences:
    """Rotten Tomatoes' sentences, of two classes; without their blanks if asked for."""

    def __init__(self):
        rows = read_source(DataConfig(source="rotten_tomatoes")).rows
        self.texts = [[row.text for row in rows if row.label == name] for name in ("negative", "positive")]

    def draw(self, texts_C, *, spaces, draw):
        texts = []
        for name, count in zip(draw.permutation(2), texts_C, strict=True):
            own = self.texts[name]
            texts += [own[i] for i in draw.choice(len(own), count, replace=False)]
        return [text if spaces else text.replace(" ", "") for text in texts]


def measure(make, texts_C, *, spaces, draws):
    """Return of how many draws sound labels, and shuffled ones, looked shuffled."""
    looked_at = np.minimum(texts_C, largest_share(texts_C))
    classes_N = np.repeat(np.arange(len(looked_at)), looked_at)
    warned = found = 0
    for seed in range(draws):
        draw = np.random.default_rng([seed, *map(int, looked_at)])
        similarity_NN = similarity(make(looked_at, spaces=spaces, draw=draw))
        warned += chance(similarity_NN, classes_N, draw) > LEVEL
        found += chance(similarity_NN, draw.permutation(classes_N), draw) > LEVEL
    return warned, found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("shuffled_labels.json"))
    options = parser.parse_args()
    table = Table(
        "texts", "blanks", "classes", "ratio", "texts in all", "rarest", "sound, warned", "shuffled, found"
    )
    console, lines = Console(), []
    for name, make, classes in (
        ("Rotten Tomatoes", Sentences().draw, (2,)),
        ("made up", make_texts, CLASSES),
    ):
        for num_classes in classes:
            for ratio in RATIOS:
                texts_C = class_sizes(num_classes, ratio)
                for spaces in (True, False):
                    warned, found = measure(make, texts_C, spaces=spaces, draws=options.draws)
                    line = (
                        name,
                        spaces,
                        num_classes,
                        ratio,
                        int(texts_C.sum()),
                        int(texts_C.min()),
                        warned,
                        found,
                    )
                    lines.append(line)
                    shown = (name, "yes" if spaces else "no", num_classes, f"1:{ratio}", *line[4:])
                    table.add_row(*map(str, shown))
                    console.print(*shown)
    keys = ("texts", "blanks", "classes", "ratio", "texts_in_all", "rarest", "warned", "found")
    content = {
        **environment(),
        "draws": options.draws,
        "lines": [dict(zip(keys, line, strict=True)) for line in lines],
    }
    options.out.write_text(json.dumps(content, indent=2))
    console.print(table)
    totals = [sum(line[i] for line in lines) for i in (6, 7)]
    console.print(
        f"of {len(lines) * options.draws} draws each: {totals[0]} sound warned, {totals[1]} shuffled found"
    )


if __name__ == "__main__":
    main()

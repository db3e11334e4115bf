"""Words and reviews of a tiny language, which a tiny encoder reads."""

import random

GOOD = ("good", "great", "lovely", "moving", "superb", "warm")
BAD = ("bad", "awful", "boring", "dull", "weak", "cold")
PLAIN = (
    "the",
    "film",
    "was",
    "a",
    "plot",
    "actor",
    "scene",
    "and",
    "it",
    "of",
    "music",
    "ending",
    "very",
    "story",
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def make_reviews(count, *, seed, longest=16):
    """Return (text, label) pairs, balanced, that a tiny model learns in a few epochs, yet not wholly."""
    draw = random.Random(seed)
    rows = []
    for i in range(count):
        label = i % 2
        words = draw.choices(PLAIN, k=draw.randint(3, longest))
        for _ in range(draw.randint(2, 6)):
            tone = (BAD, GOOD)[label if draw.random() < 0.9 else 1 - label]
            words.insert(draw.randint(0, len(words)), draw.choice(tone))
        rows.append((" ".join(words), label))
    return rows

"""Pairs of sentences with a label each, made of a few words; as a command it writes tests/data/pairs.csv."""

import csv
import random
import sys

WHO = ("man", "woman", "child", "student", "doctor", "farmer", "sailor", "painter", "teacher", "dancer")
HOW = ("tall", "young", "tired", "happy", "quiet", "busy", "friendly", "old", "careful", "cheerful")
DOES = {
    "plays the guitar": ("makes music", "sits in silence"),
    "runs along the river": ("is outside", "lies in bed"),
    "cooks a soup": ("prepares food", "washes a car"),
    "reads a long letter": ("looks at paper", "swims in a lake"),
    "paints a fence": ("uses paint", "drives a bus"),
    "repairs a bicycle": ("works with tools", "sings on a stage"),
    "sleeps on a bench": ("rests", "climbs a ladder"),
    "waters the garden": ("takes care of plants", "counts money"),
}
WHEN = ("in the morning", "after lunch", "before dinner", "on Sunday", "in the rain", "at the harbour")
NEUTRAL = (
    "has two brothers",
    "likes cold tea",
    "waits for a friend",
    "comes from the north",
    "will travel soon",
)
LABELS = ("entailment", "neutral", "contradiction")


def make_pairs(count, *, seed=0):
    """Return distinct (premise, hypothesis, label), the labels in turn."""
    draw = random.Random(seed)
    found = {}
    while len(found) < count:
        label = LABELS[len(found) % 3]
        who, how, does = draw.choice(WHO), draw.choice(HOW), draw.choice(tuple(DOES))
        follows, contradicts = DOES[does]
        then = {"entailment": follows, "contradiction": contradicts, "neutral": draw.choice(NEUTRAL)}[label]
        premise = f"A {how} {who} {does} {draw.choice(WHEN)}."
        found.setdefault((premise, f"The {who} {then}."), label)
    return [(*pair, label) for pair, label in found.items()]


if __name__ == "__main__":
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("premise", "hypothesis", "relation"))
    writer.writerows(make_pairs(int(sys.argv[1])))

import random

import numpy as np
import pytest

from trainers.data.shuffled import FEWEST_TEXTS, MOST_TEXTS, largest_share, look_shuffled, num_telling


@pytest.fixture(scope="module")
def reviews(many_reviews):
    """Texts and labels of reviews, as two lists."""
    return [text for text, _ in many_reviews], [label for _, label in many_reviews]


def shuffled(labels, seed):
    return random.Random(seed).sample(labels, len(labels))


def test_sound_labels_do_not_look_shuffled(reviews):
    assert not look_shuffled(*reviews)


def test_shuffled_labels_are_found_out(reviews):
    texts, labels = reviews
    found = sum(look_shuffled(texts, shuffled(labels, seed)) for seed in range(20))
    assert found >= 18  # of 20; one in a hundred passes by chance


@pytest.mark.parametrize("count", [8, 15, 30])
def test_a_rare_class_does_not_make_labels_look_shuffled(reviews, count):
    texts, labels = reviews
    rare = [i for i, label in enumerate(labels) if label == "good"][:count]
    chosen = [*rare, *(i for i, label in enumerate(labels) if label == "bad")]
    assert not look_shuffled([texts[i] for i in chosen], [labels[i] for i in chosen])


def made_up(count, *, classes, spaces, seed, strength=0.2):
    """Texts of a hundred words, or without blanks, each word from its class's five with this chance."""
    draw = random.Random(seed)
    words = [
        "".join(draw.choices("\u6c34\u706b\u6728\u91d1\u571f\u65e5\u6708\u5c71\u5ddd", k=2)) + str(i)
        for i in range(100)
    ]
    if not spaces:
        words = [chr(0x4E00 + i) for i in range(100)]
    rows = []
    for i in range(count):
        label = i % classes
        own = words[5 * label : 5 * label + 5]
        text = [draw.choice(own if draw.random() < strength else words) for _ in range(12)]
        rows.append(((" " if spaces else "").join(text), str(label)))
    return [list(part) for part in zip(*rows, strict=True)]


@pytest.mark.parametrize("spaces", [True, False])
@pytest.mark.parametrize("classes", [2, 5, 20])
def test_sound_labels_are_told_from_shuffled_ones_with_and_without_blanks(classes, spaces):
    warned = found = 0
    for seed in range(10):
        texts, labels = made_up(1000, classes=classes, spaces=spaces, seed=seed)
        warned += look_shuffled(texts, labels)
        found += look_shuffled(texts, shuffled(labels, seed))
    assert (warned, found >= 8) == (0, True)


@pytest.mark.parametrize("text", ["\U0001f642 \U0001f643 \U0001f644 {}", "!!! {} ???"])
def test_texts_without_a_word_are_looked_at(text):
    labels = ["+", "-"] * 300
    assert not look_shuffled([text.format(label) for label in labels], labels)
    assert look_shuffled([text.format("")] * 600, labels)


def test_too_few_texts_tell_nothing(reviews):
    texts, labels = reviews
    few = FEWEST_TEXTS // 2
    assert not look_shuffled(texts[:few], shuffled(labels, 0)[:few])
    rare = [i for i, label in enumerate(labels) if label == "good"][: FEWEST_TEXTS // 4]
    chosen = [*rare, *(i for i, label in enumerate(labels) if label == "bad")]
    assert len(chosen) > FEWEST_TEXTS
    assert not look_shuffled([texts[i] for i in chosen], shuffled([labels[i] for i in chosen], 0))
    assert not look_shuffled(texts, ["good"] * len(texts))


@pytest.mark.parametrize(
    ("texts_C", "telling"), [([250, 250], 500), ([125, 10**9], 500), ([20, 20, 20], 4 * 40 / 3 * 1.5**0.5)]
)
def test_two_equal_classes_are_the_measure_of_what_tells(texts_C, telling):
    assert num_telling(texts_C) == pytest.approx(telling, rel=1e-6)


def test_of_a_rare_class_all_texts_are_looked_at():
    assert largest_share([30, 5000]) == MOST_TEXTS - 30
    assert largest_share([9000] * 3) == MOST_TEXTS // 3
    assert np.minimum([9, 100], largest_share([9, 100])).tolist() == [9, 100]

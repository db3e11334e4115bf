import itertools
import random

import numpy as np
import pytest

from trainers.data.duplicates import ALIKE, near_duplicates

WORDS = [f"word{i}" for i in range(400)]


def words_of(text):
    return set(text.lower().replace(".", " ").replace(",", " ").split())


def alike(first, second):
    return len(words_of(first) & words_of(second)) >= ALIKE * len(words_of(first) | words_of(second))


@pytest.mark.parametrize(
    "texts",
    [
        ["Where is my order?", "where is  MY order!!", "order: where is my"],
        ["ÄRGER mit der Lieferung", "ärger, mit der lieferung"],
        ["مرحبا بالعالم", "مرحبا، بالعالم!"],
    ],
)
def test_case_punctuation_and_order_do_not_count(texts):
    assert near_duplicates(texts).tolist() == [0] * len(texts)


def test_other_words_make_another_text():
    assert near_duplicates(["the film was good", "the film was bad", "a very dull plot"]).tolist() == [
        0,
        1,
        2,
    ]


def test_texts_without_words_are_like_nothing():
    assert near_duplicates(["!!!", "👍", "👎", "..."]).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("so this happened today 😀", "so this happened today 😡"),
        ("so this happened today 😀", "so this happened today"),
        ("it was 👍🏽👍🏽", "it was 👎🏽👎🏽"),
        ("love💖this", "love💔this"),
        ("stars ★★★★★", "stars ★☆☆☆☆"),
        ("off to work :)", "off to work :-("),
        ("my exam <3", "my exam </3"),
    ],
)
def test_texts_that_differ_in_emoji_alone_are_two_texts(first, second):
    assert near_duplicates([first, second]).tolist() == [0, 1]
    assert near_duplicates([first, second], emoji=False).tolist() == [0, 0]  # as in version 0.1


def test_texts_with_the_same_emoji_are_alike():
    assert near_duplicates(["Great film 😀 (really) :-)", "great FILM, 😀 really =)"]).tolist() == [0, 0]


def test_no_texts_have_no_clusters():
    assert len(near_duplicates([])) == 0


def test_a_text_like_two_joins_their_clusters():
    base = WORDS[:38]
    first, second = [*base, "x1", "x2", "x3"], [*base, "y1", "y2", "y3"]
    between = [*base, "x1", "y1"]
    texts = [" ".join(t) for t in (first, second, between)]
    assert not alike(texts[0], texts[1])
    assert near_duplicates(texts).tolist() == [0, 0, 0]


def test_every_planted_near_duplicate_is_found_and_nothing_else():
    draw = random.Random(5)
    originals = [draw.sample(WORDS, 60) for _ in range(150)]
    copies = [[*text[:-1], "changed"] for text in originals[:60]]
    texts = [" ".join(t) for t in originals + copies]
    expected = [*range(150), *range(60)]
    assert near_duplicates(texts).tolist() == expected


def test_clusters_agree_with_a_comparison_of_all_pairs():
    draw = random.Random(7)
    texts = [" ".join(draw.choices(WORDS[:12], k=draw.randint(3, 12))) for _ in range(200)]
    clusters = near_duplicates(texts)
    for (i, a), (j, b) in itertools.combinations(enumerate(texts), 2):
        if words_of(a) == words_of(b):
            assert clusters[i] == clusters[j]
    for i, text in enumerate(texts):
        mates = [j for j in np.flatnonzero(clusters == clusters[i]) if j != i]
        assert not mates or any(alike(text, texts[j]) for j in mates)

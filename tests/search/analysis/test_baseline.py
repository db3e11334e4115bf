import copy
import dataclasses

import numpy as np
import optuna
import pytest

from search.analysis import baseline
from search.analysis.baseline import Aim, choose_aim, fit_words, measure_baseline, measure_words, note_words
from search.study.attributes import WORDS
from trainers.data.texts import read_texts
from trainers.fit.metrics import measure


@pytest.fixture(scope="module")
def texts(reviews_dir, make_config):
    """The texts of the tiny splits. Nothing may change them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(reviews_dir)
        return read_texts(make_config().data)


def made_of(texts, rows, labels_N, *, train, names):
    """Texts of one's own: the first so many to train, the rest to validate."""
    rows = [texts.rows[0]._replace(text=row) for row in rows]
    parts = {"train": np.arange(train), "validation": np.arange(train, len(rows)), "test": np.arange(0)}
    return dataclasses.replace(texts, rows=rows, labels_N=np.array(labels_N), parts=parts, class_names=names)


def test_words_tell_the_classes_of_the_tiny_reviews(texts):
    assert measure_baseline(texts, metric="accuracy") > 0.9


def test_shuffled_labels_leave_nothing_to_tell(texts):
    generator = np.random.default_rng(0)
    train = texts.parts["train"]
    reached = []
    for _ in range(10):
        labels_N = texts.labels_N.copy()
        labels_N[train] = generator.permutation(labels_N[train])
        shuffled = dataclasses.replace(texts, labels_N=labels_N)
        reached.append(measure_baseline(shuffled, metric="accuracy") - 0.5)
    # Texts share their words, so that one shuffle may land far on either side: it is the mean that is at chance.
    assert abs(np.mean(reached)) < 3 * np.std(reached) / np.sqrt(10)


def test_the_baseline_is_in_the_metric_asked_for(texts):
    for metric in ("accuracy", "macro_f1"):
        rows = texts.parts["validation"]
        predicted_N = fit_words(texts, metric=metric).predict(texts.rows[i].text for i in rows)
        counts_CC = np.zeros((2, 2), dtype=np.int64)
        np.add.at(counts_CC, (texts.labels_N[rows], predicted_N), 1)
        assert measure_baseline(texts, metric=metric) == measure(counts_CC, metric=metric)


def test_the_texts_stay_as_they_were(texts):
    before = copy.deepcopy(texts)
    measure_baseline(texts, metric="accuracy")
    assert texts.rows == before.rows
    assert np.array_equal(texts.labels_N, before.labels_N)


def test_signs_and_pairs_of_words_tell_classes_too(texts):
    rows = [f"{a} is it {b}" for a in "abcdefgh" for b in ("?", "!")] * 2
    labels_N = [row.endswith("?") for row in rows]
    own = made_of(texts, rows, np.array(labels_N, dtype=np.int64), train=16, names=("tells", "asks"))
    assert measure_baseline(own, metric="accuracy") == 1.0


def test_a_language_without_blanks_is_read_by_its_characters(texts):
    draw = np.random.default_rng(0)
    rest = [chr(0x4E00 + i) for i in range(300)]

    def sentence(marker):
        signs = list(draw.choice(rest, 20))
        signs.insert(int(draw.integers(20)), marker)
        return "".join(signs)

    labels_N = np.arange(80) % 2
    rows = [sentence(("好电影", "坏电影")[label]) for label in labels_N]
    assert (
        measure_baseline(made_of(texts, rows, labels_N, train=50, names=("a", "b")), metric="accuracy") > 0.9
    )


def test_rare_classes_and_texts_without_anything_in_common_are_no_mistake(texts):
    rows = [chr(0x4E00 + i) for i in range(350)]
    labels_N = np.array([0] * 200 + [1] * 148 + [2, 0])
    found = measure_words(made_of(texts, rows, labels_N, train=349, names=("a", "b", "c")), metric="macro_f1")
    assert found["num_texts"] == 349


def test_of_many_texts_a_bounded_number_is_learned_from(texts, monkeypatch):
    monkeypatch.setattr(baseline, "MOST_TEXTS", 30)
    assert measure_words(texts, metric="accuracy")["num_texts"] == 30


def test_what_the_words_alone_reach_is_left_in_a_study_once(texts, monkeypatch):
    study = optuna.create_study()
    note_words(study, texts, metric="accuracy")
    found = study.user_attrs[WORDS]
    assert found["validation_accuracy"] == measure_baseline(texts, metric="accuracy")
    assert set(found) == {"validation_accuracy", "num_texts", "seconds"}
    monkeypatch.setattr(baseline, "measure_words", None)
    note_words(study, texts, metric="accuracy")
    assert study.user_attrs[WORDS] == found


@pytest.mark.parametrize(
    ("reached", "aim"),
    [
        (0.6, Aim(0.6, 0.85, 0.92)),
        (0.8499, Aim(0.8499, 0.85, 0.92)),
        (0.901, Aim(0.901, 0.91, 0.96)),
        (1.0, Aim(1.0, 0.99, 1.0)),
    ],
)
def test_goal_and_ceiling_rise_where_words_alone_reach_the_goal(texts, monkeypatch, reached, aim):
    monkeypatch.setattr(baseline, "measure_baseline", lambda *_, **__: reached)
    found = choose_aim(texts, metric="accuracy")
    assert found == dataclasses.replace(aim, majority=found.majority)


def test_goal_and_ceiling_rise_where_the_majority_reaches_the_goal(texts, monkeypatch):
    frequent = dataclasses.replace(texts, labels_N=np.where(np.arange(len(texts.labels_N)) % 50 == 0, 1, 0))
    monkeypatch.setattr(baseline, "measure_baseline", lambda *_, **__: 0.7)
    found = choose_aim(frequent, metric="accuracy")
    assert found.majority == (frequent.labels_N[frequent.parts["validation"]] == 0).mean() > 0.9
    assert found.goal >= found.majority
    assert found.ceiling > found.goal

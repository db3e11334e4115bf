"""What the words alone tell of the classes: a classifier without an encoder, and what to aim at above it.

Shapes: N texts, C classes, G n-grams.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search.analysis.majority import majority_of
from search.analysis.statistics import Predicted, accuracy_of
from search.interrupts import held_back
from search.study import Goal, Score, attributes as attr

if TYPE_CHECKING:
    import optuna
    from scipy.sparse import csr_matrix
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import FeatureUnion
    from sklearn.svm import LinearSVC

    from trainers.config import Metric
    from trainers.data import SplitName, Text, Texts

Classes = npt.NDArray[np.int64]

MOST_TEXTS = 5_000
"""Training texts that are looked at."""

WORDS_LOOKED_AT = 5_000
"""Characters of a text in which words, and pairs of them, are counted."""

CHARACTERS_LOOKED_AT = 400
"""Likewise runs of two to five characters, which take longest: some tell more of short texts, and of languages without
blanks."""

PIECE = r"\w+|[^\w\s]"
"""A word, or a sign: marks of questions and of smiles tell classes, too."""

REGULARISATIONS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Of scikit-learn's C, the strongest first."""

NUM_FOLDS = 3

WORSE_IN_A_ROW = 1
"""Regularisations after which weaker ones are not tried."""

TOLERANCE = 0.01
MOST_STEPS = 200
"""Of the classifier: scikit-learn's own, a hundredth and five times as many, take several times as long."""

ENOUGH_TEXTS = 300
"""With so many, an n-gram of a single text is left out."""


@dataclass(frozen=True)
class Aim:
    """Goal and ceiling of a new study.

    Attributes:
        baseline: Validation figure of the words alone.
        goal: Validation figure to reach.
        ceiling: Training figure to stay under.
        majority: Validation figure of the most frequent class for every text; None where it is not known.
    """

    baseline: float
    goal: float
    ceiling: float
    majority: float | None = None


@dataclass(frozen=True)
class Words:
    """A linear classifier on n-grams of words and characters.

    Attributes:
        ngrams: From texts to their weighed n-grams.
        classifier: On these.
        num_texts: That it was fitted on.
    """

    ngrams: FeatureUnion
    classifier: LinearSVC | OneVsRestClassifier
    num_texts: int

    def predict(self, texts: Iterable[Text]) -> Predicted:
        """Return the class of each text; of labels a score of each, from 0.5 on for those that it has.

        Where the metric ranks texts by one of two classes, that one is a label.
        """
        return _predict(self.classifier, self.ngrams.transform(list(texts)))


def choose_aim(texts: Texts, *, metric: Metric) -> Aim:
    """Return the default goal and ceiling, or higher ones where the words alone, or the majority, reach that goal.

    Then the goal is the higher of the two, rounded up to whole percents, and the ceiling lies halfway from there to 1, as
    the defaults do. Nobody knows yet what an encoder reaches on these texts.
    """
    baseline = measure_baseline(texts, metric=metric)
    majority = _majority(texts, metric)
    above = max(baseline, majority or 0.0)
    goal, ceiling = Goal().validation_accuracy, Score().ceiling
    if above >= goal:
        goal = min(0.99, math.ceil(100 * above) / 100)
        ceiling = max(ceiling, math.ceil(50 * (1 + goal)) / 100)
    return Aim(baseline=baseline, majority=majority, goal=goal, ceiling=ceiling)


def _majority(texts: Texts, metric: Metric) -> float | None:
    parts = {name: texts.labels_N[texts.parts[name]] for name in ("train", "validation")}
    if any(labels.ndim != 1 for labels in parts.values()):
        return None
    num_classes = len(texts.class_names)
    counts = {name: np.bincount(labels, minlength=num_classes).tolist() for name, labels in parts.items()}
    page = {"texts_per_class": counts, **{name: len(labels) for name, labels in parts.items()}}
    if texts.positive is not None:
        page |= {"class_names": texts.class_names, "positive": texts.class_names[texts.positive]}
    return majority_of(page, metric=metric)


def measure_baseline(texts: Texts, *, metric: Metric) -> float:
    """Return what the words alone reach on validation."""
    accuracy: float = measure_words(texts, metric=metric)["validation_accuracy"]
    return accuracy


def measure_words(texts: Texts, *, metric: Metric) -> dict[str, Any]:
    """Fit the words alone, and measure them.

    Returns:
        ``validation_accuracy``, by the metric; ``num_texts`` that were learned from; ``seconds`` that it took.
    """
    began = time.perf_counter()
    words = fit_words(texts, metric=metric)
    validation, labels_N = _part(texts, "validation", metric)
    accuracy = accuracy_of(
        labels_N, words.predict(validation), metric=metric, num_classes=len(texts.class_names)
    )
    return {
        "validation_accuracy": accuracy,
        "num_texts": words.num_texts,
        "seconds": time.perf_counter() - began,
    }


def note_words(study: optuna.Study, texts: Texts, *, metric: Metric) -> None:
    """Leave in a study what the words alone reach on validation, unless it is there."""
    if attr.WORDS not in study.user_attrs:
        found = measure_words(texts, metric=metric)
        with held_back():
            study.set_user_attr(attr.WORDS, found)


def fit_words(texts: Texts, *, metric: Metric) -> Words:
    """Fit a linear classifier on the training texts' n-grams of words and characters, of 5,000 texts at most.

    They are counted in the texts as they stand, whatever the encoder reads of them, and weighed by TF-IDF. How strongly to
    regularise is chosen by folds, the strongest on a tie. A support vector classifier gave the same figures as a logistic
    regression, in a tenth of its time (studies/LOG.md). By other metrics than accuracy and quadratic kappa every class has the same weight. Of
    several labels each has a classifier of its own; a text and a label weigh the same by micro-F1 and subset accuracy.
    """
    train, labels_N = _part(texts, "train", metric)
    train, labels_N = train[:MOST_TEXTS], labels_N[:MOST_TEXTS]
    ngrams, values_NG = _count(train)
    strength = _choose_strength(values_NG, labels_N, metric=metric, num_classes=len(texts.class_names))
    return Words(ngrams, _fit(values_NG, labels_N, strength, metric), len(train))


def _part(texts: Texts, name: SplitName, metric: Metric) -> tuple[list[Text], Classes]:
    """Return texts and what they are; where the metric ranks them by one of two classes, that class as a label, labels_N1."""
    from trainers.fit import one_column, ranked_class

    rows, ranked = texts.parts[name], ranked_class(metric, texts.positive)
    labels_N = texts.labels_N[rows] if ranked is None else one_column(texts.labels_N[rows], positive=ranked)
    return [texts.rows[i].text for i in rows], labels_N


def _count(texts: Sequence[Text]) -> tuple[FeatureUnion, csr_matrix]:
    """Count n-grams, those of a single text left out, unless there are few texts or none has one in common."""
    all_sides: Sequence[int | None] = (None,) if isinstance(texts[0], str) else (0, 1)
    for least in (2, 1) if len(texts) >= ENOUGH_TEXTS else (1,):
        ngrams = _ngrams(least, all_sides)
        try:
            return ngrams, ngrams.fit_transform(texts).tocsr()
        except ValueError:
            if least == 1:
                raise
    raise AssertionError


def _ngrams(least: int, all_sides: Sequence[int | None]) -> FeatureUnion:
    """Return what counts n-grams; those of a pair's two texts are told apart."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    how = {"sublinear_tf": True, "min_df": least, "dtype": np.float32}
    counters = []
    for side in all_sides:
        words = partial(_start, side=side, length=WORDS_LOOKED_AT)
        counters.append(TfidfVectorizer(preprocessor=words, token_pattern=PIECE, ngram_range=(1, 2), **how))
        characters = partial(_start, side=side, length=CHARACTERS_LOOKED_AT)
        counters.append(
            TfidfVectorizer(preprocessor=characters, analyzer="char_wb", ngram_range=(2, 5), **how)
        )
    return make_union(*counters)


def _start(text: Any, *, side: int | None, length: int) -> str:
    one: str = text if side is None else text[side]
    return one[:length].lower()


def _choose_strength(values_NG: csr_matrix, labels_N: Classes, *, metric: Metric, num_classes: int) -> float:
    from trainers.fit import folds

    parts = folds(labels_N, seed=0, num_folds=NUM_FOLDS)
    if not parts:
        return 1.0
    reached = []
    for strength in REGULARISATIONS:
        predicted = [
            _predict(_fit(values_NG[seen], labels_N[seen], strength, metric), values_NG[unseen])
            for seen, unseen in parts
        ]
        rows = np.concatenate([unseen for _, unseen in parts])
        reached.append(
            accuracy_of(labels_N[rows], np.concatenate(predicted), metric=metric, num_classes=num_classes)
        )
        if len(reached) - 1 - int(np.argmax(reached)) >= WORSE_IN_A_ROW:
            break
    return REGULARISATIONS[int(np.argmax(reached))]


def _predict(classifier: LinearSVC | OneVsRestClassifier, values_NG: csr_matrix) -> Predicted:
    """Return classes, or of several labels a score of each."""
    from trainers.fit import sigmoid

    if hasattr(classifier, "estimators_"):  # one for each label
        scores_N = sigmoid(classifier.decision_function(values_NG))
        return scores_N if scores_N.ndim == 2 else scores_N[:, None]
    classes_N: Classes = classifier.predict(values_NG)
    return classes_N


def _fit(
    values_NG: csr_matrix, labels_N: Classes, strength: float, metric: Metric
) -> LinearSVC | OneVsRestClassifier:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import LinearSVC

    plain = {"accuracy", "micro_f1", "subset_accuracy", "quadratic_kappa"}
    weights = None if metric in plain else "balanced"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # folds say how good it is all the same
        warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
        warnings.filterwarnings("ignore", message="Label not .* is present in all training examples")
        model = LinearSVC(
            C=strength, tol=TOLERANCE, max_iter=MOST_STEPS, class_weight=weights, random_state=0
        )
        return (OneVsRestClassifier(model) if labels_N.ndim == 2 else model).fit(values_NG, labels_N)

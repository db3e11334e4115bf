"""What the words alone tell of the classes: a baseline without an encoder, and what to aim at above it.

Shapes: N texts, C classes, W tokens in the vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search.spec import Goal, Score

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from trainers.config import Metric
    from trainers.data import Split, Splits

MOST_TEXTS = 5_000


@dataclass(frozen=True)
class Aim:
    """Goal and ceiling of a new study.

    Attributes:
        baseline: Validation figure of the words alone.
        goal: Validation figure to reach.
        ceiling: Training figure to stay under.
    """

    baseline: float
    goal: float
    ceiling: float


def choose_aim(splits: Splits, *, metric: Metric) -> Aim:
    """Return the default goal and ceiling, or higher ones where the words alone reach that goal.

    Then the goal is the baseline, rounded up to whole percents, and the ceiling lies halfway from there to 1, as
    the defaults do. Nobody knows yet what an encoder reaches on these texts.
    """
    baseline = measure_baseline(splits, metric=metric)
    goal, ceiling = Goal().validation_accuracy, Score().ceiling
    if baseline >= goal:
        goal = min(0.99, math.ceil(100 * baseline) / 100)
        ceiling = max(ceiling, math.ceil(50 * (1 + goal)) / 100)
    return Aim(baseline=baseline, goal=goal, ceiling=ceiling)


def measure_baseline(splits: Splits, *, metric: Metric) -> float:
    """Return what logistic regression on the tokens' TF-IDF reaches on validation, trained on 5,000 texts at most."""
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import confusion_matrix
    from sklearn.pipeline import make_pipeline

    from trainers.metrics import measure

    model = make_pipeline(TfidfTransformer(sublinear_tf=True), LogisticRegression(max_iter=1000))
    vocabulary = 1 + max(int(split.ids_S.max()) for split in (splits.train, splits.validation))
    texts_NW = _tokens(splits.train, vocabulary)[:MOST_TEXTS]
    model.fit(texts_NW, splits.train.labels_N[:MOST_TEXTS])
    predicted_N = model.predict(_tokens(splits.validation, vocabulary))
    classes = range(len(splits.class_names))
    return measure(confusion_matrix(splits.validation.labels_N, predicted_N, labels=classes), metric=metric)


def _tokens(split: Split, vocabulary: int) -> csr_matrix:
    """Count the tokens of each text, counts_NW."""
    from scipy.sparse import csr_matrix

    # Copied: what stands twice is summed in place.
    ones_S, shape = np.ones(len(split.ids_S)), (len(split), vocabulary)
    counts_NW = csr_matrix((ones_S, split.ids_S, split.offsets_N1), shape=shape, copy=True)
    counts_NW.sum_duplicates()
    return counts_NW

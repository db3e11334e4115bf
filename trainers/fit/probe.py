"""Logistic regression on the vectors of the untouched encoder: a linear head that has converged.

Shapes: N texts, D hidden size, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainers.data import stratified_parts

Values = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]

REGULARISATIONS = tuple(float(10.0 ** (power / 2)) for power in range(-7, 5))
"""Of scikit-learn's C, the strongest first; values are scaled to a variance of 1 on average, whatever the encoder's."""

NUM_FOLDS = 5

MOST_FOLDED = 3_000
"""Texts that folds are made of: more would take longer, and tell little more of how strongly to regularise."""

WORSE_IN_A_ROW = 1
"""Regularisations after which weaker ones are not tried: they over-fit more, and take longest."""

MOST_STEPS = 1_000

FOLDS_TOLERANCE = 1e-3
"""Of a gradient, where a fit only tells how strongly to regularise; scikit-learn's own is a tenth of it."""

UNSEEN = -10.0
"""Logit, below the mean of the others, of a class that no training text has."""


@dataclass(frozen=True)
class Linear:
    """A linear classifier.

    Attributes:
        weight_CD: One row a class; of two classes the first row is 0.
        bias_C: One value a class; of two classes the first is 0.
        strength: The C that it was regularised by.
    """

    weight_CD: Values
    bias_C: Values
    strength: float

    def logits(self, vectors_ND: Values) -> Values:
        """Return logits_NC."""
        return np.asarray(vectors_ND @ self.weight_CD.T + self.bias_C)

    def predict(self, vectors_ND: Values) -> Classes:
        """Return the class of the highest logit."""
        classes_N: Classes = self.logits(vectors_ND).argmax(axis=1)
        return classes_N


def probes(
    vectors_ND: npt.NDArray[np.floating], labels_N: Classes, *, weights_C: Values, seed: int, threads: int
) -> Iterator[Linear]:
    """Fit logistic regressions, yielding that of the regularisation which folds find best, and then ever stronger ones.

    The best has the lowest cross-entropy on what it was not fitted on. Standardising each dimension was tried, and
    changed nothing (studies/LOG.md). A class of fewer texts than folds is missing in some of them; one of no text gets a
    logit below all others. Of several labels, each has a regression of its own, all of the same strength.

    Args:
        vectors_ND: Of the training texts.
        labels_N: Their classes, or 0 and 1 for each of several labels.
        weights_C: Of the classes in the loss.
        seed: Of the folds.
        threads: That compute; another number rounds differently.
    """
    from threadpoolctl import threadpool_limits

    center_D = vectors_ND.mean(axis=0, dtype=np.float64)
    values_ND = vectors_ND - center_D
    scale = float(np.sqrt((values_ND**2).mean())) or 1.0
    values_ND /= scale
    with threadpool_limits(threads):
        best = choose_strength(values_ND, labels_N, weights_C=weights_C, seed=seed)
    for strength in reversed(REGULARISATIONS[: REGULARISATIONS.index(best) + 1]):
        with threadpool_limits(threads):
            weight_CD, bias_C = _fit(values_ND, labels_N, weights_C, strength)
        yield Linear(weight_CD / scale, bias_C - weight_CD @ center_D / scale, strength)


def choose_strength(values_ND: Values, labels_N: Classes, *, weights_C: Values, seed: int) -> float:
    """Return the C of the lowest cross-entropy over stratified folds, the strongest regularisation on a tie.

    Of more than 3,000 texts, as many are drawn. One text of a class, or one class, gives no folds: the C is 1 then.
    """
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(len(labels_N))[:MOST_FOLDED])
    values_ND, labels_N = values_ND[rows], labels_N[rows]
    parts = folds(labels_N, seed=seed)
    if not parts:
        return 1.0
    columns = _columns(labels_N, weights_C)
    models = [
        [LogisticRegression(warm_start=True, max_iter=MOST_STEPS, tol=FOLDS_TOLERANCE) for _ in parts]
        for _ in columns
    ]
    losses: list[float] = []
    for strength in REGULARISATIONS:
        loss = 0.0
        for of_column, (column_N, weights) in zip(models, columns, strict=True):
            for model, (seen, unseen) in zip(of_column, parts, strict=True):
                if len(np.unique(column_N[seen])) < 2:
                    continue  # whatever the strength, it says the same
                model.set_params(C=strength)
                model.fit(values_ND[seen], column_N[seen], sample_weight=weights[column_N[seen]])
                loss += _loss(
                    model.predict_log_proba(values_ND[unseen]), model.classes_, column_N[unseen], weights
                )
        losses.append(loss)
        if len(losses) - 1 - int(np.argmin(losses)) >= WORSE_IN_A_ROW:
            break
    return REGULARISATIONS[int(np.argmin(losses))]


def _columns(labels_N: Classes, weights_C: Values) -> list[tuple[Classes, Values]]:
    """Return what is fitted by itself: all classes together, or each of several labels, with the weights of the classes."""
    if labels_N.ndim == 1:
        return [(labels_N, weights_C)]
    return [
        (column_N, np.array([1.0, weight])) for column_N, weight in zip(labels_N.T, weights_C, strict=True)
    ]


def folds(labels_N: Classes, *, seed: int, num_folds: int = NUM_FOLDS) -> list[tuple[Classes, Classes]]:
    """Return rows to fit and rows to look at, stratified; none if no class has two texts, or there is but one class."""
    from sklearn.model_selection import StratifiedKFold

    if labels_N.ndim == 2:
        num_folds = min(num_folds, len(labels_N))
        if num_folds < 2:
            return []
        sizes = [len(part) for part in np.array_split(np.arange(len(labels_N)), num_folds)]
        part_N = stratified_parts(labels_N, sizes, seed=seed)
        return [(np.flatnonzero(part_N != i), np.flatnonzero(part_N == i)) for i in range(num_folds)]
    num_folds = min(num_folds, int(np.bincount(labels_N).max()))
    if num_folds < 2:
        return []
    with warnings.catch_warnings():
        # Rare classes are missing in some folds, and may be.
        warnings.filterwarnings("ignore", message="The least populated class")
        parts = StratifiedKFold(num_folds, shuffle=True, random_state=seed % 2**32).split(labels_N, labels_N)
        return [(seen, unseen) for seen, unseen in parts if len(np.unique(labels_N[seen])) > 1]


def _loss(logs_NC: Values, classes: Sequence[int], labels_N: Classes, weights_C: Values) -> float:
    """Return the summed cross-entropy of the texts whose class was among those fitted; no model knows the others."""
    known = np.isin(labels_N, classes)
    columns = np.searchsorted(classes, labels_N[known])
    return float(-(weights_C[labels_N[known]] * logs_NC[known, columns]).sum())


def _fit(values_ND: Values, labels_N: Classes, weights_C: Values, strength: float) -> tuple[Values, Values]:
    """Fit all texts; returns weight_CD and bias_C, whatever classes have texts."""
    from sklearn.linear_model import LogisticRegression

    if labels_N.ndim == 2:
        fitted = [
            _fit(values_ND, column_N, weights, strength)
            for column_N, weights in _columns(labels_N, weights_C)
        ]
        # Of each label the logit of having it; that of not having it is 0, or UNSEEN where every text has it.
        return np.stack([w[1] - w[0] for w, _ in fitted]), np.array([b[1] - b[0] for _, b in fitted])
    num_classes = len(weights_C)
    weight_CD = np.zeros((num_classes, values_ND.shape[1]))
    bias_C = np.full(num_classes, UNSEEN)
    present = np.unique(labels_N)
    if len(present) == 1:
        bias_C[present] = 0.0
        return weight_CD, bias_C
    model = LogisticRegression(C=strength, max_iter=MOST_STEPS)
    model.fit(values_ND, labels_N, sample_weight=weights_C[labels_N])
    if len(present) == 2:
        # One logit, of the second class. The first one's is 0, as that of a head of one logit must be.
        bias_C[present[0]] = 0.0
        weight_CD[present[1:]], bias_C[present[1:]] = model.coef_, model.intercept_
    else:
        weight_CD[present] = model.coef_ - model.coef_.mean(axis=0)
        bias_C[present] = model.intercept_ - model.intercept_.mean()
    return weight_CD, bias_C

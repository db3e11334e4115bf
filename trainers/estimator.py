"""What scikit-learn estimators of texts have in common: how texts and labels come in, and how answers go out.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from trainers.data import Text
from trainers.errors import InputError, describe
from trainers.fit import ThresholdAim
from trainers.model import Classifier, check_threshold, task

PAIR = ("text", "text_pair")
"""What the texts of pairs are called that have no names."""

MOST_SHOWN = 60


class TextEstimator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator whose ``fit`` leaves ``classes_`` and ``classifier_``."""

    classes_: npt.NDArray[Any]
    classifier_: Classifier

    _order: Any = None
    """Numbers of ``classes_`` in the order of ``classifier_``; None where both have one order."""

    def predict(self, X: Sequence[Text]) -> npt.NDArray[Any]:
        """Return the most probable label of each text, or the median one; of several labels, which of them each has."""
        probabilities_NC = self.predict_proba(X)
        if self._order is not None:
            probabilities_NC = probabilities_NC[:, self._order]
        decided = self.classifier_.decide(probabilities_NC)
        if self._has_several():
            return decided
        classes = self.classes_ if self._order is None else self.classes_[self._order]
        labels_N: npt.NDArray[Any] = classes[decided]
        return labels_N

    def predict_proba(self, X: Sequence[Text]) -> npt.NDArray[np.float64]:
        """Return probabilities_NC, the columns in the order of ``classes_``; those of several labels do not add up to 1."""
        check_is_fitted(self)
        with value_errors():
            probabilities_NC = self.classifier_.predict_proba(texts_of(X)).astype(np.float64)
        if self._has_several():
            return probabilities_NC
        scaled_NC: npt.NDArray[np.float64] = probabilities_NC / probabilities_NC.sum(axis=1, keepdims=True)
        return scaled_NC if self._order is None else scaled_NC[:, np.argsort(self._order)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.classifier_tags.multi_label = True
        return tags

    def _has_several(self) -> bool:
        """Tell whether it was fitted on several labels a text."""
        return task(self.classifier_.model) == "several_labels"


def seed_of(random_state: int | np.random.RandomState | None) -> int:
    """Return an integer, or draw one from a generator of numpy."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def pair_names(X: Any, texts: Sequence[Text]) -> tuple[str, str] | None:
    """Return what the two texts of pairs are called: as the columns of a data frame; None if texts are single."""
    if isinstance(texts[0], str):
        return None
    first, second = map(str, getattr(X, "columns", PAIR))
    return first, second


def classes_of(y: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the labels that there are, sorted, and the number of each text's."""
    y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    classes, labels_N = np.unique(y, return_inverse=True)
    return classes, labels_N


def named_classes(
    classes: npt.NDArray[Any], *, ordered: Sequence[Any] | bool | None, positive: Any
) -> tuple[npt.NDArray[np.int64] | None, int | None]:
    """Return the order of classes on the scale, and which of them is looked for, in that order; None for none.

    Raises:
        ValueError: These are not the classes.
    """
    names = list(map(str, classes))
    order, place = None, None
    if ordered is not None and ordered is not False:
        steps = names if ordered is True else list(map(str, ordered))
        if sorted(steps) != sorted(names):
            raise ValueError(
                f"ordered must name each label once, from the lowest to the highest, got {ordered!r} for "
                f"{classes.tolist()}; change it"
            )
        order = np.array([names.index(step) for step in steps], dtype=np.int64)
        names = steps
    if positive is not None:
        if len(names) != 2 or str(positive) not in names:
            raise ValueError(
                f"positive must be one of two labels, got {positive!r} for {classes.tolist()}; change it"
            )
        place = names.index(str(positive))
    return order, place


def check_decisions(
    calibration: str | None, threshold: str | None, *, names: Sequence[str], several: bool
) -> None:
    """Check, before anything is fitted, how an estimator is to turn logits into answers.

    Raises:
        ValueError: There is no such calibration or threshold, or no threshold of so many classes.
    """
    for name, value, choices in (
        ("calibration", calibration, ("temperature",)),
        ("threshold", threshold, get_args(ThresholdAim)),
    ):
        if value is not None and value not in choices:
            raise ValueError(
                f"{name} must be {', '.join(map(repr, choices))} or None, got {value!r}; change it"
            )
    with value_errors():
        check_threshold(
            cast("ThresholdAim | None", threshold),
            None,
            names=names,
            task="several_labels" if several else "one_label",
            mark="",
        )


def indicators(y: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the names of several labels, those of the columns where these have any, and 0 and 1 for each text."""
    labels_NC = np.asarray(y.toarray() if hasattr(y, "toarray") else y).astype(np.int64)
    names = np.asarray(y.columns) if hasattr(y, "columns") else np.arange(labels_NC.shape[1])
    constant = [
        str(name) for name, column in zip(names, labels_NC.T, strict=True) if len(np.unique(column)) < 2
    ]
    if constant:
        raise ValueError(
            f"each column of y must hold 0 and 1, got one of them alone in {', '.join(constant[:5])}; leave these out"
        )
    return names, labels_NC


def texts_of(X: Any) -> list[Text]:
    """Return texts, or pairs of texts, as a list.

    Raises:
        ValueError: They are none.
    """
    if getattr(X, "ndim", 1) == 2:  # an array of two columns, or a data frame
        X = [tuple(row) for row in np.asarray(X, dtype=object).tolist()]
    if isinstance(X, str | bytes) or not hasattr(X, "__iter__"):
        raise ValueError(f"X must be a sequence of texts, got one {type(X).__name__}; put it in a list")
    texts = list(X)
    if not texts:
        raise ValueError("X must hold one text at least, got 0 samples; add some")
    pairs: list[Text] = [(*text,) for text in texts if isinstance(text, tuple | list)]
    if any(len(pair) > 1 for pair in pairs):
        for i, pair in enumerate(texts):
            sound = isinstance(pair, tuple | list) and len(pair) == 2
            if not sound or not all(isinstance(side, str) for side in pair):
                raise ValueError(
                    f"X must hold pairs of two texts alone, if it holds one, got {_short(pair)} at index {i}; fix it"
                )
        return pairs
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"X must hold texts alone, got {type(text).__name__} at index {i}; make it a str"
            )
    return texts


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


@contextmanager
def value_errors() -> Iterator[None]:
    """Turn what the user can fix into what scikit-learn expects."""
    try:
        yield
    except ValidationError as error:
        raise ValueError(describe(error, valid_keys=lambda _: ())) from error
    except InputError as error:
        raise ValueError(str(error)) from error

"""A scikit-learn estimator around a whole search: texts and labels in, the winner out.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, is_multilabel

from search.interface import run_study
from trainers.config import PACKAGED_ENCODER, SMALLEST_SPLIT, Device, Metric
from trainers.data import Text, name_classes, sides
from trainers.estimator import (
    TextEstimator,
    check_decisions,
    indicators,
    pair_names,
    seed_of,
    texts_of,
    value_errors,
)
from trainers.model import class_names

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from search.result import Result
    from trainers.fit import ThresholdAim


class SearchedTextClassifier(TextEstimator):
    """Searches the settings of a fine-tuned encoder, and is then the classifier that the search found.

    ``fit`` is ``search.run_study`` on the texts, by the same rules: texts that are equal are taken once, near duplicates do not
    stand in two splits, each class must have ten distinct texts. Where nothing else is said, a parameter is that of
    ``run_study``, with its default. What the search chose by its validation texts is judged too well by them: measure on texts
    that ``fit`` has not seen, as ``cross_val_score`` does.

    Args:
        trials: Number of trials, recipes included.
        minutes: No trial begins after so many; a search is then sized to end in time on this machine. None means no limit.
        until_flat: Points; ends once the trials that are left are expected to gain less. None means never.
        encoder: ``minilm`` (packaged), a local directory, or a hub id.
        space: Settings of a fit that are searched, as in ``[fit]`` of a study.
        settings: Further settings of a fit, fixed.
        metric: Of the score; None takes accuracy, of several labels micro-F1.
        ceiling: Training figure to stay under; None chooses it by the texts, 1 means that there is none.
        recipes: Known recipes that run first; None takes those of a new study.
        clean: What is cut out of texts; see ``DataConfig``.
        max_length: Tokens kept of a text; None chooses.
        calibration: ``temperature`` divides the winner's logits by the number with the lowest log loss on the texts that it was
            chosen by, if these call for one; None leaves them as they are fitted.
        threshold: ``f1``, ``f2``, ``f0.5`` or ``balanced_accuracy``: ``predict`` says one of two labels, or each of several, from
            that probability on that is best for this on the same texts; None says the most probable label, and each of several
            from one half on.
        positive: Of two labels the one that ``threshold`` and the metric ``average_precision`` are of; None takes for the former
            the one with fewer texts.
        validation_fraction: Share of the texts, between 0 and 1, that settings are chosen by.
        folder: Where the study is kept; the same ``fit`` then continues it, and the commands know it. None removes it.
        workers: Trials under way at once.
        device: Where to fit.
        random_state: Of splits, search and fits; None draws from numpy's global generator.
        verbose: Whether to show the search's progress.

    Attributes:
        classes_: The labels, sorted; the columns of ``predict_proba``. Of several labels (``y`` of 0 and 1, a column each) the
            names of these columns, or their numbers.
        classifier_: The winner, fitted again: a ``trainers.model.classifier.Classifier``, which
            ``trainers.model.classifier.save`` writes.
        best_params_: Settings of the winner that were searched or that its recipe has.
        best_score_: Its validation figure in the search, the best of many and so probably too high.
        trials_: DataFrame of all trials, one a row.
        ceiling_: Training figure that was to stay under.
    """

    best_params_: dict[str, Any]
    best_score_: float
    trials_: pd.DataFrame
    ceiling_: float

    def __init__(
        self,
        *,
        trials: int = 20,
        minutes: float | None = None,
        until_flat: float | None = None,
        encoder: str = PACKAGED_ENCODER,
        space: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        metric: Metric | None = None,
        ceiling: float | None = None,
        recipes: Sequence[str] | None = None,
        clean: Literal["html", "spaces", "none"] = "html",
        max_length: int | None = None,
        calibration: Literal["temperature"] | None = "temperature",
        threshold: ThresholdAim | None = None,
        positive: Any = None,
        validation_fraction: float = 0.2,
        folder: str | Path | None = None,
        workers: int | Literal["auto"] = "auto",
        device: Device | Literal["auto"] = "auto",
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
    ) -> None:
        self.trials = trials
        self.minutes = minutes
        self.until_flat = until_flat
        self.encoder = encoder
        self.space = space
        self.settings = settings
        self.metric = metric
        self.ceiling = ceiling
        self.recipes = recipes
        self.clean = clean
        self.max_length = max_length
        self.calibration = calibration
        self.threshold = threshold
        self.positive = positive
        self.validation_fraction = validation_fraction
        self.folder = folder
        self.workers = workers
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Sequence[Text], y: Any, groups: Sequence[Any] | None = None) -> Self:
        """Search on texts, or pairs of texts, and their labels, and fit the winner again.

        Ctrl-C ends the search; the best trial until then is taken, with a warning, if there is one.

        Args:
            X: The texts.
            y: Their labels.
            groups: What each text belongs to, such as a patient: none is both trained on and chosen by. None means that each
                text stands for itself.

        Raises:
            ValueError: Texts, labels or settings cannot be used, or no trial stays under the ceiling.
            FitError: The winner's fit failed.
            KeyboardInterrupt: The user interrupted before there was a trial to take.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must lie between 0 and 1, got {self.validation_fraction}; change it"
            )
        texts = texts_of(X)
        columns = pair_names(X, texts) or ("text",)
        classes, labels = _labels(y, taken=columns)
        check_consistent_length(texts, *labels.values())
        check_decisions(self.calibration, self.threshold, names=[*classes], several=is_multilabel(y))
        data: dict[str, list[Any]] = {
            **dict(zip(columns, map(list, zip(*map(sides, texts), strict=True)), strict=True)),
            **labels,
        }
        options: dict[str, Any] = {
            "text": [*columns] if len(columns) > 1 else columns[0],
            "label": [*labels] if len(labels) > 1 else next(iter(labels)),
            "label_separator": None,  # a label is a class, whatever stands in its name
            "clean": self.clean,
            "seed": seed_of(self.random_state),
            # Nothing looks at test texts: as few as a study must have.
            "test": max(SMALLEST_SPLIT, len(classes)),
            "validation": max(SMALLEST_SPLIT, len(classes), round(self.validation_fraction * len(texts))),
        }
        if self.positive is not None:
            options["positive"] = _positive(self.positive, classes, several=is_multilabel(y))
        if groups is not None:
            check_consistent_length(texts, groups)
            options["test"] += SMALLEST_SPLIT  # whole groups may come to less
            options["group"] = _unused("group", data)
            data[options["group"]] = _groups(groups)
        if self.max_length is not None:
            options["max_length"] = int(self.max_length)
        with value_errors(), _place(self.folder) as folder:
            result = self._search(data, options, folder)
            self._take_winner(result, classes)
        return self

    def _search(self, data: dict[str, list[Any]], options: dict[str, Any], folder: Path) -> Result:
        score = {"metric": self.metric, "ceiling": self.ceiling}
        return run_study(
            data,
            folder=folder,
            trials=int(self.trials),
            minutes=self.minutes,
            until_flat=self.until_flat,
            encoder=self.encoder,
            space=_plain(self.space),
            fit=_plain(self.settings),
            score={key: value for key, value in score.items() if value is not None},
            data_options=options,
            recipes=None if self.recipes is None else {"enqueue": [*self.recipes]},
            seed=options["seed"],
            workers=self.workers,
            device=self.device,
            console=_console(self.verbose),
        )

    def _take_winner(self, result: Result, classes: dict[str, Any]) -> None:
        best = result.best
        if best is None and result.interrupted:
            raise KeyboardInterrupt
        if best is None:
            states = result.trials["state"].tolist() if len(result.trials) else []
            why = (
                f"stays under the ceiling of {result.ceiling:.0%}"
                if "complete" in states
                else "ran to its end"
            )
            raise ValueError(
                f"a trial must stay under the ceiling, but none of {len(states)} {why}; raise ceiling, trials or minutes"
            )
        if result.interrupted:
            warnings.warn(
                f"the search was interrupted after {len(result.trials)} trials; the best of them is taken",
                stacklevel=3,
            )
        self.classifier_ = result.model(calibration=self.calibration, threshold=self.threshold)
        names = class_names(self.classifier_.model)
        self.classes_ = np.array([*classes.values()])
        self._order = np.argsort([names.index(name) for name in classes])
        self.trials_ = result.trials
        self.best_score_ = best["validation_accuracy"]
        mark = "setting_"
        self.best_params_ = {k.removeprefix(mark): v for k, v in best.items() if k.startswith(mark)}
        self.ceiling_ = result.ceiling


def _labels(y: Any, *, taken: Sequence[str]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the labels by the names that the study gives their classes, and the columns of labels.

    Raises:
        ValueError: They are no labels.
    """
    if is_multilabel(y):
        numbers, labels_NC = indicators(y)
        names = {_unused(str(number), taken): number for number in numbers.tolist()}
        return names, dict(zip(names, labels_NC.T.tolist(), strict=True))
    y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(
            f"y must hold two classes at least, got 1 class, {classes.tolist()[0]!r}; add texts of others"
        )
    named = name_classes(map(str, classes))
    if len({*named.values()} - {""}) < len(classes):
        raise ValueError(
            f"labels must differ in more than white space and the way a number is written, got {classes.tolist()[:5]}; rename them"
        )
    by_name = {named[str(label)]: label for label in classes}
    return by_name, {_unused("label", taken): [str(label) for label in y]}


def _positive(positive: Any, classes: dict[str, Any], *, several: bool) -> str:
    """Return the name that the study gives the label that is looked for."""
    found = [name for name, label in classes.items() if label == positive]
    if several or len(classes) != 2 or not found:
        labels = np.array([*classes.values()]).tolist()
        raise ValueError(f"positive must be one of two labels, got {positive!r} for {labels}; change it")
    return found[0]


def _groups(groups: Sequence[Any]) -> list[str]:
    values = column_or_1d(groups).tolist()
    absent = [i for i, group in enumerate(values) if group is None or group != group]
    if absent:
        raise ValueError(
            f"groups must name one for each text, got {values[absent[0]]!r} at index {absent[0]}; fill it in"
        )
    return [str(group) for group in values]


def _unused(name: str, taken: Any) -> str:
    while name in taken:
        name += "_"
    return name


def _plain(settings: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return settings with numbers of Python, where a grid had numpy's."""
    if settings is None:
        return None
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in settings.items()}


@contextmanager
def _place(folder: str | Path | None) -> Iterator[Path]:
    if folder is not None:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def _console(verbose: bool) -> Console | None:
    """Return where progress is shown; None is standard output or the notebook."""
    from rich.console import Console

    return None if verbose else Console(quiet=True)

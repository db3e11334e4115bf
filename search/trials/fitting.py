"""One fit in a worker, wherever that runs: its evaluations are asked about, and its end is told."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from search.study import Reason
from search.trials.memory import peak_bytes
from search.trials.news import Ended, Failure, Fitted
from trainers.errors import FitError

if TYPE_CHECKING:
    from search.trials.news import Told
    from trainers.config import TrainConfig
    from trainers.fit import Answered, Features


class _UnwantedError(Exception):
    """The study has no use for the rest of a fit."""


def fit_and_tell(
    config: TrainConfig,
    features: Features,
    *,
    ask: Callable[[Told], bool],
    peeks: Sequence[float],
    test: bool,
    to_beat: float | None,
) -> Ended | None:
    """Fit, and return how that ended; None if the fit was not to go on, which whoever said so knows.

    Args:
        config: What to fit.
        features: What fits read.
        ask: Sends an evaluation, or what a fold came to, and returns whether the fit goes on.
        peeks: As for ``fit``.
        test: As for ``figures_of``.
        to_beat: As for ``fit``.
    """

    def on_evaluation(told: Told) -> None:
        if not ask(told):
            raise _UnwantedError

    try:
        figures = figures_of(
            config, features, peeks=peeks, on_evaluation=on_evaluation, test=test, to_beat=to_beat
        )
        return Fitted(figures | {"memory_bytes": peak_bytes()})
    except _UnwantedError:
        return None
    except FitError as error:
        return Failure(Reason.of_text(str(error)))
    except Exception as error:
        return Failure(Reason.of_bug(error), traceback.format_exc())


def figures_of(
    config: TrainConfig, features: Features, *, test: bool = False, **options: Any
) -> dict[str, Any]:
    """Fit, and return ``FitResult.figures``; over folds, if the configuration has them, ``FoldsResult.figures``.

    Args:
        config: What to fit.
        features: Encoder, splits and stored features.
        test: Whether to add ``test_predictions``, the class index of each text of the test split; of several labels, or of
            the class that a metric ranks texts by, the probability, in millionths; and ``calibration``, what
            ``Calibration.plain`` says of its probabilities. Of folds the test split is predicted by a model that is fitted on all
            of them, for as long as ``stop_at`` says, which is added, too; no text is left for a calibration.
        **options: Of ``fit``; ``on_evaluation`` is told of folds, too.
    """
    from trainers.fit import answer_test, answer_validation, calibrate, fit, fit_folds, refit_config

    if config.data.folds is not None:
        tell = options.get("on_evaluation", _ignored)
        found = fit_folds(config, features, peeks=options.get("peeks", ()), on_evaluation=tell, on_fold=tell)
        figures = found.figures()
        if test:
            whole = refit_config(config, found.folds)
            last = fit(whole, features)
            figures["stop_at"] = list(whole.stop_at or ())
            figures["seconds"] += last.seconds
            figures["refit_training_accuracy"] = last.training_accuracy
            figures["test_predictions"] = _said(answer_test(whole, features, last), whole, features)
        return figures
    result = fit(config, features, **options)
    figures = result.figures()
    if test:
        tested = answer_test(config, features, result)
        figures["test_predictions"] = _said(tested, config, features)
        validation = answer_validation(config, features, result)
        figures["calibration"] = calibrate(
            validation, tested, several_labels=features.splits.task == "several_labels"
        ).plain()
    return figures


def _said(tested: Answered, config: TrainConfig, features: Features) -> list[Any]:
    from trainers.fit import in_millionths, said_by

    predicted = said_by(tested, config, features.splits)
    if predicted.ndim == 2:
        predicted = in_millionths(predicted)
    plain: list[Any] = predicted.tolist()
    return plain


def _ignored(_: object) -> None:
    """Take note of nothing."""

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
    from trainers.config import TrainConfig
    from trainers.fit import Evaluation, Features


class _UnwantedError(Exception):
    """The study has no use for the rest of a fit."""


def fit_and_tell(
    config: TrainConfig,
    features: Features,
    *,
    ask: Callable[[Evaluation], bool],
    peeks: Sequence[float],
    test: bool,
    to_beat: float | None,
) -> Ended | None:
    """Fit, and return how that ended; None if the fit was not to go on, which whoever said so knows.

    Args:
        config: What to fit.
        features: What fits read.
        ask: Sends an evaluation, and returns whether the fit goes on.
        peeks: As for ``fit``.
        test: As for ``figures_of``.
        to_beat: As for ``fit``.
    """

    def on_evaluation(evaluation: Evaluation) -> None:
        if not ask(evaluation):
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
    """Fit, and return ``FitResult.figures``.

    Args:
        config: What to fit.
        features: Encoder, splits and stored features.
        test: Whether to add ``test_predictions``, the class index of each text of the test split; of several labels, or of
            the class that a metric ranks texts by, the probability, in millionths; and ``calibration``, what
            ``Calibration.plain`` says of its probabilities.
        **options: Of ``fit``.
    """
    from trainers.fit import answer_test, answer_validation, calibrate, fit, in_millionths, said_by

    result = fit(config, features, **options)
    figures = result.figures()
    if test:
        tested = answer_test(config, features, result)
        predicted = said_by(tested, config, features.splits)
        if predicted.ndim == 2:
            predicted = in_millionths(predicted)
        figures["test_predictions"] = predicted.tolist()
        validation = answer_validation(config, features, result)
        figures["calibration"] = calibrate(
            validation, tested, several_labels=features.splits.task == "several_labels"
        ).plain()
    return figures

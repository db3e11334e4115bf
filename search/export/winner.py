"""The chosen trial, fitted again, and what that fit says beside the search's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from search.study import attributes as attr
from trainers.config import METRIC_NAMES, Device

if TYPE_CHECKING:
    import optuna

    from search.export.choice import Choice
    from search.study import Opened, StudySpec
    from trainers.config import TrainConfig
    from trainers.fit import Features, FitResult, ThresholdAim
    from trainers.model import Classifier, Decisions


@dataclass(frozen=True)
class Winner:
    """A trial that was fitted again.

    Attributes:
        choice: Which, and why.
        config: What was fitted.
        features: What it was fitted on.
        result: What came out.
        decisions: Its temperature and its threshold; None where there are folds, and no text is left to choose them by.
    """

    choice: Choice
    config: TrainConfig
    features: Features
    result: FitResult
    decisions: Decisions | None

    def classifier(self) -> Classifier:
        """Return what predicts."""
        from trainers.model import assemble

        return assemble(
            self.features.encoder,
            self.config,
            self.result,
            names=self.features.splits.class_names,
            temperature=self.decisions.calibration.temperature if self.decisions else 1.0,
            thresholds=self.decisions.thresholds if self.decisions else {},
        )


def fit_again(
    found: Opened,
    choice: Choice,
    *,
    device: Device | Literal["auto"] | None = None,
    threshold: ThresholdAim | None = None,
    positive: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Winner:
    """Fit a chosen trial of a study again.

    Args:
        found: The study.
        choice: Of ``choose``.
        device: Where to fit; None where the trial ran.
        threshold: As ``aim`` for ``decisions``.
        positive: As for ``decisions``.
        tell: Gets a line an evaluation.

    Raises:
        InputError: Encoder, texts or cache cannot be used, or are not those of the search.
        FitError: The fit failed.
    """
    from search.study import begun_data, check_same_encoder
    from trainers.encoder import encoder_fingerprint
    from trainers.fit import fit
    from trainers.model import check_threshold, decisions
    from trainers.train import describe_evaluation, on_this_machine, prepare

    spec = found.spec
    # Where the texts are now, and which they must be.
    config = choice.config(begun_data(found.study, spec))
    check_same_encoder(found.study, spec, encoder_fingerprint(config.encoder))
    config = on_this_machine(config, device)
    check_threshold(threshold, positive, folds=config.data.folds)
    features = prepare(config, cache_directory=spec.cache.directory)
    check_threshold(threshold, positive, names=features.splits.class_names, task=features.splits.task)
    result = fit(config, features, on_evaluation=lambda e: tell(describe_evaluation(e, metric=config.metric)))
    chosen = decisions(
        config, features, result, aim=threshold, positive=positive, test=choice.tested is not None
    )
    return Winner(choice, config, features, result, chosen)


def describe_again(found: Opened, winner: Winner) -> Iterator[str]:
    """Yield what the fit came to, beside what it had come to in the search."""
    from trainers.model import describe_decisions
    from trainers.train import describe_result

    config, result = winner.config, winner.result
    yield describe_result(result, metric=config.metric)
    yield _same_or_not(winner.choice, result)
    if config.ceiling is not None and result.training_accuracy > config.ceiling:
        yield (
            f"note: with seed {config.seed} its training {METRIC_NAMES[config.metric]} lies above the ceiling of "
            f"{config.ceiling:.2%}"
        )
    short = shortfall(found.study, found.spec, winner.choice)
    if short:
        yield f"note: {short}"
    yield from describe_decisions(winner.decisions, metric=config.metric)


def shortfall(study: optuna.Study, spec: StudySpec, choice: Choice) -> str | None:
    """Say what the trial is short of a logistic regression; None where it is not."""
    from search.analysis import compare_with_opponents
    from search.report import falls_short

    return falls_short(compare_with_opponents(study, choice.trial, metric=spec.score.metric))


def _same_or_not(choice: Choice, result: FitResult) -> str:
    if result.is_refit:
        return _what_folds_say(choice, result)
    known: Mapping[str, Any] = choice.tested.plain() if choice.tested else choice.trial.user_attrs
    where = "in the confirmation" if choice.tested else "in the search"
    before = known[attr.VALIDATION_ACCURACY], known[attr.TRAINING_ACCURACY]
    after = result.validation_accuracy, result.training_accuracy
    is_estimate = choice.trial.state.name == "COMPLETE" and not known.get(attr.TRAINING_EXACT, True)
    if is_estimate and before[0] == after[0]:
        return (
            f"the same validation figure as trial {choice.trial.number} had {where}, where its training figure was an "
            f"estimate, {before[1]:.2%}"
        )
    if before == after:
        return f"the same figures as trial {choice.trial.number} had {where}"
    return (
        f"trial {choice.trial.number} had {before[0]:.2%} and {before[1]:.2%} {where}: it ran elsewhere, was pruned, or "
        "libraries have changed since"
    )


def _what_folds_say(choice: Choice, result: FitResult) -> str:
    """Say what the figures of a model are that was fitted on all texts of the folds."""
    folds = choice.trial.user_attrs[attr.FOLDS]
    total = choice.trial.user_attrs[attr.CONFIG]["data"]["folds"]
    said = (
        f"it saw all texts but those of the test split, so that none is left to validate it: what is known of its settings is the "
        f"mean of {len(folds)} fold{'s' * (len(folds) > 1)}, validation {choice.trial.user_attrs[attr.VALIDATION_ACCURACY]:.2%}, "
        f"by fits of {total - 1}/{total} of these texts"
    )
    known = choice.tested.refit_training_accuracy if choice.tested else None
    if known is not None:
        same = "the same as" if known == result.training_accuracy else f"{known:.2%}"
        said += f"; its training figure was {same} in the confirmation"
    return said

"""One trial: suggest, fit, report, prune, score, constrain."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import optuna

from search.interrupts import held_back
from search.live import Live
from search.pruning import FeasiblePruner, step_of
from search.space import suggest
from search.spec import Score, StudySpec
from trainers.features import Features
from trainers.fit import Evaluation, fit

CONSTRAINT = "training_accuracy_over_ceiling"


def score(validation_accuracy: float, training_accuracy: float, rule: Score) -> float:
    """Return validation accuracy - penalty * max(0, training accuracy - ceiling)."""
    return validation_accuracy - rule.penalty * max(0.0, training_accuracy - rule.ceiling)


def objective(trial: optuna.Trial, spec: StudySpec, features: Features, live: Live) -> float:
    """Run one trial to its end and return its score.

    Everything worth knowing is left in the trial's user attributes, on every path.

    Raises:
        optuna.TrialPruned: The trial does not keep up with its feasible peers.
        FitError: The fit failed for a named reason.
    """
    with held_back():
        config = suggest(trial, spec, num_layers=features.encoder.num_layers)
        trial.set_user_attr("config", config.model_dump(mode="json", exclude_none=True))
    live.trial_started(trial.number, config)
    history: list[dict[str, Any]] = []

    @held_back()
    def on_evaluation(evaluation: Evaluation) -> None:
        value = score(evaluation.validation_accuracy, evaluation.training_accuracy, spec.score)
        history.append({**asdict(evaluation), "score": value})
        trial.set_user_attr("evaluations", history)
        trial.report(value, step_of(evaluation.epoch))
        live.evaluated(history[-1])
        reason = _reason_to_prune(trial)
        if reason is not None:
            _record(
                trial,
                spec,
                reason=reason,
                validation_accuracy=evaluation.validation_accuracy,
                training_accuracy=evaluation.training_accuracy,
                training_exact=evaluation.exact,
                best_epoch=evaluation.epoch,
                epochs=evaluation.epoch,
                seconds=evaluation.seconds,
                tokens=evaluation.tokens,
            )
            raise optuna.TrialPruned(reason)

    result = fit(config, features, peeks=spec.pruning.rungs, on_evaluation=on_evaluation)
    _record(
        trial,
        spec,
        reason=result.stopped,
        validation_accuracy=result.validation_accuracy,
        training_accuracy=result.training_accuracy,
        training_exact=True,
        best_epoch=result.best_epoch,
        epochs=result.epochs,
        seconds=result.seconds,
        tokens=result.tokens,
    )
    return score(result.validation_accuracy, result.training_accuracy, spec.score)


def _reason_to_prune(trial: optuna.Trial) -> str | None:
    """Ask the study's pruner; a recipe is there to be seen, and runs to its end."""
    pruner = trial.study.pruner
    if "recipe" in trial.user_attrs or not isinstance(pruner, FeasiblePruner):
        return None
    return pruner.reason(trial.study, trial.storage.get_trial(trial._trial_id))


@held_back()
def _record(trial: optuna.Trial, spec: StudySpec, **figures: Any) -> None:
    """Leave a trial's figures and its constraint, before it ends."""
    excess = figures["training_accuracy"] - spec.score.ceiling
    for key, value in {
        **figures,
        "gap": figures["training_accuracy"] - figures["validation_accuracy"],
    }.items():
        trial.set_user_attr(key, value)
    trial.set_constraint(CONSTRAINT, excess)
    # optuna-dashboard 0.21 reads this attribute and is blind to Optuna 5 constraints.
    trial.storage.set_trial_system_attr(trial._trial_id, "constraints", [excess])

"""One trial: suggest, fit, report, prune, score, constrain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, fields
from statistics import fmean
from typing import Any

import numpy as np
import optuna

from search.interrupts import held_back
from search.storage import optuna_private, together
from search.study import (
    Ending,
    Reason,
    Score,
    StudySpec,
    as_attributes,
    attributes as attr,
    suggest,
    tally_of,
)
from search.trials.catching_up import behind, reason_to_end
from search.trials.peers import step_of
from search.trials.progress import Live
from search.trials.pruning import FeasiblePruner
from trainers.config import TrainConfig
from trainers.fit import (
    Cost,
    Evaluation,
    Features,
    FoldResult,
    design_effect,
    effective_count,
    figures_of_folds,
    fit,
    fit_folds,
    groups_of_hits,
    is_share,
    unpacked,
)

CONSTRAINT = "training_accuracy_over_ceiling"

RECORDED = (
    attr.VALIDATION_ACCURACY,
    attr.VALIDATION_LOSS,
    attr.BEST_EPOCH,
    attr.EPOCHS,
    *(f.name for f in fields(Cost)),
)
"""Figures of a fit that become user attributes of its trial, beside those of training."""


def score(validation_accuracy: float, training_accuracy: float, rule: Score) -> float:
    """Return validation accuracy - penalty * max(0, training accuracy - ceiling)."""
    return validation_accuracy - rule.penalty * max(0.0, training_accuracy - rule.ceiling)


class Attempt:
    """One trial under way: what it is to fit, and how its evaluations and result are recorded, wherever the fit runs.

    Everything worth knowing is left in the trial's user attributes, on every path.

    Args:
        trial: Just asked for.
        spec: Of the study.
        live: What the terminal shows.
        features: What is fitted on.
        saw: Called when the trial has begun, and after each evaluation.

    Attributes:
        config: What is to be fitted, pinned to the encoder's commit, device and precision.
        is_recipe: Whether it is there to be seen.
        to_beat: As for ``fit``: the value of the best feasible trial so far. A fit under the ceiling that does not reach it
            has the same value whatever its training accuracy is. None for a recipe, whose figures are shown.
    """

    @held_back()
    def __init__(
        self,
        trial: optuna.Trial,
        spec: StudySpec,
        live: Live,
        *,
        features: Features,
        saw: Callable[[optuna.Trial], None] = lambda _: None,
    ) -> None:
        encoder = features.encoder
        with together(trial.study):
            config = suggest(trial, spec, num_layers=encoder.num_layers)
            pinned = config.encoder.model_copy(update={"revision": encoder.revision})
            self.config = config.model_copy(
                update={"encoder": pinned, "device": encoder.device, "precision": features.precision}
            )
            trial.set_user_attr(attr.CONFIG, self.config.model_dump(mode="json", exclude_none=True))
        self._trial = trial
        self._spec = spec
        self._live = live
        self._saw = saw
        self._history: list[dict[str, Any]] = []
        self._folds: list[FoldResult] = []
        self._inflation = 1.0
        is_folded_share = config.data.folds is not None and is_share(config.metric, config.data.task)
        if is_folded_share and config.metric != "accuracy":
            texts_C = np.bincount(features.splits.train.labels_N)
            self._inflation = math.sqrt(
                texts_C.sum() / effective_count(np.diag(texts_C), metric=config.metric)
            )
        self._groups = groups_of_hits(features.splits, config.data) if config.data.group is not None else None
        self._splits = features.splits if self._groups else None
        best = tally_of(trial.study).best
        self.is_recipe = attr.RECIPE in trial.user_attrs
        self.to_beat = None if best is None or self.is_recipe else best.value
        live.trial_started(trial.number, self.config)
        saw(trial)

    def told(self, news: Evaluation | FoldResult) -> None:
        """Take note of an evaluation, or of a fold's end.

        Raises:
            optuna.TrialPruned: The trial does not keep up.
        """
        if isinstance(news, FoldResult):
            self.fold_ended(news)
        else:
            self.evaluated(news)

    @held_back()
    def fold_ended(self, fold: FoldResult) -> None:
        """Take note of what a fold came to.

        Raises:
            optuna.TrialPruned: The trial cannot win any more.
        """
        trial, num_folds = self._trial, self.config.data.folds
        assert num_folds is not None  # noqa: S101
        self._folds.append(fold)
        trial.set_user_attr(attr.FOLDS, [asdict(done) for done in self._folds])
        figures = figures_of_folds(self._folds)
        own = score(figures["validation_accuracy"], figures["training_accuracy"], self._spec.score)
        trial.report(own, fold.fold * (1 + step_of(_planned_epochs(self.config))))
        best = tally_of(trial.study).best
        known = () if best is None else best.user_attrs.get(attr.FOLDS, ())
        if (
            fold.fold == num_folds
            or best is None
            or len(known) != num_folds
            or not self._spec.pruning.rungs  # pruning is turned off
            or not is_share(
                self.config.metric, self.config.data.task
            )  # nobody knows how sure the difference is
            or fold.hits is None
            or attr.RECIPE in trial.user_attrs
        ):
            return
        same = known[: len(self._folds)]
        its = score(
            fmean(f["validation_accuracy"] for f in same),
            fmean(f["training_accuracy"] for f in same),
            self._spec.score,
        )
        found = behind(
            [asdict(done) for done in self._folds],
            same,
            scores=(own, its),
            num_folds=num_folds,
            inflation=self._inflation,
            groups=self._groups,
        )
        reason = reason_to_end(found, fold=fold.fold, num_folds=num_folds, best=best.number)
        if reason is not None:
            self._record(figures | {attr.NUM_VALIDATION_TEXTS: found.num_texts}, reason)
            raise optuna.TrialPruned(reason.text)

    @held_back()
    def evaluated(self, evaluation: Evaluation) -> None:
        """Take note of an evaluation.

        Raises:
            optuna.TrialPruned: The trial does not keep up with its feasible peers.
        """
        trial = self._trial
        value = evaluation.validation_accuracy
        if evaluation.training_accuracy is not None:
            value = score(value, evaluation.training_accuracy, self._spec.score)
        told = {**asdict(evaluation), "score": value}
        if evaluation.fold is None:
            del told["fold"]
        self._history.append(told)
        is_ranked = evaluation.fold in {
            None,
            1,
        }  # rungs are looked at in the first fold, where all trials were
        with together(trial.study):
            trial.set_user_attr(attr.EVALUATIONS, self._history)
            if is_ranked:
                trial.report(value, step_of(evaluation.epoch))
        self._live.evaluated(trial.number, self._history[-1])
        self._saw(trial)
        if not is_ranked:
            return
        # Nothing is saved by pruning what is finished.
        reason = None if evaluation.last else _reason_to_prune(trial)
        if reason is not None:
            age = {attr.BEST_EPOCH: evaluation.epoch, attr.EPOCHS: evaluation.epoch}
            self._record(
                {**asdict(evaluation), attr.TRAINING_EXACT: evaluation.exact, **age},
                Reason(Ending.RUNG, reason),
            )
            raise optuna.TrialPruned(reason)

    @held_back()
    def fitted(self, figures: dict[str, Any]) -> float:
        """Take note of the end of the fit, ``FitResult.figures``, and return the trial's score."""
        if figures["stages"]:
            self._trial.set_user_attr(attr.STAGES, figures[attr.STAGES])
        stopped = Ending(figures["stopped"])
        effect = self._effect_of_groups()
        if effect is not None:
            self._trial.set_user_attr(attr.DESIGN_EFFECT, effect)
        self._record(figures, Reason(stopped, str(stopped)))
        return score(figures["validation_accuracy"], figures["training_accuracy"], self._spec.score)

    def _effect_of_groups(self) -> float | None:
        """Return how many times the variance of the validation figure is that of texts without groups; None if they have none."""
        if self._groups is None or self._splits is None:
            return None
        told = [asdict(fold)["hits"] for fold in self._folds] or [look["hits"] for look in self._history[-1:]]
        pool = self._splits.validation if self._splits.folds is None else self._splits.train
        assert pool.groups_N is not None  # noqa: S101
        hits_N = np.concatenate([unpacked(hits) for hits in told]) if told and all(told) else None
        return design_effect(hits_N, np.concatenate(self._groups), all_N=pool.groups_N)

    def _record(self, figures: dict[str, Any], reason: Reason) -> None:
        """Leave a trial's figures and its constraint, before it ends."""
        trial = self._trial
        training = figures["training_accuracy"]
        notes = {k: figures[k] for k in RECORDED} | as_attributes(reason)
        if training is not None:
            gap = training - figures["validation_accuracy"]
            exact = figures[attr.TRAINING_EXACT]
            notes |= {attr.TRAINING_ACCURACY: training, attr.TRAINING_EXACT: exact, attr.GAP: gap}
        for key in (attr.NUM_VALIDATION_TEXTS, attr.TRAINING_INTERVAL, attr.ON_SCALE, attr.LABEL_F1):
            if figures.get(key) is not None:
                notes[key] = figures[key]
        excess = self._excess(training)
        with together(trial.study):
            for key, value in notes.items():
                trial.set_user_attr(key, value)
            trial.set_constraint(CONSTRAINT, excess)
            # optuna-dashboard 0.21 reads this attribute and is blind to Optuna 5 constraints.
            trial.storage.set_trial_system_attr(optuna_private.trial_id(trial), attr.CONSTRAINTS, [excess])

    def _excess(self, training_accuracy: float | None) -> float:
        """Return training accuracy - ceiling; of a trial that is pruned at a peek, what is known of it.

        That is the latest full evaluation's, and 0 where there was none. Optuna takes both for feasible, as it
        would take a trial without a constraint, and its sampler then ranks the trial by how far it came and
        its score there, below all that ran to their end. To call it infeasible would be wrong: a fit that is
        seen above the ceiling stops there, so that nothing speaks against one that went on.
        """
        known = [e["training_accuracy"] for e in self._history if not e["peek"]]
        if training_accuracy is None:
            return known[-1] - self._spec.score.ceiling if known else 0.0
        return training_accuracy - self._spec.score.ceiling


def objective(
    trial: optuna.Trial,
    spec: StudySpec,
    features: Features,
    live: Live,
    *,
    saw: Callable[[optuna.Trial], None] = lambda _: None,
) -> float:
    """Run one trial in this process to its end and return its score.

    Raises:
        optuna.TrialPruned: The trial does not keep up with its feasible peers.
        FitError: The fit failed for a named reason.
    """
    attempt = Attempt(trial, spec, live, features=features, saw=saw)
    if attempt.config.data.folds is not None:
        folds = fit_folds(
            attempt.config,
            features,
            peeks=spec.pruning.rungs,
            on_evaluation=attempt.evaluated,
            on_fold=attempt.fold_ended,
        )
        return attempt.fitted(folds.figures())
    result = fit(
        attempt.config,
        features,
        peeks=spec.pruning.rungs,
        on_evaluation=attempt.evaluated,
        to_beat=attempt.to_beat,
    )
    return attempt.fitted(result.figures())


def _planned_epochs(config: TrainConfig) -> int:
    """Return how many epochs a fit takes at most."""
    return config.epochs + (config.thaw.epochs if config.thaw else 0)


def _reason_to_prune(trial: optuna.Trial) -> str | None:
    """Ask the study's pruner; a recipe is there to be seen, and runs to its end."""
    pruner = trial.study.pruner
    if attr.RECIPE in trial.user_attrs or not isinstance(pruner, FeasiblePruner):
        return None
    return pruner.reason(trial.study, trial.storage.get_trial(optuna_private.trial_id(trial)))

"""Which trial is exported: the confirmed winner, else the best feasible one, else the one asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.study import attributes as attr
from trainers.errors import InputError

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.analysis import ConfirmedFinalist, FreshFit
    from trainers.config import DataConfig, TrainConfig


@dataclass(frozen=True)
class Choice:
    """A trial to export.

    Attributes:
        trial: Of the search.
        reason: Why it was chosen.
        finalist: What the study's confirmation says of it; None if it says nothing.
    """

    trial: FrozenTrial
    reason: str
    finalist: ConfirmedFinalist | None

    @property
    def tested(self) -> FreshFit | None:
        """The confirmation's first fit that was measured on the test split: that very one is exported."""
        if self.finalist is None or self.finalist.test is None:
            return None
        seed = self.finalist.test.seed
        return next((f for f in self.finalist.fits if f.seed == seed), None)

    def config(self, data: DataConfig) -> TrainConfig:
        """Return what is to be fitted again."""
        from trainers.config import TrainConfig

        if self.finalist is not None and self.tested is not None:
            settings = {**self.finalist.config, "seed": self.tested.seed}
            if data.folds is not None:
                data = data.model_copy(update={"fold_seed": self.tested.seed})
                settings["stop_at"] = self.tested.stop_at
        else:
            settings = self.trial.user_attrs[attr.CONFIG]
            if data.folds is not None:
                settings = {**settings, "stop_at": self._found_ages(settings)}
        return TrainConfig.model_validate({**settings, "data": data})

    def _found_ages(self, settings: Mapping[str, Any]) -> list[float]:
        """Return the age of the best weights in each stage, on average over the folds that the trial ran."""
        from trainers.fit import mean_ages

        folds = self.trial.user_attrs.get(attr.FOLDS)
        if not folds:
            raise InputError(
                f"trial {self.trial.number} ended in its first fold, so that nobody knows for how long to fit it; export another "
                "one with --trial"
            )
        from trainers.config import TrainConfig

        looks = TrainConfig.model_fields["evaluations_per_epoch"].default
        return mean_ages(
            [fold["best_epochs"] for fold in folds], looks=settings.get("evaluations_per_epoch", looks)
        )


def choose(study: optuna.Study, number: int | None) -> Choice:
    """Return the trial to export: the one asked for, else the confirmed winner, else the best feasible one.

    Raises:
        InputError: There is no such trial, or none is feasible.
    """
    from search.analysis import confirmation_of
    from search.study import SCORED, best_feasible, excess, finished, nearest_to_feasible

    trials = study.get_trials(deepcopy=False)
    confirmation = confirmation_of(study)
    measured = [f for f in confirmation.finalists if f.complete_fits] if confirmation else []
    finalists = {f.trial: f for f in measured if f.trial is not None}
    if number is not None:
        chosen = next((t for t in trials if t.number == number and t.state in SCORED), None)
        if chosen is None:
            raise InputError(
                f"--trial must be the number of a complete or pruned trial, got {number} of {len(trials)} trials; "
                "see python -m search.report"
            )
        return Choice(chosen, f"the one asked for, validation {_percent(chosen)}", finalists.get(number))
    winner = next((f for f in measured if confirmation and f.name == confirmation.winner), None)
    if confirmation and winner is not None and winner.trial is not None:
        [chosen] = [t for t in trials if t.number == winner.trial]
        num_finished = len(finished(trials))
        late = (
            f" after {confirmation.after} of now {num_finished} trials"
            if num_finished > confirmation.after
            else ""
        )
        return Choice(chosen, f"winner of the confirmation{late}, {describe_finalist(winner)}", winner)
    best = best_feasible(trials)
    if best is not None:
        why = "the confirmation has no winner" if confirmation else "never confirmed"
        if winner is not None:
            why = f"the confirmation's winner, {winner.name}, is no trial of it"
        reason = f"best feasible one of the search ({why}), validation {_percent(best)}"
        return Choice(best, reason, finalists.get(best.number))
    nearest = nearest_to_feasible(trials)
    if nearest is None:
        raise InputError("no trial is complete yet; search first: python -m search.run")
    raise InputError(
        f"no trial keeps its training figure under the ceiling; trial {nearest.number} comes nearest, "
        f"{excess(nearest):.2%} above it; search on, or export it all the same with --trial {nearest.number}"
    )


def describe_finalist(finalist: ConfirmedFinalist) -> str:
    """Say in words what the confirmation measured of a finalist."""
    figures, test = finalist.validation, finalist.test
    spread = "" if figures.spread is None else f" +- {figures.spread:.2%}"
    number = len(finalist.complete_fits)
    said = f"validation {figures.mean:.2%}{spread} over {number} fresh seed{'s' * (number != 1)}"
    if test:
        spread = "" if test.spread is None else f" +- {test.spread:.2%}"
        interval = "" if test.low is None else f" [{test.low:.2%}, {test.high:.2%}]"
        over = f"with seed {test.seed}" if test.num_fits == 1 else f"over {test.num_fits}"
        said += f", test {test.accuracy:.2%}{spread}{interval} {over}"
    return said


def _percent(chosen: FrozenTrial) -> str:
    value = chosen.user_attrs.get(attr.VALIDATION_ACCURACY)
    return "unknown" if value is None else f"{value:.2%}"

"""The Pareto front for optuna-dashboard, which draws one only of a study with two objectives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from search.dashboard.dashboard_private import front_of
from search.storage import optuna_private
from search.study import attributes as attr

if TYPE_CHECKING:
    from optuna.study import Study, StudyDirection
    from optuna.trial import FrozenTrial

    from search.study import StudySpec

DIRECTIONS: tuple[Literal["minimize", "maximize"], ...] = ("minimize", "maximize")
"""Of training and of validation accuracy; the page draws the first one to the right."""


def shadow_name(study_name: str) -> str:
    """Name the study that holds a study's front; a TOML file can name none so."""
    return f"{study_name} (Pareto front)"


def keep_front(study: Study, spec: StudySpec) -> Study | None:
    """Bring the study of a study's checkpoints in step: one trial for each epoch of a trial that has ended.

    Trials in Optuna cannot be changed once they have ended: where one is not what it should be, as after the
    study was deleted and begun again, all are made again. Peeks and failed trials are left out.

    Returns:
        The study of two objectives; None where there is no checkpoint yet.
    """
    import optuna

    wanted = {
        _key(point): point
        for trial in study.get_trials(deepcopy=False)
        for point in checkpoints(trial, ceiling=spec.score.ceiling)
    }
    if not wanted:
        return None
    storage, name = optuna_private.storage_of(study), shadow_name(study.study_name)
    shadow = optuna.create_study(storage=storage, study_name=name, directions=DIRECTIONS, load_if_exists=True)
    present = {_key(t): t.values for t in shadow.get_trials(deepcopy=False)}
    if any(key not in wanted or wanted[key].values != values for key, values in present.items()):
        optuna.delete_study(storage=storage, study_name=name)
        shadow = optuna.create_study(storage=storage, study_name=name, directions=DIRECTIONS)
        present = {}
    for key, point in wanted.items():
        if key not in present:
            # Not by add_trial, which takes no setting from outside the space, as a recipe's may be.
            storage.create_new_trial(optuna_private.study_id(shadow), template_trial=point)
    return shadow


def checkpoints(trial: FrozenTrial, *, ceiling: float) -> Iterator[FrozenTrial]:
    """Yield a trial of two objectives for every evaluation of a complete or pruned trial over all validation texts.

    The training accuracy may be an estimate on a sample. Of a trial over folds there is one point, of its means.
    """
    from optuna.trial import FrozenTrial, TrialState

    from search.study import SCORED

    attrs = trial.user_attrs
    for evaluation in _looked_at(trial) if trial.state in SCORED else []:
        is_restored = trial.state.name == "COMPLETE" and evaluation["epoch"] == attrs[attr.BEST_EPOCH]
        if evaluation["peek"] or (not is_restored and evaluation.get("num_validation_texts") is not None):
            continue
        figures: dict[str, Any] = attrs if is_restored else evaluation
        training, validation = figures[attr.TRAINING_ACCURACY], figures[attr.VALIDATION_ACCURACY]
        told: dict[str, Any] = {k: attrs[k] for k in (attr.RECIPE, attr.ORIGIN, attr.REASON) if k in attrs}
        began = trial.datetime_start
        yield FrozenTrial(
            number=-1,
            trial_id=-1,  # as the number, the storage's to choose
            state=TrialState.COMPLETE,
            value=None,
            values=[training, validation],
            datetime_start=began,
            datetime_complete=began and began + timedelta(seconds=evaluation["seconds"]),
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={
                attr.POINT_TRIAL: trial.number,
                attr.POINT_EPOCH: evaluation["epoch"],
                attr.POINT_RESTORED: is_restored,
                attr.TRAINING_EXACT: attrs.get(attr.TRAINING_EXACT, True)
                if is_restored
                else evaluation["exact"],
                attr.GAP: training - validation,
                **told,
                attr.POINT_STATE: trial.state.name.lower(),
            },
            system_attrs={attr.CONSTRAINTS: [training - ceiling]},
            intermediate_values={},
        )


def feasible_front(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """List the best trials of several objectives as optuna-dashboard does, which forgets constraints there."""
    # A trial of no constraints breaks none.
    feasible = [t for t in trials if all(c <= 0 for c in t.system_attrs.get(attr.CONSTRAINTS, []))]
    return front_of(feasible, directions)


def _key(point: FrozenTrial) -> tuple[Any, Any]:
    return point.user_attrs.get(attr.POINT_TRIAL), point.user_attrs.get(attr.POINT_EPOCH)


def _looked_at(trial: FrozenTrial) -> list[dict[str, Any]]:
    """Return a trial's evaluations; of one over folds, what they restored on average, once all have."""
    known = trial.user_attrs
    if attr.FOLDS not in known:
        return list(known.get(attr.EVALUATIONS, []))
    if trial.state.name != "COMPLETE":
        return []
    return [{"epoch": known[attr.BEST_EPOCH], "peek": False, "seconds": known[attr.SECONDS]}]

"""Who runs trials: for now, this process."""

from __future__ import annotations

import time

import optuna
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from search.interrupts import held_back
from search.live import Live
from search.objective import objective
from search.pruning import FeasiblePruner
from search.results import finished
from search.space import trial_seed
from search.spec import StudySpec
from search.storage import claim, fail, recover
from trainers.errors import FitError
from trainers.features import Features


def run_trials(
    study: optuna.Study,
    spec: StudySpec,
    features: Features,
    live: Live,
    *,
    num_trials: int,
    started: float,
    deadline: float | None,
) -> None:
    """Run trials until the study has ``num_trials`` finished ones in all, or the deadline has passed.

    A trial under way at the deadline is finished.

    Args:
        study: To be filled up.
        spec: Of the study.
        features: What fits read.
        live: What the terminal shows.
        num_trials: Finished trials the study shall have, whoever ran them.
        started: When this search began, preparations included, in ``time.monotonic()`` seconds.
        deadline: ``time.monotonic()`` seconds after which no trial begins; None means never.

    Raises:
        KeyboardInterrupt: The user interrupted; the trial under way is enqueued again.
    """
    study.pruner = FeasiblePruner(spec.pruning.rungs, keep=spec.pruning.keep, peers=spec.pruning.peers)
    earlier = study.user_attrs.get("wall_seconds", 0.0)
    while len(_finished(study)) < num_trials:
        if deadline is not None and time.monotonic() > deadline:
            return
        try:
            _run_one(study, spec, features, live)
        except KeyboardInterrupt:
            with held_back():
                recover(study, reason="interrupted")
            raise
        finally:
            with held_back():
                study.set_user_attr("wall_seconds", earlier + time.monotonic() - started)


@held_back()
def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return finished(study.get_trials(deepcopy=False))


def _run_one(study: optuna.Study, spec: StudySpec, features: Features, live: Live) -> None:
    trial = _begin(study, spec)
    try:
        value = objective(trial, spec, features, live)
        _end(study, trial, live, value=value)
    except optuna.TrialPruned:
        _end(study, trial, live)
    except FitError as error:
        _end(study, trial, live, failure=str(error))
    except Exception as error:
        _end(study, trial, live, failure=f"bug: {type(error).__name__}: {error}")
        raise


@held_back()
def _begin(study: optuna.Study, spec: StudySpec) -> optuna.Trial:
    # A fresh sampler a trial, seeded by its number, repeats not counted: given the same results, a search that
    # was cut off and continued draws what an uninterrupted one would have drawn.
    originals = [t for t in study.get_trials(deepcopy=False) if "retry_of" not in t.user_attrs]
    study.sampler = TPESampler(seed=trial_seed(spec.seed + 1, len(originals)))
    trial = study.ask()
    claim(trial)
    return trial


@held_back()
def _end(
    study: optuna.Study,
    trial: optuna.Trial,
    live: Live,
    *,
    value: float | None = None,
    failure: str | None = None,
) -> None:
    """Tell the study a trial's value, or why it failed; neither of them means pruned."""
    if failure is not None:
        fail(study, trial, reason=failure)
    elif value is not None:
        study.tell(trial, value)
    else:
        study.tell(trial, state=TrialState.PRUNED)
    live.trial_ended(trial.storage.get_trial(trial._trial_id), study.get_trials(deepcopy=False))

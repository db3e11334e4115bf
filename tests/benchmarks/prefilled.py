"""Many ended trials in a study's database at once: what a long search leaves, without running it.

A few hundred trials are run by the search's own code in memory, and written again and again, each time with other figures and
settings. Nothing that is measured over them depends on how good they are.
"""

import copy
import json
from datetime import datetime, timedelta

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from pretended import fit
from sqlalchemy import select

from search.storage import database_of, optuna_private
from search.study import attributes as attr
from search.trials.objective import Attempt

NUM_RUN = 200
BEGAN = datetime(2026, 1, 1)


def fill(study, num_trials, *, spec, features, live):
    """Write so many trials that have ended.

    Args:
        study: Empty.
        num_trials: How many.
        spec: Of the study.
        features: What ``Attempt`` asks for.
        live: Likewise.
    """
    rng = np.random.default_rng(0)
    patterns = _run(min(NUM_RUN, num_trials), spec=spec, features=features, live=live)
    trials = [_varied(patterns[n % len(patterns)], n, rng) for n in range(num_trials)]
    own = optuna_private.study_id(study)
    with database_of(study).engine.begin() as connection:
        rows = [
            {"number": t.number, "study_id": own, "state": t.state}
            | {"datetime_start": t.datetime_start, "datetime_complete": t.datetime_complete}
            for t in trials
        ]
        connection.execute(models.TrialModel.__table__.insert(), rows)
        found = connection.execute(
            select(models.TrialModel.number, models.TrialModel.trial_id).where(
                models.TrialModel.study_id == own
            )
        )
        ids = dict(found.tuples().all())
        for table, of in (
            (models.TrialValueModel, _values),
            (models.TrialParamModel, _params),
            (models.TrialIntermediateValueModel, _steps),
            (models.TrialUserAttributeModel, lambda t: _attributes(t.user_attrs)),
            (models.TrialSystemAttributeModel, lambda t: _attributes(t.system_attrs)),
        ):
            rows = [{"trial_id": ids[t.number], **row} for t in trials for row in of(t)]
            connection.execute(table.__table__.insert(), rows)


def _run(num_trials, *, spec, features, live):
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(num_trials):
        attempt = Attempt(study.ask(), spec, live, features=features)
        said = [news for _, news in fit(attempt.config, spec.pruning.rungs, np.random.default_rng(number))]
        for evaluation in said[:-1]:
            attempt.evaluated(evaluation)
        study.tell(number, attempt.fitted(said[-1].figures))
    return study.get_trials(deepcopy=False)


def _varied(pattern, number, rng):
    trial = copy.copy(pattern)
    trial.number = number
    trial.datetime_start = BEGAN + timedelta(seconds=number)
    trial.datetime_complete = trial.datetime_start + timedelta(seconds=60)
    trial.params = {
        name: float(np.clip(value * rng.uniform(0.9, 1.1), d.low, d.high))
        if isinstance(d := pattern.distributions[name], FloatDistribution)
        else value
        for name, value in pattern.params.items()
    }
    lift = rng.normal(0, 0.01)

    def lifted(table):
        moved = {}
        for key in (attr.VALIDATION_ACCURACY, attr.TRAINING_ACCURACY, "score"):
            if table.get(key) is not None:
                moved[key] = min(1.0, max(0.0, table[key] + lift))
        return {**table, **moved}

    evaluations = [lifted(e) for e in pattern.user_attrs[attr.EVALUATIONS]]
    trial.user_attrs = {**lifted(pattern.user_attrs), attr.EVALUATIONS: evaluations}
    trial.intermediate_values = {step: value + lift for step, value in pattern.intermediate_values.items()}
    trial.values = [pattern.value + lift]
    assert trial.state == TrialState.COMPLETE
    return trial


def _values(trial):
    yield {"objective": 0, "value": trial.value, "value_type": models.TrialValueModel.TrialValueType.FINITE}


def _params(trial):
    for name, distribution in trial.distributions.items():
        value = distribution.to_internal_repr(trial.params[name])
        told = distribution_to_json(distribution)
        yield {"param_name": name, "param_value": value, "distribution_json": told}


def _steps(trial):
    kind = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    for step, value in trial.intermediate_values.items():
        yield {"step": step, "intermediate_value": value, "intermediate_value_type": kind}


def _attributes(table):
    for key, value in table.items():
        yield {"key": key, "value_json": json.dumps(value)}

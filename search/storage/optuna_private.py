"""Everything of Optuna that is private and used here: each part has one name, and a test that says what it is for.

Optuna may change these parts in any version. Hence ``pyproject.toml`` allows only versions that were tried.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import QMCSampler
from optuna.samplers._tpe.sampler import default_gamma
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb.models import (
    StudySystemAttributeModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
)
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session


class CachedStorage(_CachedStorage):
    """Optuna's cache of trials that have ended; those under way it reads again for each question."""

    def known(self, study_id: int) -> Any:
        """Return what is cached of a study: ``trials`` by number, ``param_distribution``, and what it is to read again."""
        return self._studies[study_id]

    def place_of(self, trial_id: int) -> tuple[int | None, int]:
        """Return the study and the number of a trial, as far as they are cached."""
        return self._trial_id_to_study_id_and_number.get(trial_id, (None, -1))

    def remember(self, study_id: int, trials: list[FrozenTrial]) -> None:
        """Put trials into the cache."""
        self._add_trials_to_cache(study_id, trials)


SystemAttributeRow = StudySystemAttributeModel
"""Table of the system attributes of studies."""

TrialRow = TrialModel
"""Table of the trials."""

STORAGE_LOGGER = "optuna.storages._rdb.storage"
"""Logger that warns of every query that failed."""

REPEATABLE = ("_set_trial_param", "_get_best_trial_id", "_get_trials")
"""Methods of ``RDBStorage`` that may be called twice: they read, or write the same again."""

FIXED_PARAMS = "fixed_params"
"""System attribute of a trial that was enqueued: the settings that it is to have."""


@dataclass(frozen=True)
class Write:
    """One write to a running trial that is new in it, or takes the place of an attribute.

    Attributes:
        trial_id: In the storage.
        kind: A setting, a user or system attribute, or a value that was reported.
        key: Name, or step of a value.
        value: Of a setting its internal form.
        distribution: Of a setting, one that the study knows already.
    """

    trial_id: int
    kind: Literal["param", "user", "system", "step"]
    key: str | int
    value: Any
    distribution: BaseDistribution | None = None


TABLES: dict[str, Any] = {
    "param": TrialParamModel.__table__,
    "step": TrialIntermediateValueModel.__table__,
    "user": TrialUserAttributeModel.__table__,
    "system": TrialSystemAttributeModel.__table__,
}
"""Of what is written to a trial, by kind."""

ATTRIBUTES: dict[str, Any] = {"user": TrialUserAttributeModel, "system": TrialSystemAttributeModel}


def _upsert(insert: Callable[..., Any], table: Any) -> Any:
    made = insert(table)
    same = [table.c.trial_id, table.c.key]
    return made.on_conflict_do_update(index_elements=same, set_={"value_json": made.excluded.value_json})


# Made once: SQLAlchemy takes longer to make a statement than the database to execute it.
_UPSERTS = {
    name: {kind: _upsert(insert, TABLES[kind]) for kind in ATTRIBUTES}
    for name, insert in {"sqlite": sqlite.insert, "postgresql": postgresql.insert}.items()
}
_INSERTS = {kind: TABLES[kind].insert() for kind in ("param", "step")}
_STATE = select(TrialModel.state).where(TrialModel.trial_id == bindparam("trial"))


class HookedStorage(RDBStorage):
    """Optuna's storage, with names of our own for what it does inside."""

    def create_trial(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        """Create a trial; several attempts are made around ``insert_trial``."""
        return super()._create_new_trial(study_id, template)

    def insert_trial(self, study_id: int, template: FrozenTrial | None, session: Session) -> TrialRow:
        """Insert a trial, in the transaction of a session."""
        return super()._get_prepared_new_trial(study_id, template, session)

    def write(self, writes: Sequence[Write]) -> None:
        """Make writes to trials in one transaction, which may be repeated if its answer was lost."""
        attributes = {(w.trial_id, w.kind, w.key): w for w in writes if w.kind in ATTRIBUTES}
        upserts = _UPSERTS.get(self.engine.name)
        with _create_scoped_session(self.scoped_session, True) as session:
            connection = session.connection()
            for trial_id in dict.fromkeys(w.trial_id for w in writes):
                self.check_trial_is_updatable(
                    trial_id, connection.execute(_STATE, {"trial": trial_id}).scalar_one()
                )
            for kind, insert in _INSERTS.items():
                rows = [_row(w) for w in writes if w.kind == kind]
                if rows:
                    connection.execute(insert, rows)
            for kind, model in ATTRIBUTES.items():
                chosen = [w for w in attributes.values() if w.kind == kind]
                if chosen and upserts is not None:
                    connection.execute(upserts[kind], [_row(w) for w in chosen])
                    continue
                for w in chosen:
                    self._set_trial_attr_without_commit(session, model, w.trial_id, str(w.key), w.value)

    def trials_after(self, study_id: int, trial_id: int) -> list[FrozenTrial]:
        """Return the trials of a study whose id is greater, in order."""
        return self._get_trials(study_id, None, set(), trial_id)

    def trial_in(self, row: TrialRow) -> FrozenTrial:
        """Read a trial from its row."""
        return self._build_frozen_trial_from_trial_model(row)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        return self.create_trial(study_id, template_trial)

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> TrialRow:
        return self.insert_trial(study_id, template_trial, session)


def _row(write: Write) -> dict[str, Any]:
    """Return a write as a row of its table."""
    row: dict[str, Any] = {"trial_id": write.trial_id}
    if write.kind == "param":
        assert write.distribution is not None  # noqa: S101
        told = distribution_to_json(write.distribution)
        return row | {"param_name": write.key, "param_value": write.value, "distribution_json": told}
    if write.kind == "step":
        value, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(write.value)
        return row | {"step": write.key, "intermediate_value": value, "intermediate_value_type": kind}
    return row | {"key": write.key, "value_json": json.dumps(write.value)}


def storage_of(study: Study) -> BaseStorage:
    """Return the storage of a study, through Optuna's cache."""
    return study._storage


def uncached(storage: BaseStorage) -> BaseStorage | None:
    """Return the storage below Optuna's cache; None if there is no cache."""
    below: BaseStorage | None = getattr(storage, "_backend", None)
    return below


def study_id(study: Study) -> int:
    """Return the id of a study in its storage."""
    return study._study_id


def trial_id(trial: Trial | FrozenTrial) -> int:
    """Return the id of a trial in its storage, which is not its number."""
    return trial._trial_id


def system_attributes(study: Study) -> dict[str, Any]:
    """Return the system attributes of a study."""
    return storage_of(study).get_study_system_attrs(study_id(study))


def set_system_attribute(study: Study, key: str, value: Any) -> None:
    """Write a system attribute of a study."""
    storage_of(study).set_study_system_attr(study_id(study), key, value)


def seen_as(study: Study, trials: Callable[[Container[TrialState] | None], list[FrozenTrial]]) -> Study:
    """Return a view of a study that has other trials, for a sampler to read.

    Args:
        study: Everything else is its own.
        trials: Gets the states that are asked for, or None for all, and returns the trials in order.
    """
    view = copy.copy(study)

    def seen(
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,  # noqa: ARG001
    ) -> list[FrozenTrial]:
        return copy.deepcopy(trials(states)) if deepcopy else trials(states)

    view._get_trials = seen  # type: ignore[method-assign]
    view.get_trials = seen  # type: ignore[method-assign]
    return view


def num_good(num_trials: int) -> int:
    """Return how many of ``num_trials`` trials TPE learns from as good ones."""
    return default_gamma(num_trials)


class SobolPoint(QMCSampler):
    """Optuna's sampler of scrambled Sobol points, of which a trial takes that of its own place, whenever it is asked.

    Optuna takes the next one, by a count in the database.

    Args:
        place: Of the trial in its study.
        space: Whose points they are.
        seed: Of the scrambling, the same for all trials.
    """

    def __init__(self, place: int, *, space: dict[str, BaseDistribution], seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(scramble=True, seed=seed)
        self._place = place
        self._space = space

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """Return the space, which Optuna takes from the first trial, were it a recipe."""
        return self._space

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:  # noqa: ARG002
        return self._place

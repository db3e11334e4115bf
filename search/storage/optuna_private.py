"""Everything of Optuna that is private and used here: each part has one name, and a test that says what it is for.

Optuna may change these parts in any version. Hence ``pyproject.toml`` allows only versions that were tried.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from optuna.distributions import BaseDistribution, distribution_to_json
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


ATTRIBUTE_ROWS = {"user": TrialUserAttributeModel, "system": TrialSystemAttributeModel}
UPSERTS: dict[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


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
        attributes = {(w.trial_id, w.kind, w.key): w for w in writes if w.kind in ATTRIBUTE_ROWS}
        with _create_scoped_session(self.scoped_session, True) as session:
            for number in dict.fromkeys(w.trial_id for w in writes):
                row = TrialModel.find_or_raise_by_id(number, session)
                self.check_trial_is_updatable(number, cast(TrialState, row.state))
            for w in writes:
                if w.kind == "param":
                    assert w.distribution is not None  # noqa: S101
                    session.add(
                        TrialParamModel(
                            trial_id=w.trial_id,
                            param_name=w.key,
                            param_value=w.value,
                            distribution_json=distribution_to_json(w.distribution),
                        )
                    )
                elif w.kind == "step":
                    value, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(w.value)
                    session.add(
                        TrialIntermediateValueModel(
                            trial_id=w.trial_id,
                            step=w.key,
                            intermediate_value=value,
                            intermediate_value_type=kind,
                        )
                    )
            for name, table in ATTRIBUTE_ROWS.items():
                self._write_attributes(session, table, [w for w in attributes.values() if w.kind == name])

    def _write_attributes(self, session: Session, table: Any, writes: Sequence[Write]) -> None:
        insert = UPSERTS.get(self.engine.name)
        if insert is None:
            for w in writes:
                self._set_trial_attr_without_commit(session, table, w.trial_id, str(w.key), w.value)
        elif writes:
            rows = [{"trial_id": w.trial_id, "key": w.key, "value_json": json.dumps(w.value)} for w in writes]
            made = insert(table).values(rows)
            same = [table.trial_id, table.key]
            session.execute(
                made.on_conflict_do_update(index_elements=same, set_={"value_json": made.excluded.value_json})
            )

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


def filtered(study: Study, keep: Callable[[FrozenTrial], bool]) -> Study:
    """Return a view of a study that has only some of its trials, for a sampler to read."""
    view = copy.copy(study)

    def kept(
        deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = study._get_trials(deepcopy=deepcopy, states=states, use_cache=use_cache)
        return [trial for trial in trials if keep(trial)]

    view._get_trials = kept  # type: ignore[method-assign]
    view.get_trials = lambda deepcopy=True, states=None: kept(deepcopy, states)  # type: ignore[method-assign]
    return view

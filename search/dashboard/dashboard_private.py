"""Everything of optuna-dashboard that is private and used here: each part has one name, and a test that says what it is for.

optuna-dashboard may change these parts in any version. Hence ``pyproject.toml`` allows only versions that were tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.study import Study, StudyDirection
    from optuna.trial import FrozenTrial

    Front = Callable[[Sequence[FrozenTrial], Sequence[StudyDirection]], list[FrozenTrial]]

STUDY_FILES = "artifacts:"
"""How the system attributes of a study begin that tell of its files."""


def trial_files(trial: FrozenTrial) -> str:
    """Return how the system attributes of a study begin that tell of the files of a trial that has ended."""
    from search.storage import optuna_private

    return f"dashboard:artifacts:{optuna_private.trial_id(trial)}:"


def objective_names_key() -> str:
    """Return the system attribute of a study that names its objectives."""
    from optuna_dashboard._named_objectives import SYSTEM_ATTR_METRIC_NAMES

    key: str = SYSTEM_ATTR_METRIC_NAMES
    return key


def note_in(attributes: dict[str, Any], trial_id: int | None) -> tuple[str, int]:
    """Return text and version of the note on a trial, or on the study itself, from the study's system attributes."""
    from optuna_dashboard._note import get_note_from_system_attrs

    note = get_note_from_system_attrs(attributes, trial_id)
    return note["body"], note["version"]


def save_note(study: Study, trial_id: int | None, text: str, *, version: int) -> None:
    """Write a note; the public ``save_note`` takes no finished trial, and reads all attributes for each note."""
    from optuna_dashboard._note import save_note_with_version

    from search.storage import optuna_private

    storage, number = optuna_private.storage_of(study), optuna_private.study_id(study)
    save_note_with_version(storage, number, trial_id, version, text)


def figures_in(attributes: dict[str, Any]) -> dict[str, str]:
    """Return the plotly figures that a study shows, as JSON by name, from its system attributes."""
    from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

    figures: dict[str, str] = get_plotly_graph_objects(attributes)
    return figures


def front_of(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """Return the best trials of several objectives, constraints left aside."""
    from optuna_dashboard._pareto_front import get_pareto_front_trials

    front: list[FrozenTrial] = get_pareto_front_trials(trials, directions)
    return front


def show_front_by(front: Front) -> None:
    """Let the page find the best trials of several objectives by ``front``."""
    import optuna_dashboard

    optuna_dashboard._app.get_pareto_front_trials = front

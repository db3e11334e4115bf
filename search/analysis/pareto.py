"""Every evaluated checkpoint is a candidate: the Pareto front over epochs, and whether it still grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from optuna.trial import FrozenTrial
from pydantic import Field, WithJsonSchema

from search.study import Count, Figure, Frozen, attributes as attr, results

LEAST_WINDOW = 10
"""Finished trials over which growth is looked at: a quarter of them, and at least so many."""

LITTLE_GROWTH = 0.01
"""Share by which the hypervolume must have grown over them for more trials to be worth their time."""


class Checkpoint(Frozen):
    """A look at a fit under way."""

    trial: Count = Field(description="Number of the trial.")
    epoch: float = Field(description="Age in epochs.")
    validation_accuracy: Figure = Field(description="On the validation split.")
    training_accuracy: Figure = Field(description="In eval mode.")
    exact: bool = Field(
        description="Whether training accuracy is over the whole training split; else it is an estimate on a sample."
    )
    validation_loss: float | None = Field(
        description="Mean cross-entropy in nats; null where it was not recorded."
    )
    seconds: float | None = Field(description="Wall time of the fit so far.")
    num_validation_texts: int | None = Field(
        description="Texts that validation accuracy and loss are over, where a sample was enough; else null: all."
    )
    training_interval: tuple[float, float] | None = Field(
        description="Of an estimate: where the training accuracy of the whole split lies with 95 % confidence (Wilson); else "
        "null."
    )
    restored: bool = Field(
        description="Whether these are the weights that the trial restored, and an export gives."
    )
    feasible: bool = Field(
        description="Whether training accuracy is not above the ceiling; an estimate may err."
    )


class Reference(Frozen):
    """Where the area under a front ends."""

    validation_accuracy: Figure = Field(
        description="What answering always the same gives; 0 where that is unknown."
    )
    training_accuracy: Figure = Field(description="1.")


class Moment(Frozen):
    """The area after a finished trial."""

    finished: Annotated[int, WithJsonSchema({"type": "integer", "minimum": 1})] = Field(
        description="Finished trials by then."
    )
    trial: Count = Field(description="The one that had just ended.")
    hypervolume: Annotated[float, WithJsonSchema({"type": "number", "minimum": 0})] = Field(
        description="The area."
    )


class Growth(Frozen):
    """How the area that the front over checkpoints dominates grew, and what that says about more trials."""

    reference: Reference = Field(description="Where the area ends.")
    history: list[Moment] = Field(description="After each finished trial, in the order in which they ended.")
    window: int = Field(
        description="Finished trials that the outlook goes by: the latest quarter, at least ten."
    )
    growth: float | None = Field(
        description="Share by which the area grew over them; null where it is unknown, or began at nothing."
    )
    pays: bool | None = Field(
        description="Whether that is 1 % or more, so that more trials may still pay; null where it cannot be told yet."
    )
    sentence: str = Field(description="The same in words.")


class Outlook(NamedTuple):
    """Whether more trials would still pay; the same fields of ``Growth``."""

    window: int
    growth: float | None
    pays: bool | None
    sentence: str


def checkpoints(trials: Iterable[FrozenTrial], *, ceiling: float) -> list[Checkpoint]:
    """List the checkpoints of a study that were evaluated in full, by trial and epoch.

    Peeks are left out: they look at a sample, and nothing is ever restored from one. So are trials that were
    cut off and run again. What a complete trial restored has its final figures, in place of an estimate.

    Args:
        trials: All of a study.
        ceiling: What a feasible one's training accuracy does not exceed.
    """
    trials = list(trials)
    repeated = {t.user_attrs[attr.RETRY_OF] for t in trials if attr.RETRY_OF in t.user_attrs}
    rows = []
    for trial in trials:
        if trial.number not in repeated:
            by_epoch = {e["epoch"]: e for e in _evaluations(trial)}
            for epoch in sorted(by_epoch):
                known = by_epoch[epoch]
                feasible = known["training_accuracy"] <= ceiling
                rows.append(
                    Checkpoint.of_stored(
                        {"trial": trial.number, "feasible": feasible, **known}, place=f"trial {trial.number}"
                    )
                )
    return rows


def pareto_front(rows: Iterable[Checkpoint]) -> list[Checkpoint]:
    """Return the checkpoints that no other beats, best validation first; equals all stay.

    Those that were looked at with a sample of the validation texts are left out: of many estimates, the luckiest would win.
    """
    return results.front(_looked_at_in_full(rows), _point)


def hypervolume(points: Iterable[tuple[float, float]], *, floor: float) -> float:
    """Return the area that points dominate: validation accuracy above ``floor``, training accuracy below 1.

    Optuna has the same for any dimension, but only inside (``optuna._hypervolume``) or as a plot of a study
    of several objectives, which this is not. In two dimensions it is a staircase.

    Args:
        points: Validation and training accuracy of each.
        floor: Validation accuracy that is worth nothing.
    """
    area, lowest = 0.0, 1.0
    for validation, training in sorted(points, key=lambda p: (-p[0], p[1])):
        if validation > floor and training < lowest:
            area += (validation - floor) * (lowest - training)
            lowest = training
    return area


def floor_of(data: Mapping[str, Any] | None, metric: str) -> float:
    """Return what a classifier that always answers the same reaches on validation; 0 where that is unknown.

    Args:
        data: The data page; None before the texts were read. 0 where texts may have several labels.
        metric: By which accuracies are measured. By other metrics than accuracy it is one class of them all.
    """
    counts = ((data or {}).get("texts_per_class") or {}).get("validation")
    if (data or {}).get("several_labels"):
        return 0.0  # by most metrics, saying no label or any label reaches next to nothing
    if not counts or not sum(counts):
        return 0.0
    if metric in {"quadratic_kappa", "average_precision"}:
        return 0.0  # so does any class by quadratic kappa, and by average precision as rare a one as there may be
    return float(max(counts) / sum(counts) if metric == "accuracy" else 1 / len(counts))


def growth(trials: Iterable[FrozenTrial], rows: Iterable[Checkpoint], *, floor: float) -> Growth:
    """Tell how the hypervolume of the front over checkpoints grew, and whether more trials would still pay.

    Args:
        trials: All of a study.
        rows: What ``checkpoints`` says of them; those of trials that have not finished do not count, nor do estimates on a
            sample of the validation texts.
        floor: Validation accuracy of the reference point; its training accuracy is 1.
    """
    by_trial: dict[int, list[tuple[float, float]]] = {}
    for row in _looked_at_in_full(rows):
        by_trial.setdefault(row.trial, []).append(_point(row))
    ended = sorted(results.finished(trials), key=lambda t: (t.datetime_complete or datetime.min, t.number))
    best: list[tuple[float, float]] = []
    history = []
    for place, trial in enumerate(ended, start=1):
        best = results.front({*best, *by_trial.get(trial.number, ())}, lambda point: point)
        area = hypervolume(best, floor=floor)
        history.append(Moment(finished=place, trial=trial.number, hypervolume=area))
    reference = Reference(validation_accuracy=floor, training_accuracy=1.0)
    told = outlook([moment.hypervolume for moment in history])
    return Growth(
        reference=reference,
        history=history,
        window=told.window,
        growth=told.growth,
        pays=told.pays,
        sentence=told.sentence,
    )


def outlook(areas: Sequence[float]) -> Outlook:
    """Say whether more trials would still pay, going by the hypervolume after each finished trial.

    The rule: they do if it grew by 1 % or more over the latest quarter of the trials, at least ten; with fewer
    than twenty there is no telling.
    """
    window = max(LEAST_WINDOW, len(areas) // 4)
    if len(areas) < 2 * LEAST_WINDOW:
        sentence = (
            f"Whether more trials would still pay cannot be told before {2 * LEAST_WINDOW} have finished; "
            f"{len(areas)} {'has' if len(areas) == 1 else 'have'}."
        )
        return Outlook(window, None, None, sentence)
    before, now = areas[-1 - window], areas[-1]
    share = (now - before) / before if before else None
    pays = now > 0 if share is None else share >= LITTLE_GROWTH
    grew = "rose from nothing" if share is None and pays else f"grew by {100 * (share or 0.0):.2f} %"
    limit = (
        f"{'at least' if pays else 'less than'} the {100 * LITTLE_GROWTH:g} % that would make them worth it"
    )
    sentence = (
        f"More trials {'may still pay' if pays else 'would hardly pay'}: over the last {window} of {len(areas)} "
        f"finished ones the hypervolume of the Pareto front {grew}"
    )
    sentence += "." if share is None and pays else f", {limit}."
    return Outlook(window, share, pays, sentence)


def _evaluations(trial: FrozenTrial) -> Iterable[dict[str, Any]]:
    """Yield the full evaluations of a trial; what it restored comes last, and again."""
    keys = ("epoch", "validation_accuracy", "training_accuracy", "exact", "validation_loss", "seconds")
    sampled = (
        "num_validation_texts",
        "training_interval",
    )  # unknown to earlier versions, which looked at all texts
    full = {e["epoch"]: e for e in trial.user_attrs.get(attr.EVALUATIONS, ()) if not e["peek"]}
    for evaluation in full.values():
        yield (
            {key: evaluation[key] for key in keys}
            | {key: evaluation.get(key) for key in sampled}
            | {"restored": False}
        )
    if results.complete([trial]) and attr.BEST_EPOCH in trial.user_attrs:
        notes, epoch = trial.user_attrs, trial.user_attrs[attr.BEST_EPOCH]
        known = full.get(epoch, {"validation_loss": None, "seconds": notes.get("seconds")})
        accuracies = {key: notes[key] for key in keys[1:3]}
        yield (
            {key: known.get(key) for key in keys}
            | accuracies
            | {
                "epoch": epoch,
                "exact": notes.get("training_exact", True),
                "num_validation_texts": None,
                "validation_loss": notes.get("validation_loss", known["validation_loss"]),
                "training_interval": notes.get("training_interval"),
                "restored": True,
            }
        )


def _looked_at_in_full(rows: Iterable[Checkpoint]) -> list[Checkpoint]:
    return [row for row in rows if row.num_validation_texts is None]


def _point(row: Checkpoint) -> tuple[float, float]:
    return row.validation_accuracy, row.training_accuracy

"""Every evaluated checkpoint is a candidate: the Pareto front over epochs, and whether it still grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial

from search.study import attributes as attr, results

LEAST_WINDOW = 10
"""Finished trials over which growth is looked at: a quarter of them, and at least so many."""

LITTLE_GROWTH = 0.01
"""Share by which the hypervolume must have grown over them for more trials to be worth their time."""


def checkpoints(trials: Iterable[FrozenTrial], *, ceiling: float) -> list[dict[str, Any]]:
    """List the checkpoints of a study that were evaluated in full, by trial and epoch.

    Peeks are left out: they look at a sample, and nothing is ever restored from one. So are trials that were
    cut off and run again. What a complete trial restored has its final figures, in place of an estimate.

    Args:
        trials: All of a study.
        ceiling: What a feasible one's training accuracy does not exceed.

    Returns:
        Rows of ``trial``, ``epoch``, ``validation_accuracy``, the ``num_validation_texts`` that it is over (null: all),
        ``training_accuracy``, whether that is ``exact``, of an estimate its ``training_interval``, ``validation_loss``
        (null where unknown), ``seconds`` of the fit so far, ``feasible`` (an estimate may
        err) and ``restored``.
    """
    trials = list(trials)
    repeated = {t.user_attrs[attr.RETRY_OF] for t in trials if attr.RETRY_OF in t.user_attrs}
    rows = []
    for trial in trials:
        if trial.number not in repeated:
            by_epoch = {e["epoch"]: e for e in _evaluations(trial)}
            rows += [{"trial": trial.number, **by_epoch[epoch]} for epoch in sorted(by_epoch)]
    for row in rows:
        row["feasible"] = row["training_accuracy"] <= ceiling
    return rows


def pareto_front(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
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
        data: The data page; None before the texts were read.
        metric: By which accuracies are measured. By other metrics than accuracy it is one class of them all.
    """
    counts = ((data or {}).get("texts_per_class") or {}).get("validation")
    if not counts or not sum(counts):
        return 0.0
    return float(max(counts) / sum(counts) if metric == "accuracy" else 1 / len(counts))


def growth(
    trials: Iterable[FrozenTrial], rows: Iterable[Mapping[str, Any]], *, floor: float
) -> dict[str, Any]:
    """Tell how the hypervolume of the front over checkpoints grew, and whether more trials would still pay.

    Args:
        trials: All of a study.
        rows: What ``checkpoints`` says of them; those of trials that have not finished do not count, nor do estimates on a
            sample of the validation texts.
        floor: Validation accuracy of the reference point; its training accuracy is 1.

    Returns:
        ``reference``; ``history``, one entry a finished trial in the order in which they ended: ``finished`` so
        far, ``trial``, ``hypervolume``; and what ``outlook`` says of it.
    """
    by_trial: dict[int, list[tuple[float, float]]] = {}
    for row in _looked_at_in_full(rows):
        by_trial.setdefault(row["trial"], []).append(_point(row))
    ended = sorted(results.finished(trials), key=lambda t: (t.datetime_complete or datetime.min, t.number))
    best: list[tuple[float, float]] = []
    history = []
    for place, trial in enumerate(ended, start=1):
        best = results.front({*best, *by_trial.get(trial.number, ())}, lambda point: point)
        area = hypervolume(best, floor=floor)
        history.append({"finished": place, "trial": trial.number, "hypervolume": area})
    reference = {"validation_accuracy": floor, "training_accuracy": 1.0}
    areas = [entry["hypervolume"] for entry in history]
    return {"reference": reference, "history": history, **outlook(areas)}


def outlook(areas: Sequence[float]) -> dict[str, Any]:
    """Say whether more trials would still pay, going by the hypervolume after each finished trial.

    The rule: they do if it grew by 1 % or more over the latest quarter of the trials, at least ten; with fewer
    than twenty there is no telling.

    Returns:
        ``window``, that many trials; ``growth``, a share, null where it is unknown or began at nothing;
        ``pays``, null where there is no telling; ``sentence``.
    """
    window = max(LEAST_WINDOW, len(areas) // 4)
    if len(areas) < 2 * LEAST_WINDOW:
        sentence = (
            f"Whether more trials would still pay cannot be told before {2 * LEAST_WINDOW} have finished; "
            f"{len(areas)} {'has' if len(areas) == 1 else 'have'}."
        )
        return {"window": window, "growth": None, "pays": None, "sentence": sentence}
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
    return {"window": window, "growth": share, "pays": pays, "sentence": sentence}


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


def _looked_at_in_full(rows: Iterable[Mapping[str, Any]]) -> list[Any]:
    return [row for row in rows if row["num_validation_texts"] is None]


def _point(row: Mapping[str, Any]) -> tuple[float, float]:
    return row["validation_accuracy"], row["training_accuracy"]

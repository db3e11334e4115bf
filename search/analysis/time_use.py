"""Where the time of a search went, and how close its arithmetic came to what the machine can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from search.study import Frozen, attributes as attr

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Account(Frozen):
    """Where the time went."""

    workers: int = Field(description="Of the latest start.")
    peak_flops: float = Field(description="FLOP/s of a large product of matrices on this machine.")
    useful_mfu: float | None = Field(
        description="Operations that fits with trainable layers needed, as a share of what the peak allows in their time."
    )
    utilisation: float = Field(
        description="Operations of all fits, as a share of what the peak allows in the whole wall time."
    )
    seconds: dict[str, float] = Field(description="Of all workers, by what they were spent on.")


def account(attributes: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> Account | None:
    """Account for the time of a search; None where it was not measured, or nodes of a cluster took part.

    Args:
        attributes: User attributes of the study.
        trials: All of it.
    """
    wall, peak = attributes.get(attr.WALL_SECONDS), attributes.get(attr.PEAK_FLOPS)
    if wall is None or peak is None or any(attr.PLACE in t.user_attrs for t in trials):
        return None
    workers = attributes[attr.WORKERS]
    fits = [t.user_attrs for t in trials if attr.FLOPS in t.user_attrs]
    trained = [f for f in fits if f[attr.CONFIG]["freeze_depth"] < attributes[attr.NUM_LAYERS]]

    def total(name: str, of: Sequence[Mapping[str, Any]] = fits) -> float:
        return float(sum(f[name] for f in of))

    seconds = {
        "training": total(attr.TRAINING_SECONDS),
        "evaluation": total(attr.EVALUATION_SECONDS),
        "batching and loading": total(attr.BATCHING_SECONDS),
        "preparation": attributes[attr.PREPARATION_SECONDS] * workers,
    }
    seconds["Python and storage"] = total(attr.SECONDS) - sum(list(seconds.values())[:3])
    seconds["waiting, and trials that failed"] = max(0.0, wall * workers - sum(seconds.values()))
    share = peak / workers
    return Account(
        workers=workers,
        peak_flops=peak,
        useful_mfu=total(attr.FLOPS, trained) / (total(attr.SECONDS, trained) * share) if trained else None,
        utilisation=total(attr.FLOPS) / (wall * peak),
        seconds=seconds,
    )

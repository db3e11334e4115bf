"""Searched settings that cannot change a fit: they cost the sampler trials, and tell nothing."""

from __future__ import annotations

from typing import Any

from search.study.settings import Range
from search.study.spec import StudySpec

ROUNDING = ("cache", "threads")
"""Settings of which a fit depends in its last bits alone."""


def idle_settings(spec: StudySpec, *, num_layers: int | None = None) -> list[str]:
    """Say of each searched setting that cannot change a fit, or some of whose values cannot, why, and what to do.

    Args:
        spec: Of the study.
        num_layers: Of its encoder, where that is known.
    """
    found = [*_patience(spec)]
    for name, setting in spec.fit.items():
        if not isinstance(setting, Range | list):
            continue
        if _lowest(setting) == _highest(setting):
            found.append(
                f"{name} is searched but has one value, {_lowest(setting)}; write it as {name} = {_lowest(setting)!r}"
            )
        elif name in ROUNDING:
            found.append(f"{name} changes no more than the rounding of a fit; fix it")
        elif name == "focal_gamma" and "focal" not in _values(spec.fit.get("loss", "cross_entropy")):
            found.append(
                'focal_gamma cannot change a fit: loss is never "focal"; fix it, or add "focal" to loss'
            )
        elif name == "encoder_dropout" and num_layers is not None and min(spec.depths()) >= num_layers:
            found.append("encoder_dropout cannot change a fit: all layers are frozen in every trial; fix it")
    return found


def _patience(spec: StudySpec) -> list[str]:
    """Patience ends a fit early if that many evaluations without a lower loss leave at least one more undone."""
    setting = spec.fit["patience"]
    epochs, often = (_highest(spec.fit.get(key, default)) for key, default in _DEFAULTS)
    at_start = 0 if {"auto", "fitted"}.isdisjoint(_values(spec.fit.get("head_start", "random"))) else 1
    evaluations = epochs * often + at_start
    useful = evaluations - 2
    if not isinstance(setting, Range | list) or _highest(setting) <= useful:
        return []
    limit = f"at most {useful} can" if useful >= _lowest(setting) else "no value of it can"
    remedy = f"lower its upper end to {useful}" if useful >= _lowest(setting) else "write it as one number"
    return [
        f"patience up to {_highest(setting)} is searched, but with {evaluations} evaluations in the longest fit {limit} end "
        f"one early; {remedy}, or raise epochs or evaluations_per_epoch"
    ]


_DEFAULTS = (("epochs", 20), ("evaluations_per_epoch", 1))


def _values(setting: Any) -> list[Any]:
    return setting if isinstance(setting, list) else [setting]


def _lowest(setting: Any) -> Any:
    return setting.low if isinstance(setting, Range) else _sorted(_values(setting))[0]


def _highest(setting: Any) -> Any:
    return setting.high if isinstance(setting, Range) else _sorted(_values(setting))[-1]


def _sorted(values: list[Any]) -> list[Any]:
    return sorted(values, key=lambda value: (isinstance(value, str), value))

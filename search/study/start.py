"""What a search tries first, after the recipes: the user's own setups, the portfolio, the best of earlier studies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from search.storage import optuna_private
from search.study import attributes as attr
from search.study.earlier import (
    NEAREST,
    Earlier,
    best_of,
    check_encoder,
    check_names,
    distance,
    find_earlier,
    has_ended,
    trials_of,
)
from search.study.portfolio import portfolio_setups
from search.study.space import distributions
from search.study.spec import StudySpec


def look_round(study: optuna.Study, spec: StudySpec, folder: Path) -> list[Earlier]:
    """Find the earlier studies that ``start.like`` may take, before anything is computed; none if it is not asked for.

    Raises:
        InputError: A study that is named is not there.
    """
    like = spec.start.like
    if like is None or _plan(study).get("like", {}).get("asked") == _plain(like):
        return []
    found = find_earlier(study, folder)
    if like != "auto":
        check_names(like, found, folder)
    return found


def choose(
    study: optuna.Study,
    spec: StudySpec,
    earlier: Sequence[Earlier],
    *,
    num_layers: int,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Return the plan of a study: what it takes of the portfolio and of earlier studies, chosen once and then kept.

    Args:
        study: Knows its encoder and its texts by now.
        spec: Says what to start from.
        earlier: What ``look_round`` found.
        num_layers: Of the encoder.
        tell: Gets a line about what was found.

    Raises:
        InputError: A study that is named had another encoder.
    """
    plan, asked = _plan(study), _plain(spec.start.like)
    if spec.start.portfolio and "portfolio" not in plan:
        plan["portfolio"] = portfolio_setups(num_layers=num_layers)
    if asked is not None and plan.get("like", {}).get("asked") != asked:
        plan["like"] = {"asked": asked, **_choose(study, spec, earlier)}
        tell(_likeness(plan["like"]))
    if plan != study.user_attrs.get(attr.PLAN, {}):
        study.set_user_attr(attr.PLAN, plan)
    return plan


def enqueue(study: optuna.Study, spec: StudySpec, plan: Mapping[str, Any]) -> None:
    """Put the setups of a plan, and the user's own, before the search: each once, and none that was tried already."""
    trials = study.get_trials(deepcopy=False)
    known = [
        t.system_attrs.get(optuna_private.FIXED_PARAMS, t.params)
        for t in trials
        if attr.RECIPE not in t.user_attrs
    ]
    for origin, settings in _setups(spec, plan):
        setup = fitted(settings, spec)
        if setup and setup not in known:
            study.enqueue_trial(setup, user_attrs={attr.ORIGIN: origin})
            known.append(setup)


def fitted(settings: Mapping[str, Any], spec: StudySpec) -> dict[str, Any]:
    """Move a setup from elsewhere into a study's space: numbers to the nearest that may be chosen.

    What the space does not search, or has no like of, is left out.
    """
    moved = {
        key: _nearest(settings[key], distribution)
        for key, distribution in distributions(spec).items()
        if settings.get(key) is not None
    }
    return {key: value for key, value in moved.items() if value is not None}


def sentences(study: optuna.Study) -> list[str]:
    """Say which trials did not come from the sampler, and what earlier studies were looked at."""
    trials = study.get_trials(deepcopy=False)
    repeated = {t.user_attrs.get(attr.RETRY_OF) for t in trials}
    places: dict[str, list[int]] = {}
    for trial in trials:
        if attr.ORIGIN in trial.user_attrs and trial.number not in repeated:
            places.setdefault(trial.user_attrs[attr.ORIGIN], []).append(trial.number)
    said = []
    if places:
        parts = [
            f"{_NAMES.get(origin, origin)} (trial{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))})"
            for origin, numbers in places.items()
        ]
        said.append(f"Started from: {', '.join(parts)}.")
    if "like" in _plan(study):
        said.append(f"{_likeness(_plan(study)['like'])}.")
    return said


_NAMES = {"own": "own setups", "portfolio": "the portfolio"}


def _plan(study: optuna.Study) -> dict[str, Any]:
    """Return what was chosen before; of a study without trials nothing, since its file may have changed."""
    if not study.get_trials(deepcopy=False):
        return {}
    return dict(study.user_attrs.get(attr.PLAN, {}))


def _plain(like: Any) -> Any:
    """Return what is asked for as a database gives it back."""
    return list(like) if isinstance(like, tuple) else like


def _setups(spec: StudySpec, plan: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the setups in the order in which they are tried, each with its origin."""
    for own in spec.start.setups:
        yield "own", own
    if spec.start.portfolio:
        for setup in plan["portfolio"]:
            yield "portfolio", setup
    if spec.start.like is not None:
        for found in plan["like"]["studies"]:
            for trial in found["trials"]:
                yield f"trial {trial['trial']} of {found['study']}", trial["settings"]


def _choose(study: optuna.Study, spec: StudySpec, earlier: Sequence[Earlier]) -> dict[str, Any]:
    """Choose earlier studies and their best setups: those that are named, or the nearest that have ended."""
    like, sha256 = spec.start.like, study.user_attrs[attr.ENCODER_SHA256]
    apart = {e.name: distance(study.user_attrs[attr.DATA], e.attributes.get(attr.DATA)) for e in earlier}
    passed_over = []
    if like is None or like == "auto":
        passed_over = [f"{e.name} ({e.trouble})" for e in earlier if e.trouble is not None]
        same = [e for e in earlier if e.attributes.get(attr.ENCODER_SHA256) == sha256]
        candidates, most = sorted(same, key=lambda e: (apart[e.name], e.name)), NEAREST
    else:
        check_encoder(like, earlier, sha256=sha256)
        candidates, most = [e for name in like for e in earlier if e.name == name], len(like)
    studies: list[dict[str, Any]] = []
    for candidate in candidates:
        if len(studies) == most:
            break
        trials = trials_of(candidate, study)
        best = best_of(trials or ())
        if trials is None:
            passed_over.append(f"{candidate.name} (cannot be read now)")
        elif like == "auto" and not has_ended(trials):
            passed_over.append(f"{candidate.name} (a trial is under way)")
        elif not best:
            passed_over.append(f"{candidate.name} (no trial of its search under the ceiling)")
        else:
            far = apart[candidate.name]
            taken = [{"trial": t.number, "settings": _settings(t, spec)} for t in best]
            entry = {"study": candidate.name, "distance": far if math.isfinite(far) else None}
            studies.append({**entry, "trials": taken})
    return {"studies": studies, "passed_over": passed_over}


def _settings(trial: FrozenTrial, spec: StudySpec) -> dict[str, Any]:
    """Return what ran in a trial of an earlier study, as far as the space of this one has a place for it."""
    ran = {**trial.user_attrs.get(attr.CONFIG, {}), **trial.params}
    return fitted(ran, spec)


def _likeness(like: Mapping[str, Any]) -> str:
    """Say which earlier studies were taken, and how unlike their texts are."""
    taken = []
    for found in like["studies"]:
        far = found["distance"]
        taken.append(f"{found['study']} ({'unknown' if far is None else f'{far:.2g}'})")
    said = "No earlier study to start from was found"
    if taken:
        said = f"Earlier studies taken, each with the distance of its texts: {', '.join(taken)}"
    return f"{said}; passed over: {', '.join(like['passed_over'])}" if like["passed_over"] else said


def _nearest(value: Any, distribution: BaseDistribution) -> Any:
    """Return what a distribution may give that is nearest to a value; None if nothing is like it."""
    if isinstance(distribution, CategoricalDistribution):
        if _is_number(value):
            numbers = [c for c in distribution.choices if _is_number(c)]
            return min(numbers, key=lambda c: (_apart(c, value), c), default=None)
        return next((c for c in distribution.choices if type(c) is type(value) and c == value), None)
    if not _is_number(value):
        return None
    assert isinstance(distribution, IntDistribution | FloatDistribution)  # noqa: S101
    moved = min(max(value, distribution.low), distribution.high)
    return round(moved) if isinstance(distribution, IntDistribution) else float(moved)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _apart(one: float, other: float) -> float:
    """Return how far two numbers are apart: above zero as a ratio, as of rates and widths."""
    return abs(math.log(one / other)) if one > 0 and other > 0 else abs(one - other)

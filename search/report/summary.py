"""All that a report says about a study, in one place."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from statistics import stdev
from typing import TYPE_CHECKING, Any

from search.analysis import DataPage, Limits, account, judge, shortfall
from search.study import RECIPES, Recipe, attributes as attr, processor_name, rate

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.report.models import NodeRow, RecipeRow, Summary, TrialRow, TrialWithConfig
    from search.study import StudySpec

NOTED = (
    *("recipe", "start", "retry_of", "reason", "validation_accuracy", "training_accuracy", "training_exact"),
    *("num_validation_texts", "training_interval", "gap", "best_epoch", "epochs", "seconds", "tokens"),
)
LITTLE_WAY = 0.02
"""A weight that is carried so far by training has hardly moved: Glorot's first weights of a head reach to about 0.1."""

VERSIONS = ("frostline", "optuna", "torch", "transformers", "datasets", "scikit-learn")


def summarise(study: Study, spec: StudySpec) -> Summary:
    """Collect all that a report says about a study; what ``report.json`` holds."""
    from search.analysis import (
        checkpoints,
        compare_with_majority,
        compare_with_opponents,
        confirmation_of,
        floor_of,
        group_effect,
        growth,
        importances,
        pareto_front,
        price_of_ceiling,
        why_flat,
        winner_of,
    )
    from search.report.models import Cost, Encoder, Machine, Summary
    from search.study import count, idle_settings, results, sentences

    trials = study.get_trials(deepcopy=False)
    complete = [trial_row(t) for t in results.complete(trials)]
    limits = Limits(validation_accuracy=spec.goal.validation_accuracy, training_accuracy=spec.score.ceiling)
    confirmation = confirmation_of(study)
    best = results.best_feasible(trials)
    nearest = min(complete, key=lambda r: sum(max(0.0, m) for m in shortfall(r, limits)), default=None)
    rows = [trial_row(t) for t in trials]
    attributes = study.user_attrs
    data = attributes.get(attr.DATA)
    evaluated = checkpoints(trials, ceiling=spec.score.ceiling)
    floor, effect = floor_of(data, spec.score.metric), group_effect(trials)
    return Summary(
        study=spec.name,
        seed=spec.seed,
        metric=spec.score.metric,
        goal=judge(complete, confirmation, limits),
        best=_with_config(best) if best else None,
        nearest=_with_config(trials[nearest.number]) if nearest else None,
        pareto=[trial_row(t) for t in results.pareto_front(trials)],
        checkpoints=evaluated,
        checkpoint_front=pareto_front(evaluated),
        hypervolume=growth(trials, evaluated, floor=floor),
        ceiling=price_of_ceiling(
            evaluated, ceiling=spec.score.ceiling, metric=spec.score.metric, data=data, effect=effect
        ),
        importances=importances(trials),
        idle_settings=list(idle_settings(spec, num_layers=attributes.get(attr.NUM_LAYERS))),
        start=list(sentences(study)),
        flat=why_flat(study),
        opponents=compare_with_opponents(study, winner_of(study), metric=spec.score.metric),
        majority=compare_with_majority(study, winner_of(study), metric=spec.score.metric),
        **({} if effect is None else {"group_effect": effect}),
        recipes=_recipes(study, trials, floor=floor, effect=effect),
        confirmation=confirmation,
        counts=count(trials),
        cost=Cost(
            wall_seconds=attributes.get(attr.WALL_SECONDS),
            cache_bytes=attributes.get(attr.CACHE_BYTES),
            trial_seconds=sum(r.seconds or 0.0 for r in rows),
            tokens=sum(r.tokens or 0 for r in rows),
            account=account(attributes, trials),
        ),
        **_nodes(trials),
        encoder=Encoder(
            name=spec.encoder.name,
            revision=attributes.get(attr.ENCODER_REVISION),
            sha256=attributes.get(attr.ENCODER_SHA256),
        ),
        data=None if data is None else DataPage.of_stored(data, place="the data page"),
        spec=spec.model_dump(mode="json", exclude={"cache"}),
        machine=Machine(system=platform.platform(), processor=processor_name(), cores=os.cpu_count()),
        versions={"python": platform.python_version()} | {name: version(name) for name in VERSIONS},
        trials=rows,
    )


def _nodes(trials: Sequence[FrozenTrial]) -> dict[str, list[NodeRow]]:
    """Return the key that says where trials were fitted in a cluster; none if none was."""
    from search.report.models import NodeRow
    from search.study import Ending, reason_of

    rows: dict[tuple[str, ...], NodeRow] = {}
    for trial in trials:
        place = trial.user_attrs.get(attr.PLACE)
        if place is None:
            continue
        reason = reason_of(trial)
        key = (place["node"], place["device"], place["processor"])
        row = rows.get(key) or NodeRow(**place, trials=0, lost=0, seconds=0.0)
        rows[key] = row.model_copy(
            update={
                "trials": row.trials + 1,
                "lost": row.lost + (reason is not None and reason.ending is Ending.NODE_LOST),
                "seconds": row.seconds + trial.user_attrs.get(attr.SECONDS, 0.0),
            }
        )
    return {"nodes": [rows[key] for key in sorted(rows)]} if rows else {}


def trial_row(trial: FrozenTrial) -> TrialRow:
    """Return what a report says of a trial."""
    from search.report.models import TrialRow

    return TrialRow.of_stored(_told(trial), place=f"trial {trial.number}")


def _with_config(trial: FrozenTrial) -> TrialWithConfig:
    from search.report.models import TrialWithConfig

    told = _told(trial) | {"config": trial.user_attrs.get(attr.CONFIG)}
    return TrialWithConfig.of_stored(told, place=f"trial {trial.number}")


def _told(trial: FrozenTrial) -> dict[str, Any]:
    from search.study import SEARCHED, results

    # A recipe's own settings win over what was suggested: the configuration says what ran.
    chosen = trial.user_attrs.get(attr.CONFIG, trial.params)
    known, kind = results.notes(trial), results.training_kind(trial)
    knows = trial.constraints and kind != "not measured"
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "feasible": results.is_feasible(trial) if knows else None,
        "value": trial.value,
        "settings": {k: chosen.get(k) for k in dict.fromkeys((*SEARCHED, *trial.params))},
        **{k: known.get(k) for k in NOTED},
        **{key: known[key] for key in (attr.ON_SCALE, attr.LABEL_F1) if key in known},
        # Who wrote a name there is not to be trusted with more than a word.
        attr.RETRY_OF: known.get(attr.RETRY_OF) if isinstance(known.get(attr.RETRY_OF), int) else None,
        "training_kind": kind,
        **_folds(trial),
    }


def _folds(trial: FrozenTrial) -> dict[str, Any]:
    reached = [fold["validation_accuracy"] for fold in trial.user_attrs.get(attr.FOLDS, ())]
    if not reached:
        return {}
    error = stdev(reached) / math.sqrt(len(reached)) if len(reached) > 1 else None
    return {"folds": {"done": len(reached), "validation_error": error, "validation_accuracies": reached}}


def _recipes(
    study: Study, trials: list[FrozenTrial], *, floor: float, effect: float | None
) -> list[RecipeRow]:
    from search.report.models import RecipeRow, Reported
    from search.study import results

    present = {t.user_attrs[attr.RECIPE]: t for t in trials if attr.RECIPE in t.user_attrs}
    present |= results.recipe_trials(study)
    entries = []
    for name, recipe in RECIPES.items():
        trial = present.get(name)
        entries.append(
            RecipeRow(
                recipe=name,
                story=recipe.story,
                reported=Reported(
                    training_accuracy=recipe.reported_training, validation_accuracy=recipe.reported_validation
                ),
                capped_at=_cap(trial, recipe) if trial else None,
                stages=trial.user_attrs.get(attr.STAGES, []) if trial else [],
                at_chance=_at_chance(trial, study.user_attrs.get(attr.DATA), floor, effect)
                if trial
                else None,
                trial=trial_row(trial) if trial else None,
            )
        )
    return entries


def _at_chance(
    trial: FrozenTrial, data: Mapping[str, Any] | None, floor: float, effect: float | None
) -> str | None:
    """Say that a recipe ended at chance, if it did, and how far its steps can carry a weight, if that is little.

    AdamW moves a weight by about the rate in a step. Of a fit in two stages nothing is said.
    """
    notes, steps = trial.user_attrs, 0
    reached, config = notes.get("validation_accuracy"), notes.get("config", {})
    if reached is None or not data or not floor or "thaw" in config or trial.state.name != "COMPLETE":
        return None
    if reached > floor + 2 * math.sqrt((effect or 1) * floor * (1 - floor) / data["validation"]):
        return None
    steps = round(notes["epochs"] * math.ceil(data["train"] / config.get("batch_size", 32)))
    speed = config["learning_rate"] * config.get("head_learning_rate_ratio", 1.0)
    if not 0 < steps * speed < LITTLE_WAY:
        return "at chance"
    return f"at chance: {steps:,} steps at a rate of {rate(speed)} move a weight by some {steps * speed:.2g}, which is little"


def _cap(trial: FrozenTrial, recipe: Recipe) -> int | None:
    """Return the epochs that a recipe's trial was allowed, its last stage's of two, if fewer than its own."""
    ran: dict[str, Any] = trial.user_attrs.get(attr.CONFIG, {})
    own = recipe.settings.get("thaw", recipe.settings) if "thaw" in ran else recipe.settings
    epochs: int | None = ran.get("thaw", ran).get("epochs")
    return epochs if epochs and epochs < own["epochs"] else None

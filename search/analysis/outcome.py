"""What became of a study's finalists, as it is stored; outcomes of earlier versions are read as well."""

from __future__ import annotations

from typing import Any

from optuna.study import Study

from search.analysis.confirmed import FreshFit, Outcome
from search.analysis.luck import flattery
from search.storage import optuna_private
from search.study import attributes as attr

CONFIRMATION = attr.CONFIRMATION
"""System attribute of a study: what became of its finalists. A user attribute would fill the dashboard's page."""


def confirmation_of(study: Study) -> Outcome | None:
    """Return what ``search.confirm.judgement.outcome`` said of a study when it was last confirmed; None if never."""
    found: dict[str, Any] | None = optuna_private.system_attributes(study).get(CONFIRMATION)
    return Outcome.of_stored(_completed(found, study.user_attrs), place="the confirmation") if found else None


def _completed(found: dict[str, Any], attributes: dict[str, Any]) -> dict[str, Any]:
    """Add to the outcome of version 0.1.0 what is said today: there, one fit of each finalist was tested.

    Its comparisons are of single fits, by McNemar's test, and could hold a pair twice, the second time turned round.
    """
    found = {"words": None, **found}
    if "versions" in found:
        return found
    texts = (attributes.get(attr.DATA) or {}).get("texts_per_class")
    metric = attributes.get(attr.SPEC, {}).get("score", {}).get("metric", "accuracy")
    finalists = []
    for row in found["finalists"]:
        test = row["test"] and row["test"] | {"spread": None, "num_fits": 1}
        fits = [
            FreshFit.model_validate(
                {**fit, "test_accuracy": test["accuracy"] if test and test["seed"] == fit["seed"] else None}
            )
            for fit in row["fits"]
        ]
        searched = row["search"] and row["search"]["validation_accuracy"]
        more = {"test": test, "fits": fits}
        finalists.append(row | more | {"flattery": flattery(searched, fits, metric=metric, texts=texts)})
    pairs: dict[frozenset[str], dict[str, Any]] = {}
    for pair in found["comparisons"]:
        pairs.setdefault(
            frozenset((pair["first"], pair["second"])), pair | {"test": "mcnemar", "num_seeds": 1}
        )
    return found | {
        "finalists": finalists,
        "comparisons": list(pairs.values()),
        "versions": None,
        "processors": [],
    }

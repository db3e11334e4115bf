"""Who is confirmed, and what the fits on fresh seeds and the test split say of them. Nothing is fitted here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, TypedDict

import numpy as np
import optuna

from search.analysis import (
    CONFIDENCE,
    WORDS_ALONE,
    Classes,
    Paired,
    accuracy_of,
    compare,
    estimate,
    flattery,
    holm,
)
from search.study import (
    OPPONENTS,
    Score,
    StudySpec,
    attributes as attr,
    begun_data,
    complete,
    finished,
    is_feasible,
    pareto_front,
    recipe_settings,
    recipe_trials,
)
from trainers.config import Metric, TrainConfig
from trainers.errors import InputError

SHOWN = (
    *("seed", "state", "reason", "validation_accuracy", "training_accuracy", "test_accuracy"),
    *("seconds", "best_epoch"),
)
"""What the outcome says of each fit; null is what a failed one does not have."""

BASELINE = "frozen-head"
"""The recipe that every finalist is compared with."""

RULE = (
    "the highest mean score on fresh seeds (validation - penalty x excess over the ceiling) among the setups that "
    "stay under the ceiling with most of them; the test split has no say"
)


class _How(TypedDict):
    metric: Metric
    num_classes: int


@dataclass(frozen=True)
class Finalist:
    """A setup that is fitted again.

    Attributes:
        name: ``trial 24``, or a recipe's.
        trial: Its number in the search; None for a recipe that did not run there.
        recipe: Its name, if it is one.
        config: Its configuration; the seed is the search's.
        search: ``validation_accuracy`` and ``training_accuracy`` in the search; None if it did not run there.
        seconds: That its fit took there.
    """

    name: str
    trial: int | None
    recipe: str | None
    config: TrainConfig
    search: dict[str, float] | None
    seconds: float

    @property
    def trains_less(self) -> int:
        """Decides between setups of equal scores: the more is frozen, the better."""
        return self.config.freeze_depth


def choose_finalists(study: optuna.Study, spec: StudySpec, *, num_finalists: int) -> list[Finalist]:
    """Return the Pareto-best feasible setups of the search, best validation first, and then the recipes.

    The recipes are those that the study runs or has run; they do not count against ``num_finalists``.

    Raises:
        InputError: No complete trial of the search is feasible, so there is nothing to confirm.
    """
    trials = finished(study.get_trials(deepcopy=False))
    searched = [t for t in trials if attr.RECIPE not in t.user_attrs and is_feasible(t)]
    best = pareto_front(searched)[:num_finalists]
    if not best:
        raise InputError(
            f"study {study.study_name!r} must have a complete trial under the ceiling before it can be confirmed, "
            f"got none of {len(complete(trials))} complete ones; search on: python -m search.run"
        )
    data = begun_data(study, spec)
    ran = {name: t for name, t in recipe_trials(study).items() if t in complete(trials)}

    def of(trial: optuna.trial.FrozenTrial) -> Finalist:
        notes = trial.user_attrs
        recipe = notes.get(attr.RECIPE)
        return Finalist(
            name=recipe or f"trial {trial.number}",
            trial=trial.number,
            recipe=recipe,
            config=TrainConfig.model_validate({**notes[attr.CONFIG], "data": data}),
            search={k: notes[k] for k in (attr.VALIDATION_ACCURACY, attr.TRAINING_ACCURACY)},
            seconds=notes[attr.SECONDS],
        )

    finalists = [of(t) for t in best]
    for name in dict.fromkeys((*spec.recipes.enqueue, *ran)):
        if name in ran:
            finalists.append(of(ran[name]))
        else:
            settings = recipe_settings(name, spec, num_layers=study.user_attrs[attr.NUM_LAYERS])
            config = spec.train_config(settings, seed=spec.seed).model_copy(update={"data": data})
            finalists.append(Finalist(name, None, name, config, None, 0.0))
    return finalists


def fresh_seeds(study_seed: int, count: int) -> list[int]:
    """Derive seeds that no trial of the study has."""
    return [
        int(np.random.SeedSequence([study_seed, i], spawn_key=(1,)).generate_state(1)[0])
        for i in range(count)
    ]


def outcome(
    finalists: Sequence[Finalist],
    fits: Mapping[str, Sequence[dict[str, Any]]],
    labels_N: Classes,
    *,
    validation_N: Classes,
    rule: Score,
    num_classes: int,
    after: int,
    versions: dict[str, str],
    words_N: Classes | None = None,
) -> dict[str, Any]:
    """Judge the finalists.

    Args:
        finalists: All of them.
        fits: By name, a record for each fresh seed: ``seed``, ``state`` (complete or failed), ``reason``, and of
            a complete one ``validation_accuracy``, ``training_accuracy``, ``seconds``, ``best_epoch``,
            ``test_predictions``, ``processor``.
        labels_N: Of the test split.
        validation_N: Of the validation split; how many texts each class has says how sure its figures are.
        rule: The study's score.
        num_classes: C.
        after: Finished trials that the finalists were chosen from.
        versions: Of the software that made the fits.
        words_N: What the words alone take the test texts for; None if nobody asked them.

    Returns:
        rule, seeds, after, num_test: How the winner is chosen, and from what.
        versions, processors: What made the fits.
        winner: Its name; null if no setup stays under the ceiling with most seeds.
        finalists: The best first: ``name``, ``trial``, ``recipe``, ``config``; ``search``, its two accuracies
            there, or null; ``fits``, as listed in ``SHOWN``; ``validation`` and ``training``, ``mean`` and ``spread``
            (sample standard deviation) over the complete fits, null where there are too few;
            ``share_under_ceiling`` of all fits; ``score``, the mean; ``optimism``, the search's validation accuracy
            minus the mean; ``flattery``, see ``search.analysis.luck``; ``test``: ``accuracy``, the mean over the complete
            fits, ``spread``, ``num_fits``, ``low``, ``high``, ``confidence``, and the ``seed`` of the first of them.
            Null if every fit failed.
        words: What the words alone reach on the test split: ``accuracy``, ``low``, ``high``; null if nobody asked them.
        comparisons: Unordered pairs on the test split, by the seeds that both completed: ``first``, ``second``,
            ``difference`` (first - second), ``low``, ``high``, ``only_first_right``, ``only_second_right``,
            ``num_seeds``, ``test`` (permutation), ``p``, ``p_holm``.
    """
    how = _How(metric=rule.metric, num_classes=num_classes)
    texts = {
        name: np.bincount(labels, minlength=num_classes).tolist()
        for name, labels in (("validation", validation_N), ("test", labels_N))
    }
    rows: list[dict[str, Any]] = []
    tested: dict[str, dict[int, Classes]] = {}
    for finalist in finalists:
        records = fits[finalist.name]
        own = {
            record["seed"]: np.array(record["test_predictions"], dtype=np.int64)
            for record in records
            if record["state"] == "complete"
        }
        tests = {seed: accuracy_of(labels_N, predicted_N, **how) for seed, predicted_N in own.items()}
        row = _row(finalist, [r | {"test_accuracy": tests.get(r["seed"])} for r in records], rule, texts)
        if own:
            test = estimate(labels_N, np.stack(list(own.values())), **how)
            row["test"] = {
                "accuracy": test.value,
                "spread": _spread(list(tests.values()))["spread"],
                "num_fits": len(own),
                "low": test.low,
                "high": test.high,
                "confidence": CONFIDENCE,
                "seed": next(iter(own)),
            }
        rows.append(row)
        tested[finalist.name] = own
    depth = {finalist.name: finalist.trains_less for finalist in finalists}
    rows.sort(key=lambda row: (_is_eligible(row), row["score"] or 0.0, depth[row["name"]]), reverse=True)
    names = [row["name"] for row in rows]
    compared: dict[tuple[str, str], tuple[Paired, int]] = {}
    for pair in pairs_of(names):
        seeds = [seed for seed in tested[pair[0]] if seed in tested[pair[1]]]
        if seeds:
            first_SN, second_SN = (np.stack([tested[name][seed] for seed in seeds]) for name in pair)
            compared[pair] = compare(labels_N, first_SN, second_SN, **how), len(seeds)
    if words_N is not None and tested[names[0]]:
        first_SN = np.stack(list(tested[names[0]].values()))
        same_SN = np.broadcast_to(words_N, first_SN.shape)
        compared[names[0], WORDS_ALONE] = compare(labels_N, first_SN, same_SN, **how), len(first_SN)
    corrected = holm([result.p for result, _ in compared.values()])
    return {
        "rule": RULE,
        "seeds": [record["seed"] for record in fits[names[0]]],
        "after": after,
        "num_test": len(labels_N),
        "versions": versions,
        "processors": sorted(
            {r["processor"] for records in fits.values() for r in records if "processor" in r}
        ),
        "winner": names[0] if _is_eligible(rows[0]) else None,
        "finalists": rows,
        "words": None if words_N is None else _words(labels_N, words_N, how),
        "comparisons": [
            _comparison(pair, result, num_seeds, p_holm)
            for (pair, (result, num_seeds)), p_holm in zip(compared.items(), corrected, strict=True)
        ],
    }


def _words(labels_N: Classes, words_N: Classes, how: _How) -> dict[str, Any]:
    test = estimate(labels_N, words_N[None], **how)
    return {"accuracy": test.value, "low": test.low, "high": test.high}


def pairs_of(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return who is compared, no pair twice.

    That is each finalist with the baseline, and the first with the second and with what people would do without a search.

    Args:
        names: Of the finalists, the best first.
    """
    pairs = [(name, BASELINE) for name in names if name != BASELINE and BASELINE in names]
    rivals = [*names[1:2], *(name for name in OPPONENTS if name in names[1:])]
    pairs += [(names[0], name) for name in rivals if BASELINE not in (name, names[0])]
    return list(dict.fromkeys(pairs))


def _row(
    finalist: Finalist, fits: Sequence[dict[str, Any]], rule: Score, texts: dict[str, list[int]]
) -> dict[str, Any]:
    ended = [fit for fit in fits if fit["state"] == "complete"]
    validation = _spread([fit["validation_accuracy"] for fit in ended])
    training = [fit["training_accuracy"] for fit in ended]
    scores = [
        fit["validation_accuracy"] - rule.penalty * max(0.0, fit["training_accuracy"] - rule.ceiling)
        for fit in ended
    ]
    promised = None if finalist.search is None else finalist.search["validation_accuracy"]
    shown = [{k: fit.get(k) for k in SHOWN} for fit in fits]
    luck = flattery(promised, shown, metric=rule.metric, texts=texts)
    return {
        "name": finalist.name,
        "trial": finalist.trial,
        "recipe": finalist.recipe,
        "config": finalist.config.model_dump(mode="json", exclude_none=True),
        "search": finalist.search,
        "fits": shown,
        "validation": validation,
        "training": _spread(training),
        "share_under_ceiling": sum(accuracy <= rule.ceiling for accuracy in training) / len(fits),
        "score": fmean(scores) if scores else None,
        "optimism": luck["search_above_fresh"] and luck["search_above_fresh"]["value"],
        "flattery": luck,
        "test": None,
    }


def _is_eligible(row: dict[str, Any]) -> bool:
    return bool(row["share_under_ceiling"] > 0.5)


def _spread(figures: Sequence[float]) -> dict[str, float | None]:
    return {
        "mean": fmean(figures) if figures else None,
        "spread": stdev(figures) if len(figures) > 1 else None,
    }


def _comparison(pair: tuple[str, str], result: Paired, num_seeds: int, p_holm: float) -> dict[str, Any]:
    return {
        "first": pair[0],
        "second": pair[1],
        "difference": result.difference.value,
        "low": result.difference.low,
        "high": result.difference.high,
        "only_first_right": result.only_first_right,
        "only_second_right": result.only_second_right,
        "num_seeds": num_seeds,
        "test": "permutation",
        "p": result.p,
        "p_holm": p_holm,
    }

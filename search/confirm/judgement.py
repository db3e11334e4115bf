"""What the fits on fresh seeds and the test split say of the finalists. Nothing is fitted here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, TypedDict

import numpy as np

from search.analysis import (
    CONFIDENCE,
    WORDS_ALONE,
    Calibrated,
    Classes,
    Comparison,
    ConfirmedFinalist,
    FreshFit,
    Outcome,
    OverSeeds,
    Paired,
    Predicted,
    ScaleFigures,
    TestSplitFigures,
    WordsTested,
    accuracy_of,
    compare,
    estimate,
    flattery,
    holm,
)
from search.confirm.finalists import Finalist
from search.study import OPPONENTS, Score
from trainers.config import Metric

Record = Mapping[str, Any]
"""What is kept of a fit; one that failed has no figures."""

Predictions = Mapping[int, Predicted]
"""Of the test split, by the seed of the fit."""

BASELINE = "frozen-head"
"""The recipe that every finalist is compared with."""

RULE = (
    "the highest mean score on fresh seeds (validation - penalty x excess over the ceiling) among the setups that "
    "stay under the ceiling with most of them; the test split has no say"
)


class _How(TypedDict):
    metric: Metric
    num_classes: int
    groups_N: Classes | None


def outcome(
    finalists: Sequence[Finalist],
    fits: Mapping[str, Sequence[Record]],
    labels_N: Classes,
    *,
    validation_N: Classes,
    rule: Score,
    num_classes: int,
    after: int,
    versions: dict[str, str],
    words_N: Predicted | None = None,
    groups_N: Mapping[str, Classes] | None = None,
    ordered: bool = False,
    label_names: Sequence[str] | None = None,
) -> Outcome:
    """Judge the finalists; the best is first.

    Args:
        finalists: All of them.
        fits: By name, a record for each fresh seed: ``seed``, ``state`` (complete or failed), ``reason``, and of
            a complete one ``validation_accuracy``, ``training_accuracy``, ``seconds``, ``best_epoch``,
            ``test_predictions``, ``processor``, and ``calibration`` (``Calibration.plain``), which earlier ones lack.
        labels_N: Of the test split.
        validation_N: Of the validation split; how many texts each class has says how sure its figures are.
        rule: The study's score.
        num_classes: C.
        after: Finished trials that the finalists were chosen from.
        versions: Of the software that made the fits.
        words_N: What the words alone take the test texts for; None if nobody asked them.
        groups_N: Group of each text of ``validation`` and ``test``; None where each text stands for itself.
        ordered: Whether classes are steps of a scale.
        label_names: Of the labels, where a text may have several; else None.
    """
    how = _How(
        metric=rule.metric, num_classes=num_classes, groups_N=None if groups_N is None else groups_N["test"]
    )
    sizes = None
    if groups_N is not None:
        sizes = {name: np.unique(groups, return_counts=True)[1].tolist() for name, groups in groups_N.items()}
    from trainers.data import texts_per_class

    splits = {"validation": validation_N, "test": labels_N}
    texts = {
        name: texts_per_class(labels, num_classes=num_classes).tolist() for name, labels in splits.items()
    }
    totals = {name: len(labels) for name, labels in splits.items()} if labels_N.ndim == 2 else None
    predicted = {finalist.name: _predictions(fits[finalist.name]) for finalist in finalists}
    rows = [
        _row(
            finalist,
            fits[finalist.name],
            _tests(labels_N, predicted[finalist.name], how, ordered=ordered, label_names=label_names),
            rule,
            texts,
            sizes,
            totals,
        )
        for finalist in finalists
    ]
    depth = {finalist.name: finalist.trains_less for finalist in finalists}
    rows.sort(key=lambda row: (_is_eligible(row), row.score or 0.0, depth[row.name]), reverse=True)
    winner = rows[0] if _is_eligible(rows[0]) else None
    more: dict[str, Any] = {} if sizes is None else {"num_test_groups": len(sizes["test"])}
    believed = None if winner is None else _calibration(winner, fits[winner.name])
    if believed is not None:
        more["calibration"] = believed
    return Outcome(
        rule=RULE,
        seeds=[record["seed"] for record in fits[rows[0].name]],
        after=after,
        num_test=len(labels_N),
        versions=versions,
        processors=sorted({r["processor"] for records in fits.values() for r in records if "processor" in r}),
        winner=None if winner is None else winner.name,
        finalists=rows,
        words=None if words_N is None else _words(labels_N, words_N, how),
        comparisons=_comparisons([row.name for row in rows], predicted, labels_N, words_N, how),
        **more,
    )


def _calibration(row: ConfirmedFinalist, records: Sequence[Record]) -> Calibrated | None:
    """Return what the first fit that was tested says of its probabilities, the one that an export gives."""
    kept = [r.get("calibration") for r in records if row.test is not None and r["seed"] == row.test.seed]
    return Calibrated.model_validate(kept[0]) if kept and kept[0] is not None else None


def _predictions(records: Sequence[Record]) -> Predictions:
    return {
        record["seed"]: _as_predicted(np.array(record["test_predictions"], dtype=np.int64))
        for record in records
        if record["state"] == "complete"
    }


def _as_predicted(kept: Classes) -> Predicted:
    """Return classes as they were kept, or the probabilities of several labels."""
    from trainers.fit import from_millionths

    return from_millionths(kept) if kept.ndim == 2 else kept


@dataclass(frozen=True)
class _Tests:
    """The test split's say on a setup: the accuracy of each fit by its seed, and all together."""

    by_seed: Mapping[int, float]
    together: TestSplitFigures | None


def _on_scale(labels_N: Classes, predicted: Predictions, num_classes: int) -> ScaleFigures:
    """Return what all fits come to on a scale, on average."""
    from trainers.fit import on_scale

    found = []
    for answers_N in predicted.values():
        cells = np.bincount(labels_N * num_classes + answers_N, minlength=num_classes**2)
        found.append(on_scale(cells.reshape(num_classes, -1)).plain())
    return ScaleFigures.model_validate({name: fmean(one[name] for one in found) for name in found[0]})


def _label_f1(labels_NC: Classes, predicted: Predictions, names: Sequence[str]) -> dict[str, float | None]:
    """Return the F1 of each label, on average over all fits."""
    from trainers.fit import Answers, label_f1

    found = [
        label_f1(Answers(labels_NC, np.asarray(answers_NC, dtype=np.float64)))
        for answers_NC in predicted.values()
    ]
    columns = [[f1 for f1 in column if f1 is not None] for column in zip(*found, strict=True)]
    return {
        name: fmean(column) if len(column) == len(found) else None
        for name, column in zip(names, columns, strict=True)
    }


def _tests(
    labels_N: Classes, predicted: Predictions, how: _How, *, ordered: bool, label_names: Sequence[str] | None
) -> _Tests:
    if not predicted:
        return _Tests({}, None)
    by_seed = {
        seed: accuracy_of(labels_N, predicted_N, metric=how["metric"], num_classes=how["num_classes"])
        for seed, predicted_N in predicted.items()
    }
    test = estimate(labels_N, np.stack(list(predicted.values())), **how)
    beside = _on_scale(labels_N, predicted, how["num_classes"]) if ordered else None
    together = TestSplitFigures(
        accuracy=test.value,
        spread=_over_seeds(list(by_seed.values())).spread,
        num_fits=len(predicted),
        low=test.low,
        high=test.high,
        confidence=CONFIDENCE,
        seed=next(iter(predicted)),
        **({} if beside is None else {"on_scale": beside}),
        **({} if label_names is None else {"label_f1": _label_f1(labels_N, predicted, label_names)}),
    )
    return _Tests(by_seed, together)


def _row(
    finalist: Finalist,
    records: Sequence[Record],
    tests: _Tests,
    rule: Score,
    texts: dict[str, list[int]],
    group_sizes: dict[str, list[int]] | None,
    totals: dict[str, int] | None,
) -> ConfirmedFinalist:
    fits = [
        FreshFit.model_validate(
            {
                **dict.fromkeys(FreshFit.model_fields),
                **record,
                "test_accuracy": tests.by_seed.get(record["seed"]),
            }
        )
        for record in records
    ]
    ended = [
        (f.validation_accuracy or 0.0, f.training_accuracy or 0.0) for f in fits if f.state == "complete"
    ]
    scores = [validation - rule.penalty * max(0.0, training - rule.ceiling) for validation, training in ended]
    promised = None if finalist.search is None else finalist.search.validation_accuracy
    luck = flattery(promised, fits, metric=rule.metric, texts=texts, group_sizes=group_sizes, totals=totals)
    return ConfirmedFinalist(
        name=finalist.name,
        trial=finalist.trial,
        recipe=finalist.recipe,
        config=finalist.config.model_dump(mode="json", exclude_none=True),
        search=finalist.search,
        fits=fits,
        validation=_over_seeds([validation for validation, _ in ended]),
        training=_over_seeds([training for _, training in ended]),
        share_under_ceiling=sum(training <= rule.ceiling for _, training in ended) / len(fits),
        score=fmean(scores) if scores else None,
        optimism=luck.search_above_fresh.value if luck.search_above_fresh else None,
        flattery=luck,
        test=tests.together,
    )


def _is_eligible(row: ConfirmedFinalist) -> bool:
    return row.share_under_ceiling > 0.5


def _over_seeds(figures: Sequence[float]) -> OverSeeds:
    return OverSeeds(
        mean=fmean(figures) if figures else None, spread=stdev(figures) if len(figures) > 1 else None
    )


def _words(labels_N: Classes, words_N: Predicted, how: _How) -> WordsTested:
    test = estimate(labels_N, words_N[None], **how)
    return WordsTested(accuracy=test.value, low=test.low, high=test.high)


def _comparisons(
    names: Sequence[str],
    predicted: Mapping[str, Predictions],
    labels_N: Classes,
    words_N: Predicted | None,
    how: _How,
) -> list[Comparison]:
    """Compare pairs by the seeds that both completed, and the best setup with the words alone; p is corrected over all."""
    compared: dict[tuple[str, str], tuple[Paired, int]] = {}
    for first, second in pairs_of(names):
        seeds = [seed for seed in predicted[first] if seed in predicted[second]]
        if seeds:
            first_SN, second_SN = (
                np.stack([predicted[name][seed] for seed in seeds]) for name in (first, second)
            )
            compared[first, second] = compare(labels_N, first_SN, second_SN, **how), len(seeds)
    if words_N is not None and predicted[names[0]]:
        first_SN = np.stack(list(predicted[names[0]].values()))
        same_SN = np.broadcast_to(words_N, first_SN.shape)
        compared[names[0], WORDS_ALONE] = compare(labels_N, first_SN, same_SN, **how), len(first_SN)
    corrected = holm([result.p for result, _ in compared.values()])
    return [
        _comparison(pair, result, num_seeds, p_holm)
        for (pair, (result, num_seeds)), p_holm in zip(compared.items(), corrected, strict=True)
    ]


def _comparison(pair: tuple[str, str], result: Paired, num_seeds: int, p_holm: float) -> Comparison:
    return Comparison(
        first=pair[0],
        second=pair[1],
        difference=result.difference.value,
        low=result.difference.low,
        high=result.difference.high,
        only_first_right=result.only_first_right,
        only_second_right=result.only_second_right,
        num_seeds=num_seeds,
        test="permutation",
        p=result.p,
        p_holm=p_holm,
    )


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

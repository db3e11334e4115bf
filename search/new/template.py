"""The commented TOML file of a new study.

Shapes: C classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from search.new.ceiling import choose_head_start
from search.new.cost import PRECISION
from trainers.config import METRIC_NAMES, Metric, metrics_of
from trainers.fit import is_share

if TYPE_CHECKING:
    from search.analysis import Aim
    from search.new.cost import Sizes
    from search.new.few_texts import Planned
    from trainers.data import Splits

MOST_NAMED = 8
"""Classes that the heading names."""

GUESS = {"dropout": 0.1, "head_width": 64, "learning_rate": 5e-5}
"""What most people would try, inside a new study's space, with all layers trained."""

UNEVEN = 0.5
"""Classes are uneven if the rarest has less than this share of what an even one would have."""

TEMPLATE = """\
# {texts}
# Written by: {command}
# scalar = fixed, list = choices, {{ low, high, log }} = range.

[goal]
{goal_comment}
validation_accuracy = {goal:g}

[score]
metric = "{metric}"  # or {other_metrics}; for goal, score and ceiling alike
ceiling = {ceiling:g}  # training {name} above it counts as over-fitted
penalty = 1.0  # value = validation {name} - penalty * max(0, training {name} - ceiling)

[data]
{data}

[encoder]
name = {encoder}
pooling = "mean"

[fit]
freeze_depth = {freeze_depth}
dropout = {{ low = 0.0, high = 0.5 }}
head_width = [32, 64, 128, 256]
learning_rate = {{ low = 3e-5, high = 3e-4, log = true }}
patience = {{ low = 1, high = {patience} }}  # evaluations
head_learning_rate_ratio = 10.0
epochs = {epochs}  # {steps} optimiser steps of 32 texts
evaluations_per_epoch = {evaluations_per_epoch}
batch_size = 32
weight_decay = 0.01
warmup = 0.1
schedule = "linear"
encoder_dropout = 0.0
{settings}{weights}

[pruning]
rungs = {rungs}  # epochs
keep = 0.34
peers = 2
margin = 3.0  # standard errors by which a trial must lie behind to be ended

[recipes]
enqueue = {recipes}
epochs = {{ thaw-top = {epochs} }}  # of its second stage, of at most 20: as many as a trial has
{start}"""


def study_toml(
    data: Mapping[str, str | Sequence[str]],
    planned: Planned,
    aim: Aim,
    *,
    metric: Metric,
    encoder: str,
    num_layers: int,
    command: str,
    about_labels: str | None = None,
    hint: str | None = None,
) -> str:
    """Write a study, its choices with their reasons.

    Args:
        data: Source and columns, as they are written into ``[data]``.
        planned: What was found there, with sizes and recipes that fit machine and time.
        aim: Goal and ceiling.
        metric: Of the score.
        encoder: As the user named it.
        num_layers: Of the encoder.
        command: That wrote the study.
        about_labels: How the columns of labels may be meant; None if there is no doubt.
        hint: A setting that the classes may want, as a comment; None if there is none.
    """
    name, splits, sizes = METRIC_NAMES[metric], planned.splits, planned.plan.sizes
    settings = {"precision": PRECISION, "head_start": choose_head_start(aim.ceiling)}
    texts_C = texts_per_class(splits)
    others = metrics_of(splits.task, ordered=splits.ordered, positive=splits.positive is not None)
    return TEMPLATE.format(
        texts=_heading(splits, texts_C),
        command=" ".join(command.split()),  # a file name may hold a line break
        goal_comment=_goal_comment(aim, name),
        goal=aim.goal,
        metric=metric,
        name=name,
        other_metrics=" or ".join(json.dumps(other) for other in others if other != metric),
        ceiling=aim.ceiling,
        data="\n".join(_data_lines(data, planned, metric, about_labels, hint)),
        encoder=json.dumps(encoder, ensure_ascii=False),
        freeze_depth=_depths(sizes.freeze_depth, num_layers),
        recipes=json.dumps(planned.plan.recipes),
        settings="".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items() if value),
        epochs=sizes.epochs,
        patience=most_patience(sizes),
        steps=sizes.epochs * -(-planned.costs.of_a_fit(sizes).train // 32),
        evaluations_per_epoch=sizes.evaluations_per_epoch,
        weights='class_weights = "balanced"  # else the rarest class would hardly count'
        if weights(splits, metric)
        else '# class_weights = "balanced"  # would let rare classes count as much as frequent ones',
        rungs=list(sizes.rungs),
        start=_start_lines(sizes),
    )


def first_setup(sizes: Sizes) -> dict[str, float] | None:
    """Return the setup that a new study tries first; None where not all layers may be trained."""
    if sizes.freeze_depth > 0:
        return None
    return {"freeze_depth": 0, **GUESS, "patience": most_patience(sizes)}


def _start_lines(sizes: Sizes) -> str:
    setup = first_setup(sizes)
    if setup is None:
        return ""
    keys = ", ".join(f"{key} = {value:g}" for key, value in setup.items())
    return f"\n[start]\n# One good guess first, all layers at a small rate: a search of few trials may never draw it.\nsetups = [{{ {keys} }}]\n"


def most_patience(sizes: Sizes) -> int:
    """Return the longest patience that is searched; a longer one could not end a fit early."""
    return max(1, min(4, sizes.epochs * sizes.evaluations_per_epoch - 2))


def weights(splits: Splits, metric: Metric) -> Literal["balanced"] | None:
    """Return ``fit.class_weights``: balanced where the rarest class would hardly count, and the metric looks at it."""
    by_class = metric not in {"accuracy", "micro_f1", "subset_accuracy", "quadratic_kappa"}
    return "balanced" if by_class and are_uneven(splits) else None


def start_kept(splits: Splits, sizes: Sizes) -> int | None:
    """Return ``data.head_tokens``; None where hardly a text is cut."""
    return sizes.max_length // 4 if _share_cut(splits, sizes) > 0.02 else None


def are_uneven(splits: Splits) -> bool:
    """Tell whether a class is so rare that accuracy says little of it."""
    texts_C = texts_per_class(splits)
    return bool(texts_C.min() < UNEVEN * texts_C.mean())


def texts_per_class(splits: Splits) -> npt.NDArray[np.int64]:
    """Count the texts of all splits by class, texts_C."""
    from trainers.data import texts_per_class as count

    labels_N = np.concatenate([s.labels_N for s in (splits.train, splits.validation, splits.test)])
    return count(labels_N, num_classes=len(splits.class_names))


def _goal_comment(aim: Aim, name: str) -> str:
    reached = f"# What an encoder reaches here nobody knows yet; the words alone reach {aim.baseline:.1%} validation {name}."
    if aim.majority is not None and aim.majority > aim.baseline:
        reached += f"\n# Always answering the most frequent class has {aim.majority:.1%}."
    if aim.goal > max(aim.baseline, aim.majority or 0.0) + 0.01:
        return (
            f"{reached}\n# This is the default of every study: raise or lower it once some trials have run."
        )
    return f"{reached}\n# Hence a goal not below that: change it as trials show."


def _depths(lowest: int, num_layers: int) -> str:
    if lowest == num_layers:
        return f"{num_layers}  # of {num_layers} layers: there is time to train a head alone"
    return f"{{ low = {lowest}, high = {num_layers} }}  # of {num_layers} layers; lower ones take longer"


def _data_lines(
    data: Mapping[str, str | Sequence[str]],
    planned: Planned,
    metric: Metric,
    about_labels: str | None,
    hint: str | None,
) -> Iterator[str]:
    splits, sizes = planned.splits, planned.plan.sizes
    for key, value in data.items():
        yield (
            f"{key} = {json.dumps(value, ensure_ascii=False)}"
            + ("  # relative to this file" if key == "source" else "")
            + (
                ""
                if isinstance(value, str) or key != "text"
                else f"  # pairs; text = {json.dumps(value[0], ensure_ascii=False)} reads one alone"
            )
        )
    yield from (f"# {' '.join(f.message.split())}" for f in splits.findings if f.kind.endswith("columns"))
    if about_labels is not None:
        yield f"# {' '.join(about_labels.split())}"
    if hint is not None:
        yield f"# {hint}"
    for finding in splits.findings:
        if finding.kind == "possible group column":
            yield f"# {' '.join(finding.message.split()).removeprefix('data.').replace(' would', '  # would', 1)}"
        elif finding.kind == "texts that begin alike":
            yield f"# {' '.join(finding.message.split())}"
    found = {"train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test)}
    if splits.folds is not None:
        del found["validation"]
        yield from _about_folds(planned)
    for name, count in found.items():
        size = getattr(sizes, name, count)
        if size < count:
            yield f"{name} = {size}  # of {count:,}, for the search to end in time"
        else:
            yield f"# {name} = {count}  # all there are"
    if planned.without_folds is not None:
        fits = "2 to 3" if is_share(metric, splits.task) else "5"
        yield (
            f"# folds = 5  # few texts: each is then validated on once, in place of {sizes.validation} alone, and a trial takes {fits} times "
            "as long"
        )
    is_pair = not isinstance(data.get("text", ""), str)
    what = "pair, the longer text being cut" if is_pair else "text"
    yield f"max_length = {sizes.max_length}  # tokens kept of a {what}; {_share_cut(splits, sizes):.1%} are longer"
    kept = start_kept(splits, sizes)
    if kept is not None and not is_pair:
        yield f"head_tokens = {kept}  # of a longer text, and its end: a verdict often stands there"


def _about_folds(planned: Planned) -> Iterator[str]:
    num_texts = len(planned.splits.train)
    error = 100 * math.sqrt(0.2 * 0.8 / (num_texts / 5))
    yield f"# {num_texts:,} texts are few: of 80 % right answers a validation split of a fifth of them has a standard error of {error:.0f} points."
    yield f"# With folds each is validated on once, and a trial takes about {planned.costs.fits:.1f} fits. Without this line there is one split."
    yield f"folds = {planned.splits.folds}"


def _share_cut(splits: Splits, sizes: Sizes) -> float:
    return float((splits.train.lengths_N > sizes.max_length).mean())


def _heading(splits: Splits, texts_C: npt.NDArray[np.int64]) -> str:
    """Say how many texts there are, and what share of them is of each class."""
    count = len(splits.train) + len(splits.validation) + len(splits.test)
    several = ", of which a text may have several" if splits.task == "several_labels" else ""
    return f"{count:,} texts: {_shares(splits, texts_C / count)}{several}."


def _shares(splits: Splits, shares_C: npt.NDArray[np.float64]) -> str:
    named = sorted(zip(shares_C, splits.class_names, strict=True), reverse=True)
    shown = ", ".join(
        f"{json.dumps(name, ensure_ascii=False)} {share:.0%}" for share, name in named[:MOST_NAMED]
    )
    return shown + (f" and {len(named) - MOST_NAMED} classes more" if len(named) > MOST_NAMED else "")

"""What the classes of a new study are: steps of a scale, or one that is looked for; and by which metric to judge them.

Shapes: C classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from search.terminal import say
from trainers.config import Metric
from trainers.errors import InputError

if TYPE_CHECKING:
    from trainers.config import DataConfig
    from trainers.data import Splits, Texts

RARE = 0.05
"""Share of the texts below which the rarer of two classes is looked for rather than told apart: where hardly a text is said to
be of it, macro-F1 hardly moves, while average precision sees how high those texts rank."""


@Parameter(name="*")
@dataclass(frozen=True)
class ClassOptions:
    """What the user says of the classes.

    Attributes:
        ordered: Whether they are steps of a scale.
        positive: The one that is looked for.
        metric: By which they are judged.
    """

    ordered: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Classes are steps of a scale, such as stars: quadratic kappa counts how far off an answer is. [default: they have "
            "no order]",
        ),
    ] = False
    positive: Annotated[
        str | None,
        Parameter(
            help="Class that average precision looks for, of two. [default: with that metric the rarer one, else none]"
        ),
    ] = None
    metric: Annotated[
        Metric | None,
        Parameter(
            help="By which goal, score and ceiling are measured. [default: accuracy; quadratic_kappa with --ordered, "
            "average_precision with --positive, micro_f1 for several labels a text]"
        ),
    ] = None

    def check(self, data: DataConfig) -> None:
        """Check that the metric is not one of the other task; what else it needs of the classes is found out later.

        Raises:
            InputError: It is.
        """
        from trainers.config import TASK_METRICS, check_metric

        if self.metric is None or self.metric in TASK_METRICS[data.task]:
            return
        try:
            check_metric(self.metric, data)
        except ValueError as error:
            raise InputError(f"--{error}") from None


NOTHING_SAID = ClassOptions()


@dataclass(frozen=True)
class Classes:
    """What a new study says of its classes.

    Attributes:
        settings: Of ``[data]``: ``ordered`` or ``positive``, or none.
        flags: That ask for the same.
        metric: By which they are judged; None leaves it to the task.
        hint: A setting as a comment that the user may want; None if there is none.
    """

    settings: dict[str, str | tuple[str, ...]]
    flags: tuple[str, ...] = ()
    metric: Metric | None = None
    hint: str | None = None


def choose_classes(texts: Texts, *, metric: Metric | None, ordered: bool, positive: str | None) -> Classes:
    """Return what a study says of its classes.

    Args:
        texts: With their classes.
        metric: That was asked for.
        ordered: Whether they were said to be steps of a scale; by quadratic kappa they are.
        positive: Class that was said to be looked for; by average precision it is the rarer one of two, if none was.

    Raises:
        InputError: The order cannot be told from their names, or there are not two of which one could be looked for.
    """
    from trainers.data import guess_order

    names = texts.class_names
    if texts.task == "several_labels":
        for flag, given in (("--ordered", ordered), (f"--positive {positive}", positive is not None)):
            if given:
                raise InputError(f"{flag} is for one label a text, got several; leave it out")
        return Classes({})
    order = guess_order(names)
    if ordered or metric == "quadratic_kappa":
        if order is None:
            asked = "--ordered" if ordered else "--metric quadratic_kappa"
            raise InputError(
                f"{asked} needs classes whose names tell their order, three or more small whole numbers or words such as low, "
                f"medium, high, got {_listed(names)}; leave it out, and list them as data.ordered in the file that is written"
            )
        return Classes({"ordered": order}, ("--ordered",), metric or "quadratic_kappa")
    if positive is not None or metric == "average_precision":
        if len(names) != 2:
            asked = "--metric average_precision" if positive is None else "--positive"
            raise InputError(
                f"{asked} is for two classes, got {len(names)}; leave it out: macro_f1 judges rare ones, too"
            )
        if positive is None:
            positive = names[_rarer(texts)]
        return Classes({"positive": positive}, ("--positive", positive), metric or "average_precision")
    hint = None
    if order is not None:
        hint = (
            f"ordered = {json.dumps(order, ensure_ascii=False)}  # if these are steps of a scale; then metric = "
            '"quadratic_kappa" counts how far off an answer is'
        )
    return Classes({}, hint=hint)


def say_of_classes(chosen: Classes, splits: Splits, metric: Metric) -> None:
    """Say what was made of the classes, and warn where accuracy hides one of them."""
    from search.new.template import are_uneven, texts_per_class

    if "ordered" in chosen.settings:
        say(
            f"  classes are steps of a scale, from the lowest to the highest: {', '.join(splits.class_names)}"
        )
    elif "positive" in chosen.settings:
        say(f"  average precision looks for {chosen.settings['positive']!r}")
    elif chosen.hint is not None:
        say(
            "  classes look like steps of a scale; if they are: --ordered, which counts how far off an answer is"
        )
    if not are_uneven(splits) or metric != "accuracy":
        return
    texts_C = texts_per_class(splits)
    advice = "--metric macro_f1"
    if len(texts_C) == 2 and texts_C.min() < RARE * texts_C.sum():
        rare = splits.class_names[int(texts_C.argmin())]
        advice = f"--metric average_precision, by how high texts of {rare!r} rank, or {advice}"
    say(f"  warning: classes are uneven, and accuracy says little of the rare ones; see {advice}")


def _rarer(texts: Texts) -> int:
    """Return the class with fewer training texts, of equally many the second."""
    from trainers.data import texts_per_class

    first, second = texts_per_class(texts.labels_N[texts.parts["train"]], num_classes=2)
    return 0 if first < second else 1


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

"""Texts -> a commented study, sized for this machine and the time there is: python -m search.new reviews.csv."""

from __future__ import annotations

import math
import os
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from search.terminal import say
from trainers.cli import DEVICE, launch, refuse_windows
from trainers.config import PACKAGED_ENCODER, Device, Metric
from trainers.errors import InputError, describe

if TYPE_CHECKING:
    from search.new.cost import Costs
    from search.new.sizes import Plan
    from trainers.config import DataConfig
    from trainers.data import Splits


def new(
    source: Annotated[
        str, Parameter(help="File (.csv, .tsv, .jsonl, .parquet), directory saved by datasets, or hub id.")
    ],
    /,
    *,
    text: Annotated[
        list[str] | None,
        Parameter(negative=(), help="Column of the texts; give it twice for pairs. [default: found]"),
    ] = None,
    label: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="Column of the labels; give it several times for columns of 0 and 1, of which a text may have several. "
            "[default: found]",
        ),
    ] = None,
    label_separator: Annotated[
        str | None,
        Parameter(help="What stands between several labels in one column; json for lists. [default: found]"),
    ] = None,
    ordered: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Classes are steps of a scale, such as stars: quadratic kappa counts how far off an answer is. [default: they have "
            "no order]",
        ),
    ] = False,
    positive: Annotated[
        str | None,
        Parameter(
            help="Class that average precision looks for, of two. [default: with that metric the rarer one, else none]"
        ),
    ] = None,
    split: Annotated[
        str | None, Parameter(help="Column that names each row's split. [default: splits are made]")
    ] = None,
    group: Annotated[
        str | None,
        Parameter(help="Column of what texts belong to, kept in one split. [default: each text for itself]"),
    ] = None,
    metric: Annotated[
        Metric | None,
        Parameter(
            help="By which goal, score and ceiling are measured. [default: accuracy; quadratic_kappa with --ordered, "
            "average_precision with --positive, micro_f1 for several labels a text]"
        ),
    ] = None,
    minutes: Annotated[float, Parameter(help="Time that the search may take.")] = 10.0,
    trials: Annotated[int, Parameter(help="Trials to run in this time.")] = 50,
    encoder: Annotated[
        str, Parameter(help="minilm (packaged), a local directory, or a hub id.")
    ] = PACKAGED_ENCODER,
    device: Annotated[
        Device | Literal["auto"],
        DEVICE,
        Parameter(
            help="Where the search will fit, and what is measured: cpu, cuda, cuda:N or mps; auto takes a GPU if "
            "there is one."
        ),
    ] = "auto",
    to: Annotated[
        Path | None, Parameter(help="The file to write. [default: studies/NAME.toml, after the source]")
    ] = None,
) -> int:
    """Look at texts, say what was found, and write a study whose search ends in time."""
    began = time.process_time()
    refuse_windows()
    _check(minutes=minutes, trials=trials)
    path = _new_file(source, to)
    named = {
        "text": text,
        "label": label,
        "label_separator": label_separator and [label_separator],
        "split": split and [split],
        "group": group and [group],
    }
    columns = {key: names for key, names in named.items() if names}
    data = _data_config(source, columns)

    from search.new.classes import choose_classes, say_of_classes
    from search.new.columns import guess_columns
    from trainers.config import TASK_METRICS
    from trainers.data import read_texts

    guessed = guess_columns(data)
    pair, several = guessed.pair, guessed.labels
    if guessed.settings:
        found = {key: [value] if isinstance(value, str) else value for key, value in guessed.settings.items()}
        columns = {**found, **columns} if pair else {**columns, **found}
        data = _data_config(source, columns)
    _check_task(metric, data)
    texts = read_texts(data)  # before all that takes its time to load: its mistakes are reported at once
    classes = choose_classes(texts, metric=metric, ordered=ordered, positive=positive)
    if classes.settings:
        data = _data_config(source, {**columns, **classes.settings})
        texts = read_texts(data)
    metric = metric or classes.metric or TASK_METRICS[data.task][0]

    from search.trials import warm_up

    warm_up()
    from search.new.choices import aim_of, any_config, load, measure_costs
    from search.new.sizes import choose_sizes
    from search.new.template import study_toml
    from trainers.files import write_atomically
    from trainers.fit import choose_device

    loaded, splits, data = load(encoder, choose_device(device), data, texts)
    start_seconds = (
        time.process_time() - began
    )  # a search starts in the same way; what other programs take does not count
    _say_what_was_found(splits, of="texts" if data.pair is None else "pairs")
    say_of_classes(classes, splits, metric)
    if pair is not None:
        say(
            f"  columns {pair[0]!r} and {pair[1]!r} are read as pairs, for their names; --text {pair[0]} reads one alone"
        )
    if several is not None:
        say(f"  {several.message}")
    say("")
    config = any_config(loaded, data, metric)
    aim = aim_of(texts, loaded, splits, config, tell=say)
    costs = measure_costs(loaded, splits, config, trials=trials, tell=say)
    plan = choose_sizes(costs, seconds=60 * minutes - start_seconds)
    where = {} if device == "auto" else {"device": device}
    flags = [(key, name) for key, names in columns.items() for name in names]
    flags += {"metric": metric, "minutes": f"{minutes:g}", "trials": str(trials), **where}.items()
    words = [
        *classes.flags,
        *(word for key, value in flags for word in (f"--{key.replace('_', '-')}", value)),
    ]
    study = study_toml(
        {
            "source": _seen_from(path, data.source),
            **data.model_dump(mode="json", include={*columns, *classes.settings}),
        },
        splits,
        plan,
        aim,
        metric=metric,
        encoder=encoder,
        num_layers=loaded.num_layers,
        about_labels=None if several is None else several.message,
        hint=classes.hint,
        command=f"python -m search.new {shlex.join([source, *words])}",
    )
    write_atomically(path, study.encode())
    _say_what_to_expect(path, plan, costs, asked=60 * minutes, start=start_seconds)
    more = "".join(f" --device {d}" for d in where.values())
    say(f"\nNext:\n  search          python -m search.run {_options(path)} --trials {trials}{more}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(new, name="search.new", argv=argv)


def _check_task(metric: Metric | None, data: DataConfig) -> None:
    """Check that a metric is not one of the other task; what else it needs of the classes is found out later.

    Raises:
        InputError: It is.
    """
    from trainers.config import TASK_METRICS, check_metric

    if metric is None or metric in TASK_METRICS[data.task]:
        return
    try:
        check_metric(metric, data)
    except ValueError as error:
        raise InputError(f"--{error}") from None


def _check(*, minutes: float, trials: int) -> None:
    if not minutes > 0:
        raise InputError(f"--minutes must be above 0, got {minutes:g}; raise it")
    if trials < 1:
        raise InputError(f"--trials must be at least 1, got {trials}; raise it")


def _new_file(source: str, to: Path | None) -> Path:
    """Return where the study goes, named after its source unless the user says otherwise.

    Raises:
        InputError: Its name is none, or it is there already.
    """
    from search.study import checked_name

    words = re.sub(r"[^a-z0-9_-]+", "-", Path(source).stem.lower()).strip("-_")
    if to is None and not words:
        raise InputError(
            f"a study is named after its source in a-z and 0-9, of which {Path(source).name!r} has none; name a file with "
            "--to studies/NAME.toml"
        )
    path = to or Path("studies") / f"{words[:64]}.toml"
    if path.suffix != ".toml":
        raise InputError(f"--to must end in .toml, got {str(path)!r}; rename it")
    try:
        checked_name(path.stem)
    except ValueError as error:
        raise InputError(f"{error}, or name a file with --to studies/NAME.toml") from None
    if path.exists():
        raise InputError(
            f"{path} is there already; remove it, or name another file with --to studies/NAME.toml"
        )
    return path


def _data_config(source: str, columns: Mapping[str, Sequence[str]]) -> DataConfig:
    from pydantic import ValidationError

    from trainers.config import DataConfig

    try:
        named = {
            key: names if isinstance(names, str) else [*names] if len(names) > 1 else names[0]
            for key, names in columns.items()
        }
        return DataConfig.model_validate({"source": source, **named})
    except ValidationError as error:
        raise InputError(describe(error, valid_keys=lambda _: DataConfig.model_fields)) from error


def _seen_from(path: Path, source: str) -> str:
    """Return a source as a study's file has it: a path is relative to that file."""
    return os.path.relpath(source, path.parent) if Path(source).is_absolute() else source


def _say_what_to_expect(path: Path, plan: Plan, costs: Costs, *, asked: float, start: float) -> None:
    """Say what was written, how long a search of it takes, and what to do where that is not what was asked for."""
    from search.new.choices import in_words
    from search.new.sizes import LITTLE, MARGIN, trials_that_fill
    from search.study import duration

    sizes, speed, trials = plan.sizes, costs.speed, costs.num_trials
    say(
        f"Wrote {path}: {sizes.train:,} training texts of up to {sizes.max_length} tokens, {sizes.freeze_depth} or more "
        f"of {costs.num_layers} layers frozen, {sizes.epochs} epoch{'s' * (sizes.epochs > 1)} a fit.",
        f"{trials} trials are expected to take {duration(start + plan.seconds)} on {in_words(speed)} of this "
        f"machine; you asked for {duration(asked)}.",
    )
    if speed.is_shared:
        say(
            f"warning: other programs are using this machine: a worker got {speed.share:.0%} of a core. The estimate is for "
            f"the machine without them; beside them expect some {duration(start + plan.seconds / speed.share)}."
        )
    if start + plan.seconds < LITTLE * asked:
        if plan.next_seconds is None:
            more = trials_that_fill(costs, plan, seconds=asked - start)
            say(
                f"These texts allow no more in {trials} trials: all of them, all layers, {sizes.epochs} epochs. Give fewer "
                f"--minutes, or more --trials: {more} would fill the time."
            )
        else:
            enough = math.ceil((start + plan.next_seconds / MARGIN) / 6) / 10
            say(
                f"The next larger study takes more than the time that is left: --minutes {enough:g} would allow it."
            )


def _say_what_was_found(splits: Splits, *, of: str) -> None:
    """Print the data page and the lengths of the texts."""
    from rich.console import Console

    from search.analysis import DataPage, print_page
    from trainers.data import describe_data

    page = describe_data(splits)
    # How many tokens are kept is chosen below.
    findings = [finding for finding in page["findings"] if finding["kind"] != "long texts"]
    print_page(DataPage.model_validate({**page, "findings": findings}), Console())
    lengths = sorted(splits.train.lengths_N.tolist())
    say(f"  half of the {of} have up to {lengths[len(lengths) // 2]} tokens, the longest {lengths[-1]}")


def _options(path: Path) -> str:
    """Write the option with which other commands find the study."""
    plain = path.parent == Path("studies")
    return shlex.join(["--study", path.stem if plain else str(path)])

"""Texts -> a commented study, sized for this machine and the time there is: python -m search.new reviews.csv."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from search.new.classes import NOTHING_SAID, Classes, ClassOptions, choose_classes, say_of_classes
from search.new.columns import NO_COLUMNS, ColumnOptions, Columns, data_config, find_columns
from search.terminal import say
from trainers.cli import DEVICE, launch, refuse_windows
from trainers.config import PACKAGED_ENCODER, Device, Metric
from trainers.errors import InputError

if TYPE_CHECKING:
    from trainers.config import DataConfig
    from trainers.data import Splits, Texts


def new(
    source: Annotated[
        str, Parameter(help="File (.csv, .tsv, .jsonl, .parquet), directory saved by datasets, or hub id.")
    ],
    /,
    *,
    columns: ColumnOptions = NO_COLUMNS,
    classes: ClassOptions = NOTHING_SAID,
    minutes: Annotated[float, Parameter(help="Time that the search may take.")] = 10.0,
    trials: Annotated[
        int | None,
        Parameter(
            help="Trials to run in this time. [default: 8 to 50, as many as may each train all layers]"
        ),
    ] = None,
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
    # Before all that takes its time to load: its mistakes are reported at once.
    read = _read(source, columns, classes)

    from search.trials import warm_up

    warm_up()
    from search.new.choices import aim_of, any_config, load, measure_costs
    from search.new.expectation import say_what_to_expect
    from search.new.few_texts import Planned, with_folds
    from search.new.sizes import MARGIN, MOST_TRIALS, plan_trials
    from search.new.template import study_toml
    from trainers.files import write_atomically
    from trainers.fit import choose_device

    loaded, splits, data = load(encoder, choose_device(device), read.data, read.texts)
    # A search starts in the same way; what other programs take does not count.
    start_seconds = time.process_time() - began
    read.say(splits)
    config = any_config(loaded, data, read.metric)
    costs = measure_costs(loaded, splits, config, trials=trials or MOST_TRIALS, tell=say)
    seconds = 60 * minutes - start_seconds
    choose = partial(plan_trials, trials=trials, seconds=seconds)
    one = Planned(read.texts, data, splits, *choose(costs))
    planned = with_folds(
        one,
        metric=read.metric,
        tokenizer=loaded.tokenizer,
        choose=choose,
        available=MARGIN * seconds,
        tell=say,
    )
    costs = planned.costs
    aim = aim_of(planned.texts, loaded, splits, config, tell=say)
    where = {} if device == "auto" else {"device": device}
    study = study_toml(
        read.table(path),
        planned,
        aim,
        metric=read.metric,
        encoder=encoder,
        num_layers=loaded.num_layers,
        about_labels=None if read.columns.several is None else read.columns.several.message,
        hint=read.classes.hint,
        command=read.command(minutes=f"{minutes:g}", trials=str(costs.num_trials), **where),
    )
    write_atomically(path, study.encode())
    say_what_to_expect(path, planned, asked=60 * minutes, start=start_seconds, chosen=trials is None)
    more = "".join(f" --device {d}" for d in where.values())
    say(f"\nNext:\n  search          python -m search.run {_options(path)} --trials {costs.num_trials}{more}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(new, name="search.new", argv=argv)


@dataclass(frozen=True)
class _Read:
    """A source that was read, and what was made of it.

    Attributes:
        source: As the user named it.
        columns: What they hold.
        classes: What they are.
        metric: By which they are judged.
        data: All of that as settings.
        texts: Of the source.
    """

    source: str
    columns: Columns
    classes: Classes
    metric: Metric
    data: DataConfig
    texts: Texts

    def say(self, splits: Splits) -> None:
        """Say what was found."""
        from search.new.expectation import say_what_was_found

        say_what_was_found(splits, of="texts" if self.data.pair is None else "pairs")
        say_of_classes(self.classes, splits, self.metric)
        self.columns.say()
        say("")

    def table(self, path: Path) -> dict[str, Any]:
        """Return source, columns and classes as the study's file has them: a path is relative to that file."""
        source = self.data.source
        if Path(source).is_absolute():
            source = os.path.relpath(source, path.parent)
        keys = {*self.columns.names, *self.classes.settings}
        return {"source": source, **self.data.model_dump(mode="json", include=keys)}

    def command(self, **flags: str) -> str:
        """Return the command that reads the source in this way, whatever is found another time."""
        named = [(key, name) for key, names in self.columns.names.items() for name in names]
        told = [*named, ("metric", self.metric), *flags.items()]
        words = [word for key, value in told for word in (f"--{key.replace('_', '-')}", value)]
        return f"python -m search.new {shlex.join([self.source, *self.classes.flags, *words])}"


def _read(source: str, options: ColumnOptions, asked: ClassOptions) -> _Read:
    """Read a source, its columns and classes as they were named, else as they look.

    Raises:
        InputError: It cannot be read, or has mistakes; or is not what was said of it.
    """
    from trainers.config import TASK_METRICS
    from trainers.data import read_texts

    columns = find_columns(source, options)
    data = data_config(source, columns.names)
    asked.check(data)
    texts = read_texts(data)
    classes = choose_classes(texts, metric=asked.metric, ordered=asked.ordered, positive=asked.positive)
    if classes.settings:
        data = data_config(source, {**columns.names, **classes.settings})
        texts = read_texts(data)
    metric = asked.metric or classes.metric or TASK_METRICS[data.task][0]
    return _Read(source, columns, classes, metric, data, texts)


def _check(*, minutes: float, trials: int | None) -> None:
    if not minutes > 0:
        raise InputError(f"--minutes must be above 0, got {minutes:g}; raise it")
    if trials is not None and trials < 1:
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


def _options(path: Path) -> str:
    """Write the option with which other commands find the study."""
    plain = path.parent == Path("studies")
    return shlex.join(["--study", path.stem if plain else str(path)])

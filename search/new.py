"""Texts -> a commented study, sized for this machine and the time there is: python -m search.new reviews.csv."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from trainers.cli import DEVICE, launch, refuse_windows
from trainers.config import METRIC_NAMES, PACKAGED_ENCODER, Device, Metric
from trainers.errors import InputError, describe

if TYPE_CHECKING:
    from search.sizes import Speed
    from trainers.config import DataConfig
    from trainers.data import Splits
    from trainers.encoder import Encoder

LONGEST_LOOK = 512
"""Tokens of a text that are counted; a new study keeps fewer."""


def new(
    source: Annotated[
        str, Parameter(help="File (.csv, .tsv, .jsonl, .parquet), directory saved by datasets, or hub id.")
    ],
    /,
    *,
    text: Annotated[str | None, Parameter(help="Column of the texts. [default: found]")] = None,
    label: Annotated[str | None, Parameter(help="Column of the labels. [default: found]")] = None,
    split: Annotated[
        str | None, Parameter(help="Column that names each row's split. [default: splits are made]")
    ] = None,
    metric: Annotated[Metric, Parameter(help="By which goal, score and ceiling are measured.")] = "accuracy",
    minutes: Annotated[float, Parameter(help="Time that the search may take.")] = 10.0,
    trials: Annotated[int, Parameter(help="Trials that it shall run in this time.")] = 50,
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
    refuse_windows()
    _check(minutes=minutes, trials=trials)
    path = _new_file(source, to)
    columns = {k: v for k, v in (("text", text), ("label", label), ("split", split)) if v is not None}
    data = _data_config(source, columns)
    began = time.monotonic()

    from trainers.data import load_splits, read_texts

    texts = read_texts(data)  # before all that takes its time to load: its mistakes are told at once

    from search.processes import warm_up

    warm_up()
    from search.baseline import choose_aim
    from search.sizes import choose_sizes
    from search.summary import duration
    from search.template import study_toml
    from trainers.config import EncoderConfig
    from trainers.device import choose_device
    from trainers.encoder import load_encoder
    from trainers.files import write_atomically

    loaded = load_encoder(EncoderConfig(name=encoder), device=choose_device(device))
    longest = min(LONGEST_LOOK, loaded.max_length or LONGEST_LOOK)
    data = data.model_copy(update={"max_length": longest})
    splits = load_splits(data, loaded.tokenizer, texts=texts)
    start_seconds = time.monotonic() - began  # a search starts likewise
    _say_what_was_found(splits, metric)
    aim = choose_aim(texts, metric=metric)
    _say(f"\nThe words alone reach {aim.baseline:.1%} validation {METRIC_NAMES[metric]}.")
    speed = _measure(loaded, splits, data, trials=trials)
    workers = f"{speed.workers} worker{'s' * (speed.workers > 1)}"
    _say(
        f"Training reaches {speed.training / 1e9:.0f} GFLOP/s in each of {workers} on {loaded.device}, evaluation "
        f"{speed.evaluation / 1e9:.0f}."
    )
    sizes, seconds = choose_sizes(
        splits,
        seconds=60 * minutes - start_seconds,
        num_trials=trials,
        num_layers=loaded.num_layers,
        layer_flops=loaded.layer_flops,
        speed=speed,
    )
    place = data.source if not Path(data.source).is_absolute() else os.path.relpath(data.source, path.parent)
    flags = {**columns, "metric": metric, "minutes": f"{minutes:g}", "trials": str(trials)}
    where = {} if device == "auto" else {"device": device}
    flags |= where
    study = study_toml(
        {"source": place, **columns},
        splits,
        sizes,
        aim,
        metric=metric,
        encoder=encoder,
        num_layers=loaded.num_layers,
        command=f"python -m search.new {shlex.join([source, *(w for k, v in flags.items() for w in (f'--{k}', v))])}",
    )
    write_atomically(path, study.encode())
    _say(
        f"Wrote {path}: {sizes.train:,} training texts of up to {sizes.max_length} tokens, {sizes.freeze_depth} or more "
        f"of {loaded.num_layers} layers frozen, {sizes.epochs} epochs a fit.",
        f"{trials} trials are expected to take {duration(start_seconds + seconds)} on {workers} of this "
        f"machine; asked for were {duration(60 * minutes)}.",
        f"\nNext:\n  search          python -m search.run {_options(path)} --trials {trials}"
        f"{''.join(f' --device {d}' for d in where.values())}",
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(new, name="search.new", argv=argv)


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
    from search.spec import checked_name

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


def _data_config(source: str, columns: Mapping[str, str]) -> DataConfig:
    from pydantic import ValidationError

    from trainers.config import DataConfig

    try:
        return DataConfig.model_validate({"source": source, **columns})
    except ValidationError as error:
        raise InputError(describe(error, valid_keys=lambda _: DataConfig.model_fields)) from error


def _measure(encoder: Encoder, splits: Splits, data: DataConfig, *, trials: int) -> Speed:
    from search.sizes import measure_memory, measure_speed
    from search.workers import number_of_workers
    from trainers.config import TrainConfig

    _say("Measuring what this machine can do.")
    config = TrainConfig(
        data=data,
        freeze_depth=0,
        dropout=0.1,
        head_width=64,
        learning_rate=1e-5,
        encoder_dropout=0.0,
        device=encoder.device,
    )
    little = config.model_copy(update={"freeze_depth": max(0, encoder.num_layers - 2), "batch_size": 8})
    workers = number_of_workers(
        "auto",
        threads=config.threads,
        trials_left=trials,
        num_trials=trials,
        device=encoder.device,
        worker_bytes=lambda: measure_memory(encoder, splits, little),
        tell=_say,
    )
    return measure_speed(encoder, splits, config, workers=workers)


def _say_what_was_found(splits: Splits, metric: Metric) -> None:
    """Print the data page, the lengths of the texts, and a warning where accuracy hides a class."""
    from rich.console import Console

    from search.page import print_page
    from search.template import are_uneven
    from trainers.data import describe_data

    page = describe_data(splits)
    # How many tokens are kept is chosen below.
    findings = [finding for finding in page["findings"] if finding["kind"] != "long texts"]
    print_page({**page, "findings": findings}, Console())
    lengths = sorted(splits.train.lengths_N.tolist())
    _say(f"  half of the texts have up to {lengths[len(lengths) // 2]} tokens, the longest {lengths[-1]}")
    if are_uneven(splits) and metric == "accuracy":
        _say(
            "  warning: classes are uneven, and accuracy says little of the rare ones; see --metric macro_f1"
        )


def _options(path: Path) -> str:
    """Write the option with which other commands find the study."""
    plain = path.parent == Path("studies")
    return shlex.join(["--study", path.stem if plain else str(path)])


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())

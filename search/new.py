"""Texts -> a commented study, sized for this machine and the time there is: python -m search.new reviews.csv."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from trainers.cli import launch
from trainers.config import METRIC_NAMES, PACKAGED_ENCODER, Metric
from trainers.errors import InputError

if TYPE_CHECKING:
    from search.sizes import Sizes
    from trainers.config import DataConfig, TrainConfig
    from trainers.data import Splits

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
    to: Annotated[
        Path | None, Parameter(help="The file to write. [default: studies/NAME.toml, after the source]")
    ] = None,
) -> int:
    """Look at texts, say what was found, and write a study whose search ends in time."""
    _check(minutes=minutes, trials=trials)
    path = _new_file(source, to)
    columns = {k: v for k, v in (("text", text), ("label", label), ("split", split)) if v is not None}
    began = time.monotonic()
    from search.processes import warm_up

    warm_up()
    from search.baseline import choose_aim
    from search.sizes import choose_sizes, estimate_seconds
    from search.template import study_toml
    from trainers.data import load_splits
    from trainers.files import write_atomically

    loaded, data = _load(source, columns, encoder)
    splits = load_splits(data, loaded.tokenizer)

"""A search from Python: run_study(frame, text="review", label="stars")."""

from __future__ import annotations

import importlib
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from search.description import Described, Tables, check_tables, chosen_settings, described
from search.interrupts import stoppable
from search.result import Result
from search.run import check_request, search_study
from search.trials import check_timeout, targets_of
from trainers.cli import refuse_windows
from trainers.config import Device
from trainers.errors import InputError
from trainers.files import write_atomically

if TYPE_CHECKING:
    from rich.console import Console

    from search.new import Chosen
    from search.study import Opened
    from search.trials import TrialTimeout

HEADING = "# Written by search.run_study, which may write it again.\n"


@stoppable()
def run_study(
    data: Any = None,
    *,
    text: str | Sequence[str] | None = None,
    label: str | Sequence[str] | None = None,
    study: str | os.PathLike[str] | None = None,
    name: str | None = None,
    folder: str | os.PathLike[str] = "studies",
    trials: int | None = None,
    minutes: float | None = None,
    until_flat: float | bool | None = None,
    trial_timeout: TrialTimeout = "auto",
    encoder: str | None = None,
    space: Tables = None,
    fit: Tables = None,
    score: Tables = None,
    goal: Tables = None,
    data_options: Tables = None,
    recipes: Tables = None,
    seed: int | None = None,
    storage: str | None = None,
    workers: int | Literal["auto"] = "auto",
    device: Device | Literal["auto"] = "auto",
    confirm: int = 0,
    track: str | Sequence[str] = (),
    console: Console | None = None,
) -> Result:
    """Search, and return what was found; the same call continues.

    What is in memory is stored in the folder, by its content, and the study as a TOML file beside it: all commands know it, too.
    Ctrl-C, or the stop button of a notebook, ends the search in order; what there is by then is returned.

    Args:
        data: DataFrame of pandas or polars, ``Dataset`` or ``DatasetDict``, a dictionary of lists, a pair (texts, labels), or
            what ``[data] source`` may be: a path, a hub id, a packaged name.
        text: Column of the texts; None finds it.
        label: Column of the labels; None finds it. Several columns of 0 and 1 are labels of which a text may have several; for
            one column of them see ``label_separator`` in ``data_options``.
        study: A name in studies/ or the path of a TOML file, instead of data.
        name: Of a study of data; None takes one after the texts and settings, so that others are another study.
        folder: Where such a study and its results are kept.
        trials: Total number of finished trials. None is 50; of a new study with ``minutes`` as many as may each train all layers
            in that time, 8 to 50, which the same call then goes on to.
        minutes: No trial begins after so many; None means no limit. A new study is sized to end in time, once this machine has
            been measured; few texts then have folds, unless ``data_options`` names ``folds``, ``train`` or ``validation``.
        until_flat: As ``--until-flat`` of ``search.run``.
        trial_timeout: As ``--trial-timeout``.
        encoder: ``minilm`` (packaged, the default), a local directory, or a hub id.
        space: Settings of ``[fit]`` that are searched: a list of choices, or ``{"low": ..., "high": ..., "log": ...}``. They
            stand in place of those that a new study searches.
        fit: Further settings of ``[fit]``.
        score: Settings of ``[score]``; a ceiling that is not named is chosen by the texts, once, when the study is new.
        goal: Settings of ``[goal]``; likewise.
        data_options: Further settings of ``[data]``, such as ``{"max_length": 64}``.
        recipes: Settings of ``[recipes]``.
        seed: Of a new study.
        storage: As ``--storage``.
        workers: Trials under way at once.
        device: Where to fit.
        confirm: Number of finalists to fit on fresh seeds afterwards.
        track: As ``--track``, one or several.
        console: Where progress is shown; None takes standard output, or the notebook.

    Raises:
        InputError: Something that was given cannot be used.
    """
    refuse_windows()
    _import_bars()
    from search.new import MOST_TRIALS
    from search.report import command_options, write_files

    if minutes is not None and not minutes > 0:
        raise InputError(f"minutes must be above 0, got {minutes:g}; raise it or leave it out")
    check_timeout(trial_timeout)
    targets = targets_of([track] if isinstance(track, str) else track)
    check_request(
        trials=MOST_TRIALS if trials is None else trials,
        timeout=None,
        until_flat=until_flat,
        seed=seed,
        workers=workers,
        confirm=confirm,
        mark="",
    )
    tables = {
        "space": space,
        "fit": fit,
        "score": score,
        "goal": goal,
        "data_options": data_options,
        "recipes": recipes,
    }
    given = {"text": text, "label": label, "name": name, "encoder": encoder, **tables}
    if study is not None:
        found = _named(os.fspath(study), data, given, storage=storage, seed=seed)
    else:
        check_tables(data, tables)
        asked = described(data, Path(folder), text=text, label=label, name=name, encoder=encoder, **tables)
        choose = partial(chosen_settings, asked, device, console, trials=trials, minutes=minutes)
        found = _opened(asked, storage, seed, choose=choose)
    interrupted = search_study(
        found,
        trials=_total(found) if trials is None else trials,
        timeout=None if minutes is None else 60 * minutes,
        until_flat=until_flat,
        workers=workers,
        device=device,
        trial_timeout=trial_timeout,
        confirm=confirm,
        track=targets,
        console=console,
    )
    path = found.path
    options = command_options(path.stem if path.parent == Path("studies") else str(path), storage)
    write_files(found.study, found.spec, found.folder, options)
    return Result(found, options=options, device=device, workers=workers, interrupted=interrupted)


def _total(found: Opened) -> int:
    """Return the number of trials that was chosen when the study was new, or the usual one."""
    from search.new import MOST_TRIALS
    from search.study import attributes as attr

    chosen: int = found.study.user_attrs.get(attr.CHOSEN, {}).get("search", {}).get("trials", MOST_TRIALS)
    return chosen


def _import_bars() -> None:
    """Import tqdm before another does: in a notebook without ipywidgets it asks for them, which nothing here needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("tqdm.auto")


def _named(
    study: str, data: Any, given: Mapping[str, Any], *, storage: str | None, seed: int | None
) -> Opened:
    """Open the study of a TOML file, beside which nothing else may be given."""
    from search.study import open_named

    if data is not None:
        raise InputError("run_study takes data or study, got both; give one of them")
    extra = [key for key, value in given.items() if value is not None]
    if extra:
        raise InputError(
            f"a study has its own settings, got {', '.join(extra)} beside it; set them in its TOML file"
        )
    return open_named(study, storage, create=True, seed=seed, tell=lambda _: None)


def _opened(
    asked: Described, storage: str | None, seed: int | None, *, choose: Callable[[], Chosen]
) -> Opened:
    """Open the study, then write its TOML file, so that one which is refused leaves the file as it was.

    What is chosen by the texts is chosen once: a study that has trials goes on with that, or with the defaults that it was
    begun with.
    """
    from search.new import unnamed
    from search.storage import chosen_url
    from search.study import Opened, attributes as attr, begun_with, open_study, spec_of, study_toml

    path, table = asked.path, asked.table
    spec = spec_of({"name": path.stem, **table}, path)
    _check_file(path, table)
    url = chosen_url(storage)
    before = open_study(spec, path, storage_url=url, create=True, compare=False)
    is_begun = bool(before.get_trials(deepcopy=False))
    chosen = before.user_attrs.get(attr.CHOSEN, {}) if is_begun else choose()
    of_the_file = {key: settings for key, settings in chosen.items() if key != "search"}
    for key, settings in unnamed(of_the_file, asked.named).items():
        table = {**table, key: {**table.get(key, {}), **settings}}
    spec = spec_of({"name": path.stem, **table}, path)
    opened = open_study(spec, path, storage_url=url, create=True)
    if not is_begun:
        opened.set_user_attr(attr.CHOSEN, chosen)
    spec = begun_with(opened, spec, seed=seed)
    write_atomically(path, f"{HEADING}{study_toml(table)}".encode())
    return Opened(opened, spec, path)


def _check_file(path: Path, table: Mapping[str, Any]) -> None:
    """Refuse to write over a file that is the user's own, or that is about other texts."""
    if not path.exists():
        return
    before = path.read_text(encoding="utf-8")
    if not before.startswith(HEADING):
        raise InputError(
            f"{path} is there already and was not written by run_study; search it with study={str(path)!r}, or give "
            "another name"
        )
    known = re.search(r"texts/([0-9a-f]{64})\.parquet", before)
    now = re.search(r"texts/([0-9a-f]{64})\.parquet", str(table["data"]["source"]))
    if known and now and known[1] != now[1]:
        raise InputError(
            f"study {path.stem!r} was begun with texts of SHA-256 {known[1][:12]}, got {now[1][:12]}: the data have "
            "changed; restore them, or give another name"
        )

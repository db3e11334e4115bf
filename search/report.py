"""A study, finished or running -> terminal tables and report.json: python -m search.report."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.segment import Segments
from rich.table import Table

from search.recipes import RECIPES
from trainers.cli import launch
from trainers.files import write_atomically

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.spec import StudySpec

NOTED = (
    *("recipe", "retry_of", "reason", "validation_accuracy", "training_accuracy", "training_exact", "gap"),
    *("best_epoch", "epochs", "seconds", "tokens"),
)
VERSIONS = ("frostline", "optuna", "torch", "transformers", "datasets", "scikit-learn")


def summarise(study: Study, spec: StudySpec) -> dict[str, Any]:
    """Collect all that a report says about a study; what ``report.json`` holds.

    Returns:
        study, seed: The study's name and its sampler's seed.
        goal: ``validation_accuracy`` (at least), ``training_accuracy`` (below), ``met``, ``trial`` (its number).
        best: Row of the best feasible complete trial, with its whole ``config``; null if there is none.
        nearest: Likewise, of the complete trial that misses the goal by the fewest points in all.
        pareto: Rows of the complete trials that none beats in both accuracies, best validation first.
        recipes: One each: ``recipe``, ``story``, ``reported``, ``trial`` (its row, or null if it never ran) and
            ``capped_at``, the epochs that the study allowed it, if fewer than its own.
        counts: ``finished`` = ``complete`` + ``pruned`` + ``failed``; ``feasible`` of the complete ones;
            ``repeated`` failures; ``running``, ``waiting``; ``pruned_by_reason``, ``failed_by_reason``.
        cost: ``wall_seconds`` over all starts, ``cache_bytes``; ``trial_seconds``, ``tokens`` of all trials.
        data: What was found in the data.
        versions: Of the software that wrote the report.
        trials: A row for every trial: ``number``, ``state``, ``feasible``, ``value``, ``settings`` and what is
            listed in ``NOTED``; null is what the study does not know. Accuracies are shares of one; ``gap`` is
            training - validation accuracy.
    """
    from search import results

    trials = study.get_trials(deepcopy=False)
    complete = [_row(t) for t in results.complete(trials)]
    goal = {"validation_accuracy": spec.goal.validation_accuracy, "training_accuracy": spec.score.ceiling}
    met = [r for r in complete if r["feasible"] and max(_missing(r, goal)) <= 0 and _missing(r, goal)[1] < 0]
    winner = max(met, key=lambda r: (r["value"], -r["number"]), default=None)
    best = results.best_feasible(trials)
    nearest = min(complete, key=lambda r: sum(max(0.0, m) for m in _missing(r, goal)), default=None)
    rows = [_row(t) for t in trials]
    attributes = study.user_attrs
    return {
        "study": spec.name,
        "seed": spec.seed,
        "goal": goal | {"met": winner is not None, "trial": winner and winner["number"]},
        "best": best and _row(best) | {"config": best.user_attrs.get("config")},
        "nearest": nearest and nearest | {"config": trials[nearest["number"]].user_attrs.get("config")},
        "pareto": [_row(t) for t in results.pareto_front(trials)],
        "recipes": _recipes(study, trials),
        "counts": count(trials),
        "cost": {
            "wall_seconds": attributes.get("wall_seconds"),
            "cache_bytes": attributes.get("cache_bytes"),
            "trial_seconds": sum(r["seconds"] or 0.0 for r in rows),
            "tokens": sum(r["tokens"] or 0 for r in rows),
        },
        "data": attributes.get("data"),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in VERSIONS},
        "trials": rows,
    }


def count(trials: Iterable[FrozenTrial]) -> dict[str, Any]:
    """Count trials by what became of them; see ``counts`` in ``summarise``."""
    from search import results

    trials = list(trials)
    ended = results.finished(trials)
    complete = results.complete(ended)
    pruned, failed = ([t for t in ended if t.state.name == state] for state in ("PRUNED", "FAIL"))
    return {
        "finished": len(ended),
        "complete": len(complete),
        "feasible": sum(map(results.is_feasible, complete)),
        "pruned": len(pruned),
        "failed": len(failed),
        "repeated": sum(t.state.is_finished() for t in trials) - len(ended),
        "running": sum(t.state.name == "RUNNING" for t in trials),
        "waiting": sum(t.state.name == "WAITING" for t in trials),
        "pruned_by_reason": dict(Counter(map(_kind, pruned)).most_common()),
        "failed_by_reason": dict(Counter(map(_kind, failed)).most_common()),
    }


def describe_counts(counts: dict[str, Any]) -> str:
    """Say in words what became of the trials, reasons included."""
    parts = [f"{counts['complete']} complete ({counts['feasible']} under the ceiling)"]
    for state in ("pruned", "failed"):
        reasons = ", ".join(f"{number} {reason}" for reason, number in counts[f"{state}_by_reason"].items())
        reasons = reasons.replace(" rung ", " at rung ")
        parts.append(f"{counts[state]} {state}" + (f" ({reasons})" if reasons else ""))
    parts += [f"{counts[k]} {k}" for k in ("running", "waiting") if counts[k]]
    return ", ".join(parts + ([f"{counts['repeated']} failed and repeated"] if counts["repeated"] else []))


def percent(share: float | None, *, unit: str = " %") -> str:
    """Write a share as percent, two decimals, so that 91.97 % does not look like 92 %; None is a dash."""
    return "-" if share is None else f"{100 * share:.2f}{unit}"


def rate(value: float) -> str:
    """Write a learning rate shortly: 4.1e-5."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def duration(seconds: float | None) -> str:
    """Write a time with the two units that matter; None is "not recorded"."""
    if seconds is None:
        return "not recorded"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def print_report(study: Study, spec: StudySpec, console: Console, *, options: str | None = None) -> None:
    """Print goal, counts, Pareto-best trials, recipes, cost and the next commands.

    Args:
        study: Finished or still running.
        spec: What the study was asked for.
        console: Where to; without a terminal behind it the text is plain.
        options: With which a command finds the study again; absent means ``--study NAME``.
    """
    summary = summarise(study, spec)
    cost = summary["cost"]
    say = partial(console.print, highlight=False, markup=False)
    say(
        f"\nStudy {spec.name}, seed {spec.seed}: {summary['counts']['finished']} trials finished",
        style="bold",
    )
    say(describe_counts(summary["counts"]), end="\n\n")
    say(_verdict(summary), style="bold green" if summary["goal"]["met"] else "bold yellow")
    if not summary["goal"]["met"]:
        say(_advice(summary))
    for table in (_pareto_table(summary), _recipe_table(summary)):
        if table.rows:
            # At least 80 columns wide: a narrower terminal wraps lines itself, and no figure is ever cut.
            width = max(80, console.width)
            table.padding = (0, 1 if width >= 100 else 0)
            lines = console.render_lines(
                table, console.options.update(width=width), pad=False, new_lines=True
            )
            say()
            say(Segments(segment for line in lines for segment in line), soft_wrap=True, end="")
    size = "not recorded" if cost["cache_bytes"] is None else f"{cost['cache_bytes'] / 2**20:,.0f} MiB"
    say(f"\nWall time {duration(cost['wall_seconds'])}, feature cache {size}.\n")
    say("Next:", style="bold")
    for purpose, command in _next_commands(summary, options or shlex.join(["--study", spec.name])):
        say(f"  {purpose:<16}{command}", soft_wrap=True)


def write_report(study: Study, spec: StudySpec, path: Path) -> None:
    """Write ``report.json`` in one piece, so that a reader never meets half of it; schema: ``summarise``.

    Raises:
        InputError: The file cannot be written.
    """
    write_atomically(path, json.dumps(summarise(study, spec), indent=2, ensure_ascii=False).encode() + b"\n")


def command_options(study: str, storage: str | None) -> str:
    """Write the options with which another command finds the same study; a password shows as ``***``."""
    words = ["--study", study]
    if storage is not None:
        from sqlalchemy.engine import make_url

        words += ["--storage", make_url(storage).render_as_string(hide_password=True)]
    return shlex.join(words)


def report(
    *,
    study: Annotated[str, Parameter(help="Name in studies/, or path of a TOML file.")] = "imdb",
    storage: Annotated[
        str | None, Parameter(help="Database URL. [default: study.db in the study's folder]")
    ] = None,
) -> int:
    """Print the report of a study, finished or still running, and renew its report.json and pareto.png."""
    from search.spec import find_study, load_spec
    from search.storage import begun_with, open_study, results_dir

    path = find_study(study)
    spec = load_spec(path)
    opened = open_study(spec, path, storage_url=storage, create=False)
    make_report(opened, begun_with(opened, spec), results_dir(path, spec), command_options(study, storage))
    return 0


def make_report(study: Study, spec: StudySpec, folder: Path, options: str) -> None:
    """Print the report, and write ``report.json`` and ``pareto.png`` into the study's folder.

    Raises:
        InputError: The folder cannot be written.
    """
    from search.picture import write_pareto_picture

    print_report(study, spec, Console(), options=options)
    write_report(study, spec, folder / "report.json")
    write_pareto_picture(summarise(study, spec), folder / "pareto.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(report, name="search.report", argv=argv)


def _row(trial: FrozenTrial) -> dict[str, Any]:
    from search import results
    from search.spec import SEARCHED

    # A recipe's own settings win over what was suggested: the configuration says what ran.
    chosen = trial.user_attrs.get("config", trial.params)
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "feasible": results.is_feasible(trial) if trial.constraints else None,
        "value": trial.value,
        "settings": {k: chosen.get(k) for k in dict.fromkeys((*SEARCHED, *trial.params))},
        **{k: trial.user_attrs.get(k) for k in NOTED},
    }


def _missing(row: dict[str, Any], goal: dict[str, Any]) -> tuple[float, float]:
    """Return how far validation accuracy is below its goal, and training accuracy above the ceiling."""
    short = goal["validation_accuracy"] - row["validation_accuracy"]
    return short, row["training_accuracy"] - goal["training_accuracy"]


def _recipes(study: Study, trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    from search import results

    present = {t.user_attrs["recipe"]: t for t in trials if "recipe" in t.user_attrs}
    present |= results.recipe_trials(study)
    entries = []
    for name, recipe in RECIPES.items():
        trial = present.get(name)
        epochs = trial.user_attrs.get("config", {}).get("epochs") if trial else None
        reported = {"training_accuracy": recipe.reported_training}
        reported["validation_accuracy"] = recipe.reported_validation
        capped_at = epochs if epochs and epochs < recipe.settings["epochs"] else None
        entry = {"recipe": name, "story": recipe.story, "reported": reported, "capped_at": capped_at}
        entries.append(entry | {"trial": _row(trial) if trial else None})
    return entries


def _kind(trial: FrozenTrial) -> str:
    """Shorten why a trial ended to what it shares with others: "rung 0.5", "diverged"."""
    reason = str(trial.user_attrs.get("reason", "reason unknown")).partition(":")[0]
    return " ".join(reason.split()[:2]) if reason.startswith("rung ") else reason


def figures(row: dict[str, Any]) -> str:
    """Name a trial and its two accuracies."""
    validation, training = percent(row["validation_accuracy"]), percent(row["training_accuracy"])
    return f"trial {row['number']}: validation {validation}, training {training}"


def bound(share: float) -> str:
    """Write a limit as percent, with no more decimals than it has."""
    return f"{100 * share:g} %"


def _verdict(summary: dict[str, Any]) -> str:
    goal, best, nearest = (summary[k] for k in ("goal", "best", "nearest"))
    wanted, ceiling = bound(goal["validation_accuracy"]), bound(goal["training_accuracy"])
    text = f"Goal: validation >= {wanted}, training < {ceiling}: "
    if goal["met"]:
        return f"{text}met by {figures(summary['trials'][goal['trial']])}."
    if not nearest:
        return f"{text}not met. No trial has completed yet."
    short, above = _missing(nearest, goal)
    missing = [f"{percent(short, unit='')} points short"] if short > 0 else []
    missing += [f"{percent(above, unit='')} points over the ceiling"] if above >= 0 else []
    text += "not met; nearest is " if best else "not met. No trial stayed under the ceiling. Nearest is "
    text += f"{figures(nearest)} ({' and '.join(missing)})"
    if best and best["number"] != nearest["number"]:
        text += f"; best under the ceiling is {figures(best)}"
    return f"{text}."


def _advice(summary: dict[str, Any]) -> str:
    """Say what to change, going by the trial that came nearest."""
    nearest = summary["nearest"]
    if not nearest:
        return "What to do: let the search go on; a report needs a trial that ran to its end."
    remedy = "freeze fewer layers, raise the learning rate or the patience, lower dropout"
    if _missing(nearest, summary["goal"])[1] >= 0:
        remedy = "raise dropout, freeze more layers, lower the learning rate or the patience"
    s = nearest["settings"]
    return (
        f"What to do: more trials, or other ranges in the study's TOML file: {remedy}. Trial {nearest['number']} "
        f"had dropout {s['dropout']:.3g}, freeze depth {s['freeze_depth']}, learning rate "
        f"{rate(s['learning_rate'])}."
    )


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _pareto_table(summary: dict[str, Any]) -> Table:
    table = _table(
        "Pareto-best trials: validation accuracy up, training accuracy down",
        *("trial", "valid\n%", "train\n%", "gap", f"under\n{bound(summary['goal']['training_accuracy'])}"),
        *("freeze\ndepth", "drop-\nout", "head\nwidth", "learning\nrate", "patience", "epochs", "time\n(s)"),
    )
    best = (summary["best"] or {}).get("number")
    for row in summary["pareto"]:
        s = row["settings"]
        accuracies = [percent(row[k], unit="") for k in ("validation_accuracy", "training_accuracy")]
        cells = [row["number"], *accuracies, f"{100 * row['gap']:+.2f}", "yes" if row["feasible"] else "no"]
        cells += [s["freeze_depth"], f"{s['dropout']:.3f}", s["head_width"], rate(s["learning_rate"])]
        cells += ["-" if s["patience"] is None else s["patience"], *_spent(row)]
        style = "bold green" if row["number"] == best else "" if row["feasible"] else "dim"
        table.add_row(*map(str, cells), style=style)
    return table


def _recipe_table(summary: dict[str, Any]) -> Table:
    table = _table(
        "Known recipes: reported for another model and data, measured here",
        *("recipe", "reported\ntrain %", "reported\nvalid %", "measured\ntrain %", "measured\nvalid %"),
        *("epochs", "time\n(s)", ""),
    )
    table.columns[0].justify = table.columns[-1].justify = "left"
    table.columns[-1].no_wrap = False
    best = {"recipe": "best here", "reported": {}, "capped_at": None, "trial": summary["best"]}
    for entry in summary["recipes"] + ([best] if summary["best"] else []):
        row = entry["trial"] or {}
        sources = (entry["reported"], row)
        accuracies = [s.get(k) for s in sources for k in ("training_accuracy", "validation_accuracy")]
        cells = [percent(a, unit="") for a in accuracies]
        table.add_row(entry["recipe"], *cells, *_spent(row), _remark(row, capped_at=entry["capped_at"]))
    return table


def _spent(row: dict[str, Any]) -> tuple[str, str]:
    epochs, seconds = row.get("epochs"), row.get("seconds")
    return "-" if epochs is None else f"{epochs:.4g}", "-" if seconds is None else f"{seconds:.0f}"


def _remark(row: dict[str, Any], *, capped_at: int | None) -> str:
    if not row:
        return "not run"
    if row["state"] != "complete":
        return f"trial {row['number']} {row['state']}" + (f": {row['reason']}" if row["reason"] else "")
    over = "" if row["feasible"] else ", over the ceiling"
    return f"trial {row['number']}{over}" + (f", cut at {capped_at} epochs" if capped_at else "")


def _next_commands(summary: dict[str, Any], options: str) -> Iterable[tuple[str, str]]:
    yield "look at it", f"python -m search.dashboard {options}"
    if summary["best"]:
        yield "keep the winner", f"python -m search.export {options}"
    more = (summary["counts"]["finished"] // 25 + 1) * 25
    yield "search on", f"python -m search.run {options} --trials {more}"
    missing = [entry["recipe"] for entry in summary["recipes"] if entry["trial"] is None]
    if missing:
        yield f"add {missing[0]}", f"python -m search.run {options} --trials {more} --recipes all"


if __name__ == "__main__":
    sys.exit(main())

"""What must hold of a study whatever died while it was searched, told from its trials and the processes' ledgers.

Nothing here asks the project which trials count: that would be asking the accused.
"""

import json
import tomllib
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from search.study.retries import MAX_RETRIES

ENDED = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True)
class Broken:
    """An invariant that does not hold.

    Attributes:
        kind: What it means for the user's work.
        text: Which trial, and what is wrong with it.
    """

    kind: Literal["lost", "duplicated", "wrong"]
    text: str


def read_ledgers(folder):
    """Return the entries of all processes that ever worked on a study; within a process they are in order."""
    entries = []
    for path in sorted(folder.glob("*.jsonl")):
        entries += map(json.loads, path.read_text().splitlines())
    return entries


def check_invariants(trials, entries, *, num_trials):
    """Return what is broken; nothing is after a search that has ended by itself.

    Args:
        trials: All of the study's, in the database's own order.
        entries: Of the ledgers.
        num_trials: What the user asked for.
    """
    return [
        *_numbers(trials),
        *_unfinished(trials),
        *_budget(trials, num_trials),
        *_repeats(trials),
        *_told(trials, entries),
        *_fitted(trials, entries),
        *(Broken("duplicated", f"two live processes fitted {e['setup']}") for e in of(entries, "overlap")),
    ]


def check_report(summary, trials, *, num_trials):
    """Return where ``report.json`` disagrees with the database."""
    best = best_number(trials)
    reported = summary["best"] and summary["best"]["number"]
    broken = []
    if summary["counts"]["finished"] != num_trials:
        broken.append(
            Broken("wrong", f"the report counts {summary['counts']['finished']} trials, not {num_trials}")
        )
    if reported != best:
        broken.append(Broken("wrong", f"the report's best trial is {reported}, the database's {best}"))
    for row, trial in zip(summary["trials"], trials, strict=False):
        if (row["number"], row["state"], row["value"]) != (
            trial.number,
            trial.state.name.lower(),
            trial.value,
        ):
            broken.append(Broken("wrong", f"the report's row of trial {trial.number} is not the database's"))
    if len(summary["trials"]) != len(trials):
        broken.append(Broken("wrong", f"the report lists {len(summary['trials'])} of {len(trials)} trials"))
    return broken


def check_export(folder, trials):
    """Return where an exported winner disagrees with the database, or is not whole."""
    from trainers.errors import InputError
    from trainers.model.classifier import load

    best = best_number(trials)
    text = (folder / "winner.toml").read_text()
    winner = tomllib.loads(text)
    winner.get("data", {}).pop("fingerprint", None)  # of the texts, which the study keeps, not the trial
    broken = []
    if not text.startswith(f"# Trial {best} of study "):
        broken.append(Broken("wrong", f"winner.toml is not of trial {best}: {text.partition(chr(10))[0]}"))
    elif winner != trials[best].user_attrs["config"]:
        broken.append(Broken("wrong", f"winner.toml is not the configuration of trial {best}"))
    try:
        load(folder / "model").predict(["a good film"])
    except InputError as error:
        broken.append(Broken("wrong", str(error)))
    return broken


def best_number(trials):
    """Return the number of the complete trial of the highest value that keeps its constraint; None if none does."""
    candidates = [
        t for t in trials if t.state.name == "COMPLETE" and all(v <= 0 for v in t.constraints.values())
    ]
    return max(candidates, key=lambda t: (t.value, -t.number)).number if candidates else None


def given_up(trials):
    """Return how many setups were not tried again because they were killed each time; they count as failed."""
    repeated = {t.user_attrs["retry_of"] for t in trials if "retry_of" in t.user_attrs}
    return sum(t.state.name == "FAIL" and t.number not in repeated and was_killed(t) for t in trials)


def of(entries, event):
    """Return the entries of one kind."""
    return [e for e in entries if e["event"] == event]


def _numbers(trials):
    numbers = Counter(t.number for t in trials)
    for number, count in numbers.items():
        if count > 1:
            yield Broken("duplicated", f"{count} trials have number {number}")
    for number in sorted(set(range(len(numbers))) - set(numbers)):
        yield Broken("lost", f"no trial has number {number}")


def _unfinished(trials):
    for trial in trials:
        if trial.state.name not in ENDED:
            yield Broken("lost", f"trial {trial.number} is still {trial.state.name}")


def _budget(trials, num_trials):
    """A trial and its repeats are one: each counts once, by the last of them."""
    num_ended = sum("retry_of" not in t.user_attrs for t in trials if t.state.name in ENDED)
    if num_ended < num_trials:
        yield Broken("lost", f"{num_ended} trials have ended, not {num_trials}")
    if num_ended > num_trials:
        yield Broken("duplicated", f"{num_ended} trials have ended, not {num_trials}")


def was_killed(trial):
    """Tell whether a trial's process was killed, for whatever reason that is said to be."""
    return trial.user_attrs.get("reason", "").startswith("killed")


def _repeats(trials):
    """A trial that was cut off is repeated once, with its parameters; one that has ended never is."""
    by_number = {t.number: t for t in trials}
    repeats = Counter(t.user_attrs["retry_of"] for t in trials if "retry_of" in t.user_attrs)
    for number, count in repeats.items():
        if count > 1:
            yield Broken("duplicated", f"trial {number} was repeated {count} times")
        if by_number[number].state.name != "FAIL":
            yield Broken(
                "duplicated",
                f"trial {number} is {by_number[number].state.name} and was repeated all the same",
            )
    for trial in trials:
        original = by_number.get(trial.user_attrs.get("retry_of"))
        # One that was killed early has not asked for all that it was enqueued with.
        params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        if original and not original.params.items() <= params.items():
            yield Broken(
                "lost", f"trial {trial.number} repeats trial {original.number} with other parameters"
            )
        reason = trial.user_attrs.get("reason")
        if (
            trial.state.name != "FAIL"
            or trial.number in repeats
            or not (reason in (None, "interrupted") or was_killed(trial))
        ):
            continue
        times_killed = sum(map(was_killed, _history(trial, by_number)))
        if times_killed <= MAX_RETRIES:
            yield Broken("lost", f"trial {trial.number} failed ({reason}) and was not repeated")


def _history(trial, by_number):
    """Yield a trial and those that it repeats."""
    yield trial
    while "retry_of" in trial.user_attrs:
        trial = by_number[trial.user_attrs["retry_of"]]
        yield trial


def _told(trials, entries):
    """What a search was told is stored stays as it is, and is told once."""
    by_number = {t.number: t for t in trials}
    told = of(entries, "told")
    for number, count in Counter(e["number"] for e in told).items():
        if count > 1:
            yield Broken("duplicated", f"trial {number} was told {count} times")
    for entry in told:
        trial = by_number.get(entry["number"])
        if trial is None or (trial.state.name, trial.value) != (entry["state"], entry["value"]):
            now = "gone" if trial is None else f"{trial.state.name} {trial.value}"
            yield Broken(
                "lost", f"trial {entry['number']} was told {entry['state']} {entry['value']}, and is {now}"
            )


def _fitted(trials, entries):
    """A fit that ended is in the database with its figures, or its trial was cut off and says so."""
    repeated = {t.user_attrs["retry_of"] for t in trials if "retry_of" in t.user_attrs}
    for entry in of(entries, "fit ended"):
        same = [t for t in trials if t.params == entry["setup"]]
        stored = any(
            t.state.name == "COMPLETE" and t.user_attrs["validation_accuracy"] == entry["validation_accuracy"]
            for t in same
        )
        declared = any(t.state.name == "FAIL" and (t.number in repeated or was_killed(t)) for t in same)
        if not stored and not declared:
            yield Broken("lost", f"no trial shows the fit of {entry['setup']}")

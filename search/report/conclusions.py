"""The report's sentences: whether the goal is met, what to change, what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from search.analysis import ALWAYS_MAJORITY, call_out, judge_setup, meets, seeds_of, shortfall
from search.study import bound, duration, figures, percent, rate
from trainers.config import METRIC_NAMES, Metric
from trainers.errors import printable

MOST_LABELS = 20
"""Labels of which F1 is said in a sentence; the report as data has all."""

if TYPE_CHECKING:
    from search.analysis import (
        ConfirmedFinalist,
        FreshSeedsJudged,
        Limits,
        Opponent,
        Opponents,
        OpponentTested,
        OverSeeds,
        SetupJudged,
    )
    from search.report.models import Summary, TrialRow


def verdict(summary: Summary) -> str:
    """Say whether the goal is met, by which trial or setup, and else what is missing."""
    return f"{_aim(summary.goal, summary.metric)}: {judgement(summary)}."


def on_the_scale(summary: Summary) -> str | None:
    """Say what else the trial comes to that the report is about, where classes are steps of a scale; None elsewhere."""
    shown = summary.shown
    if shown is None or shown.on_scale is None:
        return None
    return f"Trial {shown.number} on the scale, validation: {shown.on_scale}."


def by_label(summary: Summary) -> str | None:
    """Say the F1 of each label of the trial that the report is about, where texts may have several; None elsewhere."""
    shown = summary.shown
    if shown is None or shown.label_f1 is None:
        return None
    return f"F1 by label, validation, trial {shown.number}: {each(shown.label_f1)}."


def each(label_f1: Mapping[str, float | None]) -> str:
    """Write the F1 of each label, the lowest first; of many the lowest."""
    order = sorted(label_f1.items(), key=lambda item: 2.0 if item[1] is None else item[1])
    said = [f"{printable(name)} {percent(f1)}" for name, f1 in order[:MOST_LABELS]]
    more = len(order) - MOST_LABELS
    return ", ".join(said) + (f", and {more} higher ones" if more > 0 else "")


def asks_for_little(summary: Summary) -> str | None:
    """Say that the goal lies below what is had without an encoder; None if it does not, or nothing is known."""
    from search.analysis import WORDS_ALONE  # numpy comes with it

    words = next((o for o in summary.opponents.opponents if o.name == WORDS_ALONE), None)
    return call_out(
        summary.goal.validation_accuracy,
        words=words.validation_accuracy if words else None,
        majority=summary.majority.validation_accuracy if summary.majority else None,
        metric=summary.metric,
    )


def falls_short(found: Opponents) -> str | None:
    """Say that a winner lies below a logistic regression on the frozen vectors; None if it does not, or none is known.

    Args:
        found: What ``search.analysis.opponents.compare_with_opponents`` says of the winner.
    """
    probe = next(o for o in found.opponents if o.name == "probe")
    judge = probe.test or probe
    if probe.verdict == "itself" or found.name is None or judge.difference is None or judge.difference >= 0:
        return None
    where = "on the test split" if probe.test else "on validation"
    return (
        f"{found.name.capitalize()} falls short of probe, a logistic regression on the frozen encoder's vectors: "
        f"{percent(-judge.difference, unit='')} points {where}{_error(judge)}."
    )


def worth_of(summary: Summary) -> Iterable[tuple[str, str]]:
    """Yield what ``worth`` does, and where texts belong to groups, what that means for the errors."""
    from search.analysis import say_groups

    yield from worth(summary.opponents, summary.majority)
    if summary.group_effect is not None and summary.data is not None:
        yield "groups", say_groups(summary.data.validation, summary.group_effect)


def worth(found: Opponents, majority: Opponent | None = None) -> Iterable[tuple[str, str]]:
    """Yield whether the search was worth it: first of the winner, then of each opponent, its name and what is said of it.

    Args:
        found: As for ``falls_short``.
        majority: The most frequent class for every text; None where that is not known.
    """
    if found.name is None:
        yield "search", "no trial under the ceiling yet"
    else:
        is_recipe = any(opponent.verdict == "itself" for opponent in found.opponents)
        others = f"{found.tries} trials{' and the recipes' if is_recipe else ''}"
        of = f", the best of {others}, so probably too high" if found.tries > 1 else ""
        yield (
            "search",
            f"{found.name}, {percent(found.validation_accuracy)} validation{of}; the search took "
            f"{duration(found.seconds)}",
        )
    for opponent in (*found.opponents, *([majority] if majority else [])):
        yield opponent.name, _against(opponent, found.name)


def _against(opponent: Opponent, winner: str | None) -> str:
    reached, test = opponent.validation_accuracy, opponent.test
    if reached is None:
        return "not measured"
    said = f"{percent(reached)} validation"
    if opponent.seconds is not None or opponent.name != ALWAYS_MAJORITY:
        said += f" in {duration(opponent.seconds)}"
    if opponent.verdict == "itself":
        return f"{said}: the winner itself"
    if opponent.difference is None:
        return said
    said += f"; {winner} lies {_points(opponent.difference)}{_error(opponent)}"
    if test:
        said += f"; on the test split {_points(test.difference)}{_error(test)}"
    return said


def _points(difference: float) -> str:
    return f"{percent(abs(difference), unit='')} points {'above' if difference >= 0 else 'below'}"


def _error(figure: Opponent | OpponentTested) -> str:
    """Say how sure a difference is, and whether that is enough to call the winner better."""
    words = {"better": "better", "worse": "worse", "not told apart": "no clear difference"}
    judged = words.get(figure.verdict)
    if judged is None:
        return ", whose error is not known"
    return f"{figure.error_in_words}: {judged}"


def verdict_on_trial(
    trial: TrialRow, finalist: ConfirmedFinalist | None, *, limits: Limits, metric: Metric
) -> str:
    """Say whether one trial meets the goal: on fresh seeds if it was a finalist, else in the search.

    Args:
        trial: Of the search; the accuracies of one that was pruned count for nothing.
        finalist: What the confirmation says of it; None if it says nothing.
        limits: As for ``search.analysis.goal.judge``.
        metric: The study's.
    """
    if finalist is not None:
        setup = judge_setup(finalist, limits)
        judged = f"{'met' if setup.met else 'not met'} on fresh seeds by {on_fresh_seeds(setup)}"
    elif trial.state != "complete":
        judged = f"not met by trial {trial.number}, which was {trial.state}"
    else:
        met = "met in the search by" if meets(trial, limits) else "not met by"
        judged = f"{met} trial {trial.number}; not yet confirmed on fresh seeds"
    return f"{_aim(limits, metric)}: {judged}."


def _aim(limits: Limits, metric: Metric) -> str:
    wanted, ceiling = bound(limits.validation_accuracy), limits.training_accuracy
    under = f", training < {bound(ceiling)}" if ceiling < 1 else ""
    return f"Goal: validation {METRIC_NAMES[metric]} >= {wanted}{under}"


def on_fresh_seeds(setup: SetupJudged) -> str:
    """Name a setup, as ``search.analysis.goal`` judges it, and what its fits on fresh seeds came to."""
    fits = setup.num_fits
    return (
        f"{setup.name}: validation {mean_and_spread(setup)} over {fresh_seeds(setup)}, "
        f"{setup.num_under_ceiling} of {fits} under the ceiling, {setup.num_meeting_both} of {fits} meeting both"
    )


def fresh_seeds(setup: SetupJudged) -> str:
    """Say over how many fresh seeds a setup's mean is, and how many there were."""
    fits, ended = setup.num_fits, setup.num_complete
    return f"{ended if ended == fits else f'{ended} of {fits}'} fresh seed{'s' * (fits != 1)}"


def mean_and_spread(figures: OverSeeds | SetupJudged, *, unit: str = " %") -> str:
    """Write a mean with the standard deviation over seeds, if there is one."""
    spread = figures.spread
    return percent(figures.mean, unit=unit) + ("" if spread is None else f" +- {percent(spread, unit='')}")


def advice(summary: Summary) -> str:
    """Say what to change where the goal is not met, going by what came nearest."""
    goal = summary.goal
    if goal.on_fresh_seeds and goal.on_fresh_seeds.others:
        other = goal.on_fresh_seeds.others[0].name
        return f"What to do: {other} meets the goal on fresh seeds; take it, or search on."
    if goal.on_fresh_seeds and goal.in_search.met:
        return "What to do: search on and confirm again, or lower the goal to what fresh seeds give."
    nearest = summary.nearest
    if not nearest:
        return "What to do: let the search go on; a report needs a trial that ran to its end."
    remedy = "freeze fewer layers, raise the learning rate or the patience, lower dropout"
    if shortfall(nearest, goal)[1] >= 0:
        remedy = "raise dropout, freeze more layers, lower the learning rate or the patience"
    s = nearest.settings
    return (
        f"What to do: more trials, or other ranges in the study's TOML file: {remedy}. Trial {nearest.number} "
        f"had dropout {s['dropout']:.3g}, freeze depth {s['freeze_depth']}, learning rate "
        f"{rate(s['learning_rate'])}."
    )


def next_commands(summary: Summary, options: str) -> Iterable[tuple[str, str]]:
    """Yield what to do next, and the command that does it.

    Args:
        summary: Of the study.
        options: With which a command finds the study again.
    """
    found, fresh = summary.confirmation, summary.goal.on_fresh_seeds
    yield "look at it", f"python -m search.dashboard {options}"
    if summary.best and not found:
        yield "confirm it", f"python -m search.confirm {options}"
    elif found and summary.counts.finished > found.after:
        yield "confirm again", f"python -m search.confirm {options}"
    if summary.best:
        yield "keep the winner", f"python -m search.export {options}"
    if fresh and not fresh.met:
        for other in fresh.others:
            if other.trial is not None:
                yield f"keep {other.name}", f"python -m search.export {options} --trial {other.trial}"
    more = (summary.counts.finished // 25 + 1) * 25
    yield "search on", f"python -m search.run {options} --trials {more}"
    missing = [entry.recipe for entry in summary.recipes if entry.trial is None]
    if missing:
        yield f"add {missing[0]}", f"python -m search.run {options} --trials {more} --recipes all"


def judgement(summary: Summary) -> str:
    """Say whether the goal is met, by which trial or setup, and else what is missing; without naming the goal."""
    goal = summary.goal
    if goal.on_fresh_seeds:
        return _judgement_of_fresh_seeds(summary, goal.on_fresh_seeds)
    if goal.trial is not None:
        trial = figures(summary.trials[goal.trial])
        return f"met in the search by {trial}; not yet confirmed on fresh seeds"
    best, nearest = summary.best, summary.nearest
    if not nearest:
        return "not met. No trial has completed yet"
    short, above = shortfall(nearest, goal)
    missing = [f"{percent(short, unit='')} points short"] if short > 0 else []
    missing += [f"{percent(above, unit='')} points over the ceiling"] if above >= 0 else []
    text = "not met; nearest is " if best else "not met. No trial stayed under the ceiling. Nearest is "
    text += f"{figures(nearest)} ({' and '.join(missing)})"
    if best and best.number != nearest.number:
        text += f"; best under the ceiling is {figures(best)}"
    return text


def _judgement_of_fresh_seeds(summary: Summary, fresh: FreshSeedsJudged) -> str:
    if fresh.winner and fresh.met:
        return f"met on {seeds_of(fresh)} by {on_fresh_seeds(fresh.winner)}"
    text = f"not met on {seeds_of(fresh)}; "
    if fresh.winner:
        text += f"the winner is {on_fresh_seeds(fresh.winner)}"
    else:
        text += "no setup stays under the ceiling with most of its fits"
    once = summary.goal.in_search.trial
    if once is not None:
        trial = summary.trials[once]
        finalists = summary.confirmation.finalists if summary.confirmation else []
        confirmed = any(row.trial == trial.number for row in finalists)
        text += f". The search met it once, with {figures(trial)}{'' if confirmed else ', not confirmed'}"
    for other in fresh.others:
        text += f". On fresh seeds it is met by {on_fresh_seeds(other)}"
    return text

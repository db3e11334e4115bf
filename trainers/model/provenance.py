"""Where a model's settings come from: a search, and what fits on fresh seeds came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What fits of the same setup on fresh seeds came to. Accuracies are by the configuration's metric.

    Attributes:
        validation: Mean over the seeds.
        spread: Sample standard deviation over them; None of a single one.
        num_seeds: How many.
        share_under_ceiling: Share of them that kept their training accuracy under the ceiling.
        test: Mean over the fits that were tested; None if none was, as everything below.
        test_spread: Sample standard deviation over them; None of a single one.
        num_tested: How many.
        low: Lower end of its interval.
        high: Upper end of its interval.
        confidence: Of that interval.
        num_test: Texts in the test split.
        test_seed: Of the first fit that was tested.
        test_of_seed: What that one came to.
        test_on_scale: Of steps of a scale, further figures of all of them, in words; None elsewhere.
    """

    validation: float
    spread: float | None
    num_seeds: int
    share_under_ceiling: float
    test: float | None = None
    test_spread: float | None = None
    num_tested: int = 0
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    num_test: int | None = None
    test_seed: int | None = None
    test_of_seed: float | None = None
    test_on_scale: str | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where a model's settings come from.

    Attributes:
        study: Its name.
        trial: Number of the trial.
        num_trials: Finished ones.
        validation_accuracy: As the search measured it; None if it is not known.
        confirmation: Of the trial's settings; None if there is none.
        goal: Whether they meet the study's goal, in a sentence; None if nobody asked.
    """

    study: str
    trial: int
    num_trials: int
    validation_accuracy: float | None
    confirmation: Confirmation | None
    goal: str | None = None

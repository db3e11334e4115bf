"""What a confirmation says of its finalists, as a study keeps it and ``report.json`` hands it on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from search.analysis.calibrated import Calibrated
from search.study import Count, Figure, Frozen, Share, percent

NullableEnd = Annotated[float | None, Field(description="Upper end; likewise.")]
FreeTable = Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]


class Difference(Frozen):
    """By how much one figure lies above another."""

    value: float = Field(description="The difference.")
    low: float | None = Field(
        description="Lower end of its 95 % interval; null where its error is not known."
    )
    high: NullableEnd


class Flattery(Frozen):
    """How far each figure lies above the one that luck has less part in."""

    search_above_fresh: Difference | None = Field(
        description="The search's validation figure - the mean on fresh seeds; the interval over seeds."
    )
    fresh_above_test: Difference | None = Field(
        description="Validation - test of the fits that were tested; the interval over seeds and texts, over texts for a "
        "single fit."
    )
    search_above_test: Difference | None = Field(
        description="The search's validation figure - the mean on the test split; the interval over seeds and texts."
    )


class SearchFigures(Frozen):
    """What the search measured of a setup."""

    validation_accuracy: Figure = Field(description="On the validation split.")
    training_accuracy: Figure = Field(
        description="On the training split, or on a sample of it: see the trial's training_exact."
    )


class FreshFit(Frozen):
    """A fit on a fresh seed."""

    seed: int = Field(description="Of the fit.")
    state: Literal["complete", "failed"] = Field(description="Whether it ran to its end.")
    reason: str | None = Field(description="Why it failed, or what ended it.")
    validation_accuracy: Figure | None = Field(description="Of the restored weights.")
    training_accuracy: Figure | None = Field(description="Likewise, exact.")
    test_accuracy: Figure | None = Field(
        description="On the test split, which it predicted once; null if it did not."
    )
    seconds: float | None = Field(description="Wall time.")
    best_epoch: float | None = Field(description="Age of the restored weights, in epochs.")
    stop_at: list[float] | None = Field(
        default=None,
        description="Where there are folds, validation and training accuracy are means over them, and the test split was "
        "predicted by a fit of all their texts: age in epochs at which each stage of it ended. Absent where there is a "
        "validation split.",
    )
    refit_training_accuracy: Share | None = Field(
        default=None, description="Of that fit, on all that it was trained on; absent likewise."
    )


class OverSeeds(Frozen):
    """A figure over fresh seeds."""

    mean: Figure | None = Field(description="Over the fits that completed.")
    spread: float | None = Field(description="Sample standard deviation over seeds; null for a single fit.")


class ScaleFigures(Frozen):
    """What answers come to where classes are steps of a scale, each figure by itself."""

    accuracy: Share = Field(description="Share of texts that are right.")
    quadratic_kappa: Figure = Field(description="Cohen's kappa with quadratic weights.")
    mean_absolute_error: Annotated[float, WithJsonSchema({"type": "number", "minimum": 0})] = Field(
        description="Steps between class and answer, on average."
    )

    def __str__(self) -> str:
        return (
            f"accuracy {percent(self.accuracy)}, quadratic kappa {percent(self.quadratic_kappa)}, "
            f"{self.mean_absolute_error:.2f} steps off on average"
        )


class TestSplitFigures(Frozen):
    """The use of the test split, once by each fit."""

    accuracy: Figure = Field(description="Mean over the fits that were tested.")
    spread: float | None = Field(description="Sample standard deviation over them; null for a single one.")
    num_fits: int = Field(description="How many were tested.")
    low: Figure | None = Field(
        description="Lower end of its interval, over seeds and texts, over texts for a single fit; null where resampling "
        "shows no spread."
    )
    high: Figure | None = Field(description="Upper end; likewise.")
    confidence: Share = Field(description="Of the interval.")
    seed: int = Field(description="Of the first fit that was tested, which an export gives.")
    on_scale: ScaleFigures | None = Field(
        default=None,
        description="Where classes are steps of a scale: means over the fits that were tested; absent elsewhere.",
    )

    label_f1: dict[str, Share | None] | None = Field(
        default=None,
        description="Where texts may have several labels: F1 of each, mean over the fits that were tested; null of one of which a fit "
        "has none; absent elsewhere.",
    )

    @property
    def over_seeds(self) -> OverSeeds:
        """Mean and spread alone."""
        return OverSeeds(mean=self.accuracy, spread=self.spread)


class ConfirmedFinalist(Frozen):
    """A setup that was confirmed."""

    name: str = Field(description="'trial 24', or a recipe's name.")
    trial: int | None = Field(description="Number in the search; null for a recipe that did not run in it.")
    recipe: str | None = Field(description="Name of the recipe, if it is one.")
    config: FreeTable = Field(description="Configuration that was fitted; each fit has a seed of its own.")
    search: SearchFigures | None = Field(
        description="What the search measured; null if it did not run this setup."
    )
    fits: list[FreshFit] = Field(description="One for each seed.")
    validation: OverSeeds = Field(description="Validation accuracy over fresh seeds.")
    training: OverSeeds = Field(description="Training accuracy over fresh seeds.")
    share_under_ceiling: Share = Field(
        description="Share of seeds whose training accuracy stayed under the ceiling."
    )
    score: float | None = Field(description="Mean over the fits that completed; by it the winner is chosen.")
    optimism: float | None = Field(
        description="The search's validation accuracy - the mean over fresh seeds: how far the search was too good."
    )
    flattery: Flattery = Field(
        description="How far each figure lies above the one that luck has less part in; what lies within its interval is "
        "not called luck. Null where there is nothing to compare."
    )
    test: TestSplitFigures | None = Field(
        description="The use of the test split, once by each fit; null if there was none."
    )

    @property
    def complete_fits(self) -> list[FreshFit]:
        """Those that ran to their end."""
        return [fit for fit in self.fits if fit.state == "complete"]


class WordsTested(Frozen):
    """What the words alone reach on the test split."""

    accuracy: Figure = Field(description="By the metric.")
    low: Figure | None = Field(description="Lower end of the interval over texts.")
    high: Figure | None = Field(description="Upper end; likewise.")


class Comparison(Frozen):
    """A pair of setups on the test split."""

    first: str = Field(description="Name of a finalist.")
    second: str = Field(description="Name of another one.")
    difference: float = Field(
        description="Mean test accuracy of the first - that of the second, over these seeds."
    )
    low: float | None = Field(
        description="Lower end of its interval, over seeds and texts, over texts for a single seed; null where resampling "
        "shows no spread."
    )
    high: NullableEnd
    only_first_right: Count = Field(
        description="Answers, one a text and seed, that only the first got right."
    )
    only_second_right: Count = Field(description="Answers that only the second got right.")
    num_seeds: int = Field(description="Seeds that both completed and the test split was predicted with.")
    test: Literal["permutation", "mcnemar"] = Field(
        description="Of the study's metric with answers swapped text by text, or group by group; McNemar's exact one in version 0.1.0."
    )
    p: Share = Field(description="Of that test: it speaks of these fits on other texts.")
    p_holm: Share = Field(description="The same, corrected for the number of comparisons after Holm.")


class Outcome(Frozen):
    """Outcome of search.confirm."""

    rule: str = Field(description="How the winner is chosen.")
    seeds: list[int] = Field(description="Fresh ones.")
    after: int = Field(description="Finished trials at that time.")
    num_test: int = Field(description="Texts of the test split.")
    num_test_groups: Count | None = Field(
        default=None,
        description="Their groups, which intervals and tests resample as a whole; absent where each text stands for itself.",
    )
    versions: dict[str, str] | None = Field(
        description="Of the software that made the fits; null for version 0.1.0, which tested one fit of each finalist."
    )
    processors: list[str] = Field(
        description="Names of those that made the fits; with more than one, last bits may differ."
    )
    winner: str | None = Field(description="Name of a finalist; null if none qualifies.")
    finalists: list[ConfirmedFinalist] = Field(description="Best first.")
    words: WordsTested | None = Field(
        description="What the words alone reach on the test split; null where nobody asked them."
    )
    comparisons: list[Comparison] = Field(description="Unordered pairs on the test split.")
    calibration: Calibrated | None = Field(
        default=None,
        description="What the winner's probabilities are worth, of its first fit that was tested; absent where nobody looked.",
    )

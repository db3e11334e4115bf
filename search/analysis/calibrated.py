"""What a confirmed winner's probabilities are worth, as a study keeps it and ``report.json`` hands it on."""

from __future__ import annotations

from pydantic import Field

from search.study import Count, Frozen, Share


class ReliabilityCurve(Frozen):
    """What is right of what is believed, in bins of equally many answers."""

    counts: list[Count] = Field(description="Answers in each bin.")
    confidences: list[Share] = Field(description="Their mean probability.")
    accuracies: list[Share] = Field(description="Share of them that is right.")
    error: Share | None = Field(
        description="Expected calibration error: the mean over all answers of how far the two lie apart in their bin."
    )
    by_chance: Share | None = Field(
        description="What that error would be about if every probability were right: so few answers scatter by themselves."
    )
    log_loss: float | None = Field(description="Mean negative log-likelihood in nats.")


class SplitCalibrated(Frozen):
    """One split before and after the temperature."""

    num_texts: Count = Field(
        description="Answers: texts, or, where a text may have several labels, one for each text and label."
    )
    before: ReliabilityCurve = Field(description="Of the logits as they are.")
    after: ReliabilityCurve = Field(description="Of the logits divided by the temperature.")


class Calibrated(Frozen):
    """What a fit's probabilities are worth."""

    temperature: float = Field(
        description="By which logits are divided, fitted on validation; 1 leaves them alone."
    )
    reason: str | None = Field(description="Why they are left alone; null if they are not.")
    validation: SplitCalibrated = Field(description="On the split that the temperature was fitted on.")
    test: SplitCalibrated | None = Field(description="On the test split, once.")

    @property
    def splits(self) -> dict[str, SplitCalibrated]:
        """Those that somebody looked at, by what they are called."""
        return {"validation": self.validation, **({"the test split": self.test} if self.test else {})}

"""Early stopping that knows the ceiling. Pure: numbers in, decisions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

StopReason = Literal["patience", "ceiling"]


@dataclass(frozen=True)
class EarlyStopping:
    """Decides after each evaluation whether to go on, and whose weights to restore.

    Attributes:
        patience: Evaluations without a lower validation loss before stopping; None goes on to the end
            and, without a ceiling, prefers the last weights.
        ceiling: Training score above which weights count as over-fitted; None knows no ceiling.
    """

    patience: int | None
    ceiling: float | None

    def reason_to_stop(
        self, validation_losses: Sequence[float], training_scores: Sequence[float]
    ) -> StopReason | None:
        """Return why to stop after the latest evaluation, or None to go on.

        Above the ceiling going on is pointless: the training score rises from there. A loss that ties the
        lowest is no improvement.
        """
        if self.ceiling is not None and training_scores[-1] > self.ceiling:
            return "ceiling"
        if self.patience is not None:
            best = validation_losses.index(min(validation_losses))
            if len(validation_losses) - 1 - best >= self.patience:
                return "patience"
        return None

    def preference(self, validation_losses: Sequence[float], training_scores: Sequence[float]) -> list[int]:
        """Order the evaluations by how much their weights are wanted, the most wanted first.

        Evaluations under the ceiling come before all others, by validation loss; those above it follow,
        the least excess first. Ties go to the earlier one.
        """
        indices = range(len(validation_losses))
        if self.patience is None and self.ceiling is None:
            return list(reversed(indices))

        def rank(i: int) -> tuple[float, float, int]:
            over = max(0.0, training_scores[i] - self.ceiling) if self.ceiling is not None else 0.0
            return over, validation_losses[i], i

        return sorted(indices, key=rank)

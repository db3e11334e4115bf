"""The head: Dropout -> Dense(width, relu) -> Dropout -> Dense(classes).

Shapes: B texts, D hidden size, C classes.
"""

from __future__ import annotations

from torch import Tensor, nn


class Head(nn.Module):
    """Classifies pooled vectors.

    Args:
        hidden_size: D of the pooled vectors.
        width: Units of the hidden layer.
        num_classes: C.
        dropout: Rate before and after the hidden layer.
    """

    def __init__(self, *, hidden_size: int, width: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(hidden_size, width)
        self.output = nn.Linear(width, num_classes)

    def forward(self, pooled_BD: Tensor) -> Tensor:
        """Return logits_BC."""
        hidden_BW = self.hidden(self.dropout(pooled_BD)).relu()
        logits_BC: Tensor = self.output(self.dropout(hidden_BW))
        return logits_BC

"""What a fit trains: the encoder from some depth upwards, and a head.

Shapes: B texts, T tokens of the longest one, D hidden size, C classes.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from trainers.config import TrainConfig
from trainers.encoder import Encoder, attention_mask, pool, set_dropout
from trainers.features import Batch
from trainers.head import Head


class Network(nn.Module):
    """The encoder from some depth upwards, and a head; the frozen part of it stays in eval mode.

    Args:
        encoder: Where layers are copied from; frozen ones are shared.
        config: Freeze depth, pooling, dropout, width.
        start: Layers that the inputs have already been through; None expects token ids.
        num_classes: C.
    """

    def __init__(self, encoder: Encoder, config: TrainConfig, *, start: int | None, num_classes: int) -> None:
        super().__init__()
        self.freeze_depth = config.freeze_depth
        self.start = start
        self.pooling = config.encoder.pooling
        self.store_dtype = getattr(torch, config.cache)
        # Lists hide the frozen parts from nn.Module: they are neither saved nor ever put in train mode.
        self.frozen = [encoder.layers[i] for i in range(start or 0, config.freeze_depth)]
        self.frozen_embeddings = [encoder.embeddings] if start is None and config.freeze_depth else []
        self.embeddings = None if config.freeze_depth else copy.deepcopy(encoder.embeddings)
        self.layers = copy.deepcopy(encoder.layers[config.freeze_depth :])
        self.pooled_inputs = start == encoder.num_layers
        for part in (self.embeddings, self.layers):
            if part is not None:
                part.requires_grad_()
                set_dropout(part, config.encoder_dropout)
        self.head = Head(
            hidden_size=encoder.hidden_size,
            width=config.head_width,
            num_classes=num_classes,
            dropout=config.dropout,
        )

    def forward(self, batch: Batch) -> Tensor:
        """Return logits_BC."""
        if self.pooled_inputs:
            return self.head(batch.inputs)  # type: ignore[no-any-return]
        mask = attention_mask(batch.mask_BT)
        hidden_BTD = self._frozen_prefix(batch, mask) if self.freeze_depth else batch.inputs
        if self.embeddings is not None:
            hidden_BTD = self.embeddings(input_ids=batch.inputs)
        for layer in self.layers:
            hidden_BTD = layer(hidden_BTD, attention_mask=mask)
        return self.head(pool(hidden_BTD, batch.mask_BT, pooling=self.pooling))  # type: ignore[no-any-return]

    @torch.no_grad()
    def _frozen_prefix(self, batch: Batch, mask: Tensor | None) -> Tensor:
        hidden_BTD = batch.inputs
        for embeddings in self.frozen_embeddings:
            hidden_BTD = embeddings(input_ids=batch.inputs)
        for layer in self.frozen:
            hidden_BTD = layer(hidden_BTD, attention_mask=mask)
        if self.frozen and len(self.layers):
            # As if it came from the cache: a result must not depend on what is stored.
            hidden_BTD = hidden_BTD.to(self.store_dtype).float()
        return hidden_BTD

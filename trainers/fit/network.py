"""What a fit trains: the encoder from some depth upwards, and a head.

Shapes: B texts, T tokens of the longest one, D hidden size, C classes.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from trainers.config import TrainConfig
from trainers.encoder import EMBEDDINGS, POOLER, Encoder, run, set_dropout
from trainers.fit.inputs import Batch
from trainers.fit.precision import computing_in
from trainers.modeling_frostline import Head, pool


class Network(nn.Module):
    """The encoder from some depth upwards, and a head; the frozen part of it stays in eval mode.

    Args:
        encoder: Where what trains is copied from; what is frozen is shared.
        config: Freeze depth, pooling, dropout, width, device.
        start: Layers that the inputs have already been through; None expects token ids.
        num_classes: C.

    Attributes:
        embeddings: If they are trained.
        layers: Those that are trained.
        others: Whatever else of the encoder is trained, by its path with ``/`` for a dot.
    """

    def __init__(self, encoder: Encoder, config: TrainConfig, *, start: int | None, num_classes: int) -> None:
        super().__init__()
        depth, top = config.freeze_depth, encoder.num_layers
        self.start = start
        self.pooling = config.encoder.pooling
        self.store_dtype = getattr(torch, config.cache)
        self.device = config.device
        self.precision = config.precision
        copied = {
            path: copy.deepcopy(encoder.model.get_submodule(path))
            for path in _trained_with_layers(encoder, config)
        }
        self.embeddings = copied.pop(EMBEDDINGS, None)
        self.layers = copy.deepcopy(encoder.layers[depth:])
        self.others = nn.ModuleDict({path.replace(".", "/"): part for path, part in copied.items()})
        self.pooled_inputs = start == top
        for part in (self.embeddings, self.layers, self.others):
            if part is not None:
                part.requires_grad_()
                set_dropout(part, config.encoder_dropout)
        # Lists hide models from nn.Module: what is frozen is neither saved nor ever put in train mode.
        self.frozen = [encoder.section(start=start, stop=depth)] if depth > (start or 0) else []
        self.trained = []
        if depth < top:
            parts = self.encoder_parts() | {encoder.anatomy.layers: self.layers}
            self.trained = [encoder.section(start=depth or None, stop=top, parts=parts)]
        own_pooler = self.encoder_parts().get(POOLER) or getattr(encoder.model, POOLER, None)
        self.pooler = [own_pooler] if self.pooling == "model" else [None]
        self.head = Head(
            hidden_size=encoder.hidden_size,
            width=config.head_width,
            num_classes=num_classes,
            dropout=config.dropout,
        )
        _begin(self.head, config, num_classes=num_classes)

    def encoder_parts(self) -> dict[str, nn.Module]:
        """Return what is trained of the encoder, its layers excepted, by path."""
        parts = {path.replace("/", "."): part for path, part in self.others.items()}
        return parts if self.embeddings is None else {EMBEDDINGS: self.embeddings, **parts}

    def forward(self, batch: Batch) -> Tensor:
        """Return logits_BC."""
        logits_BC: Tensor = self.head(self.pooled(batch))
        return logits_BC

    def pooled(self, batch: Batch) -> Tensor:
        """Return what the head sees, pooled_BD."""
        if self.pooled_inputs:
            return batch.inputs
        with computing_in(self.precision, self.device):
            hidden = self._frozen_prefix(batch)
            for part in self.trained:
                hidden = run(part, hidden, batch.mask_BT, batch.segments_BT)
        return pool(hidden.float(), batch.mask_BT, pooling=self.pooling, pooler=self.pooler[0])

    @torch.no_grad()
    def _frozen_prefix(self, batch: Batch) -> Tensor:
        hidden = batch.inputs
        for part in self.frozen:
            hidden = run(part, hidden, batch.mask_BT, batch.segments_BT)
            if self.trained and not batch.wide:
                # Rounded as in the cache. What is rounded may differ in its last bit: it was computed in other batches.
                hidden = hidden.to(self.store_dtype).float()
        return hidden


def _begin(head: Head, config: TrainConfig, *, num_classes: int) -> None:
    """Give a head its first weights.

    A single logit z is that of the second of two classes, the first one's being 0 for ever: softmax([0, z]) is
    sigmoid(z), and cross-entropy is the binary one.
    """
    is_one = config.head_logits == "one" and num_classes == 2 and config.data.task == "one_label"
    first = 1 if is_one else 0
    if config.head_weights == "glorot":
        layers = [(head.output.weight[first:], head.output.bias)]
        if head.hidden is not None:
            layers.insert(0, (head.hidden.weight, head.hidden.bias))
        for weight, bias in layers:
            nn.init.xavier_uniform_(weight)
            nn.init.zeros_(bias)
    if first:
        for parameter in (head.output.weight, head.output.bias):
            with torch.no_grad():
                parameter[0] = 0.0
            parameter.register_hook(_without_first_row)


def _without_first_row(gradient: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(gradient[:1]), gradient[1:]])


def _trained_with_layers(encoder: Encoder, config: TrainConfig) -> list[str]:
    """List the paths of all that trains beside the layers above the freeze depth."""
    paths = []
    if config.freeze_depth == 0:
        paths += [EMBEDDINGS, *encoder.anatomy.beside]
    if config.freeze_depth < encoder.num_layers:
        paths += [encoder.anatomy.final_norm] if encoder.anatomy.final_norm else []
        paths += [POOLER] if config.encoder.pooling == "model" else []
    return paths

"""The fine-tuned classifier for transformers. A copy of this file stands in every saved model.

It needs torch and transformers alone, so that a saved model can be used where Frostline is not installed:
``AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)``.

Shapes: B texts, T tokens of the longest one, D hidden size, W width of the head, C classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class FrostlineConfig(PretrainedConfig):
    """Configuration of a fine-tuned classifier.

    Attributes:
        encoder: Configuration of the encoder, with its ``model_type``.
        pooling: ``mean``, ``cls``, or ``model``: by the encoder's own pooler.
        head_width: Units of the head's hidden layer; 0 means that there is none.
        dropout: Rate before and after it.
        max_tokens: Tokens kept of a text; transformers takes ``max_length`` for itself.
        head_tokens: Of these, from the text's start; None takes all from there.
        start_tokens: Likewise, special tokens included, which is where the model itself cuts longer texts; None
            leaves them whole, as pairs are, which the tokenizer cuts.
        segments: Whether ``token_type_ids`` tell the encoder which of two texts a token is from.
        logit_temperature: By which logits are divided, so that probabilities mean what they say; absent means that they are
            not. transformers takes ``temperature`` for itself.
    """

    model_type = "frostline"

    def __init__(
        self,
        *,
        encoder: dict[str, Any] | None = None,
        pooling: str = "mean",
        head_width: int = 64,
        dropout: float = 0.0,
        max_tokens: int = 128,
        head_tokens: int | None = None,
        start_tokens: int | None = None,
        segments: bool = False,
        **kwargs: Any,
    ) -> None:
        self.encoder = encoder or {}
        self.pooling = pooling
        self.head_width = head_width
        self.dropout = dropout
        self.max_tokens = max_tokens
        self.head_tokens = head_tokens
        self.start_tokens = start_tokens
        if segments:  # models of single texts are described as before
            self.segments = segments
        super().__init__(**kwargs)


class Head(nn.Module):
    """Classifies pooled vectors: Dropout -> Dense(width, relu) -> Dropout -> Dense(classes).

    Without a hidden layer it is linear: Dropout -> Dense(classes).

    Args:
        hidden_size: D of the pooled vectors.
        width: Units of the hidden layer; 0 means that there is none.
        num_classes: C.
        dropout: Rate before and after the hidden layer.
    """

    def __init__(self, *, hidden_size: int, width: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(hidden_size, width) if width else None
        self.output = nn.Linear(width or hidden_size, num_classes)

    def forward(self, pooled_BD: Tensor) -> Tensor:
        """Return logits_BC."""
        hidden_BW = pooled_BD if self.hidden is None else self.hidden(self.dropout(pooled_BD)).relu()
        logits_BC: Tensor = self.output(self.dropout(hidden_BW))
        return logits_BC


class FrostlineForSequenceClassification(PreTrainedModel):
    """Encoder, pooling and head in one transformers model."""

    config_class = FrostlineConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True

    def __init__(self, config: FrostlineConfig) -> None:
        super().__init__(config)
        inner = AutoConfig.for_model(**config.encoder)
        self.encoder = AutoModel.from_config(inner)
        self.head = Head(
            hidden_size=inner.hidden_size,
            width=config.head_width,
            num_classes=len(config.id2label or {}),
            dropout=config.dropout,
        )
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Classify texts, padded at their ends or before their starts.

        A single text is segment 0 throughout, whatever ``token_type_ids`` say. Of texts longer than ``max_tokens`` the middle
        or the end is left out, as it was in training, so that no tokenizer needs to know about it.

        Args:
            input_ids: ids_BT.
            attention_mask: 1 where there is a token; None if nothing is padded.
            labels: Class indices; adds the mean cross-entropy as ``loss``. Of several labels a text 0 and 1 for each, and the
                mean binary cross-entropy.
            token_type_ids: Of pairs, which of the two texts each token is from.
        """
        segments = {}
        if token_type_ids is not None and getattr(self.config, "segments", False):
            moved, _mask = cut(token_type_ids, attention_mask, max_tokens=input_ids.shape[1], start_tokens=0)
            segments["token_type_ids"] = moved
        cuts = self.config.start_tokens is not None
        input_ids, attention_mask = cut(
            input_ids,
            attention_mask,
            max_tokens=self.config.max_tokens if cuts else input_ids.shape[1],
            start_tokens=self.config.start_tokens if cuts else 0,
        )
        hidden_BTD = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, **segments
        ).last_hidden_state
        mask_BT = None if attention_mask is None else attention_mask.bool()
        pooler = getattr(self.encoder, "pooler", None)
        logits_BC = self.head(pool(hidden_BTD, mask_BT, pooling=self.config.pooling, pooler=pooler))
        temperature = getattr(self.config, "logit_temperature", None)
        if temperature is not None:
            logits_BC = logits_BC / temperature
        loss = None
        if labels is not None and self.config.problem_type == "multi_label_classification":
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits_BC, labels.to(logits_BC.dtype))
        elif labels is not None:
            loss = torch.nn.functional.cross_entropy(logits_BC, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits_BC)


def cut(
    ids_BT: Tensor, mask_BT: Tensor | None, *, max_tokens: int, start_tokens: int
) -> tuple[Tensor, Tensor | None]:
    """Keep the first ``start_tokens`` tokens of each longer text, and as many of its last as make ``max_tokens``.

    Shorter ones stay as they are. What is padded before its start is moved there: positions are counted from it. A
    text of no token is its first padding.
    """
    num_tokens = ids_BT.shape[1]
    position_T = torch.arange(num_tokens, device=ids_BT.device)[:max_tokens]
    first_B1 = torch.zeros_like(ids_BT[:, :1])
    length_B1 = torch.full_like(first_B1, num_tokens)
    if mask_BT is not None:
        first_B1 = (mask_BT.cumsum(dim=1) == 0).sum(dim=1, keepdim=True)
        length_B1 = mask_BT.sum(dim=1, keepdim=True)
    skipped_B1 = (length_B1 - max_tokens).clamp(min=0)
    wanted_BT = first_B1 + position_T + skipped_B1 * (position_T >= start_tokens)
    source_BT = wanted_BT.clamp(max=num_tokens - 1)
    if mask_BT is not None:
        kept_BT = mask_BT.gather(1, source_BT) * (wanted_BT < num_tokens)
        mask_BT = torch.where(position_T == 0, 1, kept_BT).to(mask_BT.dtype)
    return ids_BT.gather(1, source_BT), mask_BT


def pool(
    hidden_BTD: Tensor, mask_BT: Tensor | None, *, pooling: str, pooler: nn.Module | None = None
) -> Tensor:
    """Reduce token vectors to one vector a text, pooled_BD; padding does not count.

    Args:
        hidden_BTD: What the last layer gives.
        mask_BT: True where there is a token; None if nothing is padded.
        pooling: ``mean``, ``cls`` or ``model``.
        pooler: The encoder's own, for ``model``.
    """
    if pooling == "model":
        assert pooler is not None  # noqa: S101
        pooled_BD: Tensor = pooler(hidden_BTD)
        return pooled_BD
    if pooling == "cls":
        return hidden_BTD[:, 0]
    if mask_BT is None:
        return hidden_BTD.mean(dim=1)
    weight_BT1 = mask_BT[..., None].to(hidden_BTD.dtype)
    return (hidden_BTD * weight_BT1).sum(dim=1) / weight_BT1.sum(dim=1)


# save_pretrained then writes a copy of this file, and names it in config.json.
FrostlineConfig.register_for_auto_class()  # type: ignore[no-untyped-call]
FrostlineForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")  # type: ignore[no-untyped-call]

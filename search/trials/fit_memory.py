"""How much memory a fit takes: an upper bound that costs nothing, and a measurement for where that is too much.

Shapes: B texts, T tokens of the longest one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.interrupts import held_back
from search.new.speed import measure_memory
from trainers.fit.batching import FORWARD_TOKENS
from trainers.fit.looks import KEPT_CHECKPOINTS

if TYPE_CHECKING:
    import optuna

    from search.trials.progress import Live
    from search.study.spec import StudySpec
    from trainers.config import TrainConfig
    from trainers.data.splits import Splits
    from trainers.encoder.loading import Encoder
    from trainers.fit.features import Features

PROCESS_BYTES = 2**29
"""Of a process beside weights and activations; 0.1 to 0.2 GiB were seen."""

COPIES = 4 + KEPT_CHECKPOINTS + 1 + 2
"""Of the encoder's weights: trained ones, gradient and Adam's two averages; checkpoints and one that is being made; the
weights as they were, and as they came through the pipe."""

FLOATS_PER_WIDTH = 2
"""Kept for the backward pass of a token for each column and row of a layer's matrices."""

FLOATS_PER_PAIR = 4
"""Likewise for each head and pair of tokens: scores and shares, before and after rounding."""


def most_bytes(encoder: Encoder, splits: Splits, config: TrainConfig) -> int:
    """Return more than a fit may take, bytes, reckoned from shapes as if all layers were trained in float32.

    What was measured on a processor lay between a seventh and two fifths of it (studies/LOG.md).

    Args:
        encoder: Of the study.
        splits: Whose texts are read; all of them are in each process.
        config: Of the largest batch.
    """
    weights = sum(p.numel() * p.element_size() for p in encoder.model.parameters())
    parts = (splits.train, splits.validation, splits.test)
    tokens = sum(part.ids_S.nbytes + part.offsets_N1.nbytes + part.labels_N.nbytes for part in parts)
    longest = int(max(part.lengths_N.max() for part in parts))
    batch = max(config.batch_size * longest, FORWARD_TOKENS)
    widths = sum(sum(p.shape) for p in encoder.layers.parameters() if p.ndim == 2)
    heads = getattr(encoder.model.config, "num_attention_heads", None) or encoder.hidden_size // 16
    pairs = encoder.num_layers * heads * longest
    activations = 4 * batch * (FLOATS_PER_WIDTH * widths + FLOATS_PER_PAIR * pairs)
    return PROCESS_BYTES + COPIES * weights + 2 * tokens + activations


def worker_bytes(study: optuna.Study, spec: StudySpec, features: Features, live: Live) -> int:
    """Return the memory that a fit takes at most; measured once a study."""
    known: int | None = study.user_attrs.get("worker_bytes")
    if known is None:
        live.stage("measuring how much memory a fit takes")
        known = measure_memory(features.encoder, features.splits, spec.heaviest_config())
        with held_back():
            study.set_user_attr("worker_bytes", known)
    return known

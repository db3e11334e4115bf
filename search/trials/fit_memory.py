"""How much memory a fit takes: an upper bound that costs nothing, and a measurement for where that is too much.

Shapes: B texts, T tokens of the longest one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from search.interrupts import held_back
from search.study import attributes as attr
from search.trials.news import Fitted
from search.trials.pool import drive
from search.trials.worker_pool import Crew
from trainers.errors import FitError
from trainers.fit import FORWARD_TOKENS, KEPT_CHECKPOINTS

if TYPE_CHECKING:
    import optuna

    from search.study import StudySpec
    from search.trials.progress import Live
    from trainers.config import TrainConfig
    from trainers.data import Splits
    from trainers.encoder import Encoder
    from trainers.fit import Features

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
    known: int | None = study.user_attrs.get(attr.WORKER_BYTES)
    if known is None:
        live.stage("measuring how much memory a fit takes")
        known = measure_memory(features.encoder, features.splits, spec.heaviest_config())
        with held_back():
            study.set_user_attr(attr.WORKER_BYTES, known)
    return known


def measure_memory(encoder: Encoder, splits: Splits, config: TrainConfig) -> int:
    """Let a process fit a batch of the longest texts, and return the most that a fit takes beside what all share, bytes.

    Args:
        encoder: Of the study.
        splits: Whose training texts are taken.
        config: The study's fit of the lowest freeze depth and the largest batch: it takes the most.

    Raises:
        FitError: That fit failed.
    """
    from trainers.fit import Features, choose_precision

    precision = choose_precision(config.precision, encoder.device)
    longest = np.argsort(splits.train.lengths_N)[-config.batch_size :]
    few = splits.train.some(longest)
    config = config.model_copy(
        update={
            "epochs": 1,
            "evaluations_per_epoch": 1,
            "patience": None,
            "ceiling": None,
            "precision": precision,
        }
    )
    features = Features(encoder, replace(splits, train=few, validation=few, test=few), precision=precision)
    with Crew(features, size=1, peeks=()) as crew:
        figures = _figures(crew, config)
    trained = encoder.layers[config.freeze_depth :] if config.freeze_depth else encoder.model
    weights = sum(p.numel() * p.element_size() for p in trained.parameters())
    # A fit of one epoch keeps one of the checkpoints, too. While two are compared, the present weights are one more.
    return int(figures["memory_bytes"]) + KEPT_CHECKPOINTS * weights


def _figures(crew: Crew, config: TrainConfig) -> dict[str, Any]:
    waiting = [0]

    def begin(_: int) -> int | None:
        if not waiting:
            return None
        crew.begin(waiting[0], config)
        return waiting.pop()

    [(_, news)] = drive(crew, begin)
    if isinstance(news, Fitted):
        return news.figures
    raise FitError(f"a first fit, to measure its memory, failed: {news.reason}")

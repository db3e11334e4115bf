"""A head that begins from what it can read in the untouched encoder's vectors, not from random weights.

First the head alone, then everything: LP-FT (Kumar et al. 2022, arXiv:2202.10054). Gently, or, if the head is linear, to
the end: then it is a logistic regression (``probe``).

Shapes: N texts of a split, C classes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from trainers.config import TrainConfig
from trainers.fit.batching import sorted_batches
from trainers.fit.features import Features
from trainers.fit.inputs import Batch, SplitInputs
from trainers.fit.losses import mean_loss
from trainers.fit.metrics import cross_entropy, measure, tally
from trainers.fit.network import Network
from trainers.fit.probe import probes
from trainers.modeling_frostline import Head

BATCH_SIZE = 128
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01
"""On four tasks, these came to within a point of a logistic regression with the best of six regularisations, or above it,
as batches of 32 did (studies/LOG.md)."""

ROUND_STEPS = 25
"""Steps between two looks, whatever an epoch has: few texts need as many steps as more of them."""

PATIENCE = 3
"""Rounds without a lower validation loss before the head is taken as it was at its best."""

MOST_ROUNDS = 40


def fit_head(
    head: Head,
    config: TrainConfig,
    *,
    train: Batch,
    validation: Batch,
    weights_C: Tensor | None,
    positive: int | None = None,
) -> bool:
    """Fit a head on the vectors of the untouched encoder, gently, and leave it at its lowest validation loss.

    Unless it is to start as a ``probe``, for which see there. Only weights whose training accuracy lies under the ceiling are taken. If there are none, the head stays as it came.
    Dropout draws from torch's generator, batches from one seeded by ``config.seed``.

    Args:
        head: With its first weights; fitted in place.
        config: Seed, metric, ceiling, loss and label smoothing are read from it.
        train: The training split in one batch, pooled.
        validation: The validation split in one batch, pooled.
        weights_C: Of the classes in the loss.
        positive: As for ``tally``.

    Returns:
        Whether the head was fitted.
    """
    if config.head_start == "probe":
        _start_as_probe(head, config, train=train, weights_C=weights_C, positive=positive)
        return True
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    batches = _shuffled(len(train.labels_B), config.seed)
    best_loss, best, waited, fitted = math.inf, _copy(head), 0, False
    for _ in range(MOST_ROUNDS):
        head.train()
        for rows in itertools.islice(batches, ROUND_STEPS):
            loss = mean_loss(
                head(train.inputs[rows]),
                train.labels_B[rows],
                weights_C=weights_C,
                label_smoothing=config.label_smoothing,
                gamma=config.gamma,
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        head.eval()
        with torch.inference_mode():
            counts = tally(head(train.inputs), train.labels_B, metric=config.metric, positive=positive)
            logits_NC = head(validation.inputs)
        if config.ceiling is not None and measure(counts, metric=config.metric) > config.ceiling:
            break
        validation_loss = cross_entropy(
            logits_NC, validation.labels_B, weights_C=weights_C, gamma=config.gamma
        )
        waited += 1
        if validation_loss < best_loss:
            best_loss, best, waited, fitted = validation_loss, _copy(head), 0, True
        elif waited >= PATIENCE:
            break
    head.load_state_dict(best)
    return fitted


def _start_as_probe(
    head: Head, config: TrainConfig, *, train: Batch, weights_C: Tensor | None, positive: int | None
) -> None:
    """Make a linear head a logistic regression, whatever the loss.

    Of those under the ceiling it is the one that is regularised least, but no less than folds find best; if none lies
    under it, the one that is regularised most.
    """
    vectors_ND, labels_N = train.inputs.cpu().double().numpy(), train.labels_B.cpu().numpy()
    num_classes = head.output.out_features
    weights = np.ones(num_classes) if weights_C is None else weights_C.cpu().double().numpy()
    for probe in probes(vectors_ND, labels_N, weights_C=weights, seed=config.seed, threads=config.threads):
        counts = tally(
            torch.from_numpy(probe.logits(vectors_ND)),
            torch.from_numpy(labels_N),
            metric=config.metric,
            positive=positive,
        )
        if config.ceiling is None or measure(counts, metric=config.metric) <= config.ceiling:
            break
    with torch.no_grad():
        head.output.weight.copy_(torch.from_numpy(probe.weight_CD))
        head.output.bias.copy_(torch.from_numpy(probe.bias_C))


def pooled_splits(features: Features, config: TrainConfig) -> tuple[Batch, Batch]:
    """Return the training and the validation split as a head sees them at full freeze depth, a batch each."""
    top = features.encoder.num_layers
    train, validation = features.inputs("train", top), features.inputs("validation", top)
    network = Network(
        features.encoder,
        config.model_copy(update={"freeze_depth": top}),
        start=train.depth,
        num_classes=len(features.splits.class_names),
    )
    return _pooled(network, train), _pooled(network, validation)


@torch.inference_mode()
def _pooled(network: Network, inputs: SplitInputs) -> Batch:
    if network.pooled_inputs:
        return inputs.batch(np.arange(len(inputs)))
    order = sorted_batches(inputs.lengths_N)
    batches = [inputs.batch(rows) for rows in order]
    back = torch.from_numpy(np.argsort(np.concatenate(order)))
    pooled_ND = torch.cat([network.pooled(batch) for batch in batches])[back]
    return Batch(pooled_ND, None, torch.cat([batch.labels_B for batch in batches])[back])


def _shuffled(num_texts: int, seed: int) -> Iterator[Tensor]:
    """Yield batches of rows, epoch after epoch without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(num_texts, generator=generator).split(BATCH_SIZE)


def _copy(head: Head) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in head.state_dict().items()}

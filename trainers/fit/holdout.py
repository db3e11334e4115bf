"""What a finished fit answers on its validation split, and the one door to the test split.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainers.config import TrainConfig
from trainers.data import Splits
from trainers.fit.batching import sorted_batches
from trainers.fit.calibration import Answered, probabilities
from trainers.fit.device import generators, named_failures
from trainers.fit.features import Features
from trainers.fit.inputs import SplitInputs
from trainers.fit.loop import threads
from trainers.fit.metrics import answers, ranked_class
from trainers.fit.network import Network
from trainers.fit.records import FitResult
from trainers.fit.several import sigmoid


def predict_test(config: TrainConfig, features: Features, result: FitResult) -> npt.NDArray[np.number[Any]]:
    """Return the class that a fit's restored weights predict for each text of the test split, predicted_N.

    Where a text may have several labels: the probability of each, probabilities_NC. Where the metric ranks texts by the
    probability of one of two classes: that, probabilities_N1.

    Raises:
        FitError: Memory ran out.
    """
    return said_by(answer_test(config, features, result), config, features.splits)


def said_by(answered: Answered, config: TrainConfig, splits: Splits) -> npt.NDArray[np.number[Any]]:
    """Return what ``predict_test`` does, of answers on the test split.

    Args:
        answered: Of ``answer_test``.
        config: Of the fit.
        splits: Of its texts.
    """
    if splits.task == "several_labels":
        return sigmoid(answered.logits_NC)
    ranked = ranked_class(config.metric, splits.positive)
    if ranked is not None:
        return probabilities(answered.logits_NC)[:, ranked : ranked + 1]
    predicted_N: npt.NDArray[np.int64] = answers(
        torch.from_numpy(answered.logits_NC), metric=config.metric
    ).numpy()
    return predicted_N


def answer_test(config: TrainConfig, features: Features, result: FitResult) -> Answered:
    """Return what a fit's restored weights answer on the test split.

    Nothing of the test split is stored: the frozen layers are run, too, and nothing is rounded between layers, as
    in a saved model.

    Raises:
        FitError: Memory ran out.
    """
    config = config.last_stage.model_copy(update={"precision": features.precision})
    inputs = SplitInputs(
        features.splits.test,
        depth=None,
        values=None,
        pad_id=features.encoder.tokenizer.pad_token_id,
        device=config.device,
        wide=True,
    )
    num_classes = len(features.splits.class_names)
    with _as_in_a_fit(config):
        network = Network(features.encoder, config, start=None, num_classes=num_classes).to(config.device)
        network.load_state_dict(result.network.state_dict())
        return _answers(network.eval(), inputs, num_classes)


def answer_validation(config: TrainConfig, features: Features, result: FitResult) -> Answered:
    """Return what a fit's restored weights answer on the validation split, from stored features as in the fit.

    Raises:
        FitError: Memory ran out.
    """
    config = config.last_stage
    inputs = features.inputs("validation", config.freeze_depth)
    with _as_in_a_fit(config):
        return _answers(result.network, inputs, len(features.splits.class_names))


def _answers(network: Network, inputs: SplitInputs, num_classes: int) -> Answered:
    logits_NC = np.empty((len(inputs), num_classes), dtype=np.float64)
    for rows in sorted_batches(inputs.lengths_N):
        logits_NC[rows] = network(inputs.batch(rows)).cpu().numpy()
    return Answered(logits_NC, inputs.labels_N.cpu().numpy())


@contextmanager
def _as_in_a_fit(config: TrainConfig) -> Iterator[None]:
    with (
        torch.random.fork_rng(devices=generators(config.device)),
        threads(config.threads),
        named_failures(config.device),
        torch.inference_mode(),
    ):
        yield

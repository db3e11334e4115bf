"""The one door to the test split: what a finished fit predicts for it.

Shapes: N texts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from trainers.config import TrainConfig
from trainers.fit.batching import sorted_batches
from trainers.fit.device import generators, named_failures
from trainers.fit.features import Features
from trainers.fit.inputs import SplitInputs
from trainers.fit.loop import threads
from trainers.fit.network import Network
from trainers.fit.records import FitResult


def predict_test(
    config: TrainConfig, features: Features, result: FitResult
) -> npt.NDArray[np.int64] | npt.NDArray[np.float64]:
    """Return the class that a fit's restored weights predict for each text of the test split, predicted_N.

    Where a text may have several labels: the probability of each, probabilities_NC.

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
    several = features.splits.task == "several_labels"
    predicted_N = np.empty((len(inputs), num_classes)) if several else np.empty(len(inputs), dtype=np.int64)
    with (
        torch.random.fork_rng(devices=generators(config.device)),
        threads(config.threads),
        named_failures(config.device),
        torch.inference_mode(),
    ):
        network = Network(features.encoder, config, start=None, num_classes=num_classes).to(config.device)
        network.load_state_dict(result.network.state_dict())
        network.eval()
        for rows in sorted_batches(inputs.lengths_N):
            logits_BC = network(inputs.batch(rows))
            answers = logits_BC.double().sigmoid() if several else logits_BC.argmax(dim=1)
            predicted_N[rows] = answers.cpu().numpy()
    return predicted_N

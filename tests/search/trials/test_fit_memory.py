from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from toys import make_spec, make_study

import search.trials.fit_memory
from search.trials.fit_memory import PROCESS_BYTES, most_bytes, worker_bytes
from trainers.fit.batching import FORWARD_TOKENS
from trainers.fit.features import Features
from trainers.fit.network import Network


def saved_for_backward(features, config, count):
    """Return the bytes that a step on ``count`` of the longest texts keeps until its backward pass, weights left out."""
    network = Network(features.encoder, config, start=None, num_classes=2).train()
    source = features.inputs("train", config.freeze_depth)
    batch = source.batch(np.full(count, source.lengths_N.argmax()))
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no other is put in its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        F.cross_entropy(network(batch), batch.labels_B)
    return sum(t.untyped_storage().nbytes() for pointer, t in kept.items() if pointer not in weights)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_a_step_keeps_lies_below_the_bound_and_not_far_below(
    tiny_encoder, tiny_splits, make_config, precision
):
    longest = int(tiny_splits.train.lengths_N.max())
    count = 4 * FORWARD_TOKENS // longest  # a training batch larger than those of evaluation
    config = make_config(freeze_depth=0, batch_size=count, precision=precision, encoder_dropout=0.1)
    features = Features(tiny_encoder, tiny_splits, precision=precision)
    kept = saved_for_backward(features, config, count)
    bound = most_bytes(tiny_encoder, tiny_splits, config) - PROCESS_BYTES
    assert kept < bound < 8 * kept


def test_the_bound_holds_the_weights_ten_times(tiny_encoder, tiny_splits, make_config, monkeypatch):
    config = make_config(freeze_depth=3)
    before = most_bytes(tiny_encoder, tiny_splits, config)
    ballast = torch.nn.Parameter(torch.zeros(2**20), requires_grad=False)
    monkeypatch.setitem(tiny_encoder.layers[0]._parameters, "ballast", ballast)
    assert most_bytes(tiny_encoder, tiny_splits, config) == before + 10 * 4 * 2**20


def test_the_bound_grows_with_the_batch(tiny_encoder, tiny_splits, make_config):
    sizes = (1, 512, 1024)
    small, medium, large = (
        most_bytes(tiny_encoder, tiny_splits, make_config(batch_size=size)) for size in sizes
    )
    assert small < medium < large


def test_memory_is_measured_once_a_study(monkeypatch):
    measured = []
    monkeypatch.setattr(search.trials.fit_memory, "measure_memory", lambda *_: measured.append(1) or 2**30)
    study, spec = make_study(), make_spec()

    stages = []
    live = SimpleNamespace(stage=stages.append)
    features = SimpleNamespace(encoder=None, splits=None)
    assert worker_bytes(study, spec, features, live) == 2**30
    assert worker_bytes(study, spec, features, live) == 2**30
    assert measured == [1]
    assert stages == ["measuring how much memory a fit takes"]

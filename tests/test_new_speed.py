import math

import pytest
import torch

from search.new.speed import measure_memory, measure_speed
from trainers.encoder import load_encoder


@pytest.mark.slow
def test_a_worker_is_measured_by_the_memory_that_it_takes(tiny_splits, make_config):
    config = make_config(freeze_depth=0, batch_size=16, precision="auto")
    encoder = load_encoder(config.encoder)
    taken = measure_memory(encoder, tiny_splits, config)
    assert 2**20 < taken < 2**30
    ballast = torch.nn.Parameter(torch.zeros(2**25), requires_grad=False)  # 128 MiB, in the copy that trains
    encoder.layers[0].register_parameter("ballast", ballast)
    assert measure_memory(encoder, tiny_splits, config) > taken + 3 * 2**27


@pytest.mark.slow
def test_workers_are_measured_while_they_fit(tiny_splits, make_config):
    config = make_config()
    # Its own: other tests may have asked theirs for hidden states, which leaves hooks that are not to be sent.
    speed = measure_speed(load_encoder(config.encoder), tiny_splits, config, workers=2)
    assert speed.workers == 2
    assert 0 < speed.training < math.inf
    assert 0 < speed.evaluation < math.inf

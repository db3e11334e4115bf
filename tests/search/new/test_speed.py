import math
from types import SimpleNamespace

import pytest
import torch

from search.new.speed import Speed, _rates, _TimedEvaluation, first_texts, measure_speed
from search.trials.fit_memory import measure_memory
from trainers.encoder.loading import load_encoder


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
    assert 0 < speed.share <= 1
    assert 0 <= speed.start_seconds < math.inf


def look(seconds, *, flops, computed):
    """A look at a fit that has trained and evaluated for so long by the clock."""
    evaluation = SimpleNamespace(
        training_seconds=seconds, evaluation_seconds=seconds, batching_seconds=0.0, flops=flops
    )
    return _TimedEvaluation(evaluation, heard=0.0, processor_seconds=computed)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_a_machine_that_others_use_is_as_fast_as_without_them(share):
    """Two seconds of work, 60 operations of training and 40 of evaluation, however long they took."""
    before, after = look(0.0, flops=0.0, computed=3.0), look(1.0 / share, flops=100.0, computed=5.0)
    rates = _rates(before, after, trained=60.0, on_processor=True)
    assert rates == pytest.approx((60.0, 40.0, share))


def test_of_a_gpu_the_clock_counts():
    before, after = look(0.0, flops=0.0, computed=3.0), look(2.0, flops=100.0, computed=3.1)
    assert _rates(before, after, trained=60.0, on_processor=False) == pytest.approx((30.0, 20.0, 1.0))


@pytest.mark.parametrize(("share", "shared"), [(1.0, False), (0.85, False), (0.7, True)])
def test_a_worker_with_less_than_four_fifths_of_a_core_shares_it(share, shared):
    assert Speed(2, 1e9, 1e9, share=share).is_shared is shared


def test_the_first_texts_keep_their_first_tokens(tiny_splits):
    split = tiny_splits.train
    few = first_texts(split, 5, max_length=4)
    assert len(few) == 5
    for i in range(5):
        whole = split.ids_S[split.offsets_N1[i] : split.offsets_N1[i + 1]]
        assert few.ids_S[few.offsets_N1[i] : few.offsets_N1[i + 1]].tolist() == whole[:4].tolist()
    assert few.labels_N.tolist() == split.labels_N[:5].tolist()

import pytest

from search.new.ceiling import choose_ceiling, measure_head
from search.study.spec import Score
from trainers.encoder.loading import load_encoder


@pytest.mark.parametrize(
    ("head", "ceiling"), [(0.0, 0.97), (0.93, 0.97), (0.941, 0.98), (0.96, 0.98), (0.961, 0.99), (1.0, 1.0)]
)
def test_the_ceiling_lies_halfway_from_a_head_to_all_and_not_below_the_default(head, ceiling):
    assert choose_ceiling(head) == ceiling
    assert choose_ceiling(head) >= Score().ceiling


@pytest.mark.slow
def test_a_head_is_measured_on_the_untouched_encoder(tiny_splits, make_config):
    config = make_config(freeze_depth=0, metric="balanced_accuracy")
    encoder = load_encoder(config.encoder)
    before = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    reached = measure_head(encoder, tiny_splits, config)
    assert 0 < reached <= 1
    assert all((value == before[name]).all() for name, value in encoder.model.state_dict().items())
    assert reached == measure_head(encoder, tiny_splits, config)

import pytest

from search.study.portfolio import PORTFOLIO, portfolio_setups
from trainers.config import TrainConfig

DATA = {"source": "imdb", "validation": 20, "test": 20}


@pytest.mark.parametrize("num_layers", [1, 6, 12, 24])
def test_every_setup_is_a_valid_fit_on_any_encoder(num_layers):
    for setup in portfolio_setups(num_layers=num_layers):
        config = TrainConfig.model_validate({"data": DATA, **setup})
        assert 0 <= config.freeze_depth <= num_layers


def test_depth_is_a_share_of_the_layers():
    shares = [entry["freeze_share"] for entry in PORTFOLIO]
    assert [s["freeze_depth"] for s in portfolio_setups(num_layers=24)] == [round(24 * s) for s in shares]


def test_asking_changes_nothing():
    assert portfolio_setups(num_layers=6) == portfolio_setups(num_layers=6)

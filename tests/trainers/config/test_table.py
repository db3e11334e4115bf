import pytest
from pydantic import ValidationError

from trainers.config import TrainConfig, table_keys


def test_a_configuration_cannot_be_changed(make_config):
    with pytest.raises(ValidationError, match="frozen"):
        make_config().dropout = 0.5


def test_keys_of_a_table_are_found_by_its_path():
    assert set(table_keys(TrainConfig, ("encoder",))) == {"name", "revision", "pooling"}


def test_a_scalar_has_no_keys():
    assert list(table_keys(TrainConfig, ("dropout", "low"))) == []

import pytest
from pydantic import BaseModel, ValidationError

from trainers.errors import describe, nearest


class Simple(BaseModel):
    text: int


def test_nearest_suggests_a_close_word():
    assert nearest("learning_rat", ["dropout", "learning_rate"]) == "; did you mean 'learning_rate'?"


def test_nearest_is_silent_when_nothing_is_close():
    assert nearest("xyz", ["dropout", "learning_rate"]) == ""


def test_a_long_value_is_cut_short():
    with pytest.raises(ValidationError) as caught:
        Simple(text="x" * 500)
    message = describe(caught.value, valid_keys=lambda _: [])
    assert message.endswith(f"got '{'x' * 56}...")

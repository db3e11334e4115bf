import pytest
from pydantic import BaseModel, ValidationError

from trainers.errors import describe, nearest, printable


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\n\tb  c", "a b c"),
        ("\x00\x07\x9b", "\\x00\\x07\\x9b"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("\udcff", "\\udcff"),
        ("müll 🙂 👩‍🚀 日本", "müll 🙂 👩‍🚀 日本"),
        (12, "12"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown

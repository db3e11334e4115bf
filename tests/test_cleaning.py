import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.cleaning import clean


@pytest.mark.parametrize(
    ("dirty", "cleaned"),
    [
        ("one<br /><br />two", "one two"),
        ("one&lt;br /&gt;two", "one two"),
        ("<i>very</i> good", "very good"),
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("  wide \n\t space  ", "wide space"),
        ("I <3 it, 1 < 2 > 0", "I <3 it, 1 < 2 > 0"),
        ("", ""),
    ],
)
def test_markup_and_white_space_are_cleaned(dirty, cleaned):
    assert clean(dirty) == cleaned


@given(st.text())
def test_a_cleaned_text_has_no_outer_or_double_blanks(text):
    assert clean(text) == " ".join(clean(text).split())

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.cleaning import LONGEST_TEXT, mend


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
    assert mend(dirty)[0] == cleaned


@given(st.text())
def test_a_mended_text_has_no_outer_or_double_blanks(text):
    plain, _ = mend(text)
    assert plain == " ".join(plain.split())


@pytest.mark.parametrize(
    ("dirty", "plain", "what"),
    [
        ("a\0b", "ab", "NUL characters were removed"),
        ("a\ud800b", "a\ufffdb", "halves of characters (lone surrogates) were replaced by \ufffd"),
        (
            "\ufeffsoft\u00adhyphen\u200b\u202e",
            "softhyphen",
            "invisible characters (zero-width, soft hyphens, writing direction) were removed",
        ),
        ("a<br />b", "a b", "markup and white space were cleaned"),
    ],
)
def test_what_is_mended_is_said(dirty, plain, what):
    assert mend(dirty) == (plain, (what,))


@pytest.mark.parametrize(
    "text",
    [
        "שלום עולם",
        "مرحبا بالعالم",
        "می\u200cخواهم",  # noqa: RUF001
        "👩\u200d💻👍🏽 great",
        "नमस्ते",
        "日本語の文",
        "e\u0301",
        "NA",
        "007",
    ],
)
def test_scripts_and_emoji_stay_as_they_are(text):
    assert mend(text) == (text, ())


@pytest.mark.parametrize("dirty", ["a&shy;b", "a&#8203;b", "a&#x200e;b"])
def test_what_an_entity_stands_for_is_mended_too(dirty):
    plain, done = mend(dirty)
    assert plain == "ab"
    assert done == (
        "invisible characters (zero-width, soft hyphens, writing direction) were removed",
        "markup and white space were cleaned",
    )


def test_of_a_huge_text_start_and_end_are_kept():
    plain, done = mend("a" * LONGEST_TEXT + "the end")
    assert len(plain) == LONGEST_TEXT + 1
    assert plain.startswith("aaa")
    assert plain.endswith("athe end")
    assert done == ("texts of more than 200,000 characters lost their middle",)


@given(st.text())
def test_mending_twice_changes_no_more(text):
    plain, _ = mend(text)
    if "&" not in plain and "<" not in plain:  # an escaped entity becomes an entity
        assert mend(plain) == (plain, ())

import time

import pytest
from hypothesis import given, strategies as st

from trainers.data.cleaning import LONGEST_TEXT, clean_text


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
    assert clean_text(dirty)[0] == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "std::vector<int> v; Map<String, Integer> m;",
        "hey <user>, see <url>",
        "a <b and c> d",
        "if a<b and c>d or x <s, t> y",
        "<o:p>, <grin>, </SPOILER>, <sigh>, <http://example.org/?a=1>",
        "the <summary of it> and <selected text>",
        "?a=1&copy=2&lt=3&region=4, AT&T, R&D;, &foo; and &notb;",
        "x << 2 >> 1 <= 3 => 4 <> 5",
    ],
)
def test_what_only_looks_like_markup_is_text(text):
    assert clean_text(text) == (text, ())


@pytest.mark.parametrize(
    "tag",
    [
        *(
            "<br>",
            "<BR/>",
            "<br clear=all>",
            "</p>",
            "<h1>",
            "<hr noshade size=1 />",
            "<td nowrap align=left>",
        ),
        "<a href='x'class=y>",
        "<a href = http://example.org/x/?y=z>",
        '<DIV\nclass="a b"\tdata-x="1">',
        "<img src='x' alt=''/>",
        "<input disabled/>",
        "<span style=\"color: red\" onclick='f()'>",
    ],
)
def test_tags_of_html_with_attributes_of_any_kind_are_cut_out(tag):
    assert clean_text(f"one{tag}two")[0] == "one two"


@pytest.mark.parametrize("entity", ["&#8217;", "&#8217", "&#x2019;", "&rsquo;"])
def test_entities_of_html_are_resolved(entity):
    assert clean_text(f"it{entity} s")[0] == "it\u2019 s"


@pytest.mark.parametrize(
    ("clean", "plain"),
    [
        ("html", "one two <int> & a \ufffd"),
        ("spaces", "one<br />two <int> &amp; a \ufffd"),
        ("none", " one<br />two\n<int>\0 &amp; \u200ba \ufffd"),
        ("0.1", "one two & a \ufffd"),
    ],
)
def test_what_is_cut_out_can_be_chosen(clean, plain):
    assert clean_text(" one<br />two\n<int>\0 &amp; \u200ba \ud800", clean)[0] == plain


def test_white_space_alone_is_not_called_markup():
    assert clean_text(" a  b ", "spaces") == ("a b", ("white space was cleaned",))


@pytest.mark.parametrize(
    "text",
    [
        "<a" + " " * 10**5,
        "<a x=" * 10**4,
        "<a " + "x=y " * 10**4,
        '<a x="' * 10**4,
        "<a " + "async " * 10**4,
        "&#1" * 10**4,
    ],
)
def test_texts_made_to_be_slow_are_cleaned_at_once(text):
    began = time.process_time()
    clean_text(text)
    assert time.process_time() - began < 2


@given(st.text())
def test_a_mended_text_has_no_outer_or_double_blanks(text):
    plain, _ = clean_text(text)
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
    assert clean_text(dirty) == (plain, (what,))


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
    assert clean_text(text) == (text, ())


@pytest.mark.parametrize("dirty", ["a&shy;b", "a&#8203;b", "a&#x200e;b"])
def test_what_an_entity_stands_for_is_mended_too(dirty):
    plain, done = clean_text(dirty)
    assert plain == "ab"
    assert done == (
        "invisible characters (zero-width, soft hyphens, writing direction) were removed",
        "markup and white space were cleaned",
    )


def test_of_a_huge_text_start_and_end_are_kept():
    plain, done = clean_text("a" * LONGEST_TEXT + "the end")
    assert len(plain) == LONGEST_TEXT + 1
    assert plain.startswith("aaa")
    assert plain.endswith("athe end")
    assert done == ("texts of more than 200,000 characters lost their middle",)


@given(st.text())
def test_mending_twice_changes_no_more(text):
    plain, _ = clean_text(text)
    if "&" not in plain and "<" not in plain:  # an escaped entity becomes an entity
        assert clean_text(plain) == (plain, ())

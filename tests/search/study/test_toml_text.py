import tomllib

from hypothesis import given, strategies as st

from search.study.toml_text import study_toml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXTS, SCALARS, max_size=3)


@given(
    st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), SCALARS | st.dictionaries(TEXTS, VALUES))
)
def test_what_is_written_is_read_again(table):
    assert tomllib.loads(study_toml(table)) == table


def test_a_delete_character_is_escaped():
    assert study_toml({"a": {"x\x7f": "\x7f"}}) == '\n[a]\n"x\\u007f" = "\\u007f"\n'

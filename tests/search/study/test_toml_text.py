import tomllib

from hypothesis import given, strategies as st

from search.study.toml_text import study_toml

# A study holds no control characters; of those, JSON writes DEL as it is.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=12)
SCALARS = (
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXTS, SCALARS, max_size=3)


@given(
    st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), SCALARS | st.dictionaries(TEXTS, VALUES))
)
def test_what_is_written_is_read_again(table):
    assert tomllib.loads(study_toml(table)) == table

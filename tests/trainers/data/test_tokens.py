from itertools import pairwise

from hypothesis import given, strategies as st

from trainers.data.tokens import encode, pack


def spell(rows, tokenizer):
    return [" ".join(tokenizer.convert_ids_to_tokens(row)) for row in rows]


def test_a_short_text_is_kept_whole(tiny_encoder):
    rows = encode(["the film was good"], tiny_encoder.tokenizer, max_length=8, head_tokens=2)
    assert spell(rows, tiny_encoder.tokenizer) == ["[CLS] the film was good [SEP]"]


def test_of_a_long_text_the_start_and_the_end_are_kept(tiny_encoder):
    rows = encode(["the film was very good and warm"], tiny_encoder.tokenizer, max_length=7, head_tokens=2)
    assert spell(rows, tiny_encoder.tokenizer) == ["[CLS] the film good and warm [SEP]"]


def test_without_head_tokens_the_start_alone_is_kept(tiny_encoder):
    rows = encode(["the film was very good"], tiny_encoder.tokenizer, max_length=5, head_tokens=None)
    assert spell(rows, tiny_encoder.tokenizer) == ["[CLS] the film was [SEP]"]


def test_with_zero_head_tokens_the_end_alone_is_kept(tiny_encoder):
    rows = encode(["the film was very good"], tiny_encoder.tokenizer, max_length=5, head_tokens=0)
    assert spell(rows, tiny_encoder.tokenizer) == ["[CLS] was very good [SEP]"]


def test_with_all_head_tokens_no_end_is_kept(tiny_encoder):
    rows = encode(["the film was very good"], tiny_encoder.tokenizer, max_length=5, head_tokens=3)
    assert spell(rows, tiny_encoder.tokenizer) == ["[CLS] the film was [SEP]"]


def test_an_empty_text_gives_the_special_tokens(tiny_encoder):
    rows = encode([""], tiny_encoder.tokenizer, max_length=8, head_tokens=None)
    assert spell(rows, tiny_encoder.tokenizer) == ["[CLS] [SEP]"]


def test_no_texts_give_no_rows(tiny_encoder):
    assert encode([], tiny_encoder.tokenizer, max_length=8, head_tokens=None) == []


@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=6), max_size=6))
def test_packed_rows_can_be_unpacked(rows):
    ids_S, offsets_N1 = pack(rows)
    assert [ids_S[a:b].tolist() for a, b in pairwise(offsets_N1)] == rows

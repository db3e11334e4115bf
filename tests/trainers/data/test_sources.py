import hashlib
from decimal import Decimal

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from trainers.config import DataConfig
from trainers.data.filtering import admit
from trainers.data.sources import read_source
from trainers.errors import InputError

REVIEWS = [(f"text number {i}", i % 2) for i in range(40)]


def read(source, **settings):
    return read_source(DataConfig(source=str(source), **settings))


def refusal(source, **settings):
    with pytest.raises(InputError) as caught:
        read(source, **settings)
    return str(caught.value)


def write_csv(path, rows, header="text,label"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def dataset(rows=REVIEWS, **changes):
    content = {"text": [t for t, _ in rows], "label": [k for _, k in rows]}
    return datasets.Dataset.from_dict(content | changes)


@pytest.fixture(params=["csv", "tsv", "jsonl", "parquet", "directory"])
def same_reviews(request, tmp_path):
    """The same forty reviews in each of the formats."""
    path = tmp_path / f"reviews.{request.param}"
    if request.param == "csv":
        return write_csv(path, REVIEWS)
    if request.param == "tsv":
        path.write_text("text\tlabel\n" + "".join(f"{t}\t{k}\n" for t, k in REVIEWS))
    elif request.param == "jsonl":
        dataset().to_json(path)
    elif request.param == "parquet":
        dataset().to_parquet(path)
    else:
        dataset().save_to_disk(path)
    return path


def test_every_format_gives_the_same_rows_and_fingerprint(same_reviews, tmp_path):
    source = read(same_reviews)
    assert [(row.text, row.label) for row in source.rows] == [(t, str(k)) for t, k in REVIEWS]
    assert source.fingerprint() == read(write_csv(tmp_path / "plain.csv", REVIEWS)).fingerprint()


def test_the_fingerprint_tells_any_change_of_text_label_or_split(tmp_path):
    path = tmp_path / "r.csv"
    one = [("a b", 0, "train"), ("c d", 1, "test")]
    others = [
        [("a b!", 0, "train"), ("c d", 1, "test")],
        [("a b", 1, "train"), ("c d", 1, "test")],
        [("a b", 0, "test"), ("c d", 1, "test")],
        one[:1],
        one[::-1],
    ]
    prints = {
        read(write_csv(path, rows, "text,label,part"), split="part").fingerprint() for rows in [one, *others]
    }
    assert len(prints) == 1 + len(others)


def test_the_fingerprint_of_sound_labels_is_that_of_version_0_1(tmp_path):
    rows = [("a b", "0.0"), ("c d", "1.0"), ("e f", "not  good"), ("g h", "b\u200b"), ("i j", "007")]
    expected = hashlib.sha256()
    for text, label in rows:
        for part in (text, label, ""):
            expected.update(len(part.encode()).to_bytes(8, "little") + part.encode())
    assert read(write_csv(tmp_path / "r.csv", rows)).fingerprint() == expected.hexdigest()


def test_labels_that_became_one_class_change_the_fingerprint_as_other_texts_would(tmp_path):
    apart, once = (
        read(write_csv(tmp_path / "r.csv", [("a b", "0"), ("c d", zero)])).fingerprint()
        for zero in ("0.0", "0")
    )
    assert apart == once


def test_numbers_of_two_files_are_the_same_classes(tmp_path):
    first = write_csv(tmp_path / "train.csv", [(t, f"{k}.0") for t, k in REVIEWS[:20]])
    dataset(REVIEWS[20:], label=[bool(k) for _, k in REVIEWS[20:]]).to_parquet(tmp_path / "dev.parquet")
    rows = admit(read(first, validation_source=str(tmp_path / "dev.parquet"))).rows
    assert [row.label for row in rows] == [f"{k}.0" for _, k in REVIEWS]


def test_files_without_a_header_are_read_together(tmp_path):
    rows = [(f"a rather long text {i}", ("good", "bad")[i % 2]) for i in range(40)]
    first = write_csv(tmp_path / "train.csv", rows[1:37], ",".join(rows[0]))
    second = write_csv(tmp_path / "dev.csv", rows[38:], ",".join(rows[37]))
    source = read(first, validation_source=str(second))
    assert [(row.text, row.label) for row in source.rows] == rows
    assert [row.line for row in source.rows] == [*range(1, 38), 1, 2, 3]
    assert read(first, text="column 1", label="column 2").rows == [
        row for row in source.rows if row.file == "train.csv"
    ]


def test_classes_known_by_number_get_their_names(tmp_path):
    content = dataset(REVIEWS[:4]).cast_column("label", datasets.ClassLabel(names=["bad", "good"]))
    content.to_parquet(tmp_path / "r.parquet")
    assert [row.label for row in read(tmp_path / "r.parquet").rows] == ["bad", "good", "bad", "good"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([True, False], ["True", "False"]), ([1.0, float("nan")], ["1", None]), ([7, None], ["7", None])],
)
def test_labels_of_any_kind_become_names(tmp_path, labels, expected):
    dataset(REVIEWS[:2], label=labels).to_parquet(tmp_path / "r.parquet")
    assert [row.label for row in read(tmp_path / "r.parquet").rows] == expected


def test_a_column_names_the_splits(tmp_path):
    path = write_csv(
        tmp_path / "r.csv", [("a", 0, "Train"), ("b", 1, " DEV"), ("c", 0, "test")], "text,label,part"
    )
    assert [row.split for row in read(path, split="part").rows] == ["train", "validation", "test"]


def test_unknown_names_of_splits_are_an_error_with_their_lines(tmp_path):
    path = write_csv(
        tmp_path / "r.csv", [("a", 0, "train"), ("b", 1, "hold"), ("c", 0, "")], "text,label,part"
    )
    assert refusal(path, split="part") == (
        "r.csv, lines 3, 4: column 'part' must say train, validation or test in each row, got '', 'hold'; fix these"
    )


def test_missing_columns_of_all_files_are_told_at_once(tmp_path):
    first = write_csv(tmp_path / "a.csv", REVIEWS)
    second = write_csv(tmp_path / "b.csv", REVIEWS, "texts,labels")
    assert refusal(first, text="txt", test_source=str(second)) == (
        "a.csv: data.text = 'txt': no column 'txt'; columns are 'text', 'label'; did you mean 'text'?; "
        "b.csv: no column 'label'; columns are 'texts', 'labels'; did you mean 'labels'?"
    )


def test_a_value_that_is_no_text_or_label_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(
        '{"text": ["a"], "label": 0}\n{"text": "b", "label": {"x": 1}}\n{"text": "c", "label": 1}\n'
    )
    assert refusal(path) == (
        "r.jsonl, line 1: column 'text' must hold one text a row, got list; fix these; "
        "r.jsonl, line 2: column 'label' must hold one label a row, got dict; fix these"
    )


def typed(**columns):
    """An Arrow table of the reviews, with further columns."""
    content = {"text": [t for t, _ in REVIEWS], "label": [k for _, k in REVIEWS]}
    return pa.table(content | columns)


def nested():
    """A column of each type that cannot hold texts or labels."""
    count = len(REVIEWS)
    return {
        "map": pa.array([[("a", 1)]] * count, pa.map_(pa.string(), pa.int64())),
        "list": [["a", "b"]] * count,
        "struct": [{"bytes": b"\x89PNG", "path": "a.png"}] * count,
        "bytes": [b"\xff"] * count,
        "time": pa.array([0] * count, pa.timestamp("s")),
        "decimal": [Decimal("1.5")] * count,
    }


NOT_READ = (
    "columns that hold neither text nor numbers are not read: 'map' (map), 'list' (list), 'struct' (struct), 'bytes' "
    "(binary), 'time' (timestamp[ms]), 'decimal' (decimal128(2, 1))"
)


def test_columns_that_nobody_uses_may_be_of_any_type(tmp_path):
    parquet.write_table(typed(**nested()), tmp_path / "r.parquet")
    source = read(tmp_path / "r.parquet")
    assert [(row.text, row.label) for row in source.rows] == [(t, str(k)) for t, k in REVIEWS]
    assert NOT_READ in [finding.message for finding in source.findings]


def test_of_a_saved_data_set_images_and_lists_are_not_read(tmp_path):
    images = [{"bytes": b"no image", "path": None}] * len(REVIEWS)
    content = dataset(tags=[["a"]] * len(REVIEWS), image=images).cast_column("image", datasets.Image())
    content.save_to_disk(tmp_path / "saved")
    source = read(tmp_path / "saved")
    assert len(source.rows) == len(REVIEWS)
    assert "columns that hold neither text nor numbers are not read: 'tags' (list), 'image' (struct)" in [
        finding.message for finding in source.findings
    ]


def test_only_the_columns_that_may_be_needed_are_read(tmp_path, monkeypatch):
    parquet.write_table(typed(**nested()), tmp_path / "r.parquet")
    asked, read_all = [], parquet.ParquetFile.read

    def spy(file, columns):
        asked.extend(columns)
        return read_all(file, columns)

    monkeypatch.setattr(parquet.ParquetFile, "read", spy)
    read(tmp_path / "r.parquet")
    assert asked == ["text", "label"]


@pytest.mark.parametrize(
    ("key", "column", "kind"),
    [("text", "map", "map"), ("label", "struct", "struct"), ("split", "list", "list")],
)
def test_a_named_column_that_cannot_hold_texts_is_an_error(tmp_path, key, column, kind):
    parquet.write_table(typed(**nested()), tmp_path / "r.parquet")
    assert refusal(tmp_path / "r.parquet", **{key: column}) == (
        f"r.parquet: data.{key} = '{column}': this column must hold one {key} a row, got {kind}; name another"
    )


def test_a_column_that_is_missing_since_it_is_not_read_is_told(tmp_path):
    table = pa.table({"text": nested()["list"], "label": [k for _, k in REVIEWS]})
    parquet.write_table(table, tmp_path / "r.parquet")
    assert refusal(tmp_path / "r.parquet").startswith(
        "r.parquet: columns that hold neither text nor numbers are not read: 'text' (list); r.parquet: no column has a "
        "usual name for texts"
    )


def test_categories_of_pandas_are_labels(tmp_path):
    names = pa.array(["no" if k else "yes" for _, k in REVIEWS]).dictionary_encode()
    parquet.write_table(pa.table({"text": [t for t, _ in REVIEWS], "label": names}), tmp_path / "r.parquet")
    assert [row.label for row in read(tmp_path / "r.parquet").rows[:2]] == ["yes", "no"]


def test_two_parquet_columns_of_one_name_are_an_error(tmp_path):
    texts, labels = typed().columns
    table = pa.Table.from_arrays([texts, labels, labels], names=["text", "label", "label"])
    parquet.write_table(table, tmp_path / "r.parquet")
    assert refusal(tmp_path / "r.parquet") == (
        "r.parquet: columns must have different names, got 'label' more than once; rename them"
    )


def test_a_parquet_file_without_rows_is_an_error(tmp_path):
    parquet.write_table(typed().slice(0, 0), tmp_path / "r.parquet")
    assert refusal(tmp_path / "r.parquet") == "r.parquet must have rows, got none; add them"


def hidden(rows):
    labels = datasets.ClassLabel(names=["bad", "good"])
    return dataset(rows, label=[-1] * len(rows)).cast_column("label", labels)


def shown(rows):
    return dataset(rows).cast_column("label", datasets.ClassLabel(names=["bad", "good"]))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_whose_labels_are_hidden_is_said_to_be(tmp_path, split):
    parts = {"train": shown(REVIEWS[:30]), split: hidden(REVIEWS[30:])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    source = read(tmp_path / "saved")
    assert [str(f) for f in source.findings if f.severity == "warning"] == [
        f"saved {split}: the {split} split has no labels (-1 or none in all of its 10 rows) and is not used; another one "
        "is drawn from the training texts; label it, or leave it out"
    ]


def test_hidden_labels_may_stand_in_a_file_of_their_own(tmp_path):
    test = write_csv(tmp_path / "t.csv", [(t, -1) for t, _ in REVIEWS[:10]])
    source = read(write_csv(tmp_path / "r.csv", REVIEWS[10:]), test_source=str(test))
    assert {row.label for row in source.rows if row.split == "test"} == {None}
    assert [f.kind for f in source.findings if f.severity == "warning"] == ["hidden labels"]


def test_a_class_that_is_called_minus_one_is_not_hidden(tmp_path):
    rows = [(t, 2 * k - 1) for t, k in REVIEWS]
    test = write_csv(tmp_path / "t.csv", [(t, -1) for t, _ in REVIEWS[:10]])
    source = read(write_csv(tmp_path / "r.csv", rows), test_source=str(test))
    assert {row.label for row in source.rows if row.split == "test"} == {"-1"}
    assert not [f for f in source.findings if f.severity == "warning"]


def test_hidden_labels_of_the_training_texts_are_an_error(tmp_path):
    parts = {"train": hidden(REVIEWS[:30]), "test": shown(REVIEWS[30:])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert refusal(tmp_path / "saved") == (
        "saved train: training texts have no labels (-1 or none in all of their 30 rows); label them"
    )

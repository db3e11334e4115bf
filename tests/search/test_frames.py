import datasets
import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from search.frames import stored
from trainers.errors import InputError

TEXTS, LABELS = ["one", "two", "three"], ["a", "b", "a"]
FRAME = pd.DataFrame({"text": TEXTS, "label": LABELS})


def write(data, folder, columns=("text", "label")):
    return stored(data, folder, columns=columns)


def mistake(data, folder, columns=("text", "label")):
    with pytest.raises(InputError) as caught:
        write(data, folder, columns)
    assert not list(folder.iterdir())
    return str(caught.value)


def test_equal_content_of_any_kind_is_one_file(tmp_path):
    kinds = [
        FRAME,
        FRAME.astype(object),
        FRAME.astype({"label": "category"}),
        FRAME.set_index([[7, 7, 7]]),
        FRAME.assign(more=1),
        FRAME.to_dict("list"),
        (TEXTS, LABELS),
        (np.array(TEXTS), pd.Series(LABELS)),
        datasets.Dataset.from_pandas(FRAME),
    ]
    assert len({write(kind, tmp_path) for kind in kinds}) == 1
    assert len(list((tmp_path / "texts").iterdir())) == 1


def test_a_polars_frame_is_stored_and_a_lazy_one_refused(tmp_path):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"text": TEXTS, "label": LABELS})
    assert mistake(frame.lazy(), tmp_path) == (
        "data must be in memory, got a polars LazyFrame; call .collect() first"
    )
    assert write(frame, tmp_path) == write(FRAME, tmp_path)


def test_other_values_are_another_file(tmp_path):
    assert write(FRAME, tmp_path) != write(FRAME.iloc[::-1], tmp_path)
    assert write(FRAME, tmp_path) != write(FRAME.rename(columns={"label": "x"}), tmp_path, ("text", "x"))


def test_missing_values_and_numbers_stay_what_they_are(tmp_path):
    frame = pd.DataFrame({"text": ["one", None, np.nan], "label": [1, 2, 3]})
    path, rows = write(frame, tmp_path)
    assert rows == 3
    assert parquet.read_table(tmp_path / path).to_pydict() == {
        "text": ["one", None, None],
        "label": [1, 2, 3],
    }


def test_classes_of_a_data_set_have_their_names_and_splits_a_column(tmp_path):
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    part = datasets.Dataset.from_dict({"text": ["one", "two"], "label": [1, 0]}, features=features)
    path, _ = write(datasets.DatasetDict(train=part, test=part.select([1])), tmp_path)
    assert parquet.read_table(tmp_path / path).to_pydict() == {
        "text": ["one", "two", "two"],
        "label": ["yes", "no", "no"],
        "split": ["train", "train", "test"],
    }


def test_a_missing_column_is_named(tmp_path):
    assert mistake(FRAME, tmp_path, ("text", "stars")) == (
        "data must have a column 'stars', got 'text', 'label'; name another"
    )


def test_columns_of_one_name_are_refused_if_they_are_needed(tmp_path):
    twice = pd.DataFrame([["one", "a", 1, 2]], columns=["text", "label", "label", "x"])
    assert mistake(twice, tmp_path) == (
        "columns must have different names, got 'label' more than once; rename them"
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (FRAME.iloc[:0], "data must have rows, got none; add them"),
        (
            (TEXTS, LABELS[:2]),
            "all lists must be of one length, got 'text' 3, 'label' 2; give each text its label",
        ),
        (("one", LABELS), "each column must be a list, got one text; put it in a list"),
    ],
)
def test_what_has_no_labelled_texts_is_refused(data, words, tmp_path):
    assert mistake(data, tmp_path) == words


def test_a_column_of_several_kinds_is_refused(tmp_path):
    said = mistake(FRAME.assign(label=["a", 1, b"c"]), tmp_path)
    assert said.startswith("each column of the data must hold values of one kind, got: ")


def test_a_control_character_in_a_name_is_refused(tmp_path):
    said = mistake(FRAME.rename(columns={"text": "a\nb"}), tmp_path, ("a\nb", "label"))
    assert said == "names of columns must hold no control characters, got 'a\\nb'; rename it"


def test_anything_else_is_refused(tmp_path):
    assert mistake(3, tmp_path).endswith("or a path, got int; convert it")

import json

import datasets
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from trainers.config import DataConfig
from trainers.data import describe_data, read_texts
from trainers.data.label_guesses import suggest_labels
from trainers.errors import InputError

WORDS = ("late", "broken", "refund")


def sets_of(count=120):
    """Every combination of three labels in turn, one text each."""
    return [
        (
            f"ticket number {i} says {'x' * (i % 7)} {i * i}",
            [w for bit, w in enumerate(WORDS) if (i >> bit) & 1],
        )
        for i in range(count)
    ]


def with_separator(path, separator=";", rows=None, name="tags"):
    lines = [f'"{text}","{separator.join(labels)}"' for text, labels in rows or sets_of()]
    path.write_text(f"text,{name}\n" + "\n".join(lines) + "\n")
    return path


def with_columns(path, rows=None):
    lines = [
        f'"{text}",{",".join(str(int(w in labels)) for w in WORDS)}' for text, labels in rows or sets_of()
    ]
    path.write_text(f"text,{','.join(WORDS)}\n" + "\n".join(lines) + "\n")
    return path


def with_json_lines(path):
    path.write_text("".join(json.dumps({"text": t, "tags": labels}) + "\n" for t, labels in sets_of()))
    return path


def with_parquet(path):
    texts, labels = zip(*sets_of(), strict=True)
    parquet.write_table(pyarrow.table({"text": list(texts), "tags": list(labels)}), path)
    return path


def with_data_set(path):
    texts, labels = zip(*sets_of(), strict=True)
    features = datasets.Features(
        {"text": datasets.Value("string"), "tags": datasets.List(datasets.ClassLabel(names=list(WORDS)))}
    )
    numbers = [[WORDS.index(name) for name in names] for names in labels]
    datasets.Dataset.from_dict({"text": list(texts), "tags": numbers}, features=features).save_to_disk(path)
    return path


def labels_by_text(texts):
    return {
        row.text: {name for name, has in zip(texts.class_names, labels, strict=True) if has}
        for row, labels in zip(texts.rows, texts.labels_N, strict=True)
    }


@pytest.mark.parametrize(
    ("write", "name", "keys"),
    [
        (with_separator, "a.csv", {"label_separator": ";"}),
        (with_columns, "a.csv", {"label": WORDS}),
        (with_json_lines, "a.jsonl", {"label_separator": "json"}),
        (with_parquet, "a.parquet", {"label_separator": "json"}),
        (with_data_set, "a", {"label_separator": "json"}),
    ],
)
def test_every_form_of_several_labels_is_read_alike(tmp_path, write, name, keys):
    texts = read_texts(DataConfig(source=str(write(tmp_path / name)), clean="spaces", **keys))
    wanted = {" ".join(text.split()): set(labels) for text, labels in sets_of()}
    assert texts.task == "several_labels"
    assert labels_by_text(texts) == wanted


def test_a_text_without_a_label_is_kept_and_told(tmp_path):
    texts = read_texts(DataConfig(source=str(with_separator(tmp_path / "a.csv")), label_separator=";"))
    [told] = [f for f in texts.findings if f.kind == "no label at all"]
    assert (told.severity, told.count, told.lines[:2]) == ("note", 15, (2, 10))
    assert (~texts.labels_N.any(axis=1)).sum() == 15


def test_columns_keep_their_order_and_names(tmp_path):
    texts = read_texts(DataConfig(source=str(with_columns(tmp_path / "a.csv")), label=("refund", "late")))
    assert texts.class_names == ("refund", "late")


def test_all_bad_cells_of_all_columns_are_told_at_once(tmp_path):
    path = with_columns(tmp_path / "a.csv")
    lines = path.read_text().split("\n")
    lines[3] = '"a third text",2,1,0'
    lines[5] = '"a fifth text",maybe,,0'
    path.write_text("\n".join(lines))
    with pytest.raises(InputError) as caught:
        read_texts(DataConfig(source=str(path), label=WORDS))
    said = str(caught.value)
    assert (
        "a.csv, lines 4, 6: column 'late' must hold 0 or 1 in each row, got '2', 'maybe'; fix these" in said
    )
    assert "a.csv, line 6: column 'broken' must hold 0 or 1 in each row, got nothing; fix these" in said


def test_a_cell_that_is_no_list_is_told_with_its_line(tmp_path):
    path = tmp_path / "a.csv"
    rows = [f'"text {i} of many","[""{"a" if i % 2 else "b"}""]"' for i in range(40)]
    rows[1], rows[4] = '"one more text",a;b', '"and one more","[""a"", null]"'
    path.write_text("text,tags\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError) as caught:
        read_texts(DataConfig(source=str(path), label_separator="json"))
    assert (
        "a.csv, line 3: column 'tags' must hold a JSON list of labels in each row, got 'a;b'; fix these"
        in str(caught.value)
    )
    assert (
        "a.csv, line 6: column 'tags' must hold a JSON list of labels in each row, got a list with 'None' in it"
        in str(caught.value)
    )


def test_a_parquet_column_of_lists_says_how_to_read_it(tmp_path):
    path = with_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r'set data\.label_separator = "json" to read several labels a text'):
        read_texts(DataConfig(source=str(path), label="tags"))


def test_labels_that_are_on_too_few_texts_or_on_nearly_all_are_errors_together(tmp_path):
    rows = [(text, [*labels, "always"] + ["rare"] * (i == 8)) for i, (text, labels) in enumerate(sets_of())]
    with pytest.raises(InputError) as caught:
        read_texts(DataConfig(source=str(with_separator(tmp_path / "a.csv", rows=rows)), label_separator=";"))
    assert (
        "10 distinct texts must have each of the 5 labels, got 'rare' 1; add texts, or drop these labels"
        in str(caught.value)
    )
    assert "10 distinct texts must be without each of the 5 labels, got 'always' 0" in str(caught.value)


def test_one_label_alone_is_refused(tmp_path):
    rows = [(text, ["late"] if i % 2 else []) for i, (text, _) in enumerate(sets_of())]
    with pytest.raises(
        InputError, match="several labels a text must be two labels at least, got 'late' alone"
    ):
        read_texts(DataConfig(source=str(with_separator(tmp_path / "a.csv", rows=rows)), label_separator=";"))


def test_equal_texts_with_different_labels_contradict_each_other(tmp_path):
    rows = [*sets_of(), ("ticket number 3 says xxx 9", ["refund"])]
    texts = read_texts(
        DataConfig(source=str(with_separator(tmp_path / "a.csv", rows=rows)), label_separator=";")
    )
    assert texts.admitted.contradictions == 2


def test_labels_lose_what_nobody_sees_and_stand_once(tmp_path):
    rows = [(text, [f" {name} " for name in labels + labels]) for text, labels in sets_of()]
    texts = read_texts(
        DataConfig(source=str(with_separator(tmp_path / "a.csv", rows=rows)), label_separator=";")
    )
    assert set(texts.class_names) == set(WORDS)


def test_a_given_test_split_whose_cells_are_empty_is_hidden_and_drawn_anew(tmp_path):
    path = with_columns(tmp_path / "a.csv")
    (tmp_path / "test.csv").write_text(
        f"text,{','.join(WORDS)}\n" + "".join(f'"hidden text {i}",-1,-1,-1\n' for i in range(20))
    )
    texts = read_texts(DataConfig(source=str(path), label=WORDS, test_source=str(tmp_path / "test.csv")))
    assert any(f.kind == "hidden labels" and "test split" in f.message for f in texts.findings)
    assert len(texts.parts["test"]) == 24


def test_splits_hold_each_label_and_the_texts_without_one_in_proportion(tmp_path):
    texts = read_texts(
        DataConfig(source=str(with_separator(tmp_path / "a.csv", rows=sets_of(400))), label_separator=";")
    )
    labels = np.hstack([texts.labels_N, ~texts.labels_N.any(axis=1, keepdims=True)])
    for name in ("validation", "test"):
        part = texts.parts[name]
        assert len(part) == 80
        assert (np.abs(labels[part].sum(axis=0) - 0.2 * labels.sum(axis=0)) <= 4).all()


def test_groups_of_several_labels_stay_together(tmp_path):
    path = tmp_path / "a.csv"
    lines = [f'"{text}","{";".join(labels)}",{i // 4}' for i, (text, labels) in enumerate(sets_of(240))]
    path.write_text("text,tags,patient\n" + "\n".join(lines) + "\n")
    texts = read_texts(DataConfig(source=str(path), label_separator=";", group="patient"))
    groups = [{texts.rows[i].group for i in part} for part in texts.parts.values()]
    assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2])
    assert texts.labels_N[texts.parts["test"]].any(axis=0).all()


def test_the_data_page_counts_a_text_for_each_of_its_labels(tmp_path, tiny_encoder):
    from trainers.data import load_splits

    source = str(with_separator(tmp_path / "a.csv"))
    page = describe_data(load_splits(DataConfig(source=source, label_separator=";"), tiny_encoder.tokenizer))
    assert page["several_labels"] is True
    assert [sum(column) for column in zip(*page["texts_per_class"].values(), strict=True)] == [60, 60, 60]
    assert sum(page["texts_without_label"].values()) == 15


@pytest.mark.parametrize(
    ("write", "name", "label", "separator"),
    [
        (with_separator, "a.csv", ("tags",), ";"),
        (with_columns, "a.csv", WORDS, None),
        (with_json_lines, "a.jsonl", ("tags",), "json"),
        (with_parquet, "a.parquet", ("tags",), "json"),
    ],
)
def test_several_labels_are_noticed(tmp_path, write, name, label, separator):
    guess = suggest_labels(DataConfig(source=str(write(tmp_path / name))))
    assert (guess.label, guess.separator, guess.sure) == (label, separator, True)


@pytest.mark.parametrize("separator", ["|", ","])
def test_other_separators_are_noticed(tmp_path, separator):
    guess = suggest_labels(DataConfig(source=str(with_separator(tmp_path / "a.csv", separator))))
    assert guess.separator == separator


def test_names_of_classes_with_commas_are_no_several_labels(tmp_path):
    rows = [
        (text, [("Smith, John", "Doe, Jane", "neither; nor")[i % 3]]) for i, (text, _) in enumerate(sets_of())
    ]
    assert (
        suggest_labels(DataConfig(source=str(with_separator(tmp_path / "a.csv", rows=rows, name="label"))))
        is None
    )


def test_truth_values_beside_a_column_of_labels_are_told_and_not_taken(tmp_path):
    path = tmp_path / "a.csv"
    lines = [
        f'"{text}",{"good" if i % 2 else "bad"},{i % 2},{i % 3 // 2}' for i, (text, _) in enumerate(sets_of())
    ]
    path.write_text("text,label,is_new,is_long\n" + "\n".join(lines) + "\n")
    guess = suggest_labels(DataConfig(source=str(path)))
    assert not guess.sure
    assert guess.message == (
        "columns 'is_new', 'is_long' hold 0 and 1; if they are labels, label = [\"is_new\", \"is_long\"] reads them so"
    )

import json

import pytest
from pydantic import ValidationError
from winners import COMPLETE, mistakes, write

from trainers.config import PACKAGED_SOURCES, DataConfig, load_config


def test_head_tokens_leave_room_for_special_tokens():
    with pytest.raises(ValidationError, match="at most max_length - 2 = 30, got 31"):
        DataConfig(source="imdb", validation=10, test=10, max_length=32, head_tokens=31)


def test_both_packaged_sources_are_known():
    assert PACKAGED_SOURCES == ("imdb", "rotten_tomatoes")


def test_a_path_is_relative_to_the_file_that_names_it(tmp_path):
    own = COMPLETE.replace('"imdb"', '"texts/reviews.csv"\ntest_source = "../test.jsonl"')
    config = load_config(write(tmp_path, own))
    assert config.data.source == str(tmp_path / "texts" / "reviews.csv")
    assert config.data.test_source == str(tmp_path.parent / "test.jsonl")


def test_an_absolute_path_stays(tmp_path):
    config = load_config(write(tmp_path, COMPLETE.replace("imdb", "/texts/reviews.parquet")))
    assert config.data.source == "/texts/reviews.parquet"


def test_a_directory_that_exists_is_no_hub_id(tmp_path):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    config = load_config(write(tmp_path, COMPLETE.replace("imdb", "owner/name")))
    assert config.data.source == str(tmp_path / "owner" / "name")
    assert not config.data.is_hub_id


def test_a_hub_id_stays(tmp_path):
    own = COMPLETE.replace('"imdb"', '"owner/name"\nsubset = "en"\nrevision = "v1"')
    config = load_config(write(tmp_path, own))
    assert (config.data.source, config.data.is_hub_id) == ("owner/name", True)


def test_subset_and_revision_belong_to_a_hub_id(tmp_path):
    message = mistakes(tmp_path, COMPLETE.replace('"imdb"', '"/reviews.csv"\nsubset = "en"'))
    assert message.endswith(
        "data: subset and revision belong to a hub id owner/name, got source = '/reviews.csv'; remove them"
    )


def test_a_column_of_splits_excludes_files_of_splits(tmp_path):
    own = COMPLETE.replace('"imdb"', '"/reviews.csv"\nsplit = "part"\ntest_source = "/test.csv"')
    assert mistakes(tmp_path, own).endswith(
        "data: split and validation_source or test_source exclude each other, got both; keep the column or the files"
    )


def test_a_further_source_is_a_file(tmp_path):
    message = mistakes(tmp_path, COMPLETE.replace('"imdb"', '"/reviews.csv"\ntest_source = "imdb"'))
    assert (
        "data.test_source: must be a file that ends in .csv, .tsv, .jsonl, .parquet, got 'imdb'"
    ) in message


def test_the_packaged_reviews_take_no_columns(tmp_path):
    message = mistakes(tmp_path, COMPLETE.replace('"imdb"', '"imdb"\ntext = "review"'))
    assert message.endswith(
        "data: the packaged reviews know their columns and have no splits, got text; remove them"
    )


def test_sizes_may_be_left_out(tmp_path):
    config = load_config(write(tmp_path, COMPLETE.replace("validation = 100\ntest = 100\n", "")))
    assert (config.data.train, config.data.validation, config.data.test) == (None, None, None)


def test_a_further_file_of_another_kind_is_named_with_its_remedy():
    with pytest.raises(
        ValidationError, match=r"got 'dev.xlsx', a spreadsheet; save it as CSV \(UTF-8\) there"
    ):
        DataConfig(source="/train.csv", validation_source="dev.xlsx")


def test_a_group_that_is_absent_leaves_what_is_written_of_a_configuration_as_it_was():
    plain, grouped = DataConfig(source="/r.csv"), DataConfig(source="/r.csv", group="patient")
    assert "group" not in plain.model_dump()
    assert "group" not in plain.model_dump_json()
    assert grouped.model_dump(mode="json") == {**plain.model_dump(mode="json"), "group": "patient"}
    assert DataConfig.model_validate(grouped.model_dump()) == grouped
    assert plain.model_dump()["split"] is None  # what was written before goes on being written


@pytest.mark.parametrize("label", [["late"], ["late", ""], 5])
def test_a_label_is_a_column_or_a_list_of_two_or_more(tmp_path, label):
    wrong = COMPLETE.replace('"imdb"', f'"tickets.csv"\nlabel = {json.dumps(label)}')
    assert mistakes(tmp_path, wrong).endswith(
        f"data.label: must be a column, or a list of two columns or more that hold 0 or 1, got {label!r}; change it"
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            'label = ["late", "late"]',
            "label must name each column once, got late, late; drop the repeated one",
        ),
        (
            'label = ["late", "broken"]\nlabel_separator = ";"',
            "label as a list of columns and label_separator exclude each other, got both; keep one of them",
        ),
    ],
)
def test_columns_of_labels_agree_with_what_stands_beside_them(tmp_path, keys, said):
    assert said in mistakes(tmp_path, COMPLETE.replace('"imdb"', f'"tickets.csv"\n{keys}'))


def test_several_labels_are_told_by_a_list_of_columns_or_a_separator():
    tasks = [
        DataConfig(source="/tickets.csv", **keys).task
        for keys in ({}, {"label": "a"}, {"label": ("a", "b")}, {"label_separator": ";"})
    ]
    assert tasks == ["one_label", "one_label", "several_labels", "several_labels"]


def test_a_separator_that_is_absent_leaves_what_is_written_of_a_configuration_as_it_was():
    assert "label_separator" not in DataConfig(source="imdb").model_dump(mode="json")

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


def test_several_columns_of_labels_are_refused_with_the_remedy(tmp_path):
    several = COMPLETE.replace('"imdb"', '"tickets.csv"\nlabel = ["late", "broken"]')
    assert mistakes(tmp_path, several).endswith(
        "data.label: must be the name of one column, got ['late', 'broken']: several labels a text are not supported; "
        "name one of them, and search for each in a study of its own"
    )

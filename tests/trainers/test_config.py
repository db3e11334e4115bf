import pytest
from pydantic import ValidationError

from trainers.config import (
    PACKAGED_SOURCES,
    DataConfig,
    TrainConfig,
    as_toml,
    load_config,
    read_toml,
    table_keys,
)
from trainers.errors import InputError

COMPLETE = """
freeze_depth = 4
dropout = 0.3
head_width = 64
learning_rate = 1e-5
patience = 3

[data]
source = "imdb"
validation = 100
test = 100
"""


def write(tmp_path, text):
    path = tmp_path / "winner.toml"
    path.write_text(text)
    return path


def mistakes(tmp_path, text):
    with pytest.raises(InputError) as caught:
        load_config(write(tmp_path, text))
    return str(caught.value)


def test_a_complete_file_is_read(tmp_path):
    config = load_config(write(tmp_path, COMPLETE))
    assert (config.freeze_depth, config.data.source, config.encoder.name) == (4, "imdb", "minilm")


def test_an_unknown_key_names_the_nearest_valid_one(tmp_path):
    assert mistakes(tmp_path, "droput = 0.3\n" + COMPLETE) == (
        f"{tmp_path / 'winner.toml'}: unknown key 'droput'; did you mean 'dropout'?"
    )


def test_an_unknown_key_inside_a_table_names_the_nearest_of_that_table(tmp_path):
    assert "unknown key 'data.sead'; did you mean 'seed'?" in mistakes(tmp_path, COMPLETE + "sead = 1\n")


def test_an_unknown_key_without_a_near_one_is_to_be_removed(tmp_path):
    assert "unknown key 'zzzz'; remove it" in mistakes(tmp_path, "zzzz = 1\n" + COMPLETE)


def test_every_mistake_is_listed_at_once(tmp_path):
    text = COMPLETE.replace("0.3", "1.5").replace("head_width = 64", "").replace('"imdb"', '"imbd"')
    message = mistakes(tmp_path, text)
    assert "dropout: Input should be less than 1, got 1.5" in message
    assert "'head_width' is missing; add it" in message
    assert (
        "data.source: must be imdb or rotten_tomatoes, a file that ends in .csv, .tsv, .jsonl, .parquet, a "
        "directory saved by datasets, or a hub id owner/name, got 'imbd'; did you mean 'imdb'?"
    ) in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError) as caught:
        read_toml(tmp_path / "none.toml")
    assert str(caught.value) == f"no file {tmp_path / 'none.toml'}; give the path of an existing TOML file"


def test_a_directory_cannot_be_read(tmp_path):
    with pytest.raises(InputError) as caught:
        read_toml(tmp_path)
    assert str(caught.value) == f"{tmp_path} cannot be read: Is a directory; check path and permissions"


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_bytes(b"a = = 1")
    with pytest.raises(InputError, match=r"broken\.toml is not valid TOML: .*; mend that line"):
        read_toml(path)


def test_head_tokens_leave_room_for_special_tokens():
    with pytest.raises(ValidationError, match="at most max_length - 2 = 30, got 31"):
        DataConfig(source="imdb", validation=10, test=10, max_length=32, head_tokens=31)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("freeze_depth", -1),
        ("dropout", -0.1),
        ("dropout", float("nan")),
        ("head_width", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("inf")),
        ("patience", 0),
        ("epochs", -1),
        ("batch_size", 0),
        ("warmup", 1.0),
        ("ceiling", 0.0),
        ("schedule", "cosine"),
        ("cache", "bfloat16"),
        ("seed", -1),
    ],
)
def test_a_value_out_of_range_is_refused(make_config, key, value):
    with pytest.raises(ValidationError) as caught:
        make_config(**{key: value})
    assert [mistake["loc"] for mistake in caught.value.errors()] == [(key,)]


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_a_device_may_be_one_gpu_of_several(make_config, tmp_path, device):
    path = tmp_path / "fit.toml"
    path.write_text(as_toml(make_config(device=device)))
    assert load_config(path).device == device


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:01", "cuda:-1", "mps:0", "auto", ""])
def test_what_is_no_device_is_refused(tmp_path, make_config, device):
    path = tmp_path / "fit.toml"
    path.write_text(as_toml(make_config()).replace('device = "cpu"', f'device = "{device}"'))
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value) == (
        f"{path}: device: must be cpu, cuda, cuda:N (the GPU of number N) or mps, got {device!r}"
    )


def test_a_configuration_cannot_be_changed(make_config):
    with pytest.raises(ValidationError, match="frozen"):
        make_config().dropout = 0.5


def test_keys_of_a_table_are_found_by_its_path():
    assert set(table_keys(TrainConfig, ("encoder",))) == {"name", "revision", "pooling"}


def test_a_scalar_has_no_keys():
    assert list(table_keys(TrainConfig, ("dropout", "low"))) == []


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


def test_a_configuration_that_version_0_1_exported_keeps_its_cleaning(tmp_path):
    path = tmp_path / "winner.toml"
    fit = "freeze_depth = 1\ndropout = 0.1\nhead_width = 8\nlearning_rate = 0.003\n[data]\nsource = 'imdb'\n"
    path.write_text(f"{fit}fingerprint = '{'a' * 64}'\n")
    assert load_config(path).data.clean == "0.1"
    path.write_text(fit)
    assert load_config(path).data.clean == "html"
    path.write_text(f"{fit}clean = 'none'\nfingerprint = '{'a' * 64}'\n")
    assert load_config(path).data.clean == "none"


def test_a_byte_order_mark_is_read_over(tmp_path):
    path = tmp_path / "winner.toml"
    path.write_bytes(b"\xef\xbb\xbf" + COMPLETE.replace("\n", "\r\n").encode())
    assert load_config(path).freeze_depth == 4


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (COMPLETE.encode("utf-16"), "UTF-16"),
        (b"a = 1\nb = 2\n# sch\xf6n\n", "byte 0xf6 in line 3"),
    ],
)
def test_another_encoding_is_named(tmp_path, content, got):
    path = tmp_path / "winner.toml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_toml(path)
    assert str(caught.value) == f"{path} must be UTF-8, as every TOML file, got {got}; save it as UTF-8"


def test_a_study_is_no_configuration_of_one_fit(tmp_path):
    path = tmp_path / "winner.toml"
    assert mistakes(tmp_path, "[data]\nsource = 'imdb'\n[fit]\ndropout = 0.1\n") == (
        f"{path} must be the configuration of one fit, such as a winner.toml, got a study; search it: "
        f"python -m search.run --study {path}"
    )


def test_a_further_file_of_another_kind_is_named_with_its_remedy():
    with pytest.raises(
        ValidationError, match=r"got 'dev.xlsx', a spreadsheet; save it as CSV \(UTF-8\) there"
    ):
        DataConfig(source="/train.csv", validation_source="dev.xlsx")


def test_a_probe_is_for_a_linear_head(make_config):
    with pytest.raises(
        ValidationError, match="without a hidden layer, got head_width = 8; set head_width = 0"
    ):
        make_config(head_start="probe")
    assert make_config(head_start="probe", head_width=0).head_width == 0


@pytest.mark.parametrize("start", ["random", "fitted"])
def test_only_a_probe_may_train_nothing(make_config, start):
    with pytest.raises(ValidationError, match=f'got 0 with head_start = "{start}"; raise it'):
        make_config(head_start=start, epochs=0)
    assert make_config(head_start="probe", head_width=0, epochs=0).epochs == 0

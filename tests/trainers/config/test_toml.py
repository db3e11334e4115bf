import pytest
from winners import COMPLETE, mistakes, write

from trainers.config import load_config, read_toml
from trainers.errors import InputError


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
    with pytest.raises(InputError, match=r"broken\.toml is not valid TOML: .*; fix that line"):
        read_toml(path)


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

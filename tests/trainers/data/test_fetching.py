import datasets
import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

from trainers.config import DataConfig
from trainers.data.fetching import read_tables
from trainers.errors import InputError

REVIEWS = [(f"text number {i}", i % 2) for i in range(40)]


def read(source, **settings):
    return read_tables(DataConfig(source=str(source), **settings))


def refusal(source, **settings):
    with pytest.raises(InputError) as caught:
        read(source, **settings)
    return str(caught.value)


def lengths(tables):
    """The rows of each split."""
    return {split: len(table.lines) for split, table in tables}


def dataset(rows=REVIEWS):
    return datasets.Dataset.from_dict({"text": [t for t, _ in rows], "label": [k for _, k in rows]})


def write_csv(path, rows):
    dataset(rows).to_csv(path)
    return str(path)


def test_given_splits_of_a_saved_directory_are_taken(tmp_path):
    parts = {"train": dataset(REVIEWS[:20]), "dev": dataset(REVIEWS[20:30]), "test": dataset(REVIEWS[30:])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert lengths(read(tmp_path / "saved")) == {"train": 20, "validation": 10, "test": 10}


def test_unknown_splits_are_left_out_with_a_warning(tmp_path):
    datasets.DatasetDict({"train": dataset(), "extra": dataset()}).save_to_disk(tmp_path / "saved")
    tables = read(tmp_path / "saved")
    assert lengths(tables) == {"train": 40}
    assert [f.message for _, table in tables for f in table.findings if f.severity == "warning"] == [
        "splits 'extra' are neither training, validation nor test, and not read"
    ]


def test_a_single_split_is_to_be_split(tmp_path):
    datasets.DatasetDict({"everything": dataset()}).save_to_disk(tmp_path / "saved")
    assert lengths(read(tmp_path / "saved")) == {None: 40}


def test_several_splits_without_one_to_train_on_are_an_error(tmp_path):
    datasets.DatasetDict({"a": dataset(), "test": dataset()}).save_to_disk(tmp_path / "saved")
    assert refusal(tmp_path / "saved") == "saved must have a split 'train', got 'a', 'test'; rename one"


def test_further_files_are_the_validation_and_test_splits(tmp_path):
    files = {
        name: write_csv(tmp_path / f"{name}.csv", rows)
        for name, rows in (("train", REVIEWS[:20]), ("dev", REVIEWS[20:30]), ("test", REVIEWS[30:]))
    }
    tables = read(files["train"], validation_source=files["dev"], test_source=files["test"])
    assert lengths(tables) == {None: 20, "validation": 10, "test": 10}
    assert [table.name for _, table in tables] == ["train.csv", "dev.csv", "test.csv"]


def test_a_further_file_for_a_split_that_is_given_is_an_error(tmp_path):
    datasets.DatasetDict({"train": dataset(), "test": dataset()}).save_to_disk(tmp_path / "saved")
    further = write_csv(tmp_path / "t.csv", REVIEWS)
    assert refusal(tmp_path / "saved", test_source=further) == (
        f"data.test_source and the test split of {str(tmp_path / 'saved')!r} exclude each other, got both; leave "
        "data.test_source out"
    )


def test_a_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / "none.csv") == (
        f"no file {tmp_path / 'none.csv'}; a path in a TOML file is relative to that file; fix the path"
    )


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "reviews.xlsx").write_bytes(b"PK")
    assert refusal(tmp_path / "reviews.xlsx") == (
        f"a file of texts must end in .csv, .tsv, .jsonl, .parquet, got {tmp_path / 'reviews.xlsx'}, a spreadsheet; save it as "
        "CSV (UTF-8) there"
    )


def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path):
    (tmp_path / "r.csv").write_bytes(b"\x1f\x8b\x08packed")
    assert refusal(tmp_path / "r.csv") == f"{tmp_path / 'r.csv'} must be text, got a packed file; unpack it"


def test_a_broken_parquet_file_is_refused(tmp_path):
    (tmp_path / "r.parquet").write_bytes(b"text,label")
    message = refusal(tmp_path / "r.parquet")
    assert message.startswith(f"{tmp_path / 'r.parquet'} must be a Parquet file, got: ")
    assert message.endswith("; write it again")


def test_a_directory_that_was_not_saved_by_datasets_is_refused(tmp_path):
    (tmp_path / "r.csv").touch()
    message = refusal(tmp_path)
    assert "It holds r.csv; " in message
    assert message.startswith(f"{tmp_path} must be a directory written by datasets' save_to_disk, got: ")
    assert message.endswith("; save it again, or give a file")


@pytest.fixture
def hub(monkeypatch):
    """A function: let the hub answer with this error."""

    def answer(error):
        def refuse(*_, **__):
            raise error

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)

    return answer


def test_an_unknown_hub_id_is_an_error_that_says_what_to_mend(hub):
    hub(HFValidationError("404 Client Error.\nmore"))
    assert refusal("owner/name") == (
        "data.source = 'owner/name' is no file, no directory, and the hub does not give it: 404 Client Error.; fix the "
        "path, or the id, subset and revision"
    )


def test_an_unreachable_hub_is_an_error_at_once(hub):
    hub(OSError("Name or service not known"))
    assert refusal("owner/name") == (
        "data.source = 'owner/name' is no file and no directory here, and the hub cannot be reached: Name or service not "
        "known; fix the path, connect, or set HF_HUB_OFFLINE=1 to take what was fetched earlier"
    )


def test_offline_a_data_set_that_was_never_fetched_is_an_error(hub, monkeypatch):
    hub(OfflineModeIsEnabled("offline"))
    asked = []

    def load(*arguments, **options):
        asked.append((arguments, options))
        raise ConnectionError("Couldn't reach the hub")

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert refusal("owner/name", subset="en", revision="v1") == (
        "data.source = 'owner/name' cannot be loaded: Couldn't reach the hub; fix data.subset and data.revision, or "
        "fetch it once while connected"
    )
    assert asked == [(("owner/name", "en"), {"revision": "v1"})]


def test_of_a_hub_id_the_commit_that_was_found_is_fetched_with_its_splits(monkeypatch):
    class Info:
        sha = "c0ffee"

    asked = []

    def load(*arguments, **options):
        asked.append((arguments, options))
        return datasets.DatasetDict({"train": dataset(REVIEWS[:30]), "test": dataset(REVIEWS[30:])})

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: Info())
    monkeypatch.setattr(datasets, "load_dataset", load)
    tables = read("owner/name", revision="main")
    assert asked == [(("owner/name", None), {"revision": "c0ffee"})]
    assert lengths(tables) == {"train": 30, "test": 10}
    assert [table.name for _, table in tables] == ["owner/name train", "owner/name test"]

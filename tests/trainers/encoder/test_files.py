import hashlib
import shutil
import subprocess

import pytest

from trainers.encoder.files import SUMS, check_files, digests, fingerprint, verify_checksums, write_checksums
from trainers.errors import InputError

WHAT = "the model"


@pytest.fixture
def folder(tmp_path):
    """A directory like a model's, with its checksums."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "vocab.txt").write_text("a\nb\n")
    write_checksums(tmp_path)
    return tmp_path


def failure(folder):
    with pytest.raises(InputError) as caught:
        verify_checksums(folder, what=WHAT)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_checksums_list_every_file_but_themselves(folder):
    assert (folder / SUMS).read_text().splitlines()[
        1
    ] == f"{hashlib.sha256(b'weights').hexdigest()}  model.safetensors"
    assert [line.split("  ")[1] for line in (folder / SUMS).read_text().splitlines()] == [
        "config.json",
        "model.safetensors",
        "sub/vocab.txt",
    ]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sha256sum_reads_the_checksums(folder):
    done = subprocess.run(["sha256sum", "-c", SUMS], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == "config.json: OK\nmodel.safetensors: OK\nsub/vocab.txt: OK\n"


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
@pytest.mark.parametrize("mode", [[], ["-b"]], ids=["text", "binary"])
def test_what_sha256sum_writes_is_read(folder, mode):
    names = ["config.json", "model.safetensors", "sub/vocab.txt"]
    (folder / SUMS).write_bytes(subprocess.check_output(["sha256sum", *mode, *names], cwd=folder))
    verify_checksums(folder, what=WHAT)


def test_an_untouched_directory_passes_wherever_it_stands(folder, tmp_path_factory):
    verify_checksums(shutil.copytree(folder, tmp_path_factory.mktemp("elsewhere") / "copy"), what=WHAT)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "sub/vocab.txt"])
def test_one_flipped_bit_is_noticed_in_every_file(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    assert failure(folder) == (
        f"the model: {folder / name} is not as it was saved, its SHA-256 differs from that in SHA256SUMS; copy or "
        "export it again"
    )


def test_a_missing_file_is_named(folder):
    (folder / "sub" / "vocab.txt").unlink()
    assert failure(folder) == (
        f"the model must hold sub/vocab.txt, listed in {folder / SUMS}, and does not; copy it again"
    )


@pytest.mark.parametrize(
    "name", ["model-00002.safetensors", "pytorch_model.bin", "added_tokens.json", "hostile.py"]
)
def test_an_added_file_that_a_library_could_read_is_named(folder, name):
    (folder / name).write_text("")
    assert failure(folder) == f"the model: {folder / name} was added after it was saved; remove the file"


def test_what_the_hubs_client_notes_of_a_download_may_be_added(folder):
    notes = folder / ".cache" / "huggingface" / "trees"
    notes.mkdir(parents=True)
    (notes / "1234.json").write_text("{}")
    verify_checksums(folder, what="the model")
    (folder / ".cache" / "config.json").write_text("{}")
    assert "/.cache/config.json was added after it was saved" in failure(folder)


def test_a_readme_may_be_added(folder):
    (folder / "README.md").write_text("# My model")
    verify_checksums(folder, what=WHAT)


def test_a_directory_without_checksums_is_an_error(folder):
    (folder / SUMS).unlink()
    assert failure(folder) == (
        f"the model must hold SHA256SUMS, but {folder} has none; export it again, or, if you know the files to be sound, "
        "list them there: sha256sum * > SHA256SUMS"
    )


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/passwd", "sub/../../outside.txt"])
def test_checksums_of_files_elsewhere_are_refused(folder, name):
    (folder / SUMS).write_text(f"{'0' * 64}  {name}\n")
    assert "must be a SHA-256 and the name of a file beside it, got '0000" in failure(folder)


@pytest.mark.parametrize("line", ["", "nonsense", f"{'0' * 63}  config.json", f"{'0' * 64}  "])
def test_a_line_that_is_no_checksum_is_refused(folder, line):
    (folder / SUMS).write_text(f"{line}\n")
    assert (
        f"must be a SHA-256 and the name of a file beside it, got {line!r}; copy or export it again"
        in failure(folder)
    )


def test_the_fingerprint_covers_names_and_contents(folder):
    before = fingerprint(digests(folder))
    (folder / "notes.md").write_text("not part of the encoder")
    assert fingerprint(digests(folder)) == before
    (folder / "config.json").rename(folder / "other.json")
    assert fingerprint(digests(folder)) != before


@pytest.mark.parametrize("text", ['{"auto\\u005fmap": {}}', '{"a": [{"b": {"auto_map": 1}}]}'])
def test_code_is_found_however_it_is_written(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(
        InputError, match=r"the model must bring no code of its own, but .*config\.json has auto_map"
    ):
        check_files(folder, what=WHAT)


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, "\xff"])
def test_a_damaged_configuration_is_left_to_whoever_loads_it(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    check_files(folder, what=WHAT)

import hashlib
import shutil

import numpy as np
import pytest

from search.trials.cluster import files as module
from search.trials.cluster.files import FileServer, are_there, fetch, files_of
from trainers.fit.feature_building import build_features
from trainers.fit.loop import fit


@pytest.fixture(scope="module")
def features(tiny_encoder, tiny_splits, make_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    return build_features(
        tiny_encoder, tiny_splits, make_config(), depths=[2, 3], directory=folder, disk_bytes=2**30
    )


@pytest.fixture
def read(features):
    """What reads the driver's files, and remembers how often."""
    server = FileServer([file.path for file in files_of(features)])

    def read(*arguments):
        read.calls += 1
        return server.read(*arguments)

    read.calls = 0
    return read


def test_another_node_fits_with_the_same_bits_after_it_has_copied_the_files(
    features, make_config, read, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "PIECE_BYTES", 4096)
    files = files_of(features)
    assert not are_there(files, tmp_path)
    folders = fetch(files, tmp_path, read=read, disk_bytes=2**30)
    assert are_there(files, tmp_path)
    assert read.calls > len(files)
    there = features.moved(features.encoder, folders)
    assert set(there.folders.values()).isdisjoint(features.folders.values())
    for depth in (2, 3):
        here, elsewhere = (
            fit(make_config(freeze_depth=depth), f).figures()["validation_loss"] for f in (features, there)
        )
        assert here == elsewhere


def test_what_is_there_is_not_copied_again(features, read, tmp_path):
    fetch(files_of(features), tmp_path, read=read, disk_bytes=2**30)
    count = read.calls
    fetch(files_of(features), tmp_path, read=read, disk_bytes=2**30)
    assert read.calls == count


def test_the_drivers_own_files_are_read_in_place(features, read):
    files = files_of(features)
    root = next(iter(features.folders.values())).parent
    assert fetch(files, root, read=read, disk_bytes=2**30) == features.folders
    assert read.calls == 0


def test_what_a_node_computed_itself_is_neither_used_nor_touched(features, read, tmp_path):
    """Its last bits may differ."""
    folder = features.folders["train"]
    own = tmp_path / folder.name
    shutil.copytree(folder, own)
    data = own / "depth-2.bin"
    values = np.fromfile(data, dtype=np.uint8)
    values[0] ^= 1
    values.tofile(data)
    described = own / "depth-2.json"
    digest = hashlib.sha256(values).hexdigest()
    before = hashlib.sha256((folder / "depth-2.bin").read_bytes()).hexdigest()
    described.write_text(described.read_text().replace(before, digest))
    folders = fetch(files_of(features), tmp_path, read=read, disk_bytes=2**30)
    assert folders["train"] != own
    assert (folders["train"] / "depth-2.bin").read_bytes() == (folder / "depth-2.bin").read_bytes()
    assert np.array_equal(np.fromfile(data, dtype=np.uint8), values)


def test_a_file_that_was_altered_on_its_way_is_refused(features, tmp_path):
    def read(_, offset, count):  # noqa: ARG001
        return b"\0" * 8 if offset == 0 else b""

    with pytest.raises(OSError, match="has changed while it was copied"):
        fetch(files_of(features), tmp_path, read=read, disk_bytes=2**30)
    assert not are_there(files_of(features), tmp_path)


def test_only_stored_features_are_read_out(features, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    with pytest.raises(ValueError, match="is none of the stored features"):
        FileServer([file.path for file in files_of(features)]).read(str(secret), 0, 1)

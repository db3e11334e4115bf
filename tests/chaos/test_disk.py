"""A disk that is full, and feature files that are damaged."""

import contextlib
import os
import subprocess
import time

import pytest
from invariants import check_export

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path):
    """A disk of sixteen megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "none", folder], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def full(disk):
    """Leave not a byte on it for as long as the block lasts."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    filler.unlink()


@pytest.mark.full  # tests/search/storage/test_database.py fills a database of one process
@pytest.mark.parametrize("point", ["before ask", "before tell"])
def test_search_whose_database_has_no_room_waits_for_it(make_search, verify, small_disk, point):
    search = make_search(folder=small_disk)
    launch = search.start(at=point, nth=2, do="wait")
    launch.wait_for_fault()
    with full(small_disk):
        launch.go()
        launch.wait_for_words("database or disk is full")
        time.sleep(2)
    ending = search.ended(launch)
    assert ending.code == 0, ending.output
    verify(search, scenario="disk of the database full for seconds", saw=ending.line_with("disk is full"))


@pytest.mark.full
def test_search_whose_database_never_gets_room_says_so_and_goes_on_later(make_search, verify, small_disk):
    search = make_search(folder=small_disk, constants={"search.storage.database": {"PATIENCE_SECONDS": 3}})
    launch = search.start(at="before tell", do="wait")
    launch.wait_for_fault()
    with full(small_disk):
        launch.go()
        ending = search.ended(launch)
    assert ending.code == 2, ending.output
    assert "database or disk is full; bring it back" in ending.last_line
    search.finish()
    verify(search, scenario="disk of the database full for longer than a search waits", saw=ending.last_line)


@pytest.mark.full
def test_cache_that_has_no_room_says_so_and_is_built_later(make_search, verify, small_disk):
    search = make_search(cache=small_disk)
    with full(small_disk):
        ending = search.run()
    assert ending.code == 2, ending.output
    assert (
        "No space left on device; free space, lower cache.disk_gib or set cache.directory" in ending.last_line
    )
    search.finish()
    verify(search, scenario="disk of the feature cache full", saw=ending.last_line)


@pytest.mark.full
def test_export_that_has_no_room_says_so_and_is_whole_later(make_search, verify, small_disk):
    search = make_search(num_trials=2)
    search.finish()
    place = {"module": "search.export", "arguments": ["--to", str(small_disk / "winner")]}
    with full(small_disk):
        ending = search.run(**place)
    assert ending.code == 2, ending.output
    assert "No space left on device; free space or give another folder" in ending.last_line
    assert search.run(**place).code == 0
    assert check_export(small_disk / "winner", search.trials()) == []
    verify(search, scenario="disk of the export full", saw=ending.last_line)


def cut_off(path):
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def leave_half_written(path):
    path.with_suffix(".part").write_bytes(path.read_bytes()[:100])
    path.unlink()
    path.with_suffix(".json").unlink()


@pytest.mark.full  # tests/trainers/fit/test_features.py damages the files of one process
@pytest.mark.parametrize("damage", [cut_off, flip_a_bit, leave_half_written])
def test_damaged_feature_files_are_built_again_bit_for_bit(make_search, verify, damage):
    search = make_search(num_trials=2)
    search.finish()
    files = {path: path.read_bytes() for path in search.study.parent.glob("cache/features/*/*.bin")}
    assert len(files) == 6
    for path in files:
        damage(path)
    search.num_trials = 4
    ending = search.finish()
    assert {path: path.read_bytes() for path in files} == files
    verify(
        search,
        scenario=f"feature files damaged: {damage.__name__.replace('_', ' ')}",
        injected=len(files),
        saw=ending.line_with("frozen layers, texts"),
    )

import copy
import dataclasses
import errno
import json
import os
import re
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

import trainers.fit.feature_building
import trainers.fit.feature_files
from trainers.config import EncoderConfig
from trainers.encoder.loading import load_encoder
from trainers.errors import InputError
from trainers.fit.feature_building import build_features
from trainers.fit.feature_files import default_cache_directory
from trainers.fit.features import Features
from trainers.fit.loop import fit
from trainers.modeling_frostline import pool

DEPTHS = (1, 2, 3)
PLENTY = 2**30


@pytest.fixture
def build(tiny_encoder, tiny_splits, make_config, tmp_path):
    """A function: build the features of the tiny encoder, with changes."""

    def build(depths=DEPTHS, *, directory=tmp_path, disk_bytes=PLENTY, splits=tiny_splits, **changes):
        texts_done = []
        features = build_features(
            tiny_encoder,
            splits,
            make_config(**changes),
            depths=depths,
            directory=directory,
            disk_bytes=disk_bytes,
            on_progress=lambda done, _total: texts_done.append(done),
        )
        return features, texts_done

    return build


def files(directory, pattern="depth-*.bin"):
    return sorted(directory.rglob(pattern))


def contents(directory):
    return {path.relative_to(directory): path.read_bytes() for path in files(directory)}


def text_by_text(encoder, split):
    """Run transformers' own forward over single texts; yields the hidden states at all depths."""
    for start, end in zip(split.offsets_N1[:-1], split.offsets_N1[1:], strict=True):
        ids_1T = torch.from_numpy(split.ids_S[start:end].astype(np.int64))[None]
        with torch.no_grad():
            yield encoder.model(input_ids=ids_1T, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("name", ["train", "validation"])
@pytest.mark.parametrize(
    ("cache", "tolerance"),
    [
        ("float32", 1e-5),  # padding and batching re-order sums; measured: 2.0e-6
        ("float16", 2e-3),  # half a unit in the last place below 4 is 2 ** -10; measured: 9.8e-4
    ],
)
def test_stored_features_are_the_hidden_states_of_the_whole_model(
    build, tiny_encoder, name, cache, tolerance
):
    features, _ = build(cache=cache)
    split = getattr(features.splits, name)
    for row, hidden in enumerate(text_by_text(tiny_encoder, split)):
        for depth in (1, 2):
            stored_1TD = features.inputs(name, depth).batch(np.array([row])).inputs
            torch.testing.assert_close(stored_1TD, hidden[depth], rtol=0, atol=tolerance)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_at_full_depth_pooled_vectors_are_stored(build, tiny_encoder, pooling):
    features, _ = build(encoder={"pooling": pooling})
    source = features.inputs("validation", 3)
    pooled_ND = source.batch(np.arange(len(source))).inputs
    expected_ND = torch.cat(
        [
            pool(hidden[3], None, pooling=pooling)
            for hidden in text_by_text(tiny_encoder, features.splits.validation)
        ]
    )
    torch.testing.assert_close(pooled_ND, expected_ND, rtol=0, atol=1e-5)


def test_depths_built_together_and_alone_are_equal_to_the_bit(build, tmp_path):
    build((1, 2, 3), directory=tmp_path / "together")
    for depth in DEPTHS:
        build((depth,), directory=tmp_path / "alone")
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")


def test_a_second_build_computes_nothing(build, tmp_path):
    build()
    before = {path: path.stat().st_mtime_ns for path in files(tmp_path, "depth-*")}
    _, texts_done = build()
    assert texts_done == []
    assert {path: path.stat().st_mtime_ns for path in files(tmp_path, "depth-*")} == before


def test_progress_ends_at_all_texts(build):
    _, texts_done = build()
    assert texts_done[-1] == 96 + 48
    assert texts_done == sorted(texts_done)


def test_only_missing_depths_are_computed(build, tmp_path):
    build((1, 2))
    old = {path: path.stat().st_mtime_ns for path in files(tmp_path)}
    build((1, 2, 3))
    assert {path: path.stat().st_mtime_ns for path in old} == old
    assert len(files(tmp_path)) == 6


def tear(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def forget_description(path):
    path.with_suffix(".json").unlink()


def spoil_description(path):
    path.with_suffix(".json").write_text('{"bytes": ')


def empty_description(path):
    path.with_suffix(".json").write_text("{}")


def list_description(path):
    path.with_suffix(".json").write_text("[]")


DAMAGES = [
    tear,
    flip_a_bit,
    forget_description,
    spoil_description,
    empty_description,
    list_description,
    os.unlink,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_built_again(build, tmp_path, damage):
    build()
    whole = contents(tmp_path)
    damage(files(tmp_path)[1])
    _, texts_done = build()
    assert texts_done[-1] in {96, 48}  # the split of the damaged file alone
    assert contents(tmp_path) == whole


def test_a_build_that_was_cut_off_leaves_nothing_that_counts(build, tmp_path, monkeypatch):
    calls = []

    def fail_later(self, values):
        calls.append(values)
        if len(calls) > 2:
            raise KeyboardInterrupt
        self._file.write(np.ascontiguousarray(values).data)

    with monkeypatch.context() as patch:
        patch.setattr(trainers.fit.feature_files.FeatureWriter, "write", fail_later)
        with pytest.raises(KeyboardInterrupt):
            build()
    assert files(tmp_path, "depth-*") == []


def test_what_a_killed_builder_left_is_built_again(build, tmp_path):
    build()
    whole = contents(tmp_path)
    victim = files(tmp_path)[0]
    victim.with_suffix(".json").unlink()
    victim.with_suffix(".part").write_bytes(b"half of it")
    build()
    assert contents(tmp_path) == whole
    assert files(tmp_path, "*.part") == []


def test_of_two_builders_one_builds_and_one_waits(build):
    with ThreadPoolExecutor(2) as pool_of_two:
        outcomes = list(pool_of_two.map(lambda _: build()[1], range(2)))
    assert sorted(len(texts_done) > 0 for texts_done in outcomes) == [False, True]


def change_fingerprint(key, encoder, split, _patch):
    return key(dataclasses.replace(encoder, fingerprint="other"), split)


def change_dtype(key, encoder, split, _patch):
    return key(encoder, split, dtype=np.dtype("float32"))


def change_pooling(key, encoder, split, _patch):
    return key(encoder, split, pooling="cls")


def change_device(key, encoder, split, _patch):
    return key(dataclasses.replace(encoder, device="mps"), split)


def change_torch(key, encoder, split, patch):
    patch.setattr(trainers.fit.feature_building, "torch", SimpleNamespace(__version__="0.0"))
    return key(encoder, split)


def change_transformers(key, encoder, split, patch):
    # Not the module's own: whoever imported it anew has another one than this file.
    patch.setattr(trainers.fit.feature_building, "transformers", SimpleNamespace(__version__="0.0"))
    return key(encoder, split)


def change_precision(key, encoder, split, _patch):
    return key(encoder, split, precision="bfloat16")


def change_format(key, encoder, split, patch):
    patch.setattr(trainers.fit.feature_building, "FORMAT", 0)
    return key(encoder, split)


def change_a_token(key, encoder, split, _patch):
    ids_S = split.ids_S.copy()
    ids_S[5] += 1
    return key(encoder, dataclasses.replace(split, ids_S=ids_S))


def change_a_boundary(key, encoder, split, _patch):
    offsets_N1 = split.offsets_N1.copy()
    offsets_N1[1] += 1
    return key(encoder, dataclasses.replace(split, offsets_N1=offsets_N1))


INGREDIENTS = [
    change_fingerprint,
    change_dtype,
    change_pooling,
    change_device,
    change_torch,
    change_transformers,
    change_precision,
    change_format,
    change_a_token,
    change_a_boundary,
]


HALF = np.dtype("float16")


def cache_key(encoder, split, *, dtype=HALF, pooling="mean", precision="float32"):
    return trainers.fit.feature_building._key(
        encoder, split, dtype=dtype, pooling=pooling, precision=precision
    )


@pytest.mark.parametrize("change", INGREDIENTS, ids=lambda change: change.__name__)
def test_the_key_changes_with_every_ingredient(tiny_encoder, tiny_splits, monkeypatch, change):
    before = cache_key(tiny_encoder, tiny_splits.train)
    assert change(cache_key, tiny_encoder, tiny_splits.train, monkeypatch) != before


def test_the_key_does_not_change_with_labels(tiny_encoder, tiny_splits):
    other = dataclasses.replace(tiny_splits.train, labels_N=1 - tiny_splits.train.labels_N)
    assert cache_key(tiny_encoder, other) == cache_key(tiny_encoder, tiny_splits.train)


def test_another_encoder_does_not_find_the_features_of_the_first(
    build, tiny_encoder_dir, tmp_path, tiny_splits, make_config
):
    build()
    folder = shutil.copytree(tiny_encoder_dir, tmp_path / "other")
    (folder / "note.txt").write_text("an encoder with one more file")
    build_features(
        load_encoder(EncoderConfig(name=str(folder))),
        tiny_splits,
        make_config(),
        depths=(3,),
        directory=tmp_path,
        disk_bytes=PLENTY,
    )
    assert len({path.parent for path in files(tmp_path)}) == 4


def test_depths_that_need_no_storing_are_left_out(build):
    features, _ = build((0, 2, 7))
    assert features.kept == (2,)


def test_the_disk_budget_keeps_the_deepest_depths(build):
    full, _ = build((1, 2, 3), cache="float32")
    one_depth = build((2,), cache="float32")[0].num_bytes()
    pooled = build((3,), cache="float32")[0].num_bytes()
    assert full.num_bytes() == 2 * one_depth + pooled
    kept = [
        build((1, 2, 3), cache="float32", disk_bytes=budget)[0].kept
        for budget in (full.num_bytes(), full.num_bytes() - 1, one_depth + pooled - 1, pooled, pooled - 1)
    ]
    assert kept == [(1, 2, 3), (2, 3), (3,), (3,), ()]


def test_half_precision_takes_half_the_space_between_layers(build):
    sizes = {cache: build((2,), cache=cache)[0].num_bytes() for cache in ("float16", "float32")}
    assert sizes["float32"] == 2 * sizes["float16"]


def test_without_disk_nothing_is_written(build, tmp_path):
    features, _ = build(disk_bytes=0)
    assert (features.kept, features.num_bytes()) == ((), 0)
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_is_frozen_nothing_is_computed(build, tmp_path):
    assert build((0,))[1] == build((0,), disk_bytes=0)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_pooled_vectors_that_are_not_stored_are_held_in_memory_to_the_bit(build, tmp_path):
    stored, bare = build((3,))[0], build((1, 3), directory=tmp_path / "none", disk_bytes=0)[0]
    for name in ("train", "validation"):
        rows = np.arange(len(getattr(stored.splits, name)))
        one, other = (features.inputs(name, 3).batch(rows).inputs for features in (stored, bare))
        assert torch.equal(one, other)


def test_a_depth_that_is_not_stored_starts_from_token_ids(build):
    features, _ = build((3,))
    assert (features.inputs("train", 2).depth, features.inputs("train", 3).depth) == (None, 3)


def test_features_need_no_cache(tiny_encoder, tiny_splits):
    assert Features(tiny_encoder, tiny_splits).inputs("train", 3).depth is None


def age(folder, seconds):
    os.utime(folder, (1e9 - seconds, 1e9 - seconds))


def test_the_longest_unused_features_make_room(build, tmp_path):
    size = build((2,), cache="float32")[0].num_bytes()
    old = {path.parent for path in files(tmp_path)}
    build((2,), cache="float16")
    newer = {path.parent for path in files(tmp_path)} - old
    for folder in old:
        age(folder, 200)
    for folder in newer:
        age(folder, 100)
    pooled = build((3,), encoder={"pooling": "cls"})[0].num_bytes()
    latest = {path.parent for path in files(tmp_path)} - old - newer
    slack = 4096  # descriptions
    build((3,), encoder={"pooling": "cls"}, disk_bytes=size // 2 + pooled + slack)
    assert {path.parent for path in files(tmp_path)} == newer | latest


def test_features_in_use_are_never_evicted(build, tmp_path):
    features, _ = build((2,))
    build((2,), disk_bytes=features.num_bytes())
    assert len(files(tmp_path)) == 2


def test_features_that_a_process_reads_are_not_evicted_by_another_study(build, tmp_path):
    reading, _ = build((2,), cache="float32")
    old = files(tmp_path)
    budget = reading.num_bytes() // 2 + 4096
    build((2,), disk_bytes=budget)
    assert set(old) < set(files(tmp_path))
    del reading
    build((2,), disk_bytes=budget)
    assert not set(old) & set(files(tmp_path))


def test_a_smaller_budget_removes_depths_that_are_not_kept(build, tmp_path):
    build((1, 2))
    last = sum(path.stat().st_size for path in files(tmp_path, "depth-2.bin"))
    features, _ = build((1, 2), disk_bytes=last)
    assert features.kept == (2,)
    assert {path.name for path in files(tmp_path)} == {"depth-2.bin"}


def test_a_cache_that_cannot_be_written_is_an_error(build, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as caught:
        build(directory=tmp_path / "file")
    assert str(caught.value) == (
        f"the feature cache {tmp_path / 'file'} must be writable with room for it, got: Not a directory; "
        "free space, lower cache.disk_gib or set cache.directory"
    )


def test_a_full_disk_is_an_error(build, tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trainers.fit.feature_files.FeatureWriter, "write", no_space)
    with pytest.raises(InputError, match="with room for it, got: No space left on device; free space"):
        build()
    assert files(tmp_path, "depth-*") == []


def test_texts_longer_than_the_encoder_reads_are_an_error(build, tiny_encoder_dir):
    with pytest.raises(InputError) as caught:
        build(data={"max_length": 65})
    assert str(caught.value) == (
        f"data.max_length must be at most 64, the positions of '{tiny_encoder_dir}', got 65; lower it"
    )


def test_a_fit_cannot_alter_the_stored_file(build, tmp_path):
    features, _ = build((2,))
    before = contents(tmp_path)
    features.inputs("train", 2)._values.zero_()
    assert contents(tmp_path) == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_batch_read_leaves_the_memory_of_the_process(build, tmp_path):
    features, _ = build(depths=[2])
    source = features.inputs("train", 2)
    source.batch(np.arange(len(source)))
    mapped = Path("/proc/self/smaps").read_text().partition(str(files(tmp_path)[0].parent.parent))[2]
    assert re.search(r"^Rss: +(\d+) kB$", mapped, flags=re.MULTILINE)[1] == "0"


def test_the_cache_stands_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_directory() == tmp_path / "frostline"


def test_without_xdg_the_cache_stands_in_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_directory() == tmp_path / ".cache" / "frostline"


def test_without_a_home_folder_the_cache_stands_beside_temporary_files(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = default_cache_directory()
    assert folder == default_cache_directory() == tmp_path / f"frostline-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_somebody_else_is_not_taken_for_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    default_cache_directory()
    stranger = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: stranger)
    (tmp_path / f"frostline-{os.getuid()}").mkdir()
    with pytest.raises(InputError, match="must be your own; set XDG_CACHE_HOME"):
        default_cache_directory()


def test_what_is_not_the_caches_own_is_never_evicted(build, tmp_path):
    features, _ = build((2,))
    others = [tmp_path / "features" / name for name in ("thesis", "f" * 31, "F" * 32)]
    for folder in others:
        folder.mkdir()
        (folder / "years of work").write_bytes(bytes(1000))
        age(folder, 500)
    link = tmp_path / "features" / ("0" * 32)
    link.symlink_to(others[0], target_is_directory=True)
    build((3,), disk_bytes=features.num_bytes())
    assert all((folder / "years of work").is_file() for folder in others)
    assert link.is_symlink()


HALF_ENDS_AT = 65504.0


@pytest.fixture(scope="module")
def make_loud(tiny_encoder, tmp_path_factory):
    """A function: a tiny encoder whose layer 2 gives ``factor`` times as much as it did."""

    def make(family, factor):
        folder = tmp_path_factory.mktemp("loud")
        if family == "BERT":
            model = copy.deepcopy(tiny_encoder.model)
            scaled = model.encoder.layer[1].output.LayerNorm.parameters()
        else:  # has no norm between its layers: what one adds, all above it carry on
            config = {"vocab_size": len(tiny_encoder.tokenizer), "hidden_size": 16, "intermediate_size": 24}
            config |= {"num_hidden_layers": 3, "num_attention_heads": 2, "pad_token_id": 0}
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(3)
                model = transformers.ModernBertModel(
                    transformers.ModernBertConfig(**config, initializer_range=0.3)
                )
            scaled = model.layers[1].mlp.Wo.parameters()
        with torch.no_grad():
            for weight in scaled:
                weight.mul_(factor)
        model.save_pretrained(folder)
        tiny_encoder.tokenizer.save_pretrained(folder)
        return load_encoder(EncoderConfig(name=str(folder)))

    return make


@pytest.fixture(scope="module")
def loud(make_loud):
    return {"BERT": make_loud("BERT", 1e5), "ModernBERT": make_loud("ModernBERT", 1e6)}


@pytest.fixture
def build_of(tiny_splits, make_config, tmp_path):
    """A function: build the features of an encoder; returns them, the texts done and what was said."""

    def build(encoder, depths=DEPTHS, *, disk_bytes=PLENTY, directory=tmp_path, cache="float16"):
        done, said = [], []
        config = make_config(cache=cache, encoder={"name": encoder.name})
        features = build_features(
            encoder,
            tiny_splits,
            config,
            depths=depths,
            directory=directory,
            disk_bytes=disk_bytes,
            on_progress=lambda texts, _: done.append(texts),
            on_notice=said.append,
        )
        return features, done, said

    return build


def formats(directory):
    """Return the number formats in which each depth is stored, train and validation."""
    found = {}
    for path in files(directory, "depth-*.json"):
        depth = int(path.stem.removeprefix("depth-"))
        found.setdefault(depth, set()).add(json.loads(path.read_text())["dtype"])
    return found


@pytest.mark.parametrize(("family", "wide"), [("BERT", {2}), ("ModernBERT", {2})])
def test_a_depth_with_values_beyond_float16_is_kept_as_float32(loud, build_of, tmp_path, family, wide):
    encoder = loud[family]
    features, _, said = build_of(encoder)
    expected = {d: {"float32"} if d in wide | {3} else {"float16"} for d in DEPTHS}
    assert formats(tmp_path) == expected
    for row, hidden in enumerate(text_by_text(encoder, features.splits.train)):
        stored_1TD = features.inputs("train", 2).batch(np.array([row])).inputs
        torch.testing.assert_close(stored_1TD, hidden[2], rtol=1e-4, atol=1.0)
        assert hidden[2].abs().max() > 1e4
    (line,) = said
    assert re.fullmatch(
        r"frozen layers: values reach [1-9][0-9,]+ at depth 2, and float16 ends at 65,504; what they give there is "
        "kept as float32",
        line,
    )


@pytest.mark.parametrize("family", ["BERT", "ModernBERT"])
@pytest.mark.parametrize("disk_bytes", [0, 10_000])
def test_a_depth_that_is_run_live_keeps_such_values_too(
    loud, build_of, make_config, tmp_path, family, disk_bytes
):
    encoder = loud[family]
    stored, _, said = build_of(encoder)
    live, _, said_again = build_of(encoder, disk_bytes=disk_bytes, directory=tmp_path / "small")
    assert live.kept == (() if disk_bytes == 0 else (3,))
    assert said == said_again
    # At a rate that moves nothing: where inputs are so large, Adam makes much of their last bits.
    config = make_config(encoder={"name": encoder.name}, epochs=1, learning_rate=1e-9, patience=None)
    losses = [fit(config, f).evaluations[-1].validation_loss for f in (stored, live)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_second_start_computes_nothing_and_says_the_same(loud, build_of):
    _, _, said = build_of(loud["BERT"])
    again, done, said_again = build_of(loud["BERT"])
    assert (done, said_again, again.kept) == ([], said, DEPTHS)


def test_what_was_learnt_of_a_depth_without_room_is_kept(loud, build_of):
    first, _, said = build_of(loud["BERT"], disk_bytes=20_000)
    _, done, said_again = build_of(loud["BERT"], disk_bytes=20_000)
    assert (2 in first.kept, done, said_again, len(said)) == (False, [], said, 1)


def test_the_disk_budget_knows_that_float32_takes_twice_the_room(loud, build_of, tmp_path):
    whole = build_of(loud["BERT"])[0].num_bytes()
    one_byte_short = build_of(loud["BERT"], disk_bytes=whole - 1, directory=tmp_path / "small")[0]
    assert one_byte_short.kept == (2, 3)
    assert build_of(loud["BERT"], disk_bytes=whole, directory=tmp_path / "same")[0].kept == DEPTHS


def test_only_the_split_with_such_values_is_kept_as_float32(make_loud, build_of, tiny_encoder, tmp_path):
    largest = {
        name: max(float(h[2].abs().max()) for h in text_by_text(tiny_encoder, split))
        for name, split in (
            ("train", build_of(tiny_encoder)[0].splits.train),
            ("validation", build_of(tiny_encoder)[0].splits.validation),
        )
    }
    assert largest["train"] != largest["validation"]
    encoder = make_loud("BERT", HALF_ENDS_AT / (sum(largest.values()) / 2))
    features, *_ = build_of(encoder, (2,), directory=tmp_path / "new")
    louder = max(largest, key=largest.get)
    found = {name: features.inputs(name, 2)._values.dtype for name in largest}
    assert found == {n: torch.float32 if n == louder else torch.float16 for n in largest}
    live, *_ = build_of(encoder, (2,), directory=tmp_path / "new", disk_bytes=0)
    assert {n: live.inputs(n, 2).wide for n in largest} == {n: n == louder for n in largest}


def as_version_0_1_0_left_it(directory):
    for path in files(directory, "largest.json"):
        path.unlink()


def test_files_of_the_earlier_version_are_kept_where_they_hold_all_values(build, tmp_path):
    build()
    as_version_0_1_0_left_it(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in files(tmp_path)}
    features, texts_done = build()
    assert (texts_done, features.kept) == ([], DEPTHS)
    assert {path: path.stat().st_mtime_ns for path in files(tmp_path)} == before
    assert len(files(tmp_path, "largest.json")) == 2


def test_files_of_the_earlier_version_that_hold_infinity_are_built_again(
    loud, build_of, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(trainers.fit.feature_building._Part, "is_wide", lambda *_: False)
        broken, *_ = build_of(loud["BERT"])
        assert not broken.inputs("train", 2)._values.isfinite().all()
        del broken
    as_version_0_1_0_left_it(tmp_path)
    mended, done, said = build_of(loud["BERT"])
    assert formats(tmp_path)[2] == {"float32"}
    assert mended.inputs("train", 2)._values.isfinite().all()
    assert (done[-1], len(said)) == (144, 1)


def test_a_note_that_cannot_be_read_is_made_again(build, tmp_path):
    build()
    for path in files(tmp_path, "largest.json"):
        path.write_text('{"1": ')
    build()
    notes = [json.loads(path.read_text()) for path in files(tmp_path, "largest.json")]
    assert [sorted(note) for note in notes] == [["1", "2", "3"]] * 2


@pytest.fixture(scope="module")
def broken(tiny_encoder, tmp_path_factory):
    """An encoder that gives nan for texts with the word "ending": its embedding is finite, its variance is not."""
    folder = tmp_path_factory.mktemp("broken")
    model = copy.deepcopy(tiny_encoder.model)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[tiny_encoder.tokenizer.get_vocab()["ending"], 0] = 3e38
    model.save_pretrained(folder)
    tiny_encoder.tokenizer.save_pretrained(folder)
    return load_encoder(EncoderConfig(name=str(folder)))


@pytest.mark.parametrize("disk_bytes", [PLENTY, 0])
@pytest.mark.parametrize("cache", ["float16", "float32"])
@pytest.mark.parametrize(
    ("depths", "where"), [((1, 2, 3), "layer 1"), ((2, 3), "layer 2"), ((3,), "layer 3")]
)
def test_numbers_that_are_not_finite_are_an_error(
    broken, build_of, tmp_path, cache, disk_bytes, depths, where
):
    with pytest.raises(InputError) as caught:
        build_of(broken, depths, cache=cache, disk_bytes=disk_bytes)
    found = re.fullmatch(
        f"encoder '{re.escape(broken.name)}' must give finite numbers, but its {where} gives nan or infinity for the "
        r"text '([a-z ]+(\.\.\.)?)'; use another encoder, or leave such texts out",
        str(caught.value),
    )
    assert found
    assert "ending" in found[1] or found[1].endswith("...")
    assert files(tmp_path, "depth-*") == []


def test_where_the_system_has_no_flock_nothing_is_evicted(tmp_path, monkeypatch):
    monkeypatch.setattr(trainers.fit.feature_files, "fcntl", None)
    folder = tmp_path / ("0" * 32)
    folder.mkdir()
    (folder / "depth-1.bin").write_bytes(b"features")
    os.close(trainers.fit.feature_files.hold(folder))
    trainers.fit.feature_files.evict(tmp_path, keep=(), depths=(), disk_bytes=0)
    assert (folder / "depth-1.bin").read_bytes() == b"features"

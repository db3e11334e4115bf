"""Offline. ``frostline[dev]`` brings wandb, so that the gate skips nothing here; elsewhere it may be missing."""

import json
import struct
from pathlib import Path

import pytest
from tracked import experiment, exported, run

from search.trials.tracking.courier import Courier
from search.trials.tracking.targets import Target

pytest.importorskip("wandb", reason="frostline[wandb] is not installed")


@pytest.fixture
def send(tmp_path, monkeypatch):
    """A function: what one search tells wandb, without any key; returns what it tells the user."""
    monkeypatch.setenv("HOME", str(tmp_path))  # no key of the user's
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "NETRC"):
        monkeypatch.delenv(name, raising=False)

    def send(*runs):
        said = []
        courier = Courier(Target("wandb"), experiment(tmp_path), said.append)
        for one in runs:
            courier.take(one)
        courier.close()
        return [text for text in said if not text.startswith("waiting")]

    return send


def records(folder):
    """What an offline run holds: behind a header of 7 bytes, each record has its CRC, length and type before it, as in LevelDB's log."""
    from wandb.proto import wandb_internal_pb2

    [path] = folder.glob("*.wandb")
    data, at = path.read_bytes(), 7
    assert len(data) < 2**15  # one block
    while at < len(data):
        _, length, kind = struct.unpack_from("<IHB", data, at)
        assert kind == 1  # whole
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data[at + 7 : at + 7 + length])
        yield record
        at += 7 + length


def test_without_a_key_runs_stay_here_and_nobody_is_asked(send, tmp_path):
    said = send(run(0, state="complete", num_looks=2), run(1, state="failed"))
    assert said == [
        f"wandb: there is no API key, so runs stay on this machine; to send them: wandb sync {tmp_path}/wandb/offline-run-*"
    ]
    [first] = tmp_path.glob("wandb/offline-run-*-0")
    found = list(records(first))
    [about] = [r.run for r in found if r.WhichOneof("record_type") == "run"][:1]
    assert (about.project, about.display_name, about.run_id) == ("tiny", "trial 0", "0123456789ab-0")
    config = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in about.config.update}
    assert config["freeze_depth"] == 2
    rows = [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in r.history.item}
        for r in found
        if r.WhichOneof("record_type") == "history"
    ]
    assert [(row["epoch"], row["curve/score"]) for row in rows] == [(0.5, 0.0), (1.0, 0.1)]


def test_what_was_kept_before_is_not_kept_twice_and_half_a_run_comes_again(send, tmp_path):
    send(run(0, state="complete", num_looks=1), run(1, num_looks=1))
    send(run(0, state="complete", num_looks=1), run(1, state="cut off", num_looks=2))
    names = sorted(folder.name.rpartition("-")[2] for folder in tmp_path.glob("wandb/offline-run-*"))
    assert names == ["0", "1"]
    [second] = tmp_path.glob("wandb/offline-run-*-1")
    assert sum(r.WhichOneof("record_type") == "history" for r in records(second)) == 2


def test_the_winners_model_is_an_artifact_of_a_run_of_its_own_kept_once(send, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for _ in range(2):
        send(exported(folder, 3))
    trial, export = sorted(tmp_path.glob("wandb/offline-run-*"), key=lambda p: len(p.name))
    assert trial.name.endswith("-0123456789ab-3")
    found = list(records(export))
    [about] = [r.run for r in found if r.WhichOneof("record_type") == "run"][:1]
    assert (about.display_name, about.job_type, about.run_group) == (
        "trial 3, exported",
        "export",
        "0123456789ab",
    )
    [artifact] = [r.artifact for r in found if r.WhichOneof("record_type") == "artifact"]
    assert (artifact.name, artifact.type) == ("tiny", "model")
    [entry] = artifact.manifest.contents
    assert entry.path == "config.json"
    assert Path(entry.local_path).read_text() == "{}"

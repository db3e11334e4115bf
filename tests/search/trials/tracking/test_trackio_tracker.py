"""``frostline[dev]`` brings trackio, so that the gate skips nothing here; elsewhere it may be missing."""

import json
import os
import subprocess
import sys

import pytest
from tracked import experiment, exported, run

from search.trials.tracking.courier import Courier
from search.trials.tracking.targets import Target

pytest.importorskip("trackio", reason="frostline[trackio] is not installed")

READ = """
import json
from trackio.sqlite_storage import SQLiteStorage
project = "tiny-01234567"
print(json.dumps({name: SQLiteStorage.get_logs(project, name) for name in SQLiteStorage.get_runs(project)}, default=str))
"""


MODELS = """
import json
from trackio.sqlite_storage import SQLiteStorage
print(json.dumps([SQLiteStorage.list_artifacts("tiny-01234567"), SQLiteStorage.get_runs("tiny-01234567")], default=str))
"""


def test_the_winners_model_is_an_artifact_of_its_run_kept_once(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for _ in range(2):
        courier = Courier(Target("trackio"), experiment(tmp_path), lambda _: None)
        courier.take(exported(folder, 3))
        courier.close()
    read = subprocess.run(
        [sys.executable, "-c", MODELS], env=dict(os.environ), capture_output=True, text=True
    )
    artifacts, runs = json.loads(read.stdout.splitlines()[-1])
    assert runs == ["trial 3"]
    assert [(a["name"], a["type"]) for a in artifacts] == [("tiny-01234567", "model")]


def test_a_search_that_goes_on_continues_the_same_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    for runs in (
        [run(0, state="complete", num_looks=2), run(1, num_looks=1)],
        [run(0, state="complete", num_looks=2), run(1, state="cut off", num_looks=2), run(2, state="failed")],
    ):
        said = []
        courier = Courier(Target("trackio"), experiment(tmp_path), said.append)
        for one in runs:
            courier.take(one)
        courier.close()
        assert [text for text in said if not text.startswith("waiting")] == [
            "trackio: trackio show --project tiny-01234567"
        ]
    # Read elsewhere: trackio fixes its folder when it is imported.
    read = subprocess.run([sys.executable, "-c", READ], env=dict(os.environ), capture_output=True, text=True)
    logs = json.loads(read.stdout.splitlines()[-1])
    assert list(logs) == ["trial 0", "trial 1", "trial 2"]
    assert [[row.get("curve/score") for row in rows] for rows in logs.values()] == [
        [0.0, 0.1, None],
        [0.0, 0.1, None],
        [None],
    ]
    assert [rows[-1]["state"] for rows in logs.values()] == ["complete", "cut off", "failed"]
    assert [row["step"] for row in logs["trial 1"]] == [500, 1000, 1000]

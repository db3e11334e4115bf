"""``frostline[dev]`` brings trackio, so that the gate skips nothing here; elsewhere it may be missing."""

import os
import subprocess
import sys

import pytest
from tracked import experiment, run

from search.trials.tracking.courier import Courier
from search.trials.tracking.targets import Target

pytest.importorskip("trackio", reason="frostline[trackio] is not installed")

READ = """
import json
from trackio.sqlite_storage import SQLiteStorage
project = "tiny-01234567"
print(json.dumps({name: SQLiteStorage.get_logs(project, name) for name in SQLiteStorage.get_runs(project)}, default=str))
"""


def test_a_search_that_goes_on_continues_the_same_runs(tmp_path, monkeypatch):
    import json

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

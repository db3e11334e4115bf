"""With a tracker that does not exist: what one may do to a search."""

import json
import time

import pytest
from tracked import experiment, run

from search.trials.tracking import courier as tracking
from search.trials.tracking.courier import LONGEST_MESSAGE, Courier, shortened
from search.trials.tracking.targets import Target


@pytest.fixture
def courier(tmp_path, monkeypatch):
    """A function: a courier to a pretended tracker, and what it tells; ended after the test."""
    monkeypatch.setattr(tracking, "QUIET_SECONDS", 600.0)  # a busy machine takes longer to start one
    started = []

    def start(place=None):
        said = []
        one = Courier(Target("mlflow", place), experiment(tmp_path), said.append, module="pretended_tracker")
        started.append(one)
        return one, said

    yield start
    for one in started:
        one.kill()


def calls(tmp_path):
    return [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]


def test_a_trial_begins_is_looked_at_and_ends(courier, tmp_path):
    carries, said = courier()
    carries.take(run(0))
    while not said:  # the first one is there
        time.sleep(0.01)
    carries.take(run(0, num_looks=1))
    carries.take(run(1))
    carries.take(run(0, state="complete", num_looks=3))
    carries.close()
    assert said == ["mlflow: look there"]
    told = calls(tmp_path)
    assert [c[0] for c in told if c[1] == 0][:2] == ["began", "evaluated"]
    assert [epoch for c in told if c[:2] == ["evaluated", 0] for epoch in c[2]] == [0.5, 1.0, 1.5]
    assert [c for c in told if c[0] == "ended"] == [["ended", 0, "complete"]]
    assert ["began", 1] in told


def test_what_is_told_again_is_not_added_again(courier, tmp_path):
    carries, _ = courier()
    for _ in range(2):
        carries.take(run(0, state="failed", num_looks=2))
    carries.close()
    assert calls(tmp_path) == [["began", 0], ["evaluated", 0, [0.5, 1.0]], ["ended", 0, "failed"]]


def test_nothing_is_added_to_a_run_that_has_ended(courier, tmp_path):
    carries, said = courier("has ended")
    carries.take(run(0, state="complete", num_looks=2))
    carries.close()
    assert calls(tmp_path) == [["began", 0]]
    assert said == ["mlflow: look there"]


def test_what_failed_once_comes_again(courier, tmp_path):
    carries, said = courier("raises once")
    carries.take(run(0))
    while len(said) < 2:
        time.sleep(0.01)
    carries.take(run(0, state="pruned", num_looks=1))
    carries.close()
    assert said[1] == "mlflow=raises once does not take the trials, the search goes on: ValueError: busy"
    assert calls(tmp_path) == [["began", 0], ["began", 0], ["evaluated", 0, [0.5]], ["ended", 0, "pruned"]]


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("raises", "ValueError: no room left"),
        ("exits", "SystemExit: no account"),
        ("is away", "ConnectionError: refused"),
        ("dies", "its process ended"),
    ],
)
def test_a_failure_is_told_once_and_at_the_end_what_is_missing(courier, place, why):
    carries, said = courier(place)
    for number in range(3):
        carries.take(run(number, state="complete"))
    carries.close()
    target = f"mlflow={place}"
    assert [text for text in said if text != "mlflow: look there"] == [
        f"{target} does not take the trials, the search goes on: {why}",
        f"{target} failed: 3 of 3 trials are not there as they are; the same command sends them",
    ]


def test_of_a_long_failure_both_what_and_why_are_told():
    why = f"MlflowException: no answer (Caused by {'Error(' * 200}refused))"
    told = shortened(why)
    assert len(told) <= LONGEST_MESSAGE
    assert told.startswith("MlflowException: no answer (Caused by Error(")
    assert told.endswith("Error(refused))")
    assert shortened("ValueError: busy") == "ValueError: busy"


def test_a_tracker_that_hangs_is_waited_for_so_long_and_its_process_ended(courier, tmp_path):
    carries, said = courier("hangs")
    for number in range(2000):  # more than a pipe holds
        carries.take(run(number, state="complete", num_looks=5))
    while not (tmp_path / "calls.jsonl").exists():
        time.sleep(0.01)
    began = time.monotonic()
    carries.close(patience=1)
    assert time.monotonic() - began >= 1
    assert said == [
        "waiting for mlflow=hangs to take the trials",
        "mlflow=hangs has taken none for 1 s: 2000 of 2000 trials are not there as they are; the same command sends them",
    ]
    assert carries._process.returncode == -9


def test_a_tracker_that_computes_is_waited_for_longer(courier, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "BUSY_SHARE", 0.0)  # a busy machine gives it less
    monkeypatch.setattr(tracking, "MOST_WAITS", 10**6)
    carries, said = courier("computes")
    carries.take(run(0, state="complete"))
    carries.close(patience=0.01)
    assert calls(tmp_path)[-1] == ["ended", 0, "complete"]
    assert [text for text in said if "waiting" not in text] == ["mlflow: look there"]


def test_one_that_computes_without_an_end_is_given_up(courier, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "BUSY_SHARE", -1.0)
    monkeypatch.setattr(tracking, "MOST_WAITS", 3)
    carries, said = courier("hangs")
    carries.take(run(0))
    while not (tmp_path / "calls.jsonl").exists():
        time.sleep(0.01)
    carries.close(patience=0.5)
    assert said[-1] == (
        "mlflow=hangs has taken none for 2 s: 1 of 1 trials are not there as they are; the same command sends them"
    )


def test_one_that_is_dropped_tells_nothing(courier):
    carries, said = courier("hangs")
    carries.take(run(0))
    carries.kill()
    assert said == []

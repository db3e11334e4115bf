"""Whole searches on a cluster of two raylets, one of which joins and is killed."""

import time

import pytest
from invariants import check_invariants

import search.trials
import search.trials.cluster.absence
import search.trials.cluster.admission
import search.trials.cluster.pool
import search.trials.cluster.worker
import search.trials.objective
from search.export import main as export
from search.run import main
from search.study.opening import open_study
from search.study.results import finished
from search.study.spec import load_spec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_reviews", "plain_report")]

NUM_TRIALS = 10
PATIENCE_SECONDS = 120


class Scenario:
    """What happens to the cluster, each time that a fit has reported and waits for its answer."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.pool = None
        self.stage = "one node"

    def open_pool(self, *arguments, **options):
        opened = search.trials.cluster.pool.pools(*arguments, **options)

        def open_pool(features, peeks):
            self.pool = opened(features, peeks)
            return self.pool

        return open_pool

    def happens(self, trial):
        place = self.pool.place(trial.number)
        assert place is not None
        if self.stage == "one node":
            self.cluster.add("second", cpus=2)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not self.pool.actors.free:
                assert time.monotonic() < deadline
                assert self.pool._look_around() == []
                self.pool.actors.start()
                assert self.pool._listen() == []
            self.stage = "two nodes"
        elif self.stage == "two nodes" and len(list(self.pool.actors.nodes)) == 2 and "(" in place.node:
            self.cluster.kill("second")
            self.stage = "one node again"


@pytest.fixture
def scenario(ray_cluster, monkeypatch):
    scenario = Scenario(ray_cluster)
    monkeypatch.setattr(search.trials, "pools", scenario.open_pool)
    reason_to_prune = search.trials.objective._reason_to_prune

    def happens(trial):
        scenario.happens(trial)
        return reason_to_prune(trial)

    monkeypatch.setattr(search.trials.objective, "_reason_to_prune", happens)
    return scenario


def test_a_node_joins_a_search_and_is_lost_and_exactly_so_many_trials_end_and_the_winner_exports(
    scenario, write_tiny_study, tmp_path, capsys
):
    path = write_tiny_study(tmp_path)
    line = ["--study", str(path), "--trials", str(NUM_TRIALS), "--cluster", scenario.cluster.address]
    # Two processors a trial: each node has room for one.
    assert main([*line, "--recipes", "none", "--cpus-per-trial", "2"]) == 0
    said = capsys.readouterr().out
    assert scenario.stage == "one node again"
    study = open_study(load_spec(path), path)
    lost = [t for t in study.trials if t.user_attrs.get("ending") == "node lost"]
    assert [t.user_attrs["reason"].startswith("node lost: ") for t in lost] == [True]
    (again,) = [t for t in study.trials if t.user_attrs.get("retry_of") == lost[0].number]
    assert again.params == lost[0].params
    assert check_invariants(study.trials, [], num_trials=NUM_TRIALS) == []
    assert len(finished(study.trials)) == NUM_TRIALS
    places = [t.user_attrs["place"] for t in study.trials]
    assert len({p["node"] for p in places}) == 2
    assert {p["device"] for p in places} == {"cpu"}
    assert len(study.trials) == NUM_TRIALS + 1
    assert all(t.state.name in {"COMPLETE", "PRUNED"} for t in finished(study.trials))
    assert said.count(" fits: ") == 2
    assert "is lost; what it fitted begins again elsewhere" in said
    assert "raylet" not in said
    assert export(["--study", str(path)]) == 0
    assert (path.parent / "tiny" / "winner.toml").is_file()


def test_without_a_worker_a_search_waits_and_ends_as_an_interrupted_one(
    ray_cluster, write_tiny_study, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(search.trials.cluster.absence, "SAY_SECONDS", 1.0)
    monkeypatch.setattr(search.trials.cluster.absence, "WAIT_SECONDS", 2.0)
    path = write_tiny_study(tmp_path)
    line = ["--study", str(path), "--trials", "3", "--cluster", ray_cluster.address, "--recipes", "none"]
    assert main([*line, "--cpus-per-trial", "64"]) == 130
    said = capsys.readouterr().out
    assert "one takes 64 processors, and the cluster's nodes have room for 0" in said
    assert "this ends as if interrupted, the same command continues it" in said
    trials = open_study(load_spec(path), path).trials
    assert [(t.state.name, t.user_attrs.get("reason")) for t in trials] == [
        ("FAIL", "interrupted"),
        ("WAITING", None),
    ]
    assert finished(trials) == []


def test_nodes_with_other_versions_are_refused_with_both_named(
    ray_cluster, write_tiny_study, tmp_path, capsys, monkeypatch
):
    own = search.trials.cluster.worker.versions()
    monkeypatch.setattr(search.trials.cluster.admission, "versions", lambda: own | {"torch": "1.0"})
    path = write_tiny_study(tmp_path)
    assert main(["--study", str(path), "--trials", "3", "--cluster", ray_cluster.address]) == 2
    said = capsys.readouterr()
    error = " ".join((said.out + said.err).split())
    assert f"it has torch {own['torch']}, the search 1.0; install the same on all nodes" in error

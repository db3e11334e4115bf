import sys
from types import SimpleNamespace

import pytest

from search.study.spec import load_spec
from search.trials.cluster.connection import Cluster
from search.trials.cluster.pool import pools


class PretendedRay:
    """Two nodes of two processors, and actors that never answer."""

    def __init__(self):
        self.options = []
        self.killed = []

    def nodes(self):
        shared = {
            "Alive": True,
            "NodeManagerAddress": "127.0.0.1",
            "NodeManagerPort": 1,
            "Resources": {"CPU": 2.0},
        }
        return [{"NodeID": name, "NodeManagerHostname": name, **shared} for name in ("alpha", "beta")]

    def remote(self, _):
        def options(**given):
            self.options.append(given)
            hello = SimpleNamespace(remote=lambda device: ("hello", len(self.options), device))
            return SimpleNamespace(remote=lambda: SimpleNamespace(hello=hello, number=len(self.options)))

        return SimpleNamespace(options=options)

    def kill(self, actor, *, no_restart):
        assert no_restart
        self.killed.append(actor.number)


@pytest.fixture
def ray(monkeypatch):
    pretended = PretendedRay()
    monkeypatch.setitem(sys.modules, "ray", pretended)
    strategies = SimpleNamespace(NodeLabelSchedulingStrategy=None, NotIn=None)
    monkeypatch.setitem(sys.modules, "ray.util", SimpleNamespace(scheduling_strategies=strategies))
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", strategies)
    return pretended


@pytest.mark.parametrize(
    ("workers", "fits_left", "num_trials", "number"),
    [
        ("auto", 50, 50, 4),
        ("auto", 3, 50, 3),
        ("auto", 50, 15, 3),
        (9, 50, 50, 9),
        (9, 5, 50, 5),
        ("auto", 50, None, 4),
    ],
)
def test_workers_are_hired_before_anything_is_prepared(
    ray, write_tiny_study, tmp_path, workers, fits_left, num_trials, number
):
    cluster = Cluster(None, 0.0)
    spec = load_spec(write_tiny_study(tmp_path))
    cluster.hire(spec, workers=workers, fits_left=fits_left, num_trials=num_trials)
    assert [member.call for member in cluster.actors] == [("hello", i + 1, "cpu") for i in range(number)]
    assert [o["num_cpus"] for o in ray.options] == [1.0] * number


def test_those_who_turn_out_to_have_nothing_to_do_are_ended(ray, write_tiny_study, tmp_path):
    cluster = Cluster(None, 0.0)
    spec = load_spec(write_tiny_study(tmp_path))
    cluster.hire(spec, workers=4, fits_left=9)
    pools(cluster, spec, most=3, tell=lambda _: None)
    assert ray.killed == []
    cluster.actors.limit(3)
    assert ray.killed == [4]
    cluster.actors.start()
    assert len(list(cluster.actors)) == 3

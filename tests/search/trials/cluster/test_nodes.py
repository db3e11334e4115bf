import socket

import pytest

from search.trials.cluster import nodes as module
from search.trials.cluster.nodes import Nodes


def row(node_id, *, name="alpha", alive=True, port=1, **resources):
    return {
        "NodeID": node_id,
        "Alive": alive,
        "NodeManagerHostname": name,
        "NodeManagerAddress": "127.0.0.1",
        "NodeManagerPort": port,
        "Resources": resources,
    }


@pytest.fixture
def cluster(monkeypatch):
    """Rows that ``ray.nodes()`` would return, to be changed, and what looks at them."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)

    def make(*rows, cpus=1.0, gpus=0.0):
        there = list(rows)
        return there, Nodes(cpus, gpus, lambda: there)

    return make


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "slots"),
    [
        ({"CPU": 8.0}, 1, 0, 8),
        ({"CPU": 8.0}, 3, 0, 2),
        ({"CPU": 1.0}, 0.1, 0, 10),
        ({"CPU": 8.0}, 1, 1, 0),
        ({"CPU": 8.0, "GPU": 2.0}, 1, 0.5, 4),
        ({"CPU": 2.0, "GPU": 4.0}, 1, 1, 2),
        ({}, 1, 0, 0),
    ],
)
def test_a_node_has_room_for_as_many_workers_as_processors_and_gpus_allow(
    cluster, resources, cpus, gpus, slots
):
    _, nodes = cluster(row("a", **resources), cpus=cpus, gpus=gpus)
    nodes.update()
    assert nodes.slots == slots


def test_nodes_come_and_go(cluster):
    rows, nodes = cluster(row("a", CPU=1))
    assert nodes.update() == []
    rows.append(row("b", name="beta", CPU=2))
    assert nodes.update() == []
    assert (nodes.slots, nodes.unusable) == (3, [])
    rows[0]["Alive"] = False
    assert [node.name for node in nodes.update()] == ["alpha"]
    assert nodes.update() == []
    assert (nodes.slots, nodes.unusable) == (2, ["a"])


def test_a_node_that_was_dead_before_is_none(cluster):
    _, nodes = cluster(row("a", alive=False, CPU=1))
    assert nodes.update() == []
    assert list(nodes) == []


def test_a_node_that_is_refused_has_no_room(cluster):
    _, nodes = cluster(row("a", CPU=1))
    nodes.update()
    nodes["a"].refused = "it has torch 1"
    assert (nodes.slots, nodes.unusable) == (0, ["a"])


def test_two_nodes_of_one_machine_have_two_names(cluster):
    _, nodes = cluster(row("aaaaaaaa"), row("bbbbbbbb"), row("cccccccc", name="alphabet"))
    nodes.update()
    assert [node.name for node in nodes] == ["alpha", "alpha (bbbbbb)", "alphabet"]


def test_a_node_whose_raylet_answers_is_not_lost_and_one_whose_does_not_is(cluster):
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, nodes = cluster(row("a", port=server.getsockname()[1]))
        nodes.update()
        assert not nodes.is_lost(nodes["a"])
    assert nodes.is_lost(nodes["a"])  # though Ray says for some seconds that it is alive


def test_a_node_that_ray_holds_for_dead_is_lost(cluster):
    with socket.create_server(("127.0.0.1", 0)) as server:
        rows, nodes = cluster(row("a", port=server.getsockname()[1]))
        nodes.update()
        rows[0]["Alive"] = False
        assert nodes.is_lost(nodes["a"])

import importlib
import signal
import socket
import sys

import pytest

from search.trials.cluster import connection
from search.trials.cluster.connection import code, find_address, joined
from search.trials.cluster.options import ClusterOptions
from search.trials.cluster.ports import answers
from trainers.errors import InputError


@pytest.fixture(autouse=True)
def no_address_of_the_users(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def listening():
    """A port of this machine at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def refusal(cluster):
    with pytest.raises(InputError) as caught:
        find_address(cluster)
    return str(caught.value)


def test_an_address_at_which_somebody_listens_is_taken(listening):
    assert find_address(f"127.0.0.1:{listening}") == f"127.0.0.1:{listening}"


def test_an_address_for_clients_is_refused_with_what_to_do_instead(monkeypatch):
    assert refusal("ray://head:10001").startswith(
        "--cluster ray://head:10001 is an address for Ray's client, which a search cannot use"
    )
    assert "ray job submit --address http://HOST:8265 -- python -m search.run --cluster auto" in refusal(
        "ray://head:10001"
    )
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert refusal("auto").startswith("RAY_ADDRESS=ray://head:10001 is an address for Ray's client")


def test_auto_takes_what_the_environment_names_and_an_address_does_not(monkeypatch, listening):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{listening}")
    assert find_address("auto") == f"127.0.0.1:{listening}"
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert find_address(f"localhost:{listening}") == f"localhost:{listening}"
    assert refusal("auto").startswith("RAY_ADDRESS=127.0.0.1:1: no Ray cluster answers at 127.0.0.1:1")


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:port", "head:0", "head:65536", ""])
def test_what_is_no_address_is_refused(address):
    assert refusal(address).startswith(f"--cluster {address} must be auto or HOST:PORT")


def test_a_port_that_nobody_listens_at_is_refused_at_once():
    assert not answers("127.0.0.1", 1, seconds=5)
    assert refusal("127.0.0.1:1") == (
        "--cluster 127.0.0.1:1: no Ray cluster answers at 127.0.0.1:1; check it with: "
        "ray status --address 127.0.0.1:1"
    )


def test_auto_without_a_cluster_is_refused(monkeypatch):
    def finds_none():
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(connection, "running_address", finds_none)
    assert refusal("auto").startswith(
        "--cluster auto finds no Ray cluster that runs on this machine; start one"
    )


def test_without_a_cluster_ray_is_not_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with joined(ClusterOptions()) as cluster:
        assert cluster is None


def test_that_ray_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(InputError, match=r"which is not installed: pip install 'frostline\[ray\]'"),
        joined(ClusterOptions(cluster="auto")),
    ):
        pass


def test_the_code_that_travels_is_this():
    assert [importlib.import_module(name).__path__[0] for name in ("search", "trainers")] == code()


@pytest.mark.slow
def test_who_joins_keeps_its_signals_and_leaves_the_cluster_again(ray_cluster):
    import ray

    before = signal.getsignal(signal.SIGTERM)
    with joined(ClusterOptions(cluster=ray_cluster.address, cpus_per_trial=0.5)) as cluster:
        assert signal.getsignal(signal.SIGTERM) == before
        assert (cluster.cpus, cluster.gpus, cluster.device) == (0.5, 0.0, "cpu")
        with (
            pytest.raises(InputError, match="this one has; call ray"),
            joined(ClusterOptions(cluster=ray_cluster.address)),
        ):
            pass
    assert not ray.is_initialized()


@pytest.mark.slow
@pytest.mark.parametrize("other", [("2.59.0", None), (None, "3.10.1")])
def test_a_cluster_of_another_ray_or_python_is_refused_with_both_named(ray_cluster, monkeypatch, other):
    import ray

    own = (ray.__version__, "{}.{}.{}".format(*sys.version_info))
    pretended = tuple(o or mine for o, mine in zip(other, own, strict=True))
    monkeypatch.setattr("ray._private.utils.compute_version_info", lambda: pretended)
    with pytest.raises(InputError) as caught, joined(ClusterOptions(cluster=ray_cluster.address)):
        pass
    assert all(version in str(caught.value) for version in {*own, *pretended})
    assert not ray.is_initialized()


@pytest.mark.slow
def test_what_ray_prints_of_its_nodes_is_not_seen(ray_cluster, capsys):
    from ray._private import worker

    line = {"lines": ["node died"], "pid": "raylet", "is_err": True, "ip": "", "job": "", "task_name": ""}
    before = worker.print_to_stdstream
    with joined(ClusterOptions(cluster=ray_cluster.address)):
        worker.print_to_stdstream(line, ignore_prefix=False)
    assert worker.print_to_stdstream is before
    assert capsys.readouterr() == ("", "")
    assert connection._one_line(ValueError("a\n  b.")) == "a b"

"""A small Ray cluster in a process of its own: several raylets of this machine, which join and are killed on demand."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

import psutil

HEAD_SECONDS = 150
"""Ray gives its head 30 s for each of its parts, and no more on a busy machine: it is then tried again, on fresh ports."""

TRIES = 4
STORE_BYTES = 80 * 2**20
QUICK_TO_NOTICE = {"period_ms": 1000, "timeout_ms": 1000, "failure_threshold": 3, "initial_delay_ms": 0}


class RayCluster:
    """In a ``with`` block; the head has so many processors."""

    def __init__(self, *, cpus, home):
        self._line = [sys.executable, __file__, str(cpus)]
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        health = {f"RAY_health_check_{key}": str(value) for key, value in QUICK_TO_NOTICE.items()}
        # Not the user's home: Ray writes a token there. Nobody is told that these tests run.
        self._environment = (
            kept
            | health
            | {
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_worker_niceness": "0",
                "HOME": str(home),
            }
        )

    def __enter__(self):
        for _ in range(TRIES):
            self._start()
            try:
                self.address = self._answer(seconds=HEAD_SECONDS)
            except (RuntimeError, TimeoutError) as error:
                latest = error
                self._end()
            else:
                return self
        raise RuntimeError(f"no head of Ray started in {TRIES} tries: {latest}") from latest

    def __exit__(self, *_):
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=60)
        self._end()

    def _start(self):
        """Start it in a session of its own, so that what is left of it can be found."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(
            self._line, env=self._environment, start_new_session=True, bufsize=0, **pipes
        )

    def _end(self):
        """End what is left: a head that did not start in time leaves parts of it behind."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def add(self, name, *, cpus):
        """Let a node join."""
        self._ask("add", name, cpus)

    def kill(self, name):
        """End a node as a machine that loses power does: its raylet gets signal 9, and its workers end with it."""
        os.kill(self.raylet(name), signal.SIGKILL)

    def raylet(self, name):
        """Return the process id of a node's raylet."""
        return int(self._ask("raylet", name))

    def _ask(self, *words):
        self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        return self._answer(seconds=HEAD_SECONDS)

    def _answer(self, *, seconds):
        """Return what the process says next after the word answer."""
        deadline = time.monotonic() + seconds
        line = b""
        while select.select([self._process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
            byte = self._process.stdout.read(1)
            if not byte:
                raise RuntimeError("the process of the cluster has ended")
            if byte != b"\n":
                line += byte
            elif line.startswith(b"answer "):
                return line.decode().partition(" ")[2]
            else:
                line = b""
        raise TimeoutError(f"the process of the cluster has not answered for {seconds} s")


def serve(cpus):
    from ray.cluster_utils import Cluster

    options = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, **options})
    nodes = {}
    sys.stdout.write(f"answer {cluster.address}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        match line.split():
            case ["add", name, count]:
                answer = "done"
                nodes[name] = add_node(cluster, num_cpus=int(count))
            case ["raylet", name]:
                answer = nodes[name].all_processes["raylet"][0].process.pid
        sys.stdout.write(f"answer {answer}\n")
        sys.stdout.flush()
    cluster.shutdown()


def add_node(cluster, *, num_cpus):
    """Let a node join; one that a busy machine did not start in time is tried again."""
    for left in reversed(range(TRIES)):
        try:
            return cluster.add_node(num_cpus=num_cpus, object_store_memory=STORE_BYTES, wait=False)
        except Exception:  # Ray raises a bare one
            if not left:
                raise
    return None


if __name__ == "__main__":
    serve(int(sys.argv[1]))

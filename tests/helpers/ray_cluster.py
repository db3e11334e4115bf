"""A small Ray cluster in a process of its own: several raylets of this machine, which join and are killed on demand."""

import os
import signal
import subprocess
import sys

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
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(self._line, text=True, env=self._environment, **pipes)
        self.address = self._answer()
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def add(self, name, *, cpus):
        """Let a node join."""
        self._ask("add", name, cpus)

    def kill(self, name):
        """End a node as a machine that loses power does: its raylet gets signal 9, and its workers end with it."""
        self._ask("kill", name)

    def _ask(self, *words):
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        assert self._answer() == "done"

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith("answer "):
                return line.split()[1]
        raise RuntimeError("the process of the cluster has ended")


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
                nodes[name] = cluster.add_node(
                    num_cpus=int(count), object_store_memory=STORE_BYTES, wait=False
                )
            case ["kill", name]:
                os.kill(nodes[name].all_processes["raylet"][0].process.pid, signal.SIGKILL)
        sys.stdout.write("answer done\n")
        sys.stdout.flush()
    cluster.shutdown()


if __name__ == "__main__":
    serve(int(sys.argv[1]))

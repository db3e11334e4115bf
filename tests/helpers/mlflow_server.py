"""A real MLflow server on loopback, with one worker."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE_SECONDS = 240
"""Enough for a machine that is busy with something else."""


class Server:
    """A server whose database and files lie in a folder.

    Attributes:
        folder: As ``--track mlflow=FOLDER`` has it.
        url: As ``--track mlflow=URL`` has it.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def __enter__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        line = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        line += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        line += ["--artifacts-destination", str(self.folder / "artifacts")]
        self._process = subprocess.Popen(
            line,
            cwd=self.folder,
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # which are seven processes more
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that its own processes can be ended with it
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            assert self._process.poll() is None, "the MLflow server ended"
            assert time.monotonic() < deadline, "the MLflow server does not answer"
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answers(self):
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

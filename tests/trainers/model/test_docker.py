"""What an image is built from: all that the server needs, and nothing else."""

import os
import re
import subprocess
import sys

import pytest

from trainers.model.docker import PACKAGES, docker_files


@pytest.fixture(scope="module")
def files():
    return docker_files()


def test_the_server_stands_beside_the_model(files):
    assert "serve/trainers/serve.py" in files
    assert files[".dockerignore"].splitlines() == ["*", "!model", "!serve"]


def test_every_package_has_one_public_version(files):
    lines = files["serve/requirements.txt"].splitlines()
    assert [line.partition("==")[0] for line in lines] == list(PACKAGES)
    assert all(re.fullmatch(r"[\w-]+==\d[\w.]*", line) for line in lines)


def test_what_is_copied_is_what_the_image_starts(files):
    told = files["Dockerfile"]
    copied = re.findall(r"^COPY (\S+)", told, re.MULTILINE)
    assert copied == ["serve/requirements.txt", "serve/trainers", "model"]
    assert f"FROM python:{sys.version_info.major}.{sys.version_info.minor}-slim" in told
    assert '"trainers.serve", "/srv/model", "--host", "0.0.0.0"' in told


IMPORT_ALL = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if path is None and name.partition(".")[0] in {"search", "optuna", "datasketch", "plotly"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refused())
import trainers.serve, trainers.model
assert trainers.serve.__file__.startswith(sys.argv[1]), trainers.serve.__file__
trainers.model.load, trainers.model.class_names
trainers.serve._uvicorn()
"""


@pytest.mark.slow
def test_the_copied_server_needs_no_package_of_a_search(files, tmp_path):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    place = tmp_path / "serve"
    subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(place)],
        env={**os.environ, "PYTHONPATH": str(place)},
        check=True,
        cwd=tmp_path,
    )

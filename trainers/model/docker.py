"""Files beside a model directory from which Docker builds an image that serves it, with nothing but that folder."""

from __future__ import annotations

import sys
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable

PACKAGES = (
    "cyclopts",
    "lazy-loader",
    "numpy",
    "prometheus-client",
    "pydantic",
    "protobuf",
    "safetensors",
    "scipy",
    "sentencepiece",
    "starlette",
    "torch",
    "transformers",
    "uvicorn",
)
"""What the server imports, in the versions with which the model was saved."""

CPU_BUILDS = "https://download.pytorch.org/whl/cpu"

DOCKERFILE = """\
# docker build -t {name} . && docker run -p 127.0.0.1:8000:8000 {name}
FROM python:{python}-slim
COPY serve/requirements.txt /srv/
RUN pip install --no-cache-dir --extra-index-url {index} -r /srv/requirements.txt
COPY serve/trainers /srv/trainers
COPY model /srv/model
ENV PYTHONPATH=/srv PYTHONUNBUFFERED=1
RUN useradd --no-create-home server
USER server
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health')"]
CMD ["python", "-m", "trainers.serve", "/srv/model", "--host", "0.0.0.0"]
"""


def docker_files() -> dict[str, str]:
    """Return the texts of ``Dockerfile`` and of ``serve/``, which holds the server and its requirements, by name.

    They belong beside the folder ``model``, which may bring no code of its own.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    requirements = "".join(f"{name}=={_public(version(name))}\n" for name in PACKAGES)
    return {
        ".dockerignore": "*\n!model\n!serve\n",
        "Dockerfile": DOCKERFILE.format(name="frostline-model", python=python, index=CPU_BUILDS),
        "serve/requirements.txt": requirements,
        **{f"serve/trainers/{name}": text for name, text in _sources(files("trainers"))},
    }


def _public(release: str) -> str:
    """Return a version without what a build adds to it: 2.13.0+cpu is 2.13.0."""
    return release.partition("+")[0]


def _sources(folder: Traversable, prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith((".py", ".pyi", ".jinja")):
            found.append((prefix + entry.name, entry.read_text(encoding="utf-8")))
    return found

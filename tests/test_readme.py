"""The README's commands are run, its file map and tables are held against the project."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
LINES = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = [
    part.strip() for line in LINES for part in line.split("&&") if part.strip().startswith("python -m")
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(
        ROOT / "studies",
        folder / "studies",
        ignore=lambda d, names: [n for n in names if (Path(d) / n).is_dir()],
    )
    return folder


def command(module, *, containing=""):
    """Return the arguments of the README's command for a module."""
    found = [shlex.split(c)[2:] for c in COMMANDS if c.startswith(f"python -m {module}") and containing in c]
    assert found, f"the README shows no python -m {module}"
    return found[0]


def run(arguments, folder, **options):
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "2"}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        **options,
    )


@pytest.mark.slow
def test_readme_road_from_search_to_prediction_works(clone):
    search = command("search.run", containing="quick")
    search[search.index("--trials") + 1] = "4"
    searched = run(search, clone)
    assert searched.returncode == 0, searched.stderr
    assert "4 trials finished" in searched.stdout
    exported = run(command("search.export"), clone)
    assert exported.returncode == 0, exported.stderr
    trained = run(command("trainers.train"), clone)
    assert trained.returncode == 0, trained.stderr
    fingerprint = re.search(r"weights sha256 (\w{64})", trained.stdout).group(1)
    assert fingerprint in (clone / "studies/quick/winner.toml").read_text()
    predicted = run(command("trainers.predict"), clone)
    assert predicted.returncode == 0, predicted.stderr
    assert len(predicted.stdout.splitlines()) == 2
    assert re.fullmatch(
        r"(positive|negative)\t[01]\.\d{4}\tA joy from start to finish\.", predicted.stdout.splitlines()[0]
    )

    dashboard = subprocess.Popen(
        [sys.executable, "-m", *command("search.dashboard"), "--port", "0"],
        cwd=clone,
        text=True,
        stdout=subprocess.PIPE,
    )
    try:
        address = re.search(r"http://\S+", dashboard.stdout.readline()).group()
        with urllib.request.urlopen(f"{address}api/studies") as answer:
            assert b'"quick"' in answer.read()
    finally:
        dashboard.send_signal(signal.SIGINT)
        assert dashboard.wait(timeout=30) == 0
        dashboard.stdout.close()


@pytest.mark.parametrize("arguments", [shlex.split(c)[2:] for c in COMMANDS], ids=" ".join)
def test_every_option_in_the_readme_is_in_the_help(arguments):
    shown = run([arguments[0], "--help"], ROOT)
    assert shown.returncode == 0
    for option in (a for a in arguments if a.startswith("--")):
        assert option in shown.stdout


def test_the_file_map_names_every_module():
    modules = [p.name for folder in ("search", "trainers") for p in (ROOT / folder).glob("[!_]*.py")]
    assert [name for name in modules if name not in README] == []


def test_the_set_up_command_stands_in_the_readme():
    assert "pip install -e . && python -m search.run --trials 50" in README


def test_the_gate_runs_the_readmes_test_command():
    shown = next(line for line in LINES if line.startswith("pip install -e '.[dev]' && pytest"))
    _, command = shown.split(" && ")
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == command

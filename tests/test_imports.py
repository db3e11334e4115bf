"""The folders are the diagram: imports are read, not run."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(p for package in ("search", "trainers") for p in (ROOT / package).rglob("*.py"))

# A module imports from the lines above its own, never from its own or below.
LAYERS = {
    "trainers": (
        "errors cleaning formats hits",
        "foreign_code",
        "config files findings duplicates model_files feature_files",
        "cli grid labels shuffled metrics stopping batching modeling_frostline device families onnx probe",
        "tables encoder precision",
        "columns typed",
        "sources",
        "gatekeeper splitting rows",
        "data",
        "inputs",
        "prefix",
        "features",
        "network",
        "head_start records samples",
        "looks",
        "fit",
        "holdout model",
        "card sklearn predict",
        "train",
    ),
    "search": (
        "recipes portfolio interrupts account credentials evidence memory silence peak goal",
        "spec processes database luck price",
        "results",
        "space pruning storage baseline lease sampler idle new.speed",
        "new.cost new.ceiling",
        "new.sizes",
        "checkpoints importance earlier",
        "start finalists",
        "opponents",
        "summary",
        "verdict",
        "picture live notes page palette confirmed curves guard shadow",
        "figures comparisons room",
        "html",
        "preparation report objective artifacts",
        "export dashboard",
        "workers",
        "confirm",
        "new.template",
        "new.command",
        "run new.__main__",
    ),
}
COMMANDS = (
    "search.new",
    "search.run",
    "search.report",
    "search.confirm",
    "search.dashboard",
    "search.export",
    "trainers.train",
    "trainers.predict",
)
HEAVY = (
    "torch",
    "optuna",
    "transformers",
    "datasets",
    "pandas",
    "sklearn",
    "matplotlib",
    "sqlalchemy",
    "plotly",
    "jinja2",
    "psutil",
)


def name_of(path):
    """A module's name, as an import has it."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(path):
    """Every module that a file imports, wherever in the file: ``package.module`` for our own."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            whole = node.module in LAYERS
            found |= {f"{node.module}.{a.name}" for a in node.names} if whole else {node.module}
    return found


def rank(module):
    package, _, name = module.partition(".")
    return next(i for i, layer in enumerate(LAYERS[package]) if name in layer.split())


def test_every_module_has_its_place():
    placed = {f"{p}.{name}" for p, layers in LAYERS.items() for layer in layers for name in layer.split()}
    assert placed == {name_of(p) for p in FILES if p.stem != "__init__"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_trainers_know_neither_search_nor_optuna_nor_rich(path):
    if name_of(path).startswith("trainers."):
        assert not {m.split(".")[0] for m in imported(path)} & {
            "search",
            "optuna",
            "rich",
            "optuna_dashboard",
        }


@pytest.mark.parametrize("path", [p for p in FILES if p.stem != "__init__"], ids=name_of)
def test_no_arrow_turns_round(path):
    own = name_of(path)
    inside = {m for m in imported(path) if m.split(".")[0] == own.split(".")[0]}
    assert [m for m in sorted(inside) if rank(m) >= rank(own)] == []


@pytest.mark.parametrize(
    "name", ["space", "spec", "pruning", "results", "recipes", "storage", "database", "lease"]
)
def test_modules_below_the_objective_run_no_fit(name):
    allowed = {"trainers.config", "trainers.errors", "trainers.files", "trainers.fit.hits"}
    assert {m for m in imported(ROOT / "search" / f"{name}.py") if m.startswith("trainers")} <= allowed


@pytest.mark.parametrize(
    "name", ["config", "metrics", "stopping", "data", "encoder", "modeling_frostline", "batching"]
)
def test_parts_of_a_fit_know_no_fit(name):
    above = {f"trainers.{m}" for m in ("features", "fit", "model", "train", "predict")}
    assert not imported(ROOT / "trainers" / f"{name}.py") & above


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_module_imports_a_name_that_is_private_elsewhere(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LAYERS
        for alias in node.names
    ]
    assert [n for n in names if n.startswith("_")] == []


@pytest.mark.parametrize("module", COMMANDS)
def test_help_exits_with_zero_and_imports_nothing_heavy(module):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"python -m {module}" in done.stdout
    loaded = set(re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, flags=re.MULTILINE))
    assert "cyclopts" in loaded
    assert sorted(loaded & set(HEAVY)) == []


@pytest.mark.parametrize(
    "module",
    ["search.new", "search.run", "search.report", "search.confirm", "search.export", "search.dashboard"],
)
def test_every_flag_says_its_default(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
    )
    flags = [
        line for line in done.stdout.splitlines() if re.search(r"\s--[a-z]", line) and "--help" not in line
    ]
    told = " ".join(done.stdout.split()).count("[default:")
    assert told >= len([f for f in flags if "--debug" not in f and "--writable" not in f])

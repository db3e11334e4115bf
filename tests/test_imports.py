"""The folders are the diagram: imports are read, not run."""

import ast
import functools
import importlib
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(p for package in ("search", "trainers") for p in (ROOT / package).rglob("*.py"))

# A folder or module imports from the lines above its own, never from its own or below.
FLOORS = {
    "trainers": (
        "errors",
        "formats files modeling_frostline",
        "config",
        "cli data encoder",
        "fit",
        "model",
        "estimator validation_part",
        "sklearn predict serve train",
    ),
    "search": (
        "interrupts terminal",
        "storage",
        "study",
        "analysis",
        "trials report",
        "export new confirm dashboard",
        "run result frames",
        "description",
        "interface",
        "sklearn frostline",
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
    "trainers.serve",
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


@functools.cache
def tree_of(path):
    """A file as Python reads it."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imported(path):
    """Every module that a file imports, wherever in the file: ``package.module`` for our own."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inside = [f"{node.module}.{a.name}" for a in node.names]
            are_modules = [(ROOT / m.replace(".", "/")).with_suffix(".py").is_file() for m in inside]
            found |= set(inside) if node.module in FLOORS or all(are_modules) else {node.module}
    return found


def room(module):
    """The folder of a module, or the module itself where it stands in none: ``search.study``, ``search.run``."""
    return ".".join(module.split(".")[:2])


def floor(module):
    package, name = room(module).split(".")
    return next(i for i, names in enumerate(FLOORS[package]) if name in names.split())


def ours(path):
    return {m for m in imported(path) if m.split(".")[0] in FLOORS and m not in FLOORS}


MODULES = [p for p in FILES if p.stem != "__init__"]
FACES = sorted(p.parent for package in FLOORS for p in (ROOT / package).glob("*/__init__.pyi"))


def test_every_room_has_its_floor():
    placed = {f"{p}.{name}" for p, floors in FLOORS.items() for names in floors for name in names.split()}
    assert placed == {room(name_of(p)) for p in MODULES}


# Users look for estimators in one place: a name there is found in the search, once it is asked for.
LAZY = {"trainers.sklearn": {"search.sklearn"}}


def wrong(paths, look):
    """What ``look`` finds in files that should not be there, by module; five rules for two hundred files are no thousand tests."""
    found = {name_of(path): sorted(look(path)) for path in paths}
    return {name: names for name, names in found.items() if names}


def test_trainers_know_neither_search_nor_optuna_nor_rich():
    def known(path):
        others = {m.split(".")[0] for m in imported(path) - LAZY.get(name_of(path), set())}
        return others & {"search", "optuna", "rich", "optuna_dashboard"}

    trainers = [path for path in FILES if name_of(path).startswith("trainers.")]
    assert len(trainers) > 50
    assert wrong(trainers, known) == {}


def test_imports_run_downwards():
    def upward(path):
        own = name_of(path)
        others = {m for m in ours(path) if m.split(".")[0] == own.split(".")[0] and room(m) != room(own)}
        return {m for m in others if floor(m) >= floor(own)}

    assert wrong(MODULES, upward) == {}


def test_of_another_room_only_its_face_is_imported():
    shown = {m for face in FACES for m in modules_shown(face)}

    def behind_a_face(path):
        own = room(name_of(path))
        into = {m for m in ours(path) if room(m) != own and (ROOT / room(m).replace(".", "/")).is_dir()}
        return into - {room(m) for m in into} - shown

    assert wrong(MODULES, behind_a_face) == {}


@functools.cache
def modules_shown(face):
    """Modules that a face shows whole: ``from . import results``."""
    tree = tree_of(face / "__init__.pyi")
    whole = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module is None]
    return {f"{face.parent.name}.{face.name}.{alias.name}" for node in whole for alias in node.names}


@pytest.mark.parametrize("face", FACES, ids=lambda p: f"{p.parent.name}.{p.name}")
def test_a_face_shows_what_there_is(face):
    package = importlib.import_module(f"{face.parent.name}.{face.name}")
    assert package.__all__
    for name in package.__all__:
        assert getattr(package, name) is not None


@pytest.mark.parametrize("package", FLOORS)
def test_within_a_room_no_imports_run_in_circles(package):
    graph = {name_of(p): ours(p) & {name_of(q) for q in MODULES} for p in MODULES}
    order = TopologicalSorter({m: to for m, to in graph.items() if m.startswith(package)}).static_order()
    assert len(set(order)) > 10  # a circle would have raised CycleError


def test_a_study_and_where_it_lives_run_no_fit():
    for path in MODULES:
        if room(name_of(path)) in {"search.study", "search.storage"}:
            assert {room(m) for m in ours(path) if m.startswith("trainers")} <= {
                "trainers.config",
                "trainers.errors",
                "trainers.files",
            }


def test_no_module_imports_a_name_that_is_private_elsewhere():
    def private(path):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FLOORS:
                yield from (alias.name for alias in node.names if alias.name.startswith("_"))

    assert wrong(FILES, private) == {}


# Modules that stand for all others between this project and the private parts of a library.
PRIVATE = {
    "search.storage.optuna_private",
    "search.dashboard.dashboard_private",
    "search.trials.cluster.ray_private",
}


def foreign_privates(tree):
    """Yield what a module touches of others' private parts: ``x._y`` that it does not define itself, and ``a._b`` imported."""
    nodes = list(ast.walk(tree))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and is_set_on_self(node)}
    own |= {
        node.target.id
        for node in nodes
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for node in nodes:
        match node:
            case ast.Attribute(value=ast.Name("os"), attr="_exit"):
                pass  # public, in spite of its name
            case ast.Attribute(value=ast.Name("self" | "cls"), attr=name) if name in own:
                pass
            case ast.Attribute(attr="_replace"):
                pass  # of a named tuple, which is public
            case ast.Attribute(value=value, attr=name) if is_private(name):
                yield f"{ast.unparse(value)}.{name}"
            case ast.ImportFrom(module=module) if any(map(is_private, (module or "").split("."))):
                yield module
            case ast.Import(names=names):
                yield from (n.name for n in names if any(map(is_private, n.name.split("."))))
            case ast.Call(func=ast.Name("getattr" | "setattr" | "hasattr"), args=[_, ast.Constant(name), *_]):
                if is_private(name):
                    yield f"{ast.unparse(node.args[0])}.{name}"


def is_set_on_self(node):
    return isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def test_a_search_touches_private_parts_of_libraries_in_three_modules_only():
    search = [path for path in FILES if name_of(path).startswith("search.")]
    found = wrong(search, lambda path: foreign_privates(tree_of(path)))
    assert set(found) == PRIVATE, found


@pytest.mark.parametrize(
    "code",
    [
        "study._storage",
        "super()._get()",
        "self._backend",
        "from a._b import c",
        "import a._b",
        "getattr(x, '_y')",
    ],
)
def test_touching_a_private_part_is_seen(code):
    assert list(foreign_privates(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["self._x = 1; self._x", "os._exit(1)", "row._replace(a=1)", "x.__class__", "_y()"]
)
def test_what_is_ones_own_is_no_foreign_private_part(code):
    assert not list(foreign_privates(ast.parse(code)))


@functools.cache
def asked_for_help(module):
    """A command that was asked for help in a process of its own, which tells what it imports."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", module, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
    )


@pytest.mark.parametrize("module", COMMANDS)
def test_help_exits_with_zero_and_imports_nothing_heavy(module):
    done = asked_for_help(module)
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
    said = asked_for_help(module).stdout
    flags = [line for line in said.splitlines() if re.search(r"\s--[a-z]", line) and "--help" not in line]
    told = " ".join(said.split()).count("[default:")
    assert told >= len([f for f in flags if "--debug" not in f and "--writable" not in f])

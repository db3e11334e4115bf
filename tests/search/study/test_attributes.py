"""Attributes in databases: named once, and by no bare string anywhere else."""

import ast
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from search.study import attributes

ROOT = Path(__file__).parents[3]
FILES = [p for p in sorted((ROOT / "search").rglob("*.py")) if p.name != "attributes.py"]
NAMES = {name: value for name, value in vars(attributes).items() if name.isupper()}
STORED = {"user_attrs", "system_attrs"}
WRITES = {"set_user_attr", "set_trial_user_attr", "set_trial_system_attr", "set_system_attribute"}


def bare_keys(tree):
    """Yield what is read or written of attributes by a bare string, and the source of what it is read from."""
    nodes = list(ast.walk(tree))
    aliases = {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and is_stored(node.value)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }

    def are_attributes(node):
        return is_stored(node) or (isinstance(node, ast.Name) and node.id in aliases)

    for node in nodes:
        match node:
            case ast.Subscript(value=of, slice=ast.Constant(str(key))) if are_attributes(of):
                yield ast.unparse(of), key
            case ast.Call(func=ast.Attribute(value=of, attr="get"), args=[ast.Constant(str(key)), *_]):
                if are_attributes(of):
                    yield ast.unparse(of), key
            case ast.Compare(left=ast.Constant(str(key)), comparators=[of]) if are_attributes(of):
                yield ast.unparse(of), key
            case ast.Call(func=ast.Attribute(attr=name), args=args) if name in WRITES:
                yield from (
                    (name, a.value) for a in args if isinstance(a, ast.Constant) and isinstance(a.value, str)
                )
            case ast.keyword(arg="user_attrs" | "system_attrs", value=ast.Dict(keys=keys)):
                yield from (("user_attrs=", k.value) for k in keys if isinstance(k, ast.Constant))


def is_stored(node):
    """Tell whether an expression is the attributes of something, or what ``results.notes`` gives of them."""
    match node:
        case ast.Attribute(attr=name):
            return name in STORED
        case ast.Call(func=ast.Name("notes") | ast.Attribute(attr="notes")):
            return True
        case ast.IfExp(body=body) | ast.BoolOp(values=[*_, body]):
            return is_stored(body)
    return False


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_attribute_is_a_bare_string(path):
    assert list(bare_keys(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    [
        "t.user_attrs['recipe']",
        "study.user_attrs.get('data')",
        "'recipe' not in t.user_attrs",
        "found = t.user_attrs\nfound['recipe']",
        "known = results.notes(t)\nknown.get('reason')",
        "trial.set_user_attr('value', 1)",
        "study.enqueue_trial({}, user_attrs={'recipe': 'a'})",
    ],
)
def test_a_bare_string_is_seen(code):
    assert list(bare_keys(ast.parse(code)))


def test_every_attribute_says_its_type_and_meaning():
    body = ast.parse(Path(attributes.__file__).read_text(encoding="utf-8")).body
    said = {
        first.targets[0].id: then.value.value
        for first, then in pairwise(body)
        if isinstance(first, ast.Assign) and isinstance(then, ast.Expr)
    }
    assert set(said) == set(NAMES)
    assert all(
        text.split(":")[0].split()[0] in {"dict", "list", "str", "int", "float", "bool"}
        for text in said.values()
    )


def test_names_in_databases_never_change():
    assert set(NAMES.values()) == {
        "spec",
        "data",
        "num_layers",
        "precision",
        "encoder_revision",
        "encoder_sha256",
        "cache_bytes",
        "preparation_seconds",
        "peak_flops",
        "flat",
        "chosen",
        "workers",
        "worker_bytes",
        "wall_seconds",
        "node_seconds",
        "start",
        "tracking",
        "words",
        "frostline:confirmation",
        "frostline:fit:",
        "recipe",
        "retry_of",
        "config",
        "evaluations",
        "folds",
        "on_scale",
        "label_f1",
        "stages",
        "reason",
        "ending",
        "validation_accuracy",
        "validation_loss",
        "training_accuracy",
        "training_exact",
        "training_interval",
        "gap",
        "design_effect",
        "num_validation_texts",
        "best_epoch",
        "epochs",
        "seconds",
        "tokens",
        "flops",
        "training_seconds",
        "evaluation_seconds",
        "batching_seconds",
        "place",
        "value",
        "constraints",
        "trial",
        "epoch",
        "restored",
        "state",
    }


def test_a_database_of_version_0_1_0_holds_no_name_that_is_not_listed():
    files = sorted((ROOT / "tests" / "data" / "version-0.1.0").rglob("study.db"))
    assert files
    for file in files:
        with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as database:
            found = {
                key
                for table in ("study_user_attributes", "trial_user_attributes")
                for (key,) in database.execute(f"SELECT key FROM {table}")
            }
        assert found - set(NAMES.values()) == set()

"""What the READMEs say is true of the project: commands run, options exist, defaults are the code's, files are there."""

import contextlib
import io
import json
import re
import runpy
import shlex
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from search.study.settings import FIT_KEYS, SEARCHED
from search.study.spec import StudySpec
from trainers.config import TrainConfig

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(ROOT.rglob("*.md"))
    if not {".venv", "data"} & set(path.relative_to(ROOT).parts)
    and path.name in {"README.md", "CONTRIBUTING.md", "SECURITY.md"}
    and path.parent.parent.parent.name != "studies"  # a saved model's card
}
README, CONTRIBUTING, STUDIES = (PAGES[p] for p in ("README.md", "CONTRIBUTING.md", "studies/README.md"))
BENCHMARKS = ROOT / "tests" / "benchmarks"


def commands(page):
    """The command lines of a page, each as its words, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    lines = [line.partition("  #")[0].partition(" # ")[0] for block in blocks for line in block.splitlines()]
    return [
        shlex.split(part.replace("<", "'<").replace(">", ">'")) for line in lines for part in line.split("&&")
    ]


SHOWN = [(name, words) for name, page in PAGES.items() for words in commands(page) if words]
MODULES = [(name, words[2:]) for name, words in SHOWN if words[:2] == ["python", "-m"] and words[2] != "venv"]
SCRIPTS = [words[1:] for _, words in SHOWN if words[0] == "python" and words[1] != "-m"]


def row_of(heading):
    """The rows below a heading of studies/README.md: key -> default."""
    section = STUDIES.split(f"\n### {heading}\n")[1].partition("\n#")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", section, re.MULTILINE))


def written(field, *, key):
    """A default as studies/README.md writes it."""
    default = field.get_default(call_default_factory=True)
    if key == "name" and default is PydanticUndefined:
        return "the file's name"
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "none"
    return f"`{json.dumps(list(default) if isinstance(default, tuple) else default)}`"


def run(module, *arguments):
    """What ``python -m module ...`` prints, in this process."""
    output = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(output),
    ):
        patch.setattr(sys, "argv", [module, *arguments])
        warnings.filterwarnings("ignore", message=".*found in sys.modules after import")
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert ended.value.code == 0
    return output.getvalue()


@pytest.fixture(scope="module")
def helps():
    """Help of each command, asked for once."""
    names = sorted({words[0] for _, words in MODULES})
    return {name: run(name, "--help") for name in names}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with the study ``quick``, of fewer texts, in which commands work."""
    text = (ROOT / "studies" / "quick.toml").read_text()
    for number, fewer in (("train = 400", "train = 120"), ("validation = 200", "validation = 60")):
        assert f"\n{number}\n" in text
        text = text.replace(f"\n{number}\n", f"\n{fewer}\n")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "quick.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def command(module, *, containing=None):
    """Return the arguments of the README's first command for a module."""
    found = [w for name, w in MODULES if name == "README.md" and w[0] == module]
    found = [w for w in found if containing in (None, *w)]
    assert found, f"the README shows no python -m {module}"
    return list(found[0])


@pytest.mark.slow
def test_readme_road_from_search_to_prediction_works(clone):
    """The dashboard's command has its tests beside it, and cold processes theirs beside each command."""
    search = command("search.run", containing="quick")
    search[search.index("--trials") + 1] = "2"
    assert "2 trials finished" in run(*search)
    run(*command("search.export"))
    fingerprint = re.search(r"weights sha256 (\w{64})", run(*command("trainers.train"))).group(1)
    assert fingerprint in (clone / "studies/quick/winner.toml").read_text()
    predicted = run(*command("trainers.predict")).splitlines()
    assert len(predicted) == 2
    assert re.fullmatch(r"(positive|negative)\t[01]\.\d{4}\tA joy from start to finish\.", predicted[0])

    with contextlib.redirect_stdout(io.StringIO()):
        for page in ("README.md", "trainers/README.md"):
            for block in re.findall(r"```python\n(.*?)```", PAGES[page], flags=re.DOTALL):
                known = {"texts": [f"film {i}" for i in range(40)], "labels": [0, 1] * 20}
                exec(block, known)
    assert known["estimator"].get_params()["freeze_depth"] in (5, 6)


@pytest.mark.parametrize("words", [words for _, words in MODULES], ids=" ".join)
def test_every_option_of_a_shown_command_is_in_its_help(helps, words):
    missing = [option for option in words if option.startswith("--") and option not in helps[words[0]]]
    assert missing == []


@pytest.mark.parametrize("row", re.findall(r"^\| `python -m .+$", README, re.MULTILINE))
def test_the_table_of_commands_names_every_option_of_each(helps, row):
    module = re.search(r"python -m ([\w.]+)", row)[1]
    common = {"--help", "--version", "--debug", "--study", "--storage", "--no-onnx"}
    options = set(re.findall(r"^\W*(--[a-z-]+)", helps[module], re.MULTILINE))
    assert set(re.findall(r"--[a-z-]+", row)) == options - common


@pytest.mark.parametrize("words", SCRIPTS, ids=" ".join)
def test_every_shown_script_has_the_options_that_are_shown(words):
    folder = BENCHMARKS / "tables" if "/" not in words[0] else ROOT
    source = (folder / words[0]).read_text(encoding="utf-8")
    assert [w for w in words if w.startswith("--") and f'"{w}"' not in source] == []


def test_every_shown_extra_can_be_installed():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    shown = {extra for page in PAGES.values() for extra in re.findall(r"install -e '\.\[(\w+)\]'", page)}
    assert shown == set(extras)


def test_every_test_file_of_a_shown_pytest_command_is_there():
    shown = [w for _, words in SHOWN if words[0] == "pytest" for w in words if w.startswith("tests/")]
    assert shown
    assert [path for path in shown if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file(name):
    links = [t for t in re.findall(r"\]\(([^)\s]+)\)", PAGES[name]) if not t.startswith("http")]
    assert [t for t in links if not (ROOT / name).parent.joinpath(t).exists()] == []


def test_every_file_that_contributing_names_is_there():
    named = re.findall(
        r"`((?:\.ci|search|trainers|studies|tests)/[\w./-]*|[A-Z]+\.(?:md|cff)|pyproject\.toml)`",
        CONTRIBUTING,
    )
    assert len(named) > 30
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_contributing_answers_ten_questions_with_files_alone():
    rows = re.findall(r"^\| (.+\?) \| (.+) \|$", CONTRIBUTING, re.MULTILINE)
    assert len(rows) == 10
    for _, answer in rows:
        assert all(
            re.fullmatch(r"`[\w/]+\.py`", part) and (ROOT / part.strip("`")).is_file()
            for part in answer.split(", ")
        )


@pytest.mark.parametrize(
    "heading", ["goal", "score", "data", "encoder", "sampler", "pruning", "start", "recipes", "cache"]
)
def test_every_key_of_a_study_is_told_with_its_default(heading):
    model = StudySpec.model_fields[heading].annotation
    assert row_of(f"`[{heading}]`") == {k: written(f, key=k) for k, f in model.model_fields.items()}


def test_every_setting_of_a_fit_is_told_with_its_default():
    told = row_of("`[fit]`")
    assert told == {k: written(TrainConfig.model_fields[k], key=k) for k in FIT_KEYS}
    assert tuple(told)[: len(SEARCHED)] == SEARCHED


def test_every_key_outside_the_tables_is_told():
    tables = {"goal", "score", "data", "encoder", "fit", "sampler", "pruning", "start", "recipes", "cache"}
    fields = {k: f for k, f in StudySpec.model_fields.items() if k not in tables}
    assert row_of("Top") == {k: written(f, key=k) for k, f in fields.items()}


def test_every_study_that_comes_along_is_told():
    assert set(
        re.findall(r"^\| `([\w-]+)`(?: \(default\))? \|", STUDIES.partition("## A study")[0], re.MULTILINE)
    ) == {path.stem for path in (ROOT / "studies").glob("*.toml")}


def test_the_readme_fits_on_a_page():
    assert len(README.splitlines()) <= 150


def test_the_set_up_command_stands_in_the_readme():
    assert "pip install -e . && python -m search.run --trials 50" in README


def test_the_gate_runs_the_test_command_of_contributing():
    shown = next(
        line for line in CONTRIBUTING.splitlines() if line.startswith("pip install -e '.[dev]' && pytest")
    )
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == shown.partition("#")[0].split(" && ")[
        1
    ].strip()

"""Searches that are to be disturbed, and the table of what became of them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from harness import Search, Starter
from invariants import given_up

ROWS = pytest.StashKey[dict]()


@dataclass
class Row:
    """What became of the searches of one scenario.

    Attributes:
        scenario: In words; searches of the same one add up.
        injected: Faults that struck.
        lost: Trials whose end, result or repeat is missing.
        duplicated: Trials that were counted, fitted or told twice.
        given_up: Setups that were killed each time they were tried, and count as failed.
        saw: A telling line of what the command said.
    """

    scenario: str
    injected: int = 0
    lost: int = 0
    duplicated: int = 0
    given_up: int = 0
    saw: str = ""


def pytest_configure(config):
    config.stash[ROWS] = {}


def pytest_terminal_summary(terminalreporter, config):
    rows = list(config.stash[ROWS].values())
    if not rows or config.getoption("chaos") != "full":
        return
    terminalreporter.section("what became of the searches")
    terminalreporter.line("| scenario | times injected | lost | duplicated | given up | what the user saw |")
    terminalreporter.line("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        terminalreporter.line(
            f"| {row.scenario} | {row.injected} | {row.lost} | {row.duplicated} | {row.given_up} | {row.saw} |"
        )
    path = config.getoption("chaos_table")
    if path:
        Path(path).write_text(json.dumps([asdict(r) for r in rows], indent=2) + "\n")


@pytest.fixture(scope="session")
def starter(reviews_dir):
    """What commands are started from."""
    starter = Starter([reviews_dir])
    yield starter
    starter.end()


@pytest.fixture
def make_search(write_tiny_study, starter, tmp_path):
    """A function: a search of a tiny study with features of its own; options are those of ``Search``."""
    searches = []

    def make(*, folder=None, cache=None, **options):
        place = folder or tmp_path / f"study-{len(searches)}"
        place.mkdir(exist_ok=True)
        records = tmp_path / f"records-{len(searches)}"
        records.mkdir()
        study = write_tiny_study(place)
        text = study.read_text()
        before, _, _ = text.partition("\n[cache]")
        study.write_text(f"{before}\n[cache]\ndirectory = '{cache or place / 'cache'}'\n")
        searches.append(Search(study, folder=records, starter=starter, **options))
        return searches[-1]

    yield make
    for search in searches:
        search.end()


@pytest.fixture
def verify(request, tmp_path):
    """A function: hold a search that has ended against the invariants, and add it to the table."""
    rows = request.config.stash[ROWS]

    def hold(search, *, scenario, injected=1, saw):
        broken = search.broken()
        row = rows.setdefault(scenario, Row(scenario))
        row.injected += injected
        row.lost += sum(b.kind == "lost" for b in broken)
        row.duplicated += sum(b.kind == "duplicated" for b in broken)
        row.given_up += given_up(search.trials())
        row.saw = saw.replace(str(tmp_path), "")
        assert broken == []

    return hold

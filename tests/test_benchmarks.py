from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"
OF_TABLES = ("build", "describe", "simulate", "summary")


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    sorted([*BENCHMARKS.glob("*.py"), *(BENCHMARKS / "tables" / f"{name}.py" for name in OF_TABLES)]),
    ids=lambda path: path.stem,
)
def test_a_benchmark_starts_and_says_what_it_measures(path, command):
    done = command(path, "--help")
    assert done.returncode == 0, done.stderr
    assert "--out" in done.stdout

import importlib.util
import itertools
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HELPERS = Path(__file__).parents[1] / "helpers"
OF_TABLES = ("build", "describe", "simulate", "stopping", "summary")


def modules_below(folder):
    return [
        n for n, m in tuple(sys.modules.items()) if str(getattr(m, "__file__", None)).startswith(str(folder))
    ]


@pytest.fixture
def as_in_a_new_process(monkeypatch):
    """Without the tests' helpers; what a script imports goes with it, for another folder has modules of the same names."""
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if Path(folder) != HELPERS])
    for name in modules_below(HELPERS):
        monkeypatch.delitem(sys.modules, name)
    before = modules_below(BENCHMARKS)
    yield
    for name in {*modules_below(BENCHMARKS)} - {*before}:
        del sys.modules[name]


@pytest.mark.usefixtures("as_in_a_new_process")
@pytest.mark.parametrize(
    "path",
    sorted(
        [
            *(path for path in BENCHMARKS.glob("[!t]*.py") if "__main__" in path.read_text()),
            *(BENCHMARKS / "tables" / f"{name}.py" for name in OF_TABLES),
        ]
    ),
    ids=lambda path: path.stem,
)
def test_a_benchmark_starts_and_says_what_it_measures(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    sys.path.insert(0, str(path.parent))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert not ended.value.code, capsys.readouterr().err
    assert "--out" in capsys.readouterr().out


@pytest.fixture
def portfolio():
    """The script that chooses the portfolio, as a module."""
    path = BENCHMARKS / "tables" / "portfolio.py"
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("portfolio", path))
    module.__spec__.loader.exec_module(module)
    return module


def look(task, setup, age, validation, test, *, seed=0, loss=0.5, training=0.5):
    """One row of a table, of a fit of two epochs."""
    settings = {"freeze_depth": 3, "dropout": 0.1, "head_width": 64, "learning_rate": 1e-4, "epochs": 2}
    figures = {"validation_accuracy": validation, "test_accuracy": test, "validation_loss": loss}
    key = {"task": task, "setup": setup, "seed": seed, "head_start": "fitted", "age": age}
    return {**key, **settings, **figures, "training_accuracy": training}


def test_a_fit_counts_with_its_look_of_the_lowest_loss_and_seeds_with_their_mean(portfolio):
    rows = [
        look("a", 0, 1.0, 0.8, 0.7, loss=0.4),
        look("a", 0, 2.0, 0.9, 0.6, loss=0.6),
        look("a", 0, 2.0, 0.6, 0.5, seed=1, training=0.95),
        look("a", 1, 2.0, 0.6, 0.5),
        look("b", 0, 2.0, 0.6, 0.5),
        look("b", 1, 1.0, 0.6, 0.5),  # not yet at its end
    ]
    score, test, setups = portfolio.measured(pd.DataFrame(rows), head_start="fitted")
    assert list(setups.index) == [0]
    np.testing.assert_allclose(score[0], [0.7, 0.6])
    np.testing.assert_allclose(test[0], [0.6, 0.5])
    score, _, _ = portfolio.measured(pd.DataFrame(rows), head_start="fitted", ceiling=0.9)
    np.testing.assert_allclose(score[0], [0.675, 0.6])


def test_the_first_setup_is_best_on_average_and_the_second_the_best_beside_it(portfolio):
    accuracy = np.array([[0.9, 0.5, 0.7, 0.6], [0.5, 0.9, 0.7, 0.6], [0.5, 0.5, 0.8, 0.5]])
    first, second = portfolio.greedy(accuracy, accuracy, 2)
    together = [accuracy[:, [first, s]].max(axis=1).mean() for s in range(4)]
    assert (first, together[second]) == (2, max(together))


def test_a_portfolio_is_judged_on_the_task_left_out_and_random_setups_by_the_mean_over_all_choices(portfolio):
    score, test = np.random.default_rng(0).random((2, 4, 5))
    ours, random = portfolio.judge(score, test, draws=4000)
    for k in (1, 2, 5):
        choices = itertools.combinations(range(5), k)
        exact = np.mean([portfolio.taken(score, test, list(c)) for c in choices], axis=0)
        np.testing.assert_allclose(random[:, k - 1], exact, atol=0.02)
    chosen = portfolio.greedy(score[1:], test[1:], 3)
    assert ours[0, 2] == test[0, max(chosen, key=lambda s: score[0, s])]

"""Reviews with one to five stars: from search.new to predict, without an edit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from roads import leave_out_recipes, pretend_measured

from search.confirm.command import main as confirm
from search.export import main as export
from search.new.command import main as new
from search.report.command import main as report
from search.run import main as run
from trainers.predict import main as predict

CSV = Path(__file__).parent / "data" / "stars.csv"


@pytest.fixture(scope="module")
def stars(tiny_encoder_dir, tmp_path_factory):
    """A study as search.new writes it, but for its recipes, searched with two trials."""
    folder = tmp_path_factory.mktemp("stars")
    shutil.copy(CSV, folder)
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    pretend_measured(patch)
    arguments = ["stars.csv", "--ordered", "--to", "opinions.toml", "--encoder", str(tiny_encoder_dir)]
    assert new([*arguments, "--minutes", "0.5", "--trials", "4"]) == 0
    leave_out_recipes(folder / "opinions.toml")
    assert run(["--study", "opinions.toml", "--trials", "2", "--workers", "1"]) == 0
    yield folder
    patch.undo()


def test_the_study_says_the_order_and_is_judged_by_it(stars):
    text = (stars / "opinions.toml").read_text()
    assert 'ordered = ["1", "2", "3", "4", "5"]\n' in text
    assert (
        'metric = "quadratic_kappa"  # or "accuracy" or "balanced_accuracy" or "macro_f1"; for goal' in text
    )
    assert "# Written by: python -m search.new stars.csv --ordered --metric quadratic_kappa" in text


def test_the_report_has_accuracy_and_steps_beside_kappa(stars, capsys):
    assert report(["--study", "opinions.toml"]) == 0
    out = capsys.readouterr().out
    assert "Goal: validation quadratic kappa" in out
    assert "on the scale, validation: accuracy" in out
    assert "steps off on average." in out
    found = json.loads((stars / "opinions" / "report.json").read_text())
    best = found["best"] or found["nearest"]
    assert best["on_scale"]["quadratic_kappa"] == pytest.approx(best["validation_accuracy"])
    assert found["data"]["ordered"] is True
    assert found["majority"]["validation_accuracy"] == 0
    assert found["opponents"]["opponents"][2]["validation_accuracy"] > 0.3
    assert "steps off on average" in (stars / "opinions" / "report.html").read_text()


@pytest.mark.usefixtures("stars")
def test_the_winner_is_confirmed_exported_and_says_the_median(stars, capsys):
    assert confirm(["--study", "opinions.toml", "--finalists", "1", "--seeds", "2", "--workers", "1"]) == 0
    assert "On the scale, test split: accuracy" in capsys.readouterr().out
    assert export(["--study", "opinions.toml"]) == 0
    assert "validation, on the scale: accuracy" in capsys.readouterr().out
    model = stars / "opinions" / "model"
    assert json.loads((model / "config.json").read_text())["decides"] == "median"
    card = (model / "README.md").read_text()
    assert "| validation, on the scale |" in card
    assert "| test, on the scale |" in card
    assert "The answer is the median class" in card
    assert predict([str(model), "--file", "stars.csv", "--column", "review", "--out", "out.jsonl"]) == 0
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    from trainers.model import load

    probabilities_NC = load(model).predict_proba([row["review"] for row in rows])
    half_N = (np.cumsum(probabilities_NC, axis=1) >= 0.5).argmax(axis=1)
    close = (
        np.abs(np.cumsum(probabilities_NC, axis=1) - 0.5).min(axis=1) < 0.05
    )  # where the temperature may decide
    assert [row["prediction"] for row in rows if not close[rows.index(row)]] == [
        str(step + 1) for step in half_N[~close]
    ]


def test_without_the_flag_the_order_is_a_comment(tiny_encoder_dir, stars, capsys):
    arguments = ["stars.csv", "--to", "plain.toml", "--encoder", str(tiny_encoder_dir), "--minutes", "0.2"]
    assert new([*arguments, "--trials", "2"]) == 0
    assert "classes look like steps of a scale; if they are: --ordered" in capsys.readouterr().out
    text = (stars / "plain.toml").read_text()
    assert '# ordered = ["1", "2", "3", "4", "5"]  # if these are steps of a scale' in text
    assert 'metric = "accuracy"  # or "balanced_accuracy" or "macro_f1"; for goal' in text


def test_a_wrong_order_is_told_before_any_training(stars, capsys):
    text = (stars / "opinions.toml").read_text().replace('"4", "5"]', '"4", "six"]')
    (stars / "wrong.toml").write_text(text)
    assert run(["--study", "wrong.toml", "--trials", "1"]) == 2
    said = capsys.readouterr().err
    assert (
        "data.ordered must name classes, got 'six', of which there is no text; classes are '1', '2', '3', '4', '5'"
        in said
    )
    assert "data.ordered must name every class, got none of '5'; put them in their place" in said

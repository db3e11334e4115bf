"""Tickets of which one may have several labels: from search.new to predict, without an edit."""

import json
import shutil
from pathlib import Path

import pytest
from roads import leave_out_recipes, pretend_measured

from search.confirm.command import main as confirm
from search.export import main as export
from search.new.command import main as new
from search.report.command import main as report
from search.run import main as run
from trainers.predict import main as predict

CSV = Path(__file__).parent / "data" / "several_labels.csv"


@pytest.fixture(scope="module")
def tickets(tiny_encoder_dir, tmp_path_factory):
    """A study as search.new writes it, but for its recipes, searched with two trials."""
    folder = tmp_path_factory.mktemp("tickets")
    shutil.copy(CSV, folder)
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    pretend_measured(patch)
    arguments = ["several_labels.csv", "--to", "tickets.toml", "--encoder", str(tiny_encoder_dir)]
    assert new([*arguments, "--minutes", "0.5", "--trials", "4"]) == 0
    leave_out_recipes(folder / "tickets.toml")
    assert run(["--study", "tickets.toml", "--trials", "2", "--workers", "1"]) == 0
    yield folder
    patch.undo()


def test_the_study_says_what_was_taken_for_labels(tickets):
    text = (tickets / "tickets.toml").read_text()
    assert 'label = "tags"\nlabel_separator = ";"\n' in text
    assert (
        "# column 'tags' holds labels with ';' between them, of which a text may have several; leave label_separator"
        in text
    )
    assert 'metric = "micro_f1"  # or "macro_f1" or "subset_accuracy" or "average_precision"' in text
    assert ", of which a text may have several." in text


def test_the_report_counts_each_label(tickets, capsys):
    assert report(["--study", "tickets.toml"]) == 0
    out = capsys.readouterr().out
    assert "Goal: validation micro-F1" in out
    assert "none of them" in out
    found = json.loads((tickets / "tickets" / "report.json").read_text())
    assert found["metric"] == "micro_f1"
    assert found["data"]["several_labels"] is True
    assert found["opponents"]["opponents"][2]["validation_accuracy"] > 0.5
    assert found["majority"] is None
    best = found["best"] or found["nearest"]
    each = best["label_f1"]
    assert set(each) == {"app", "billing", "delivery", "login"}
    assert f"F1 by label, validation, trial {best['number']}: " in out
    for name, f1 in each.items():
        assert f"{name} {'-' if f1 is None else f'{100 * f1:.2f} %'}" in " ".join(out.split())


@pytest.mark.usefixtures("tickets")
def test_the_winner_is_confirmed_exported_and_predicts(capsys):
    assert confirm(["--study", "tickets.toml", "--finalists", "1", "--seeds", "2", "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "micro-F1" in out
    assert "F1 by label, test split, mean of 2 fits: " in out
    assert export(["--study", "tickets.toml", "--docker", "--threshold", "f1"]) == 0
    out = capsys.readouterr().out
    assert "thresholds, chosen for F1 of each label on validation: " in out
    assert "  on the test split: mean F1 of the labels " in out
    assert Path("tickets/Dockerfile").is_file()
    capsys.readouterr()
    assert predict(["tickets/model", "I cannot sign in and the bill is wrong"]) == 0
    labels, known, _ = capsys.readouterr().out.rstrip("\n").split("\t")
    assert set(labels.split(";")) - {""} <= {"app", "billing", "delivery", "login"}
    assert known.count(";") == labels.count(";")


def test_a_metric_of_one_label_is_refused(tickets, capsys):
    assert new([str(CSV), "--to", str(tickets / "other.toml"), "--metric", "accuracy"]) == 2
    assert (
        "--metric must be micro_f1, macro_f1, subset_accuracy, average_precision for several labels a text, got 'accuracy'"
        in capsys.readouterr().err
    )

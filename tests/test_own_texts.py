"""From a CSV file of one's own to a search, its report and its winner; and what happens if the file changes."""

import csv
import json
import tomllib

import pytest

from search.export import main as export
from search.run import main as run
from trainers.train import main as train

pytestmark = pytest.mark.usefixtures("plain_report")


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("Review", "verdict"), *rows])


@pytest.fixture
def reviews(named_reviews):
    """The first of them with markup."""
    return [("a warm<br />ending", "good"), *named_reviews[:120]]


@pytest.fixture
def study(write_tiny_study, reviews, tmp_path):
    """The TOML file of a tiny study of one's own texts beside it."""
    write(tmp_path / "own.csv", reviews)
    return write_tiny_study(
        tmp_path,
        ('source = "rotten_tomatoes"', 'source = "own.csv"'),
        ("[cache]", "[pruning]\nrungs = []\n\n[recipes]\nenqueue = []\n\n[cache]"),
    )


def search(study, trials):
    return run(["--trials", str(trials), "--workers", "1", "--study", str(study)])


def test_a_csv_file_is_searched_reported_and_exported(study, tmp_path, monkeypatch, capsys):
    assert search(study, 1) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "fixed: own.csv, line 2: markup and white space were cleaned" in said
    assert "labels are in column 'verdict', found by its content" in said
    assert "bad 20 10 10 good 20 10 10 all 40 20 20" in said
    page = json.loads((tmp_path / "tiny" / "report.json").read_text())["data"]
    assert page["class_names"] == ["bad", "good"]
    assert page["texts_per_class"] == {"train": [20, 20], "validation": [10, 10], "test": [10, 10]}

    assert export(["--study", str(study)]) == 0
    assert "the same figures as trial 0 had in the search" in capsys.readouterr().out
    winner = tmp_path / "tiny" / "winner.toml"
    assert tomllib.loads(winner.read_text())["data"]["fingerprint"] == page["fingerprint"]
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own-cache"))
    assert train([str(winner)]) == 0


def test_a_changed_file_stops_search_and_export_until_it_is_restored(study, reviews, tmp_path, capsys):
    assert search(study, 1) == 0
    write(tmp_path / "own.csv", reviews[1:])
    for again in (lambda: search(study, 2), lambda: export(["--study", str(study)])):
        assert again() == 2
        error = capsys.readouterr().err
        assert f"the texts of {str(tmp_path / 'own.csv')!r} must be those that were used before" in error
        assert "they have changed; restore them, or begin a study of another name" in error
    write(tmp_path / "own.csv", reviews)
    assert search(study, 2) == 0


def test_a_file_may_be_moved(study, tmp_path, capsys):
    assert search(study, 1) == 0
    (tmp_path / "own.csv").rename(tmp_path / "moved.csv")
    study.write_text(study.read_text().replace("own.csv", "moved.csv"))
    assert search(study, 2) == 0
    assert export(["--study", str(study)]) == 0
    assert str(tmp_path / "moved.csv") in (tmp_path / "tiny" / "winner.toml").read_text()
    assert capsys.readouterr().err == ""


def test_every_mistake_of_a_file_stops_before_any_training(study, reviews, tmp_path, capsys):
    (tmp_path / "own.csv").write_text('Review,verdict\nfine,good,extra\n"odd" quote,bad\nlone\n')
    assert search(study, 1) == 2
    assert capsys.readouterr().err == (
        "error: own.csv, line 3: a field that begins with a quote must end with one, right before the next delimiter, and "
        "a quote inside it is doubled; fix these; own.csv, lines 2, 4: a row must have 2 fields as the header has, got "
        "3 and 1; put texts that hold the delimiter or a line break in quotes\n"
    )
    write(tmp_path / "own.csv", reviews[1:])  # a study that was refused may be mended under the same name
    assert search(study, 1) == 0

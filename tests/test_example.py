"""The worked example: one's own CSV file of three classes, from search.new to predict, with the packaged encoder.

In this process: what a cold one adds is seen by the road that the READMEs show.
"""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

import search.export
import search.new.command
import search.run
import trainers.predict

CSV = Path(__file__).parent / "data" / "messages.csv"


@pytest.mark.full  # test_readme.py, test_own_texts.py and test_notebook.py go the same road
@pytest.mark.slow
def test_the_road_from_a_csv_file_to_predictions_needs_no_edit(tmp_path, monkeypatch, capfd):
    shutil.copy(CSV, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(module, *arguments):
        assert module.main(list(arguments)) == 0
        return capfd.readouterr().out

    written = run(search.new.command, "messages.csv", "--trials", "4", "--minutes", "0.3")
    assert written.rstrip().endswith("python -m search.run --study messages --trials 4")
    assert "4 trials finished" in run(search.run, "--study", "messages", "--trials", "4")
    report = json.loads((tmp_path / "studies" / "messages" / "report.json").read_text())
    assert report["data"]["class_names"] == ["billing", "delivery", "product"]
    chosen = (report["best"] or report["nearest"])["number"]
    run(search.export, "--study", "messages", "--trial", str(chosen))
    with CSV.open(newline="") as file:
        texts = [row["message"] for row in csv.DictReader(file)][:3]
    predicted = run(trainers.predict, "studies/messages/model", *texts).splitlines()
    assert len(predicted) == 3
    assert all(re.match(r"(billing|delivery|product)\t[01]\.\d{4}\t", line) for line in predicted)

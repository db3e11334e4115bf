"""What earlier versions wrote, kept in ``tests/data``: models, studies and configurations that must be read for ever."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from elsewhere import ELSEWHERE
from scipy.special import softmax

from trainers.encoder.files import sha256_of
from trainers.model.classifier import CODE, RELEASED, load, temperature

DATA = Path(__file__).parent / "data"
VERSIONS = sorted(path.name.removeprefix("version-") for path in DATA.glob("version-*"))


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def kept(version):
    """The folder of what a version wrote. Read only."""
    return DATA / f"version-{version}"


@pytest.fixture
def predicted(kept):
    """What that version predicted: texts, probabilities and labels."""
    return json.loads((kept / "predictions.json").read_text(encoding="utf-8"))


@pytest.fixture
def copied(kept, tmp_path, monkeypatch):
    """The TOML file of a copy of that version's study, with its encoder and texts in place."""
    folder = shutil.copytree(kept, tmp_path / "kept")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    return folder / "tiny.toml"


def trials_of(path):
    """Number, state, values and parameters of every trial, as the database has them."""
    with sqlite3.connect(path) as connection:
        return connection.execute(
            "SELECT number, state, value, param_name, param_value FROM trials LEFT JOIN trial_values USING (trial_id) "
            "LEFT JOIN trial_params USING (trial_id) WHERE study_id = 1 ORDER BY number, param_name"
        ).fetchall()


def test_something_of_every_released_version_is_kept_but_for_the_coming_one():
    assert "0.1.0" in VERSIONS
    assert set(list(RELEASED)[:-1]) <= set(VERSIONS) <= set(RELEASED)


def test_the_file_that_saved_models_bring_is_listed():
    """Who changes it enters the SHA-256 under the coming version, and leaves those of released versions alone."""
    assert sha256_of(CODE) in RELEASED.values()


def test_the_kept_model_brings_the_file_of_its_version(kept, version):
    assert sha256_of(kept / "tiny" / "model" / CODE.name) == RELEASED[version]


def test_what_is_kept_names_no_place_of_a_machine(kept):
    for path in kept.rglob("*"):
        if path.is_file():
            assert not re.search(rb"/(home|root|tmp|work|Users)/", path.read_bytes()), path


def test_a_model_of_an_earlier_version_predicts_what_it_did(kept, predicted):
    classifier = load(kept / "tiny" / "model")
    probabilities = classifier.predict_proba(predicted["texts"])
    np.testing.assert_allclose(probabilities, predicted["probabilities"], rtol=0, atol=1e-5)
    assert [p.label for p in classifier.predict(predicted["texts"])] == predicted["labels"]


def test_a_model_of_an_earlier_version_runs_where_our_package_is_missing(kept, predicted, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, json.dumps(predicted["texts"]), kept / "tiny" / "model"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for row, said in zip(predicted["probabilities"], json.loads(done.stdout)["said"], strict=True):
        assert sorted(entry["score"] for entry in said) == pytest.approx(sorted(row), abs=1e-5)


WITHOUT = """
import sys
sys.modules["fcntl"] = None
from trainers.predict import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_saved_model_loads_where_the_system_has_no_fcntl_as_on_windows(kept, predicted):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, kept / "tiny" / "model", "a dull story"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.split("\t")[0] == predicted["labels"][predicted["texts"].index("a dull story")], (
        done.stderr
    )


def test_a_study_of_an_earlier_version_is_reported(copied, capsys):
    from search.report.command import main

    before = trials_of(copied.parent / "tiny" / "study.db")
    assert main(["--study", str(copied)]) == 0, capsys.readouterr().err
    summary = json.loads((copied.parent / "tiny" / "report.json").read_text(encoding="utf-8"))
    assert [t["number"] for t in summary["trials"]] == sorted({row[0] for row in before})
    assert summary["confirmation"]["winner"]
    assert (copied.parent / "tiny" / "report.html").is_file()
    assert trials_of(copied.parent / "tiny" / "study.db") == before


def test_a_study_of_an_earlier_version_goes_on_where_it_ended(copied, capsys):
    from search.run import main

    before = trials_of(copied.parent / "tiny" / "study.db")
    assert main(["--study", str(copied), "--trials", "6", "--workers", "1"]) == 0, capsys.readouterr().err
    after = trials_of(copied.parent / "tiny" / "study.db")
    assert [row for row in after if row[0] < 4] == before
    assert {row[0] for row in after} == set(range(6))
    assert {row[1] for row in after} <= {"COMPLETE", "PRUNED"}


def test_the_winner_of_an_earlier_version_is_exported_again(copied, predicted, capsys):
    from search.export import main

    assert main(["--study", str(copied)]) == 0, capsys.readouterr().err
    assert "the same figures as trial 2 had in the confirmation" in capsys.readouterr().out
    again = load(copied.parent / "tiny" / "model")
    # Since 0.2 an exported model has a temperature, which changes no label.
    logits_NC = np.log(again.predict_proba(predicted["texts"]).astype(np.float64)) * temperature(again.model)
    np.testing.assert_allclose(softmax(logits_NC, axis=1), predicted["probabilities"], rtol=0, atol=1e-3)


def test_a_configuration_of_an_earlier_version_is_fitted_again(copied, capsys):
    from trainers.train import main

    assert main([str(copied.parent / "tiny" / "winner.toml")]) == 0, capsys.readouterr().err

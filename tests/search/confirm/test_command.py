import json
import os
import re
import shutil
import signal
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator

import search.report
import search.trials
import search.trials.fitting
from search.analysis.outcome import CONFIRMATION, confirmation_of
from search.confirm.command import main
from search.confirm.finalists import fresh_seeds
from search.export import main as export
from search.run import main as run
from search.storage.lease import Lease
from search.study.machine import processor_name
from search.study.opening import open_study
from search.study.spec import load_spec
from trainers.config import load_config
from trainers.data.splits import load_splits
from trainers.errors import FitError
from trainers.model.classifier import load

SCHEMA = json.loads((Path(search.report.__file__).parent / "report.schema.json").read_text())

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_reviews", "plain_report")]


@pytest.fixture
def study(finished_study, tmp_path):
    """The TOML file of a finished study of one's own."""
    source, _ = finished_study
    shutil.copy(source, tmp_path / "tiny.toml")
    shutil.copytree(source.parent / "tiny", tmp_path / "tiny")
    return tmp_path / "tiny.toml"


def confirm(path, *arguments):
    return main(["--study", str(path), "--workers", "1", *map(str, arguments)])


def outcome(path):
    return confirmation_of(open_study(load_spec(path), path))


def kept_fits(path):
    study = open_study(load_spec(path), path)
    attributes = study._storage.get_study_system_attrs(study._study_id)
    return {k: v for k, v in attributes.items() if k.startswith("frostline:fit:")}


def without_times(found):
    return json.loads(re.sub(r'"seconds": [\d.]+', '"seconds": 0', json.dumps(found.plain())))


def test_finalists_and_recipes_are_fitted_tested_and_told(study, capsys):
    assert confirm(study, "--finalists", 1, "--seeds", 2) == 0
    output = capsys.readouterr().out
    found = outcome(study)
    names = {row.name for row in found.finalists}
    assert {"frozen-head", "thaw-top"} < names
    assert len(names) == 3
    assert len(kept_fits(study)) == 6
    assert [len(row.fits) for row in found.finalists] == [2, 2, 2]
    assert all(len(fit["test_predictions"]) == 20 for fit in kept_fits(study).values())
    assert [row.test.num_fits for row in found.finalists] == [2, 2, 2]
    assert found.versions["torch"] == version("torch")
    assert found.processors == [processor_name()]
    assert "each predicts the test split once" in output
    assert "[6/6]" in output
    assert "Confirmed on 2 fresh seeds and 20 test texts" in output
    assert f"Winner: {found.winner}, by the highest mean score on fresh seeds" in output
    report = json.loads((study.parent / "tiny" / "report.json").read_text())
    assert report["confirmation"] == found.plain()
    Draft202012Validator(SCHEMA).validate(report)


def test_a_fit_of_the_searchs_own_seed_would_give_the_searchs_figures(study, monkeypatch):
    monkeypatch.setattr("search.confirm.finalists.fresh_seeds", lambda _seed, count: [own] * count)
    trials = open_study(load_spec(study), study).trials
    best = next(t for t in trials if "recipe" not in t.user_attrs and t.state.name == "COMPLETE")
    own = best.user_attrs["config"]["seed"]
    assert confirm(study, "--finalists", 3, "--seeds", 1) == 0
    row = next(r for r in outcome(study).finalists if r.trial == best.number)
    assert row.fits[0].validation_accuracy == best.user_attrs["validation_accuracy"]
    assert row.fits[0].training_accuracy == best.user_attrs["training_accuracy"]


def test_processes_find_what_this_process_finds(study, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(study, other)
    shutil.copytree(study.parent / "tiny", other / "tiny")
    assert confirm(study, "--finalists", 1, "--seeds", 2) == 0
    assert (
        main(["--study", str(other / "tiny.toml"), "--workers", "2", "--finalists", "1", "--seeds", "2"]) == 0
    )
    assert without_times(outcome(study)) == without_times(outcome(other / "tiny.toml"))


def test_what_was_fitted_before_is_not_fitted_again(study, monkeypatch, capsys):
    fitted = []
    figures_of = search.trials.fitting.figures_of

    def interrupted_at_the_third(config, features, **options):
        fitted.append(config)
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return figures_of(config, features, **options)

    monkeypatch.setattr("search.trials.figures_of", interrupted_at_the_third)
    assert confirm(study, "--finalists", 1, "--seeds", 2) == 130
    assert outcome(study) is None
    assert len(kept_fits(study)) == 2
    assert confirm(study, "--finalists", 1, "--seeds", 2) == 0
    assert len(fitted) == 3 + 4
    assert "6 fits on 2 fresh seeds, 2 of them made before" in capsys.readouterr().out
    assert confirm(study, "--finalists", 1, "--seeds", 2) == 0
    assert len(fitted) == 7


def change_kept(path, change):
    """Change every fit that a study keeps."""
    study = open_study(load_spec(path), path)
    for key, record in kept_fits(path).items():
        study._storage.set_study_system_attr(study._study_id, key, change(record))


def test_a_fit_of_other_versions_is_told_and_made_again(study, capsys):
    assert confirm(study, "--finalists", 1, "--seeds", 1) == 0
    before = outcome(study)
    change_kept(
        study,
        lambda r: r | {"validation_accuracy": 0.0, "versions": r["versions"] | {"torch": "1.0"}},
    )
    capsys.readouterr()
    assert confirm(study, "--finalists", 1, "--seeds", 1) == 0
    assert without_times(outcome(study)) == without_times(before)
    assert (
        f"3 fits that were kept were made by torch 1.0 (now {version('torch')}): made again, so that versions are not mixed"
    ) in " ".join(capsys.readouterr().out.split())


def test_a_fit_that_version_0_1_0_kept_is_made_again(study, capsys):
    assert confirm(study, "--finalists", 1, "--seeds", 1) == 0
    made = ("versions", "processor", "test_predictions")
    change_kept(study, lambda r: {k: v for k, v in r.items() if k not in made})
    capsys.readouterr()
    assert confirm(study, "--finalists", 1, "--seeds", 1) == 0
    assert all("test_predictions" in fit for fit in kept_fits(study).values())
    assert "3 fits that were kept were made by a Frostline that did not note its versions" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_fit_of_another_processor_is_kept_and_told(study, capsys):
    assert confirm(study, "--finalists", 1, "--seeds", 1) == 0
    change_kept(study, lambda r: r | {"processor": "another"})
    assert confirm(study, "--finalists", 1, "--seeds", 2) == 0
    assert outcome(study).processors == sorted(["another", processor_name()])
    output = capsys.readouterr().out
    assert "3 of them made before" in output
    assert (
        f"Fits were made on processors that round differently: {'; '.join(outcome(study).processors)}."
        in output
    )


def test_the_search_confirms_at_its_end_when_asked_to(study, capsys):
    assert run(["--study", str(study), "--trials", "4", "--workers", "1", "--confirm", "1"]) == 0
    assert len(outcome(study).seeds) == 3
    assert "Confirmed on 3 fresh seeds" in capsys.readouterr().out


@pytest.mark.full  # test_fits.py has the news of one that dies
def test_a_killed_worker_costs_nothing_but_time(study, command):
    with command("-m", "search.confirm", "--study", study, "--workers", "2", start=True) as process:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            deadline = time.monotonic() + 300
            killed = False
            while process.poll() is None and not killed and time.monotonic() < deadline:
                for server in children.read_text().split():
                    if b"forkserver" in Path(f"/proc/{server}/cmdline").read_bytes():
                        workers = Path(f"/proc/{server}/task/{server}/children").read_text().split()
                        if kept_fits(study) and workers:
                            os.kill(int(workers[0]), signal.SIGKILL)
                            killed = True
                time.sleep(0.05)
            _, errors = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert killed
    assert {fit.state for row in outcome(study).finalists for fit in row.fits} == {"complete"}


def test_a_study_that_is_searched_is_not_confirmed_beside(study, capsys):
    with Lease(open_study(load_spec(study), study)):
        assert confirm(study) == 2
    assert "must be searched by one process at a time" in capsys.readouterr().err


def test_without_a_feasible_trial_the_search_says_so_and_goes_on(write_tiny_study, tmp_path, capsys):
    path = write_tiny_study(tmp_path, ("ceiling = 1.0", "ceiling = 0.01"))
    assert run(["--study", str(path), "--trials", "2", "--workers", "1", "--confirm", "1"]) == 0
    assert (
        "nothing to confirm: study 'tiny' must have a complete trial under the ceiling"
        in capsys.readouterr().out
    )
    assert confirm(path) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--finalists", "0"], "--finalists must be at least 1, got 0; raise it"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0; raise it"),
        (["--workers", "0"], "--workers must be auto or at least 1, got 0; raise it"),
    ],
)
def test_numbers_must_be_above_zero(study, capsys, arguments, message):
    assert main(["--study", str(study), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_trials_that_ended_since_are_told(study, capsys):
    assert confirm(study, "--finalists", 1, "--seeds", 1) == 0
    assert run(["--study", str(study), "--trials", "5", "--workers", "1"]) == 0
    assert "1 trial has ended since; confirm again" in capsys.readouterr().out


def test_what_is_exported_then_is_the_first_fit_that_was_tested(study, capsys):
    assert confirm(study, "--finalists", 3, "--seeds", 2) == 0
    assert export(["--study", str(study)]) == 0
    output = capsys.readouterr().out
    assert "Goal\\: validation accuracy" in (study.parent / "tiny" / "model" / "README.md").read_text()
    winner = next(row for row in outcome(study).finalists if row.name == outcome(study).winner)
    assert f"trial {winner.trial}: winner of the confirmation" in output
    assert f"the same figures as trial {winner.trial} had in the confirmation" in output
    folder = study.parent / "tiny" / "model"
    assert f"seed = {winner.test.seed}\n" in (folder / "winner.toml").read_text()
    # The model whole, on texts, gives what the fit's network gave on the test split.
    config = load_config(folder / "winner.toml")
    classifier = load(folder)
    splits = load_splits(config.data, classifier.tokenizer)
    predicted = [int(classifier.model(ids[None]).logits.argmax()) for ids in texts_of(splits.test)]
    tested = next(fit for fit in winner.fits if fit.seed == winner.test.seed)
    assert float(np.mean(predicted == splits.test.labels_N)) == tested.test_accuracy


def texts_of(split):
    """The token ids of each text, ids_T."""
    return [torch.from_numpy(ids).long() for ids in np.split(split.ids_S, split.offsets_N1[1:-1])]


@pytest.mark.whole_report
def test_a_failed_fit_is_told_and_reported(study, monkeypatch, capsys):
    figures_of = search.trials.fitting.figures_of

    first, _ = fresh_seeds(0, 2)

    def fails_with_the_first_seed(config, features, *, test=False):
        if config.seed == first:
            raise FitError("diverged: training loss nan")
        return figures_of(config, features, test=test)

    monkeypatch.setattr("search.trials.figures_of", fails_with_the_first_seed)
    assert confirm(study, "--finalists", 1, "--seeds", 2) == 0
    assert "failed: diverged: training loss nan" in capsys.readouterr().out
    report = json.loads((study.parent / "tiny" / "report.json").read_text())
    Draft202012Validator(SCHEMA).validate(report)
    assert [row["test"]["num_fits"] for row in report["confirmation"]["finalists"]] == [1] * 3
    assert {pair["num_seeds"] for pair in report["confirmation"]["comparisons"]} == {1}
    assert (study.parent / "tiny" / "report.html").stat().st_size > 1000


def test_the_outcome_is_no_user_attribute(study):
    assert confirm(study, "--finalists", 1, "--seeds", 1) == 0
    assert CONFIRMATION not in open_study(load_spec(study), study).user_attrs

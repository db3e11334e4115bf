import contextlib
import dataclasses
import json
import os
import platform
import signal
import sqlite3
import time

import optuna
import pytest
import torch

import trainers.encoder
import trainers.encoder.loading
from search.run import main
from search.storage.lease import Lease
from search.study.opening import open_study
from search.study.recipes import RECIPES
from search.study.space import suggest
from search.study.spec import load_spec

pytestmark = pytest.mark.usefixtures("plain_report")

NEITHER_RECIPES_NOR_PRUNING = ("[cache]", "[pruning]\nrungs = []\n\n[recipes]\nenqueue = []\n\n[cache]")

# Trials of more than a second, so that a signal meets one under way.
SLOW_SEARCH = """
import sys, time
from search.trials.progress import Live
from search.run import main
evaluated = Live.evaluated
Live.evaluated = lambda *arguments: (evaluated(*arguments), time.sleep(0.7))
sys.exit(main(["--workers", "1", *sys.argv[1:]]))
"""


PATIENCE_SECONDS = 300
"""Enough for a machine that is busy with something else."""


@contextlib.contextmanager
def searching(command, *arguments):
    """Start a slow search in a process of its own, and leave none behind."""
    with command("-c", SLOW_SEARCH, *arguments, start=True) as process:
        try:
            yield process
        finally:
            process.kill()


def trials_of(path):
    return open_study(load_spec(path), path).trials


def report_of(path):
    return json.loads((path.parent / "tiny" / "report.json").read_text())


def wait_until_running(path, process, *, complete, failed):
    """Wait until so many trials have ended either way, and one is under way."""
    database = path.parent / "tiny" / "study.db"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection,
        ):
            states = [state for (state,) in connection.execute("SELECT state FROM trials")]
            if (
                states.count("RUNNING")
                and states.count("COMPLETE") >= complete
                and states.count("FAIL") >= failed
            ):
                return
        time.sleep(0.05)
    pytest.fail("no trial was seen running")


def mistake(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 2
    output = capsys.readouterr()
    assert output.err.count("\n") == 1
    return output.err.strip()


@pytest.mark.slow
def test_search_ends_with_exactly_the_trials_asked_for(finished_study):
    path, _ = finished_study
    assert [t.state.is_finished() for t in trials_of(path)] == [True] * 4


@pytest.mark.slow
def test_recipes_of_the_study_run_first_with_their_own_settings(finished_study):
    first, second, third, _ = trials_of(finished_study[0])
    assert [first.user_attrs["recipe"], second.user_attrs["recipe"]] == ["frozen-head", "thaw-top"]
    assert first.user_attrs["config"]["freeze_depth"] == 3
    assert first.user_attrs["config"]["learning_rate"] == 1e-5
    assert "recipe" not in third.user_attrs


@pytest.mark.slow
def test_every_trial_carries_its_constraint_and_reason(finished_study):
    for trial in trials_of(finished_study[0]):
        assert trial.constraints
        assert trial.user_attrs["reason"]
        assert trial.user_attrs["evaluations"]


@pytest.mark.slow
def test_report_and_picture_are_written_beside_the_study(finished_study):
    path, _ = finished_study
    assert report_of(path)["counts"]["finished"] == 4
    assert (path.parent / "tiny" / "pareto.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_terminal_shows_pareto_recipes_goal_and_next_commands(finished_study):
    path, output = finished_study
    for words in (
        "Pareto-best trials",
        "Known recipes",
        "Goal: validation accuracy >= 60 %",
        "python -m search.dashboard",
    ):
        assert words in output
    assert f"python -m search.export --study {path}" in output
    assert "\x1b" not in output


@pytest.mark.slow
def test_study_knows_its_data_and_cost(finished_study):
    path, _ = finished_study
    known = open_study(load_spec(path), path).user_attrs
    assert known["num_layers"] == 3
    assert known["cache_bytes"] > 0
    assert known["wall_seconds"] > 0
    assert {k: known["data"][k] for k in ("train", "validation", "test")} == {
        "train": 40,
        "validation": 20,
        "test": 20,
    }


@pytest.mark.slow
def test_second_start_adds_nothing_and_imports_no_torch(finished_study, command):
    path, _ = finished_study
    before = trials_of(path)
    code = (
        "import sys; from search.run import main; code = main(sys.argv[1:]); "
        "print('heavy', {'torch', 'transformers', 'datasets'} & set(sys.modules)); sys.exit(code)"
    )
    done = command("-c", code, "--trials", "4", "--study", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy set()"
    assert "Pareto-best trials" in done.stdout
    assert trials_of(path) == before


@pytest.mark.slow
def test_another_process_with_the_same_seed_gives_the_same_study(
    finished_study, write_tiny_study, command, tmp_path
):
    path = write_tiny_study(tmp_path)
    done = command("-m", "search.run", "--trials", "4", "--workers", "1", "--study", path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, second = (
        [(t.params, t.value, t.user_attrs["training_accuracy"], t.user_attrs["config"]) for t in trials_of(p)]
        for p in (path, finished_study[0])
    )
    assert first == second


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews")
def test_killed_and_interrupted_search_continues_to_exactly_the_trials_asked_for(
    write_tiny_study, command, tmp_path
):
    """Killed: a trial is under way, and nobody has the lease. tests/chaos kills what searches for itself."""
    path = write_tiny_study(tmp_path, NEITHER_RECIPES_NOR_PRUNING)
    line = ("--trials", "3", "--study", str(path))
    spec = load_spec(path)
    suggest(open_study(spec, path, create=True).ask(), spec, num_layers=3)
    assert [t.state.name for t in trials_of(path)] == ["RUNNING"]

    with searching(command, *line) as process:
        wait_until_running(path, process, complete=1, failed=1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, errors
    assert errors == ""
    assert "1 trial(s) of a killed search were found and enqueued again" in output
    assert "Pareto-best trials" in output
    counts = report_of(path)["counts"]
    assert (counts["running"], counts["waiting"], counts["repeated"]) == (0, 1, 2)
    failed = [t.user_attrs["reason"] for t in trials_of(path) if t.state.name == "FAIL"]
    assert failed == ["killed", "interrupted"]

    assert main(line) == 0
    assert report_of(path)["counts"]["finished"] == 3
    trials = trials_of(path)
    assert [t.state.name for t in trials].count("COMPLETE") == 3
    assert len(trials) == 5
    for again in (t for t in trials if "retry_of" in t.user_attrs and t.state.name == "COMPLETE"):
        assert again.params.items() >= trials[again.user_attrs["retry_of"]].params.items()


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--trials", "0", "error: --trials must be at least 1, got 0; raise it"),
        ("--timeout", "-1", "error: --timeout must be above 0 seconds, got -1.0; raise it or leave it out"),
        ("--timeout", "nan", "error: --timeout must be above 0 seconds, got nan; raise it or leave it out"),
        ("--until-flat", "0", "error: --until-flat must be above 0 points, got 0; raise it or leave it out"),
        ("--seed", "-1", "error: --seed must be 0 or more, got -1; raise it"),
        ("--workers", "0", "error: --workers must be auto or at least 1, got 0; raise it"),
    ],
)
def test_number_out_of_bounds_is_an_input_error(write_tiny_study, tmp_path, capsys, flag, value, message):
    path = write_tiny_study(tmp_path)
    assert mistake(capsys, "--study", path, flag, value) == message
    assert not (tmp_path / "tiny").exists()


def test_an_unknown_tracker_is_an_input_error_before_there_is_a_study(write_tiny_study, tmp_path, capsys):
    path = write_tiny_study(tmp_path)
    assert mistake(capsys, "--study", path, "--track", "mlfow") == (
        "error: --track must be mlflow, tensorboard, trackio, wandb, got 'mlfow'; did you mean 'mlflow'?"
    )
    assert not (tmp_path / "tiny").exists()


def test_unknown_flag_is_an_input_error(capsys):
    assert "--trails" in mistake(capsys, "--trails", "4")


def test_unknown_study_is_an_input_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert mistake(capsys, "--study", "nope") == (
        "error: no study 'nope' in studies/; give one of imdb, imdb-deep, quick, rotten_tomatoes, or the path of a TOML file"
    )


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    from trainers.errors import InputError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no study 'nope'"):
        main(["--debug", "--study", "nope"])


def test_freeze_depth_beyond_the_model_is_an_input_error(
    write_tiny_study, tmp_path, capsys, tiny_encoder_dir
):
    path = write_tiny_study(tmp_path, ("low = 1, high = 3 }\ndropout", "low = 1, high = 4 }\ndropout"))
    assert mistake(capsys, "--study", path) == (
        f"error: fit.freeze_depth must be at most 3, the layers of encoder '{tiny_encoder_dir}', got 4; lower it"
    )
    assert trials_of(path) == []


@pytest.mark.usefixtures("tiny_reviews")
def test_study_that_was_refused_may_be_mended_under_the_same_name(write_tiny_study, tmp_path, capsys):
    path = write_tiny_study(tmp_path, ("low = 1, high = 3 }\ndropout", "low = 1, high = 4 }\ndropout"))
    mistake(capsys, "--study", path)
    write_tiny_study(tmp_path)
    assert main(["--trials", "1", "--recipes", "none", "--study", str(path)]) == 0
    assert len(trials_of(path)) == 1


@pytest.mark.usefixtures("tiny_reviews")
def test_all_recipes_run_on_request(write_tiny_study, tmp_path):
    path = write_tiny_study(tmp_path)
    assert main(["--trials", "1", "--recipes", "all", "--study", str(path)]) == 0
    assert [t.user_attrs.get("recipe") for t in trials_of(path)] == list(RECIPES)
    assert [t.state.name for t in trials_of(path)] == ["COMPLETE", *["WAITING"] * (len(RECIPES) - 1)]


@pytest.mark.usefixtures("tiny_reviews")
def test_seed_of_a_begun_study_stays_in_force(write_tiny_study, tmp_path, capsys):
    path = write_tiny_study(tmp_path)
    line = ["--recipes", "none", "--study", str(path)]
    assert main(["--trials", "1", "--seed", "5", *line]) == 0
    assert main(["--trials", "1", *line]) == 0
    assert report_of(path)["seed"] == 5
    capsys.readouterr()
    assert "was begun with seed 5, got --seed 6" in mistake(capsys, "--trials", "2", "--seed", "6", *line)


@pytest.mark.usefixtures("tiny_reviews")
def test_timeout_begins_no_trial_after_it(write_tiny_study, tmp_path):
    path = write_tiny_study(tmp_path)
    assert main(["--trials", "50", "--timeout", "0.001", "--study", str(path)]) == 0
    assert {t.state.name for t in trials_of(path)} == {"WAITING"}


@pytest.mark.slow
@pytest.mark.whole_report
@pytest.mark.usefixtures("tiny_reviews")
def test_a_flat_search_ends_says_why_and_goes_on_if_it_is_told_to(write_tiny_study, tmp_path, capsys):
    path = write_tiny_study(tmp_path, NEITHER_RECIPES_NOR_PRUNING)
    line = ["--workers", "1", "--study", str(path)]
    for _ in range(2):
        assert main([*line, "--trials", "12", "--until-flat", "100"]) == 0
        assert len(trials_of(path)) == 10
        told = report_of(path)["flat"]
        assert told["sentence"].startswith("The search ended after 10 of 12 trials: as simulated searches")
        shown = " ".join(capsys.readouterr().out.split())
        assert shown.count(told["sentence"]) == 2  # as it ends, and in the report
        assert told["sentence"] in (path.parent / "tiny" / "report.html").read_text()
    assert main([*line, "--trials", "11"]) == 0
    assert len(trials_of(path)) == 11
    assert report_of(path)["flat"] is None


@pytest.mark.parametrize(
    ("words", "share"),
    [([], None), (["--until-flat"], 0.002), (["--until-flat", "1"], 0.01), (["--until-flat=0.5"], 0.005)],
)
def test_what_would_be_noticed_is_given_in_points(write_tiny_study, tmp_path, monkeypatch, words, share):
    asked = []
    monkeypatch.setattr("search.run.searching._search", lambda *_, noticeable, **__: asked.append(noticeable))
    assert main(["--study", str(write_tiny_study(tmp_path)), *words]) == 0
    assert asked == [share]


def test_study_that_another_process_searches_is_left_to_it(write_tiny_study, tmp_path, capsys):
    path = write_tiny_study(tmp_path)
    with Lease(open_study(load_spec(path), path, create=True)):
        assert mistake(capsys, "--study", path) == (
            f"error: study 'tiny' must be searched by one process at a time, and process {os.getpid()} of "
            f"{platform.node()} searches it; wait for it, end it, or watch it with python -m search.dashboard"
        )


@pytest.mark.usefixtures("tiny_reviews")
def test_missing_encoder_is_an_input_error_before_any_trial(
    write_tiny_study, tmp_path, capsys, tiny_encoder_dir
):
    path = write_tiny_study(tmp_path, (str(tiny_encoder_dir), str(tmp_path / "absent")))
    assert mistake(capsys, "--study", path) == (
        f"error: encoder.name must be an existing directory, got '{tmp_path / 'absent'}'; fix the path"
    )
    assert trials_of(path) == []


@pytest.mark.usefixtures("tiny_reviews")
def test_storage_url_keeps_the_study_elsewhere(write_tiny_study, tmp_path, capsys):
    path = write_tiny_study(tmp_path)
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    line = ["--trials", "1", "--recipes", "none", "--study", str(path), "--storage", url]
    assert main(line) == 0
    assert f"--storage {url}" in capsys.readouterr().out
    assert len(optuna.load_study(storage=url, study_name="tiny").trials) == 1
    assert not (tmp_path / "tiny" / "study.db").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews")
def test_a_continued_search_takes_the_commit_that_it_was_begun_with(write_tiny_study, tmp_path, monkeypatch):
    asked_for = []
    real = trainers.encoder.loading.load_encoder

    def from_hub(config, **options):
        asked_for.append(config.revision)
        return dataclasses.replace(real(config, **options), revision="c0ffee")

    monkeypatch.setattr(trainers.encoder, "load_encoder", from_hub)
    path = write_tiny_study(tmp_path)
    for trials in ("1", "2"):
        assert main(["--trials", trials, "--workers", "1", "--study", str(path), "--recipes", "none"]) == 0
    assert asked_for == [None, "c0ffee"]
    assert [t.user_attrs["config"]["encoder"]["revision"] for t in trials_of(path)] == ["c0ffee"] * 2
    assert report_of(path)["encoder"]["revision"] == "c0ffee"


def test_what_is_no_device_is_refused_before_anything_is_opened(write_tiny_study, tmp_path, capsys):
    path = write_tiny_study(tmp_path)
    assert mistake(capsys, "--study", path, "--device", "gpu") == (
        "error: Invalid value \"gpu\" for --device. must be cpu, cuda, cuda:N (the GPU of number N) or mps, got 'gpu'"
    )
    assert not (tmp_path / "tiny").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews")
def test_memory_that_runs_out_in_the_frozen_layers_is_said(write_tiny_study, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("trainers.fit.build_features", fail)
    path = write_tiny_study(tmp_path)
    assert mistake(capsys, "--study", path, "--device", "cpu", "--workers", "1") == (
        "error: the frozen layers must fit into the memory of device 'cpu' with a batch of texts, but it ran out; free "
        "it, lower data.max_length, or take another --device"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews")
def test_a_device_that_is_not_there_is_an_error_before_any_trial(
    write_tiny_study, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    path = write_tiny_study(tmp_path)
    assert mistake(capsys, "--study", path, "--device", "cuda", "--workers", "1").startswith(
        "error: device must be one that this machine has ("
    )
    assert trials_of(path) == []

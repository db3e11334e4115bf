"""Against MLflow's real server. ``frostline[dev]`` brings mlflow, so that the gate skips nothing here; elsewhere it may be missing."""

import contextlib
import shutil
import time
from pathlib import Path

import pytest
from mlflow_server import PATIENCE_SECONDS, Server
from tracked import BEGAN, experiment, exported, run

mlflow = pytest.importorskip("mlflow", reason="frostline[mlflow] is not installed")

from search.run import main as search  # noqa: E402
from search.study.opening import open_study  # noqa: E402
from search.study.spec import load_spec  # noqa: E402
from search.trials.tracking.mlflow_tracker import open_tracker  # noqa: E402
from search.trials.tracking.process import Desk  # noqa: E402
from trainers.model import load  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of MLflow's own parts
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server for the whole session."""
    with pytest.MonkeyPatch.context() as patch, Server(tmp_path_factory.mktemp("mlflow")) as started:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        yield started


def desk(server, about):
    """What a tracker's process has anew after each start."""
    tracker, _ = open_tracker(about, server.url)
    return Desk(tracker)


def runs_of(server, name, *, deleted=False):
    """The runs of an experiment, by trial; one run a trial, or it fails."""
    client = mlflow.MlflowClient(tracking_uri=server.url)
    view = mlflow.entities.ViewType.ALL if deleted else mlflow.entities.ViewType.ACTIVE_ONLY
    found = client.search_runs([client.get_experiment_by_name(name).experiment_id], run_view_type=view)
    by_trial = {int(r.data.tags["frostline.trial"]): r for r in found}
    assert len(by_trial) == len(found)
    return client, by_trial


def test_a_trial_is_a_run_with_parameters_curves_constraint_state_and_reason(server, tmp_path):
    desk(server, experiment(tmp_path, name="one")).take(run(0, state="pruned", num_looks=2))
    client, runs = runs_of(server, "one")
    found = runs[0]
    assert (found.info.run_name, found.info.status) == ("trial 0", "FINISHED")
    assert (found.info.start_time, found.info.end_time) == (1000 * BEGAN, 1000 * (BEGAN + 9))
    assert found.data.params == {
        "freeze_depth": "2",
        "learning_rate": "0.0003",
        "data.source": "x.csv",
        "bias": "True",
    }
    assert found.data.metrics["training_over_ceiling"] == -0.02
    tags = found.data.tags
    assert (tags["state"], tags["reason"], tags["origin"]) == ("pruned", "patience ran out", "recipe probe")
    curve = client.get_metric_history(found.info.run_id, "curve/validation_loss")
    assert [(m.step, m.value, m.timestamp) for m in curve] == [
        (500, 1.0, 1000 * BEGAN),
        (1000, 0.9, 1000 * (BEGAN + 1)),
    ]


@pytest.mark.parametrize(("state", "status"), [("failed", "FAILED"), ("cut off", "KILLED")])
def test_a_trial_that_did_not_come_to_its_end_is_marked(server, tmp_path, state, status):
    desk(server, experiment(tmp_path, name=state)).take(run(0, state=state))
    assert runs_of(server, state)[1][0].info.status == status


def test_a_search_that_goes_on_continues_the_same_runs(server, tmp_path):
    about = experiment(tmp_path, name="again")
    first = desk(server, about)
    first.take(run(0, state="complete", num_looks=2))
    first.take(run(1, num_looks=1))
    second = desk(server, about)
    for number, looks in ((0, 5), (1, 3)):
        second.take(run(number, state="complete", num_looks=looks))
    client, runs = runs_of(server, "again")
    points = [
        len(client.get_metric_history(runs[number].info.run_id, "curve/validation_loss")) for number in (0, 1)
    ]
    assert points == [2, 3]  # nothing is added to a run that had ended
    assert {r.info.status for r in runs.values()} == {"FINISHED"}


def test_a_run_that_was_deleted_stays_so(server, tmp_path):
    about = experiment(tmp_path, name="deleted")
    desk(server, about).take(run(0, state="complete"))
    client, runs = runs_of(server, "deleted")
    client.delete_run(runs[0].info.run_id)
    desk(server, about).take(run(0, state="complete"))
    assert runs_of(server, "deleted")[1] == {}
    assert len(runs_of(server, "deleted", deleted=True)[1]) == 1


def test_another_study_of_the_name_is_another_experiment(server, tmp_path):
    for identity in ("a" * 16, "b" * 16, "a" * 16):
        desk(server, experiment(tmp_path, name="twin", identity=identity)).take(run(0, state="complete"))
    assert len(runs_of(server, "twin")[1]) == 1
    assert len(runs_of(server, "twin bbbbbbbb")[1]) == 1


def test_a_folder_holds_what_a_server_shows(server, tmp_path):
    tracker, how = open_tracker(experiment(tmp_path, name="in a folder"), str(server.folder))
    Desk(tracker).take(run(0, state="complete"))
    assert len(runs_of(server, "in a folder")[1]) == 1
    assert how == (
        f"mlflow server --backend-store-uri sqlite:///{server.folder}/mlflow.db shows experiment in a folder"
    )


@pytest.mark.filterwarnings("ignore::UserWarning")  # of MLflow's own hints of types
def test_the_winners_model_is_one_of_its_run_and_says_what_the_exported_one_says(
    server, tmp_path, tiny_model, monkeypatch
):
    about, folder = experiment(tmp_path, name="exported"), shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model card\n")
    for _ in range(2):  # what is there is not added again
        desk(server, about).take(exported(folder, 3))
    client, runs = runs_of(server, "exported")
    found = runs[3]
    assert (found.info.status, found.info.end_time) == ("FINISHED", 1000 * (BEGAN + 3 + 9))
    [output] = found.outputs.model_outputs
    [logged] = client.search_logged_models([found.info.experiment_id])
    assert logged.model_id == output.model_id
    assert logged.status == "READY"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    texts = ["a good film", "a bad film"]
    expected = load(folder).predict(texts)
    pipe = mlflow.transformers.load_model(f"runs:/{found.info.run_id}/model")
    assert [p["label"] for p in pipe(texts)] == [e.label for e in expected]
    assert [p["score"] for p in pipe(texts)] == pytest.approx([e.probability for e in expected], abs=1e-6)
    table = mlflow.pyfunc.load_model(f"models:/{logged.model_id}").predict(texts)
    assert table["label"].tolist() == [e.label for e in expected]
    copy = mlflow.artifacts.download_artifacts(f"models:/{logged.model_id}", dst_path=str(tmp_path / "copy"))
    assert {p.name: p.read_bytes() for p in Path(copy, "model").iterdir()} == {
        p.name: p.read_bytes() for p in folder.iterdir()
    }


SLOW_SEARCH = """
import sys, time
from search.trials.progress import Live
from search.run import main
evaluated = Live.evaluated
Live.evaluated = lambda *arguments: (evaluated(*arguments), time.sleep(0.5))
sys.exit(main(["--workers", "1", *sys.argv[1:]]))
"""


@pytest.mark.usefixtures("tiny_reviews", "plain_report")
def test_a_killed_search_continues_the_same_runs_and_leaves_none_running(
    server, command, write_tiny_study, tmp_path, capsys
):
    path = write_tiny_study(tmp_path)
    arguments = ["--study", str(path), "--trials", "4", "--track", f"mlflow={server.url}"]
    with command("-c", SLOW_SEARCH, *arguments, start=True) as process:
        try:
            wait_until_shown(server, process)
        finally:
            process.kill()
    assert search(["--workers", "1", *arguments]) == 0
    assert "does not take" not in capsys.readouterr().out
    trials = open_study(load_spec(path), path).trials
    client, runs = runs_of(server, "tiny")
    assert sorted(runs) == [t.number for t in trials]
    for trial in trials:
        shown = runs[trial.number]
        cut_off = trial.state.name == "FAIL"
        assert shown.info.status == ("KILLED" if cut_off else "FINISHED")
        assert shown.data.params["learning_rate"] == str(trial.user_attrs["config"]["learning_rate"])
        if not cut_off:
            assert shown.data.metrics["score"] == trial.value
        looks = [e for e in trial.user_attrs.get("evaluations", []) if not e["peek"]]
        points = client.get_metric_history(shown.info.run_id, "curve/validation_accuracy")
        assert [m.value for m in points] == [e["validation_accuracy"] for e in looks]
    assert sum(t.state.name == "FAIL" for t in trials) == 1


def wait_until_shown(server, process):
    """Wait until one trial has ended in MLflow, and another one runs there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        with contextlib.suppress(AttributeError):  # no experiment yet
            states = [r.info.status for r in runs_of(server, "tiny")[1].values()]
            if {"FINISHED", "RUNNING"} <= set(states):
                return
        time.sleep(0.1)
    pytest.fail("MLflow shows no running trial")

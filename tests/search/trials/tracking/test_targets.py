from importlib.metadata import PackageNotFoundError

import pytest

from search.trials.tracking import targets
from search.trials.tracking.targets import Target, model_targets_of, targets_of
from trainers.errors import InputError


@pytest.fixture(autouse=True)
def every_package_is_there(monkeypatch):
    monkeypatch.setattr(targets, "version", lambda _: "1")
    monkeypatch.delenv("TRACKIO_SPACE_ID", raising=False)


def mistake(*given):
    with pytest.raises(InputError) as caught:
        targets_of(given)
    return str(caught.value)


def test_a_name_alone_leaves_the_place_to_the_tracker():
    names = ("mlflow", "tensorboard", "wandb", "trackio")
    assert targets_of(names) == tuple(Target(name) for name in names)


def test_a_folder_becomes_absolute_and_a_url_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ("mlflow=runs", "mlflow=http://127.0.0.1:5000", "tensorboard=a=b")
    assert [t.place for t in targets_of(given)] == [
        str(tmp_path / "runs"),
        "http://127.0.0.1:5000",
        str(tmp_path / "a=b"),
    ]


def test_what_is_given_twice_counts_once():
    assert targets_of(["wandb", "mlflow", "wandb"]) == (Target("wandb"), Target("mlflow"))


def test_all_mistakes_are_told_at_once():
    assert mistake("mlfow", "wandb=team", "mlflow=") == (
        "--track must be mlflow, tensorboard, trackio, wandb, got 'mlfow'; did you mean 'mlflow'?; "
        "--track wandb takes no place, got 'team'; its environment variables say where: WANDB_DIR, WANDB_ENTITY, "
        "WANDB_BASE_URL; "
        "--track mlflow= needs the URL of a server, or a folder; name it, or leave out the ="
    )


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(targets, "version", missing)
    assert mistake("mlflow") == (
        "--track mlflow needs the package mlflow; install it: pip install 'frostline[mlflow]'"
    )


def test_a_password_on_the_command_line_is_refused():
    said = mistake("mlflow=https://me:hunter2@host")
    assert said.startswith("--track must hold no password, since the process list shows it to every user")
    assert "hunter2" not in said


@pytest.mark.parametrize("place", ["postgresql://host/db", "http://", "ftp://host"])
def test_mlflow_takes_servers_and_folders_only(place):
    assert mistake(f"mlflow={place}") == (
        f"--track mlflow= takes a server, http://HOST:PORT, or a folder, got {place!r}; set any other store in "
        "MLFLOW_TRACKING_URI and give --track mlflow"
    )


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert mistake(f"tensorboard={file}") == (
        f"--track tensorboard= must be a folder, got the file {file}; give another"
    )


def test_tensorboard_has_no_server():
    assert (
        mistake("tensorboard=http://x") == "--track tensorboard= must be a folder, got a URL; give a folder"
    )


def test_a_space_of_trackio_is_refused(monkeypatch):
    monkeypatch.setenv("TRACKIO_SPACE_ID", "me/space")
    assert mistake("trackio") == (
        "--track trackio keeps runs on this machine, but TRACKIO_SPACE_ID names a Space; unset it, and send the project "
        "with trackio sync"
    )


def test_a_tracker_that_keeps_no_models_is_refused_for_an_export():
    with pytest.raises(InputError) as caught:
        model_targets_of(["mlflow", "tensorboard"])
    assert str(caught.value) == (
        "--track must be mlflow, trackio, wandb for an export, got tensorboard, which keeps no models; leave it out"
    )
    assert model_targets_of(["mlflow", "wandb"]) == (Target("mlflow"), Target("wandb"))

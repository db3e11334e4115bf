import csv
import json
import shutil
import threading

import pytest
from served import ask, serving

from search.dashboard import artifacts
from search.dashboard.artifacts import Store, keep_artifacts, report_state
from search.study import results
from search.study.opening import open_study
from search.study.spec import load_spec
from trainers.errors import InputError


@pytest.fixture
def path(finished_study, tmp_path):
    """A copy of a finished study's TOML file and folder."""
    shutil.copytree(finished_study[0].parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / finished_study[0].name


@pytest.fixture
def spec(path):
    return load_spec(path)


@pytest.fixture
def study(path, spec):
    return open_study(spec, path)


@pytest.fixture
def store(path):
    return Store(path.parent / "tiny" / "artifacts")


@pytest.fixture
def quick_pictures(monkeypatch):
    """Pictures that are not drawn; the list of trials that were to be."""
    drawn = []

    def draw(trial, _):
        drawn.append(trial.number)
        return f"picture of {trial.number}".encode()

    monkeypatch.setattr(artifacts, "curve_picture", draw)
    return drawn


def shown(study, prefix="artifacts:"):
    """Return the files that a study tells of: their ids, by name."""
    attrs = study._storage.get_study_system_attrs(study._study_id)
    metas = [json.loads(v) for k, v in attrs.items() if k.startswith(prefix)]
    return {m["filename"]: m["artifact_id"] for m in metas if m}


def complete(study):
    return [t.number for t in results.complete(study.trials)]


def test_the_reports_files_are_shown_as_they_are(study, spec, store, quick_pictures):
    keep_artifacts(study, spec, store)
    assert set(shown(study)) == {"pareto.png", "report.json", "report.html"}
    for name, own in shown(study).items():
        assert (store.folder / own).read_bytes() == (store.folder.parent / name).read_bytes()
    assert quick_pictures == complete(study)


@pytest.mark.usefixtures("quick_pictures")
def test_a_complete_trial_has_a_curve_and_its_evaluations(study, spec, store):
    keep_artifacts(study, spec, store)
    trial = results.complete(study.trials)[0]
    files = shown(study, f"dashboard:artifacts:{trial._trial_id}:")
    curve, table = f"trial-{trial.number}-curve.png", f"trial-{trial.number}-evaluations.csv"
    assert set(files) == {curve, table}
    assert (store.folder / files[curve]).read_text() == f"picture of {trial.number}"
    rows = list(csv.DictReader((store.folder / files[table]).read_text().splitlines()))
    assert [float(r["epoch"]) for r in rows] == [e["epoch"] for e in trial.user_attrs["evaluations"]]
    assert {"validation_accuracy", "training_accuracy", "validation_loss", "score"} <= set(rows[0])


def test_a_second_look_draws_and_writes_nothing(study, spec, store, quick_pictures):
    keep_artifacts(study, spec, store)
    del quick_pictures[:]
    before = study._storage.get_study_system_attrs(study._study_id)
    files = {p: p.stat().st_mtime_ns for p in store.folder.iterdir()}
    keep_artifacts(study, spec, store)
    assert quick_pictures == []
    assert study._storage.get_study_system_attrs(study._study_id) == before
    assert {p: p.stat().st_mtime_ns for p in store.folder.iterdir()} == files


@pytest.mark.usefixtures("quick_pictures")
def test_a_file_that_changed_replaces_the_old_one(study, spec, store):
    keep_artifacts(study, spec, store)
    before, count = shown(study)["report.json"], len(list(store.folder.iterdir()))
    (store.folder.parent / "report.json").write_text("{}")
    keep_artifacts(study, spec, store)
    after = shown(study)["report.json"]
    assert (store.folder / after).read_text() == "{}"
    assert not (store.folder / before).exists()
    assert len(list(store.folder.iterdir())) == count
    attrs = study._storage.get_study_system_attrs(study._study_id)
    assert f"artifacts:{before}" not in attrs


@pytest.mark.usefixtures("quick_pictures")
def test_a_file_that_was_removed_comes_back(study, spec, store):
    keep_artifacts(study, spec, store)
    shutil.rmtree(store.folder)
    keep_artifacts(study, spec, store)
    assert all((store.folder / own).is_file() for own in shown(study).values())


@pytest.mark.usefixtures("quick_pictures")
def test_a_users_own_file_of_the_same_name_stays(study, spec, store, tmp_path):
    import optuna

    (tmp_path / "pareto.png").write_bytes(b"mine")
    store.folder.mkdir()
    own = optuna.artifacts.upload_artifact(
        artifact_store=store, file_path=str(tmp_path / "pareto.png"), study_or_trial=study
    )
    keep_artifacts(study, spec, store)
    assert (store.folder / own).read_bytes() == b"mine"
    assert f"artifacts:{own}" in study._storage.get_study_system_attrs(study._study_id)


@pytest.mark.usefixtures("quick_pictures")
def test_a_link_in_the_studys_folder_is_not_followed(study, spec, store, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (store.folder.parent / "report.html").unlink()
    (store.folder.parent / "report.html").symlink_to(tmp_path / "secret")
    keep_artifacts(study, spec, store)
    assert "report.html" not in shown(study)


def test_a_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "artifacts").symlink_to(tmp_path)
    with pytest.raises(InputError) as caught:
        Store(tmp_path / "artifacts")
    assert str(caught.value) == (
        f"the folder of artifacts must be a folder, but {tmp_path / 'artifacts'} is a link; remove it"
    )


def test_after_stop_no_trial_is_drawn(study, spec, store, quick_pictures):
    stop = threading.Event()
    stop.set()
    keep_artifacts(study, spec, store, stop)
    assert quick_pictures == []


def test_a_report_written_anew_is_noticed(store):
    before = report_state(store.folder.parent)
    (store.folder.parent / "report.html").write_text("new")
    assert report_state(store.folder.parent) != before


@pytest.mark.usefixtures("quick_pictures")
def test_files_are_served_and_missing_ones_are_not_found(study, spec, store):
    keep_artifacts(study, spec, store)
    own = shown(study)["report.json"]
    with serving(study, store) as port:
        assert ask(port, path=f"/artifacts/1/{own}")[0] == 200
        (store.folder / own).unlink()
        assert ask(port, path=f"/artifacts/1/{own}")[0] == 404


@pytest.mark.usefixtures("quick_pictures")
def test_a_study_whose_files_are_missing_can_be_deleted(study, spec, store):
    keep_artifacts(study, spec, store)
    (store.folder / shown(study)["report.json"]).unlink()
    with serving(study, store, writable=True) as port:
        status, _ = ask(port, "DELETE", "/api/studies/1", **{"Content-Type": "application/json"})
    assert status == 204
    assert list(store.folder.iterdir()) == []

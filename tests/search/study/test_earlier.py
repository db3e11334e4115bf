import hashlib
import math
import shutil
import sqlite3
from pathlib import Path

import optuna
import pytest
from earlier_studies import make_earlier
from hypothesis import given, strategies as st
from optuna.trial import TrialState
from toys import add

from search.storage.database import connect
from search.study.earlier import (
    best_of,
    check_encoder,
    check_names,
    distance,
    find_earlier,
    has_ended,
    trials_of,
)
from trainers.errors import InputError

OLD = Path(__file__).parents[2] / "data" / "version-0.1.0" / "tiny" / "study.db"


@pytest.fixture
def study(tmp_path):
    """A new study in its own database, as a search makes it."""
    (tmp_path / "new").mkdir()
    storage = connect(f"sqlite:///{tmp_path}/new/study.db")
    return optuna.create_study(storage=storage, study_name="new", direction="maximize")


def mistake(check, *args, **options):
    with pytest.raises(InputError) as caught:
        check(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_studies_of_the_folder_are_found_by_name_but_for_the_own_one(study, tmp_path):
    make_earlier(tmp_path, "imdb")
    assert [(e.name, e.attributes["encoder_sha256"]) for e in find_earlier(study, tmp_path)] == [
        ("imdb", "ab")
    ]


def test_studies_in_the_same_database_are_found_but_for_fronts_and_what_others_keep_there(study, tmp_path):
    for name, attributes in (("imdb", {"spec": {}}), ("new (Pareto front)", {"spec": {}}), ("other", {})):
        created = optuna.create_study(storage=study._storage, study_name=name, direction="maximize")
        for key, value in attributes.items():
            created.set_user_attr(key, value)
    add(optuna.load_study(storage=study._storage, study_name="imdb"), 0.8, 0.7)
    (found,) = find_earlier(study, tmp_path)
    assert (found.name, found.file) == ("imdb", None)
    assert [t.value for t in trials_of(found, study)] == [0.7]


@pytest.mark.parametrize("folder", ["a #?%{b}", "plain"])
def test_a_database_of_version_0_1_0_is_read_and_no_byte_of_it_is_changed(study, tmp_path, folder):
    place = tmp_path / folder / "tiny"
    place.mkdir(parents=True)
    shutil.copy(OLD, place)
    before = hashlib.sha256(OLD.read_bytes()).hexdigest()
    (found,) = find_earlier(study, tmp_path / folder)
    trials = trials_of(found, study)
    assert [t.state.name for t in trials] == ["COMPLETE"] * len(trials)
    assert distance(found.attributes["data"], found.attributes["data"]) == 0
    assert hashlib.sha256((place / "study.db").read_bytes()).hexdigest() == before
    assert [p.name for p in place.iterdir()] == ["study.db"]


def test_a_database_to_which_another_search_is_writing_is_read_as_it_was(study, tmp_path):
    add(make_earlier(tmp_path, "imdb"), 0.8, 0.7)
    with sqlite3.connect(tmp_path / "imdb" / "study.db", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE trials SET state = 'FAIL'")
        (found,) = find_earlier(study, tmp_path)
        assert [t.state.name for t in trials_of(found, study)] == ["COMPLETE"]
        writer.execute("ROLLBACK")
    writer.close()


def test_a_database_that_stays_locked_is_passed_over(study, tmp_path, monkeypatch):
    monkeypatch.setattr("search.study.earlier.TIMEOUT_SECONDS", 0.01)
    make_earlier(tmp_path, "imdb")
    (found,) = find_earlier(study, tmp_path)
    with sqlite3.connect(tmp_path / "imdb" / "study.db", isolation_level=None) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert trials_of(found, study) is None
        assert [e.trouble for e in find_earlier(study, tmp_path)] == ["database is locked"]
        writer.execute("ROLLBACK")
    writer.close()
    assert trials_of(found, study) == []


def test_files_that_are_no_database_of_studies_say_so_and_links_are_left_alone(study, tmp_path):
    make_earlier(tmp_path, "imdb")
    (tmp_path / "link").symlink_to(tmp_path / "imdb")
    for name, content in (("text", b"no database " * 100), ("empty", b"")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.db").write_bytes(content)
    assert {e.name: e.trouble for e in find_earlier(study, tmp_path)} == {
        "imdb": None,
        "text": "file is not a database",
        "empty": "no such table: version_info",
    }
    assert (tmp_path / "empty" / "study.db").stat().st_size == 0


def test_a_named_study_that_is_not_there_is_a_mistake_with_the_nearest_name(study, tmp_path):
    make_earlier(tmp_path, "imdb")
    found = find_earlier(study, tmp_path)
    check_names(["imdb"], found, tmp_path)
    assert mistake(check_names, ["imbd"], found, tmp_path) == (
        f"start.like must name studies that have {tmp_path}/NAME/study.db or stand in this study's database, got "
        "'imbd'; did you mean 'imdb'?; give one of imdb, or leave it out"
    )
    assert mistake(check_names, ["imdb"], [], tmp_path).endswith("database, got 'imdb'; leave it out")


def test_a_named_study_that_cannot_be_read_is_a_mistake(study, tmp_path):
    (tmp_path / "imdb").mkdir()
    (tmp_path / "imdb" / "study.db").write_text("no database " * 100)
    assert mistake(check_names, ["imdb"], find_earlier(study, tmp_path), tmp_path) == (
        f"start.like: the database of study 'imdb' must be readable, got {tmp_path}/imdb/study.db: file is not a "
        "database; continue that search to its end, or leave the name out"
    )


def test_a_named_study_of_another_encoder_is_a_mistake(study, tmp_path):
    make_earlier(tmp_path, "imdb", encoder_sha256="12" * 32)
    found = find_earlier(study, tmp_path)
    check_encoder(["imdb"], found, sha256="12" * 32)
    assert mistake(check_encoder, ["imdb"], found, sha256="ab" * 32) == (
        "start.like: study 'imdb' must have this study's encoder, of SHA-256 abababababab..., got 121212121212...; "
        "leave it out, or take the same encoder"
    )


def test_best_are_complete_trials_under_the_ceiling_that_are_no_recipes():
    study = optuna.create_study(direction="maximize")
    add(study, 0.8, 0.95, recipe="usual")
    add(study, 0.95, 0.94)
    add(study, 0.8, 0.93, state=TrialState.PRUNED)
    for validation in (0.5, 0.7, 0.6, 0.7):
        add(study, 0.8, validation)
    assert [t.number for t in best_of(study.trials)] == [4, 6]


def test_a_study_with_a_trial_that_runs_has_not_ended():
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({})
    assert has_ended(study.trials)
    study.ask()
    assert not has_ended(study.trials)


PAGES = st.fixed_dictionaries(
    {"train": st.integers(1, 10**6), "class_names": st.lists(st.text(), min_size=1, max_size=50)},
    optional={
        "tokens": st.fixed_dictionaries({"train": st.integers(1, 10**8)}),
        "texts_cut": st.fixed_dictionaries({"train": st.integers(0, 10**6)}),
    },
)


@given(PAGES, PAGES)
def test_distance_is_symmetric_and_none_from_itself(one, other):
    assert distance(one, one) == 0
    assert distance(one, other) == distance(other, one) >= 0


def test_distance_is_one_where_every_trait_is_a_step_apart():
    one = {"train": 100, "class_names": ["a"], "tokens": {"train": 1000}, "texts_cut": {"train": 0}}
    other = {"train": 400, "class_names": ["a", "b"], "tokens": {"train": 8000}, "texts_cut": {"train": 100}}
    assert distance(one, other) == pytest.approx(1.0)


def test_what_a_page_lacks_is_left_out_and_pages_without_anything_in_common_are_infinitely_apart():
    page = {"train": 100, "class_names": ["a", "b"]}
    assert distance(page, page | {"tokens": {"train": 1000}}) == 0
    assert distance(page, None) == math.inf

import pickle
import shlex
import shutil
import sys
from pathlib import Path

import optuna
import pytest

from search.study.opening import (
    begun_data,
    begun_with,
    check_same_encoder,
    open_named,
    open_study,
    results_dir,
)
from search.study.results import finished
from search.study.retries import MAX_RETRIES, recover
from search.study.spec import StudySpec
from trainers.errors import InputError

TABLE = {
    "name": "toy",
    "data": {"source": "imdb", "train": 40, "validation": 20, "test": 20},
    "fit": {
        "freeze_depth": {"low": 0, "high": 2},
        "dropout": {"low": 0.0, "high": 0.5},
        "head_width": [8, 16],
        "learning_rate": 1e-3,
        "patience": 2,
    },
}


def make_spec(**changes):
    return StudySpec.model_validate(TABLE | changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "toy.toml"


@pytest.fixture(scope="module")
def new_database(tmp_path_factory):
    """The file of a new study: making its tables takes half a second."""
    path = tmp_path_factory.mktemp("template") / "toy.toml"
    open_study(make_spec(), path, create=True)
    return results_dir(path, make_spec()) / "study.db"


@pytest.fixture
def stored(path, new_database):
    """A new study in SQLite."""
    folder = results_dir(path, make_spec())
    folder.mkdir()
    shutil.copy(new_database, folder)
    return open_study(make_spec(), path)


@pytest.fixture
def study():
    """A study in memory."""
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))


def start(study, **params):
    """Begin a trial that nobody will end."""
    trial = study.ask()
    for name in params or {"dropout": None}:
        trial.suggest_float(name, 0.0, 0.5)
    return trial


def refusal(*args, **options):
    with pytest.raises(InputError) as caught:
        open_study(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def states(study):
    return [t.state.name for t in study.trials]


def test_results_lie_beside_the_toml_file_under_the_studys_name(path, stored):
    assert results_dir(path, make_spec()) == path.parent / "toy"
    assert (path.parent / "toy" / "study.db").is_file()
    assert stored.direction == optuna.study.StudyDirection.MAXIMIZE


def test_study_is_opened_again_with_its_trials(path, stored):
    stored.tell(stored.ask(), 0.5)
    assert [t.value for t in open_study(make_spec(), path).trials] == [0.5]


def test_study_without_a_database_names_the_command_that_makes_it(path):
    database = path.parent / "toy" / "study.db"
    assert refusal(make_spec(), path) == (
        f"study 'toy' has no trials yet ({database} is missing); run: python -m search.run --study {path}"
    )


def test_unknown_study_in_a_database_is_named(path):
    url = f"sqlite:///{path.parent}/other.db"
    assert refusal(make_spec(), path, storage_url=url) == (
        f"no study 'toy' in {url}; run: python -m search.run --study {path} --storage URL"
    )


def test_other_space_is_refused_with_the_differing_key(path, stored):
    start(stored)
    fit = TABLE["fit"] | {"head_width": [8, 32]}
    assert refusal(make_spec(fit=fit), path, create=True) == (
        "study 'toy' was begun with fit.head_width = [8, 16], now it is [8, 32]; restore it, or set another name in "
        f"{path} to begin a new study"
    )


def test_further_differences_are_counted(path, stored):
    start(stored)
    data = TABLE["data"] | {"train": 50}
    assert "data.train = 40, now it is 50 (and 1 more);" in refusal(
        make_spec(data=data, pruning={"peers": 5}), path, create=True
    )


def test_setting_that_was_added_is_a_difference(path, stored):
    start(stored)
    fit = TABLE["fit"] | {"weight_decay": 0.1}
    assert "fit.weight_decay = None, now it is 0.1" in refusal(make_spec(fit=fit), path, create=True)


def test_setting_that_is_newer_than_the_study_takes_its_default(path, stored):
    start(stored)
    begun = stored.user_attrs["spec"]
    score = {key: value for key, value in begun["score"].items() if key != "metric"}
    stored.set_user_attr("spec", {**begun, "score": score})
    assert open_study(make_spec(), path).user_attrs["spec"]["score"]["metric"] == "accuracy"
    other = make_spec(score={"metric": "macro_f1"})
    stored.set_user_attr("spec", {**begun, "score": score})
    assert "score.metric = accuracy, now it is macro_f1" in refusal(other, path, create=True)


@pytest.mark.usefixtures("stored")
def test_study_without_a_trial_takes_another_space(path):
    fit = TABLE["fit"] | {"head_width": [8, 32]}
    opened = open_study(make_spec(fit=fit), path, create=True)
    assert opened.user_attrs["spec"]["fit"]["head_width"] == [8, 32]


@pytest.mark.parametrize(
    ("key", "table"),
    [
        ("goal", {"validation_accuracy": 0.5}),
        ("sampler", {"kind": "tpe", "history": 500}),
        ("cache", {"disk_gib": 1.0}),
        ("recipes", {"enqueue": ["overfit"]}),
        ("start", {"setups": [{"dropout": 0.25}], "portfolio": True, "like": "auto"}),
    ],
)
def test_goal_sampler_cache_recipes_and_start_may_change(path, stored, key, table):
    start(stored)
    opened = open_study(make_spec(**{key: table}), path, create=True)
    assert opened.user_attrs["spec"][key].items() >= table.items()


def test_a_study_may_go_back_to_the_sampler_that_needs_not_be_named(path):
    start(open_study(make_spec(sampler={"kind": "sobol"}), path, create=True))
    assert "sampler" not in open_study(make_spec(), path, create=True).user_attrs["spec"]
    other = make_spec(fit=TABLE["fit"] | {"head_width": [8, 32]})
    study = open_study(make_spec(sampler={"kind": "sobol"}), path, create=True)
    for spec in (other, make_spec()):
        assert begun_with(study, spec).sampler.kind == "tpe"


def test_seed_that_the_study_was_begun_with_stays_in_force(path, stored):
    start(stored)
    opened = open_study(make_spec(seed=7), path, create=True)
    assert begun_with(opened, make_spec(seed=7)).seed == 0


def test_seed_asked_for_is_that_of_a_new_study(path, stored):
    assert begun_with(stored, make_spec(), seed=5).seed == 5
    assert begun_with(open_study(make_spec(), path, create=True), make_spec(), seed=5).seed == 5


def test_another_seed_for_a_begun_study_is_refused(stored):
    start(stored)
    with pytest.raises(InputError) as caught:
        begun_with(stored, make_spec(), seed=5)
    assert str(caught.value) == (
        "study 'toy' was begun with seed 0, got --seed 5; leave --seed out, or set another name in the TOML file to "
        "begin a new study"
    )


def test_study_of_another_program_is_refused(path):
    url = f"sqlite:///{path.parent}/foreign.db"
    foreign = optuna.create_study(storage=url, study_name="toy", direction="maximize")
    foreign.tell(foreign.ask(), 0.1)
    assert refusal(make_spec(), path, storage_url=url, create=True) == (
        f"study 'toy' in this database was not made by this project; give {path} another name"
    )


def test_url_that_is_none_is_refused(path):
    message = refusal(make_spec(), path, storage_url="nonsense", create=True)
    assert message.startswith(
        "--storage or FROSTLINE_STORAGE must be a database URL such as sqlite:///study.db or "
    )


def test_braces_in_a_url_are_to_be_percent_encoded(path):
    assert refusal(make_spec(), path, storage_url="postgresql://u:se{cret@h/db", create=True) == (
        "--storage or FROSTLINE_STORAGE must not hold { or }, which Optuna takes for a placeholder; percent-encode them: %7B, %7D"
    )


def test_unknown_database_is_named(path):
    assert refusal(make_spec(), path, storage_url="foo://u:secret@h/db", create=True) == (
        "--storage or FROSTLINE_STORAGE: no database 'foo' is known; use sqlite, or postgresql"
    )


def test_missing_driver_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    assert refusal(make_spec(), path, storage_url="mysql://u:secret@h/db", create=True) == (
        "--storage or FROSTLINE_STORAGE: the driver for 'mysql' is not installed (MySQLdb); install it with pip"
    )


@pytest.mark.parametrize(
    "url",
    [
        "foo://u:secret@h/db",
        "mysql://u:secret@h/db",
        "postgresql://u:secret@h:port/db",
        "postgresql://u:secret@127.0.0.1:1/db?password=secret",
        "sqlite://u:secret@h/db?password=secret",
        "secret",
    ],
)
def test_password_is_in_no_error(path, url):
    assert "secret" not in refusal(make_spec(), path, storage_url=url, create=True)


def test_file_that_is_no_database_is_named_with_the_drivers_words(path):
    path.write_text("not a database, but long enough to be looked at as one " * 40)
    message = refusal(make_spec(), path, storage_url=f"sqlite:///{path}", create=True)
    assert message.startswith(
        f"the study's database must be readable and writable, got sqlite:///{path}: file is not a database; check"
    )


def test_database_that_cannot_be_written_is_named_with_the_drivers_words(path, new_database):
    url = f"sqlite:///file:{new_database}?mode=ro&uri=true"
    message = refusal(make_spec(name="another"), path, storage_url=url, create=True)
    assert f"got sqlite:///file%3A{new_database}: attempt to write a readonly database; check" in message


def test_missing_folder_of_a_database_is_named_with_the_drivers_words(path):
    message = refusal(make_spec(), path, storage_url="sqlite:////nonexistent/x.db", create=True)
    assert "got sqlite:////nonexistent/x.db: unable to open database file; check" in message


def test_folder_that_cannot_be_made_is_named(path):
    (path.parent / "toy").write_text("a file where the folder should be")
    assert refusal(make_spec(), path, create=True) == (
        f"the study's folder {path.parent / 'toy'} must be writable, got: File exists; change its permissions, free "
        "space, or put the study's TOML file elsewhere"
    )


def test_trial_of_a_killed_search_is_failed_and_enqueued_again(study):
    begun = start(study)
    assert recover(study) == 1
    assert states(study) == ["FAIL", "WAITING"]
    assert study.trials[0].user_attrs["reason"] == "killed"
    assert study.trials[1].user_attrs == {"retry_of": 0}
    again = study.ask()
    assert again.suggest_float("dropout", 0.0, 0.5) == begun.params["dropout"]


def test_trial_killed_before_it_had_parameters_is_recovered(study):
    study.ask()
    assert recover(study) == 1
    assert states(study) == ["FAIL", "WAITING"]


def test_recovering_twice_enqueues_once(study):
    start(study)
    assert [recover(study), recover(study)] == [1, 0]
    assert states(study) == ["FAIL", "WAITING"]


def test_crash_between_enqueueing_and_failing_enqueues_once(study):
    start(study)
    study.enqueue_trial({}, user_attrs={"retry_of": 0})
    assert recover(study) == 1
    assert states(study) == ["FAIL", "WAITING"]


def test_setup_that_is_killed_again_and_again_is_given_up(study):
    start(study)
    for _ in range(MAX_RETRIES):
        assert recover(study) == 1
        start(study)
    assert recover(study) == 1
    assert states(study) == ["FAIL"] * (MAX_RETRIES + 1)
    assert [t.number for t in finished(study.trials)] == [MAX_RETRIES]


def test_repeated_recipe_stays_a_recipe(study):
    study.enqueue_trial({"dropout": 0.3}, user_attrs={"recipe": "frozen-head"})
    start(study)
    recover(study)
    assert study.trials[1].user_attrs == {"retry_of": 0, "recipe": "frozen-head"}
    assert study.trials[1].system_attrs["fixed_params"] == {"dropout": 0.3}


def test_repeated_setup_of_the_start_keeps_its_origin(study):
    study.enqueue_trial({"dropout": 0.3}, user_attrs={"start": "trial 24 of imdb"})
    start(study)
    recover(study)
    assert study.trials[1].user_attrs == {"retry_of": 0, "start": "trial 24 of imdb"}


def test_parameters_enqueued_but_not_yet_suggested_are_kept(study):
    study.enqueue_trial({"dropout": 0.25, "other": 0.125})
    start(study, dropout=None)
    recover(study)
    assert study.trials[1].system_attrs["fixed_params"] == {"dropout": 0.25, "other": 0.125}


def test_finished_and_waiting_trials_are_left_alone(study):
    study.tell(study.ask(), 0.5)
    study.enqueue_trial({})
    assert recover(study) == 0
    assert states(study) == ["COMPLETE", "WAITING"]


@pytest.mark.parametrize("url", [None, "sqlite://"])
def test_results_folder_that_is_a_link_is_refused(path, tmp_path_factory, url):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (path.parent / "toy").symlink_to(elsewhere)
    assert refusal(make_spec(), path, storage_url=url, create=True) == (
        f"the study's folder must lie beside its TOML file, but {path.parent / 'toy'} is a link to {elsewhere}; remove "
        "the link, or put the TOML file where you want the results"
    )
    assert list(elsewhere.iterdir()) == []


def test_database_that_is_a_link_is_refused(path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "file"
    (path.parent / "toy").mkdir()
    (path.parent / "toy" / "study.db").symlink_to(elsewhere)
    assert f"{path.parent / 'toy' / 'study.db'} is a link to {elsewhere};" in refusal(
        make_spec(), path, create=True
    )
    assert not elsewhere.exists()


def test_encoder_may_change_until_the_first_trial(stored):
    stored.set_user_attr("encoder_sha256", "a" * 64)
    check_same_encoder(stored, make_spec(), "b" * 64)


def test_other_encoder_than_the_trials_is_refused(stored):
    stored.set_user_attr("encoder_sha256", "a" * 64)
    start(stored)
    check_same_encoder(stored, make_spec(), "a" * 64)
    with pytest.raises(InputError) as caught:
        check_same_encoder(stored, make_spec(), "b" * 64)
    assert str(caught.value) == (
        f"study 'toy' was begun with an encoder 'minilm' of SHA-256 {'a' * 64}, now it is {'b' * 64}: its files have "
        "been changed or damaged; restore them, or set another name in the TOML file to begin a new study"
    )


def test_study_that_recorded_no_encoder_takes_any(stored):
    start(stored)
    check_same_encoder(stored, make_spec(), "b" * 64)


def own_texts(place, **changes):
    return make_spec(data={"source": place, "train": 40, "validation": 20, "test": 20} | changes)


def test_a_file_of_texts_may_be_moved(path):
    study = open_study(own_texts("/here/reviews.csv"), path, create=True)
    start(study)
    again = open_study(own_texts("/there/reviews.csv"), path)
    assert again.user_attrs["spec"]["data"]["source"] == "/there/reviews.csv"


@pytest.mark.parametrize("place", ["imdb", "owner/name"])
def test_a_file_does_not_give_way_to_another_kind_of_source(path, place):
    start(open_study(own_texts("/here/reviews.csv"), path, create=True))
    with pytest.raises(InputError, match=f"begun with data.source = /here/reviews.csv, now it is {place}"):
        open_study(own_texts(place), path, create=True)


def test_data_are_bound_to_the_texts_that_trials_were_fitted_on(study):
    spec = own_texts("/here/reviews.csv")
    study.set_user_attr("data", {"fingerprint": "a" * 64})
    assert begun_data(study, spec).fingerprint is None
    start(study)
    assert begun_data(study, spec) == own_texts("/here/reviews.csv", fingerprint="a" * 64).data


def test_a_study_of_version_0_1_goes_on_with_its_cleaning(path):
    spec = own_texts("/here/reviews.csv")
    study = open_study(spec, path, create=True)
    begun = study.user_attrs["spec"]
    del begun["data"]["clean"]
    study.set_user_attr("spec", begun)
    start(study)
    for _ in range(2):  # what was found the first time is stored
        assert begun_data(open_study(spec, path), spec).clean == "0.1"
    other = own_texts("/here/reviews.csv", clean="html")
    assert "was begun with data.clean = 0.1, now it is html;" in refusal(other, path, create=True)


def test_a_study_whose_file_has_changed_is_shown_as_it_was_begun(path, stored):
    start(stored)
    begun = make_spec()
    changed = make_spec(fit=TABLE["fit"] | {"head_width": [8, 32]}, goal={"validation_accuracy": 0.5})
    told = []
    opened = open_study(changed, path)
    spec = begun_with(opened, changed, tell=told.append)
    assert spec == begun.model_copy(update={"goal": changed.goal})
    assert told == [
        "note: study 'toy' was begun with fit.head_width = [8, 16], now it is [8, 32]; shown is what it was begun with"
    ]
    assert opened.user_attrs["spec"]["fit"]["head_width"] == [8, 16]


def test_a_study_goes_on_with_the_cleaning_that_it_was_begun_with(path):
    study = open_study(own_texts("/here/reviews.csv", clean="none"), path, create=True)
    start(study)
    spec = own_texts("/here/reviews.csv")
    assert begun_data(open_study(spec, path), spec).clean == "none"


def test_data_of_a_study_without_a_fingerprint_are_free(study):
    start(study)
    assert begun_data(study, own_texts("/here/reviews.csv")).fingerprint is None


ODD = "a b?c#d%20e {f} 'g' \u00e9&h=i+j;k"


def test_a_folder_may_be_called_like_anything(tmp_path):
    folder = tmp_path / ODD
    folder.mkdir()
    path = folder / "toy.toml"
    open_study(make_spec(), path, create=True).enqueue_trial({"dropout": 0.1})
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == [
        Path(ODD),
        Path(ODD) / "toy",
        Path(ODD) / "toy" / "study.db",
    ]
    again = pickle.loads(pickle.dumps(open_study(make_spec(), path)))
    assert len(again.get_trials()) == 1


def test_a_relative_folder_may_be_called_like_anything(tmp_path, monkeypatch):
    (tmp_path / ODD).mkdir()
    monkeypatch.chdir(tmp_path)
    open_study(make_spec(), Path(ODD) / "toy.toml", create=True)
    assert (tmp_path / ODD / "toy" / "study.db").is_file()


def test_a_command_in_an_error_can_be_copied(tmp_path):
    message = refusal(make_spec(), tmp_path / ODD / "toy.toml")
    command = message.partition("; run: ")[2]
    assert shlex.split(command) == ["python", "-m", "search.run", "--study", str(tmp_path / ODD / "toy.toml")]


def test_a_study_that_names_no_recipes_keeps_those_that_it_was_begun_with(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_text("")
    opened = open_study(make_spec(), path, create=True)
    opened.set_user_attr(
        "spec", {**opened.user_attrs["spec"], "recipes": {"enqueue": ["overfit"], "epochs": {}}}
    )
    opened.add_trial(optuna.trial.create_trial(value=0.5))
    again = open_study(make_spec(), path)
    assert begun_with(again, make_spec()).recipes.enqueue == ("overfit",)
    assert again.user_attrs["spec"]["recipes"]["enqueue"] == ["overfit"]
    named = make_spec(recipes={"enqueue": ["probe"]})
    assert begun_with(open_study(named, path), named).recipes.enqueue == ("probe",)


TOML = """
name = "toy"
[data]
source = "imdb"
train = 40
validation = 20
test = 20
[fit]
freeze_depth = { low = 0, high = 2 }
dropout = 0.1
head_width = 8
learning_rate = 1e-3
patience = 2
[score]
ceiling = CEILING
"""


def test_a_command_opens_what_it_names_with_the_seed_that_the_study_was_begun_with(path):
    path.write_text(TOML.replace("CEILING", "0.92"))
    first = open_named(str(path), None, create=True, seed=7)
    first.study.ask()
    again = open_named(str(path), None)
    assert (again.spec.seed, again.path, again.folder) == (7, path, path.parent / "toy")
    assert again.study.study_name == first.study.study_name


def test_a_command_that_does_not_search_says_what_is_in_force(path, capsys):
    path.write_text(TOML.replace("CEILING", "0.92"))
    open_named(str(path), None, create=True).study.ask()
    path.write_text(TOML.replace("CEILING", "0.5"))
    assert open_named(str(path), None).spec.score.ceiling == 0.92
    assert "was begun with score.ceiling = 0.92, now it is 0.5" in capsys.readouterr().out

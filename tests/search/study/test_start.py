import math

import pytest
from earlier_studies import make_earlier
from hypothesis import given, strategies as st
from optuna.trial import TrialState
from toys import DATA, add, fill, make_spec, make_study

from search.dashboard.notes import trial_note
from search.report.html import render
from search.report.plotting import describe_trial
from search.report.summary import summarise
from search.report.terminal import print_report
from search.run import main
from search.study import start
from search.study.opening import open_study
from search.study.results import finished
from search.study.retries import recover
from search.study.space import distributions, suggest
from search.study.spec import StudySpec, load_spec
from trainers.errors import InputError

OWN = {"freeze_depth": 2, "learning_rate": 1e-4}
PORTFOLIO = (
    {"freeze_share": 0.5, "dropout": 0.1, "head_width": 100, "learning_rate": 5e-4, "epochs": 2},
    {"freeze_share": 0.0, "dropout": 0.9, "head_width": 64, "learning_rate": 1e-6, "epochs": 3},
    {"freeze_share": 0.0, "dropout": 0.6, "head_width": 60, "learning_rate": 1e-5, "epochs": 4},
)


@pytest.fixture(autouse=True)
def portfolio(monkeypatch):
    """Three setups, of which two are one in the toys' space."""
    monkeypatch.setattr("search.study.portfolio.PORTFOLIO", PORTFOLIO)


def known(study, **attributes):
    """Let a study know its encoder and texts, as it does after they were prepared."""
    for key, value in ({"encoder_sha256": "ab", "data": DATA} | attributes).items():
        study.set_user_attr(key, value)
    return study


def begin(study, spec, folder, *, tell=lambda _: None):
    """Do what a search does before its first trial."""
    earlier = start.look_round(study, spec, folder)
    plan = start.choose(study, spec, earlier, num_layers=6, tell=tell)
    start.enqueue(study, spec, plan)


def enqueued(study):
    return [(t.user_attrs["start"], t.system_attrs["fixed_params"]) for t in study.trials if t.user_attrs]


def test_own_setups_come_first_then_the_portfolio_then_earlier_studies_each_once(tmp_path):
    earlier = make_earlier(tmp_path, "imdb")
    add(earlier, 0.8, 0.7)
    study = known(make_study())
    own = [OWN, {"dropout": 0}, OWN]
    begin(study, make_spec(start={"setups": own, "portfolio": True, "like": ["imdb"]}), tmp_path)
    assert enqueued(study) == [
        ("own", OWN),
        ("own", {"dropout": 0.0}),
        ("portfolio", {"freeze_depth": 3, "dropout": 0.1, "head_width": 128, "learning_rate": 5e-4}),
        ("portfolio", {"freeze_depth": 2, "dropout": 0.6, "head_width": 64, "learning_rate": 1e-5}),
        (
            "trial 0 of imdb",
            {
                "freeze_depth": 4,
                "dropout": 0.312,
                "head_width": 128,
                "learning_rate": 4.12e-5,
                "patience": 3,
            },
        ),
    ]


def test_a_continued_search_enqueues_nothing_twice(tmp_path):
    add(make_earlier(tmp_path, "imdb"), 0.8, 0.7)
    study = known(make_study())
    spec = make_spec(start={"setups": [OWN], "portfolio": True, "like": "auto"})
    begin(study, spec, tmp_path)
    before = enqueued(study)
    trial = study.ask()
    suggest(trial, spec, num_layers=6)
    begin(study, spec, tmp_path)
    assert enqueued(study) == before
    study.tell(trial, 0.5)
    begin(study, spec, tmp_path)
    assert enqueued(study) == before


def test_what_was_chosen_stays_whatever_becomes_of_earlier_studies_and_the_portfolio(tmp_path, monkeypatch):
    study = known(make_study())
    spec = make_spec(start={"portfolio": True, "like": "auto"})
    begin(study, spec, tmp_path)
    before = enqueued(study)
    add(make_earlier(tmp_path, "imdb"), 0.8, 0.7)
    monkeypatch.setattr("search.study.portfolio.PORTFOLIO", PORTFOLIO[:1])
    begin(study, spec, tmp_path)
    assert enqueued(study) == before
    begin(study, make_spec(start={"portfolio": True, "like": ["imdb"]}), tmp_path)
    assert [origin for origin, _ in enqueued(study)[len(before) :]] == ["trial 0 of imdb"]


def test_a_search_that_was_killed_between_two_setups_goes_on_with_the_rest(tmp_path):
    study = known(make_study())
    spec = make_spec(start={"setups": [OWN, {"dropout": 0.25}]})
    study.enqueue_trial(OWN, user_attrs={"start": "own"})
    begin(study, spec, tmp_path)
    assert enqueued(study) == [("own", OWN), ("own", {"dropout": 0.25})]


def test_a_setup_that_was_cut_off_is_repeated_with_its_origin_and_not_enqueued_again(tmp_path):
    study = known(make_study())
    spec = make_spec(start={"setups": [OWN]})
    begin(study, spec, tmp_path)
    suggest(study.ask(), spec, num_layers=6)
    recover(study)
    begin(study, spec, tmp_path)
    assert [(t.state.name, t.user_attrs["start"]) for t in study.trials] == [
        ("FAIL", "own"),
        ("WAITING", "own"),
    ]
    assert study.trials[1].system_attrs["fixed_params"].items() >= OWN.items()
    assert finished(study.trials) == []
    assert start.sentences(study) == ["Started from: own setups (trial 1)."]


def test_a_recipe_with_the_same_parameters_is_no_duplicate_since_it_fixes_more(tmp_path):
    study = known(make_study())
    study.enqueue_trial(OWN, user_attrs={"recipe": "frozen-head"})
    begin(study, make_spec(start={"setups": [OWN]}), tmp_path)
    assert [t.user_attrs for t in study.trials] == [{"recipe": "frozen-head"}, {"start": "own"}]


def test_a_starting_setup_runs_with_its_values_and_the_sampler_chooses_the_rest(tmp_path):
    study = known(make_study())
    spec = make_spec(start={"setups": [OWN]})
    begin(study, spec, tmp_path)
    config = suggest(study.ask(), spec, num_layers=6)
    assert (config.freeze_depth, config.learning_rate) == (2, 1e-4)
    assert config.head_width in (32, 64, 128)


def test_without_a_start_nothing_is_enqueued_or_kept(tmp_path):
    study = known(make_study())
    begin(study, make_spec(), tmp_path)
    assert (study.trials, "start" in study.user_attrs, start.sentences(study)) == ([], False, [])


def test_auto_takes_the_two_nearest_studies_that_have_ended_and_says_whom_it_passed_over(tmp_path):
    for name, texts in (("far", 3200), ("near", 210), ("nearest", 200), ("running", 200), ("over", 200)):
        earlier = make_earlier(tmp_path, name, data=DATA | {"train": texts})
        add(earlier, 0.99 if name == "over" else 0.8, 0.7)
        if name == "running":
            earlier.ask()
    add(make_earlier(tmp_path, "other-encoder", encoder_sha256="cd"), 0.8, 0.7)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "study.db").write_text("torn " * 100)
    said = []
    study = known(make_study())
    begin(study, make_spec(start={"like": "auto"}), tmp_path, tell=said.append)
    # All had the same setup, which is tried once.
    assert [origin for origin, _ in enqueued(study)] == ["trial 0 of nearest"]
    assert said == [
        "Earlier studies taken, each with the distance of its texts: nearest (0), near (0.039); passed over: torn (file "
        "is not a database), over (no trial of its search under the ceiling), running (a trial is under way)"
    ]


def test_that_nothing_was_found_is_said_and_no_error(tmp_path):
    said = []
    study = known(make_study())
    begin(study, make_spec(start={"like": "auto"}), tmp_path, tell=said.append)
    assert said == ["No earlier study to start from was found"]
    study.enqueue_trial({})
    assert start.sentences(study) == ["No earlier study to start from was found."]


def test_a_named_study_of_another_encoder_is_refused_before_anything_is_enqueued(tmp_path):
    add(make_earlier(tmp_path, "imdb", encoder_sha256="cd"), 0.8, 0.7)
    study = known(make_study())
    with pytest.raises(InputError, match="study 'imdb' must have this study's encoder"):
        begin(study, make_spec(start={"setups": [OWN], "like": ["imdb"]}), tmp_path)
    assert study.trials == []


NUMBERS = st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9))
VALUES = st.one_of(
    NUMBERS, st.booleans(), st.none(), st.just(math.nan), st.just(math.inf), st.text(max_size=3)
)
SPACE = StudySpec.model_validate(
    make_spec().model_dump(mode="json")
    | {
        "fit": {
            **make_spec().model_dump(mode="json")["fit"],
            "head_start": ["random", "fitted"],
            "batch_size": {"low": 8, "high": 64, "log": True},
            "epochs": 3,
        }
    }
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys((*SPACE.fit, "zzz"), VALUES)))
def test_a_setup_from_elsewhere_is_moved_into_the_space_and_stays_there(settings):
    space = distributions(SPACE)
    moved = start.fitted(settings, SPACE)
    for key, value in moved.items():
        assert space[key]._contains(space[key].to_internal_repr(value))
    assert start.fitted(moved, SPACE) == moved


@given(st.floats(1e-9, 1e9))
def test_of_widths_the_nearest_by_ratio_is_chosen(width):
    chosen = start.fitted({"head_width": width}, SPACE)["head_width"]
    assert abs(math.log(chosen / width)) == min(abs(math.log(w / width)) for w in (32, 64, 128))


def test_what_lies_in_the_space_is_not_moved_and_what_is_like_no_choice_is_left_out():
    inside = {"freeze_depth": 2, "dropout": 0.6, "learning_rate": 1e-5, "head_start": "fitted", "epochs": 3}
    assert start.fitted(inside, SPACE) == {k: v for k, v in inside.items() if k != "epochs"}
    assert start.fitted({"head_start": "none", "dropout": True, "head_width": "64"}, SPACE) == {}


def test_report_says_what_the_search_started_from(capsys):
    from rich.console import Console

    study = make_study()
    add(study, 0.8, 0.7, start="own")
    add(study, 0.8, 0.7, start="own")
    add(study, 0.8, 0.7, start="trial 24 of imdb")
    print_report(study, make_spec(), Console(width=200))
    assert "Started from: own setups (trials 0, 1), trial 24 of imdb (trial 2)." in capsys.readouterr().out


def test_origin_stands_with_the_trial_in_json_note_page_and_hover():
    study = fill(make_study())
    add(study, 0.8, 0.7, start="trial 24 of <b>imdb")
    summary = summarise(study, make_spec())
    assert [row.start for row in summary.trials] == [None] * 6 + ["trial 24 of <b>imdb"]
    said = trial_note(study.trials[6], make_spec())
    assert said.startswith("Trial 6 (start: trial 24 of &lt;b&gt;imdb): freeze depth 4")
    page = render(summary, options="--study toy")
    assert '<th scope="row">6 start: trial 24 of &lt;b&gt;imdb</th>' in page
    assert "<p>Started from: trial 24 of &lt;b&gt;imdb (trial 6).</p>" in page
    assert describe_trial(summary.trials[6]).startswith("trial 6 (start: trial 24 of &lt;b&gt;imdb)<br>")


START = """
[start]
setups = [{ freeze_depth = 1, dropout = 0.1 }, { freeze_depth = 2, dropout = 0.25 }]
portfolio = true
like = "auto"

[cache]"""


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews", "plain_report")
def test_a_search_tries_recipes_then_its_start_and_ends_with_exactly_the_trials_asked_for(
    write_tiny_study, tmp_path, capsys
):
    path = write_tiny_study(tmp_path, ("[cache]", START), ("epochs = 2", "epochs = 1"))
    line = ["--study", str(path), "--workers", "1", "--recipes"]
    assert main(["--trials", "2", *line, "none"]) == 0
    trials = open_study(load_spec(path), path).trials
    assert [t.user_attrs["start"] for t in trials] == ["own", "own", "portfolio", "portfolio"]
    assert [t.state.name for t in trials] == ["COMPLETE"] * 2 + ["WAITING"] * 2
    assert [t.user_attrs["config"]["dropout"] for t in trials[:2]] == [0.1, 0.25]
    assert main(["--trials", "5", *line, "none"]) == 0
    trials = open_study(load_spec(path), path).trials
    assert [t.user_attrs.get("start") for t in trials] == ["own"] * 2 + ["portfolio"] * 2 + [None]
    assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in trials)
    output = capsys.readouterr().out
    assert "trial 0 complete (start: own)" in output
    assert output.count("No earlier study to start from was found.") == 2  # once in each report


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews")
def test_a_named_study_that_is_not_there_ends_the_command_before_the_texts_are_read(
    write_tiny_study, tmp_path, capsys
):
    path = write_tiny_study(tmp_path, ("[cache]", '[start]\nlike = ["imdb"]\n\n[cache]'))
    assert main(["--trials", "2", "--study", str(path), "--workers", "1"]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("error: start.like must name studies")
    assert "reading" not in output.out

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading

import optuna
import pytest
from optuna.trial import TrialState
from served import TOML, add, ask, serving
from sqlalchemy.exc import OperationalError
from toys import CONFIRMATION, add as add_toy, make_study

from search.dashboard import command as dashboard
from search.dashboard.artifacts import Store
from search.dashboard.command import bring_in_step, follow, make_server
from search.dashboard.notes import OWN_NOTE, pareto_figure, study_note, trial_note
from search.storage.database import connect
from search.study.opening import open_study
from search.study.spec import load_spec
from trainers.errors import InputError


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with a study in every state, made once and only read."""
    folder = tmp_path_factory.mktemp("studies")
    path = folder / "toy.toml"
    path.write_text(TOML)
    study = open_study(load_spec(path), path, create=True)
    add(study, 0.78, 0.80, recipe="frozen-head", reason="epochs")
    add(study, 0.86, 0.91)
    add(study, 0.90, 0.9325, reason="ceiling")
    full = {"epoch": 0.5, "peek": False, "validation_loss": 0.6, "exact": False, "seconds": 5.0, "score": 0.7}
    full |= {"validation_accuracy": 0.70, "training_accuracy": 0.75}
    rung = "rung 0.5 epochs: ranks 5 of 5, 3 go on"
    add(study, 0.70, 0.75, state=TrialState.PRUNED, reason=rung, evaluations=[full])
    add(study, state=TrialState.FAIL, reason="diverged: loss is <b>nan</b> at *step* [1](x)")
    add(study, state=TrialState.RUNNING)
    return path


@pytest.fixture(scope="module")
def spec(original):
    return load_spec(original)


@pytest.fixture(scope="module")
def seen(original, spec):
    """The study, for tests that write nothing."""
    return open_study(spec, original)


@pytest.fixture(scope="module")
def port(seen, original):
    """Of a read-only dashboard of the study."""
    with serving(seen, Store(original.parent / "toy" / "artifacts")) as port:
        yield port


@pytest.fixture
def path(original, tmp_path):
    """A copy of the study's folder, to write to."""
    shutil.copytree(original.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / original.name


@pytest.fixture
def study(spec, path):
    return open_study(spec, path)


@pytest.fixture
def store(path):
    """Of the copy of the study's folder."""
    return Store(path.parent / "toy" / "artifacts")


@pytest.fixture
def empty_study():
    return optuna.create_study(direction="maximize")


def detail(port, study_id=1):
    status, body = ask(port, path=f"/api/studies/{study_id}")
    assert status == 200
    return json.loads(body)


def note_of(study, spec, number):
    return trial_note(study.get_trials()[number], spec)


def test_the_study_is_listed(port):
    summaries = json.loads(ask(port)[1])["study_summaries"]
    assert [s["study_name"] for s in summaries] == ["toy"]


def test_trials_come_with_state_and_learning_curve(port):
    found = detail(port)
    states = [t["state"] for t in found["trials"]]
    assert states == ["Complete", "Complete", "Complete", "Pruned", "Fail", "Running"]
    assert found["has_intermediate_values"]
    assert found["trials"][1]["intermediate_values"] == [
        {"step": 50, "value": 0.6},
        {"step": 100, "value": 0.86},
    ]


def test_infeasible_trials_are_flagged(port):
    constraints = [t["constraints"] for t in detail(port)["trials"]]
    assert [any(c > 0 for c in cs) for cs in constraints] == [False, False, True, False, False, False]


def test_the_best_trial_is_the_best_feasible_one(port):
    best = detail(port)["best_trials"]
    assert [t["number"] for t in best] == [1]


def test_the_best_trial_is_an_infeasible_one_where_no_other_is(empty_study, store):
    add(empty_study, 0.9, 0.95)
    with serving(empty_study, store) as port:
        assert [t["number"] for t in detail(port, study_id=0)["best_trials"]] == [0]


def test_parameter_importances_are_answered(port):
    status, body = ask(port, path="/api/studies/1/param_importances")
    assert status == 200
    (importances,) = json.loads(body)["param_importances"]
    assert {i["name"] for i in importances} >= {"dropout", "learning_rate"}


def test_notes_and_metric_name_and_picture_are_served(study, spec, store):
    bring_in_step(study, spec, store)
    with serving(study, store) as port:
        found = detail(port)
    assert found["note"]["body"] == study_note(study, spec)
    assert [t["note"]["body"] for t in found["trials"][:5]] == [note_of(study, spec, n) for n in range(5)]
    assert found["trials"][5]["note"]["body"] == ""
    assert found["objective_names"] == ["score"]
    titles = {
        p["id"]: json.loads(p["graph_object"])["layout"]["title"]["text"]
        for p in found["plotly_graph_objects"]
    }
    assert titles == {
        "pareto-front": "Validation over training accuracy",
        "learning-curves": "Learning curves: validation accuracy",
    }


def test_a_second_look_renews_the_study_note_and_adds_trial_notes(study, spec, store):
    bring_in_step(study, spec, store)
    add(study, 0.88, 0.915)
    bring_in_step(study, spec, store)
    with serving(study, store) as port:
        found = detail(port)
    assert "Trial 6: " in found["note"]["body"]
    assert found["trials"][6]["note"]["body"] == note_of(study, spec, 6)
    assert found["trials"][0]["note"]["version"] == 1


def test_a_note_of_the_users_own_stays(study, spec, store):
    import optuna_dashboard

    optuna_dashboard.save_note(study, "look at the long reviews")
    bring_in_step(study, spec, store)
    assert optuna_dashboard.get_note(study) == "look at the long reviews"


def test_the_study_note_says_goal_space_best_counts_and_commands(seen, spec):
    note = study_note(seen, spec, options="--study my.toml")
    assert "**Goal** (met in the search): validation accuracy of 85 % or more" in note
    assert "training accuracy under the ceiling of 92 %" in note
    assert (
        "freeze depth 2 to 6; dropout 0 to 0.5; head width 32, 64; learning rate 3.0e-5 to 3.0e-4 (log); "
        "patience 1 to 4." in note
    )
    assert f"**Best feasible trial**\n\n{note_of(seen, spec, 1)}" in note
    assert "5 finished: 3 complete (2 under the ceiling), 1 pruned" in note
    assert "    python -m search.run --study my.toml --trials 25\n" in note
    assert "    python -m search.export --study my.toml" in note
    assert note.endswith(OWN_NOTE)


def test_after_a_confirmation_the_study_note_says_what_fresh_seeds_say(study, spec):
    study._storage.set_study_system_attr(study._study_id, "frostline:confirmation", CONFIRMATION)
    spec = spec.model_copy(update={"goal": spec.goal.model_copy(update={"validation_accuracy": 0.86})})
    note = study_note(study, spec)
    assert "**Goal** (not met on fresh seeds): validation accuracy of 86 % or more" in note
    assert "**Confirmed**: not met on fresh seeds; the winner is trial 1: validation 85.05 % +- 0.07" in note


def test_the_study_note_offers_to_confirm_what_was_not(seen, spec):
    assert "    python -m search.confirm --study toy\n" in study_note(seen, spec)


def test_the_study_note_shows_the_nearest_where_none_is_feasible(empty_study, spec):
    add(empty_study, 0.9, 0.95)
    note = study_note(empty_study, spec)
    assert "**No trial is feasible yet; nearest to it**\n\nTrial 0: " in note
    assert "search.export" not in note


def test_the_study_note_of_an_empty_study_says_so(empty_study, spec):
    note = study_note(empty_study, spec)
    assert "**No trial has run to its end yet**" in note


@pytest.mark.parametrize(
    ("fitted", "said"), [(1, ", on 1 of 5 folds: **feas"), (5, ", means of 5 of 5 folds: **feas")]
)
def test_a_trial_note_says_how_many_folds_its_figures_are_of(spec, fitted, said):
    study = make_study()
    add_toy(study, 0.9, 0.8, folds=[{"validation_accuracy": 0.8}] * fitted)
    folded = spec.model_copy(update={"data": spec.data.model_copy(update={"folds": 5})})
    assert f"at 90.00 % training accuracy{said}" in trial_note(study.trials[0], folded)
    add_toy(study, 0.9, 0.8)
    assert "folds" not in trial_note(study.trials[1], folded)


def test_a_trial_note_tells_the_settings_that_ran_and_not_what_the_sampler_had_to_say(spec):
    study = make_study()
    add_toy(study, 0.9, 0.8, recipe="probe", config={"freeze_depth": 6, "dropout": 0.0, "head_width": 0})
    assert "head width 0," in trial_note(study.trials[0], spec)


def test_a_trial_note_says_what_it_was_and_reached_and_why_it_ended(spec):
    trial = optuna.trial.create_trial(
        value=0.86,
        user_attrs={
            "validation_accuracy": 0.86,
            "training_accuracy": 0.91,
            "training_exact": True,
            "reason": "patience",
            "config": {
                "freeze_depth": 4,
                "dropout": 0.25,
                "head_width": 64,
                "learning_rate": 1e-4,
                "patience": 3,
            },
        },
        constraints={"training_accuracy_over_ceiling": 0.91 - 0.92},
    )
    trial.number = 7
    assert trial_note(trial, spec) == (
        "Trial 7: freeze depth 4, dropout 0.25, head width 64, learning rate 1.0e-4, patience 3.\n\n"
        "It reached 86.00 % validation at 91.00 % training accuracy: **feasible**, 1.00 points under the ceiling "
        "of 92 %.\n\n"
        "It ended because validation loss had not fallen for as long as its patience allows."
    )


def test_notes_name_the_metric(seen, spec):
    by_f1 = spec.model_copy(update={"score": spec.score.model_copy(update={"metric": "macro_f1"})})
    assert "validation macro-F1 of 85 % or more, training macro-F1 under the ceiling" in study_note(
        seen, by_f1
    )
    assert "% training macro-F1: **infeasible**" in note_of(seen, by_f1, 2)
    assert pareto_figure(seen, by_f1).layout.xaxis.title.text == "training macro-F1"


def test_the_study_note_warns_of_importances_from_few_trials(seen, spec):
    assert (
        "**Which setting mattered** cannot be told: it takes 20 complete trials besides the recipes, there are 2. This "
        "page draws importances from two trials on: do not go by them." in study_note(seen, spec)
    )


def test_the_study_note_tells_importances_with_their_intervals(seen, spec, monkeypatch):
    told = {"shares": {"learning_rate": 0.75}, "intervals": {"learning_rate": {"low": 0.4, "high": 0.9}}}
    told |= {"confidence": 0.9, "trials": 21, "missing": None}
    monkeypatch.setattr("search.analysis.importances", lambda _: told)
    assert (
        "**Which setting mattered** (share of the score's variation over 21 complete trials, with 90 % intervals, "
        "which this page's plot lacks): learning rate 75 % (40 to 90)." in study_note(seen, spec)
    )


def test_a_trial_note_says_by_how_much_the_ceiling_was_exceeded(seen, spec):
    assert "**infeasible**, 1.25 points over the ceiling of 92 %" in note_of(seen, spec, 2)


def test_a_note_on_a_trial_pruned_at_a_peek_tells_no_training_accuracy(spec):
    study = optuna.create_study(direction="maximize")
    peek = {"epoch": 0.5, "peek": True, "validation_accuracy": 0.7, "training_accuracy": 0.5432}
    add(study, 0.70, 0.5432, state=TrialState.PRUNED, reason="rung 0.5 epochs", evaluations=[peek])
    assert "\n\n".join(note_of(study, spec, 0).split("\n\n")[1:]) == (
        "It reached 70.00 % validation accuracy at its latest peek, which looks at a sample of the validation texts "
        "and at no training text: training accuracy was not measured.\n\nIt was pruned: rung 0.5 epochs."
    )


def test_the_training_accuracy_of_a_trial_pruned_at_a_full_evaluation_is_called_approximate(seen, spec):
    note = note_of(seen, spec, 3)
    assert "at about 75.00 % training accuracy" in note
    assert note.endswith("It was pruned: rung 0.5 epochs: ranks 5 of 5, 3 go on.")


def test_a_trial_note_names_its_recipe(seen, spec):
    assert note_of(seen, spec, 0).startswith("Trial 0 (recipe frozen-head): freeze depth ")


def test_a_trial_note_names_the_trial_it_repeats(empty_study, spec):
    add(empty_study, state=TrialState.FAIL)
    add(empty_study, 0.8, 0.85, retry_of=0)
    assert note_of(empty_study, spec, 1).startswith("Trial 1 repeats trial 0: ")


def test_markup_in_a_reason_is_shown_and_not_obeyed(seen, spec):
    assert note_of(seen, spec, 4).endswith(
        r"It failed: diverged: loss is &lt;b&gt;nan&lt;/b&gt; at \*step\* \[1\](x)."
    )


def test_a_reason_of_many_lines_stays_in_its_paragraph(empty_study, spec):
    add(empty_study, state=TrialState.FAIL, reason="bug: one\n\n# two")
    assert note_of(empty_study, spec, 0).endswith("It failed: bug: one \\# two.")


def test_the_picture_tells_feasible_from_infeasible_by_word_and_symbol(seen, spec):
    front, infeasible, feasible, ceiling = pareto_figure(seen, spec).data
    assert (feasible.name, feasible.marker.symbol, feasible.x) == ("feasible (2)", "circle", (0.80, 0.91))
    assert (infeasible.name, infeasible.marker.symbol, infeasible.x) == ("infeasible (1)", "x", (0.9325,))
    assert (front.name, front.mode, front.x) == ("Pareto front (3)", "lines", (0.9325, 0.91, 0.80))
    assert (ceiling.name, ceiling.x) == ("ceiling 92 %", (0.92, 0.92))


def test_the_picture_labels_recipes_and_tells_parameters(seen, spec):
    feasible = pareto_figure(seen, spec).data[2]
    assert feasible.text == ("frozen-head", "")
    assert feasible.hovertext[1].startswith("trial 1<br>freeze depth ")


def test_the_picture_of_an_empty_study_shows_the_ceiling(empty_study, spec):
    assert pareto_figure(empty_study, spec).data[3].x == (0.92, 0.92)


def test_following_outlives_a_database_error(empty_study, spec, store, monkeypatch, caplog):
    monkeypatch.setattr(dashboard, "REFRESH_SECONDS", 0.01)
    written = threading.Event()
    answers = [OperationalError("SELECT 1", {}, Exception("gone")), None]

    def step(*_, **__):
        error = answers.pop(0)
        if error is not None:
            raise error
        written.set()

    monkeypatch.setattr(dashboard, "bring_in_step", step)
    stop = threading.Event()
    thread = threading.Thread(target=follow, args=(empty_study, spec, store, stop))
    thread.start()
    assert written.wait(10)
    stop.set()
    thread.join()
    assert answers == []
    assert caplog.messages == ["notes, pictures and front wait for database and folder: OperationalError"]


@pytest.mark.parametrize("error", [OSError("no space"), InputError("no folder"), KeyError("deleted")])
def test_an_error_that_stays_is_told_once(empty_study, spec, store, monkeypatch, caplog, error):
    monkeypatch.setattr(dashboard, "REFRESH_SECONDS", 0.0)

    def step(*_, **__):
        raise error

    monkeypatch.setattr(dashboard, "bring_in_step", step)
    looks = []

    class Stop:
        def wait(self, _):
            looks.append(1)
            return len(looks) == 3

    follow(empty_study, spec, store, Stop())
    name = type(error).__name__
    assert caplog.messages == [f"notes, pictures and front wait for database and folder: {name}"]


def test_a_database_that_may_not_be_written_is_served_all_the_same(path, spec, store, monkeypatch, caplog):
    with serving(open_study(spec, path), store) as port:
        assert ask(port)[0] == 200
    database = path.parent / "toy" / "study.db"
    study = optuna.load_study(
        storage=connect(f"sqlite:///file:{database}?mode=ro&uri=true"), study_name="toy"
    )
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", lambda _: True)
    follow(study, spec, store, stop)
    assert caplog.messages == ["notes, pictures and front wait for database and folder: StorageInternalError"]
    with serving(study, store) as port:
        assert len(detail(port)["trials"]) == 6


def test_nothing_is_written_while_no_trial_begins_or_ends(empty_study, spec, store, monkeypatch):
    monkeypatch.setattr(dashboard, "REFRESH_SECONDS", 0.0)
    steps = []
    monkeypatch.setattr(dashboard, "bring_in_step", lambda *_, **__: steps.append(1))
    looks = []

    class Stop:
        def wait(self, _):
            looks.append(1)
            return len(looks) == 3

    follow(empty_study, spec, store, Stop())
    assert len(steps) == 1


def test_a_port_in_use_is_an_input_error(seen, store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError) as caught:
            make_server(seen, store, host="127.0.0.1", port=port, writable=False)
    assert str(caught.value) == (
        f"--host and --port must be an address of this machine and a free port, got 127.0.0.1 and {port} "
        "(Address already in use); give another, such as --port 0 for any free one"
    )


def test_a_port_out_of_range_is_an_input_error(seen, store):
    with pytest.raises(InputError, match=r"got 127\.0\.0\.1 and 65536"):
        make_server(seen, store, host="127.0.0.1", port=65536, writable=False)


@pytest.mark.parametrize(
    ("ending", "host", "first"),
    [
        (signal.SIGTERM, "127.0.0.1", "Study toy: http://127.0.0.1:"),
        (signal.SIGINT, "0.0.0.0", "Warning: there is no password, and 0.0.0.0 may be within reach of other"),
    ],
)
def test_the_command_warns_beyond_loopback_and_exits_with_0_on_a_signal(path, ending, host, first):
    command = [sys.executable, "-m", "search.dashboard", "--study", path, "--host", host, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline()]
        if lines[0].startswith("Warning"):
            lines.append(process.stdout.readline())
        process.send_signal(ending)
        out, err = process.communicate(timeout=60)
    assert lines[0].startswith(first)
    assert lines[-1].startswith("Study toy: http://127.0.0.1:")
    assert (process.returncode, out, err) == (0, "Stopped.\n", "")


def test_a_study_without_trials_ends_with_exit_code_2(tmp_path, capsys):
    (tmp_path / "new.toml").write_text(TOML)
    assert dashboard.main(["--study", str(tmp_path / "new.toml")]) == 2
    assert capsys.readouterr().err.startswith("error: study 'new' has no trials yet")


def test_help_imports_nothing_heavy():
    code = "import sys, search.dashboard; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"optuna", "optuna_dashboard", "plotly", "torch", "sqlalchemy"}
    assert not heavy & set(done.stdout.split())


HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=alert(1)> [x](javascript:alert(1)) ![x](http://h/p) <http://h> "
    "`code` | cell\n\n    block\n# head \x1b[31m $\\frac$"
)


def test_hostile_texts_of_a_study_are_words_in_notes_and_picture(empty_study, spec):
    add(empty_study, 0.8, 0.85, recipe=HOSTILE, reason=HOSTILE)
    add(empty_study, state=TrialState.FAIL, reason=HOSTILE, retry_of=HOSTILE)
    notes = [note_of(empty_study, spec, n) for n in (0, 1)]
    notes.append(study_note(empty_study, spec, options=f"--study 'x\n\n{HOSTILE}.toml'"))
    for note in notes[:2]:
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in note
        assert r"\[x\](javascript:alert(1)) !\[x\](http://h/p)" in note
        assert not re.search(r"<|(?<!\\)[`|\[]|^[ \t]|^#|\x1b", note, flags=re.MULTILINE)
    commands = [line for line in notes[2].splitlines() if line.startswith("    ")]
    assert [line.split()[2] for line in commands] == [
        "search.confirm",
        "search.export",
        "search.run",
        "search.run",
    ]
    rest = "\n".join(line for line in notes[2].splitlines() if line not in commands)
    assert not re.search(r"<|(?<!\\)[`|\[]|^[ \t]|^#|\x1b", rest, flags=re.MULTILINE)
    figure = pareto_figure(empty_study, spec).to_json()
    assert "script>" not in figure.replace("script&gt;", "")
    assert "<img" not in figure


@pytest.mark.parametrize("name", ["http://lab.example", "lab.example:80", "*", "", "a b", "lab/x"])
def test_an_allowed_host_is_a_name_alone(name, capsys):
    from search.dashboard.command import main

    assert main(["--study", "quick", "--allow-host", name]) == 2
    assert capsys.readouterr().err == (
        f"error: --allow-host must be the name of a machine, without scheme and port, got {name!r}; fix it\n"
    )

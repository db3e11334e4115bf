import copy
import json
import re
import subprocess
import sys
import time
from importlib.resources import files
from io import StringIO
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from optuna.trial import TrialState
from rich.console import Console
from toys import CONFIRMATION, add, as_written_by_0_1_0, fill, make_spec, make_study

from search.analysis.flatness import note_flat
from search.report.command import command_options, main, write_report
from search.report.html import render
from search.report.pareto_png import write_pareto_picture
from search.report.summary import summarise
from search.report.terminal import print_report
from search.storage.lease import Lease
from search.study.opening import open_study
from search.study.results import count
from search.study.spec import load_spec
from search.study.wording import describe_counts, duration, percent, rate
from trainers.errors import CONTROL, InputError


@pytest.fixture
def study():
    study = make_study()
    study.set_user_attr("wall_seconds", 2472.0)
    study.set_user_attr("cache_bytes", 3 * 2**20)
    add(study, 0.80, 0.78, recipe="frozen-head", reason="epochs")
    add(study, 0.91, 0.86)
    add(study, 0.9312, 0.8733, reason="ceiling")
    add(
        study,
        0.90,
        0.70,
        state=TrialState.PRUNED,
        reason="rung 0.5 epochs: score 0.700 ranks 5 of 5 feasible, 3 go on",
    )
    add(study, state=TrialState.FAIL, reason="diverged: loss is nan at step 12")
    add(study, state=TrialState.FAIL, reason="out of memory")
    add(study, 0.85, 0.84, retry_of=5)
    add(study, state=TrialState.RUNNING)
    return study


def text_of(study, spec=None, *, width=80, terminal=False, options=None):
    output = StringIO()
    console = Console(
        file=output, width=width, force_terminal=terminal, color_system="standard" if terminal else None
    )
    print_report(study, spec or make_spec(), console, options=options)
    return output.getvalue()


def flat(text):
    return " ".join(text.split())


def test_met_goal_names_trial_and_figures(study):
    expected = (
        "validation accuracy >= 85 %, training < 92 %: met in the search by trial 1: validation 86.00 %, "
        "training 91.00 %; not yet confirmed on fresh seeds."
    )
    assert expected in flat(text_of(study))


def test_what_a_reader_sees_names_the_metric(study):
    spec = make_spec(score={"metric": "macro_f1"})
    text = text_of(study, spec)
    assert "validation macro-F1 >= 85 %, training < 92 %: met in the search by trial 1" in flat(text)
    assert "Pareto-best trials by macro-F1: validation up, training down" in text
    assert "Known recipes: accuracy reported elsewhere, macro-F1 measured here" in text
    assert summarise(study, spec).metric == "macro_f1"


def test_table_tells_where_the_time_went():
    study = make_study()
    for name, value in {
        "wall_seconds": 50.0,
        "peak_flops": 1e11,
        "workers": 2,
        "preparation_seconds": 10.0,
    }.items():
        study.set_user_attr(name, value)
    study.set_user_attr("num_layers", 6)
    spent = {"training_seconds": 45.0, "evaluation_seconds": 24.0, "batching_seconds": 1.0}
    add(study, 0.91, 0.86, seconds=70.0, flops=3e12, **spent)
    text = text_of(study)
    lines = text.partition("Where the time of 2 workers went")[2].splitlines()
    shares = [line.split() for line in lines if line.startswith(("training", "evaluation", "preparation"))]
    assert shares == [
        ["training", "45", "45.00"],
        ["evaluation", "24", "24.00"],
        ["preparation", "20", "20.00"],
    ]
    expected = (
        "Of the 100 GFLOP/s that a product of matrices reached here, fits with trainable layers used 85.71 %,"
    )
    assert f"{expected} the whole search 60.00 %." in flat(text)


def test_unmet_goal_names_the_nearest_and_the_best_feasible_trial(study):
    text = flat(text_of(study, make_spec(goal={"validation_accuracy": 0.9})))
    assert (
        "not met; nearest is trial 2: validation 87.33 %, training 93.12 % (2.67 points short and 1.12 points "
        "over the ceiling); best under the ceiling is trial 1: validation 86.00 %, training 91.00 %." in text
    )


def test_training_accuracy_equal_to_the_ceiling_does_not_meet_the_goal():
    study = make_study()
    add(study, 0.92, 0.88)
    summary = summarise(study, make_spec())
    assert summary.best.number == 0
    assert summary.goal.met is False


def test_without_a_feasible_trial_the_nearest_is_shown_with_advice():
    study = make_study()
    add(study, 0.97, 0.88)
    add(study, 0.931, 0.86)
    text = flat(text_of(study))
    assert (
        "No trial stayed under the ceiling. Nearest is trial 1: validation 86.00 %, training 93.10 % "
        "(1.10 points over the ceiling)." in text
    )
    assert "raise dropout, freeze more layers, lower the learning rate or the patience" in text
    assert "Trial 1 had dropout 0.312, freeze depth 4, learning rate 4.1e-5." in text
    assert "search.export" not in text


def test_a_study_without_a_complete_trial_says_so():
    text = flat(text_of(make_study()))
    assert "No trial has completed yet." in text
    assert "Pareto-best" not in text


def test_counts_leave_out_a_repeated_failure(study):
    counts = count(study.trials)
    assert (counts.finished, counts.failed, counts.repeated) == (6, 1, 1)


def test_counts_group_reasons(study):
    assert describe_counts(count(study.trials)) == (
        "4 complete (3 under the ceiling), 1 pruned (1 at rung 0.5), 1 failed (1 diverged), 1 running, "
        "1 failed and repeated"
    )


@pytest.mark.parametrize("width", [80, 120])
def test_pareto_rows_hold_every_figure(study, width):
    lines = [" ".join(line.split()) for line in text_of(study, width=width).splitlines()]
    assert "2 87.33 93.12 +5.79 no 4 0.312 128 4.1e-5 3 2.5 64" in lines
    assert "1 86.00 91.00 +5.00 yes 4 0.312 128 4.1e-5 3 2.5 64" in lines


@pytest.mark.parametrize("width", [40, 80, 120])
def test_nothing_is_cut_or_escaped_off_the_terminal(study, width):
    text = text_of(study, width=width)
    assert "\x1b" not in text
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_width(study, width):
    text = text_of(study, width=width)
    assert max(len(line) for line in text.split("Next:")[0].splitlines()) <= width


def test_infeasible_rows_are_dim_on_a_terminal(study):
    line = next(
        line for line in text_of(study, terminal=True).splitlines() if "93.12" in line and "%" not in line
    )
    assert "\x1b[2m" in line


def test_recipes_show_reported_beside_measured(study):
    lines = [" ".join(line.split()) for line in text_of(study, width=120).splitlines()]
    assert "frozen-head 90.00 87.00 80.00 78.00 2.5 64 trial 0" in lines
    assert "overfit 98.00 70.00 - - - - not run" in lines
    assert "thaw-top - - - - - - not run" in lines


def test_a_recipe_cut_short_says_so():
    study = make_study()
    add(study, 0.7, 0.6, recipe="frozen-head", config={"epochs": 3, "dropout": 0.3, "learning_rate": 1e-5})
    assert "trial 0, cut at 3 epochs" in flat(text_of(study, width=120))


def test_a_recipe_in_two_stages_says_what_each_restored():
    study = make_study()
    config = {"freeze_depth": 6, "epochs": 20, "dropout": 0.3, "learning_rate": 1e-5}
    thaw = {"freeze_depth": 4, "learning_rate": 1e-6, "epochs": 2}
    stages = [
        {"freeze_depth": 6, "validation_accuracy": 0.647, "training_accuracy": 0.65, "epochs": 20.0},
        {"freeze_depth": 4, "validation_accuracy": 0.749, "training_accuracy": 0.76, "epochs": 2.0},
    ]
    add(study, 0.76, 0.749, recipe="thaw-top", config=config | {"thaw": thaw}, stages=stages)
    said = "trial 0, cut at 2 epochs, validation by stage 64.70 % -> 74.90 %"
    assert said in flat(text_of(study, width=160))
    entry = next(e for e in summarise(study, make_spec()).recipes if e.recipe == "thaw-top")
    assert (entry.capped_at, [stage.plain() for stage in entry.stages]) == (2, stages)


def test_a_recipe_shows_what_ran_and_not_what_was_suggested():
    study = make_study()
    add(study, 0.7, 0.6, recipe="thaw-top", config={"freeze_depth": 5, "dropout": 0.3, "learning_rate": 1e-6})
    settings = summarise(study, make_spec()).trials[0].settings
    assert (settings["freeze_depth"], settings["learning_rate"], settings["patience"]) == (5, 1e-6, None)


def test_a_waiting_recipe_says_so():
    study = make_study()
    add(study, state=TrialState.WAITING, recipe="thaw-top")
    assert "trial 0 waiting" in flat(text_of(study))


def test_next_commands_carry_the_options(study):
    assert text_of(study, options="--study a.toml").partition("Next:\n")[2].splitlines() == [
        "  look at it      python -m search.dashboard --study a.toml",
        "  confirm it      python -m search.confirm --study a.toml",
        "  keep the winner python -m search.export --study a.toml",
        "  search on       python -m search.run --study a.toml --trials 25",
        "  add probe       python -m search.run --study a.toml --trials 25 --recipes all",
    ]


def test_cost_is_shown(study):
    assert "Wall time 41 min 12 s, feature cache 3 MiB." in text_of(study)


def test_unrecorded_cost_is_said():
    assert "Wall time not recorded, feature cache not recorded." in text_of(make_study())


def test_options_name_the_storage_that_was_given():
    options = command_options("imdb", "postgresql://me@host/db?a=1&b=2")
    assert options == "--study imdb --storage 'postgresql://me@host/db?a=1&b=2'"


def test_options_leave_out_a_storage_that_the_environment_gives():
    assert command_options("imdb", None) == "--study imdb"


def test_report_json_holds_the_summary(study, tmp_path):
    write_report(summarise(study, make_spec()), tmp_path / "new" / "report.json")
    report = json.loads((tmp_path / "new" / "report.json").read_text())
    assert report == summarise(study, make_spec()).plain()
    assert report["seed"] == 3
    assert report["best"]["config"]["head_width"] == 128
    assert [row["number"] for row in report["trials"]] == list(range(8))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.json"]


def test_an_unwritable_report_states_rule_value_and_remedy(study, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as caught:
        write_report(summarise(study, make_spec()), tmp_path / "file" / "report.json")
    assert str(caught.value) == (
        f"{tmp_path}/file/report.json must be writable, got: File exists; free space or change the "
        f"permissions of {tmp_path}/file"
    )


@pytest.mark.parametrize("filled", [True, False])
def test_picture_is_a_png(study, filled, tmp_path):
    summary = summarise(study if filled else make_study(), make_spec())
    write_pareto_picture(summary, tmp_path / "pareto.png")
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "not recorded"), (59.7, "1 min 0 s"), (9, "9 s"), (7260, "2 h 1 min")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_percent_keeps_what_parts_it_from_the_ceiling():
    assert percent(0.9197) == "91.97 %"


def test_rate_is_short():
    assert rate(4.12e-5) == "4.1e-5"


TOML = """
[data]
source = "imdb"
validation = 100
test = 100

[fit]
freeze_depth = 4
dropout = 0.3
head_width = 64
learning_rate = 1e-4
patience = 2
"""


def test_the_command_prints_a_study_and_renews_its_files(study, tmp_path, capsys):
    path = tmp_path / "toy.toml"
    path.write_text(TOML)
    stored = open_study(load_spec(path), path, create=True)
    for trial in study.trials:
        stored.add_trial(trial)
    assert main(["--study", str(path)]) == 0
    output = capsys.readouterr().out
    assert "met in the search by trial 1: validation 86.00 %" in flat(output)
    assert f"python -m search.dashboard --study {path}" in output
    assert output.endswith(f"\nThe whole report: {tmp_path}/toy/report.html\n")
    assert {"report.json", "report.html", "pareto.png"} < {file.name for file in (tmp_path / "toy").iterdir()}


def test_the_command_says_that_a_study_has_no_trials(tmp_path, capsys):
    path = tmp_path / "toy.toml"
    path.write_text(TOML)
    assert main(["--study", str(path)]) == 2
    assert capsys.readouterr().err.startswith("error: study 'toy' has no trials yet (")


def test_importing_the_report_loads_nothing_heavy():
    code = "import sys, search.report, search.trials.progress; print([m for m in ('optuna', 'torch', 'matplotlib') if m in sys.modules])"
    root = Path(__file__).parents[3]
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "[]\n"


HOSTILE = "\x1b[2J\x1b]0;title\x07 [bold red]x[/] $\\frac \u202e\nsecond line"


def test_a_terminal_finds_nothing_to_obey_in_a_studys_texts(tmp_path):
    study = make_study()
    add(study, recipe="frozen-head", reason=HOSTILE, state=TrialState.FAIL)
    add(study, 0.90, 0.70, reason=HOSTILE, state=TrialState.PRUNED)
    add(study, 0.90, 0.70, recipe="$\\frac{\x1b")
    text = text_of(study, width=400, options=f"--study '{HOSTILE}.toml'")
    assert "\\x1b[2J\\x1b]0;title\\x07 [bold red]x[/] $\\frac \\u202e second line" in text
    assert CONTROL.search(text.replace("\n", "")) is None
    write_pareto_picture(summarise(study, make_spec()), tmp_path / "pareto.png")
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")


SCHEMA = json.loads(files("search.report").joinpath("report.schema.json").read_text())


def with_trial(study, **attrs):
    add(study, **attrs)
    return study


def flat_study():
    study = make_study()
    for place in range(10):
        add(study, 0.9, 0.8 + 0.001 * place)
    note_flat(study, num_trials=50, noticeable=0.05)
    return study


def test_a_report_says_that_the_search_ended_because_it_was_flat():
    said = (
        "The search ended after 10 of 50 trials: as simulated searches of other texts went, the 40 left would"
    )
    assert said in flat(text_of(flat_study()))
    assert said not in flat(text_of(fill(make_study())))


@pytest.mark.parametrize(
    "study",
    [
        make_study(),
        fill(make_study()),
        with_trial(make_study(), state=TrialState.RUNNING),
        with_trial(fill(make_study()), state=TrialState.WAITING),
        flat_study(),
    ],
    ids=["empty", "finished", "running", "waiting", "flat"],
)
@pytest.mark.parametrize(
    "confirmation",
    [None, CONFIRMATION, as_written_by_0_1_0(CONFIRMATION)],
    ids=["unconfirmed", "confirmed", "confirmed by 0.1.0"],
)
def test_a_summary_is_as_its_schema_says(study, confirmation):
    study = copy.deepcopy(study)
    study._storage.set_study_system_attr(study._study_id, "frostline:confirmation", confirmation)
    summary = json.loads(json.dumps(summarise(study, make_spec()).plain()), parse_constant=pytest.fail)
    Draft202012Validator(SCHEMA).validate(summary)
    assert (summary["confirmation"] is None) == (confirmation is None)


def test_the_summary_of_a_search_is_as_its_schema_says(finished_study):
    path, _ = finished_study
    report = json.loads((path.parent / "tiny" / "report.json").read_text())
    Draft202012Validator(SCHEMA).validate(report)
    assert report["checkpoints"]
    assert report["data"]["findings"] is not None


def test_the_schema_describes_every_key():
    Draft202012Validator.check_schema(SCHEMA)
    undescribed = []

    def walk(node, path):
        for name, child in (node.get("properties") or {}).items():
            known = SCHEMA["$defs"][child["$ref"].rpartition("/")[2]] if "$ref" in child else {}
            if "description" not in child | known:
                undescribed.append(f"{path}.{name}")
        for name, child in node.items():
            if isinstance(child, dict):
                walk(child, f"{path}.{name}")

    walk(SCHEMA, "")
    assert undescribed == []


def test_confirmation_is_handed_on():
    study = make_study()
    study._storage.set_study_system_attr(study._study_id, "frostline:confirmation", CONFIRMATION)
    assert summarise(study, make_spec()).confirmation.plain() == CONFIRMATION | {"words": None}


def test_the_outlook_is_printed(study):
    expected = "Whether more trials would still pay cannot be told before 20 have finished; 6 have."
    assert expected in flat(text_of(study))


def test_following_needs_a_whole_second(capsys):
    assert main(["--follow", "0"]) == 2
    expected = "error: --follow must be at least 1 second, got 0; raise it or leave it out\n"
    assert capsys.readouterr().err == expected


@pytest.fixture
def stored(tmp_path):
    """The TOML file of a filled study, and the study in its database."""
    path = tmp_path / "toy.toml"
    path.write_text(TOML)
    return path, fill(open_study(load_spec(path), path, create=True))


def refreshes(folder):
    return re.findall(r'http-equiv="refresh" content="(\d+)"', (folder / "report.html").read_text())


def test_following_ends_with_the_search_and_leaves_a_page_that_stays(stored, capsys, monkeypatch):
    path, study = stored
    seen = []
    with Lease(study) as lease:

        def sleep(seconds):
            seen.append((seconds, refreshes(path.parent / "toy")))
            if len(seen) == 2:
                lease.__exit__()

        monkeypatch.setattr(time, "sleep", sleep)
        assert main(["--study", str(path), "--follow", "7"]) == 0
    assert seen == [(7, ["7"]), (7, ["7"])]
    assert refreshes(path.parent / "toy") == []
    renewed = f"{path.parent}/toy/report.html renewed; again in 7 s (Ctrl-C ends it)\n"
    assert capsys.readouterr().out.startswith(2 * renewed + "\nStudy toy")


def test_following_a_study_that_nobody_searches_writes_once(stored, capsys):
    path, _ = stored
    assert main(["--study", str(path), "--follow", "7"]) == 0
    assert "renewed" not in capsys.readouterr().out


def test_ctrl_c_ends_following_and_leaves_a_page_that_stays(stored, capsys, monkeypatch):
    path, study = stored

    def interrupt(_):
        raise KeyboardInterrupt

    with Lease(study):
        monkeypatch.setattr(time, "sleep", interrupt)
        assert main(["--study", str(path), "--follow", "7"]) == 0
    assert refreshes(path.parent / "toy") == []
    assert "Stopped.\n\nStudy toy" in capsys.readouterr().out


def test_a_recipe_at_chance_says_how_little_its_steps_can_do():
    study = fill(make_study())
    config = {"freeze_depth": 6, "epochs": 20, "dropout": 0.3, "learning_rate": 1e-5, "batch_size": 32}
    add(study, 0.61, 0.60, recipe="thaw-top", config=config, epochs=20)
    add(study, 0.90, 0.89, recipe="overfit", config=config, epochs=5)
    said = {e.recipe: e.at_chance for e in summarise(study, make_spec()).recipes}
    assert said["thaw-top"] == (
        "at chance: 140 steps at a rate of 1.0e-5 move a weight by some 0.0014, which is little"
    )
    assert said["overfit"] is None
    assert said["probe"] is None
    assert "at chance: 140 steps" in flat(text_of(study, width=200))


def fitted_on(*places):
    study = make_study()
    for node, device, processor, reason in places:
        state = TrialState.FAIL if reason == "node lost" else TrialState.COMPLETE
        figures = () if reason == "node lost" else (0.9, 0.8)
        place = {"node": node, "device": device, "processor": processor}
        add(study, *figures, state=state, reason=reason, ending=reason, place=place)
    return study


def test_nodes_of_a_cluster_are_listed_with_what_they_fitted():
    study = fitted_on(
        ("beta", "GPU 9", "CPU 7", "patience"),
        ("alpha", "cpu", "CPU 7", "patience"),
        ("beta", "GPU 9", "CPU 7", "node lost"),
        ("beta", "GPU 9", "CPU 7", "patience"),
    )
    study.set_user_attr(
        "node_seconds", {"beta": {"fitting": 150.0, "waiting": 50.0}, "gone": {"fitting": 0, "waiting": 0}}
    )
    rows = summarise(study, make_spec()).plain()["nodes"]
    assert [r["waiting"] for r in rows] == [None, 0.25]
    assert [(r["node"], r["trials"], r["lost"], round(r["seconds"])) for r in rows] == [
        ("alpha", 1, 0, 64),
        ("beta", 3, 1, 129),
    ]
    words = " ".join(text_of(study).split())
    assert "alpha 1 0 64 - CPU 7 beta 3 1 129 25.00 GPU 9" in words
    assert "Fits ran on 2 kinds of processors, which may differ in last bits" in words
    assert "GPU 9" in render(summarise(study, make_spec()), options="--study toy")


def test_equal_nodes_do_not_differ_in_last_bits():
    study = fitted_on(("alpha", "cpu", "CPU 7", "patience"), ("beta", "cpu", "CPU 7", "patience"))
    assert "kinds of processors" not in text_of(study)


def test_a_report_without_a_cluster_has_no_nodes(study):
    assert "nodes" not in summarise(study, make_spec()).plain()
    assert "Nodes that fitted" not in text_of(study)

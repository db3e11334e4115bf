import asyncio
import json
import signal
import subprocess
import sys
import threading
from functools import partial

import pandas as pd
import pytest
from rich.console import Console

import search
import search.analysis
import search.new
import search.new.ceiling
import search.study.attributes
from search.description import described
from search.study import load_spec
from search.trials.tracking import mirror, models, targets
from search.trials.tracking.courier import Courier
from trainers.errors import InputError

pytestmark = pytest.mark.usefixtures("plain_report", "measured_head")

SPACE = {
    "freeze_depth": 3,
    "dropout": [0.0, 0.1],
    "head_width": [8, 16],
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "patience": [1, 2],
}


@pytest.fixture(scope="module")
def frame(named_reviews):
    return pd.DataFrame(named_reviews[:200], columns=["the text", "verdict"])


@pytest.fixture(scope="module")
def ask(tiny_encoder_dir, frame):
    """A function: search the frame for a few trials, with changes."""

    def ask(folder, data=frame, **changes):
        settings = {
            "text": "the text",
            "label": "verdict",
            "encoder": str(tiny_encoder_dir),
            "folder": folder,
            "trials": 2,
            "workers": 1,
            "space": SPACE,
            "fit": {"epochs": 1},
            "score": {"ceiling": 1.0},
            "data_options": {"max_length": 16},
            "recipes": {"enqueue": []},
            "console": Console(quiet=True),
        }
        return search.run_study(data, **settings | changes)

    return ask


@pytest.fixture(scope="module")
def searched(ask, tmp_path_factory):
    """A result. Read only."""
    return ask(tmp_path_factory.mktemp("studies"), name="mine")


def mistake(ask, folder, *data, **changes):
    with pytest.raises(InputError) as caught:
        ask(folder, *data, **changes)
    return str(caught.value)


def test_a_search_of_a_frame_has_the_trials_asked_for(searched):
    assert searched.trials["state"].tolist() == ["complete", "complete"]
    assert len(searched.study.trials) == 2
    assert not searched.interrupted
    assert searched.best["number"] in searched.pareto["number"].tolist()


def test_a_study_in_memory_is_a_study_of_the_commands(searched):
    spec = load_spec(searched.folder.parent / "mine.toml")
    assert spec.data.text == "the text"
    assert spec == searched._found.spec
    assert searched.report().read_text().startswith("<!")


def test_the_same_call_continues_to_the_total(ask, tmp_path):
    first = ask(tmp_path, trials=1)
    again = ask(tmp_path, trials=2)
    assert again.name == first.name
    assert [t.number for t in again.study.trials] == [0, 1]


def test_other_settings_without_a_name_are_another_study(ask, tmp_path):
    first = ask(tmp_path, trials=1)
    assert ask(tmp_path, trials=1, fit={"epochs": 1, "weight_decay": 0.02}).name != first.name


@pytest.fixture
def describe(tmp_path):
    """A function: the study that rows and a few arguments describe."""

    def describe(rows, *, data_options=None, **columns):
        options = dict.fromkeys(("text", "label", "space", "score", "goal", "recipes", "name", "encoder"))
        fit = {"epochs": 3, "freeze_depth": 6}
        return described(
            pd.DataFrame(rows), tmp_path, **options | columns, fit=fit, data_options=data_options
        )

    return describe


def test_a_study_is_named_as_it_was_before_anything_was_chosen(describe):
    rows = {"text": [f"text {n}" for n in range(30)], "stars": [n % 2 for n in range(30)]}
    assert describe(rows, text="text", label="stars").path.stem == "texts-fc046f87"


PAIRS = {
    "premise": [f"text {n}" for n in range(30)],
    "hypothesis": [f"word {n}" for n in range(30)],
    "label": ["yes", "no"] * 15,
}
TRUTHS = {
    "text": [f"text {n}" for n in range(30)],
    "late": [n % 2 for n in range(30)],
    "wet": [n % 3 == 0 for n in range(30)],
}
TAGS = {"text": [f"text {n}" for n in range(60)], "tags": ["a;b", "a", "b;c", "a;c", "b", "c"] * 10}


@pytest.mark.parametrize(
    ("rows", "columns", "found"),
    [
        (PAIRS, {}, {"text": ["premise", "hypothesis"]}),
        (TRUTHS, {}, {"label": ["late", "wet"]}),
        (TAGS, {}, {"label": "tags", "label_separator": ";"}),
        (TAGS, {"label": "tags"}, {"label": "tags", "label_separator": ";"}),
    ],
    ids=["pairs", "columns of 0 and 1", "a column of several", "a column that is named"],
)
def test_what_columns_hold_is_noticed_and_told_as_by_the_command(describe, rows, columns, found):
    asked = describe(rows, **columns)
    assert {k: asked.table["data"].get(k) for k in found} == found
    assert asked.named["data"] == {**columns, **found}
    assert [message for message in asked.messages if "read as" in message or "may have several" in message]
    assert asked.path == describe(rows, **columns).path  # the same call continues


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (PAIRS, {"text": "premise", "label": "label"}),
        (TRUTHS, {"label": "late"}),
        (TAGS, {"label": "tags", "data_options": {"label_separator": None}}),
    ],
)
def test_what_is_named_is_left_as_it_is(describe, rows, options):
    asked = describe(rows, **options)
    assert {k: asked.table["data"].get(k) for k in ("text", "label")} == {
        "text": options.get("text"),
        "label": options["label"],
    }
    assert "label_separator" not in asked.table["data"]
    assert asked.messages == ()


def test_columns_may_be_named_by_any_list(describe):
    frame = pd.DataFrame(TRUTHS)
    for label in (["late", "wet"], ("late", "wet"), frame.columns[1:], {"wet", "late"}):
        assert describe(TRUTHS, text="text", label=label).table["data"]["label"] == ["late", "wet"]
    assert describe(PAIRS, text=("premise", "hypothesis")).table["data"]["text"] == ["premise", "hypothesis"]


@pytest.fixture
def head(monkeypatch):
    """A function: a head on the untouched encoder reaches so much in training, and the words alone little."""
    aim = search.analysis.Aim(baseline=0.7, goal=0.85, ceiling=0.92)
    monkeypatch.setattr(search.analysis, "choose_aim", lambda *_, **__: aim)
    return lambda reached: monkeypatch.setattr(search.new.ceiling, "measure_head", lambda *_: reached)


def test_a_ceiling_that_nobody_named_is_chosen_by_the_texts_and_kept(ask, tmp_path, head):
    head(0.96)
    first = ask(tmp_path, trials=1, score=None)
    assert first._found.spec.score.ceiling == 0.98
    assert load_spec(tmp_path / f"{first.name}.toml").score.ceiling == 0.98
    head(0.2)
    again = ask(tmp_path, trials=2, score=None)
    assert (again.name, again._found.spec.score.ceiling) == (first.name, 0.98)
    assert len(again.study.trials) == 2


def test_a_study_without_choices_goes_on_with_the_defaults_that_it_was_begun_with(
    ask, tmp_path, head, monkeypatch
):
    head(0.96)
    with monkeypatch.context() as earlier:
        earlier.setattr(search.new, "choose_settings", lambda *_, **__: {})
        earlier.setattr(search.study.attributes, "CHOSEN", "unknown")
        begun = ask(tmp_path, trials=1, score=None)
    before = (tmp_path / f"{begun.name}.toml").read_bytes()
    again = ask(tmp_path, trials=2, score=None)
    assert again._found.spec == begun._found.spec
    assert again._found.spec.score.ceiling == 0.92
    assert [t.number for t in again.study.trials] == [0, 1]
    assert (tmp_path / f"{begun.name}.toml").read_bytes() == before


def test_a_ceiling_that_is_named_later_is_refused(ask, tmp_path, head):
    head(0.96)
    ask(tmp_path, trials=1, score=None, name="mine")
    said = mistake(ask, tmp_path, trials=2, name="mine", score={"ceiling": 0.9})
    assert "study 'mine' was begun with score.ceiling = 0.98, now it is 0.9" in said


def test_a_changed_frame_of_the_same_name_is_refused(ask, searched, frame):
    folder = searched.folder.parent
    before = (folder / "mine.toml").read_bytes()
    said = mistake(ask, folder, frame.iloc[1:], name="mine")
    assert said.startswith("study 'mine' was begun with texts of SHA-256 ")
    assert said.endswith("the data have changed; restore them, or give another name")
    assert (folder / "mine.toml").read_bytes() == before


def test_changed_settings_of_the_same_name_are_refused_and_the_file_stays(ask, searched):
    folder = searched.folder.parent
    before = (folder / "mine.toml").read_bytes()
    said = mistake(ask, folder, name="mine", fit={"epochs": 2})
    assert "study 'mine' was begun with fit.epochs = 1, now it is 2" in said
    assert (folder / "mine.toml").read_bytes() == before


def test_a_file_of_the_users_is_not_written_over(ask, tmp_path):
    (tmp_path / "mine.toml").write_text("# precious\n")
    assert "was not written by run_study" in mistake(ask, tmp_path, name="mine")
    assert (tmp_path / "mine.toml").read_text() == "# precious\n"


def test_a_study_of_a_file_is_searched_and_takes_no_settings(searched):
    path = searched.folder.parent / "mine.toml"
    again = search.run_study(study=path, trials=2, console=Console(quiet=True))
    assert len(again.study.trials) == 2
    with pytest.raises(InputError, match=r"a study has its own settings, got text beside it"):
        search.run_study(study=path, text="review")


def test_neither_data_nor_study_is_refused():
    with pytest.raises(InputError, match=r"takes data or study, got neither; give one of them"):
        search.run_study()


def test_numbers_are_checked_in_the_words_of_the_command(ask, tmp_path):
    assert mistake(ask, tmp_path, trials=0) == "trials must be at least 1, got 0; raise it"
    assert mistake(ask, tmp_path, minutes=0) == "minutes must be above 0, got 0; raise it or leave it out"
    assert not list(tmp_path.iterdir())


def test_mistakes_in_settings_are_told_at_once(ask, tmp_path):
    said = mistake(ask, tmp_path, fit={"epochs": 1, "droput": 1}, score={"celing": 1})
    assert "did you mean 'dropout'" in said
    assert "did you mean 'ceiling'" in said


def test_a_setting_in_space_and_fit_is_refused(ask, tmp_path):
    said = mistake(ask, tmp_path, fit={"dropout": 0.1})
    assert said == "space and fit must have different settings, got 'dropout' in both; leave one out"


def test_it_runs_in_a_thread(ask, tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(ask(tmp_path, trials=1)))
    thread.start()
    thread.join()
    assert len(found[0].study.trials) == 1


def test_it_runs_inside_an_event_loop(ask, tmp_path):
    async def cell():
        return ask(tmp_path, trials=1)

    assert len(asyncio.run(cell()).study.trials) == 1


def test_the_stop_button_ends_a_search_inside_an_event_loop(ask, tmp_path, monkeypatch):
    from search.trials import Live

    ended = Live.trial_ended

    def press(*arguments):
        ended(*arguments)
        signal.raise_signal(signal.SIGINT)

    async def cell():
        return ask(tmp_path, trials=3)

    monkeypatch.setattr(Live, "trial_ended", press)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job has not
    try:
        result = asyncio.run(cell())
    finally:
        signal.signal(signal.SIGINT, before)
    assert [t.state.is_finished() for t in result.study.trials] == [True]
    assert result.interrupted


def test_an_interrupt_ends_the_search_in_order_and_returns_what_there_is(ask, tmp_path, monkeypatch):
    from search.trials import Live

    ended = Live.trial_ended

    def interrupt(*arguments):
        ended(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Live, "trial_ended", interrupt)
        result = ask(tmp_path, trials=3)
    assert [t.state.is_finished() for t in result.study.trials] == [True]
    assert result.interrupted
    assert len(ask(tmp_path, trials=3).study.trials) == 3


def test_a_model_predicts_the_labels(searched):
    assert {p.label for p in searched.model().predict(["a good film", "a bad film"])} <= {"good", "bad"}


def test_an_export_is_written_where_it_is_asked_for(searched, tmp_path):
    assert searched.export(tmp_path / "out") == tmp_path / "out"
    assert (tmp_path / "out" / "winner.toml").is_file()
    assert (tmp_path / "out" / "model" / "config.json").is_file()


@pytest.mark.filterwarnings("ignore:Use 'content=.*:DeprecationWarning")  # the hub's client's own habit
def test_an_export_goes_to_a_hub_and_to_a_tracker_as_the_command_sends_it(
    hub, searched, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(models, "Courier", partial(Courier, module="pretended_tracker"))
    monkeypatch.setattr(targets, "version", lambda _: "1")
    folder = searched.export(tmp_path / "out", push="alice/mine", track="mlflow")
    said = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("waiting for")]
    assert said == ["mlflow: look there", f"sent {folder / 'model'} to {hub.address}/alice/mine"]
    assert {*hub.files["alice/mine"]} - {".gitattributes"} == {p.name for p in (folder / "model").iterdir()}
    calls = [json.loads(line) for line in (searched.folder / "calls.jsonl").read_text().splitlines()]
    assert calls[-1] == ["exported", searched.best["number"], str(folder / "model")]


def test_what_an_export_cannot_be_is_told_before_it_is_fitted(searched, tmp_path):
    for options, error in (
        ({"int8": True}, "int8 needs onnx, of which it is made; give both"),
        ({"push": "mine"}, "--push must be OWNER/NAME"),
        ({"track": ["mlfow"]}, "--track must be mlflow, tensorboard, trackio, wandb, got 'mlfow'"),
        ({"trial": 99}, "--trial must be the number of a complete or pruned trial, got 99"),
    ):
        with pytest.raises(InputError) as caught:
            searched.export(tmp_path / "out", **options)
        assert error in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_tracker_sees_the_trials_of_a_search_from_python(ask, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "Courier", partial(Courier, module="pretended_tracker"))
    monkeypatch.setattr(targets, "version", lambda _: "1")
    result = ask(tmp_path, trials=1, track="mlflow")
    calls = [json.loads(line) for line in (result.folder / "calls.jsonl").read_text().splitlines()]
    assert [call for call in calls if call[0] != "evaluated"] == [["began", 0], ["ended", 0, "complete"]]


def test_a_result_says_its_headline(searched):
    assert repr(searched).startswith("Result('mine': 2 complete (2 under the ceiling)")


def test_a_notebook_gets_a_page_of_limited_size_with_nothing_of_the_users_that_runs(searched, monkeypatch):
    summary = searched._summary()
    row = summary.pareto[0].model_copy(update={"recipe": "<script>alert(1)</script>"})
    hostile = summary.model_copy(update={"study": "<script>alert(2)</script>", "pareto": [row]})
    monkeypatch.setattr(searched, "_summary", lambda: hostile)
    page = searched._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "data:image/png;base64," in page
    assert "prefers-color-scheme:dark" in page
    assert (
        "<th>freeze depth</th>" in page
    )  # words that may take two lines: else a notebook is too narrow for the settings
    assert len(page.encode()) < 200_000


def test_importing_search_imports_nothing_heavy():
    code = "import sys, search; print(sorted({'torch', 'optuna', 'pandas', 'rich', 'pydantic'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


SCRIPT = """
print("the script runs", flush=True)
import pandas, search
frame = pandas.read_json({frame!r})
result = search.run_study(frame, text="the text", label="verdict", encoder={encoder!r}, folder={folder!r}, trials=2,
    workers=2, space={space!r}, fit={{"epochs": 1}}, recipes={{"enqueue": []}}, score={{"ceiling": 1.0}}, data_options={{"max_length": 16}})
print(len(result.study.trials), "trials")
"""


@pytest.mark.slow
def test_a_script_needs_no_guard(command, frame, tiny_encoder_dir, tmp_path):
    frame.to_json(tmp_path / "frame.json")
    script = tmp_path / "script.py"
    script.write_text(
        SCRIPT.format(
            frame=str(tmp_path / "frame.json"),
            encoder=str(tiny_encoder_dir),
            folder=str(tmp_path),
            space=SPACE,
        )
    )
    done = command(script)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("the script runs") == 1
    assert done.stdout.endswith("2 trials\n")

import csv
import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from messages import make_messages
from roads import pretend_measured

import search.new.ceiling
import search.new.cost
import search.new.few_texts
import search.new.sizes
import search.new.speed
import search.new.template
import search.trials
import search.trials.fit_memory
import trainers.encoder
import trainers.encoder.loading
from search.export import main as export
from search.new import main
from search.new.cost import Sizes
from search.new.speed import Speed
from search.new.template import first_setup
from search.run import main as run
from search.study.settings import Range
from search.study.spec import load_spec
from trainers.predict import main as predict

CSV = Path(__file__).parents[2] / "data" / "messages.csv"


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """A machine, and a head on the untouched encoder, that were."""
    pretend_measured(monkeypatch)
    monkeypatch.setattr(search.new.ceiling, "measure_head", lambda *_: 0.8)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with the messages in it, to work in."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(CSV, tmp_path)
    return tmp_path


@pytest.fixture
def write(here, tiny_encoder_dir):  # noqa: ARG001
    """A function: write a study of messages.csv, with further flags; returns exit code and study."""

    def write(*flags, source="messages.csv"):
        return main([source, "--encoder", str(tiny_encoder_dir), *flags])

    return write


def refusal(capsys, code):
    assert code == 2
    return capsys.readouterr().err.removeprefix("error: ").strip()


def test_the_messages_are_what_their_maker_makes():
    with CSV.open(newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [("message", "team"), *make_messages(400)]
    assert CSV.stat().st_size < 100_000


def test_what_is_written_is_a_study_of_the_source(write, here, tiny_encoder_dir):
    assert write() == 0
    spec = load_spec(here / "studies" / "messages.toml")
    assert spec.data.source == str(here / "messages.csv")
    assert spec.encoder.name == str(tiny_encoder_dir)
    assert spec.fit["freeze_depth"] == Range(low=0, high=3)
    assert (spec.score.metric, spec.goal.validation_accuracy, spec.score.ceiling) == ("accuracy", 0.85, 0.97)


def test_what_was_found_is_said(write, capsys):
    write()
    said = capsys.readouterr().out
    flat = " ".join(said.split())
    assert "billing 97 33 32" in flat
    assert "labels are in column 'team', found by its content" in flat
    assert "validation accuracy." in said.partition("The words alone reach ")[2]
    assert "Wrote studies/messages.toml: 320 texts in 5 folds, of up to" in said
    assert said.endswith("Next:\n  search          python -m search.run --study messages --trials 50\n")


@pytest.mark.usefixtures("plain_report")
def test_the_next_command_runs_without_an_edit(write, here, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    write("--trials", "2", "--minutes", "1")
    command = capsys.readouterr().out.split()[-4:]
    assert command == ["--study", "messages", "--trials", "2"]
    assert run([*command, "--workers", "1"]) == 0
    assert "2 trials finished" in capsys.readouterr().out


def test_one_good_guess_is_tried_first_where_all_layers_may_be_trained(write, here):
    write("--minutes", "60", "--to", "deep.toml")
    spec = load_spec(here / "deep.toml")
    (setup,) = spec.start.setups
    assert setup["freeze_depth"] == 0 == spec.depths()[0]
    assert setup["learning_rate"] == 5e-5
    assert setup["patience"] == spec.fit["patience"].high


def test_where_layers_stay_frozen_no_setup_is_guessed(write, here, monkeypatch):
    monkeypatch.setattr(search.new.template, "first_setup", lambda _: None)
    write("--to", "shallow.toml")
    assert load_spec(here / "shallow.toml").start.setups == ()
    assert first_setup(Sizes(300, 100, 32, freeze_depth=1, epochs=3, evaluations_per_epoch=1)) is None


def test_flags_reach_the_study(write, here):
    write("--metric", "macro_f1", "--text", "message", "--label", "team", "--to", "mine/other.toml")
    spec = load_spec(here / "mine" / "other.toml")
    assert spec.score.metric == "macro_f1"
    assert (spec.data.text, spec.data.label) == ("message", "team")
    assert (
        "# Written by: python -m search.new messages.csv --text message --label team --metric macro_f1"
        in (here / "mine" / "other.toml").read_text()
    )


def folds_of(path):
    """Return what a written study says of folds, after it was read as a study."""
    lines = [line for line in path.read_text().splitlines() if "folds" in line]
    return load_spec(path).data.folds, lines


def test_few_texts_have_folds_with_a_reason(write, here, capsys):
    assert write() == 0
    assert folds_of(here / "studies" / "messages.toml") == (
        5,
        [
            "# With folds each is validated on once, and a trial takes about 2.4 fits. Without this line there is one split.",
            "folds = 5",
        ],
    )
    text = (here / "studies" / "messages.toml").read_text()
    assert "# train = 320  # all there are\n# test = 80  # all there are\n" in text
    assert (
        "of 80 % right answers a validation split of a fifth of them has a standard error of 5 points."
        in text
    )
    assert "320 texts are few: they are cut into 5 folds" in " ".join(capsys.readouterr().out.split())


def test_without_the_line_of_folds_it_is_a_study_of_one_split(write, here):
    write()
    path = here / "studies" / "messages.toml"
    path.write_text(path.read_text().replace("\nfolds = 5\n", "\n"))
    assert load_spec(path).data.folds is None


def test_more_texts_have_no_folds(write, here, monkeypatch):
    monkeypatch.setattr(
        search.new.few_texts, "FEW_TEXTS", 319
    )  # of 400 messages 320 are beside the test split
    assert write() == 0
    assert folds_of(here / "studies" / "messages.toml") == (None, [])


def test_folds_are_offered_where_there_is_no_time_for_them(write, here, capsys, monkeypatch):
    monkeypatch.setattr(search.new.speed, "measure_speed", lambda *_, workers, **__: Speed(workers, 1e6, 1e6))
    assert write("--minutes", "1") == 0
    offered = "# folds = 5  # few texts: each is then validated on once, in place of 80 alone, and a trial takes 2 to 3 times as long"
    assert folds_of(here / "studies" / "messages.toml") == (None, [offered])
    said = "It is left out since with folds there is no time for 8 trials of all texts and two layers."
    assert said in " ".join(capsys.readouterr().out.split())


def test_a_source_with_splits_of_its_own_has_no_folds(write, here):
    rows = make_messages(400)
    splits = [("test", "validation", "train", "train")[i % 4] for i in range(400)]
    with (here / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("message", "team", "part"), *((*r, s) for r, s in zip(rows, splits, strict=True))]
        )
    assert write("--split", "part", "--label", "team", source="split.csv") == 0
    assert folds_of(here / "studies" / "split.toml") == (None, [])


@pytest.mark.parametrize(
    ("metric", "weights", "warned"), [("accuracy", None, True), ("macro_f1", "balanced", False)]
)
def test_uneven_classes_are_weighed_or_warned_of(write, here, capsys, metric, weights, warned):
    rows = [row for i, row in enumerate(make_messages(400)) if row[1] != "product" or i % 4 == 0]
    with (here / "uneven.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("message", "team"), *rows])
    assert write("--metric", metric, source="uneven.csv") == 0
    assert load_spec(here / "studies" / "uneven.toml").any_config().class_weights == weights
    assert ("classes are uneven, and accuracy says little" in capsys.readouterr().out) is warned


@pytest.mark.parametrize(
    ("flags", "device", "workers"), [((), "cuda", 2), (("--device", "cuda:1"), "cuda:1", 1)]
)
def test_what_is_measured_is_the_device_that_the_search_will_use(
    write, here, monkeypatch, capsys, flags, device, workers
):
    """A pretended one: the encoder stays on the processor, and is said to be on the GPU."""
    load = trainers.encoder.loading.load_encoder
    measured = []

    def measure(encoder, _splits, config, *, workers):
        measured.append((encoder.device, config.device, workers))
        return Speed(workers, 1e12, 1e12)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        trainers.encoder,
        "load_encoder",
        lambda config, device: dataclasses.replace(load(config), device=device),
    )
    monkeypatch.setattr(search.new.speed, "measure_speed", measure)
    assert write(*flags) == 0
    assert measured == [(device, device, workers)]
    said = capsys.readouterr().out
    assert f"in each of {workers} worker{'s' * (workers > 1)} on {device}, evaluation 1000." in said
    written = (here / "studies" / "messages.toml").read_text()
    if flags:
        assert "--trials 50 --device cuda:1\n" in said
        assert " --device cuda:1" in written
    else:
        assert "--device" not in said + written


def speed_of(share):
    return lambda *_, workers, **__: Speed(workers, 1e12, 1e12, share=share)


@pytest.mark.parametrize(("share", "warned"), [(0.5, True), (0.95, False)])
def test_a_busy_machine_is_told_and_makes_no_study_smaller(write, here, monkeypatch, capsys, share, warned):
    write("--to", "quiet.toml")
    quiet = (here / "quiet.toml").read_text().splitlines()
    monkeypatch.setattr(search.new.speed, "measure_speed", speed_of(share))
    capsys.readouterr()
    write("--to", "busy.toml")
    assert (here / "busy.toml").read_text().splitlines() == quiet
    said = capsys.readouterr().out
    assert ("warning: other programs are using this machine: a worker got 50% of a core." in said) is warned


def test_where_the_texts_allow_no_more_trials_that_fill_the_time_are_named(write, capsys):
    write("--minutes", "60", "--trials", "5")
    said = capsys.readouterr().out
    assert "These texts allow no more in 5 trials: all of them, all layers, 20 epochs." in said
    trials = int(said.partition("or more --trials: ")[2].split()[0])
    assert trials > 100


def test_where_the_next_larger_study_takes_too_long_the_minutes_for_it_are_named(write, monkeypatch, capsys):
    choose = search.new.sizes.choose_sizes

    def little(costs, *, seconds):
        return dataclasses.replace(choose(costs, seconds=seconds), seconds=30.0, next_seconds=1_800.0)

    monkeypatch.setattr(search.new.sizes, "choose_sizes", little)
    write("--minutes", "20")
    said = capsys.readouterr().out
    minutes = float(said.partition("more than the time that is left: --minutes ")[2].split()[0])
    assert 1_800 / 60 / 0.9 <= minutes < 40


@pytest.mark.parametrize(("head", "ceiling"), [(0.8, 0.97), (0.95, 0.98), (1.0, 1.0)])
def test_the_ceiling_is_written_as_a_head_alone_says(write, here, monkeypatch, capsys, head, ceiling):
    monkeypatch.setattr(search.new.ceiling, "measure_head", lambda *_: head)
    write()
    assert load_spec(here / "studies" / "messages.toml").score.ceiling == ceiling
    assert f"A head on the untouched encoder reaches {head:.1%} in training." in capsys.readouterr().out


@pytest.mark.parametrize(("head", "start"), [(0.5, "auto"), (0.999, "fitted")])
def test_a_head_is_fitted_first_in_every_trial_where_no_figure_lies_above_the_ceiling(
    write, here, monkeypatch, head, start
):
    monkeypatch.setattr(search.new.ceiling, "measure_head", lambda *_: head)
    write()
    spec = load_spec(here / "studies" / "messages.toml")
    assert (spec.score.ceiling == 1, spec.fit["head_start"]) == (start == "fitted", start)


def test_precision_is_written_once_it_is_chosen(write, here, monkeypatch):
    write("--to", "chosen.toml")
    assert load_spec(here / "chosen.toml").fit["precision"] == "auto"
    monkeypatch.setattr(search.new.template, "PRECISION", None)
    write("--to", "none.toml")
    assert "precision" not in load_spec(here / "none.toml").fit


def test_a_study_is_measured_in_its_own_precision(write, monkeypatch):
    measured = []

    def measure(_encoder, _splits, config, *, workers):
        measured.append(config.precision)
        return Speed(workers, 1e12, 1e12)

    monkeypatch.setattr(search.new.speed, "measure_speed", measure)
    monkeypatch.setattr(search.new.cost, "PRECISION", "bfloat16")
    write()
    assert measured == ["bfloat16"]


def test_a_study_that_is_there_is_not_overwritten(write, capsys):
    write()
    before = Path("studies/messages.toml").read_bytes()
    capsys.readouterr()
    assert refusal(capsys, write()) == (
        "studies/messages.toml is there already; remove it, or name another file with --to studies/NAME.toml"
    )
    assert Path("studies/messages.toml").read_bytes() == before


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["messages.csv", "--minutes", "0"], "--minutes must be above 0, got 0; raise it"),
        (["messages.csv", "--trials", "0"], "--trials must be at least 1, got 0; raise it"),
        (["messages.csv", "--to", "a.txt"], "--to must end in .toml, got 'a.txt'; rename it"),
        (
            ["messages.csv", "--to", "../A b.toml"],
            "a study's name has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or digit, got "
            "'A b'; rename it, or name a file with --to studies/NAME.toml",
        ),
    ],
)
def test_flags_that_cannot_be_used_are_named(arguments, message, capsys):
    assert refusal(capsys, main(arguments)) == message


@pytest.mark.parametrize(("name", "study"), [("My Texts (2).csv", "my-texts-2"), ("2024_Q1.csv", "2024_q1")])
def test_the_study_is_named_after_the_file(write, here, name, study):
    (here / "messages.csv").rename(here / name)
    assert write(source=name) == 0
    assert load_spec(here / "studies" / f"{study}.toml").data.source == str(here / name)


def test_nothing_is_written_if_the_texts_cannot_be_used(write, here, capsys):
    (here / "messages.csv").write_text("text,label\nonly one,a\n")
    assert "must have texts of two classes at least, got 'a' alone; add the others" in refusal(
        capsys, write()
    )
    assert not (here / "studies").exists()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "text,label\nonly one,a\n",
            "must have texts of two classes at least, got 'a' alone; add the others",
        ),
        ("text,label\na,b,c\n", "a row must have 2 fields as the header has, got 3"),
        ("text,label\n" + "".join(f"text {i} {'ab'[i % 2]},{i % 2}\n" for i in range(24)), "data.test"),
    ],
)
def test_mistakes_in_a_file_are_told_before_anything_heavy_is_imported(content, message):
    Path("wrong.csv").write_text(content)
    heavy = ("torch", "transformers", "datasets", "optuna")
    program = (
        "import sys; from search.new import main; code = main(['wrong.csv', '--encoder', 'no/such/encoder']); "
        f"sys.exit(code if not set({heavy}) & set(sys.modules) else 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.usefixtures("here")
def test_a_name_without_letters_of_a_study_asks_for_another(capsys):
    assert refusal(capsys, main(["\u8bc4\u8bba.csv"])) == (
        "a study is named after its source in a-z and 0-9, of which '\u8bc4\u8bba.csv' has none; name a file with --to "
        "studies/NAME.toml"
    )


@pytest.mark.usefixtures("plain_report")
def test_groups_go_from_a_csv_to_predictions_without_an_edit(write, here, capsys):
    shutil.copy(CSV.parent / "groups.csv", here)
    assert write("--group", "patient_id", "--trials", "1", source="groups.csv") == 0
    assert (
        "no group of column 'patient_id' stands in two splits: train 211 texts of 50"
        in capsys.readouterr().out
    )
    assert load_spec(here / "studies" / "groups.toml").data.group == "patient_id"
    assert run(["--study", "groups", "--trials", "1", "--workers", "1"]) == 0
    assert export(["--study", "groups"]) == 0
    assert predict([str(here / "studies" / "groups" / "model"), "chest and fever since Monday"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[0] in {"routine", "urgent"}
    assert "patient\\_id were kept in one split" in (here / "studies/groups/model/README.md").read_text()


def test_a_column_that_may_name_groups_stands_as_a_comment(write, here):
    shutil.copy(CSV.parent / "groups.csv", here)
    assert write(source="groups.csv") == 0
    text = (here / "studies" / "groups.toml").read_text()
    assert (
        '\n# group = "patient_id"  # would keep texts with the same value of this column in one split (80 values in 354 rows); if '
        "they belong together, figures without it are too good\n"
    ) in text
    (here / "studies" / "groups.toml").write_text(
        text.replace('# group = "patient_id"', 'group = "patient_id"')
    )
    assert load_spec(here / "studies" / "groups.toml").data.group == "patient_id"

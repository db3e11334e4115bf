import contextlib
import io
import json
import shlex
import shutil
import tomllib
from functools import partial
from pathlib import Path

import optuna
import pytest
from hub import TOKEN
from optuna.trial import TrialState

from search.export import choose, main
from search.study.opening import open_study
from search.study.results import best_feasible
from search.study.spec import load_spec
from search.trials.tracking import models, targets
from search.trials.tracking.courier import Courier
from trainers.config import load_config
from trainers.errors import InputError
from trainers.model import load
from trainers.predict import main as predict
from trainers.train import main as train

pytestmark = pytest.mark.usefixtures("plain_report")


def make_study(*trials):
    study = optuna.create_study(direction="maximize")
    for training, validation, state in trials:
        attrs = {"config": {}}
        if training is not None:
            attrs |= {"training_accuracy": training, "validation_accuracy": validation}
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=validation if state == TrialState.COMPLETE else None,
                user_attrs=attrs,
                constraints={} if training is None else {"over": training - 0.92},
            )
        )
    return study


def finalist(name, trial, *, config=None, seed=None, validation=0.8):
    test = {"accuracy": 0.75, "low": 0.7, "high": 0.8, "confidence": 0.95, "seed": seed}
    fits = [
        {
            "seed": s,
            "state": "complete",
            "reason": None,
            "validation_accuracy": validation,
            "training_accuracy": 0.9,
        }
        | {"seconds": 1.0, "best_epoch": 1.0}
        for s in (seed or 101, 102)
    ]
    return {
        "name": name,
        "trial": trial,
        "recipe": None,
        "config": config or {},
        "search": {"validation_accuracy": 0.82, "training_accuracy": 0.9},
        "fits": fits,
        "validation": {"mean": 0.8, "spread": 0.01},
        "training": {"mean": 0.9, "spread": 0.0},
        "share_under_ceiling": 1.0,
        "score": 0.8,
        "optimism": 0.02,
        "test": test if seed is not None else None,
    }


def confirm(study, winner, *finalists, after=1):
    """Leave in a study what a confirmation leaves there."""
    study._storage.set_study_system_attr(
        study._study_id,
        "frostline:confirmation",
        {"rule": "highest mean", "seeds": [101, 102], "after": after, "num_test": 20}
        | {"winner": winner, "finalists": list(finalists), "comparisons": []},
    )


def refusal(study, number=None):
    with pytest.raises(InputError) as caught:
        choose(study, number)
    return str(caught.value)


@pytest.fixture(scope="module")
def exported(finished_study, reviews_dir, tmp_path_factory):
    """Folder and output of the winner's export."""
    folder = tmp_path_factory.mktemp("exported")
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.syspath_prepend(reviews_dir)
        assert main(["--study", str(finished_study[0]), "--to", str(folder)]) == 0
    return folder, output.getvalue()


@pytest.fixture(scope="module")
def winner(finished_study):
    path, _ = finished_study
    return best_feasible(open_study(load_spec(path), path).trials)


def test_best_feasible_trial_is_chosen():
    study = make_study((0.99, 0.95, TrialState.COMPLETE), (0.9, 0.8, TrialState.COMPLETE))
    choice = choose(study, None)
    assert choice.trial.number == 1
    assert choice.reason == "best feasible one of the search (never confirmed), validation 80.00%"


def test_a_confirmed_winner_is_chosen_before_the_best_of_the_search():
    study = make_study((0.9, 0.8, TrialState.COMPLETE), (0.9, 0.85, TrialState.COMPLETE))
    confirm(study, "trial 0", finalist("trial 0", 0, seed=7), finalist("trial 1", 1))
    choice = choose(study, None)
    assert (choice.trial.number, choice.tested.seed) == (0, 7)
    assert choice.reason == (
        "winner of the confirmation after 1 of now 2 trials, validation 80.00% +- 1.00% over 2 fresh seeds, test 75.00% [70.00%, "
        "80.00%] with seed 7"
    )


def test_a_confirmed_recipe_that_is_no_trial_leaves_the_best_of_the_search():
    study = make_study((0.9, 0.8, TrialState.COMPLETE))
    confirm(study, "frozen-head", finalist("frozen-head", None, seed=7))
    choice = choose(study, None)
    assert choice.trial.number == 0
    assert choice.reason == (
        "best feasible one of the search (the confirmation's winner, frozen-head, is no trial of it), validation 80.00%"
    )


def test_a_confirmation_without_a_winner_leaves_the_best_of_the_search():
    study = make_study((0.9, 0.8, TrialState.COMPLETE))
    confirm(study, None, finalist("trial 0", 0))
    choice = choose(study, None)
    assert choice.reason.startswith("best feasible one of the search (the confirmation has no winner)")
    assert choice.finalist.name == "trial 0"
    assert choice.tested is None


def test_trial_asked_for_is_chosen_feasible_or_not():
    study = make_study((0.99, 0.95, TrialState.COMPLETE), (0.9, 0.8, TrialState.PRUNED))
    assert [choose(study, n).trial.number for n in (0, 1)] == [0, 1]


def test_without_a_feasible_trial_the_nearest_and_the_flag_are_named():
    study = make_study((0.99, 0.95, TrialState.COMPLETE), (0.935, 0.8, TrialState.COMPLETE))
    assert refusal(study) == (
        "no trial keeps its training figure under the ceiling; trial 1 comes nearest, 1.50% above it; search on, or "
        "export it all the same with --trial 1"
    )


def test_without_a_complete_trial_the_search_is_named():
    assert refusal(make_study((0.9, 0.8, TrialState.PRUNED))) == (
        "no trial is complete yet; search first: python -m search.run"
    )


@pytest.mark.parametrize("number", [-1, 1, 2, 3])
def test_trial_that_has_no_figures_is_refused(number):
    study = make_study(
        (0.9, 0.8, TrialState.COMPLETE), (None, None, TrialState.FAIL), (None, None, TrialState.RUNNING)
    )
    assert refusal(study, number) == (
        f"--trial must be the number of a complete or pruned trial, got {number} of 3 trials; see python -m "
        "search.report"
    )


def test_study_without_trials_is_an_input_error(write_tiny_study, tmp_path, capsys):
    path = write_tiny_study(tmp_path)
    assert main(["--study", str(path)]) == 2
    assert "error: study 'tiny' has no trials yet" in capsys.readouterr().err


@pytest.mark.slow
def test_winner_toml_is_the_complete_configuration_of_the_winner_bound_to_its_texts(
    exported, winner, finished_study
):
    config = load_config(exported[0] / "winner.toml")
    path, _ = finished_study
    fingerprint = open_study(load_spec(path), path).user_attrs["data"]["fingerprint"]
    expected = winner.user_attrs["config"]
    expected = {**expected, "data": {**expected["data"], "fingerprint": fingerprint}}
    assert config.model_dump(mode="json", exclude_none=True) == expected


@pytest.mark.slow
def test_winner_toml_tells_the_measured_figures(exported, winner):
    text = (exported[0] / "winner.toml").read_text()
    figures = winner.user_attrs
    for name in ("validation", "training"):
        share = f"{figures[f'{name}_accuracy']:.4f}"
        assert f"{share} in the search, {share} when fitted again" in text
    assert f"# Trial {winner.number} of study 'tiny', seed 0." in text


@pytest.mark.slow
def test_exported_model_has_the_figures_of_the_trial(exported, winner):
    assert f"the same figures as trial {winner.number} had in the search" in exported[1]


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews")
def test_fitting_winner_toml_again_gives_the_same_weights_to_the_bit(exported, tmp_path, capsys, monkeypatch):
    folder, output = exported
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert train([str(folder / "winner.toml"), "--out", str(tmp_path / "again")]) == 0
    said = capsys.readouterr().out
    fingerprint = next(line for line in output.splitlines() if line.startswith("weights sha256 "))
    assert len(fingerprint.split()[-1]) == 64
    assert fingerprint in said.splitlines()
    assert fingerprint in (folder / "winner.toml").read_text()
    first, second = ((f / "model.safetensors").read_bytes() for f in (folder / "model", tmp_path / "again"))
    assert first == second


@pytest.mark.slow
def test_exported_model_predicts(exported, capsys):
    assert predict([str(exported[0] / "model"), "a warm, moving story", "dull"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[2] for row in rows] == ["a warm, moving story", "dull"]
    assert {row[0] for row in rows} <= {"negative", "positive"}
    assert all(0.5 <= float(row[1]) <= 1 for row in rows)


@pytest.mark.usefixtures("tiny_reviews")
def test_export_over_an_earlier_one_replaces_it(finished_study, tmp_path, capsys):
    path, _ = finished_study
    line = ["--study", str(path), "--to", str(tmp_path / "out")]
    assert main([*line, "--trial", "0"]) == 0
    assert main([*line, "--trial", "2"]) == 0
    assert "# Trial 2 of study" in (tmp_path / "out" / "winner.toml").read_text()
    assert "wrote" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["model", "winner.toml"]


@pytest.mark.usefixtures("tiny_reviews")
def test_folder_that_holds_something_else_is_left_as_it_is(finished_study, tmp_path, capsys):
    path, _ = finished_study
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "letter.txt").write_text("keep me")
    assert main(["--study", str(path), "--to", str(tmp_path)]) == 2
    assert "is neither empty nor a model directory; give another folder" in capsys.readouterr().err
    assert (tmp_path / "model" / "letter.txt").read_text() == "keep me"


@pytest.mark.usefixtures("tiny_reviews")
def test_names_with_quotes_and_any_letters_survive_in_winner_toml(
    write_tiny_study, tiny_encoder_dir, tmp_path, capsys
):
    from search.run import main as search

    odd = tmp_path / 'odd "müll" 🙂'
    shutil.copytree(tiny_encoder_dir, odd)
    path = write_tiny_study(tmp_path, (str(tiny_encoder_dir), str(odd)))
    assert search(["--trials", "1", "--recipes", "none", "--study", str(path)]) == 0
    assert main(["--study", str(path)]) == 0
    assert tomllib.loads((tmp_path / "tiny" / "winner.toml").read_text())["encoder"]["name"] == str(odd)
    capsys.readouterr()


@pytest.mark.usefixtures("tiny_reviews")
def test_a_bit_of_the_encoder_flipped_since_the_search_stops_search_and_export(
    write_tiny_study, tiny_encoder_dir, tmp_path, capsys
):
    from search.run import main as search

    encoder = shutil.copytree(tiny_encoder_dir, tmp_path / "encoder")
    path = write_tiny_study(tmp_path, (str(tiny_encoder_dir), str(encoder)))
    assert search(["--trials", "1", "--workers", "1", "--recipes", "none", "--study", str(path)]) == 0
    weights = encoder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    capsys.readouterr()
    for command, more in ((search, ["--trials", "2", "--workers", "1"]), (main, [])):
        assert command(["--study", str(path), *more]) == 2
        error = capsys.readouterr().err
        assert f"error: study 'tiny' was begun with an encoder '{encoder}' of SHA-256 " in error
        assert "its files have been changed or damaged; restore them, or set another name" in error
    assert not (tmp_path / "tiny" / "model").exists()
    assert len(open_study(load_spec(path), path).trials) == 1


@pytest.mark.slow
def test_the_model_directory_is_whole(exported):
    model = exported[0] / "model"
    assert (model / "winner.toml").read_bytes() == (exported[0] / "winner.toml").read_bytes()
    card = (model / "README.md").read_text()
    assert "# tiny, trial " in card
    assert "Not confirmed" in card
    assert "`sha256sum -c SHA256SUMS`" in card
    listed = [line.split("  ")[1] for line in (model / "SHA256SUMS").read_text().splitlines()]
    assert sorted([*listed, "SHA256SUMS"]) == sorted(p.name for p in model.iterdir())
    assert {"README.md", "modeling_frostline.py", "tokenizer.json", "winner.toml"} <= set(listed)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews")
def test_the_fit_that_was_tested_is_the_one_exported(write_tiny_study, tmp_path, capsys, monkeypatch):
    from search.run import main as search

    path = write_tiny_study(tmp_path)
    assert search(["--trials", "1", "--workers", "1", "--recipes", "none", "--study", str(path)]) == 0
    study = open_study(load_spec(path), path)
    chosen = study.trials[0]
    config = chosen.user_attrs["config"] | {"ceiling": 0.1}
    confirm(study, "trial 0", finalist("trial 0", 0, config=config, seed=7, validation=-1.0))
    capsys.readouterr()
    # What is written is for tests of trainers.model.onnx to look at.
    monkeypatch.setattr("trainers.model.onnx.export_onnx", lambda _model, path: path.write_bytes(b"a graph"))
    assert main(["--study", str(path), "--onnx"]) == 0
    output = capsys.readouterr().out
    assert output.startswith(
        "trial 0: winner of the confirmation, validation 80.00% +- 1.00% over 2 fresh seeds"
    )
    assert "trial 0 had -100.00% and 90.00% in the confirmation: it ran elsewhere" in output
    assert "note: with seed 7 its training accuracy lies above the ceiling of 10.00%" in output
    folder = tmp_path / "tiny"
    assert load_config(folder / "winner.toml").seed == 7
    assert "when fitted again with seed 7" in (folder / "winner.toml").read_text()
    card = (folder / "model" / "README.md").read_text()
    assert "| test accuracy | 75.00 % [70.00 %, 80.00 %] | these weights, once, on 20 texts" in card
    assert "Goal\\: validation accuracy \\>= 60 %\\: not met on fresh seeds by trial 0" in card
    assert "session = onnxruntime.InferenceSession" in card
    assert (folder / "model" / "model.onnx").is_file()


def test_without_the_packages_for_onnx_nothing_is_fitted(finished_study, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("trainers.model.onnx.PACKAGES", ("onnx", "not_installed_at_all"))
    assert main(["--study", str(finished_study[0]), "--to", str(tmp_path / "out"), "--onnx"]) == 2
    assert capsys.readouterr().err == (
        "error: ONNX needs the packages onnx, not_installed_at_all, of which not_installed_at_all is not installed; run: "
        "pip install 'frostline[onnx]'\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_dockerfile_stands_beside_the_model(finished_study, reviews_dir, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(reviews_dir)
    assert main(["--study", str(finished_study[0]), "--to", str(tmp_path / "out"), "--docker"]) == 0
    assert f"docker build -t frostline-model {tmp_path / 'out'}\n" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        ".dockerignore",
        "Dockerfile",
        "model",
        "serve",
        "winner.toml",
    }
    load(tmp_path / "out" / "model")


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews")
@pytest.mark.filterwarnings("ignore:Use 'content=.*:DeprecationWarning")  # the hub's client's own habit
def test_a_model_that_is_sent_to_a_hub_is_the_one_in_the_folder(hub, finished_study, tmp_path, capsys):
    path, _ = finished_study
    line = ["--study", str(path), "--to", str(tmp_path / "out"), "--push", "alice/tiny"]
    model = tmp_path / "out" / "model"

    def files():
        return {p.name: p.read_bytes() for p in model.iterdir()}

    hub.refuse["POST /api/models/alice/tiny/commit"] = None
    assert main(line) == 2
    said = capsys.readouterr()
    assert (
        f"then send the saved model without another fit: hf upload alice/tiny {model} --private\n" in said.err
    )
    assert f"sent {model}" not in said.out
    load(model)
    hub.refuse.clear()
    assert main(line) == 0
    said = capsys.readouterr()
    assert f"sent {model} to {hub.address}/alice/tiny\n" in said.out
    assert TOKEN not in said.out + said.err
    received = hub.files["alice/tiny"]
    received.pop(".gitattributes")
    assert received == files()
    assert "hf download alice/tiny --local-dir model" in received["README.md"].decode()
    encoder = tomllib.loads((tmp_path / "out" / "winner.toml").read_text())["encoder"]["name"]
    assert encoder.encode() not in b"".join(received.values())
    assert tomllib.loads(received["winner.toml"].decode())["encoder"]["name"] == Path(encoder).name


def test_where_the_model_shall_go_is_checked_before_anything_is_fitted(finished_study, tmp_path, capsys):
    for flags, error in (
        (["--public"], "--public needs --push OWNER/NAME"),
        (["--push", "tiny"], "--push must be OWNER/NAME"),
    ):
        assert main(["--study", str(finished_study[0]), "--to", str(tmp_path / "out"), *flags]) == 2
        said = capsys.readouterr()
        assert error in said.err
        assert said.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews")
def test_a_tracker_keeps_the_model_of_the_trial_and_harms_no_export(
    finished_study, tmp_path, capsys, monkeypatch, winner
):
    calls = Path(finished_study[0]).with_suffix("") / "calls.jsonl"
    monkeypatch.setattr(models, "Courier", partial(Courier, module="pretended_tracker"))
    monkeypatch.setattr(targets, "version", lambda _: "1")
    line = ["--study", str(finished_study[0]), "--to", str(tmp_path / "out"), "--track", "mlflow"]
    assert main(line) == 0
    assert "mlflow: look there" in capsys.readouterr().out
    told = [json.loads(call) for call in calls.read_text().splitlines()]
    assert told[-1] == ["exported", winner.number, str(tmp_path / "out" / "model")]
    calls.unlink()


def test_a_tracker_without_models_is_refused_before_anything_is_fitted(
    finished_study, tmp_path, capsys, monkeypatch
):
    line = ["--study", str(finished_study[0]), "--to", str(tmp_path / "out"), "--track", "tensorboard"]
    monkeypatch.setattr(targets, "version", lambda _: "1")
    assert main(line) == 2
    assert "got tensorboard, which keeps no models" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_printed_commands_can_be_copied_whatever_the_folder_is_called(tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(
        Path(__file__).parents[1] / "data" / "version-0.1.0", tmp_path / "a b?c#d%20e {f} 'g' \u00e9&h"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.chdir(folder)
    assert main(["--study", str(folder / "tiny.toml")]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    commands = [
        shlex.split(line.partition("python -m ")[2]) for line in printed.splitlines() if "python -m " in line
    ]
    assert commands == [
        ["trainers.train", str(folder / "tiny" / "winner.toml")],
        ["trainers.predict", str(folder / "tiny" / "model"), "a text"],
    ]
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name]

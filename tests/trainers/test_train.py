import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from trainers.config import load_config
from trainers.fit.records import Evaluation
from trainers.model.classifier import load, save, weights_sha256
from trainers.train import describe_evaluation, main, train

TOML = """
freeze_depth = 2
dropout = 0.2
head_width = 8
learning_rate = 3e-3
patience = 3
epochs = 2
batch_size = 16
seed = 1

[data]
source = "imdb"
train = 96
validation = 48
test = 32
max_length = 24
head_tokens = 6

[encoder]
name = "{encoder}"
"""

RESULT = re.compile(
    r"validation accuracy \d+\.\d\d%, training accuracy \d+\.\d\d%, epoch [12] of 2 \(stopped by: epochs\)\n"
    r"weights sha256 ([0-9a-f]{64})$",
    re.MULTILINE,
)


@pytest.fixture
def winner(tmp_path, monkeypatch, tiny_reviews, tiny_encoder_dir):  # noqa: ARG001 - stands in sys.path
    """A complete configuration, and a cache directory of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "winner.toml"
    path.write_text(TOML.format(encoder=tiny_encoder_dir))
    return path


def fingerprint(output):
    return RESULT.search(output).group(1)


def test_a_configuration_fitted_twice_has_the_same_fingerprint(winner, capsys):
    assert main([str(winner)]) == 0
    first = fingerprint(capsys.readouterr().out)
    assert main([str(winner)]) == 0
    assert fingerprint(capsys.readouterr().out) == first


def test_another_process_finds_the_same_fingerprint_without_a_cache(winner, tmp_path, monkeypatch, capsys):
    main([str(winner)])
    here = fingerprint(capsys.readouterr().out)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another-cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = subprocess.run(
        [sys.executable, "-m", "trainers.train", str(winner)], capture_output=True, text=True, check=True
    )
    assert fingerprint(done.stdout) == here


def test_each_evaluation_is_a_line(winner, capsys):
    main([str(winner)])
    lines = capsys.readouterr().out.splitlines()
    assert [line[:11] for line in lines[:2]] == ["epoch  1.00", "epoch  2.00"]


def test_the_model_is_saved_where_asked(winner, tmp_path, capsys):
    out = tmp_path / "my model"
    assert main([str(winner), "--out", str(out)]) == 0
    assert f"saved {out}; try: python -m trainers.predict '{out}' 'a text'" in capsys.readouterr().out
    result, classifier = train(load_config(winner))
    texts = ["a good film", "a dull film"]
    assert np.array_equal(load(out).predict_proba(texts), classifier.predict_proba(texts))
    assert len(result.network.layers) == 1  # of three


def test_the_cache_stands_where_asked(winner, tmp_path):
    train(load_config(winner), cache_directory=tmp_path / "mine")
    assert list((tmp_path / "mine").rglob("depth-2.bin"))
    assert not (tmp_path / "cache").exists()


def test_a_missing_file_is_exit_code_2(tmp_path, capsys):
    path = tmp_path / "none.toml"
    assert main([str(path)]) == 2
    assert capsys.readouterr().err == f"error: no file {path}; give the path of an existing TOML file\n"


def test_a_mistake_in_the_file_is_exit_code_2(winner, capsys):
    winner.write_text("droput = 0.1\n" + winner.read_text())
    assert main([str(winner)]) == 2
    assert capsys.readouterr().err == f"error: {winner}: unknown key 'droput'; did you mean 'dropout'?\n"


def test_a_freeze_depth_beyond_the_encoder_is_exit_code_2(winner, capsys):
    winner.write_text(winner.read_text().replace("freeze_depth = 2", "freeze_depth = 4"))
    assert main([str(winner)]) == 2
    assert "freeze_depth must be at most 3, the layers of" in capsys.readouterr().err


def test_a_fit_that_diverges_is_exit_code_2(winner, capsys):
    text = winner.read_text().replace("3e-3", "1.0\nhead_learning_rate_ratio = 1e38")
    winner.write_text(text)
    assert main([str(winner)]) == 2
    assert capsys.readouterr().err.startswith("error: diverged: ")


def test_an_evaluation_is_described_in_a_line():
    evaluation = Evaluation(
        epoch=1.5,
        peek=False,
        validation_loss=0.34567,
        validation_accuracy=0.875,
        training_accuracy=0.9,
        exact=False,
        seconds=12.4,
        training_seconds=8.0,
        evaluation_seconds=3.0,
        batching_seconds=1.0,
        tokens=1000,
        flops=1e12,
    )
    assert describe_evaluation(evaluation, metric="macro_f1") == (
        "epoch  1.50  validation loss 0.3457  macro-F1 87.50%  training 90.00% (sample)  12 s"
    )
    sampled = replace(evaluation, num_validation_texts=300, exact=True)
    assert describe_evaluation(sampled, metric="macro_f1") == (
        "epoch  1.50  validation loss 0.3457  macro-F1 87.50% (300 texts)  training 90.00%  12 s"
    )


@pytest.mark.slow
def test_a_real_fit_of_real_reviews_is_repeated_to_the_bit_and_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "winner.toml"
    text = (
        TOML.format(encoder="minilm")
        .replace("imdb", "rotten_tomatoes")
        .replace("train = 96", "train = 64")
        .replace("= 48", "= 32")
    )
    path.write_text(
        text.replace("max_length = 24", "max_length = 32").replace("freeze_depth = 2", "freeze_depth = 5")
    )
    config = load_config(path)
    (first, classifier), (second, _) = (train(config, cache_directory=tmp_path / name) for name in ("a", "b"))
    assert weights_sha256(first.network) == weights_sha256(second.network)
    save(classifier, tmp_path / "model")
    texts = ["A wonderful, moving film.", "A waste of time."]
    assert np.array_equal(load(tmp_path / "model").predict_proba(texts), classifier.predict_proba(texts))


def test_a_device_that_is_not_there_is_an_error(winner, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    winner.write_text('device = "cuda"\n' + winner.read_text())
    assert main([str(winner)]) == 2
    assert capsys.readouterr().err.startswith("error: device must be one that this machine has (")


def test_another_device_can_be_taken_than_the_files(winner, capsys):
    assert main([str(winner)]) == 0
    expected = fingerprint(capsys.readouterr().out)
    winner.write_text('device = "cuda"\n' + winner.read_text())
    assert main([str(winner), "--device", "cpu"]) == 0
    assert fingerprint(capsys.readouterr().out) == expected


def test_a_saved_model_carries_a_card_and_its_configuration(winner, tmp_path, capsys):
    assert main([str(winner), "--out", str(tmp_path / "model")]) == 0
    capsys.readouterr()
    saved = load_config(tmp_path / "model" / "winner.toml")
    assert saved == load_config(winner).model_copy(update={"precision": "float32"})  # in which it was fitted
    card = (tmp_path / "model" / "README.md").read_text()
    assert "# A text classifier" in card
    assert "search's" not in card


def test_onnx_needs_a_directory(winner, capsys):
    assert main([str(winner), "--onnx"]) == 2
    assert capsys.readouterr().err == "error: --onnx needs --out, the directory to save in; give both\n"

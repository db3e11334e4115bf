import io
import sys

import pytest

from trainers.features import Features
from trainers.fit import fit
from trainers.model import assemble, load, save
from trainers.predict import main

TEXTS = ["the film was good", "a dull story"]


@pytest.fixture(scope="module")
def model(tiny_encoder, tiny_splits, make_config, tmp_path_factory):
    """The directory of a fine-tuned model."""
    config = make_config(epochs=1)
    result = fit(config, Features(tiny_encoder, tiny_splits))
    folder = tmp_path_factory.mktemp("predict") / "model"
    save(assemble(tiny_encoder, config, result, names=("negative", "positive")), folder)
    return folder


@pytest.fixture
def expected(model):
    """The lines that the texts are answered with."""
    pairs = zip(TEXTS, load(model).predict(TEXTS), strict=True)
    return "".join(f"{p.label}\t{p.probability:.4f}\t{text}\n" for text, p in pairs)


def test_texts_are_arguments(model, expected, capsys):
    assert main([str(model), *TEXTS]) == 0
    assert capsys.readouterr().out == expected


def test_texts_are_lines_of_a_file(model, expected, capsys, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text(f"{TEXTS[0]}\n\n  {TEXTS[1]}  \n")
    assert main([str(model), "--file", str(path)]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("flags", [[], ["--file", "-"]])
def test_texts_are_lines_of_standard_input(model, expected, capsys, monkeypatch, flags):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(TEXTS)))
    assert main([str(model), *flags]) == 0
    assert capsys.readouterr().out == expected


def test_a_text_that_begins_with_a_hyphen_stands_behind_two(model, capsys):
    assert main([str(model), "--", "-5 stars", "--awful"]) == 0
    assert [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()] == ["-5 stars", "--awful"]


def test_texts_and_a_file_exclude_each_other(model, capsys):
    assert main([str(model), "good", "--file", "texts.txt"]) == 2
    assert capsys.readouterr().err == (
        "error: texts and --file exclude each other, got 1 texts and texts.txt; give one\n"
    )


def test_no_text_at_all_is_exit_code_2(model, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(" \n"))
    assert main([str(model)]) == 2
    assert capsys.readouterr().err == (
        "error: no text to classify; give texts, --file, or lines on standard input\n"
    )


def test_a_missing_file_is_exit_code_2(model, capsys, tmp_path):
    path = tmp_path / "none.txt"
    assert main([str(model), "--file", str(path)]) == 2
    assert f"error: {path} must be readable UTF-8 text, got: " in capsys.readouterr().err


def test_a_file_that_is_not_utf_8_is_exit_code_2(model, capsys, tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("schön".encode("latin-1"))
    assert main([str(model), "--file", str(path)]) == 2
    assert "latin.txt must be readable UTF-8 text, got: " in capsys.readouterr().err


def test_a_missing_model_is_exit_code_2(capsys, tmp_path):
    assert main([str(tmp_path / "none"), "good"]) == 2
    assert capsys.readouterr().err == (
        f"error: no model directory {tmp_path / 'none'}; export one with: python -m search.export\n"
    )


def test_a_text_of_several_lines_stays_one_line_of_output(model, capsys):
    assert main([str(model), "good\nfilm\tindeed"]) == 0
    assert capsys.readouterr().out.count("\n") == 1

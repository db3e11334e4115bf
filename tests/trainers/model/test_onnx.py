import copy

import numpy as np
import pytest
import torch
from random_models import COMMON, FAMILIES, RELATIVE
from transformers import DebertaV2Config

import trainers.model.onnx
from trainers.errors import InputError
from trainers.model.classifier import load, save
from trainers.model.onnx import TOLERANCE, check_packages, export_onnx, furthest
from trainers.modeling_frostline import FrostlineConfig, FrostlineForSequenceClassification

SAME_GRAPH = ("XLM-R", "CamemBERT", "ELECTRA", "BERT", "DistilBERT", "DeBERTa-v2, convolved", "DeBERTa-v3")
"""Families exported before a release only: their layers are those of RoBERTa or of the tiny encoder, a BERT; DistilBERT
stands under the linear head, and the two of DeBERTa-v2 in one."""

EXPORTED = FAMILIES | {
    "DeBERTa-v2 with the parts of both": DebertaV2Config(
        **COMMON,
        **RELATIVE,
        position_buckets=4,
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        conv_kernel_size=3,
    )
}

TEXTS = ["the film was good", "", "dull and boring " * 40, "a very very warm story of the actor"]


@pytest.fixture
def saved(saved_with_onnx):
    """A directory with model.onnx in it."""
    return saved_with_onnx


@pytest.fixture
def session(saved):
    import onnxruntime

    return onnxruntime.InferenceSession(saved / "model.onnx", providers=["CPUExecutionProvider"])


@pytest.mark.slow
def test_texts_as_transformers_tokenises_them_get_our_probabilities_however_long(saved, session, classifier):
    tokenizer = load(saved).tokenizer
    for count in (1, 2, 4):
        inputs = tokenizer(TEXTS[:count], padding=True, return_tensors="np", return_token_type_ids=False)
        logits_BC = session.run(None, dict(inputs))[0]
        odds_BC = np.exp(logits_BC)
        expected = classifier.predict_proba(TEXTS[:count])
        assert odds_BC / odds_BC.sum(axis=1, keepdims=True) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.slow
def test_batch_and_length_are_free(session):
    shapes = {i.name: (i.shape, i.type) for i in session.get_inputs()}
    assert shapes == {
        "input_ids": (["batch", "length"], "tensor(int64)"),
        "attention_mask": (["batch", "length"], "tensor(int64)"),
    }


@pytest.mark.slow
def test_logits_are_those_of_the_model(saved, classifier):
    assert furthest(classifier.model, saved / "model.onnx") <= TOLERANCE


@pytest.mark.slow
def test_checksums_cover_the_file(saved):
    assert "  model.onnx\n" in (saved / "SHA256SUMS").read_text()
    assert load(saved).predict(["good"])


@pytest.mark.slow
def test_a_model_whose_weights_are_not_those_of_the_file_is_told_apart(saved, classifier):
    other = copy.deepcopy(classifier.model)
    with torch.no_grad():
        other.head.output.bias += torch.tensor([0.0, 0.01])
    assert furthest(other, saved / "model.onnx") == pytest.approx(0.01, rel=0.01)


def test_a_file_that_gives_other_logits_is_not_kept(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.onnx, "export", lambda *_args, **_options: _Program())
    monkeypatch.setattr(trainers.model.onnx, "furthest", lambda _model, _path: 0.5)
    with pytest.raises(InputError) as caught:
        save(classifier, tmp_path / "model", onnx=True)
    assert str(caught.value) == (
        "the logits of ONNX must be within 0.0001 of the model's own, those of this bert differ by 5.0e-01; export it "
        "without"
    )
    assert list(tmp_path.iterdir()) == []


def test_logits_that_are_no_numbers_are_not_kept(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.onnx, "export", lambda *_args, **_options: _Program())
    monkeypatch.setattr(trainers.model.onnx, "furthest", lambda _model, _path: float("nan"))
    with pytest.raises(InputError, match="differ by nan"):
        export_onnx(classifier.model, tmp_path / "model.onnx")


class _Program:
    def save(self, path):
        path.write_bytes(b"")


def test_a_file_that_onnxruntime_cannot_read_is_an_error(classifier, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"^onnxruntime cannot run what was written of the bert \("):
        furthest(classifier.model, tmp_path / "model.onnx")


def test_what_the_exporter_cannot_do_is_an_error(classifier, tmp_path, monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("no such operator\nand a page of graph")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(InputError) as caught:
        export_onnx(classifier.model, tmp_path / "model.onnx")
    assert str(caught.value) == (
        "the model, a bert, cannot be written as ONNX (RuntimeError: no such operator); export it without"
    )


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    find = trainers.model.onnx.importlib.util.find_spec
    monkeypatch.setattr(
        trainers.model.onnx.importlib.util,
        "find_spec",
        lambda name: None if name == "onnxscript" else find(name),
    )
    with pytest.raises(InputError) as caught:
        check_packages()
    assert str(caught.value) == (
        "ONNX needs the packages onnx, onnxruntime, onnxscript, of which onnxscript is not installed; run: pip install "
        "'frostline[onnx]'"
    )


def random_classifier(family, **changes):
    described = EXPORTED[family].to_dict() | {"model_type": EXPORTED[family].model_type}
    if family.startswith(
        "DeBERTa"
    ):  # their export takes longer with each layer, and all but the first are alike
        described["num_hidden_layers"] = 2
    shape = {"head_width": 8, "max_tokens": 24, "start_tokens": 7}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return FrostlineForSequenceClassification(
            FrostlineConfig(encoder=described, **shape | changes)
        ).eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=pytest.mark.full) if f in SAME_GRAPH else f for f in EXPORTED]
)
def test_every_family_can_be_had_as_onnx(family, tmp_path):
    model = random_classifier(family)
    export_onnx(model, tmp_path / "model.onnx")
    assert furthest(model, tmp_path / "model.onnx") <= TOLERANCE


@pytest.mark.slow
def test_a_linear_head_can_be_had_as_onnx(tmp_path):
    model = random_classifier("DistilBERT", head_width=0)
    assert model.head.hidden is None
    export_onnx(model, tmp_path / "model.onnx")
    assert furthest(model, tmp_path / "model.onnx") <= TOLERANCE

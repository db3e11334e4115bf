"""Eight bits: what is written runs, and what is said of it is what onnxruntime and scikit-learn say."""

import numpy as np
import onnxruntime
import pytest
from sklearn.metrics import accuracy_score

from trainers.errors import InputError
from trainers.model.int8 import Int8, describe_int8, export_int8


@pytest.fixture(scope="module")
def written(classifier, saved_with_onnx, tiny_splits, tmp_path_factory):
    """A model in both formats, and what was measured."""
    plain, small = saved_with_onnx / "model.onnx", tmp_path_factory.mktemp("int8") / "model-int8.onnx"
    found = export_int8(
        classifier.model, plain, small, tiny_splits.validation, metric="accuracy", num_classes=2
    )
    return plain, small, found


def predict(path, split):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = []
    for i in range(len(split)):
        ids = split.ids_S[split.offsets_N1[i] : split.offsets_N1[i + 1]].astype(np.int64)[None]
        found.append(session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0].argmax())
    return found


def test_scores_are_those_of_texts_one_by_one(written, tiny_splits):
    plain, _, found = written
    split = tiny_splits.validation
    assert found.num_texts == len(split)
    assert found.score[0] == accuracy_score(split.labels_N, predict(plain, split))
    assert 0 <= found.score[1] <= 1
    assert found.num_changed <= len(split)
    assert abs(found.score[0] - found.score[1]) * len(split) <= found.num_changed


def test_matrices_are_smaller(written):
    plain, small, found = written
    assert found.num_bytes == (plain.stat().st_size, small.stat().st_size)
    assert b"MatMulInteger" in small.read_bytes()
    assert b"MatMulInteger" not in plain.read_bytes()
    assert min(found.seconds) > 0


def figures(before, after):
    return Int8(
        num_bytes=(2**20, 2**19), seconds=(2.0, 1.0), score=(before, after), num_texts=200, num_changed=3
    )


def test_what_eight_bits_do_is_told():
    assert list(describe_int8(figures(0.8, 0.796), metric="accuracy")) == [
        "int8: 0.5 MiB instead of 1.0, 2.00 times as fast on this processor (one thread), validation accuracy 79.60% instead "
        "of 80.00%, 3 of 200 labels change"
    ]


def test_a_loss_above_half_a_point_is_called_out():
    assert list(describe_int8(figures(0.8, 0.79), metric="accuracy"))[1] == (
        "note: eight bits cost 1.0 points on validation, more than 0.5"
    )


def test_what_cannot_be_rounded_is_named(tiny_splits, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(InputError, match="export it without --int8"):
        export_int8(
            None,
            tmp_path / "broken.onnx",
            tmp_path / "out.onnx",
            tiny_splits.validation,
            metric="accuracy",
            num_classes=2,
        )

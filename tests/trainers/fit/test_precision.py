import numpy as np
import pytest
import torch
from torch.nn import functional as F

import trainers.fit.precision
from trainers.errors import InputError
from trainers.fit.feature_building import build_features
from trainers.fit.features import Features
from trainers.fit.loop import fit
from trainers.fit.precision import choose_precision, computing_in, pinned

BFLOAT16_TOLERANCE = 0.02
"""Of a validation loss in two epochs of the tiny encoder, in nats; measured: 0.0001 against float32, 0.003 stored against live."""


@pytest.fixture
def processor(monkeypatch):
    """A function: pretend that the device has arithmetic for bfloat16 or not, and how fast it is."""

    def has(bfloat16, gain=2.0):
        monkeypatch.setattr(trainers.fit.precision, "computes_bfloat16", lambda _: bfloat16)
        monkeypatch.setattr(trainers.fit.precision, "bfloat16_gain", lambda _: gain)

    return has


@pytest.fixture
def in_bfloat16(processor, tiny_encoder, tiny_splits):
    """Features without a cache that compute in bfloat16, emulated where the processor has none."""
    processor(True)
    return Features(tiny_encoder, tiny_splits, precision="bfloat16")


@pytest.mark.parametrize(
    ("wanted", "there", "gain", "chosen"),
    [
        ("auto", True, 1.3, "bfloat16"),
        ("auto", True, 1.1, "float32"),
        ("auto", False, 9.0, "float32"),
        ("bfloat16", True, 0.5, "bfloat16"),
        ("bfloat16", False, 9.0, "float32"),
        ("float32", True, 9.0, "float32"),
    ],
)
def test_bfloat16_is_taken_where_it_is_wanted_there_and_for_auto_faster(
    processor, wanted, there, gain, chosen
):
    processor(there, gain)
    assert choose_precision(wanted, "cpu") == chosen


def test_torch_still_has_the_private_questions_to_the_processor():
    assert isinstance(torch.cpu._is_avx512_bf16_supported(), bool)
    assert isinstance(torch.cpu._is_amx_tile_supported(), bool)


def test_float32_computes_as_ever():
    with computing_in("float32", "cpu"):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("mask", [None, "boolean", "added"])
def test_attention_that_trains_in_bfloat16_is_that_of_pytorch(mask):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4, generator=generator) for _ in range(3))
    allowed_BHTT = (torch.arange(5) < torch.tensor([[3], [5]]))[:, None, None, :].expand(2, 1, 5, 5)
    masks = {
        "boolean": allowed_BHTT,
        "added": torch.zeros(2, 1, 5, 5).masked_fill(~allowed_BHTT, torch.finfo(torch.float32).min),
    }
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=masks.get(mask), scale=0.3)
    halves = [t.bfloat16().requires_grad_() for t in (query, key, value)]
    with computing_in("bfloat16", "cpu"):
        plain = F.scaled_dot_product_attention(*halves, attn_mask=masks.get(mask), scale=0.3)
    assert plain.dtype == torch.bfloat16
    assert "ScaledDotProduct" not in type(plain.grad_fn).__name__
    torch.testing.assert_close(plain.float(), expected, atol=0.03, rtol=0.03)


def test_a_fit_in_bfloat16_keeps_its_weights_and_logits_in_float32(
    in_bfloat16, make_config, tiny_encoder, tiny_splits
):
    config = make_config(freeze_depth=1, dropout=0.0, encoder_dropout=0.0)
    expected = fit(config, Features(tiny_encoder, tiny_splits))
    result = fit(config.model_copy(update={"precision": "bfloat16"}), in_bfloat16)
    assert {parameter.dtype for parameter in result.network.parameters()} == {torch.float32}
    with torch.no_grad():
        assert result.network(in_bfloat16.inputs("train", 1).batch(np.arange(4))).dtype == torch.float32
    assert result.validation_loss != expected.validation_loss
    assert result.validation_loss == pytest.approx(expected.validation_loss, abs=BFLOAT16_TOLERANCE)


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_a_fit_in_bfloat16_from_stored_features_is_near_one_without(
    in_bfloat16, make_config, tiny_encoder, tiny_splits, tmp_path, depth
):
    config = make_config(freeze_depth=depth, precision="bfloat16", dropout=0.0, encoder_dropout=0.0)
    stored = build_features(
        tiny_encoder, tiny_splits, config, depths=[depth], directory=tmp_path, disk_bytes=2**30
    )
    assert stored.precision == "bfloat16"
    losses = [[e.validation_loss for e in fit(config, f).evaluations] for f in (stored, in_bfloat16)]
    assert losses[0] == pytest.approx(losses[1], abs=BFLOAT16_TOLERANCE)


def test_the_same_seed_gives_the_same_bits_in_bfloat16(in_bfloat16, make_config):
    config = make_config(freeze_depth=1, precision="bfloat16")
    first, second = (fit(config, in_bfloat16) for _ in range(2))
    assert [e.validation_loss for e in first.evaluations] == [e.validation_loss for e in second.evaluations]


def test_features_of_another_precision_are_an_error(processor, make_config, tiny_encoder, tiny_splits):
    processor(True)
    with pytest.raises(InputError) as caught:
        fit(make_config(precision="bfloat16"), Features(tiny_encoder, tiny_splits))
    assert str(caught.value) == (
        "precision must be 'float32', in which the features were computed, got 'bfloat16'; compute them again"
    )


def test_features_in_bfloat16_have_a_folder_of_their_own(
    processor, make_config, tiny_encoder, tiny_splits, tmp_path
):
    processor(True)
    for precision in ("float32", "bfloat16"):
        build_features(
            tiny_encoder,
            tiny_splits,
            make_config(precision=precision),
            depths=[2],
            directory=tmp_path,
            disk_bytes=2**30,
        )
    folders = [p for p in (tmp_path / "features").iterdir() if p.is_dir()]
    assert len(folders) == 4


@pytest.mark.parametrize(
    ("device", "chosen"), [("cuda", "bfloat16"), ("cuda:1", "bfloat16"), ("cpu", "float32")]
)
def test_a_configuration_that_names_no_precision_means_what_it_did_in_version_0_1_0(
    processor, make_config, device, chosen
):
    processor(True)
    assert pinned(make_config(device=device)).precision == chosen

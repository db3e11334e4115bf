from types import SimpleNamespace

import numpy as np
import pytest
import torch

import trainers.network
from trainers.device import choose_device, generators, moved, precision, resident
from trainers.errors import InputError
from trainers.features import Features
from trainers.fit import fit
from trainers.inputs import Source


@pytest.fixture
def machine(monkeypatch):
    """A function: pretend that the machine has these devices beside its processor."""

    def has(*devices):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in devices)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in devices)

    return has


@pytest.mark.parametrize(
    ("present", "chosen"), [((), "cpu"), (("mps",), "mps"), (("cuda",), "cuda"), (("cuda", "mps"), "cuda")]
)
def test_auto_takes_cuda_then_mps_then_the_processor(machine, present, chosen):
    machine(*present)
    assert choose_device("auto") == chosen


def test_a_device_that_is_there_is_taken(machine):
    machine("cuda", "mps")
    assert [choose_device(device) for device in ("cpu", "cuda", "mps")] == ["cpu", "cuda", "mps"]


def test_a_device_that_is_not_there_is_an_error(machine):
    machine("mps")
    with pytest.raises(InputError) as caught:
        choose_device("cuda")
    assert str(caught.value) == (
        "device must be one that this machine has (mps, cpu), got 'cuda'; try --device auto"
    )


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_only_cuda_computes_in_bfloat16(device):
    with precision(device):
        assert not torch.is_autocast_enabled(device)


def test_only_cuda_has_random_state_to_set_aside(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert [generators(device) for device in ("cpu", "mps", "cuda")] == [[], [], [1]]


@pytest.mark.parametrize(("free", "place"), [(199, "host"), (200, "device")])
def test_features_stay_on_a_gpu_if_half_of_its_free_memory_holds_them(monkeypatch, free, place):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 1000))
    values = SimpleNamespace(numel=lambda: 25, element_size=lambda: 4, to=lambda _: "device")
    assert resident(values, "cuda") == ("device" if place == "device" else values)


def test_features_stay_mapped_on_the_processor():
    values = torch.zeros(3)
    assert resident(values, "cpu") is values


def test_a_batch_is_handed_out_on_its_device(tiny_splits):
    split = tiny_splits.train
    rows = np.array([3, 1, 2])
    tokens = Source(split, depth=None, values=None, pad_id=0, device="meta").batch(rows)
    pooled_ND = np.zeros((len(split), 4), dtype=np.float32)
    pooled = Source(split, depth=3, values=pooled_ND, pad_id=0, device="meta").batch(rows)
    tensors = [tokens.inputs, tokens.mask_BT, tokens.labels_B, pooled.inputs, pooled.labels_B]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_a_tensor_that_is_on_the_processor_already_is_not_copied():
    tensor = torch.zeros(3)
    assert moved(tensor, "cpu") is tensor


def test_in_bfloat16_a_fit_keeps_its_weights_and_logits_in_float32(
    monkeypatch, make_config, tiny_encoder, tiny_splits
):
    features = Features(tiny_encoder, tiny_splits)
    config = make_config(freeze_depth=1, dropout=0.0, encoder_dropout=0.0)
    expected = fit(config, features)
    monkeypatch.setattr(trainers.network, "precision", lambda _: torch.autocast("cpu", dtype=torch.bfloat16))
    result = fit(config, features)
    assert {parameter.dtype for parameter in result.network.parameters()} == {torch.float32}
    with torch.no_grad():
        assert result.network(features.source("train", 1).batch(np.arange(4))).dtype == torch.float32
    assert result.validation_loss != expected.validation_loss
    assert result.validation_loss == pytest.approx(expected.validation_loss, abs=0.02)


def test_a_fit_on_another_device_than_its_encoder_is_an_error(make_config, tiny_encoder, tiny_splits):
    with pytest.raises(InputError) as caught:
        fit(make_config(device="cuda"), Features(tiny_encoder, tiny_splits))
    assert str(caught.value) == (
        f"device must be 'cpu', where {tiny_encoder.name!r} was loaded, got 'cuda'; load it there"
    )

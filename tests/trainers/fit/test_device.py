import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import trainers.fit.loop
from trainers.errors import FitError, InputError
from trainers.fit.device import (
    choose_device,
    clock,
    computes_bfloat16,
    cuda_devices,
    generators,
    moved,
    named_failures,
    resident,
)
from trainers.fit.features import Features
from trainers.fit.inputs import SplitInputs
from trainers.fit.loop import fit


@pytest.fixture
def machine(monkeypatch):
    """A function: pretend that the machine has these devices beside its processor."""

    def has(*devices, num_gpus=1):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in devices)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in devices)

    return has


@pytest.mark.parametrize(
    ("listed", "count", "names"),
    [
        (None, 3, ("0", "1", "2")),
        (None, 0, ()),
        ("6, GPU-1f2e", 2, ("6", "GPU-1f2e")),
        ("3,9", 1, ("3",)),  # CUDA sees none from the first on that is not there
        ("", 0, ()),
    ],
)
def test_cuda_devices_are_named_as_the_environment_has_them(machine, monkeypatch, listed, count, names):
    machine("cuda", num_gpus=count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert cuda_devices() == names
    assert not torch.cuda.is_initialized()


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


def test_one_gpu_of_several_is_taken_by_its_number(machine):
    machine("cuda", num_gpus=2)
    assert [choose_device(device) for device in ("cuda", "cuda:0", "cuda:1")] == ["cuda", "cuda:0", "cuda:1"]
    with pytest.raises(InputError) as caught:
        choose_device("cuda:2")
    assert str(caught.value) == (
        "device must be one that this machine has (cuda:0, cuda:1, cuda, cpu), got 'cuda:2'; try --device auto"
    )


@pytest.mark.parametrize(
    ("capability", "card", "computes"),
    [((7, 0), "V100", False), ((7, 5), "T4", False), ((8, 0), "A100", True), ((9, 0), "H100", True)],
)
def test_bfloat16_is_for_cards_that_compute_in_it(monkeypatch, capability, card, computes):  # noqa: ARG001
    cards = {"cuda": capability, "cuda:1": capability}
    monkeypatch.setattr(torch.cuda, "get_device_capability", cards.__getitem__)
    assert computes_bfloat16("cuda") == computes
    assert computes_bfloat16("cuda:1") == computes


def test_bfloat16_is_for_cards_of_amd(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert computes_bfloat16("cuda")


def test_bfloat16_is_not_for_mps():
    assert not computes_bfloat16("mps")


@pytest.mark.parametrize(
    ("avx512", "amx", "computes"),
    [(False, False, False), (True, False, True), (False, True, True), (True, True, True)],
)
def test_bfloat16_is_for_processors_that_compute_in_it(monkeypatch, avx512, amx, computes):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert computes_bfloat16("cpu") == computes


def test_only_cuda_has_random_state_to_set_aside(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert [generators(d) for d in ("cpu", "mps", "cuda", "cuda:0", "cuda:3")] == [[], [], [1], [0], [3]]


@pytest.fixture
def gpu_memory(monkeypatch):
    """A function: pretend that each GPU has so many bytes free, and so many held back by torch; it has 1,000 in all."""

    def has(free, *, held_back=0):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 1000))
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 100)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 100 + held_back)

    return has


@pytest.mark.parametrize("gpu", ["cuda", "cuda:1"])
@pytest.mark.parametrize(
    ("free", "held_back", "place"), [(199, 0, "host"), (200, 0, "device"), (20, 180, "device")]
)
def test_features_stay_on_a_gpu_if_half_of_its_free_memory_holds_them(
    gpu_memory, gpu, free, held_back, place
):
    gpu_memory(free, held_back=held_back)
    values = SimpleNamespace(numel=lambda: 25, element_size=lambda: 4, to=lambda device: device)
    assert resident(values, gpu) == (gpu if place == "device" else values)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("HIP error: hipErrorOutOfMemory"),
        RuntimeError("CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.95 GB, max allowed: 18.13 GB)."),
        RuntimeError("Invalid buffer size: 12.34 GB"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_memory_that_runs_out_is_one_failure_whatever_it_is_called(error):
    with pytest.raises(FitError) as caught, named_failures("cpu"):
        raise error
    assert str(caught.value) == "out of memory"


@pytest.mark.parametrize(
    "words",
    [
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input.",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    ],
)
def test_a_library_that_cannot_start_has_no_memory_where_the_gpu_is_full_and_a_bug_elsewhere(
    gpu_memory, words
):
    gpu_memory(20, held_back=500)  # which is torch's own, and no room for a library
    with pytest.raises(FitError, match="out of memory"), named_failures("cuda:1"):
        raise RuntimeError(words)
    gpu_memory(500)
    with pytest.raises(RuntimeError), named_failures("cuda:1"):
        raise RuntimeError(words)
    with pytest.raises(RuntimeError), named_failures("cpu"):
        raise RuntimeError(words)


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: device-side assert triggered"), OSError(2, "no file")]
)
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, named_failures("cuda"):
        raise error
    assert caught.value is error


def test_a_gpu_has_its_clock_read_when_it_has_done_its_work(monkeypatch):
    waited_for = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited_for.append)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited_for.append("mps"))
    before = time.perf_counter()
    assert all(clock(device) >= before for device in ("cpu", "cuda", "cuda:1", "mps"))
    assert waited_for == ["cuda", "cuda:1", "mps"]


def test_a_fit_counts_the_time_until_the_device_has_done_its_work(
    monkeypatch, make_config, tiny_encoder, tiny_splits
):
    config = make_config(freeze_depth=1, epochs=1, evaluations_per_epoch=1)
    steps = math.ceil(len(tiny_splits.train) / config.batch_size)
    to_the_processor = torch.Tensor.cpu

    def slow(tensor):
        time.sleep(0.2)
        return to_the_processor(tensor)

    monkeypatch.setattr(trainers.fit.loop, "clock", lambda _: time.perf_counter() + 100)
    monkeypatch.setattr(torch.Tensor, "cpu", slow)
    result = fit(config, Features(tiny_encoder, tiny_splits))
    assert 100 * steps <= result.training_seconds < 100 * (steps + 1)
    assert result.evaluation_seconds > 0.4


def test_features_stay_mapped_on_the_processor():
    values = torch.zeros(3)
    assert resident(values, "cpu") is values


def test_a_batch_is_handed_out_on_its_device(tiny_splits):
    split = tiny_splits.train
    rows = np.array([3, 1, 2])
    tokens = SplitInputs(split, depth=None, values=None, pad_id=0, device="meta").batch(rows)
    pooled_ND = np.zeros((len(split), 4), dtype=np.float32)
    pooled = SplitInputs(split, depth=3, values=pooled_ND, pad_id=0, device="meta").batch(rows)
    tensors = [tokens.inputs, tokens.mask_BT, tokens.labels_B, pooled.inputs, pooled.labels_B]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_a_tensor_that_is_on_the_processor_already_is_not_copied():
    tensor = torch.zeros(3)
    assert moved(tensor, "cpu") is tensor


def test_a_fit_on_another_device_than_its_encoder_is_an_error(make_config, tiny_encoder, tiny_splits):
    with pytest.raises(InputError) as caught:
        fit(make_config(device="cuda"), Features(tiny_encoder, tiny_splits))
    assert str(caught.value) == (
        f"device must be 'cpu', where {tiny_encoder.name!r} was loaded, got 'cuda'; load it there"
    )

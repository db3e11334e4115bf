import json
import re
import shutil
from pathlib import Path

import pytest
import transformers
from transformers import AutoModel
from transformers.integrations import hub_kernels

from trainers.config import EncoderConfig
from trainers.encoder.foreign_code import FETCHING_FAMILIES, PLAIN, refuse_foreign_code
from trainers.encoder.loading import load_encoder
from trainers.errors import InputError

WHAT = "the model"


@pytest.fixture
def folder(tiny_encoder_dir, tmp_path):
    """A copy of the tiny encoder that a test may change."""
    return shutil.copytree(tiny_encoder_dir, tmp_path / "encoder")


@pytest.fixture
def fetched(monkeypatch):
    """What transformers fetches with the package kernels, here a stand-in that only writes down what it is asked for."""
    asked = []

    def get_kernel(name, **_):
        asked.append(name)
        raise OSError("no network in tests")

    monkeypatch.setattr(hub_kernels, "get_kernel_hub", get_kernel, raising=False)
    for module in ("integrations.hub_kernels", "modeling_utils", "utils.import_utils"):
        monkeypatch.setattr(f"transformers.{module}.is_kernels_available", lambda *_: True)
    return asked


def change(folder, name="config.json", **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def failure(folder):
    with pytest.raises(InputError) as caught:
        refuse_foreign_code(folder, what=WHAT)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_kernel_that_a_configuration_names_would_be_fetched_and_is_refused(folder, fetched):
    path = change(folder, attn_implementation="somebody/kernel@main")
    with pytest.raises(ValueError, match="no network in tests"):
        AutoModel.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    assert fetched == ["somebody/kernel"]
    fetched.clear()
    with pytest.raises(InputError) as caught:
        load_encoder(EncoderConfig(name=str(folder)))
    assert str(caught.value) == (
        f"encoder '{folder}' must neither run code of others nor fetch anything, but {path} has attn_implementation = "
        '"somebody/kernel@main", which may be fetched and run, since it is none of eager, sdpa, flex_attention; remove '
        "the key, or take a model without it"
    )
    assert fetched == []


@pytest.mark.parametrize(
    "value",
    [
        "kernels-community/flash-attn3",
        "a/b:c",
        "paged|a/b",
        "flash_attention_2",
        {"": "a/b"},
        {"text": "a/b"},
    ],
)
@pytest.mark.parametrize(
    "key", ["attn_implementation", "_attn_implementation", "_attn_implementation_internal"]
)
def test_whatever_is_no_part_of_transformers_is_refused_as_attention(folder, key, value):
    path = change(folder, **{key: value})
    assert failure(folder).startswith(
        f"the model must neither run code of others nor fetch anything, but {path} has {key} = {json.dumps(value)}, "
    )


def test_an_entry_is_found_at_any_depth(folder):
    change(folder, encoder={"parts": [{"text_config": {"attn_implementation": "a/b"}}]})
    assert 'has attn_implementation = "a/b", which may be fetched' in failure(folder)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (
            "experts_implementation",
            "a/b",
            "may be fetched and run, since it is none of eager, batched_mm, grouped_mm",
        ),
        ("configuration_files", ["config.5.0.0.json"], "lets another file stand for it"),
        ("custom_pipelines", {"any": {"impl": "evil.Pipeline"}}, "names code"),
        ("kernel_config", {"kernel_mapping": {}, "x": 1}, "has code fetched"),
        ("quantization_config", {"quant_method": "mxfp4"}, "loads packages and code for its kind of weights"),
        (
            "transformers_weights",
            "adapter_model.bin",
            "lets other weights be loaded than those that are checked",
        ),
        ("use_kernels", True, "has code fetched"),
        ("backbone", "resnet50", "has other weights fetched"),
        ("use_pretrained_backbone", 1, "has other weights fetched"),
        ("use_timm_backbone", True, "has other weights fetched"),
        ("model_type", "yoso", "is a family that fetches code"),
    ],
)
def test_a_key_that_reaches_further_is_refused_by_name(folder, key, value, reason):
    path = change(folder, **{key: value})
    assert failure(folder) == (
        f"the model must neither run code of others nor fetch anything, but {path} has {key} = {json.dumps(value)}, which "
        f"{reason}; remove the key, or take a model without it"
    )


@pytest.mark.parametrize("value", [None, False, {}, []])
@pytest.mark.parametrize("key", ["quantization_config", "use_kernels", "configuration_files"])
def test_an_empty_entry_reaches_nothing(folder, key, value):
    change(folder, **{key: value})
    refuse_foreign_code(folder, what=WHAT)


@pytest.mark.parametrize("name", [None, *PLAIN["attn_implementation"], {"": "sdpa", "text_config": None}])
def test_attention_that_is_part_of_transformers_is_left_alone(folder, name):
    change(folder, attn_implementation=name)
    refuse_foreign_code(folder, what=WHAT)


def test_classes_may_be_called_like_anything(folder):
    names = ["auto_map", "backbone", "quantization_config", "use_kernels"]
    change(folder, label2id={n: i + 1 for i, n in enumerate(names)}, id2label=dict(enumerate(names)))
    refuse_foreign_code(folder, what=WHAT)


@pytest.mark.parametrize("name", ["adapter_config.json", "shard-00000-model-00001-of-00001.safetensors"])
def test_a_file_that_makes_transformers_load_other_weights_is_refused(folder, name):
    (folder / name).write_text("{}")
    assert failure(folder) == (
        f"the model must hold its weights alone, but {folder / name} has transformers load others; merge them into the "
        "model and save_pretrained it, or remove the file"
    )


def test_every_family_of_transformers_that_fetches_a_kernel_is_known():
    models = Path(transformers.__file__).parent / "models"
    fetching = {
        path.parent.name
        for path in models.glob("*/modeling_*.py")
        if re.search(r"\bget_kernel\(", path.read_text(encoding="utf-8"))
    }
    assert fetching <= set(FETCHING_FAMILIES)
    assert len(fetching) >= 3

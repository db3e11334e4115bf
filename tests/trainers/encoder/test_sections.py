import copy
import json
import shutil

import numpy as np
import pytest
import sentencepiece
import torch
from random_models import COMMON, FAMILIES, NUM_LAYERS, random_model
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from torch.nn import functional as F
from transformers import (
    AlbertConfig,
    AutoTokenizer,
    BertConfig,
    EsmConfig,
    GPT2Config,
    T5Config,
    ViTConfig,
)

from trainers.config import EncoderConfig
from trainers.data.tokens import encode
from trainers.encoder.loading import load_encoder
from trainers.encoder.sections import SUPPORTED, run
from trainers.errors import InputError
from trainers.fit.feature_building import build_features
from trainers.fit.features import Features
from trainers.fit.loop import fit
from trainers.fit.network import Network
from trainers.model.classifier import assemble, load, save
from trainers.modeling_frostline import pool

DEPTHS = range(NUM_LAYERS + 1)
TOLERANCE = 2e-6
"""Hidden states near 1 have a spacing of 1e-7 in fp32; what is padded differently is summed in another order."""

WITH_POOLER = ("BERT", "RoBERTa", "XLM-R", "CamemBERT", "MPNet")


def write_model(folder, config, tokenizer):
    random_model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_encoder):
    """A function: the directory of a tiny random model of a family."""
    root = tmp_path_factory.mktemp("families")

    def folder(family):
        path = root / family
        return path if path.is_dir() else write_model(path, FAMILIES[family], tiny_encoder.tokenizer)

    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def encoder(request, folders):
    return load_encoder(EncoderConfig(name=str(folders(request.param))))


@pytest.fixture(scope="module")
def batch(tiny_splits):
    """Token ids of eight texts, padded, and their mask."""
    split = tiny_splits.validation
    texts = [split.ids_S[a:b] for a, b in zip(split.offsets_N1[:8], split.offsets_N1[1:9], strict=True)]
    ids_BT = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
    for row, ids in zip(ids_BT, texts, strict=True):
        row[: len(ids)] = torch.from_numpy(ids)
    assert (ids_BT == 0).any()
    return ids_BT, ids_BT != 0


def furthest(left, right):
    return float((left - right).abs().max())


def test_an_encoder_that_gives_nan_for_all_texts_is_refused_for_that(tiny_encoder, tmp_path):
    model = copy.deepcopy(tiny_encoder.model)
    with torch.no_grad():
        model.encoder.layer[1].output.LayerNorm.weight.mul_(3e38)
    model.save_pretrained(tmp_path)
    tiny_encoder.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError) as caught:
        load_encoder(EncoderConfig(name=str(tmp_path)))
    assert str(caught.value) == (
        f"encoder '{tmp_path}' is a BertModel, which gives numbers that are not finite; use an encoder such as {SUPPORTED}"
    )


@torch.no_grad()
def test_two_sections_are_the_whole_model_at_every_depth(encoder, batch):
    ids_BT, mask_BT = batch
    whole = encoder.model(input_ids=ids_BT, attention_mask=mask_BT.long(), output_hidden_states=True)
    states, last_BTD = whole.hidden_states, whole.last_hidden_state
    inside = upper = 0.0
    for depth in range(1, NUM_LAYERS):
        hidden_BTD = run(encoder.section(start=None, stop=depth), ids_BT, mask_BT)
        inside = max(inside, furthest(hidden_BTD[mask_BT], states[depth][mask_BT]))
        hidden_BTD = run(encoder.section(start=depth, stop=NUM_LAYERS), hidden_BTD, mask_BT)
        upper = max(upper, furthest(hidden_BTD[mask_BT], last_BTD[mask_BT]))
    row = [
        type(encoder.model).__name__,
        f"{inside:.1e}",
        f"{upper:.1e}",
        f"{float(last_BTD.abs().max()):.1f}",
    ]
    print("|", " | ".join(row), "|")  # noqa: T201  # shown by pytest -s
    assert max(inside, upper) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 2])
def test_padding_does_not_change_what_a_section_gives(encoder, batch, depth):
    ids_BT, mask_BT = batch
    lower, upper = encoder.section(start=None, stop=depth), encoder.section(start=depth, stop=NUM_LAYERS)
    together_BTD = run(upper, run(lower, ids_BT, mask_BT), mask_BT)
    for ids_T, mask_T, hidden_TD in zip(ids_BT, mask_BT, together_BTD, strict=True):
        alone_1TD = run(upper, run(lower, ids_T[mask_T][None], None), None)
        assert furthest(alone_1TD[0], hidden_TD[mask_T]) <= 10 * TOLERANCE


def without_dropout(make_config, encoder, depth, *, pooling="mean", **changes):
    settings = {"dropout": 0.0, "encoder_dropout": 0.0, "cache": "float32"} | changes
    return make_config(freeze_depth=depth, encoder={"name": encoder.name, "pooling": pooling}, **settings)


def new_network(encoder, config, start):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network(encoder, config, start=start, num_classes=2)


def losses(parameters, logits, labels_B):
    """Train for three steps, and return the loss before each and after the last."""
    optimizer = torch.optim.AdamW([p for p in parameters if p.requires_grad], lr=1e-3)
    found = []
    for _ in range(4):
        loss = F.cross_entropy(logits(), labels_B)
        found.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return found


def whole_model_losses(encoder, config, head, batch):
    """Train the family's own forward, all that lies below the freeze depth being frozen by hand: the oracle."""
    model = copy.deepcopy(encoder.model)
    depth = config.freeze_depth
    frozen = [f"{encoder.anatomy.layers}.{i}." for i in range(depth)]
    if depth:
        frozen += [
            "embeddings",
            "encoder.relative_attention_bias",
            "encoder.rel_embeddings",
            "encoder.LayerNorm",
        ]
        frozen += ["encoder.conv"]
    if depth == NUM_LAYERS:
        frozen = [""]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(frozen)))

    def logits():
        ids_BT, mask_BT = batch.inputs, batch.mask_BT
        output = model(input_ids=ids_BT, attention_mask=mask_BT.long())
        if config.encoder.pooling == "model":
            return head(output.pooler_output)
        return head(pool(output.last_hidden_state, mask_BT, pooling=config.encoder.pooling))

    return losses([*model.parameters(), *head.parameters()], logits, batch.labels_B)


def check_losses(encoder, config, splits, directory):
    """Compare three ways to train: from stored features, live, and with the whole model's own forward."""
    depth = config.freeze_depth
    features = build_features(encoder, splits, config, depths=[depth], directory=directory, disk_bytes=2**30)
    rows = np.arange(16)
    found = {}
    for name, source in {
        "stored": features.inputs("train", depth),
        "live": Features(encoder, splits).inputs("train", depth),
    }.items():
        network = new_network(encoder, config, source.depth)
        taken = source.batch(rows)
        found[name] = losses(network.parameters(), lambda n=network, t=taken: n(t), taken.labels_B)
    head = new_network(encoder, config, None).head
    expected = whole_model_losses(encoder, config, head, taken)
    assert expected[-1] < expected[0]
    assert found["live"] == pytest.approx(expected, abs=TOLERANCE)
    assert found["stored"] == pytest.approx(expected, abs=10 * TOLERANCE)  # Adam enlarges the last bit


@pytest.mark.parametrize("depth", DEPTHS)
def test_losses_stored_and_live_are_those_of_the_whole_model(
    make_config, encoder, tiny_splits, tmp_path, depth
):
    check_losses(encoder, without_dropout(make_config, encoder, depth), tiny_splits, tmp_path)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("family", WITH_POOLER)
def test_losses_with_the_models_own_pooling_are_those_of_the_whole_model(
    make_config, folders, tiny_splits, tmp_path, family, depth
):
    encoder = load_encoder(EncoderConfig(name=str(folders(family)), pooling="model"))
    config = without_dropout(make_config, encoder, depth, pooling="model")
    check_losses(encoder, config, tiny_splits, tmp_path)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_attention_dropout_is_off_and_hidden_dropout_on_in_what_trains(
    make_config, encoder, tiny_splits, rate
):
    config = without_dropout(make_config, encoder, 0, encoder_dropout=rate)
    network = new_network(encoder, config, None)
    taken = Features(encoder, tiny_splits).inputs("train", 0).batch(np.arange(8))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        expected_BC = network.eval()(taken)
        assert torch.equal(network.train()(taken), expected_BC) == (rate == 0)


@pytest.mark.parametrize("depth", [0, 2])
def test_a_fit_comes_back_from_its_folder_as_the_same_classifier(
    make_config, encoder, tiny_splits, tmp_path, depth
):
    config = without_dropout(make_config, encoder, depth, epochs=1)
    features = Features(encoder, tiny_splits)
    result = fit(config, features)
    classifier = assemble(encoder, config, result, names=("negative", "positive"))
    taken = features.inputs("validation", depth).batch(np.arange(16))
    with torch.no_grad():
        logits_BC = classifier.model(taken.inputs, taken.mask_BT.long()).logits
        torch.testing.assert_close(logits_BC, result.network(taken), rtol=0, atol=1e-5)
    save(classifier, tmp_path / "model")
    texts = ["a good and moving film", "very dull"]
    assert np.array_equal(load(tmp_path / "model").predict_proba(texts), classifier.predict_proba(texts))


@pytest.mark.parametrize("depth", [1, NUM_LAYERS])
def test_the_models_own_pooling_comes_back_from_its_folder(
    make_config, folders, tiny_splits, tmp_path, depth
):
    encoder = load_encoder(EncoderConfig(name=str(folders("RoBERTa")), pooling="model"))
    config = without_dropout(make_config, encoder, depth, pooling="model", epochs=1)
    features = Features(encoder, tiny_splits)
    result = fit(config, features)
    save(assemble(encoder, config, result, names=("negative", "positive")), tmp_path / "model")
    model = load(tmp_path / "model").model
    taken = features.inputs("validation", depth).batch(np.arange(16))
    with torch.no_grad():
        logits_BC = model(taken.inputs, taken.mask_BT.long()).logits
        torch.testing.assert_close(logits_BC, result.network(taken), rtol=0, atol=1e-5)
    same = torch.equal(model.encoder.pooler.dense.weight, encoder.model.pooler.dense.weight)
    assert same == (depth == NUM_LAYERS)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in WITH_POOLER])
def test_the_models_own_pooling_needs_a_pooler(folders, family):
    folder = folders(family)
    with pytest.raises(InputError) as caught:
        load_encoder(EncoderConfig(name=str(folder), pooling="model"))
    assert str(caught.value).startswith(
        "encoder.pooling = 'model' needs an encoder with a pooler of its own, which a "
    )
    assert str(caught.value).endswith(" has not; set it to 'mean' or 'cls'")


def test_the_models_own_pooling_needs_the_poolers_weights(folders, tmp_path):
    folder = shutil.copytree(folders("RoBERTa"), tmp_path / "model")
    path = folder / "model.safetensors"
    weights = {key: value for key, value in load_file(path).items() if "pooler." not in key}
    save_file(weights, path, metadata={"format": "pt"})
    assert load_encoder(EncoderConfig(name=str(folder))).num_layers == NUM_LAYERS
    with pytest.raises(InputError) as caught:
        load_encoder(EncoderConfig(name=str(folder), pooling="model"))
    assert str(caught.value) == (
        f"encoder.pooling = 'model' needs the pooler's weights, which encoder '{folder}' lacks in {path}; "
        "set it to 'mean' or 'cls'"
    )


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            AlbertConfig(**COMMON, embedding_size=8),
            "AlbertModel, whose layers share their weights, so that none can be frozen alone",
        ),
        (
            T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, pad_token_id=0),
            "T5Model, which is an encoder-decoder",
        ),
        (BertConfig(**COMMON, is_decoder=True), "BertModel, which is set up as a decoder"),
        (
            GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2, n_positions=32),
            "GPT2Model, which does not keep embeddings and a list of layers where an encoder does",
        ),
        (
            ViTConfig(
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=24,
                image_size=16,
            ),
            "ViTModel, which does not read text",
        ),
        (
            EsmConfig(**COMMON, position_embedding_type="absolute", emb_layer_norm_before=True),
            "EsmModel, whose layers, one after the other, do not give what the whole gives",
        ),
    ],
    ids=["ALBERT", "T5", "BERT as decoder", "GPT-2", "ViT", "ESM"],
)
def test_a_model_that_cannot_be_cut_is_refused_with_the_reason(tmp_path, tiny_encoder, config, reason):
    folder = write_model(tmp_path / "model", config, tiny_encoder.tokenizer)
    with pytest.raises(InputError) as caught:
        load_encoder(EncoderConfig(name=str(folder)))
    assert str(caught.value) == f"encoder '{folder}' is a {reason}; use an encoder such as {SUPPORTED}"


@pytest.mark.parametrize(
    ("family", "limit"),
    [
        ("BERT", 66),
        ("DistilBERT", 66),
        ("RoBERTa", 65),
        ("MPNet", 64),
        ("DeBERTa-v3", None),
        ("ModernBERT", None),
    ],
)
def test_only_absolute_positions_limit_the_length(folders, family, limit):
    assert load_encoder(EncoderConfig(name=str(folders(family)))).max_length == limit


@pytest.mark.parametrize(
    ("family", "weights"),
    [
        ("BERT", 4 * 16 * 16 + 2 * 16 * 24),
        ("DistilBERT", 4 * 16 * 16 + 2 * 16 * 24),
        ("DeBERTa", 4 * 16 * 16 + 2 * 16 * 24),
        ("ModernBERT", 4 * 16 * 16 + 3 * 16 * 24),
    ],
)
def test_a_layers_operations_are_products_with_its_weights_and_attention(folders, family, weights):
    encoder = load_encoder(EncoderConfig(name=str(folders(family))))
    assert encoder.layer_flops(np.array([1, 10])).tolist() == [
        2 * weights + 4 * 16,
        10 * 2 * weights + 4 * 16 * 100,
    ]


CORPUS = ["a good and moving film", "the plot was very dull", "music of a great and warm story"] * 20


def sentencepiece_tokenizer(folder):
    """Save a tokenizer as microsoft/deberta-v3-base has it: a SentencePiece model and no tokenizer.json."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_prefix=str(folder / "spm"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
        pad_id=0,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
    )
    settings = {"tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": False, "vocab_type": "spm"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def byte_level_tokenizer(folder):
    tokenizer = ByteLevelBPETokenizer()
    special = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    tokenizer.train_from_iterator(CORPUS, vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.save_model(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "RobertaTokenizer"}))


@pytest.mark.parametrize(
    ("family", "write_tokenizer"),
    [("DeBERTa-v3", sentencepiece_tokenizer), ("RoBERTa", byte_level_tokenizer)],
    ids=["SentencePiece", "byte-level BPE"],
)
def test_texts_are_tokenised_as_the_familys_own_tokenizer_does(tmp_path, family, write_tokenizer):
    config = copy.deepcopy(FAMILIES[family])
    random_model(config).save_pretrained(tmp_path)  # by whose config.json the tokenizer is found
    write_tokenizer(tmp_path)
    config.vocab_size = len(AutoTokenizer.from_pretrained(tmp_path))
    random_model(config).save_pretrained(tmp_path)
    tokenizer = load_encoder(EncoderConfig(name=str(tmp_path))).tokenizer
    texts = ["a good film", "the story was dull and warm", ""]
    rows = encode(texts, tokenizer, max_length=64, head_tokens=None)
    assert rows == tokenizer(texts)["input_ids"]
    assert len(rows[1]) > len(rows[2]) == 2

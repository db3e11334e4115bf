import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from elsewhere import ELSEWHERE
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from trainers.data.tokens import encode
from trainers.encoder.files import write_checksums
from trainers.errors import InputError
from trainers.fit.features import Features
from trainers.fit.loop import fit
from trainers.model.classifier import CODE, Classifier, assemble, class_names, load, save, weights_sha256

TEXTS = ["the film was good and warm", "a dull story", "", "it was a very very very boring plot of the actor"]
NAMES = ("negative", "positive")


@pytest.fixture(scope="module")
def fitted(tiny_encoder, tiny_splits, make_config):
    """A function: fit at a freeze depth and assemble; returns features, result and classifier."""

    def fitted(depth, **changes):
        config = make_config(freeze_depth=depth, epochs=1, **changes)
        features = Features(tiny_encoder, tiny_splits)
        result = fit(config, features)
        return features, result, assemble(tiny_encoder, config, result, names=NAMES)

    return fitted


@pytest.fixture(scope="module")
def classifier(fitted):
    return fitted(2)[2]


@pytest.fixture
def saved(classifier, tmp_path):
    save(classifier, tmp_path / "model")
    return tmp_path / "model"


def change_weights(folder, change):
    """Alter weights as somebody would who renews the checksums, too."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    write_checksums(folder)


def failure(folder):
    with pytest.raises(InputError) as caught:
        load(folder)
    return str(caught.value)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_the_assembled_model_gives_the_logits_of_the_fits_network(fitted, depth, pooling):
    features, result, classifier = fitted(depth, cache="float32", encoder={"pooling": pooling})
    source = features.inputs("validation", depth)
    batch = source.batch(np.arange(len(source)))
    with torch.no_grad():
        expected_BC = result.network(batch)
        logits_BC = classifier.model(batch.inputs, batch.mask_BT.long()).logits
    torch.testing.assert_close(logits_BC, expected_BC, rtol=0, atol=1e-5)


def test_assembling_leaves_the_encoder_as_it_was(fitted, tiny_encoder):
    before = {key: value.clone() for key, value in tiny_encoder.model.state_dict().items()}
    _, _, classifier = fitted(0)
    assert all(torch.equal(value, before[key]) for key, value in tiny_encoder.model.state_dict().items())
    trained = classifier.model.encoder.embeddings.word_embeddings.weight
    assert not torch.equal(trained, before["embeddings.word_embeddings.weight"])


def test_a_saved_model_predicts_the_same_to_the_bit(classifier, saved):
    assert np.array_equal(load(saved).predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert load(saved).predict(TEXTS) == classifier.predict(TEXTS)


def test_a_saved_model_keeps_its_settings(saved, classifier):
    config = load(saved).model.config
    for key in ("pooling", "head_width", "dropout", "max_tokens", "head_tokens", "id2label"):
        assert getattr(config, key) == getattr(classifier.model.config, key)
    assert (config.max_tokens, config.head_tokens, config.id2label) == (24, 6, {0: "negative", 1: "positive"})


def test_transformers_loads_a_saved_model(saved, classifier):
    model = AutoModelForSequenceClassification.from_pretrained(saved)
    tokenizer = AutoTokenizer.from_pretrained(saved)
    inputs = tokenizer("the film was good", return_tensors="pt")
    with torch.no_grad():
        probabilities_1C = model(inputs["input_ids"], inputs["attention_mask"]).logits.softmax(dim=1)
    expected = classifier.predict_proba(["the film was good"])
    assert probabilities_1C.numpy() == pytest.approx(expected, abs=1e-6)


def test_weights_are_saved_as_safetensors_alone(saved):
    assert (saved / "model.safetensors").is_file()
    assert not [path for path in saved.iterdir() if path.suffix in {".bin", ".pt", ".pkl"}]


def test_probabilities_sum_to_one_and_keep_the_order_of_the_texts(classifier):
    together = classifier.predict_proba(TEXTS)
    alone = np.concatenate([classifier.predict_proba([text]) for text in TEXTS])
    assert together.sum(axis=1) == pytest.approx(1.0)
    assert together == pytest.approx(alone, abs=1e-6)


def test_a_prediction_names_the_most_probable_class(classifier):
    probabilities = classifier.predict_proba(TEXTS)
    for row, prediction in zip(probabilities, classifier.predict(TEXTS), strict=True):
        assert prediction.label == NAMES[int(row.argmax())]
        assert prediction.probability == row.max()


def test_no_text_gives_no_prediction(classifier):
    assert classifier.predict([]) == []
    assert classifier.predict_proba([]).shape == (0, 2)


def test_a_long_text_is_cut_as_in_training(classifier, tiny_encoder):
    text = "the film was good and " * 30
    kept = encode([text], tiny_encoder.tokenizer, max_length=24, head_tokens=6)[0]
    with torch.no_grad():
        expected = classifier.model(torch.tensor([kept])).logits.softmax(dim=1).numpy()
    assert classifier.predict_proba([text]) == pytest.approx(expected, abs=1e-6)


def test_texts_are_mended_as_in_training(classifier):
    plain = classifier.predict_proba(["the film was good & warm"])
    assert np.array_equal(classifier.predict_proba(["the film<br />was\tgo\u200bod &amp; warm\0"]), plain)


@pytest.mark.parametrize(
    ("clean", "equal", "other"),
    [
        ("html", "good<br>film", "good<int>film"),
        ("0.1", "good<int>film", "good film &"),
        ("spaces", "good  film", "good<br>film"),
    ],
)
def test_predicting_cleans_as_the_study_did(fitted, tmp_path, clean, equal, other):
    save(fitted(2, data={"clean": clean})[2], tmp_path / "model")
    loaded = load(tmp_path / "model")
    plain = loaded.predict_proba(["good film"])
    assert np.array_equal(loaded.predict_proba([equal]), plain)
    assert not np.array_equal(loaded.predict_proba([other]), plain)


def test_a_model_of_version_0_1_cleans_as_that_did(saved):
    config = json.loads((saved / "config.json").read_text())
    del config["clean"]
    (saved / "config.json").write_text(json.dumps(config))
    write_checksums(saved)
    assert load(saved).plain(["a<br>b <int> &copy=1"]) == ["a b \u00a9=1"]


def test_a_cleaning_that_nobody_knows_is_refused(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "clean": "more"}))
    write_checksums(saved)
    assert failure(saved) == (
        f"the fine-tuned model: clean in {saved / 'config.json'} must be one of html, spaces, none, 0.1, got 'more'; a "
        "newer version of Frostline may know it: pip install -U frostline"
    )


def test_labels_give_the_loss(classifier):
    ids_BT, labels_B = torch.tensor([[2, 7, 8, 3]]), torch.tensor([1])
    output = classifier.model(ids_BT, labels=labels_B)
    assert output.loss.item() == pytest.approx(F.cross_entropy(output.logits, labels_B).item())


def test_class_names_follow_the_order_of_the_logits(classifier):
    assert class_names(classifier.model) == NAMES


def test_saving_replaces_an_older_model(saved, fitted):
    newer = fitted(0, seed=9)[2]
    save(newer, saved)
    assert np.array_equal(load(saved).predict_proba(TEXTS), newer.predict_proba(TEXTS))
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_saving_fills_an_empty_folder(classifier, tmp_path):
    save(classifier, tmp_path)
    assert load(tmp_path).predict(["good"]) == classifier.predict(["good"])


def test_a_saved_model_has_the_permissions_of_any_new_folder(saved):
    (saved.parent / "new").mkdir()
    assert saved.stat().st_mode == (saved.parent / "new").stat().st_mode


def test_saving_spares_a_folder_of_other_things(classifier, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError) as caught:
        save(classifier, tmp_path)
    assert str(caught.value) == f"{tmp_path} is neither empty nor a model directory; give another folder"
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_saving_spares_a_file(classifier, tmp_path):
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    with pytest.raises(
        InputError, match=r"thesis\.txt is neither empty nor a model directory; give another folder"
    ):
        save(classifier, path)


def test_a_folder_that_cannot_be_written_is_an_error(classifier, tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "model"
    with pytest.raises(InputError) as caught:
        save(classifier, folder)
    assert str(caught.value) == (
        f"the model directory {folder} must be writable with room for it, got: File exists; "
        "free space or give another folder"
    )


def test_saving_that_fails_keeps_the_older_model(saved, classifier, monkeypatch):
    before = (saved / "model.safetensors").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(classifier.tokenizer), "save_pretrained", full)
    with pytest.raises(InputError, match="got: No space left on device"):
        save(classifier, saved)
    assert (saved / "model.safetensors").read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_missing_model_is_an_error(tmp_path):
    assert failure(tmp_path / "none") == (
        f"no model directory {tmp_path / 'none'}; export one with: python -m search.export"
    )


@pytest.mark.parametrize("required", ["config.json", "model.safetensors"])
def test_a_model_without_a_file_is_an_error(saved, required):
    (saved / required).unlink()
    assert f"the fine-tuned model must hold {required}, but {saved} has none" in failure(saved)


def test_a_model_with_truncated_weights_is_an_error(saved):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    write_checksums(saved)
    assert f"the fine-tuned model in {saved} is damaged or not supported: SafetensorError: " in failure(saved)


def test_a_model_without_its_head_is_an_error(saved):
    change_weights(saved, lambda weights: {k: v for k, v in weights.items() if not k.startswith("head.")})
    assert "lacks 4 tensors, the first of them 'head.hidden.bias'; fetch or save it again" in failure(saved)


def test_a_model_with_weights_that_are_not_finite_is_an_error(saved):
    change_weights(saved, lambda weights: weights | {"head.output.bias": torch.tensor([0.0, torch.inf])})
    assert "not finite in 1 tensors, the first of them 'head.output.bias'" in failure(saved)


def test_an_encoder_is_no_fine_tuned_model(tiny_encoder_dir, tmp_path):
    folder = shutil.copytree(tiny_encoder_dir, tmp_path / "encoder")
    write_checksums(folder)
    message = failure(folder)
    assert message.startswith("the fine-tuned model")
    assert message.endswith("fetch or save it again")


def test_a_saved_model_in_shards_is_read_and_each_shard_checked(saved, classifier):
    (saved / "model.safetensors").unlink()
    classifier.model.save_pretrained(saved, max_shard_size="20kB")
    write_checksums(saved)
    shards = sorted(saved.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert np.array_equal(load(saved).predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    content = bytearray(shards[-1].read_bytes())
    content[-5] ^= 1
    shards[-1].write_bytes(content)
    assert f"{shards[-1]} is not as it was saved, its SHA-256 differs from that in SHA256SUMS" in failure(
        saved
    )


def test_equal_weights_have_equal_fingerprints(fitted):
    first, second = (fitted(2)[1] for _ in range(2))
    assert weights_sha256(first.network) == weights_sha256(second.network)


def test_one_changed_weight_changes_the_fingerprint(fitted):
    network = fitted(3)[1].network
    before = weights_sha256(network)
    with torch.no_grad():
        network.head.output.bias[0] += 1e-6
    assert weights_sha256(network) != before


def test_a_classifier_is_model_and_tokenizer(classifier):
    assert isinstance(classifier, Classifier)
    assert classifier.tokenizer.tokenize("good film") == ["good", "film"]


def set_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    write_checksums(folder)


def test_a_model_whose_config_asks_for_fewer_layers_is_an_error(saved):
    inner = json.loads((saved / "config.json").read_text())["encoder"]
    set_config(saved, encoder=inner | {"num_hidden_layers": 2})
    assert (
        f"holds layers that {saved / 'config.json'} does not ask for, the first of their tensors "
        in failure(saved)
    )


def test_a_model_whose_config_asks_for_more_layers_is_an_error(saved):
    inner = json.loads((saved / "config.json").read_text())["encoder"]
    set_config(saved, encoder=inner | {"num_hidden_layers": 4})
    assert "lacks 16 tensors, the first of them 'encoder.encoder.layer.3." in failure(saved)


def test_a_model_of_another_shape_is_an_error(saved):
    set_config(saved, head_width=9)
    assert f"the fine-tuned model in {saved} is damaged or not supported: RuntimeError: " in failure(saved)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_model_with_weights_cut_short_is_an_error_even_with_new_checksums(saved, share):
    path = saved / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    write_checksums(saved)
    message = failure(saved)
    assert message.startswith(
        f"the fine-tuned model in {saved} is damaged or not supported: SafetensorError: "
    )
    assert "\n" not in message


def test_a_flipped_bit_is_an_error_that_names_the_file(saved):
    path = saved / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert failure(saved) == (
        f"the fine-tuned model: {path} is not as it was saved, its SHA-256 differs from that in SHA256SUMS; copy or "
        "export it again"
    )


@pytest.mark.parametrize("change", [0.5, 1.1])
def test_a_tokenizer_of_another_size_is_an_error(saved, change):
    path = saved / "tokenizer.json"
    table = json.loads(path.read_text())
    words = list(table["model"]["vocab"])
    rows = len(words)
    wanted = [*words, *(f"new{i}" for i in range(rows))][: int(change * rows)]
    table["model"]["vocab"] = {word: i for i, word in enumerate(wanted)}
    path.write_text(json.dumps(table))
    write_checksums(saved)
    assert failure(saved) == (
        f"the fine-tuned model: its tokenizer must fit the {rows} rows of its embedding, got {len(wanted)} tokens; save "
        "the tokenizer that it was trained with beside the model"
    )


def test_a_model_runs_no_code_of_its_own(saved, tmp_path, hostile_module):
    (saved / "hostile.py").write_text(hostile_module(tmp_path / "ran"))
    set_config(saved, auto_map={"AutoConfig": "hostile.Config", "AutoModel": "hostile.Model"})
    assert failure(saved) == (
        f"the fine-tuned model must bring no code of its own, but {saved / 'config.json'} has auto_map, which names "
        "some; take a model that transformers knows by itself"
    )
    assert not (tmp_path / "ran").exists()


def test_a_label_that_a_terminal_would_obey_is_escaped(saved, capsys):
    from trainers.predict import main

    set_config(saved, id2label={"0": "\x1b[2Jgone", "1": "\x1b[2Jgone"})
    assert main([str(saved), "good\x1b]0;title\x07 \u202efilm"]) == 0
    label, _, text = capsys.readouterr().out.rstrip("\n").split("\t")
    assert (label, text) == ("\\x1b[2Jgone", "good\\x1b]0;title\\x07 \\u202efilm")


def test_a_saved_model_brings_the_file_that_runs_it_elsewhere(saved):
    config = json.loads((saved / "config.json").read_text())
    assert (saved / "modeling_frostline.py").read_bytes() == CODE.read_bytes()
    assert config["auto_map"] == {
        "AutoConfig": "modeling_frostline.FrostlineConfig",
        "AutoModelForSequenceClassification": "modeling_frostline.FrostlineForSequenceClassification",
    }


def test_a_saved_model_names_no_path_of_the_machine(saved, tiny_encoder_dir):
    assert str(tiny_encoder_dir) not in (saved / "config.json").read_text()


def test_code_that_is_not_ours_is_refused_even_with_new_checksums(saved, tmp_path, hostile_module):
    (saved / "modeling_frostline.py").write_text(hostile_module(tmp_path / "ran"))
    write_checksums(saved)
    assert failure(saved) == (
        f"the fine-tuned model must bring no code of its own, but {saved / 'modeling_frostline.py'} is not the "
        "modeling_frostline.py of this version of Frostline or of an earlier one; export the model again, or load it "
        "with the version that saved it"
    )
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["other--modeling_frostline.Model", "hostile.Model", "modeling_frostline.os.x", 1]
)
def test_only_classes_of_our_own_file_may_be_named(saved, name):
    set_config(saved, auto_map={"AutoModelForSequenceClassification": name})
    assert "config.json has auto_map, which names some" in failure(saved)


def test_a_tokenizer_that_names_code_is_refused(saved):
    path = saved / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": ["a.B", None]}}))
    write_checksums(saved)
    assert "tokenizer_config.json has auto_map, which names some" in failure(saved)


def test_the_copy_of_our_file_is_never_run(saved, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("code of the directory was loaded")

    monkeypatch.setattr("transformers.dynamic_module_utils.get_cached_module_file", refuse)
    assert load(saved).model.__class__.__module__ == "trainers.modeling_frostline"


def test_an_edited_card_is_no_damage(saved):
    (saved / "README.md").write_text("# A model")
    write_checksums(saved)
    (saved / "README.md").write_text("# My model")
    assert load(saved).predict(["good"])


@pytest.mark.slow
def test_where_our_package_is_missing_the_shipped_file_gives_the_same_logits_to_the_bit(fitted, tmp_path):
    classifiers = {tmp_path / str(count): fitted(2, data={"head_tokens": count})[2] for count in (6, None)}
    for folder, classifier in classifiers.items():
        save(classifier, folder)
    texts = [*TEXTS, "the film was good and " * 60 + "dull"]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, json.dumps(texts), *classifiers],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for classifier, line in zip(classifiers.values(), done.stdout.splitlines(), strict=True):
        there = json.loads(line)
        assert there["class"].startswith("transformers_modules.")
        tokenizer = classifier.tokenizer
        with torch.no_grad():
            here = [
                classifier.model(**tokenizer(text, return_tensors="pt")).logits[0].tolist() for text in texts
            ]
        assert there["logits"] == here
        probabilities = classifier.predict_proba(texts)
        for row, said in zip(probabilities, there["said"], strict=True):
            assert {entry["label"]: entry["score"] for entry in said} == pytest.approx(
                dict(zip(NAMES, map(float, row), strict=True)), abs=1e-6
            )


def test_the_pipeline_of_transformers_cuts_long_texts_as_we_do(saved, classifier):
    classify = pipeline("text-classification", model=str(saved))
    texts = [*TEXTS, "good " * 20 + "the film was dull " * 80, "a " * 500 + "superb"]
    for text, (expected, said) in zip(
        texts, zip(classifier.predict(texts), classify(texts, batch_size=3), strict=True), strict=True
    ):
        assert said == {
            "label": expected.label,
            "score": pytest.approx(expected.probability, abs=1e-6),
        }, text


PROBE = {"head_start": "probe", "head_width": 0}


def test_a_linear_head_is_saved_and_loaded_as_it_is(fitted, tmp_path):
    classifier = fitted(3, **PROBE)[2]
    save(classifier, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.model.config.head_width == 0
    assert np.array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))

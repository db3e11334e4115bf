"""Tokenizers of all kinds: what a saved model says of a text depends on no other text, and on no way of loading it."""

import json

import numpy as np
import pytest
import torch
from quirks import QUIRKS, encoder_with, fast, of_words
from reviews import make_reviews
from tokenizers import Tokenizer, models, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast, pipeline

from trainers.config import EncoderConfig
from trainers.data.tokens import encode, special_tokens
from trainers.encoder.files import write_checksums
from trainers.encoder.loading import load_encoder
from trainers.errors import InputError
from trainers.model.classifier import load, save
from trainers.sklearn import TextClassifier

TEXTS = [
    "the film was good and warm",
    "A dull story!",
    "bad",
    "it was a very very boring plot of the actor",
    "the film was good and " * 12 + "dull",
    " Good  caf\u00e9 \u65e5\u672c",
]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A function: fit on an encoder whose tokenizer has a quirk, and save; returns the classifier and its folder."""

    def fitted(quirk, family, pooling):
        folder = tmp_path_factory.mktemp("quirk")
        encoder_with(folder / "encoder", QUIRKS[quirk](), family)
        texts, labels = zip(*make_reviews(32, seed=5), strict=True)
        estimator = TextClassifier(
            encoder=str(folder / "encoder"),
            pooling=pooling,
            freeze_depth=2,
            epochs=1,
            max_length=24,
            head_tokens=6,
        )
        classifier = estimator.fit(list(texts), list(labels)).classifier_
        save(classifier, folder / "model")
        return classifier, folder / "model"

    return fitted


def by_pipeline(folder, texts):
    classify = pipeline("text-classification", model=str(folder))
    said = classify(texts, top_k=None, batch_size=len(texts))
    return np.array([[e["score"] for e in sorted(row, key=lambda e: e["label"])] for row in said])


@pytest.mark.slow
@pytest.mark.parametrize(("family", "pooling"), [("BERT", "cls"), ("MPNet", "mean"), ("RoBERTa", "mean")])
@pytest.mark.parametrize("quirk", QUIRKS)
def test_a_text_alone_is_answered_as_among_others_in_memory_saved_and_by_a_pipeline(
    fitted, quirk, family, pooling
):
    classifier, folder = fitted(quirk, family, pooling)
    expected = np.concatenate([classifier.predict_proba([text]) for text in TEXTS])
    assert len(np.unique(expected.round(5), axis=0)) >= len(TEXTS) - 1
    answers = (classifier.predict_proba, load(folder).predict_proba, lambda texts: by_pipeline(folder, texts))
    for answer in answers:
        np.testing.assert_allclose(answer(TEXTS), expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(answer(TEXTS[::-1])[::-1], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("quirk", QUIRKS)
def test_what_is_saved_tokenises_as_what_was_loaded_did(tmp_path, quirk):
    tokenizer = load_encoder(EncoderConfig(name=str(encoder_with(tmp_path / "a", QUIRKS[quirk]())))).tokenizer
    tokenizer.save_pretrained(tmp_path / "b")
    again = AutoTokenizer.from_pretrained(tmp_path / "b")
    rows = encode(TEXTS, tokenizer, max_length=24, head_tokens=6)
    assert encode(TEXTS, again, max_length=24, head_tokens=6) == rows
    assert (again.padding_side, again.truncation_side) == ("right", "right")
    assert "attention_mask" in again.model_input_names
    described = json.loads((tmp_path / "b" / "tokenizer.json").read_text())
    assert (described["padding"], described["truncation"]) == (None, None)


def test_a_model_that_was_saved_with_a_tokenizer_that_pads_on_the_left_is_read_rightly(fitted):
    classifier, folder = fitted("pads on the right", "BERT", "cls")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"padding_side": "left"}))
    write_checksums(folder)
    assert np.array_equal(load(folder).predict_proba(TEXTS), classifier.predict_proba(TEXTS))


@pytest.mark.parametrize("start_tokens", [7, None])
def test_the_model_reads_texts_that_are_padded_before_their_starts(fitted, start_tokens):
    classifier, _ = fitted("pads on the right", "BERT", "mean")
    classifier.model.config.start_tokens = start_tokens
    sides = []
    for side in ("right", "left"):
        classifier.tokenizer.padding_side = side
        padded = classifier.tokenizer(TEXTS[:4], padding=True, return_tensors="pt")
        with torch.no_grad():
            sides.append(classifier.model(padded["input_ids"], padded["attention_mask"]).logits)
    torch.testing.assert_close(sides[1], sides[0])


def test_a_text_of_no_token_is_its_padding(fitted):
    classifier, _ = fitted("adds no special tokens", "BERT", "mean")
    alone = classifier.predict_proba([""])
    assert np.isfinite(alone).all()
    np.testing.assert_allclose(classifier.predict_proba(["", *TEXTS])[:1], alone, rtol=0, atol=1e-6)
    padded = classifier.tokenizer(["", "bad"], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits_BC = classifier.model(padded["input_ids"], padded["attention_mask"]).logits
    np.testing.assert_allclose(logits_BC.softmax(1)[:1].numpy(), alone, rtol=0, atol=1e-6)


def test_a_tokenizer_that_cannot_read_every_text_is_an_error(tmp_path):
    folder = encoder_with(tmp_path, fast(of_words(unknown=None)))
    with pytest.raises(InputError) as caught:
        load_encoder(EncoderConfig(name=str(folder)))
    assert str(caught.value) == (
        f"encoder '{folder}': the tokenizer in {folder} must read any text, got: WordLevel error: Missing [UNK] token "
        "from the vocabulary; save one with a token for what is unknown"
    )


def test_special_tokens_are_told_of_a_tokenizer_that_knows_no_latin_letter():
    tokenizer = Tokenizer(
        models.BPE({"[CLS]": 0, "[SEP]": 1, "\u3042": 2}, [])
    )  # drops what it does not know
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    loaded = PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]")
    assert loaded("a", add_special_tokens=False)["input_ids"] == []
    assert special_tokens(loaded) == ([0], [1])

"""Pairs of texts, from their tokens to a saved model's answers."""

import csv
import dataclasses
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pairs import make_pairs
from quirks import IDS, QUIRKS, encoder_with, fast, of_words
from random_models import FAMILIES
from tokenizers import processors
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast, pipeline

from trainers.config import DataConfig, EncoderConfig
from trainers.data.pairs import encode_pairs, named_pair, near_duplicate_texts
from trainers.data.shuffled import look_shuffled
from trainers.data.splits import Splits, load_splits
from trainers.data.texts import read_texts
from trainers.data.tokens import tokenise
from trainers.encoder.loading import load_encoder
from trainers.errors import InputError
from trainers.fit.feature_building import _key, build_features
from trainers.fit.features import Features
from trainers.fit.loop import fit
from trainers.model.classifier import assemble, load, save
from trainers.predict import main
from trainers.sklearn import TextClassifier

CSV = Path(__file__).parents[1] / "data" / "pairs.csv"
LONG = "the film was good and warm " * 9
PAIRS = [
    ("the film was good", "a dull story"),
    (LONG, "bad"),
    ("bad", LONG),
    (LONG, LONG + "a"),
    ("", "good"),
    ("good\tfilm", '"bad"'),
]


def of_pairs(*, told=True):
    tokenizer = of_words()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] [SEP] $B:1 [SEP]:1" if told else "[CLS] $A [SEP] [SEP] $B [SEP]",
        special_tokens=[("[CLS]", IDS["[CLS]"]), ("[SEP]", IDS["[SEP]"])],
    )
    names = ["input_ids", *(["token_type_ids"] if told else []), "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", model_input_names=names)


TOKENIZERS = {
    "BERT's": lambda: BertTokenizer(vocab=IDS),
    "with two separators": of_pairs,
    "pads on the left": QUIRKS["pads on the left"],
    "cuts on the left": QUIRKS["cuts on the left"],
}


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("max_length", [8, 13, 24])
def test_pairs_are_tokenised_and_cut_as_the_tokenizer_itself_does(tmp_path, name, max_length):
    tokenizer = load_encoder(EncoderConfig(name=str(encoder_with(tmp_path, TOKENIZERS[name]())))).tokenizer
    rows, segments, lengths_N = encode_pairs(PAIRS, tokenizer, max_length=max_length)
    for pair, row, segment, length in zip(PAIRS, rows, segments, lengths_N, strict=True):
        own = tokenizer(*pair, truncation="longest_first", max_length=max_length)
        assert (row, segment) == (own["input_ids"], own["token_type_ids"])
        assert length == len(tokenizer(*pair)["input_ids"])
    tokenizer.save_pretrained(tmp_path / "saved")
    assert '"truncation": null' in (tmp_path / "saved" / "tokenizer.json").read_text()


def test_a_tokenizer_that_runs_two_texts_together_is_refused():
    tokenizer = fast(of_words(specials=False))
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    with pytest.raises(InputError, match="a pair needs a tokenizer that puts a token between two texts"):
        encode_pairs(PAIRS, tokenizer, max_length=16)


def named(**changes):
    table = {"source": "/pairs.csv", "text": ["premise", "hypothesis"], "max_length": 24}
    return DataConfig.model_validate(table | changes)


def rows_of(count=120, seed=1):
    return [((a, b), label) for a, b, label in make_pairs(count, seed=seed)]


def splits_of(encoder, data):
    rows = rows_of()
    names = ("contradiction", "entailment", "neutral")

    def part(chosen):
        labels_N = np.array([names.index(label) for _, label in chosen])
        return tokenise([pair for pair, _ in chosen], labels_N, data, encoder.tokenizer)

    return Splits(part(rows[:80]), part(rows[80:100]), part(rows[100:]), names, 0, 0, 0)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, make_config):
    """A function: fit on pairs with an encoder of a family; returns encoder, configuration, result and classifier."""
    made = {}

    def fitted(family, *, told=True):
        if (family, told) not in made:
            folder = tmp_path_factory.mktemp("pairs")
            tokenizer = of_pairs(told=told)
            encoder = load_encoder(EncoderConfig(name=str(encoder_with(folder, tokenizer, family))))
            data = named().model_dump() | {
                "head_tokens": None,
                "train": None,
                "validation": None,
                "test": None,
            }
            config = make_config(data=data, encoder={"name": str(folder)}, freeze_depth=0, epochs=1)
            splits = splits_of(encoder, config.data)
            result = fit(config, Features(encoder, splits))
            made[family, told] = (
                encoder,
                config,
                result,
                assemble(encoder, config, result, names=splits.class_names),
            )
        return made[family, told]

    return fitted


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fit_reads_pairs_as_transformers_does(fitted, family):
    """Its network, in sections and batches, gives the logits of the whole model with the tokenizer's own inputs."""
    encoder, config, result, classifier = fitted(family)
    pairs = [pair for pair, _ in rows_of()[:6]] + PAIRS
    expected = []
    for pair in pairs:
        own = encoder.tokenizer(*pair, truncation="longest_first", max_length=24, return_tensors="pt")
        inner = classifier.model.encoder
        if family in {"DistilBERT", "MPNet", "ModernBERT"}:
            own.pop("token_type_ids")
        with torch.inference_mode():
            hidden = inner(**own).last_hidden_state.mean(dim=1)
            expected.append(classifier.model.head(hidden).softmax(dim=1)[0].numpy())
    np.testing.assert_allclose(classifier.predict_proba(pairs), expected, rtol=0, atol=2e-5)
    split = tokenise(pairs, np.zeros(len(pairs), dtype=np.int64), config.data, encoder.tokenizer)
    splits = dataclasses.replace(splits_of(encoder, config.data), train=split)
    inputs = Features(encoder, splits).inputs("train", 0)
    with torch.inference_mode():
        network = result.network.eval()(inputs.batch(np.arange(len(pairs)))).softmax(dim=1)
    np.testing.assert_allclose(network.numpy(), expected, rtol=0, atol=2e-5)


def test_segments_matter_to_the_encoder_that_has_them(fitted):
    *_, classifier = fitted("BERT")
    swapped = dataclasses.replace(classifier, tokenizer=fitted("BERT", told=False)[0].tokenizer)
    assert classifier.model.config.segments is True
    assert np.abs(classifier.predict_proba(PAIRS) - swapped.predict_proba(PAIRS)).max() > 1e-4


def test_stored_features_depend_on_segments_and_fit_as_live_ones(fitted, tmp_path):
    encoder, config, *_ = fitted("BERT")
    splits = splits_of(encoder, config.data)
    how = {"dtype": np.dtype("float32"), "pooling": "mean"}
    other = dataclasses.replace(splits.train, segments_S=1 - splits.train.segments_S)
    without = dataclasses.replace(splits.train, segments_S=None)
    assert len({_key(encoder, split, **how) for split in (splits.train, other, without)}) == 3
    config = config.model_copy(update={"freeze_depth": 2, "cache": "float32"})
    stored = build_features(encoder, splits, config, depths=[2], directory=tmp_path, disk_bytes=2**30)
    live = Features(encoder, splits)
    assert (stored.inputs("train", 2).depth, live.inputs("train", 2).depth) == (2, None)
    first, second = (fit(config, features).validation_accuracy for features in (stored, live))
    assert first == second


@pytest.mark.parametrize(("family", "told"), [("BERT", True), ("RoBERTa", False)])
def test_a_saved_model_answers_pairs_as_before_here_and_in_a_pipeline(fitted, tmp_path, family, told):
    *_, classifier = fitted(family, told=told)
    save(classifier, tmp_path / "model", onnx=told)
    expected = classifier.predict_proba(PAIRS)
    assert np.array_equal(load(tmp_path / "model").predict_proba(PAIRS), expected)
    classify = pipeline("text-classification", model=str(tmp_path / "model"))
    asked = [{"text": a, "text_pair": b} for a, b in PAIRS]
    said = [classify(pair, top_k=None, truncation=True) for pair in asked]
    got = [[e["score"] for e in sorted(row, key=lambda e: e["label"])] for row in said]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    if told:
        import onnxruntime

        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
        session = onnxruntime.InferenceSession(tmp_path / "model" / "model.onnx")
        inputs = tokenizer(
            *map(list, zip(*PAIRS, strict=True)), padding=True, truncation=True, return_tensors="np"
        )
        [logits] = session.run(None, dict(inputs))
        got = torch.from_numpy(logits).softmax(dim=1).numpy()
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict") / "model"
    save(fitted("BERT")[3], folder)
    return folder


def answers(model, pairs):
    return [(p.label, f"{p.probability:.4f}") for p in load(model).predict(pairs)]


def test_two_arguments_are_a_pair(model, capsys):
    assert main([str(model), "good film", "bad\tplot"]) == 0
    [(label, probability)] = answers(model, [("good film", "bad\tplot")])
    assert capsys.readouterr().out == f"{label}\t{probability}\tgood film\tbad plot\n"


def test_lines_hold_two_texts_with_a_tab_between_them(model, capsys, monkeypatch):
    typed = io.TextIOWrapper(io.BytesIO(b'good film\ta "bad" plot\n\nbad\t\n'), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", typed)
    assert main([str(model)]) == 0
    [(label, probability)] = answers(model, [("good film", 'a "bad" plot')])
    assert capsys.readouterr().out == f'{label}\t{probability}\tgood film\ta "bad" plot\n\t\t\t\n\t\tbad\t\n'


@pytest.mark.parametrize("flags", [(), ("--column", "hypothesis", "--column", "premise")])
def test_a_table_is_read_by_the_columns_of_training_or_by_those_named(model, capsys, tmp_path, flags):
    path = tmp_path / "t.csv"
    path.write_text("id,premise,hypothesis\n1,good film,bad plot\n2,good,\n")
    assert main([str(model), "--file", str(path), *flags]) == 0
    pair = ("bad plot", "good film") if flags else ("good film", "bad plot")
    [(label, _)] = answers(model, [pair])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["prediction"] for row in rows] == [label, ""]


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        (
            b"a\tb\nalone\na\tb\tc\n",
            [],
            "this model reads pairs (premise, hypothesis), hence two texts with one tab between them a line, got another number "
            "of tabs in 2 of 3 lines (2, 3); fix these, or give a table with --file",
        ),
        (
            b"",
            ["one"],
            "this model reads pairs (premise, hypothesis): two texts after one another, got 1 in all; give both of each",
        ),
        (
            b"",
            ["--file", "t.csv", "--column", "a"],
            "this model reads pairs (premise, hypothesis): give two --column, got 1",
        ),
    ],
)
def test_single_texts_for_a_model_of_pairs_are_exit_code_2(
    model, capsys, monkeypatch, content, flags, message
):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    assert main([str(model), *flags]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_single_texts_for_a_classifier_of_pairs_are_refused_and_the_other_way_round(model, fitted):
    with pytest.raises(
        InputError, match=r"this model reads pairs \(premise, hypothesis\), got a str at index 0"
    ):
        load(model).predict(["alone"])
    *_, classifier = fitted("RoBERTa", told=False)
    config = classifier.model.config
    pair, config.pair = config.pair, None
    try:
        with pytest.raises(InputError, match="this model reads single texts, got a pair or list at index 0"):
            classifier.predict([("a", "b")])
    finally:
        config.pair = pair


def test_the_estimator_takes_an_array_of_two_columns_as_a_list_of_pairs(tiny_encoder_dir):
    pairs, labels = zip(*rows_of(48), strict=True)
    settings = {"encoder": str(tiny_encoder_dir), "epochs": 1, "max_length": 24}
    first = TextClassifier(**settings).fit(list(pairs), list(labels))
    second = TextClassifier(**settings).fit(np.array(pairs), list(labels))
    assert np.array_equal(first.predict_proba(list(pairs)), second.predict_proba(np.array(pairs)))
    assert first.config_.data.pair == ("text", "text_pair")
    with pytest.raises(ValueError, match="this model reads pairs"):
        first.predict(["alone"])
    with pytest.raises(
        ValueError, match=r"X must hold pairs of two texts alone, if it holds one, got 'alone' at index 1"
    ):
        first.fit([pairs[0], "alone"], [0, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"text": ["a", "b", "c"]},
            "must be the name of a column, or a list of two, got ['a', 'b', 'c']; fix it",
        ),
        ({"text": ["a", "a"]}, "must be the name of a column, or a list of two, got ['a', 'a']; fix it"),
        ({"text": []}, "must be the name of a column, or a list of two, got []; fix it"),
        (
            {"head_tokens": 4},
            "head_tokens is for single texts, got 4 with the two columns ('premise', 'hypothesis')",
        ),
    ],
)
def test_columns_that_are_no_pair_are_refused(changes, message):
    with pytest.raises(ValueError, match="1 validation error") as caught:
        named(**changes)
    assert message in str(caught.value)


def test_a_list_of_one_column_is_that_column():
    assert (named(text=["a"]).text, named(text=["a"]).pair) == ("a", None)


def test_pairs_are_nearly_the_same_if_both_texts_are():
    long = " ".join(f"word{i}" for i in range(40))
    texts = [
        (long, "a b c"),
        (long + " more", "A b, c!"),
        (long, "a b d"),
        ("a b c", long),
        (long, "a b c d"),
    ]
    assert near_duplicate_texts(texts, emoji=True).tolist() == [0, 0, 2, 3, 4]


@pytest.fixture
def written(tmp_path):
    """A function: write rows of pairs, and return what is read of them."""

    def written(rows, **changes):
        with (tmp_path / "p.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("premise", "hypothesis", "label"), *rows])
        return read_texts(named(source=str(tmp_path / "p.csv"), **changes))

    return written


def test_pairs_that_lack_a_text_are_left_out_and_told_with_their_lines(written):
    rows = make_pairs(60, seed=4)
    texts = written([*rows, ("alone", " ", "neutral"), ("", "alone", "neutral"), rows[0]])
    told = {f.message: f.lines for f in texts.findings if f.severity == "mended"}
    assert told["pairs without a second text were left out"] == (62,)
    assert told["pairs without a first text were left out"] == (63,)
    assert told["rows with a text that came before were left out"] == (64,)
    assert len(texts.rows) == 60


def test_texts_that_training_and_the_others_share_are_told(written):
    rows = [
        (f"premise number {i % 9} of them all", b, c) for i, (_, b, c) in enumerate(make_pairs(90, seed=5))
    ]
    kinds = [f.message for f in written(rows).findings if f.kind == "shared texts"]
    assert any("have a text in column 'premise' that training has, too, in another pair" in m for m in kinds)
    folded = [f.message for f in written(rows, folds=3).findings if f.kind == "shared texts"]
    assert all("pairs of validation and test have" in m for m in kinds)
    assert folded
    assert all("pairs of test have" in m for m in folded)
    apart = written(rows, group="premise").findings
    assert not any("column 'premise' that training" in f.message for f in apart if f.kind == "shared texts")


def test_shuffled_labels_of_pairs_are_told_from_sound_ones():
    rows = rows_of(700, seed=6)
    pairs, labels = map(list, zip(*rows, strict=True))
    assert not look_shuffled(pairs, labels)
    assert look_shuffled(pairs, np.random.default_rng(0).permutation(labels).tolist())


def test_usual_names_of_two_columns_are_a_pair():
    assert named_pair(["id", "Sentence1", "sentence2", "label"]) == ("Sentence1", "sentence2")
    assert named_pair(["text", "label"]) is None


def test_the_pairs_are_what_their_maker_makes(tiny_encoder):
    with CSV.open(newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [
            ("premise", "hypothesis", "relation"),
            *make_pairs(360),
        ]
    assert CSV.stat().st_size < 40_000
    splits = load_splits(named(source=str(CSV)), tiny_encoder.tokenizer)
    assert splits.train.segments_S.shape == splits.train.ids_S.shape

import dataclasses
from typing import get_args

import pytest
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results

from trainers.config import METRIC_NAMES, Metric
from trainers.fit.features import Features
from trainers.fit.loop import fit
from trainers.model.card import Confirmation, Search, escape, model_card
from trainers.model.classifier import weights_sha256

CONFIRMED = Confirmation(
    validation=0.8612,
    spread=0.0042,
    num_seeds=3,
    share_under_ceiling=2 / 3,
    test=0.8534,
    test_spread=0.0031,
    num_tested=3,
    low=0.84,
    high=0.867,
    confidence=0.95,
    num_test=2500,
    test_seed=11,
    test_of_seed=0.8561,
)


@pytest.fixture(scope="module")
def fitted(tiny_encoder, tiny_splits, make_config):
    """Configuration, features and result of a fit."""
    config = make_config(epochs=1)
    features = Features(tiny_encoder, tiny_splits)
    return config, features, fit(config, features)


@pytest.fixture
def card(fitted):
    """A function: the card of the fit, as the hub's client reads it."""

    def card(confirmation=None, *, searched=True, onnx=False, goal=None, **config):
        settings, features, result = fitted
        found = Search(
            study="imdb",
            trial=24,
            num_trials=50,
            validation_accuracy=0.8765,
            confirmation=confirmation,
            goal=goal,
        )
        text = model_card(
            settings.model_copy(update=config),
            features,
            result,
            search=found if searched else None,
            onnx=onnx,
        )
        return ModelCard(text)

    return card


def rows(card, heading):
    """The cells of the rows of the first table under a heading."""
    section = card.text.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_head_says_what_the_hub_asks(card):
    data = card().data
    assert (data.library_name, data.pipeline_tag, data.language) == (
        "transformers",
        "text-classification",
        "en",
    )
    assert data.tags == ["text-classification", "frostline"]
    assert data.metrics == ["accuracy"]


def test_only_these_weights_figure_on_the_test_split_is_given_to_the_hub(card, fitted):
    itself = dataclasses.replace(CONFIRMED, test_seed=fitted[0].seed)
    [tested] = card(itself).data.eval_results
    assert (tested.dataset_split, tested.metric_type, tested.metric_value) == ("test", "accuracy", 0.8561)
    for found in (card(CONFIRMED), card()):  # others' weights were tested, or none
        assert found.data.eval_results is None
        assert "model-index" not in found.content


@pytest.mark.parametrize("metric", get_args(Metric))
def test_the_hubs_own_client_takes_the_metadata_of_a_tested_model(card, fitted, metric):
    itself = dataclasses.replace(CONFIRMED, test_seed=fitted[0].seed)
    found = ModelCard(card(itself, metric=metric).content, ignore_metadata_errors=False)
    name, results = model_index_to_eval_results(found.data.to_dict()["model-index"])
    assert name == "imdb"
    assert [r.metric_name for r in results] == [METRIC_NAMES[metric]]
    assert ModelCardData(**found.data.to_dict(), ignore_metadata_errors=False).eval_results == results


def test_a_model_that_is_sent_to_a_hub_tells_how_to_fetch_it_and_that_it_brings_code(fitted):
    config, features, result = fitted
    text = model_card(config, features, result, hub_name="alice/stars")
    assert "`hf download alice/stars --local-dir model` fetches this folder as `model`" in text
    assert (
        "Its `modeling_frostline.py` is Python\ncode: transformers runs it only with `trust_remote_code=True`"
        in text
    )
    assert "hf download" not in model_card(config, features, result)


def test_the_searchs_figure_is_labelled_as_the_best_of_many(card):
    assert rows(card(), "Figures")[-1] == [
        "search's validation accuracy",
        "87.65 %",
        "trial 24, the best of 50 trials, so probably too high",
    ]


def test_without_a_confirmation_the_card_says_so(card):
    text = card().text
    assert "Not confirmed: nothing here was measured on texts that had no part in choosing" in text
    assert "- Not measured: the test split, other sources of texts" in text
    assert "±" not in text


def test_a_confirmation_is_told_with_spread_and_interval(card):
    table = rows(card(CONFIRMED), "Figures")
    assert table[0] == [
        "test accuracy",
        "85.61 %",
        "the same settings fitted with seed 11, once, on 2,500 texts that no choice was made by",
    ]
    assert table[1] == [
        "confirmed test accuracy",
        "85.34 % ± 0.31 % [84.00 %, 86.70 %]",
        "mean and standard deviation of 3 fits of the same settings on fresh seeds, each once, on 2,500 texts that no "
        "choice was made by, with a 95 % interval over other seeds and other texts",
    ]
    assert table[2] == [
        "confirmed validation accuracy",
        "86.12 % ± 0.42 %",
        "mean and standard deviation of 3 fits of the same settings on fresh seeds, of which 67 % kept under the "
        "ceiling of training",
    ]


def test_of_an_unknown_interval_nothing_is_said(card):
    said = rows(card(dataclasses.replace(CONFIRMED, low=None, high=None)), "Figures")[1]
    assert said[1:] == [
        "85.34 % ± 0.31 %",
        "mean and standard deviation of 3 fits of the same settings on fresh seeds, each once, on 2,500 texts that no "
        "choice was made by",
    ]


def test_an_interval_where_there_are_groups_is_over_groups(card, fitted):
    data = fitted[0].data.model_copy(update={"group": "patient_id"})
    assert rows(card(CONFIRMED, data=data), "Figures")[1][2].endswith(
        "over other seeds and other groups of texts"
    )


def test_one_tested_fit_is_said_to_speak_of_no_other_seed(card):
    alone = dataclasses.replace(CONFIRMED, num_tested=1, test_spread=None, test_of_seed=0.8534)
    text = card(alone)
    assert rows(text, "Figures")[0] == [
        "test accuracy",
        "85.34 % [84.00 %, 86.70 %]",
        "the same settings fitted with seed 11, once, on 2,500 texts that no choice was made by, with a 95 % interval over "
        "other texts, not over other seeds",
    ]
    assert "of which one seed alone was measured" in text.text


def test_the_goal_is_said_to_be_met_or_not(card):
    said = card(
        CONFIRMED, goal="Goal: validation >= 86 %: not met on fresh seeds by trial 24: 85.05 % +- 0.07."
    )
    assert (
        "\nGoal\\: validation \\>= 86 %\\: not met on fresh seeds by trial 24\\: 85.05 % ± 0.07.\n"
        in said.text
    )


def test_a_tested_model_is_told_from_one_of_the_same_settings(card, fitted):
    itself = dataclasses.replace(CONFIRMED, test_seed=fitted[0].seed)
    assert rows(card(itself), "Figures")[0][2].startswith("these weights, once, on 2,500 texts")


def test_a_single_fit_has_no_spread_and_no_test_is_said(card):
    alone = Confirmation(validation=0.8, spread=None, num_seeds=1, share_under_ceiling=1.0)
    text = card(alone).text
    assert "±" not in text
    assert "Not tested: the test split is untouched." in text


def test_a_model_from_nowhere_has_no_search_in_its_card(card):
    found = card(searched=False)
    assert "trial" not in found.text
    assert found.text.strip().startswith("# A text classifier\n")
    assert [row[0] for row in rows(found, "Figures")] == ["validation accuracy", "training accuracy"]


def test_the_metric_of_the_fit_is_named(card, fitted):
    found = card(dataclasses.replace(CONFIRMED, test_seed=fitted[0].seed), metric="macro_f1")
    assert [row[0] for row in rows(found, "Figures")][:2] == ["test macro-F1", "confirmed test macro-F1"]
    assert found.data.eval_results[0].metric_type == "f1"


def test_data_and_limits_are_told(card, fitted):
    text = card().text
    assert rows(card(), "Data")[-1] == ["all", "96", "48", "32"]
    assert f"SHA-256 over all rows of the source: `{fitted[1].splits.fingerprint}`." in text
    assert (
        "- Length: of a text, 24 tokens are read, special ones included: the first 6 and the last ones."
        in text
    )
    assert "- Language: English; no other was tried." in text


def test_settings_versions_and_fingerprints_are_told(card, fitted):
    text, encoder = card().text, fitted[1].encoder
    assert ["learning\\_rate", "0.003"] in rows(card(), "Fit it again")
    assert f"SHA-256 over its files `{encoder.fingerprint}`" in text
    assert weights_sha256(fitted[2].network) in text
    assert encoder.name not in text  # a path of this machine
    assert "Versions: Python 3." in text


@pytest.mark.parametrize(
    ("clean", "told"),
    [
        ("html", "it cuts out HTML's tags such as `<br />`, resolves its entities"),
        ("spaces", "it removes invisible characters and needless white space, and leaves markup as it is."),
        ("none", "and no `truncation`.\n"),
        ("0.1", "it cuts out whatever looks like a tag"),
    ],
)
def test_how_texts_were_cleaned_is_told(card, fitted, clean, told):
    assert told in card(data=fitted[0].data.model_copy(update={"clean": clean})).text


@pytest.mark.parametrize("onnx", [True, False])
def test_onnxruntime_is_shown_where_there_is_a_file_for_it(card, onnx):
    assert ("onnxruntime.InferenceSession" in card(onnx=onnx).text) is onnx


def test_the_python_of_the_card_is_python(card):
    blocks = [part.split("```")[0] for part in card(onnx=True).text.split("```python\n")[1:]]
    assert len(blocks) == 2
    for block in blocks:
        compile(block, "card", "exec")


def test_hostile_names_of_classes_stay_text(fitted):
    config, features, result = fitted
    evil = ("a|b\n---\n# x", "<script>[click](http://evil.example)`www.evil.example")
    splits = dataclasses.replace(features.splits, class_names=evil)
    card = ModelCard(model_card(config, Features(features.encoder, splits), result))
    assert "<script>" not in card.text.replace("\\<script\\>", "")
    assert "\n# x" not in card.text
    assert rows(card, "Data")[0][0] == "a\\|b --- \\# x"
    assert escape(evil[1]) == "\\<script\\>\\[click\\](http\\://evil.example)\\`www\\.evil.example"


def test_a_line_cannot_be_begun_by_a_name():
    assert escape("a\nb\u2028c\x1b[2J") == "a b c\\\\x1b\\[2J"


def test_groups_that_were_kept_together_are_told(card, fitted):
    data = fitted[0].data.model_copy(update={"group": "patient_id"})
    assert (
        "- Groups: texts with the same patient\\_id were kept in one split; figures speak of groups that it was not trained on."
        in card(data=data).text
    )
    assert "- Groups:" not in card().text

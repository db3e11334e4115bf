"""The model card: what is in a model's directory, what was measured of it, and what was not."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.config import METRIC_NAMES, PACKAGED_ENCODER, PACKAGED_SOURCES, Clean, DataConfig, TrainConfig
from trainers.data import SPLITS, describe_data, has_segments
from trainers.encoder import embeds_segments
from trainers.errors import printable
from trainers.fit import aim_in_words
from trainers.model.classifier import weights_sha256
from trainers.model.onnx import TOLERANCE

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from trainers.fit import Features, FitResult, SplitCalibration
    from trainers.model.decisions import Decisions
    from trainers.model.int8 import Int8

TEMPLATE = Path(__file__).with_name("card.md.jinja")
HUB_NAME_OF_PACKAGED = "sentence-transformers/all-MiniLM-L6-v2"
MOST_CLASSES = 50
VERSIONS = ("frostline", "torch", "transformers")

CLEANING: dict[Clean, str] = {
    "html": "cuts out HTML's tags such as `<br />`, resolves its entities such as `&amp;`, and removes invisible characters "
    "and needless white space",
    "spaces": "removes invisible characters and needless white space, and leaves markup as it is",
    "none": "",
    "0.1": "cuts out whatever looks like a tag, such as `<br />`, resolves HTML's entities such as `&amp;`, and removes "
    "invisible characters and needless white space",
}

METRIC_TYPES: dict[str, str] = {"macro_f1": "f1", "micro_f1": "f1", "subset_accuracy": "accuracy"}
"""What Hugging Face calls a metric, where it has another name."""

ABSTAIN_SHOWN = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Probabilities of the card's table of abstaining."""

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&$!@:])")


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What fits of the same setup on fresh seeds came to. Accuracies are by the configuration's metric.

    Attributes:
        validation: Mean over the seeds.
        spread: Sample standard deviation over them; None of a single one.
        num_seeds: How many.
        share_under_ceiling: Share of them that kept their training accuracy under the ceiling.
        test: Mean over the fits that were tested; None if none was, as everything below.
        test_spread: Sample standard deviation over them; None of a single one.
        num_tested: How many.
        low: Lower end of its interval.
        high: Upper end of its interval.
        confidence: Of that interval.
        num_test: Texts in the test split.
        test_seed: Of the first fit that was tested.
        test_of_seed: What that one came to.
        test_on_scale: Of steps of a scale, further figures of all of them, in words; None elsewhere.
    """

    validation: float
    spread: float | None
    num_seeds: int
    share_under_ceiling: float
    test: float | None = None
    test_spread: float | None = None
    num_tested: int = 0
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    num_test: int | None = None
    test_seed: int | None = None
    test_of_seed: float | None = None
    test_on_scale: str | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where a model's settings come from.

    Attributes:
        study: Its name.
        trial: Number of the trial.
        num_trials: Finished ones.
        validation_accuracy: As the search measured it; None if it is not known.
        confirmation: Of the trial's settings; None if there is none.
        goal: Whether they meet the study's goal, in a sentence; None if nobody asked.
    """

    study: str
    trial: int
    num_trials: int
    validation_accuracy: float | None
    confirmation: Confirmation | None
    goal: str | None = None


def model_card(
    config: TrainConfig,
    features: Features,
    result: FitResult,
    *,
    decisions: Decisions | None = None,
    search: Search | None = None,
    onnx: bool = False,
    int8: Int8 | None = None,
    hub_name: str | None = None,
) -> str:
    """Return the card of a fitted model, as Markdown with a YAML head.

    Whatever comes from users, such as names of classes, is escaped.

    Args:
        config: Of the fit.
        features: Its encoder and texts.
        result: What it came to.
        decisions: The model's temperature and threshold; None if nobody looked at its probabilities.
        search: Where its settings come from; None if nobody knows.
        onnx: Whether ``model.onnx`` stands beside the card.
        int8: What was measured of ``model-int8.onnx`` beside it; None if there is none.
        hub_name: Of the repository of a hub that the model will be sent to; None if it will not.
    """
    from huggingface_hub import ModelCard, ModelCardData

    encoder, data = features.encoder, describe_data(features.splits)
    confirmed = search.confirmation if search else None
    tested_itself = confirmed is not None and confirmed.test_seed == config.seed
    packaged = config.data.source in PACKAGED_SOURCES
    plain_source = _source(config.data)
    card_data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["text-classification", "frostline"],
        language="en" if packaged else None,
        base_model=_base_model(config, encoder.revision),
        datasets=[config.data.source] if config.data.is_hub_id else None,
        metrics=[config.metric],
        model_name=search.study if search else "text-classifier",
        eval_results=_eval_results(config, plain_source, confirmed if tested_itself else None),
    )
    card = ModelCard.from_template(
        card_data,
        template_path=str(TEMPLATE),
        title=escape(f"{search.study}, trial {search.trial}") if search else "A text classifier",
        pair=config.data.pair and [escape(name) for name in config.data.pair],
        segments=has_segments(encoder.tokenizer) and embeds_segments(encoder.model),
        max_tokens=config.data.max_length,
        several=config.data.task == "several_labels",
        classes=_few([escape(name) for name in data["class_names"]]),
        hub_name=hub_name,
        encoder=escape(_encoder_name(config)),
        revision=f", revision {escape(encoder.revision)}" if encoder.revision else "",
        encoder_sha256=encoder.fingerprint,
        frostline=version("frostline"),
        origin=_origin(search),
        figures=_figures(config, result, search, tested_itself=tested_itself),
        verdict=_verdict(confirmed),
        cleaning=CLEANING[config.data.clean],
        decided=_decided(decisions, config) if decisions else [],
        believed=_believed(decisions) if decisions else [],
        abstaining=_abstaining(decisions) if decisions else [],
        goal=escape(search.goal.replace("+-", "±")) if search and search.goal else "",
        onnx=f"{TOLERANCE:g}" if onnx else "",
        int8=_int8(int8, config) if int8 else "",
        source=escape(plain_source),
        cleaned=_cleaned(data),
        splits=SPLITS,
        counts=_counts(data),
        fingerprint=data["fingerprint"],
        limits=_limits(config, data, confirmed, decisions),
        weights=weights_sha256(result.network),
        settings=_settings(config),
        versions=", ".join(
            [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in VERSIONS)]
        ),
    )
    return str(card)


def escape(text: object) -> str:
    """Write a text of whatever origin on one line of Markdown, in which nothing is markup, a table's bar or a link."""
    return _MARKUP.sub(r"\\\1", printable(text)).replace("www.", "www\\.")


def percent(share: float | None) -> str:
    """Write a share as percent; None is a dash."""
    return "-" if share is None else f"{100 * share:.2f} %"


def _figures(
    config: TrainConfig, result: FitResult, search: Search | None, *, tested_itself: bool
) -> list[dict[str, str]]:
    metric = METRIC_NAMES[config.metric]
    rows = []

    def row(name: str, value: str, meaning: str) -> None:
        rows.append({"name": f"{name} {metric}", "value": value, "meaning": meaning})

    confirmed = search.confirmation if search else None
    if confirmed is not None:
        if confirmed.test is not None:
            _test_figures(row, confirmed, tested_itself=tested_itself)
        if confirmed.test_on_scale is not None:
            meaning = f"mean of {confirmed.num_tested} fits of the same settings on fresh seeds"
            rows.append({"name": "test, on the scale", "value": confirmed.test_on_scale, "meaning": meaning})
        spread = "" if confirmed.spread is None else f" ± {percent(confirmed.spread)}"
        row(
            "confirmed validation",
            percent(confirmed.validation) + spread,
            f"mean and standard deviation of {confirmed.num_seeds} fits of the same settings on fresh seeds, of which "
            f"{100 * confirmed.share_under_ceiling:.0f} % kept under the ceiling of training",
        )
    row("validation", percent(result.validation_accuracy), "these weights; they were chosen by such a figure")
    if result.on_scale is not None:
        meaning = "these weights, of classes that are steps of a scale"
        rows.append({"name": "validation, on the scale", "value": str(result.on_scale), "meaning": meaning})
    row("training", percent(result.training_accuracy), "these weights, on all that they were trained on")
    if search is not None:
        row(
            "search's validation",
            percent(search.validation_accuracy),
            f"trial {search.trial}, the best of {search.num_trials} trials, so probably too high"
            if search.num_trials > 1
            else f"trial {search.trial}, the only one",
        )
    return rows


def _test_figures(
    row: Callable[[str, str, str], None], confirmed: Confirmation, *, tested_itself: bool
) -> None:
    texts = f"on {confirmed.num_test:,} texts that no choice was made by"
    low, high = percent(confirmed.low), percent(confirmed.high)
    interval = "" if confirmed.low is None else f" [{low}, {high}]"
    confidence = f"{100 * (confirmed.confidence or 0):g} % interval"
    whose = "these weights" if tested_itself else f"the same settings fitted with seed {confirmed.test_seed}"
    if confirmed.num_tested == 1:
        row(
            "test",
            percent(confirmed.test) + interval,
            f"{whose}, once, {texts}, with a {confidence} over other texts, not over other seeds",
        )
        return
    row("test", percent(confirmed.test_of_seed), f"{whose}, once, {texts}")
    row(
        "confirmed test",
        f"{percent(confirmed.test)} ± {percent(confirmed.test_spread)}{interval}",
        f"mean and standard deviation of {confirmed.num_tested} fits of the same settings on fresh seeds, each once, "
        f"{texts}, with a {confidence} over other seeds and other texts",
    )


def _verdict(confirmed: Confirmation | None) -> str:
    if confirmed is None:
        return (
            "Not confirmed: nothing here was measured on texts that had no part in choosing, and validation figures of "
            "what was chosen by them are too good. The test split is untouched."
        )
    if confirmed.test is None:
        return "Not tested: the test split is untouched."
    if confirmed.num_tested == 1:
        return (
            "What to expect of new texts like those is the test figure, of which one seed alone was measured."
        )
    return "What to expect of new texts like those is the confirmed test figure."


def _eval_results(config: TrainConfig, source: str, tested: Confirmation | None) -> list[EvalResult] | None:
    """Return what a hub lists beside other models: these weights' figure on texts that no choice was made by, if there is one."""
    from huggingface_hub import EvalResult

    if tested is None or tested.test_of_seed is None:
        return None
    return [
        EvalResult(
            task_type="text-classification",
            dataset_type=config.data.source if config.data.is_hub_id else "text",
            dataset_name=printable(source),
            dataset_split="test",
            metric_type=METRIC_TYPES.get(config.metric, config.metric),
            metric_name=METRIC_NAMES[config.metric],
            metric_value=round(tested.test_of_seed, 6),
        )
    ]


def _decided(found: Decisions, config: TrainConfig) -> list[str]:
    """Say what the model does to its logits, and how it chooses its label."""
    temperature, reason = found.calibration.temperature, found.calibration.reason
    said = [
        f"Logits are divided by {temperature:g}, the temperature of the lowest log loss on validation (`logit_temperature` in "
        "config.json). That is done inside the model: transformers and ONNX give the same probabilities as Frostline. It "
        "changes no label."
        if reason is None
        else f"Logits are as they were fitted, not scaled by a temperature: {reason}."
    ]
    chosen = found.threshold
    if chosen is None and config.metric == "quadratic_kappa":
        said.append(
            "**Steps of a scale.** The answer is the median class: the lowest at or below which half of the probability lies "
            "(`decides` in config.json). Frostline's `predict` gives it, and the figures above are of it; transformers' pipeline "
            "and ONNX give the most probable class."
        )
    if chosen is not None:
        aim, metric, name = aim_in_words(chosen.aim), METRIC_NAMES[config.metric], escape(chosen.name)
        said.append(
            f"**Threshold.** {name} is said from a probability of {chosen.probability:.4f} on, else the other class (`thresholds` "
            f"in config.json), chosen for {aim} of {name} on validation. Frostline's `predict` does so; transformers' pipeline "
            "and ONNX know nothing of it. The figures above are of the most probable class, without it."
        )
        for split, effect in (("validation", chosen.validation), ("the test split", chosen.test)):
            if effect is not None:
                said.append(
                    f"On {split}, {aim} goes from {percent(effect.aim[0])} to {percent(effect.aim[1])}, {metric} from "
                    f"{percent(effect.metric[0])} to {percent(effect.metric[1])}: {effect.num_changed:,} of "
                    f"{effect.num_texts:,} labels change{', by which it was chosen' if split == 'validation' else ''}."
                )
    return said


def _int8(found: Int8, config: TrainConfig) -> str:
    """Say what eight bits did to size, speed and score."""
    small, large = (f"{size / 2**20:.1f} MiB" for size in sorted(found.num_bytes))
    cost = (
        f"{100 * found.loss:.1f} points lost, **more than half a point**"
        if found.is_noticeable
        else f"{100 * -found.loss:+.1f} points"
    )
    return (
        f"`model-int8.onnx` holds the same matrices in eight bits (onnxruntime's dynamic quantisation): {small} instead of {large}, "
        f"{found.seconds[0] / found.seconds[1]:.2f} times as fast on the processor that exported it (one thread, the validation "
        f"texts). Validation {METRIC_NAMES[config.metric]} was {percent(found.score[1])} instead of {percent(found.score[0])}: {cost}, "
        f"{found.num_changed:,} of {found.num_texts:,} labels changed."
    )


def _splits(found: Decisions) -> list[tuple[str, SplitCalibration]]:
    test = found.calibration.test
    return [("validation", found.calibration.validation), *([("test", test)] if test else [])]


def _believed(found: Decisions) -> list[list[str]]:
    """Write calibration errors before and after temperature scaling, a row a split."""
    return [
        [
            name,
            percent(split.before.error),
            percent(split.after.error),
            percent(split.after.by_chance),
            f"{split.before.log_loss:.4f}",
            f"{split.after.log_loss:.4f}",
        ]
        for name, split in _splits(found)
        if split.num_texts
    ]


def _abstaining(found: Decisions) -> list[list[str]]:
    """Write what abstaining would leave, on the test split if somebody looked, else on validation."""
    name, split = _splits(found)[-1]
    shown = [row for row in split.coverage if row.abstain_below in ABSTAIN_SHOWN]
    return [[f"{row.abstain_below:g}", percent(row.coverage), percent(row.accuracy), name] for row in shown]


def _limits(
    config: TrainConfig, data: dict[str, Any], confirmed: Confirmation | None, decisions: Decisions | None
) -> list[str]:
    longest, head = config.data.max_length, config.data.head_tokens
    kept = "the first ones" if head is None else f"the first {head} and the last ones"
    if config.data.pair is not None:
        kept = "the longer text loses its last ones until they fit"
    what = "text" if config.data.pair is None else "pair"
    cut, texts = sum(data["texts_cut"].values()), sum(data[name] for name in SPLITS)
    language = "English" if config.data.source in PACKAGED_SOURCES else "That of the texts above"
    unmeasured = ["other sources of texts", "bias against groups of people"]
    if decisions is None:
        unmeasured.insert(1, "how well its probabilities are calibrated")
    elif decisions.calibration.test is None:
        unmeasured.insert(
            1, "how well its probabilities are calibrated on texts that had no part in choosing"
        )
    if confirmed is None or confirmed.test is None:
        unmeasured.insert(0, "the test split")
    return [
        f"Length: of a {what}, {longest} tokens are read, special ones included: {kept}. {cut:,} of the {texts:,} {what}s "
        "were longer.",
        f"Language: {language}; no other was tried.",
        *_groups(config),
        "It knows no other labels than these, and may give none."
        if config.data.task == "several_labels"
        else f"It answers with one of its classes whatever the {what} is.",
        f"Not measured: {', '.join(unmeasured)}.",
    ]


def _groups(config: TrainConfig) -> list[str]:
    column = config.data.group
    if column is None:
        return []
    return [
        f"Groups: texts with the same {escape(column)} were kept in one split; figures speak of groups that it was not trained on."
    ]


def _cleaned(data: dict[str, Any]) -> str:
    parts = [
        f"{data[key]:,} {what}"
        for key, what in (
            ("duplicates", "duplicates were left out"),
            ("contradictions", "texts with contradicting labels were left out"),
            ("mended", "texts were cleaned"),
        )
        if data[key]
    ]
    return f"{'; '.join(parts)}." if parts else ""


def _counts(data: dict[str, Any]) -> list[list[str]]:
    per_class = [data["texts_per_class"][name] for name in SPLITS]
    rows = [
        [escape(name), *(f"{split[i]:,}" for split in per_class)]
        for i, name in enumerate(data["class_names"][:MOST_CLASSES])
    ]
    more = len(data["class_names"]) - MOST_CLASSES
    if more > 0:
        rows.append([f"{more} more", *(f"{sum(split[MOST_CLASSES:]):,}" for split in per_class)])
    bare = data.get("texts_without_label")
    if bare is not None:
        rows.append(["none of them", *(f"{bare[name]:,}" for name in SPLITS)])
    return [*rows, ["all", *(f"{data[name]:,}" for name in SPLITS)]]


def _few(names: list[str]) -> list[str]:
    more = len(names) - MOST_CLASSES
    return names if more <= 0 else [*names[:MOST_CLASSES], f"and {more} more"]


def _settings(config: TrainConfig) -> list[tuple[str, str]]:
    table = config.model_dump(mode="json", exclude={"data", "encoder"}, exclude_none=True)
    table |= {"pooling": config.encoder.pooling, "max_length": config.data.max_length}
    if config.data.head_tokens is not None:
        table["head_tokens"] = config.data.head_tokens
    return [(escape(name), escape(value)) for name, value in table.items()]


def _origin(search: Search | None) -> str:
    if search is None:
        return ""
    return f" as trial {search.trial} of {search.num_trials} of the study {escape(search.study)}"


def _encoder_name(config: TrainConfig) -> str:
    """Name the encoder without a path of this machine."""
    name = config.encoder.name
    if name == PACKAGED_ENCODER:
        return HUB_NAME_OF_PACKAGED
    return Path(name).name if Path(name).expanduser().is_dir() else name


def _base_model(config: TrainConfig, revision: str | None) -> str | None:
    packaged = config.encoder.name == PACKAGED_ENCODER
    return HUB_NAME_OF_PACKAGED if packaged else config.encoder.name if revision else None


def _source(data: DataConfig) -> str:
    """Name where texts come from without a path of this machine."""
    if data.source in PACKAGED_SOURCES or data.is_hub_id:
        return data.source
    return Path(data.source).name

"""The model card: what is in a model's directory, what was measured of it, and what was not."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.config import METRIC_NAMES, PACKAGED_ENCODER, PACKAGED_SOURCES, Clean, DataConfig, TrainConfig
from trainers.data import SPLITS, describe_data, has_segments
from trainers.encoder import embeds_segments
from trainers.model.card_figures import eval_results, figures, verdict
from trainers.model.card_probabilities import abstaining, believed, decided, label_columns, label_rows
from trainers.model.classifier import weights_sha256
from trainers.model.markdown import escape, percent
from trainers.model.onnx import TOLERANCE
from trainers.model.provenance import Confirmation, Search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainers.data import SplitName
    from trainers.fit import Features, FitResult
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
        eval_results=eval_results(config, plain_source, confirmed if tested_itself else None),
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
        figures=figures(config, result, search, tested_itself=tested_itself),
        verdict=verdict(confirmed),
        cleaning=CLEANING[config.data.clean],
        decided=decided(decisions, config) if decisions else [],
        label_columns=label_columns(decisions) if decisions else [],
        label_rows=label_rows(decisions) if decisions else [],
        believed=believed(decisions) if decisions else [],
        abstaining=abstaining(decisions) if decisions else [],
        goal=escape(search.goal.replace("+-", "±")) if search and search.goal else "",
        onnx=f"{TOLERANCE:g}" if onnx else "",
        int8=_int8(int8, config) if int8 else "",
        source=escape(plain_source),
        cleaned=_cleaned(data),
        splits=_own_splits(config),
        counts=_counts(data, _own_splits(config)),
        folds=config.data.folds,
        fingerprint=data["fingerprint"],
        limits=_limits(config, data, confirmed, decisions),
        weights=weights_sha256(result.network),
        settings=_settings(config),
        versions=", ".join(
            [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in VERSIONS)]
        ),
    )
    return str(card)


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


def _limits(
    config: TrainConfig, data: dict[str, Any], confirmed: Confirmation | None, decisions: Decisions | None
) -> list[str]:
    longest, head = config.data.max_length, config.data.head_tokens
    kept = "the first ones" if head is None else f"the first {head} and the last ones"
    if config.data.pair is not None:
        kept = "the longer text loses its last ones until they fit"
    what = "text" if config.data.pair is None else "pair"
    cut, texts = sum(data["texts_cut"].values()), sum(data[name] for name in _own_splits(config))
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


def _own_splits(config: TrainConfig) -> list[SplitName]:
    """Return the splits that share no text: where there are folds, all that they share is trained on, and validated on, too."""
    return [name for name in SPLITS if name != "validation" or config.data.folds is None]


def _counts(data: dict[str, Any], splits: Sequence[SplitName]) -> list[list[str]]:
    per_class = [data["texts_per_class"][name] for name in splits]
    rows = [
        [escape(name), *(f"{split[i]:,}" for split in per_class)]
        for i, name in enumerate(data["class_names"][:MOST_CLASSES])
    ]
    more = len(data["class_names"]) - MOST_CLASSES
    if more > 0:
        rows.append([f"{more} more", *(f"{sum(split[MOST_CLASSES:]):,}" for split in per_class)])
    bare = data.get("texts_without_label")
    if bare is not None:
        rows.append(["none of them", *(f"{bare[name]:,}" for name in splits)])
    return [*rows, ["all" if bare is None else "all texts", *(f"{data[name]:,}" for name in splits)]]


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

"""What comes before any fit of a study: its encoder, its texts and the features of the frozen layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from search.analysis import DataPage, warnings_of
from search.study import attributes as attr, begun_data, check_same_encoder
from trainers.errors import FitError, InputError

if TYPE_CHECKING:
    import optuna

    from search.study import StudySpec
    from search.trials.progress import Live
    from trainers.config import Device, FixedPrecision
    from trainers.data import Texts
    from trainers.fit import Features

Depths = Callable[[int], Iterable[int]]
"""From the encoder's number of layers to the freeze depths that fits will ask for."""


def prepare(
    study: optuna.Study, spec: StudySpec, live: Live, device: Device, *, depths: Depths
) -> tuple[Features, dict[str, Any], Texts]:
    """Load encoder and texts, and store the features of the depths that are asked for.

    Args:
        study: Says which commit of the encoder and which texts its trials were fitted with, if it has any.
        spec: Of the study.
        live: What the terminal shows.
        device: Where to fit.
        depths: That fits will ask for.

    Returns:
        The features, the data page, and the texts as they were read.

    Raises:
        InputError: Encoder, texts or cache cannot be used, memory ran out, or they are not those that the study was begun with.
    """
    from trainers.data import describe_data, load_splits, read_texts
    from trainers.encoder import load_encoder
    from trainers.fit import build_features, check_class_weights, default_cache_directory, named_failures

    live.stage(f"reading {spec.data.source}")
    bound = begun_data(study, spec)
    texts = read_texts(bound)  # first, since it is quick to say what is wrong with them
    check_class_weights(spec.any_config(), texts.class_names)
    live.stage(f"loading encoder {spec.encoder.name}")
    revision = (
        study.user_attrs.get(attr.ENCODER_REVISION) or spec.encoder.revision
    )  # a branch may have moved on
    encoder = load_encoder(spec.encoder.model_copy(update={"revision": revision}), device=device)
    check_same_encoder(study, spec, encoder.fingerprint)
    deepest = max(spec.depths())
    if deepest > encoder.num_layers:
        raise InputError(
            f"fit.freeze_depth must be at most {encoder.num_layers}, the layers of encoder {spec.encoder.name!r}, "
            f"got {deepest}; lower it"
        )
    live.stage(f"tokenising {spec.data.source}")
    splits = load_splits(bound, encoder.tokenizer, texts=texts)
    data = describe_data(splits)
    for warning in warnings_of(DataPage.model_validate(data)):
        live.message(warning)
    live.stage("computing the frozen layers' outputs (once, then kept)")
    config = spec.any_config().model_copy(update={"precision": _precision(study, spec, live, encoder.device)})
    try:
        with named_failures(device):
            features = build_features(
                encoder,
                splits,
                config,
                depths=sorted(set(depths(encoder.num_layers))),
                directory=spec.cache.directory or default_cache_directory(),
                disk_bytes=int(spec.cache.disk_gib * 2**30),
                on_progress=lambda done, total: live.progress("frozen layers, texts", done, total),
                on_notice=live.message,
            )
    except FitError as error:
        raise InputError(
            f"the frozen layers must fit into the memory of device {device!r} with a batch of texts, but it ran out; "
            "free it, lower data.max_length, or take another --device"
        ) from error
    return features, data, texts


def _precision(study: optuna.Study, spec: StudySpec, live: Live, device: Device) -> FixedPrecision:
    """Choose the number format of a study's fits: what its trials were fitted in so far, if this machine has it."""
    from trainers.fit import choose_precision

    before = study.user_attrs.get(attr.PRECISION)
    wanted = spec.any_config().precision
    chosen = choose_precision(before or wanted if wanted == "auto" else wanted, device)
    if before not in (None, chosen):
        live.message(
            f"the study's fits computed in {before} so far; this machine computes in {chosen}, and figures of equal "
            "setups may differ by some tenths of a point"
        )
    elif wanted == "bfloat16" and chosen != wanted:
        live.message(
            "fit.precision is bfloat16, for which this machine has no arithmetic: it computes in float32"
        )
    return chosen

"""Fit one fixed configuration: python -m trainers.train winner.toml."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from trainers.cli import DEVICE, PositiveOption, ThresholdOption, launch
from trainers.config import METRIC_NAMES, Device, Metric, TrainConfig, as_toml, load_config
from trainers.errors import InputError, printable

if TYPE_CHECKING:
    from trainers.fit import Evaluation, Features, FitResult, Progress
    from trainers.model import Classifier

CACHE_BYTES = 8 * 2**30


def train(
    config: TrainConfig,
    *,
    cache_directory: Path | None = None,
    on_progress: Progress = lambda done, total: None,  # noqa: ARG005
    on_evaluation: Callable[[Evaluation], None] = lambda _: None,
) -> tuple[FitResult, Classifier]:
    """Load, fit and assemble; the same configuration gives the same bits on one machine's processor.

    The classifier's probabilities are scaled by a temperature where validation calls for one; that changes no label.

    Args:
        config: Everything that decides the fit.
        cache_directory: Of stored features; None takes the user's cache.
        on_progress: Called with texts done and texts in all while features are computed.
        on_evaluation: Called after each full evaluation.

    Raises:
        InputError: Encoder, data, cache or device cannot be used.
        FitError: The fit diverged or ran out of memory.
    """
    from trainers.fit import fit, pinned
    from trainers.model import assemble, decisions

    config = pinned(config)
    features = prepare(config, cache_directory=cache_directory, on_progress=on_progress)
    result = fit(config, features, on_evaluation=on_evaluation)
    chosen = decisions(config, features, result)
    temperature = chosen.calibration.temperature if chosen else 1.0
    names = features.splits.class_names
    return result, assemble(features.encoder, config, result, names=names, temperature=temperature)


def prepare(
    config: TrainConfig,
    *,
    cache_directory: Path | None = None,
    on_progress: Progress = lambda done, total: None,  # noqa: ARG005
    on_notice: Callable[[str], None] = lambda text: None,  # noqa: ARG005
) -> Features:
    """Load what a fit needs: encoder, texts and the features at its freeze depth; see ``train``.

    Raises:
        InputError: Encoder, data, cache or device cannot be used.
    """
    from trainers.data import load_splits, read_texts
    from trainers.encoder import load_encoder
    from trainers.fit import build_features, check_class_weights, choose_device, default_cache_directory

    texts = read_texts(config.data)
    check_class_weights(config, texts.class_names)
    encoder = load_encoder(config.encoder, device=choose_device(config.device))
    splits = load_splits(config.data, encoder.tokenizer, texts=texts)
    return build_features(
        encoder,
        splits,
        config,
        depths=sorted(config.depths),
        directory=cache_directory or default_cache_directory(),
        disk_bytes=CACHE_BYTES,
        on_progress=on_progress,
        on_notice=on_notice,
    )


def on_this_machine(config: TrainConfig, wanted: Device | Literal["auto"] | None) -> TrainConfig:
    """Return the configuration with another device, None leaving its own, and the number format that it computes in.

    Where it has no arithmetic for the format that was asked for, that is said.
    """
    from trainers.fit import choose_device, pinned

    config = config.model_copy(update={"device": choose_device(wanted or config.device)})
    chosen = pinned(config)
    if config.precision == "bfloat16" != chosen.precision:
        print(  # noqa: T201
            f"{config.device} has no arithmetic for bfloat16, which the configuration asks for: it is fitted in float32, "
            "and its figures may differ by some tenths of a point",
            flush=True,
        )
    return chosen


def describe_evaluation(evaluation: Evaluation, *, metric: Metric) -> str:
    """Say in a line what an evaluation found."""
    training, count = evaluation.training_accuracy, evaluation.num_validation_texts
    if math.isnan(evaluation.validation_accuracy):
        return (
            f"epoch {evaluation.epoch:5.2f}  training {METRIC_NAMES[metric]} {'-' if training is None else f'{training:.2%}'}"
            f"{'' if evaluation.exact else ' (sample)'}  {evaluation.seconds:.0f} s"
        )
    return (
        f"epoch {evaluation.epoch:5.2f}  validation loss {evaluation.validation_loss:.4f}  "
        f"{METRIC_NAMES[metric]} {evaluation.validation_accuracy:.2%}{'' if count is None else f' ({count} texts)'}  training "
        f"{'-' if training is None else f'{training:.2%}'}{'' if evaluation.exact else ' (sample)'}  {evaluation.seconds:.0f} s"
    )


def describe_result(result: FitResult, *, metric: Metric) -> str:
    """Say in two lines what a fit achieved, with the fingerprint of its weights; in three of steps of a scale."""
    from trainers.model import weights_sha256

    name = METRIC_NAMES[metric]
    if result.is_refit:
        return (
            f"fitted on all texts but those of the test split: training {name} {result.training_accuracy:.2%}, epoch "
            f"{result.epochs:g}\nweights sha256 {weights_sha256(result.network)}"
        )
    beside = "" if result.on_scale is None else f"validation, on the scale: {result.on_scale}\n"
    return (
        f"validation {name} {result.validation_accuracy:.2%}, training {name} {result.training_accuracy:.2%}, "
        f"epoch {result.best_epoch:g} of {result.epochs:g} (stopped by: {result.stopped})\n{beside}"
        f"weights sha256 {weights_sha256(result.network)}"
    )


def _command(
    config: Path,
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="Save the model in this directory. [default: not saved]")
    ] = None,
    device: Annotated[
        Device | Literal["auto"] | None,
        DEVICE,
        Parameter(help="Where to compute. [default: where the file says]"),
    ] = None,
    onnx: Annotated[bool, Parameter(help="Save it as ONNX, too.")] = False,
    threshold: ThresholdOption = None,
    positive: PositiveOption = None,
) -> int:
    """Fit the configuration of a TOML file, such as an exported winner.toml.

    Args:
        config: The TOML file.
        out: Where to save the model.
        device: Where to compute.
        onnx: Whether to save it as ONNX, too.
        threshold: What a threshold is chosen for.
        positive: The class that it is of.
    """
    from trainers.fit import fit
    from trainers.model import check_packages, check_threshold, decisions, describe_decisions

    check_threshold(threshold, positive)
    if onnx:
        if out is None:
            raise InputError("--onnx needs --out, the directory to save in; give both")
        check_packages()
    settings = on_this_machine(load_config(config), device)
    features = prepare(settings, on_notice=lambda text: print(printable(text), flush=True))  # noqa: T201
    check_threshold(threshold, positive, names=features.splits.class_names, task=features.splits.task)
    result = fit(
        settings,
        features,
        on_evaluation=lambda e: print(describe_evaluation(e, metric=settings.metric), flush=True),  # noqa: T201
    )
    print(describe_result(result, metric=settings.metric))  # noqa: T201
    if result.is_refit and threshold is not None:
        print(f"fitting {settings.data.folds} folds: what they answer chooses temperature and thresholds")  # noqa: T201
    chosen = decisions(settings, features, result, aim=threshold, positive=positive)
    for line in describe_decisions(chosen, metric=settings.metric):
        print(line)  # noqa: T201
    if out is not None:
        from trainers.model import assemble, model_card, save

        files = {
            "README.md": model_card(settings, features, result, decisions=chosen, onnx=onnx),
            "winner.toml": as_toml(settings),
        }
        classifier = assemble(
            features.encoder,
            settings,
            result,
            names=features.splits.class_names,
            temperature=chosen.calibration.temperature if chosen else 1.0,
            thresholds=chosen.thresholds if chosen else {},
        )
        save(classifier, out, files=files, onnx=onnx)
        print(f"saved {out}; try: python -m trainers.predict {shlex.quote(str(out))} {settings.data.example}")  # noqa: T201
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(_command, name="trainers.train", argv=argv)


if __name__ == "__main__":
    sys.exit(main())

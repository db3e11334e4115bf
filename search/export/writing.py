"""A winner -> winner.toml and a model directory."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from search.export.choice import describe_finalist
from search.export.winner import shortfall
from search.study import attributes as attr
from trainers.config import METRIC_NAMES, as_toml
from trainers.files import write_atomically

if TYPE_CHECKING:
    import optuna

    from search.export.choice import Choice
    from search.export.winner import Winner
    from search.study import Opened, StudySpec
    from trainers.config import TrainConfig
    from trainers.fit import FitResult
    from trainers.model import Search


def write_winner(
    found: Opened,
    winner: Winner,
    folder: Path,
    *,
    onnx: bool = False,
    int8: bool = False,
    docker: bool = False,
    hub_name: str | None = None,
) -> list[str]:
    """Write ``winner.toml`` and ``model/`` into a folder, and return what there is to say of it.

    Args:
        found: The study.
        winner: Of it.
        folder: Where.
        onnx: Whether to write the model as ONNX, too.
        int8: Whether to write that with eight bits, too.
        docker: Whether to write what an image that serves it is built from, too.
        hub_name: Of the repository that the model will be sent to; None if it will not. Its ``winner.toml`` then names no
            folder of this machine.

    Raises:
        InputError: The folder cannot be written.
    """
    from trainers.model import (
        describe_int8,
        docker_files,
        export_int8,
        export_onnx,
        model_card,
        save,
        without_folders,
    )

    study, spec, config, splits = found.study, found.spec, winner.config, winner.features.splits
    short = shortfall(study, spec, winner.choice)

    def as_text(config: TrainConfig) -> str:
        return winner_toml(winner.choice, config, winner.result, spec, short=short)

    origin = _origin(study, spec, winner.choice)
    classifier, small = winner.classifier(), None
    with TemporaryDirectory() as scratch:
        copied = Path(scratch)
        if onnx:
            export_onnx(classifier.model, copied / "model.onnx")
        if int8:
            small = export_int8(
                classifier.model,
                copied / "model.onnx",
                copied / "model-int8.onnx",
                splits.validation,
                metric=config.metric,
                num_classes=len(splits.class_names),
                positive=splits.positive,
            )
        card = model_card(
            config,
            winner.features,
            winner.result,
            decisions=winner.decisions,
            search=origin,
            onnx=onnx,
            int8=small,
            hub_name=hub_name,
        )
        inside = as_text(config if hub_name is None else without_folders(config))
        save(classifier, folder / "model", files={"winner.toml": inside, "README.md": card}, copied=copied)
    for name, content in (docker_files() if docker else {}).items():
        write_atomically(folder / name, content.encode())
    write_atomically(folder / "winner.toml", as_text(config).encode())
    return list(describe_int8(small, metric=config.metric)) if small else []


def winner_toml(
    choice: Choice, config: TrainConfig, result: FitResult, spec: StudySpec, *, short: str | None = None
) -> str:
    """Write a complete, fixed configuration as TOML, with what was measured as comments.

    What is ``short`` of a logistic regression says so first.
    """
    from trainers.model import weights_sha256

    figures, name = choice.trial.user_attrs, METRIC_NAMES[config.metric]
    about = "" if figures.get("training_exact", True) else "about "
    again = f"when fitted again with seed {config.seed}" if choice.tested else "when fitted again"
    searched = "on average over the folds of the search" if result.is_refit else "in the search"
    validated = "not measured" if result.is_refit else f"{result.validation_accuracy:.4f}"
    comments = [
        *([short] if short else []),
        f"Trial {choice.trial.number} of study {spec.name!r}, seed {spec.seed}.",
        f"validation {name} {figures['validation_accuracy']:.4f} {searched}, {validated} {again}",
        f"training {name}   {about}{figures['training_accuracy']:.4f} {searched}, "
        f"{result.training_accuracy:.4f} {again}",
        *(["Fitted again on all texts but those of the test split."] if result.is_refit else []),
        f"restored epoch {result.best_epoch:g} of {result.epochs:g}, {result.seconds:.0f} s",
        f"weights sha256 {weights_sha256(result.network)}",
        "The search's validation figure is the best of many trials, so probably too high.",
        *([f"Confirmed: {describe_finalist(choice.finalist)}."] if choice.finalist else []),
        "Fit again: python -m trainers.train winner.toml",
    ]
    return "".join(f"# {c}\n" for c in comments) + "\n" + as_toml(config)


def _origin(study: optuna.Study, spec: StudySpec, choice: Choice) -> Search:
    """Collect what the card says of the search."""
    from search.analysis import Limits, confirmation_of
    from search.report import trial_row, verdict_on_trial
    from search.study import finished
    from trainers.model import Confirmation, Search

    limits = Limits(validation_accuracy=spec.goal.validation_accuracy, training_accuracy=spec.score.ceiling)
    known = confirmation_of(study)
    confirmation, finalist = None, choice.finalist
    if finalist is not None:
        test, mean = finalist.test, finalist.validation.mean
        assert mean is not None  # noqa: S101  # choose takes none without a complete fit
        confirmation = Confirmation(
            validation=mean,
            spread=finalist.validation.spread,
            num_seeds=len(finalist.complete_fits),
            share_under_ceiling=finalist.share_under_ceiling,
            test=test.accuracy if test else None,
            test_spread=test.spread if test else None,
            num_tested=test.num_fits if test else 0,
            low=test.low if test else None,
            high=test.high if test else None,
            confidence=test.confidence if test else None,
            num_test=known.num_test if known else 0,
            test_seed=test.seed if test else None,
            test_of_seed=choice.tested.test_accuracy if choice.tested else None,
            test_on_scale=str(test.on_scale) if test and test.on_scale else None,
        )
    trial = choice.trial
    return Search(
        study=spec.name,
        trial=trial.number,
        num_trials=len(finished(study.get_trials(deepcopy=False))),
        validation_accuracy=trial.user_attrs.get(attr.VALIDATION_ACCURACY),
        confirmation=confirmation,
        goal=" ".join(
            filter(
                None,
                (
                    shortfall(study, spec, choice),
                    verdict_on_trial(trial_row(trial), finalist, limits=limits, metric=spec.score.metric),
                ),
            )
        ),
    )

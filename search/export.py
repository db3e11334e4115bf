"""Winner -> winner.toml and a model directory: python -m search.export."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from search.storage import StorageOption
from search.study import attributes as attr
from search.terminal import say
from trainers.cli import DEVICE, PositiveOption, ThresholdOption, launch
from trainers.config import METRIC_NAMES, Device, as_toml
from trainers.errors import InputError
from trainers.files import write_atomically

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.analysis import ConfirmedFinalist, FreshFit
    from search.study import Opened, StudySpec
    from trainers.config import DataConfig, TrainConfig
    from trainers.fit import Features, FitResult, ThresholdAim
    from trainers.model import Classifier, Decisions, Search


def export(
    *,
    study: Annotated[str, Parameter(help="Name in studies/, or path of a TOML file.")] = "imdb",
    storage: StorageOption = None,
    trial: Annotated[
        int | None,
        Parameter(help="Number of the trial. [default: the confirmed winner, else the best feasible one]"),
    ] = None,
    to: Annotated[
        Path | None, Parameter(help="Folder for winner.toml and model/. [default: the study's folder]")
    ] = None,
    device: Annotated[
        Device | Literal["auto"] | None,
        DEVICE,
        Parameter(help="Where to fit it again. [default: where the trial ran]"),
    ] = None,
    onnx: Annotated[bool, Parameter(help="Write model/model.onnx, too.")] = False,
    int8: Annotated[
        bool,
        Parameter(
            help="With --onnx: write model/model-int8.onnx, too, smaller and faster, and measure what it loses on validation."
        ),
    ] = False,
    docker: Annotated[
        bool,
        Parameter(
            help="Write a Dockerfile, too, for an image that serves the model; it needs that folder alone."
        ),
    ] = False,
    threshold: ThresholdOption = None,
    positive: PositiveOption = None,
    push: Annotated[
        str | None,
        Parameter(
            help="Send model/ to this repository OWNER/NAME of a hub of models, too, which only you can read: https://huggingface.co, "
            "or what HF_ENDPOINT names. [default: nowhere]"
        ),
    ] = None,
    public: Annotated[bool, Parameter(help="With --push: let everybody read it.")] = False,
) -> int:
    """Write the winner's configuration, fit it again and save the model."""
    from search.study import open_named
    from trainers.model import check_packages, check_push, check_threshold

    check_threshold(threshold, positive)
    if int8 and not onnx:
        raise InputError("--int8 needs --onnx, of which it is made; give both")
    if onnx:
        check_packages()
    found = open_named(study, storage)
    if int8 and found.spec.data.folds is not None:
        raise InputError(
            f"--int8 must be measured on texts that the model was not fitted on, got a study with data.folds = {found.spec.data.folds}: "
            "it is fitted on all folds, and no text is left; leave --int8 out"
        )
    choice = choose(found.study, trial)
    check_push(push, public=public)
    say(f"trial {choice.trial.number}: {choice.reason}; fitting it again")
    winner = fit_again(found, choice, device=device, threshold=threshold, positive=positive, tell=say)
    folder = to or found.folder
    for line in describe_again(found, winner):
        say(line)
    for line in write_winner(found, winner, folder, onnx=onnx, int8=int8, docker=docker, hub_name=push):
        say(line)
    say(
        f"wrote {folder / 'winner.toml'} and {folder / 'model'}",
        f"  fit again  python -m trainers.train {shlex.quote(str(folder / 'winner.toml'))}",
        f"  predict    python -m trainers.predict {shlex.quote(str(folder / 'model'))} {winner.config.data.example}",
    )
    if docker:
        say(f"  serve      docker build -t frostline-model {shlex.quote(str(folder))}")
    if push is not None:
        from trainers.model import push as send

        say(f"sent {folder / 'model'} to {send(folder / 'model', push, public=public)}")
    return 0


@dataclass(frozen=True)
class Winner:
    """A trial that was fitted again.

    Attributes:
        choice: Which, and why.
        config: What was fitted.
        features: What it was fitted on.
        result: What came out.
        decisions: Its temperature and its thresholds; None where there are folds, and no threshold was asked for.
    """

    choice: Choice
    config: TrainConfig
    features: Features
    result: FitResult
    decisions: Decisions | None

    def classifier(self) -> Classifier:
        """Return what predicts."""
        from trainers.model import assemble

        return assemble(
            self.features.encoder,
            self.config,
            self.result,
            names=self.features.splits.class_names,
            temperature=self.decisions.calibration.temperature if self.decisions else 1.0,
            thresholds=self.decisions.thresholds if self.decisions else {},
        )


def fit_again(
    found: Opened,
    choice: Choice,
    *,
    device: Device | Literal["auto"] | None = None,
    threshold: ThresholdAim | None = None,
    positive: str | None = None,
    scale: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> Winner:
    """Fit a chosen trial of a study again.

    Args:
        found: The study.
        choice: Of ``choose``.
        device: Where to fit; None where the trial ran.
        threshold: As ``aim`` for ``decisions``.
        positive: As for ``decisions``.
        scale: As for ``decisions``.
        tell: Gets a line an evaluation.

    Raises:
        InputError: Encoder, texts or cache cannot be used, or are not those of the search.
        FitError: The fit failed.
    """
    from search.study import begun_data, check_same_encoder
    from trainers.encoder import encoder_fingerprint
    from trainers.fit import fit
    from trainers.model import check_threshold, decisions
    from trainers.train import describe_evaluation, on_this_machine, prepare

    spec = found.spec
    # Where the texts are now, and which they must be.
    config = choice.config(begun_data(found.study, spec))
    check_same_encoder(found.study, spec, encoder_fingerprint(config.encoder))
    config = on_this_machine(config, device)
    features = prepare(config, cache_directory=spec.cache.directory)
    check_threshold(threshold, positive, names=features.splits.class_names, task=features.splits.task)
    result = fit(config, features, on_evaluation=lambda e: tell(describe_evaluation(e, metric=config.metric)))
    if result.is_refit and threshold is not None:
        tell(
            f"fitting {config.data.folds} folds once more: what they answer chooses temperature and thresholds"
        )
    chosen = decisions(
        config,
        features,
        result,
        aim=threshold,
        positive=positive,
        test=choice.tested is not None,
        scale=scale,
    )
    return Winner(choice, config, features, result, chosen)


def describe_again(found: Opened, winner: Winner) -> Iterator[str]:
    """Yield what the fit came to, beside what it had come to in the search."""
    from trainers.model import describe_decisions
    from trainers.train import describe_result

    config, result = winner.config, winner.result
    yield describe_result(result, metric=config.metric)
    yield _same_or_not(winner.choice, result)
    if config.ceiling is not None and result.training_accuracy > config.ceiling:
        yield (
            f"note: with seed {config.seed} its training {METRIC_NAMES[config.metric]} lies above the ceiling of "
            f"{config.ceiling:.2%}"
        )
    short = _falls_short(found.study, found.spec, winner.choice)
    if short:
        yield f"note: {short}"
    yield from describe_decisions(winner.decisions, metric=config.metric)


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
    short = _falls_short(study, spec, winner.choice)

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


@dataclass(frozen=True)
class Choice:
    """A trial to export.

    Attributes:
        trial: Of the search.
        reason: Why it was chosen.
        finalist: What the study's confirmation says of it; None if it says nothing.
    """

    trial: FrozenTrial
    reason: str
    finalist: ConfirmedFinalist | None

    @property
    def tested(self) -> FreshFit | None:
        """The confirmation's first fit that was measured on the test split: that very one is exported."""
        if self.finalist is None or self.finalist.test is None:
            return None
        seed = self.finalist.test.seed
        return next((f for f in self.finalist.fits if f.seed == seed), None)

    def config(self, data: DataConfig) -> TrainConfig:
        """Return what is to be fitted again."""
        from trainers.config import TrainConfig

        if self.finalist is not None and self.tested is not None:
            settings = {**self.finalist.config, "seed": self.tested.seed}
            if data.folds is not None:
                data = data.model_copy(update={"fold_seed": self.tested.seed})
                settings["stop_at"] = self.tested.stop_at
        else:
            settings = self.trial.user_attrs[attr.CONFIG]
            if data.folds is not None:
                settings = {**settings, "stop_at": self._found_ages(settings)}
        return TrainConfig.model_validate({**settings, "data": data})

    def _found_ages(self, settings: Mapping[str, Any]) -> list[float]:
        """Return the age of the best weights in each stage, on average over the folds that the trial ran."""
        from trainers.fit import mean_ages

        folds = self.trial.user_attrs.get(attr.FOLDS)
        if not folds:
            raise InputError(
                f"trial {self.trial.number} ended in its first fold, so that nobody knows for how long to fit it; export another "
                "one with --trial"
            )
        from trainers.config import TrainConfig

        looks = TrainConfig.model_fields["evaluations_per_epoch"].default
        return mean_ages(
            [fold["best_epochs"] for fold in folds], looks=settings.get("evaluations_per_epoch", looks)
        )


def choose(study: optuna.Study, number: int | None) -> Choice:
    """Return the trial to export: the one asked for, else the confirmed winner, else the best feasible one.

    Raises:
        InputError: There is no such trial, or none is feasible.
    """
    from search.analysis import confirmation_of
    from search.study import SCORED, best_feasible, excess, finished, nearest_to_feasible

    trials = study.get_trials(deepcopy=False)
    confirmation = confirmation_of(study)
    measured = [f for f in confirmation.finalists if f.complete_fits] if confirmation else []
    finalists = {f.trial: f for f in measured if f.trial is not None}
    if number is not None:
        chosen = next((t for t in trials if t.number == number and t.state in SCORED), None)
        if chosen is None:
            raise InputError(
                f"--trial must be the number of a complete or pruned trial, got {number} of {len(trials)} trials; "
                "see python -m search.report"
            )
        return Choice(chosen, f"the one asked for, validation {_percent(chosen)}", finalists.get(number))
    winner = next((f for f in measured if confirmation and f.name == confirmation.winner), None)
    if confirmation and winner is not None and winner.trial is not None:
        [chosen] = [t for t in trials if t.number == winner.trial]
        num_finished = len(finished(trials))
        late = (
            f" after {confirmation.after} of now {num_finished} trials"
            if num_finished > confirmation.after
            else ""
        )
        return Choice(chosen, f"winner of the confirmation{late}, {_describe(winner)}", winner)
    best = best_feasible(trials)
    if best is not None:
        why = "the confirmation has no winner" if confirmation else "never confirmed"
        if winner is not None:
            why = f"the confirmation's winner, {winner.name}, is no trial of it"
        reason = f"best feasible one of the search ({why}), validation {_percent(best)}"
        return Choice(best, reason, finalists.get(best.number))
    nearest = nearest_to_feasible(trials)
    if nearest is None:
        raise InputError("no trial is complete yet; search first: python -m search.run")
    raise InputError(
        f"no trial keeps its training figure under the ceiling; trial {nearest.number} comes nearest, "
        f"{excess(nearest):.2%} above it; search on, or export it all the same with --trial {nearest.number}"
    )


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
        *([f"Confirmed: {_describe(choice.finalist)}."] if choice.finalist else []),
        "Fit again: python -m trainers.train winner.toml",
    ]
    return "".join(f"# {c}\n" for c in comments) + "\n" + as_toml(config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(export, name="search.export", argv=argv)


def _falls_short(study: optuna.Study, spec: StudySpec, choice: Choice) -> str | None:
    from search.analysis import compare_with_opponents
    from search.report import falls_short

    return falls_short(compare_with_opponents(study, choice.trial, metric=spec.score.metric))


def _same_or_not(choice: Choice, result: FitResult) -> str:
    if result.is_refit:
        return _what_folds_say(choice, result)
    known: Mapping[str, Any] = choice.tested.plain() if choice.tested else choice.trial.user_attrs
    where = "in the confirmation" if choice.tested else "in the search"
    before = known[attr.VALIDATION_ACCURACY], known[attr.TRAINING_ACCURACY]
    after = result.validation_accuracy, result.training_accuracy
    is_estimate = choice.trial.state.name == "COMPLETE" and not known.get(attr.TRAINING_EXACT, True)
    if is_estimate and before[0] == after[0]:
        return (
            f"the same validation figure as trial {choice.trial.number} had {where}, where its training figure was an "
            f"estimate, {before[1]:.2%}"
        )
    if before == after:
        return f"the same figures as trial {choice.trial.number} had {where}"
    return (
        f"trial {choice.trial.number} had {before[0]:.2%} and {before[1]:.2%} {where}: it ran elsewhere, was pruned, or "
        "libraries have changed since"
    )


def _what_folds_say(choice: Choice, result: FitResult) -> str:
    """Say what the figures of a model are that was fitted on all texts of the folds."""
    folds = choice.trial.user_attrs[attr.FOLDS]
    total = choice.trial.user_attrs[attr.CONFIG]["data"]["folds"]
    said = (
        f"it saw all texts but those of the test split, so that none is left to validate it: what is known of its settings is the "
        f"mean of {len(folds)} fold{'s' * (len(folds) > 1)}, validation {choice.trial.user_attrs[attr.VALIDATION_ACCURACY]:.2%}, "
        f"by fits of {total - 1}/{total} of these texts"
    )
    known = choice.tested.refit_training_accuracy if choice.tested else None
    if known is not None:
        same = "the same as" if known == result.training_accuracy else f"{known:.2%}"
        said += f"; its training figure was {same} in the confirmation"
    return said


def _describe(finalist: ConfirmedFinalist) -> str:
    """Say in words what the confirmation measured of a finalist."""
    figures, test = finalist.validation, finalist.test
    spread = "" if figures.spread is None else f" +- {figures.spread:.2%}"
    number = len(finalist.complete_fits)
    said = f"validation {figures.mean:.2%}{spread} over {number} fresh seed{'s' * (number != 1)}"
    if test:
        spread = "" if test.spread is None else f" +- {test.spread:.2%}"
        interval = "" if test.low is None else f" [{test.low:.2%}, {test.high:.2%}]"
        over = f"with seed {test.seed}" if test.num_fits == 1 else f"over {test.num_fits}"
        said += f", test {test.accuracy:.2%}{spread}{interval} {over}"
    return said


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
                    _falls_short(study, spec, choice),
                    verdict_on_trial(trial_row(trial), finalist, limits=limits, metric=spec.score.metric),
                ),
            )
        ),
    )


def _percent(chosen: FrozenTrial) -> str:
    value = chosen.user_attrs.get(attr.VALIDATION_ACCURACY)
    return "unknown" if value is None else f"{value:.2%}"


if __name__ == "__main__":
    sys.exit(main())

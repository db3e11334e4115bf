"""Winner -> winner.toml and a model directory: python -m search.export."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from search.export.choice import choose
from search.storage import StorageOption
from search.terminal import say
from search.trials import ModelTrackOption, model_targets_of
from trainers.cli import DEVICE, PositiveOption, ThresholdOption, launch
from trainers.config import Device
from trainers.errors import InputError

if TYPE_CHECKING:
    from search.export.winner import Winner
    from search.study import Opened
    from search.trials import Target
    from trainers.fit import ThresholdAim


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
    track: ModelTrackOption = None,
) -> int:
    """Write the winner's configuration, fit it again and save the model."""
    from search.study import open_named

    check_request(onnx=onnx, int8=int8, threshold=threshold, positive=positive)
    targets = model_targets_of(track or ())
    found = open_named(study, storage)
    export_opened(
        found,
        to or found.folder,
        trial=trial,
        device=device,
        onnx=onnx,
        int8=int8,
        docker=docker,
        threshold=threshold,
        positive=positive,
        push=push,
        public=public,
        track=targets,
        tell=say,
    )
    return 0


def check_request(
    *, onnx: bool, int8: bool, threshold: ThresholdAim | None, positive: str | None, mark: str = "--"
) -> None:
    """Refuse what no export can be; ``mark`` stands before the name of each.

    Raises:
        InputError: One needs another, or a package.
    """
    from trainers.model import check_packages, check_threshold

    check_threshold(threshold, positive, mark=mark)
    if int8 and not onnx:
        raise InputError(f"{mark}int8 needs {mark}onnx, of which it is made; give both")
    if onnx:
        check_packages()


def export_opened(
    found: Opened,
    folder: Path,
    *,
    trial: int | None = None,
    device: Device | Literal["auto"] | None = None,
    onnx: bool = False,
    int8: bool = False,
    docker: bool = False,
    threshold: ThresholdAim | None = None,
    positive: str | None = None,
    push: str | None = None,
    public: bool = False,
    track: Sequence[Target] = (),
    tell: Callable[..., None] = lambda *_: None,
) -> None:
    """Fit the winner of an opened study again, and write it into a folder.

    Args:
        found: The study.
        folder: For winner.toml and model/.
        trial: As for the command, like all that follow.
        device: See there.
        onnx: See there.
        int8: See there.
        docker: See there.
        threshold: See there.
        positive: See there.
        push: See there.
        public: See there.
        track: Trackers that keep the model, too.
        tell: Gets lines on the fit and on what to do next. What int8 costs and where the model went is said in any case.

    Raises:
        InputError: Something that was given cannot be used, or encoder or texts have changed.
        FitError: The fit failed.
    """
    from search.export.winner import describe_again, fit_again
    from search.export.writing import write_winner
    from search.trials import keep_model
    from trainers.model import check_push, push as send

    if int8 and found.spec.data.folds is not None:
        raise InputError(
            f"--int8 must be measured on texts that the model was not fitted on, got a study with data.folds = {found.spec.data.folds}: "
            "it is fitted on all folds, and no text is left; leave --int8 out"
        )
    choice = choose(found.study, trial)
    check_push(push, public=public)
    tell(f"trial {choice.trial.number}: {choice.reason}; fitting it again")
    winner = fit_again(found, choice, device=device, threshold=threshold, positive=positive, tell=tell)
    tell(*describe_again(found, winner))
    said = write_winner(found, winner, folder, onnx=onnx, int8=int8, docker=docker, hub_name=push)
    if said:
        say(*said)
    tell(*_what_next(folder, winner, docker=docker))
    keep_model(
        found.study,
        found.spec,
        found.folder,
        track,
        trial=choice.trial,
        model=folder / "model",
        reason=choice.reason,
        tell=say,
    )
    if push is not None:
        say(f"sent {folder / 'model'} to {send(folder / 'model', push, public=public)}")


def _what_next(folder: Path, winner: Winner, *, docker: bool) -> Iterator[str]:
    model = shlex.quote(str(folder / "model"))
    yield f"wrote {folder / 'winner.toml'} and {folder / 'model'}"
    yield f"  fit again  python -m trainers.train {shlex.quote(str(folder / 'winner.toml'))}"
    yield f"  predict    python -m trainers.predict {model} {winner.config.data.example}"
    if docker:
        yield f"  serve      docker build -t frostline-model {shlex.quote(str(folder))}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(export, name="search.export", argv=argv)

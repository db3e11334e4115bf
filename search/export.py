"""Winner -> winner.toml and a model directory: python -m search.export."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from search.credentials import StorageOption, chosen_url
from trainers.cli import launch
from trainers.config import METRIC_NAMES, Device
from trainers.errors import InputError
from trainers.files import write_atomically

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.spec import StudySpec
    from trainers.config import TrainConfig
    from trainers.fit import FitResult


def export(
    *,
    study: Annotated[str, Parameter(help="Name in studies/, or path of a TOML file.")] = "imdb",
    storage: StorageOption = None,
    trial: Annotated[
        int | None, Parameter(help="Number of the trial. [default: the best feasible one]")
    ] = None,
    to: Annotated[
        Path | None, Parameter(help="Folder for winner.toml and model/. [default: the study's folder]")
    ] = None,
    device: Annotated[
        Device | Literal["auto"] | None,
        Parameter(help="Where to fit it again. [default: where the trial ran]"),
    ] = None,
) -> int:
    """Write the winner's configuration, fit it again and save the model."""
    from search.spec import find_study, load_spec
    from search.storage import begun_data, begun_with, check_same_encoder, open_study, results_dir
    from trainers.config import TrainConfig
    from trainers.encoder import encoder_fingerprint
    from trainers.model import save
    from trainers.train import describe_evaluation, describe_result, on_device, train

    path = find_study(study)
    spec = load_spec(path)
    opened = open_study(spec, path, storage_url=chosen_url(storage))
    spec = begun_with(opened, spec)
    chosen = choose(opened, trial)
    data = begun_data(opened, spec)  # where the texts are now, and which they must be
    config = TrainConfig.model_validate({**chosen.user_attrs["config"], "data": data})
    check_same_encoder(opened, spec, encoder_fingerprint(config.encoder))
    config = on_device(config, device)
    folder = to or results_dir(path, spec)
    name = METRIC_NAMES[config.metric]
    print(f"trial {chosen.number}: validation {name} {_percent(chosen)}; fitting it again", flush=True)  # noqa: T201
    result, classifier = train(
        config,
        cache_directory=spec.cache.directory,
        on_evaluation=lambda e: print(describe_evaluation(e, metric=config.metric), flush=True),  # noqa: T201
    )
    print(describe_result(result, metric=config.metric))  # noqa: T201
    print(_same_or_not(chosen, result))  # noqa: T201
    save(classifier, folder / "model")
    write_atomically(folder / "winner.toml", winner_toml(chosen, config, result, spec).encode())
    print(  # noqa: T201
        f"wrote {folder / 'winner.toml'} and {folder / 'model'}\n"
        f"  fit again  python -m trainers.train {folder / 'winner.toml'}\n"
        f"  predict    python -m trainers.predict {folder / 'model'} 'a text'"
    )
    return 0


def choose(study: optuna.Study, number: int | None) -> FrozenTrial:
    """Return the trial to export: the best feasible one, or the one asked for.

    Raises:
        InputError: There is no such trial, or none is feasible.
    """
    from search.results import SCORED, best_feasible, excess, nearest_to_feasible

    trials = study.get_trials(deepcopy=False)
    if number is not None:
        chosen = next((t for t in trials if t.number == number and t.state in SCORED), None)
        if chosen is None:
            raise InputError(
                f"--trial must be the number of a complete or pruned trial, got {number} of {len(trials)} trials; "
                "see python -m search.report"
            )
        return chosen
    best = best_feasible(trials)
    if best is not None:
        return best
    nearest = nearest_to_feasible(trials)
    if nearest is None:
        raise InputError("no trial is complete yet; search first: python -m search.run")
    raise InputError(
        f"no trial keeps its training figure under the ceiling; trial {nearest.number} comes nearest, "
        f"{excess(nearest):.2%} above it; search on, or export it all the same with --trial {nearest.number}"
    )


def winner_toml(chosen: FrozenTrial, config: TrainConfig, result: FitResult, spec: StudySpec) -> str:
    """Write a complete, fixed configuration as TOML, with what was measured as comments."""
    from trainers.model import weights_sha256

    figures, name = chosen.user_attrs, METRIC_NAMES[config.metric]
    comments = [
        f"Trial {chosen.number} of study {spec.name!r}, seed {spec.seed}.",
        f"validation {name} {figures['validation_accuracy']:.4f} in the search, "
        f"{result.validation_accuracy:.4f} when fitted again",
        f"training {name}   {figures['training_accuracy']:.4f} in the search, "
        f"{result.training_accuracy:.4f} when fitted again",
        f"restored epoch {result.best_epoch:g} of {result.epochs:g}, {result.seconds:.0f} s",
        f"weights sha256 {weights_sha256(result.network)}",
        "The validation figure is the best of many tries, and flatters.",
        "Fit again: python -m trainers.train winner.toml",
    ]
    return (
        "".join(f"# {c}\n" for c in comments)
        + "\n"
        + _toml(config.model_dump(mode="json", exclude_none=True))
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(export, name="search.export", argv=argv)


def _toml(table: dict[str, Any]) -> str:
    """Write scalars, then tables of scalars; their JSON forms are valid TOML."""
    scalars = [
        f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in table.items() if not isinstance(v, dict)
    ]
    tables = [f"\n[{k}]\n{_toml(v)}" for k, v in table.items() if isinstance(v, dict)]
    return "".join([*scalars, *tables])


def _same_or_not(chosen: FrozenTrial, result: FitResult) -> str:
    before = chosen.user_attrs["validation_accuracy"], chosen.user_attrs["training_accuracy"]
    after = result.validation_accuracy, result.training_accuracy
    if before == after:
        return f"the same figures as trial {chosen.number}'s"
    return (
        f"trial {chosen.number} had {before[0]:.2%} and {before[1]:.2%}: it ran elsewhere, was pruned, or "
        "libraries have changed since"
    )


def _percent(chosen: FrozenTrial) -> str:
    value = chosen.user_attrs.get("validation_accuracy")
    return "unknown" if value is None else f"{value:.2%}"


if __name__ == "__main__":
    sys.exit(main())

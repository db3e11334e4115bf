"""Fits of finalists on fresh seeds: which are to be made, how each is made, and what is kept of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from trainers.errors import FitError, printable

if TYPE_CHECKING:
    from search.confirm.finalists import Finalist
    from search.study import Reason, StudySpec
    from search.trials import Place, Pool
    from trainers.config import TrainConfig
    from trainers.fit import Features

KEPT = (
    "validation_accuracy",
    "training_accuracy",
    "seconds",
    "best_epoch",
    "test_predictions",
    "calibration",
)
"""Figures of a fit that the study keeps."""

OF_FOLDS = ("stop_at", "refit_training_accuracy")
"""Likewise, of the model that is fitted on all folds: it is what predicted the test split."""

MADE_BY = ("frostline", "torch", "transformers", "tokenizers")
"""Packages of whose versions a fit's result may depend."""


@dataclass(frozen=True)
class Fit:
    """One fit to be made: of a finalist, on a fresh seed."""

    name: str
    config: TrainConfig

    @property
    def key(self) -> str:
        """The study's system attribute that keeps what came out; equal configurations give equal results."""
        from search.study import attributes

        digest = hashlib.sha256(self.config.model_dump_json().encode()).hexdigest()
        return f"{attributes.FIT_PREFIX}{digest[:32]}"


def rounds_of(
    finalists: Sequence[Finalist], spec: StudySpec, features: Features, *, num_seeds: int
) -> list[Fit]:
    """List all fits by seed, and of each seed the longest first."""
    from search.confirm.finalists import fresh_seeds

    encoder = features.encoder
    fits = []
    for seed in fresh_seeds(spec.seed, num_seeds):
        for finalist in sorted(finalists, key=lambda f: -f.seconds):
            config = finalist.config
            pinned = config.encoder.model_copy(update={"revision": encoder.revision})
            data = config.data
            if data.folds is not None:  # how the search's folds fell had a part in its choice
                data = data.model_copy(update={"fold_seed": seed})
            changes = {
                "data": data,
                "seed": seed,
                "device": encoder.device,
                "encoder": pinned,
                "precision": features.precision,
            }
            fits.append(Fit(finalist.name, config.model_copy(update=changes)))
    return fits


def fitted(
    fits: Sequence[Fit],
    features: Features,
    pool: Pool | None,
    patience: Callable[[Fit], float | None],
    tell: Callable[[str], None],
) -> Iterator[tuple[Fit, dict[str, Any]]]:
    """Fit, in this process if there is no pool; yields each fit with its record as soon as it has ended."""
    from search.study import Reason
    from search.trials import figures_of

    if pool is not None:
        yield from _fitted_in_pool(fits, pool, patience, tell)
        return
    for fit in fits:
        try:
            record = _complete(fit, figures_of(fit.config, features, test=True))
        except FitError as error:
            record = _failed(fit, Reason.of_text(str(error)))
        yield fit, record


def _fitted_in_pool(
    fits: Sequence[Fit],
    pool: Pool,
    patience: Callable[[Fit], float | None],
    tell: Callable[[str], None],
) -> Iterator[tuple[Fit, dict[str, Any]]]:
    from search.study import MAX_RETRIES, Ending
    from search.trials import Death, Failure, Fitted, Lost, Silence, drive

    waiting = list(range(len(fits)))
    deaths: Counter[tuple[int, Ending]] = Counter()
    with pool:

        def begin(_: int) -> int | None:
            if not waiting:
                return None
            job = waiting.pop(0)
            pool.begin(job, fits[job].config, test=True)
            pool.end_if_silent(job, seconds=patience(fits[job]))
            return job

        for job, news in drive(pool, begin):
            fit, place = fits[job], pool.place(job)
            match news:
                case Fitted(figures):
                    yield fit, _complete(fit, figures, place)
                case Failure(reason):
                    news.raise_bug()
                    yield fit, _failed(fit, reason, place)
                case Death() | Lost():
                    if isinstance(news, Death) and news.news:
                        tell(news.news)
                    ending = news.reason.ending
                    deaths[job, ending] += ending in {Ending.KILLED, Ending.NODE_LOST}
                    if deaths[job, ending] > MAX_RETRIES:
                        yield fit, _failed(fit, news.reason, place)
                    else:
                        waiting.insert(0, job)
                case Silence():
                    yield fit, _failed(fit, news.reason, place)


def _complete(fit: Fit, figures: dict[str, Any], place: Place | None = None) -> dict[str, Any]:
    found = {k: figures[k] for k in (*KEPT, *OF_FOLDS) if k in figures}
    return {"seed": fit.config.seed, "state": "complete", "reason": None, **found, **_origin(fit, place)}


def _failed(fit: Fit, reason: Reason, place: Place | None = None) -> dict[str, Any]:
    return {"seed": fit.config.seed, "state": "failed", "reason": reason.text, **_origin(fit, place)}


def versions() -> dict[str, str]:
    """Return the versions of what a fit's result may depend on, as installed."""
    return {name: version(name) for name in MADE_BY}


def _origin(fit: Fit, place: Place | None) -> dict[str, Any]:
    """Say what made a fit; without a place, it was this machine."""
    if place is not None:
        return {"versions": versions(), "processor": place.computes_on}
    import torch

    from search.study import processor_name

    device = fit.config.device
    return {
        "versions": versions(),
        "processor": torch.cuda.get_device_name(device) if device.startswith("cuda") else processor_name(),
    }


def is_ours(record: dict[str, Any] | None) -> bool:
    """Tell whether a fit is kept that these versions made.

    Another processor only rounds differently: a study of several machines goes on, and the report says so.
    """
    return record is not None and record.get("versions") == versions()


def foreign(records: Sequence[dict[str, Any]]) -> str:
    """Say how many fits are kept that are of no use now, and why."""
    before, now = records[0].get("versions"), versions()
    if before is None:  # version 0.1.0
        made = "by a Frostline that did not note its versions"
    else:
        changed = [name for name in now if before.get(name) != now[name]]
        made = "by " + ", ".join(f"{name} {before.get(name)} (now {now[name]})" for name in changed)
    number = "1 fit that was kept was" if len(records) == 1 else f"{len(records)} fits that were kept were"
    return f"{number} made {made}: made again, so that versions are not mixed"


def describe(fit: Fit, record: dict[str, Any]) -> str:
    """Say in a line what came out of a fit."""
    from search.study import duration, percent

    text = f"{fit.name}, seed {record['seed']}: "
    if record["state"] == "failed":
        return text + f"failed: {printable(record['reason'])}"
    return (
        text + f"validation {percent(record['validation_accuracy'])}, "
        f"training {percent(record['training_accuracy'])}, {duration(record['seconds'])}"
    )

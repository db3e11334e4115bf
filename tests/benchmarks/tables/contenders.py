"""Ways to search, each told as what a study's TOML file says, a sampler, a pruner and what is tried first."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from search.study.spec import StudySpec
from search.trials.pruning import FeasiblePruner

CARD = {
    "freeze_depth": {"low": 2, "high": 6},
    "dropout": {"low": 0.0, "high": 0.5},
    "head_width": [32, 64, 128, 256],
    "learning_rate": {"low": 3e-5, "high": 3e-4, "log": True},
    "patience": {"low": 1, "high": 4},
    "epochs": 1,
    "evaluations_per_epoch": 4,
}
"""The default study's space."""

STUDY = CARD | {"patience": {"low": 1, "high": 3}}
"""The same, without a patience that cannot act."""

WIDE = {
    **CARD,
    "freeze_depth": {"low": 0, "high": 6},
    "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
    "epochs": {"low": 1, "high": 4},
    "evaluations_per_epoch": 2,
    "patience": 8,
}
"""Everything that the tables hold."""

THREE_EPOCHS = STUDY | {"epochs": 3, "evaluations_per_epoch": 1, "patience": 4}
"""The same with three epochs a fit, looked at after each."""

USUAL = {"freeze_depth": 0, "dropout": 0.1, "head_width": 64, "learning_rate": 5e-5, "epochs": 3}
TODAY = {"rungs": [0.125, 0.25, 0.5], "keep": 0.2, "peers": 2}
NOTHING: dict[str, Any] = {"rungs": []}
OF_THE_STUDY = {"rungs": [0.25, 0.5], "keep": 0.34, "peers": 2, "margin": 3.0}
LATE = {"rungs": [0.5, 1.0, 2.0], "keep": 0.34, "peers": 4}


@dataclass(frozen=True)
class Contender:
    """A way to search.

    Attributes:
        fit: The space, as ``[fit]`` says it.
        pruning: As ``[pruning]`` says it; where ``pruner`` is given, its rungs are where that one may look, too.
        head_start: What a fit's head begins with.
        sampler: Makes a sampler from a seed.
        pruner: Optuna's, in place of the study's own.
        first: Settings that are tried before the sampler proposes any.
        pause_at: Age in epochs at which every fit waits; the best ``finish`` of them go on when time runs out.
        each_anew: Whether each trial gets a sampler of its own, as the study's does.
        tells: Whether the sampler learns of pruned trials and values beyond the study's own.
    """

    fit: dict[str, Any] = field(default_factory=lambda: WIDE)
    pruning: dict[str, Any] = field(default_factory=lambda: TODAY)
    head_start: str = "fitted"
    sampler: Callable[[int], BaseSampler] = lambda seed: TPESampler(seed=seed)
    pruner: Callable[[], BasePruner] | None = None
    first: tuple[dict[str, Any], ...] = ()
    pause_at: float | None = None
    finish: int = 3
    each_anew: bool = True

    def spec(self, *, ceiling: float) -> StudySpec:
        fit = {**self.fit, "head_start": self.head_start}
        return StudySpec.model_validate(
            {
                "name": "simulated",
                "score": {"ceiling": ceiling},
                "data": {"source": "imdb"},
                "fit": fit,
                "pruning": self.pruning,
                "recipes": {"enqueue": []},
            }
        )

    def pruner_of(self, spec: StudySpec) -> BasePruner:
        if self.pruner is not None:
            return self.pruner()
        if not spec.pruning.rungs:
            return NopPruner()
        settings = spec.pruning.model_dump(exclude={"rungs"})
        return FeasiblePruner(spec.pruning.rungs, **settings)


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


def _cmaes(seed: int) -> BaseSampler:
    return optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=10)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed, n_startup_trials=10, deterministic_objective=False)


def _layers(lowest: int, highest: int, **more: Any) -> Contender:
    """Search so many frozen layers, three epochs a fit, after the usual fit."""
    depths = (
        {"freeze_depth": {"low": lowest, "high": highest}} if lowest < highest else {"freeze_depth": lowest}
    )
    return Contender(fit=THREE_EPOCHS | depths | more, pruning=NOTHING, first=(USUAL,))


CONTENDERS = {
    "today": Contender(fit=CARD, head_start="random"),
    "default study": Contender(fit=STUDY, pruning=OF_THE_STUDY),
    "default study, margin 2": Contender(fit=STUDY, pruning=OF_THE_STUDY | {"margin": 2.0}),
    "default study, margin 1": Contender(fit=STUDY, pruning=OF_THE_STUDY | {"margin": 1.0}),
    "default study, margin 0": Contender(fit=STUDY, pruning=OF_THE_STUDY | {"margin": 0.0}),
    "default study, rung 1/2, margin 2": Contender(
        fit=STUDY, pruning=OF_THE_STUDY | {"margin": 2.0, "rungs": [0.5]}
    ),
    "default study, nothing pruned": Contender(fit=STUDY, pruning=NOTHING),
    "default study, random": Contender(fit=STUDY, pruning=NOTHING, sampler=_random),
    "today, head fitted": Contender(fit=CARD),
    "today, head fitted, nothing pruned": Contender(fit=CARD, pruning=NOTHING),
    "today's rungs, wide space": Contender(),
    "TPE, nothing pruned": Contender(pruning=NOTHING),
    "TPE, nothing pruned, head random": Contender(pruning=NOTHING, head_start="random"),
    "TPE + MedianPruner": Contender(pruning=NOTHING, pruner=lambda: MedianPruner()),
    "TPE + Hyperband": Contender(
        pruning=NOTHING,
        pruner=lambda: HyperbandPruner(min_resource=500, max_resource=4000, reduction_factor=3),
    ),
    "ASHA, reduction 4": Contender(
        pruning=NOTHING,
        sampler=_random,
        pruner=lambda: SuccessiveHalvingPruner(min_resource=1000, reduction_factor=4),
    ),
    "random": Contender(pruning=NOTHING, sampler=_random),
    "one epoch, best three in full": Contender(pruning=NOTHING, sampler=_random, pause_at=1.0),
    "GP": Contender(pruning=NOTHING, sampler=_gp, each_anew=False),
    "CMA-ES": Contender(pruning=NOTHING, sampler=_cmaes, each_anew=False),
    "today, margin 1": Contender(fit=CARD, head_start="random", pruning=TODAY | {"margin": 1.0}),
    "today, margin 2": Contender(fit=CARD, head_start="random", pruning=TODAY | {"margin": 2.0}),
    "today, head fitted, margin 1": Contender(fit=CARD, pruning=TODAY | {"margin": 1.0}),
    "today, head fitted, margin 2": Contender(fit=CARD, pruning=TODAY | {"margin": 2.0}),
    "today's rungs, wide space, margin 1": Contender(pruning=TODAY | {"margin": 1.0}),
    "today's rungs, wide space, margin 2": Contender(pruning=TODAY | {"margin": 2.0}),
    "rungs 1/2 1 2, keep 0.34": Contender(pruning=LATE),
    "rungs 1/2 1 2, keep 0.34, margin 1": Contender(pruning=LATE | {"margin": 1.0}),
    "rungs 1/2 1 2, keep 0.34, margin 2": Contender(pruning=LATE | {"margin": 2.0}),
    "rungs 1/2 1 2, keep 0.2, margin 2": Contender(pruning=LATE | {"margin": 2.0, "keep": 0.2}),
    "today's rungs, wide space, margin 3": Contender(pruning=TODAY | {"margin": 3.0}),
    "rungs 1/2 1 2, keep 0.34, margin 3": Contender(pruning=LATE | {"margin": 3.0}),
    "rungs 1 2, keep 0.34, margin 2": Contender(pruning=LATE | {"margin": 2.0, "rungs": [1.0, 2.0]}),
    "rungs 1 2, keep 0.34, margin 3": Contender(pruning=LATE | {"margin": 3.0, "rungs": [1.0, 2.0]}),
    "today, margin 3": Contender(fit=CARD, head_start="random", pruning=TODAY | {"margin": 3.0}),
    "rung 1, keep 0.34, margin 2": Contender(pruning=LATE | {"margin": 2.0, "rungs": [1.0]}),
    "usual first, rungs 1/2 1 2, margin 2": Contender(pruning=LATE | {"margin": 2.0}, first=(USUAL,)),
    "usual first, TPE, nothing pruned": Contender(pruning=NOTHING, first=(USUAL,)),
    "usual first, depth 5..6": _layers(5, 6),
    "usual first, depth 4..6": _layers(4, 6),
    "usual first, depth 2..6": _layers(2, 6),
    "usual first, depth 2..6, 1 epoch": _layers(2, 6, epochs=1, evaluations_per_epoch=4),
    "usual first, depth 0..6": _layers(0, 6),
    "usual first, depth 1..4": _layers(1, 4),
    "usual first, depth 0..3": _layers(0, 3),
    "usual first, depth 0..1": _layers(0, 1),
    "usual first, depth 0..3, 2 epochs": _layers(0, 3, epochs=2),
    "usual first, depth 0..3, rates up to 1.5e-4": _layers(
        0, 3, learning_rate={"low": 3e-5, "high": 1.5e-4, "log": True}
    ),
    "usual first, depth 0, seeds alone": _layers(0, 0, learning_rate=5e-5, dropout=0.1, head_width=64),
}

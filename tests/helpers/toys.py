"""Small studies made by hand, for tests of what is said about a study."""

import copy

import optuna
from optuna.trial import TrialState

from search.study.spec import StudySpec

DISTRIBUTIONS = {
    "freeze_depth": optuna.distributions.IntDistribution(0, 6),
    "dropout": optuna.distributions.FloatDistribution(0.0, 0.9),
    "head_width": optuna.distributions.IntDistribution(1, 65536),
    "learning_rate": optuna.distributions.FloatDistribution(1e-7, 1.0, log=True),
    "patience": optuna.distributions.IntDistribution(1, 20),
}


def make_spec(**changes):
    table = {
        "name": "toy",
        "seed": 3,
        "data": {"source": "imdb", "validation": 100, "test": 100},
        "fit": {
            "freeze_depth": {"low": 2, "high": 6},
            "dropout": {"low": 0.0, "high": 0.6},
            "head_width": [32, 64, 128],
            "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
            "patience": {"low": 1, "high": 5},
        },
    }
    return StudySpec.model_validate(table | changes)


def add(study, training=None, validation=None, *, state=TrialState.COMPLETE, reason="patience", **attrs):
    params = {"freeze_depth": 4, "dropout": 0.312, "head_width": 128, "learning_rate": 4.12e-5, "patience": 3}
    attributes = {"reason": reason, "config": params}
    constraints = {}
    if training is not None:
        attributes |= {
            "training_accuracy": training,
            "validation_accuracy": validation,
            "gap": training - validation,
            "training_exact": state == TrialState.COMPLETE,
            "best_epoch": 2.0,
            "epochs": 2.5,
            "seconds": 64.4,
            "tokens": 1000,
        }
        constraints = {"training_accuracy_over_ceiling": training - 0.92}
    attributes |= attrs
    if state in (TrialState.RUNNING, TrialState.WAITING) or training is None:
        value = None
    else:
        value = validation - max(0.0, training - 0.92)
    study.add_trial(
        optuna.trial.create_trial(
            state=state,
            value=value,
            params={} if state == TrialState.WAITING else params,
            distributions={} if state == TrialState.WAITING else DISTRIBUTIONS,
            user_attrs=attributes,
            constraints=constraints,
        )
    )


def make_study():
    return optuna.create_study(direction="maximize", study_name="toy")


def evaluation(epoch, validation, training, *, peek=False, exact=False):
    """One entry of a trial's attribute "evaluations"."""
    return {
        "epoch": epoch,
        "peek": peek,
        "exact": exact,
        "validation_loss": 0.6 - 0.1 * epoch,
        "validation_accuracy": validation,
        "training_accuracy": training,
        "seconds": 10.0 * epoch,
        "score": validation,
    }


def fill(study):
    """Give a study a trial of every kind, as a search leaves them; trial 1 is the best."""
    study.set_user_attr("wall_seconds", 2472.0)
    study.set_user_attr("cache_bytes", 3 * 2**20)
    study.set_user_attr("encoder_sha256", "ab" * 32)
    study.set_user_attr("data", DATA)
    add(study, 0.80, 0.78, recipe="frozen-head", reason="epochs")
    curve = [evaluation(0.5, 0.8, 0.7, peek=True), evaluation(1.0, 0.84, 0.85), evaluation(2.0, 0.86, 0.90)]
    add(study, 0.91, 0.86, evaluations=[*curve, evaluation(3.0, 0.85, 0.95)])
    add(study, 0.9312, 0.8733, reason="ceiling", evaluations=[evaluation(2.0, 0.8733, 0.93)])
    rung = "rung 1 epochs: score 0.700 ranks 5 of 5 feasible, 3 go on"
    first = [evaluation(1.0, 0.70, 0.74)]
    add(study, 0.74, 0.70, state=TrialState.PRUNED, reason=rung, evaluations=first, best_epoch=1.0)
    add(study, state=TrialState.FAIL, reason="diverged: loss is nan at step 12")
    add(study, 0.85, 0.84, dropout=0.1, evaluations=[evaluation(2.0, 0.84, 0.85)])
    return study


DATA = {
    "train": 200,
    "validation": 100,
    "test": 100,
    "class_names": ["bad", "good"],
    "texts_per_class": {"train": [100, 100], "validation": [60, 40], "test": [50, 50]},
    "texts_cut": {"train": 3, "validation": 1, "test": 0},
    "tokens": {"train": 4000, "validation": 2000, "test": 2000},
    "tokens_kept": {"train": 3900, "validation": 1990, "test": 2000},
    "duplicates": 2,
    "contradictions": 0,
    "mended": 1,
    "findings": [
        {
            "kind": "mended texts",
            "severity": "mended",
            "message": "markup was cleaned",
            "file": "imdb",
            "lines": [3, 4],
            "unit": "row",
            "count": 2,
        }
    ],
    "fingerprint": "cd" * 32,
}


def _finalist(name, trial, recipe, *, accuracy, test):
    fits = [
        {
            "seed": seed,
            "state": "complete",
            "reason": "patience",
            "validation_accuracy": accuracy + 0.001 * place,
            "training_accuracy": 0.9,
            "test_accuracy": test and test + 0.002 * place - 0.001,
            "seconds": 61.0,
            "best_epoch": 2.0,
        }
        for place, seed in enumerate((101, 102, 103))
    ]
    fits[2] |= {"state": "failed", "reason": "out of memory"}
    missing = ("validation_accuracy", "training_accuracy", "test_accuracy", "seconds", "best_epoch")
    fits[2] |= dict.fromkeys(missing)
    searched = {"validation_accuracy": accuracy + 0.01, "training_accuracy": 0.91}
    return {
        "name": name,
        "trial": trial,
        "recipe": recipe,
        "config": {"freeze_depth": 4},
        "search": searched,
        "fits": fits,
        "validation": {"mean": accuracy, "spread": 0.004},
        "training": {"mean": 0.9, "spread": None},
        "share_under_ceiling": 2 / 3,
        "score": accuracy,
        "optimism": 0.01,
        "flattery": {
            "search_above_fresh": {"value": 0.01, "low": -0.004, "high": 0.024},
            "fresh_above_test": test and {"value": 0.005, "low": -0.03, "high": 0.04},
            "search_above_test": test and {"value": 0.015, "low": -0.03, "high": 0.06},
        },
        "test": test
        and {
            "accuracy": test,
            "spread": 0.0014,
            "num_fits": 2,
            "low": test - 0.02,
            "high": test + 0.02,
            "confidence": 0.95,
            "seed": 101,
        },
    }


CONFIRMATION = {
    "rule": "highest mean validation accuracy among those that stay under the ceiling on most seeds",
    "seeds": [101, 102, 103],
    "after": 6,
    "num_test": 100,
    "versions": {"frostline": "0.2.0", "torch": "2.13.0"},
    "processors": ["a processor"],
    "winner": "trial 1",
    "finalists": [
        _finalist("trial 1", 1, None, accuracy=0.85, test=0.845),
        _finalist("frozen-head", 0, "frozen-head", accuracy=0.77, test=0.76),
        _finalist("trial 5", 5, None, accuracy=0.83, test=None),
    ],
    "comparisons": [
        {
            "first": "trial 1",
            "second": "frozen-head",
            "difference": 0.085,
            "low": 0.03,
            "high": 0.14,
            "p": 0.004,
            "p_holm": 0.008,
            "only_first_right": 12,
            "only_second_right": 3,
            "num_seeds": 2,
            "test": "permutation",
        }
    ],
}


def as_written_by_0_1_0(confirmation):
    """The same outcome as version 0.1.0 kept it: the first fit alone was tested, by McNemar."""
    found = copy.deepcopy(confirmation)
    del found["versions"], found["processors"]
    for row in found["finalists"]:
        del row["flattery"]
        for fit in row["fits"]:
            del fit["test_accuracy"]
        if row["test"]:
            del row["test"]["spread"], row["test"]["num_fits"]
    for pair in found["comparisons"]:
        del pair["num_seeds"], pair["test"]
    return found

"""A study of four dimensions in memory, and trials for it that finalists are chosen from."""

import optuna
from optuna.trial import TrialState, create_trial

from search.study.spec import StudySpec

SPEC = StudySpec.model_validate(
    {
        "name": "toy",
        "seed": 4,
        "data": {"source": "imdb", "train": 40, "validation": 20, "test": 20},
        "fit": {
            "freeze_depth": {"low": 0, "high": 2},
            "dropout": {"low": 0.0, "high": 0.5},
            "head_width": [8, 16],
            "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
            "patience": {"low": 1, "high": 4},
        },
        "recipes": {"enqueue": ["frozen-head"]},
    }
)

CEILING = 0.9


def add(study, validation, training, *, state=TrialState.COMPLETE, depth=1, recipe=None):
    settings = {"freeze_depth": depth, "dropout": 0.1, "head_width": 8, "learning_rate": 1e-3, "patience": 2}
    notes = {"validation_accuracy": validation, "training_accuracy": training, "seconds": 2.0}
    notes["config"] = SPEC.train_config(settings, seed=len(study.trials)).model_dump(
        mode="json", exclude_none=True
    )
    if recipe:
        notes["recipe"] = recipe
    study.add_trial(
        create_trial(
            state=state, value=validation, user_attrs=notes, constraints={"over": training - CEILING}
        )
    )


def make_study():
    study = optuna.create_study(direction="maximize", study_name="toy")
    study.set_user_attr("num_layers", 3)
    return study

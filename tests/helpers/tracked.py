"""Runs as a search tells them to trackers."""

from search.trials.tracking.runs import Experiment, Look, Model, Run

BEGAN = 1_700_000_000.0


def experiment(folder, *, identity="0123456789abcdef", name="tiny"):
    return Experiment(
        identity=identity, name=name, metric="macro_f1", folder=str(folder), description="A study: of tests."
    )


def run(number=0, *, state="running", num_looks=0):
    """Trial ``number`` with so many looks, half an epoch apart."""
    is_running = state == "running"
    return Run(
        number=number,
        state=state,
        began=BEGAN + number,
        ended=None if is_running else BEGAN + number + 9,
        settings={"freeze_depth": 2, "learning_rate": 3e-4, "data.source": "x.csv", "bias": True},
        looks=[
            Look(
                epoch=(i + 1) / 2,
                time=BEGAN + i,
                figures={"curve/score": i / 10, "curve/validation_loss": 1 - i / 10},
            )
            for i in range(num_looks)
        ],
        figures={} if is_running else {"score": 0.75, "training_over_ceiling": -0.02},
        notes={"origin": "recipe probe"}
        if is_running
        else {"origin": "recipe probe", "reason": "patience ran out"},
    )


def exported(folder, number=0, *, sha256="0" * 64):
    """Trial ``number``, exported to a folder."""
    about = Model(folder=str(folder), sha256=sha256, reason="best feasible one of the search")
    return run(number, state="complete", num_looks=2).model_copy(update={"model": about})

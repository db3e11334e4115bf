import optuna
import pytest
from optuna.trial import TrialState

from search.analysis.time_use import account

STUDY = {"wall_seconds": 100.0, "peak_flops": 1e9, "workers": 2, "preparation_seconds": 10.0, "num_layers": 6}


def make_trial(depth, *, seconds, training, evaluation, batching, flops, state=TrialState.PRUNED):
    attributes = {
        "config": {"freeze_depth": depth},
        "seconds": seconds,
        "training_seconds": training,
        "evaluation_seconds": evaluation,
        "batching_seconds": batching,
        "flops": flops,
    }
    return optuna.trial.create_trial(state=state, user_attrs=attributes, value=None)


TRIALS = [
    make_trial(3, seconds=80.0, training=50.0, evaluation=20.0, batching=6.0, flops=3e10),
    make_trial(6, seconds=20.0, training=10.0, evaluation=5.0, batching=1.0, flops=1e9),
    optuna.trial.create_trial(state=TrialState.FAIL, user_attrs={"reason": "out of memory"}),
]


def test_every_second_of_every_worker_is_accounted_for():
    seconds = account(STUDY, TRIALS).seconds
    assert seconds == {
        "training": 60.0,
        "evaluation": 25.0,
        "batching and loading": 7.0,
        "preparation": 20.0,
        "Python and storage": 8.0,
        "waiting, and trials that failed": 80.0,
    }
    assert sum(seconds.values()) == 2 * 100.0


def test_useful_mfu_is_of_the_worker_s_share_of_the_peak_and_leaves_frozen_fits_out():
    assert account(STUDY, TRIALS).useful_mfu == pytest.approx(3e10 / (80.0 * 0.5e9))


def test_utilisation_is_of_the_whole_wall_time():
    assert account(STUDY, TRIALS).utilisation == pytest.approx(3.1e10 / (100.0 * 1e9))


def test_no_trained_layer_no_mfu():
    assert account(STUDY, TRIALS[1:]).useful_mfu is None


@pytest.mark.parametrize("unknown", ["wall_seconds", "peak_flops"])
def test_study_that_was_not_measured_has_no_account(unknown):
    assert account({k: v for k, v in STUDY.items() if k != unknown}, TRIALS) is None

import optuna
import pytest
from optuna.trial import TrialState
from toys import add, make_study

from search.trials.silence import FLOOR_SECONDS, MULTIPLE, check_timeout, patience_seconds
from trainers.errors import InputError

NUM_LAYERS = 6


def fitted(study, *moments, depth, seconds=None):
    """Add a trial with news at these moments, in seconds."""
    attrs = {} if seconds is None else {"seconds": seconds}
    study.add_trial(
        optuna.trial.create_trial(
            state=TrialState.RUNNING if seconds is None else TrialState.COMPLETE,
            value=None if seconds is None else 0.8,
            user_attrs={
                "evaluations": [{"seconds": m} for m in moments],
                "config": {"freeze_depth": depth},
                **attrs,
            },
        )
    )


@pytest.fixture
def study():
    return optuna.create_study(direction="maximize")


def patience(study, *, depth, wanted="auto"):
    return patience_seconds(wanted, study.trials, num_trained=NUM_LAYERS - depth, num_layers=NUM_LAYERS)


def test_a_study_without_figures_lets_a_fit_be_silent_for_ever(study):
    assert patience(study, depth=2) is None


def test_seconds_of_the_user_hold_whatever_was_seen(study):
    assert patience(study, depth=2, wanted=5.0) == 5.0
    fitted(study, 100, depth=2, seconds=101)
    assert patience(study, depth=2, wanted=5.0) == 5.0
    assert patience(study, depth=2, wanted="none") is None


@pytest.mark.parametrize("moments", [(1000, 1010, 1020), (10, 1010, 1020), (10, 20, 1020)])
def test_the_longest_silence_counts_the_first_and_the_last_too(study, moments):
    *evaluations, end = moments
    fitted(study, *evaluations, depth=2, seconds=end)
    assert patience(study, depth=2) == pytest.approx(MULTIPLE * 1000)


def test_a_fit_under_way_tells_too(study):
    fitted(study, 1000, depth=2)
    assert patience(study, depth=2) == MULTIPLE * 1000


def test_the_limit_is_never_below_the_floor(study):
    fitted(study, 0.1, depth=2, seconds=0.2)
    assert patience(study, depth=2) == FLOOR_SECONDS


def test_a_fit_that_trains_more_layers_may_be_silent_for_longer(study):
    fitted(study, 1000, depth=4, seconds=1001)
    assert patience(study, depth=0) == 3 * MULTIPLE * 1000
    assert patience(study, depth=5) == MULTIPLE * 1000


def test_heads_alone_tell_nothing_of_layers_that_train(study):
    fitted(study, 0.1, depth=NUM_LAYERS, seconds=0.2)
    assert patience(study, depth=5) is None
    assert patience(study, depth=NUM_LAYERS) == FLOOR_SECONDS


def test_trials_without_news_tell_nothing(study):
    study.ask()
    assert patience(study, depth=2) is None


def test_trials_of_the_first_version_are_understood():
    study = make_study()
    add(study, 0.8, 0.8)
    assert patience_seconds("auto", study.trials, num_trained=1, num_layers=NUM_LAYERS) is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_limit_is_above_nothing(seconds):
    with pytest.raises(InputError) as caught:
        check_timeout(seconds)
    assert str(caught.value) == (
        f"--trial-timeout must be auto, none or above 0 seconds, got {seconds:g}; raise it"
    )


@pytest.mark.parametrize("wanted", ["auto", "none", 0.1])
def test_limits_that_can_be_used_are(wanted):
    check_timeout(wanted)

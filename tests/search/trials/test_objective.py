from types import SimpleNamespace

import optuna
import pytest
from hypothesis import given, strategies as st

import search.trials.objective
from search.study.spec import Score, StudySpec
from search.trials.objective import CONSTRAINT, objective, score
from search.trials.pruning import FeasiblePruner
from trainers.errors import FitError
from trainers.fit.records import Evaluation, FitResult

SPEC = StudySpec.model_validate(
    {
        "name": "toy",
        "data": {"source": "imdb", "train": 40, "validation": 20, "test": 20},
        "fit": {
            "freeze_depth": {"low": 0, "high": 2},
            "dropout": 0.1,
            "head_width": 8,
            "learning_rate": 1e-3,
            "patience": 2,
        },
        "score": {"ceiling": 0.9, "penalty": 2.0},
        "pruning": {"rungs": [0.5, 1.0], "keep": 0.34, "peers": 2},
    }
)
FEATURES = SimpleNamespace(
    encoder=SimpleNamespace(num_layers=2, revision="c0ffee", device="cpu"), precision="float32"
)


class QuietLive:
    def __init__(self):
        self.shown = []

    def trial_started(self, number, _config):
        self.shown.append(number)

    def evaluated(self, number, evaluation):
        self.shown.append((number, evaluation["epoch"]))


def cost(epoch):
    return {
        "seconds": epoch * 10,
        "training_seconds": epoch * 7,
        "evaluation_seconds": epoch * 2,
        "batching_seconds": epoch * 0.5,
        "tokens": int(epoch * 100),
        "flops": epoch * 1e9,
    }


def evaluation(epoch, validation, training, *, exact=False, peek=False, last=False):
    return Evaluation(
        epoch=epoch,
        peek=peek,
        last=last,
        validation_loss=1 - validation,
        validation_accuracy=validation,
        training_accuracy=training,
        exact=exact,
        **cost(epoch),
    )


def peek(epoch, validation):
    return evaluation(epoch, validation, None, peek=True)


def fake_fit(*evaluations, exact_training=0.88, failure=None, exact=True, asked=None):
    """A fit that reports ``evaluations`` and restores the last one."""

    def fit(_config, _features, *, peeks, on_evaluation, to_beat):
        assert peeks == SPEC.pruning.rungs
        if asked is not None:
            asked.append(to_beat)
        for one in evaluations:
            on_evaluation(one)
        if failure:
            raise failure
        last = evaluations[-1]
        return FitResult(
            network=None,
            validation_loss=last.validation_loss,
            validation_accuracy=last.validation_accuracy,
            training_accuracy=exact_training,
            training_exact=exact,
            training_interval=None if exact else (exact_training - 0.05, exact_training + 0.05),
            best_epoch=last.epoch,
            epochs=last.epoch,
            stopped="patience",
            evaluations=evaluations,
            **cost(3),
        )

    return fit


@pytest.fixture
def study():
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.pruner = FeasiblePruner(SPEC.pruning.rungs, keep=SPEC.pruning.keep, peers=SPEC.pruning.peers)
    return study


@pytest.fixture
def run(study, monkeypatch):
    def run_one(*evaluations, **options):
        monkeypatch.setattr(search.trials.objective, "fit", fake_fit(*evaluations, **options))
        trial = study.ask()
        try:
            study.tell(trial, objective(trial, SPEC, FEATURES, QuietLive()))
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return study.trials[trial.number]

    return run_one


shares = st.floats(0, 1)


@given(shares, shares, st.floats(0.01, 1), st.floats(0, 10))
def test_score_is_validation_accuracy_less_what_training_exceeds(validation, training, ceiling, penalty):
    value = score(validation, training, Score(ceiling=ceiling, penalty=penalty))
    if training <= ceiling:
        assert value == validation
    else:
        assert value == pytest.approx(validation - penalty * (training - ceiling))
        assert value <= validation


@given(shares, shares, shares)
def test_score_never_rises_with_training_accuracy(validation, one, other):
    low, high = sorted((one, other))
    assert score(validation, high, Score()) <= score(validation, low, Score())


def test_complete_trial_leaves_its_figures(run):
    trial = run(evaluation(1.0, 0.8, 0.85), evaluation(2.0, 0.84, 0.87), exact_training=0.88)
    notes = trial.user_attrs
    assert trial.value == 0.84
    assert {
        k: notes[k] for k in ("validation_accuracy", "training_accuracy", "training_exact", "reason")
    } == {
        "validation_accuracy": 0.84,
        "training_accuracy": 0.88,
        "training_exact": True,
        "reason": "patience",
    }
    assert notes["gap"] == pytest.approx(0.04)
    assert (notes["best_epoch"], notes["epochs"]) == (2.0, 2.0)
    assert {k: notes[k] for k in cost(3)} == cost(3)


def test_score_and_constraint_use_the_exact_training_accuracy(run):
    trial = run(evaluation(1.0, 0.8, 0.5), exact_training=0.95)
    assert trial.value == pytest.approx(0.8 - 2.0 * 0.05)
    assert trial.constraints[CONSTRAINT] == pytest.approx(0.05)


def test_constraint_is_mirrored_for_the_dashboard(run):
    trial = run(evaluation(1.0, 0.8, 0.5), exact_training=0.85)
    assert trial.system_attrs["constraints"] == [pytest.approx(-0.05)]


def test_every_evaluation_is_kept_with_its_score(run):
    kept = run(peek(0.5, 0.7), evaluation(1.0, 0.8, 0.95)).user_attrs["evaluations"]
    assert [(e["epoch"], e["peek"], e["exact"]) for e in kept] == [(0.5, True, False), (1.0, False, False)]
    assert [e["training_accuracy"] for e in kept] == [None, 0.95]
    assert [e["score"] for e in kept] == [0.7, pytest.approx(0.7)]


def test_reports_stand_at_thousandths_of_an_epoch(run):
    trial = run(evaluation(0.5, 0.7, 0.8), evaluation(1.0, 0.8, 0.85))
    assert trial.intermediate_values == {500: 0.7, 1000: 0.8}


def test_configuration_is_kept_complete(run):
    config = run(evaluation(1.0, 0.8, 0.85)).user_attrs["config"]
    assert config["ceiling"] == 0.9
    assert config["data"]["train"] == 40
    assert {"freeze_depth", "seed", "epochs", "batch_size", "encoder"} <= set(config)


def test_configuration_says_the_encoders_commit_and_device(run):
    config = run(evaluation(1, 0.8, 0.85)).user_attrs["config"]
    assert (config["encoder"]["revision"], config["device"]) == ("c0ffee", "cpu")


def test_pruned_trial_carries_constraint_reason_and_the_epoch_it_stood_at(run):
    for _ in range(2):
        run(evaluation(0.5, 0.8, 0.85), evaluation(1.0, 0.8, 0.85))
    trial = run(evaluation(0.5, 0.6, 0.87), evaluation(1.0, 0.9, 0.85))
    assert trial.state.name == "PRUNED"
    assert trial.constraints[CONSTRAINT] == pytest.approx(-0.03)
    assert trial.user_attrs["reason"] == "rung 0.5 epochs: score 0.600 ranks 3 of 3 feasible, 2 go on"
    assert (trial.user_attrs["epochs"], trial.user_attrs["training_exact"]) == (0.5, False)
    assert trial.user_attrs["seconds"] == 5.0


def test_trial_pruned_at_a_peek_has_no_training_figure_and_counts_as_feasible(run):
    for _ in range(2):
        run(peek(0.5, 0.8), evaluation(1.0, 0.8, 0.85))
    trial = run(peek(0.5, 0.6), evaluation(1.0, 0.9, 0.85))
    assert trial.state.name == "PRUNED"
    assert not {"training_accuracy", "training_exact", "gap"} & set(trial.user_attrs)
    assert trial.user_attrs["validation_accuracy"] == 0.6
    assert trial.constraints[CONSTRAINT] == 0.0
    assert trial.system_attrs["constraints"] == [0.0]


def test_trial_pruned_at_a_later_peek_carries_the_constraint_of_its_latest_full_evaluation(run):
    for _ in range(2):
        run(evaluation(0.5, 0.8, 0.85), peek(1.0, 0.8), evaluation(2.0, 0.8, 0.85))
    trial = run(evaluation(0.5, 0.8, 0.86), peek(1.0, 0.6), evaluation(2.0, 0.8, 0.85))
    assert trial.state.name == "PRUNED"
    assert trial.constraints[CONSTRAINT] == pytest.approx(-0.04)


def test_trial_that_ends_at_a_rung_anyway_is_not_pruned(run):
    for _ in range(3):
        run(evaluation(1.0, 0.8, 0.85))
    assert run(evaluation(1.0, 0.1, 0.86, last=True)).state.name == "COMPLETE"


def test_the_same_evaluation_prunes_a_trial_that_would_go_on(run):
    for _ in range(3):
        run(evaluation(1.0, 0.8, 0.85))
    assert run(evaluation(1.0, 0.1, 0.86)).state.name == "PRUNED"


def test_recipe_is_not_pruned(run, study):
    for _ in range(2):
        run(evaluation(0.5, 0.8, 0.85))
    study.enqueue_trial({}, user_attrs={"recipe": "frozen-head"})
    assert run(evaluation(0.5, 0.1, 0.85)).state.name == "COMPLETE"


def test_a_fit_is_told_the_value_of_the_best_feasible_trial_so_far(run):
    asked = []
    run(evaluation(1.0, 0.8, 0.85), asked=asked)
    run(evaluation(1.0, 0.7, 0.85), asked=asked)
    run(evaluation(1.0, 0.95, 0.95), exact_training=0.95, asked=asked)
    run(evaluation(1.0, 0.83, 0.85), asked=asked)
    run(evaluation(1.0, 0.83, 0.85), asked=asked)
    assert asked == [None, 0.8, 0.8, 0.8, 0.83]


def test_of_a_recipe_everything_is_measured(run, study):
    asked = []
    run(evaluation(1.0, 0.8, 0.85))
    study.enqueue_trial({}, user_attrs={"recipe": "frozen-head"})
    run(evaluation(1.0, 0.6, 0.85), asked=asked)
    assert asked == [None]


def test_an_estimate_of_a_complete_trial_is_told_as_one_with_its_interval(run):
    notes = run(evaluation(1.0, 0.8, 0.85), exact_training=0.8, exact=False).user_attrs
    assert notes["training_exact"] is False
    assert notes["training_interval"] == pytest.approx([0.75, 0.85])


def test_an_exact_figure_has_no_interval(run):
    assert "training_interval" not in run(evaluation(1.0, 0.8, 0.85)).user_attrs


def test_failure_of_the_fit_is_passed_on_with_the_evaluations_so_far(run, study):
    with pytest.raises(FitError, match=r"^out of memory$"):
        run(evaluation(0.5, 0.8, 0.85), failure=FitError("out of memory"))
    assert len(study.trials[0].user_attrs["evaluations"]) == 1


def test_live_sees_the_trial_and_each_evaluation(study, monkeypatch):
    monkeypatch.setattr(
        search.trials.objective, "fit", fake_fit(evaluation(0.5, 0.8, 0.85), evaluation(1.0, 0.8, 0.85))
    )
    live = QuietLive()
    objective(study.ask(), SPEC, FEATURES, live)
    assert live.shown == [0, (0, 0.5), (0, 1.0)]

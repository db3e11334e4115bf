import pytest

from search.study.idle import idle_settings
from search.study.spec import StudySpec
from trainers.fit.stopping import EarlyStopping

FIT = {
    "freeze_depth": {"low": 0, "high": 6},
    "dropout": {"low": 0.0, "high": 0.5},
    "head_width": [32, 64],
    "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
    "patience": {"low": 1, "high": 2},
    "epochs": 1,
    "evaluations_per_epoch": 4,
}


def idle(num_layers=None, **changes):
    spec = StudySpec.model_validate({"name": "x", "data": {"source": "imdb"}, "fit": {**FIT, **changes}})
    return idle_settings(spec, num_layers=num_layers)


def test_a_study_whose_settings_all_act_has_none():
    assert idle() == []


def test_patience_that_only_the_end_of_a_fit_could_meet_is_named():
    assert idle(patience={"low": 1, "high": 4}) == [
        "patience up to 4 is searched, but with 4 evaluations in the longest fit at most 2 can end one early; lower its "
        "upper end to 2, or raise epochs or evaluations_per_epoch"
    ]


@pytest.mark.parametrize("evaluations", range(1, 8))
@pytest.mark.parametrize("patience", range(1, 8))
def test_patience_is_named_if_and_only_if_stopping_could_not_come_before_the_end(evaluations, patience):
    losses = [float(i) for i in range(evaluations)]  # the first is the best: the earliest stop there can be
    stopping = EarlyStopping(patience=patience, ceiling=None)
    ages = range(1, evaluations)
    stops_early = any(stopping.reason_to_stop(losses[:age], [0.5] * age) for age in ages)
    found = idle(patience=[1, patience], evaluations_per_epoch=evaluations)
    assert any(line.startswith("patience up to") for line in found) is not stops_early


def test_patience_of_which_no_value_acts_is_named():
    assert idle(epochs=2, evaluations_per_epoch=1) == [
        "patience up to 2 is searched, but with 2 evaluations in the longest fit no value of it can end one early; write it "
        "as one number, or raise epochs or evaluations_per_epoch"
    ]


def test_the_longest_fit_of_the_space_counts():
    assert idle(epochs=[1, 3], patience=[1, 2, 4]) == []


@pytest.mark.parametrize("start", ["fitted", "auto"])
def test_the_look_at_a_fitted_head_is_an_evaluation(start):
    assert idle(patience={"low": 1, "high": 3}, head_start=start) == []


def test_patience_that_is_fixed_is_no_dimension():
    assert idle(patience=9) == []


def test_a_dimension_of_one_value_is_named():
    assert idle(dropout={"low": 0.1, "high": 0.1}) == [
        "dropout is searched but has one value, 0.1; write it as dropout = 0.1"
    ]
    assert idle(head_width=[64]) == [
        "head_width is searched but has one value, 64; write it as head_width = 64"
    ]


def test_a_dimension_that_only_rounds_is_named():
    assert idle(threads=[1, 2]) == ["threads changes no more than the rounding of a fit; fix it"]


def test_dropout_in_layers_that_never_train_is_named():
    frozen = {"freeze_depth": 6, "encoder_dropout": [0.0, 0.1]}
    assert idle(num_layers=6, **frozen) == [
        "encoder_dropout cannot change a fit: all layers are frozen in every trial; fix it"
    ]
    assert idle(num_layers=7, **frozen) == []


def test_a_gamma_without_the_focal_loss_is_named():
    gamma = {"low": 0.5, "high": 5.0}
    assert idle(focal_gamma=gamma) == [
        'focal_gamma cannot change a fit: loss is never "focal"; fix it, or add "focal" to loss'
    ]
    assert idle(focal_gamma=gamma, loss=["cross_entropy", "focal"]) == []

import pytest
from pydantic import ValidationError

from trainers.config import DataConfig, TrainConfig

FIT = {"freeze_depth": 1, "dropout": 0.1, "head_width": 8, "learning_rate": 1e-3}


def data(**settings):
    return DataConfig.model_validate({"source": "/a.csv", **settings})


def test_numbers_are_the_names_of_classes():
    assert data(ordered=[1, 2, 3]).ordered == ("1", "2", "3")
    assert data(positive=1).positive == "1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ordered": ["a", "b", "a"]}, "must name each class once, got 'a' twice; drop one"),
        ({"ordered": ["a"]}, "must name two classes at least, got 'a' alone; add the others"),
        ({"ordered": []}, "must list the classes from the lowest to the highest, got []"),
        ({"ordered": "a"}, "must list the classes from the lowest to the highest, got 'a'"),
        ({"ordered": [1.5, 2.5]}, "must list the classes from the lowest to the highest, got [1.5, 2.5]"),
        (
            {"ordered": ["a", "b"], "label_separator": ";"},
            "ordered is for one label a text, got it where a text may have several, of which an order is not supported; remove it",
        ),
        (
            {"positive": "a", "label": ["a", "b"]},
            "positive is for one label a text, got it where a text may have several",
        ),
        ({"source": "imdb", "ordered": ["negative", "positive"]}, "the packaged reviews know their columns"),
    ],
)
def test_what_cannot_be_an_order_is_refused(settings, message):
    with pytest.raises(ValidationError) as caught:
        data(**settings)
    assert message in str(caught.value)


def test_absent_they_are_not_written():
    assert not {"ordered", "positive"} & data().model_dump().keys()
    assert data(ordered=["a", "b"]).model_dump(mode="json")["ordered"] == ["a", "b"]


@pytest.mark.parametrize(
    ("metric", "settings", "message"),
    [
        (
            "quadratic_kappa",
            {},
            "metric quadratic_kappa needs to know the order of the classes, got no data.ordered",
        ),
        (
            "average_precision",
            {},
            "metric average_precision needs to know which of two classes is looked for",
        ),
        ("quadratic_kappa", {"label_separator": ";"}, "for several labels a text, got 'quadratic_kappa'"),
        (
            "micro_f1",
            {"ordered": ["a", "b"]},
            "accuracy, balanced_accuracy, macro_f1, quadratic_kappa for one label",
        ),
    ],
)
def test_a_metric_needs_what_it_is_of(metric, settings, message):
    with pytest.raises(ValidationError, match=message):
        TrainConfig.model_validate({"data": data(**settings), "metric": metric, **FIT})


def test_with_it_the_metric_is_taken():
    for metric, settings in (
        ("quadratic_kappa", {"ordered": ["a", "b"]}),
        ("average_precision", {"positive": "a"}),
    ):
        found = TrainConfig.model_validate({"data": data(**settings), "metric": metric, **FIT})
        assert found.metric == metric

import importlib
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks as checks

import search
import trainers.sklearn
from search.sklearn import SearchedTextClassifier
from trainers.model.classifier import load, save

pytestmark = pytest.mark.usefixtures("plain_report", "measured_head")

SPACE = {
    "freeze_depth": [2, 3],
    "dropout": 0.0,
    "head_width": [4, 8],
    "learning_rate": 1e-2,
    "patience": 1,
}


@pytest.fixture(scope="module")
def small(tiny_encoder_dir):
    """A function: an estimator that searches two trials of the tiny encoder, with changes."""

    def small(**changes):
        settings = {
            "encoder": str(tiny_encoder_dir),
            "trials": 2,
            "space": SPACE,
            "settings": {"epochs": 1, "head_start": "random"},
            "ceiling": 1.0,
            "recipes": (),
            "max_length": 16,
            "workers": 1,
        }
        return SearchedTextClassifier(**settings | changes)

    return small


@pytest.fixture(scope="module")
def reviews(named_reviews):
    """Texts and labels."""
    return [text for text, _ in named_reviews[:120]], [label for _, label in named_reviews[:120]]


@pytest.fixture(scope="module")
def fitted(small, reviews):
    """Read only."""
    return small(recipes=("probe",), trials=3).fit(*reviews)


def failure(estimator, *arguments, **named):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the caller looks at the message
        estimator.fit(*arguments, **named)
    return str(caught.value)


def test_it_stands_beside_the_estimator_of_one_fit():
    assert trainers.sklearn.SearchedTextClassifier is SearchedTextClassifier
    with pytest.raises(AttributeError, match="has no attribute 'Searched'"):
        trainers.sklearn.Searched  # noqa: B018


def test_it_predicts_labels_that_it_has_not_seen(fitted, named_reviews):
    texts, labels = zip(*named_reviews[200:300], strict=True)
    assert fitted.score(texts, labels) > 0.7
    assert fitted.classes_.tolist() == ["bad", "good"]


def test_the_trials_are_there_and_the_best_of_them_is_the_winner(fitted):
    assert len(fitted.trials_) == 3
    assert fitted.best_score_ == fitted.trials_["validation_accuracy"].max()
    best = fitted.trials_.loc[fitted.trials_["validation_accuracy"].idxmax()]
    assert fitted.best_params_["head_width"] == best["setting_head_width"]
    assert fitted.ceiling_ == 1.0


def test_probabilities_are_those_of_the_classifier(fitted, reviews):
    probabilities_NC = fitted.predict_proba(reviews[0])
    assert probabilities_NC.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert probabilities_NC == pytest.approx(fitted.classifier_.predict_proba(reviews[0]), abs=1e-6)


def test_the_columns_are_in_the_order_of_the_classes(small, reviews):
    """A study puts 9 before 10, numpy the text "10" before "9"."""
    words = small(recipes=("probe",), trials=1).fit(
        reviews[0], ["9" if label == "good" else "10" for label in reviews[1]]
    )
    assert words.classes_.tolist() == ["10", "9"]
    assert words.score(reviews[0], ["9" if label == "good" else "10" for label in reviews[1]]) > 0.7
    integers = small().fit(reviews[0], [7 if label == "good" else -3 for label in reviews[1]])
    assert integers.classes_.tolist() == [-3, 7]
    assert set(integers.predict(reviews[0]).tolist()) <= {-3, 7}


def test_equal_seeds_search_equally(small, reviews):
    first, second = (small(random_state=4).fit(*reviews) for _ in range(2))
    columns = ["validation_accuracy", "setting_head_width", "setting_freeze_depth"]
    pd.testing.assert_frame_equal(first.trials_[columns], second.trials_[columns])
    assert np.array_equal(first.predict_proba(reviews[0]), second.predict_proba(reviews[0]))


def test_a_folder_keeps_the_study_and_the_same_fit_continues_it(small, reviews, tmp_path):
    first = small(folder=tmp_path, trials=1).fit(*reviews)
    again = small(folder=tmp_path, trials=2).fit(*reviews)
    assert (len(first.trials_), len(again.trials_)) == (1, 2)
    assert again.trials_["seconds"][0] == first.trials_["seconds"][0]
    assert len(list(tmp_path.glob("*.toml"))) == 1


def test_a_clone_has_the_settings_and_no_fit(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError, match="This SearchedTextClassifier instance is not fitted yet"):
        copy.predict(["good"])


@pytest.fixture(scope="module")
def decided(small, reviews, tmp_path_factory):
    """Of one study: what has a temperature and a threshold, and what is left as it was fitted."""
    decisions = importlib.import_module("trainers.model.decisions")
    calibrate = decisions.calibrate

    def halve(*arguments, scale, **named):
        found = calibrate(*arguments, scale=scale, **named)
        return replace(found, temperature=2.0) if scale else found

    settings = {"folder": tmp_path_factory.mktemp("decided"), "trials": 1, "positive": "bad"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decisions, "calibrate", halve)
        return (
            small(**settings, threshold="f2").fit(*reviews),
            small(**settings, calibration=None).fit(*reviews),
        )


def test_logits_are_divided_by_the_temperature_unless_nobody_wants_it(decided, reviews):
    scaled, plain = decided
    root_NC = plain.predict_proba(reviews[0]) ** 0.5
    expected_NC = root_NC / root_NC.sum(axis=1, keepdims=True)
    assert scaled.predict_proba(reviews[0]) == pytest.approx(expected_NC, abs=1e-5)


def test_predict_says_the_label_that_is_looked_for_from_its_threshold_on(decided, reviews):
    scaled, plain = decided
    [(name, threshold)] = scaled.classifier_.model.config.thresholds.items()
    assert name == "bad"
    bad_N = scaled.predict_proba(reviews[0])[:, 0] >= threshold
    assert scaled.predict(reviews[0]).tolist() == np.where(bad_N, "bad", "good").tolist()
    most_N = plain.predict_proba(reviews[0]).argmax(axis=1)
    assert plain.predict(reviews[0]).tolist() == plain.classes_[most_N].tolist()
    assert scaled.predict(reviews[0]).tolist() != plain.predict(reviews[0]).tolist()


def test_how_answers_are_decided_does_not_make_another_study(decided):
    scaled, plain = decided
    assert scaled.trials_["seconds"].tolist() == plain.trials_["seconds"].tolist()


def test_it_survives_pickling_and_is_saved_as_a_model(fitted, reviews, tmp_path):
    copy = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copy.predict_proba(reviews[0]), fitted.predict_proba(reviews[0]))
    save(fitted.classifier_, tmp_path / "model")
    loaded = load(tmp_path / "model").predict(reviews[0])
    assert [p.label for p in loaded] == fitted.predict(reviews[0]).tolist()


def test_it_stands_in_a_pipeline_and_a_grid(small, reviews):
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    grid = GridSearchCV(
        make_pipeline(lower, small(trials=1)),
        {"searchedtextclassifier__max_length": np.array([12, 16])},
        cv=2,
        error_score="raise",
    )
    grid.fit(*reviews)
    assert set(grid.predict(reviews[0])) <= {"bad", "good"}
    assert len(grid.cv_results_["params"]) == 2


def test_it_is_cross_validated(small, reviews):
    assert len(cross_val_score(small(trials=1), *reviews, cv=2, error_score="raise")) == 2


def test_groups_are_kept_together(small, reviews, tmp_path):
    groups = np.arange(120) // 3
    small(folder=tmp_path, trials=1).fit(*reviews, groups=groups)
    [path] = tmp_path.glob("*.toml")
    found = search.run_study(study=path, trials=1).study.user_attrs["data"]["findings"]
    assert any(f["message"].startswith("no group of column 'group' stands in two splits") for f in found)


def test_texts_may_be_pairs(small, reviews):
    pairs = pd.DataFrame({"left": reviews[0], "right": reviews[0][::-1]})
    pairs.loc[3, "right"] = pairs.loc[3, "left"] + " indeed"
    model = small(trials=1).fit(pairs, reviews[1])
    assert model.predict(pairs[:5]).shape == (5,)


def test_a_matrix_of_0_and_1_gives_one_back(small, reviews):
    y = pd.DataFrame({"good": [label == "good" for label in reviews[1]], "text": np.arange(120) % 3 == 0})
    model = small(trials=1, metric="micro_f1").fit(reviews[0], y.astype(int))
    assert model.classes_.tolist() == ["good", "text"]
    predicted, probabilities_NC = model.predict(reviews[0]), model.predict_proba(reviews[0])
    assert predicted.shape == (120, 2)
    np.testing.assert_array_equal(predicted, probabilities_NC >= 0.5)


def test_an_interrupted_search_gives_the_best_until_then_or_stops(small, reviews, monkeypatch):
    from search.trials import Live

    ended = Live.trial_ended

    def stop(*_):
        raise KeyboardInterrupt

    def stop_after(*arguments):
        ended(*arguments)
        stop()

    with monkeypatch.context() as patch:
        patch.setattr(Live, "trial_ended", stop_after)
        with pytest.warns(UserWarning, match="interrupted after 1 trials; the best of them is taken"):
            model = small().fit(*reviews)
    assert len(model.predict(reviews[0])) == 120
    monkeypatch.setattr(Live, "stage", stop)
    with pytest.raises(KeyboardInterrupt):
        small().fit(*reviews)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ("good film", ["good"], "X must be a sequence of texts, got one str; put it in a list"),
        (["a", "b"], None, "SearchedTextClassifier requires y to be passed, but the target y is None"),
        (["a", "b"], [1, 1], "y must hold two classes at least, got 1 class, 1; add texts of others"),
        (
            ["a", "b"],
            ["x", "x "],
            "labels must differ in more than white space and the way a number is written, got ['x', 'x ']; rename them",
        ),
        (["a", "b", "c"], [0, 1], "Found input variables with inconsistent numbers of samples: [3, 2]"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_words(small, texts, labels, message):
    assert failure(small(), texts, labels) == message


def test_what_a_study_refuses_is_a_value_error_in_its_words(small, reviews):
    assert "must have 10 distinct texts" in failure(small(), ["a b", "c d", "e f", "g h"], [0, 1, 0, 1])
    assert "did you mean 'dropout'" in failure(small(settings={"droput": 1}), *reviews)
    assert failure(small(trials=0), *reviews) == "trials must be at least 1, got 0; raise it"
    assert failure(small(validation_fraction=1), *reviews) == (
        "validation_fraction must lie between 0 and 1, got 1; change it"
    )
    assert failure(small(calibration="isotonic"), *reviews) == (
        "calibration must be 'temperature' or None, got 'isotonic'; change it"
    )
    assert failure(small(threshold=0.4), *reviews) == (
        "threshold must be 'f1', 'f2', 'f0.5', 'balanced_accuracy' or None, got 0.4; change it"
    )
    assert failure(small(positive="low"), *reviews) == (
        "positive must be one of two labels, got 'low' for ['bad', 'good']; change it"
    )
    assert failure(small(threshold="f1"), reviews[0], np.arange(120) % 3) == (
        "threshold must be of two classes, or of several labels a text, got 3 classes; leave it out: the most probable class is said"
    )
    assert failure(small(), *reviews, groups=[None] * 120) == (
        "groups must name one for each text, got None at index 0; fill it in"
    )


def test_where_no_trial_stays_under_the_ceiling_there_is_no_winner(small, reviews):
    assert failure(small(ceiling=0.01, trials=1), *reviews) == (
        "a trial must stay under the ceiling, but none of 1 stays under the ceiling of 1%; raise ceiling, trials or minutes"
    )


@pytest.mark.parametrize(
    "check",
    [
        checks.check_no_attributes_set_in_init,
        checks.check_parameters_default_constructible,
        checks.check_get_params_invariance,
        checks.check_set_params,
        checks.check_estimator_cloneable,
        checks.check_estimator_repr,
        checks.check_estimator_tags_renamed,
        checks.check_valid_tag_types,
        checks.check_mixin_order,
    ],
)
def test_it_passes_the_checks_of_scikit_learn_that_need_no_fit(check, small):
    check("SearchedTextClassifier", small())

import inspect
import io
import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import cohen_kappa_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.multiclass import is_multilabel
from sklearn.utils.validation import check_is_fitted, validate_data

from trainers.config import TrainConfig
from trainers.data.cleaning import clean_text
from trainers.model.classifier import load, save
from trainers.sklearn import NO_SOURCE, NOT_OF_A_FIT, OWN, TextClassifier
from trainers.validation_part import draw

WORDS = (
    "good",
    "great",
    "lovely",
    "moving",
    "superb",
    "warm",
    "bad",
    "awful",
    "boring",
    "dull",
    "weak",
    "cold",
)


@pytest.fixture(scope="module")
def small(tiny_encoder_dir):
    """A function: an estimator of the tiny encoder, with changes."""

    def small(**changes):
        settings = {"encoder": str(tiny_encoder_dir), "head_width": 8, "epochs": 2, "max_length": 24}
        return TextClassifier(**settings | changes)

    return small


@pytest.fixture(scope="module")
def reviews(named_reviews):
    """Texts and labels."""
    return [text for text, _ in named_reviews[:120]], [label for _, label in named_reviews[:120]]


@pytest.fixture(scope="module")
def fitted(small, reviews):
    return small(epochs=20, freeze_depth=0, dropout=0.0, learning_rate=3e-3).fit(*reviews)


def failure(estimator, texts, labels):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the caller looks at the message
        estimator.fit(texts, labels)
    return str(caught.value)


def test_it_learns(fitted, named_reviews):
    texts, labels = zip(*named_reviews[200:300], strict=True)
    assert fitted.score(texts, labels) > 0.7


def test_labels_come_back_as_they_were_given(fitted, small, reviews):
    assert fitted.classes_.tolist() == ["bad", "good"]
    assert set(fitted.predict(reviews[0])) == {"bad", "good"}
    numbers = small(epochs=1).fit(reviews[0], [7 if label == "good" else -3 for label in reviews[1]])
    assert numbers.classes_.tolist() == [-3, 7]
    assert set(numbers.predict(reviews[0]).tolist()) <= {-3, 7}


def test_probabilities_are_those_of_the_classifier(fitted, reviews):
    probabilities_NC = fitted.predict_proba(reviews[0])
    assert probabilities_NC.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert probabilities_NC == pytest.approx(fitted.classifier_.predict_proba(reviews[0]), abs=1e-6)
    assert (fitted.classes_[probabilities_NC.argmax(axis=1)] == fitted.predict(reviews[0])).all()


def test_texts_may_stand_in_any_sequence(fitted, reviews):
    import pandas as pd

    texts = reviews[0][:6]
    expected = fitted.predict_proba(texts)
    for given in (tuple(texts), np.array(texts), np.array(texts, dtype=object), pd.Series(texts)):
        assert np.array_equal(fitted.predict_proba(given), expected)


def test_equal_seeds_give_equal_weights_and_others_do_not(small, reviews):
    first, second, other = (
        small(epochs=1, random_state=seed).fit(*reviews).predict_proba(reviews[0]) for seed in (4, 4, 5)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_random_state_of_numpy_is_drawn_from(small, reviews):
    first, second = (
        small(epochs=1, random_state=np.random.RandomState(3)).fit(*reviews).config_.seed for _ in range(2)
    )
    assert first == second


def test_a_cache_directory_changes_no_bit_and_is_kept(small, reviews, tmp_path):
    expected = small(freeze_depth=2).fit(*reviews).predict_proba(reviews[0])
    cached = small(freeze_depth=2, cache_directory=tmp_path)
    assert np.array_equal(cached.fit(*reviews).predict_proba(reviews[0]), expected)
    assert list(tmp_path.rglob("depth-2.bin"))
    assert np.array_equal(cached.fit(*reviews).predict_proba(reviews[0]), expected)


def test_a_clone_has_the_settings_and_no_fit(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        check_is_fitted(copy)


def test_before_fit_nothing_is_predicted(small):
    with pytest.raises(NotFittedError, match="This TextClassifier instance is not fitted yet"):
        small().predict(["good"])


@pytest.mark.parametrize("library", [pickle, joblib])
def test_a_fitted_estimator_survives_pickling(fitted, reviews, library):
    file = io.BytesIO()
    library.dump(fitted, file)
    file.seek(0)
    assert np.array_equal(library.load(file).predict_proba(reviews[0]), fitted.predict_proba(reviews[0]))


def test_what_was_fitted_can_be_saved_as_a_model_directory(fitted, reviews, tmp_path):
    save(fitted.classifier_, tmp_path / "model")
    assert [p.label for p in load(tmp_path / "model").predict(reviews[0])] == fitted.predict(
        reviews[0]
    ).tolist()


@pytest.mark.parametrize("clean", ["html", "spaces", "none"])
def test_texts_are_cleaned_once_and_alike_to_fit_and_to_predict(small, reviews, clean):
    texts = [f"{text}  <i>&amp;lt;br&amp;gt;</i>" for text in reviews[0]]
    estimator = small(clean=clean, epochs=1).fit(texts, reviews[1])
    plain = clean_text(texts[0], clean)[0]
    assert estimator.classifier_.plain(texts[:1]) == [plain]
    expected = estimator.classifier_.predict_proba(texts[:5])
    assert np.allclose(estimator.predict_proba(texts[:5]), expected)


def test_it_stands_in_a_pipeline(small, reviews):
    upper = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipeline = make_pipeline(upper, small())
    assert set(pipeline.fit(*reviews).predict(reviews[0])) <= {"bad", "good"}


def test_a_grid_search_tries_its_settings(small, reviews, tmp_path):
    estimator = small(epochs=4, learning_rate=1e-2, cache_directory=tmp_path)
    search = GridSearchCV(
        estimator, {"head_width": [1, 8], "dropout": np.array([0.0])}, cv=2, error_score="raise"
    )
    search.fit(*reviews)
    assert search.best_params_["head_width"] in {1, 8}
    assert len(search.cv_results_["params"]) == 2
    assert set(search.predict(reviews[0])) <= {"bad", "good"}


def test_it_is_cross_validated(small, reviews):
    assert len(cross_val_score(small(epochs=1), *reviews, cv=3, error_score="raise")) == 3


def test_every_setting_of_a_fit_is_a_parameter_with_its_default():
    parameters = inspect.signature(TextClassifier).parameters
    fields = {
        k: f for k, f in TrainConfig.model_fields.items() if k not in {"data", "encoder", "seed", "stop_at"}
    }
    assert set(parameters) == set(fields) | NOT_OF_A_FIT | OWN
    for name, field in fields.items():
        if not field.is_required():
            assert parameters[name].default == field.default, name


def test_an_exported_configuration_becomes_an_estimator(tmp_path, tiny_encoder_dir):
    path = tmp_path / "winner.toml"
    path.write_text(
        "freeze_depth = 1\ndropout = 0.1\nhead_width = 8\nlearning_rate = 0.003\npatience = 2\nceiling = 0.9\n"
        f'seed = 12\n[data]\nsource = "imdb"\nclean = "none"\nmax_length = 20\nhead_tokens = 5\n[encoder]\n'
        f"name = '{tiny_encoder_dir}'\npooling = \"cls\"\n"
    )
    estimator = TextClassifier.from_config(path, epochs=1)
    found = estimator.get_params()
    expected = {
        "freeze_depth": 1,
        "dropout": 0.1,
        "patience": 2,
        "ceiling": 0.9,
        "random_state": 12,
        "epochs": 1,
    }
    expected |= {
        "clean": "none",
        "max_length": 20,
        "head_tokens": 5,
        "pooling": "cls",
        "encoder": str(tiny_encoder_dir),
    }
    assert {key: found[key] for key in expected} == expected
    assert clone(estimator).get_params() == found


def test_the_configuration_of_a_fit_is_kept(fitted):
    assert fitted.config_.data.source == NO_SOURCE
    assert fitted.figures_["training_accuracy"] > 0.5


def test_a_text_of_validation_is_none_of_training():
    texts = [f"{first} {second}" for first in WORDS for second in WORDS]
    texts += texts[:40]
    labels_N = np.arange(len(texts)) % 2
    train, validation = draw(texts, labels_N, None, classes=np.array([0, 1]), fraction=0.2, seed=0)
    assert 0 < len(validation) < 0.2 * len(texts)
    assert not {texts[i] for i in train} & {texts[i] for i in validation}


@pytest.fixture(scope="module")
def decided(small, reviews):
    """One that is calibrated, says bad from a threshold on, and is as sure as its texts are few."""
    settings = {"epochs": 20, "freeze_depth": 0, "dropout": 0.0, "learning_rate": 3e-3}
    return small(calibration="temperature", threshold="f2", positive="bad", **settings).fit(*noisy(reviews))


def noisy(reviews):
    """Every sixth label is wrong, so that validation is not all right."""
    texts, labels = reviews
    other = {"good": "bad", "bad": "good"}
    return texts, [other[label] if i % 6 == 0 else label for i, label in enumerate(labels)]


def test_probabilities_are_calibrated_on_the_part_that_is_not_trained_on(decided, small, reviews):
    settings = {"epochs": 20, "freeze_depth": 0, "dropout": 0.0, "learning_rate": 3e-3}
    plain = small(**settings).fit(*noisy(reviews))
    found = decided.decisions_.calibration
    assert found.temperature > 1
    assert plain.decisions_ is None
    scaled_NC = np.log(plain.predict_proba(reviews[0])) / found.temperature
    expected_NC = np.exp(scaled_NC) / np.exp(scaled_NC).sum(axis=1, keepdims=True)
    assert decided.predict_proba(reviews[0]) == pytest.approx(expected_NC, abs=1e-5)


def test_predict_says_a_label_from_its_threshold_on(decided, reviews):
    chosen = decided.decisions_.threshold
    assert (chosen.name, chosen.aim) == ("bad", "f2")
    bad_N = decided.predict_proba(reviews[0])[:, 0] >= chosen.probability
    assert (decided.predict(reviews[0]) == np.where(bad_N, "bad", "good")).all()
    assert chosen.validation.aim[1] > chosen.validation.aim[0]


def test_decisions_are_parameters_and_are_saved_with_the_model(decided, reviews, tmp_path):
    assert clone(decided).get_params()["threshold"] == "f2"
    assert clone(decided).set_params(threshold=None, calibration=None).get_params()["calibration"] is None
    save(decided.classifier_, tmp_path / "model")
    found = load(tmp_path / "model")
    assert [p.label for p in found.predict(reviews[0])] == decided.predict(reviews[0]).tolist()
    copy = pickle.loads(pickle.dumps(decided))
    assert (copy.predict(reviews[0]) == decided.predict(reviews[0])).all()


def test_each_of_several_labels_has_its_threshold(small, reviews):
    texts = reviews[0]
    y = np.array([[word in text for word in ("good", "film")] for text in texts], dtype=int)
    y[::7] = 1 - y[::7]
    fitted = small(threshold="f1", validation_fraction=0.5).fit(texts, y)
    chosen = fitted.decisions_.labels
    thresholds_C = [label.probability for label in chosen.labels]
    assert (fitted.predict(texts) == (fitted.predict_proba(texts) >= thresholds_C)).all()
    assert fitted.decisions_.calibration.reason == "nobody asked for one"


@pytest.mark.parametrize(
    ("changes", "labels", "message"),
    [
        (
            {"calibration": "isotonic"},
            [0, 1],
            "calibration must be 'temperature' or None, got 'isotonic'; change it",
        ),
        (
            {"threshold": 0.4},
            [0, 1],
            "threshold must be 'f1', 'f2', 'f0.5', 'balanced_accuracy' or None, got 0.4; change it",
        ),
        (
            {"threshold": "f1"},
            [0, 1, 2],
            "threshold must be of two classes, or of several labels a text, got 3 classes; leave it out: the most probable class is "
            "said",
        ),
    ],
)
def test_decisions_that_cannot_be_are_refused_before_a_fit(small, changes, labels, message):
    texts = [f"{first} {second}" for first in WORDS for second in WORDS]
    assert failure(small(**changes), texts, (labels * 144)[: len(texts)]) == message


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ("good film", ["good"], "X must be a sequence of texts, got one str; put it in a list"),
        (3, [1], "X must be a sequence of texts, got one int; put it in a list"),
        (["good", None], [0, 1], "X must hold texts alone, got NoneType at index 1; make it a str"),
        ([["good"], ["bad"]], [0, 1], "X must hold texts alone, got list at index 0; make it a str"),
        ([], [], "X must hold one text at least, got 0 samples; add some"),
        (["a", "b"], None, "TextClassifier requires y to be passed, but the target y is None"),
        (["a", "b"], [1, 1], "y must hold two classes at least, got 1 class, 1; add texts of others"),
        (
            ["a", "b", "c"],
            [0, 1, 2],
            "some class needs two texts at least, one to train on and one to stop by, got 3 samples of as many classes; "
            "add texts",
        ),
        (
            ["a"] * 8,
            [0, 1] * 4,
            "the 8 samples have too few distinct texts: all that would be stopped by are trained on, too; add others",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_words(small, texts, labels, message):
    assert failure(small(), texts, labels) == message


def test_labels_must_be_as_many_as_texts(small):
    assert failure(small(), ["a", "b", "c"], [0, 1]) == (
        "Found input variables with inconsistent numbers of samples: [3, 2]"
    )


def test_figures_are_no_labels(small):
    assert "Unknown label type: continuous" in failure(small(), ["a", "b", "c", "d"], [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_the_share_to_stop_by_is_between_0_and_1(small, reviews, share):
    assert failure(small(validation_fraction=share), *reviews) == (
        f"validation_fraction must lie between 0 and 1, got {share}; change it"
    )


def test_wrong_settings_are_value_errors_that_say_all(small, reviews):
    message = failure(small(dropout=2.0, epochs=-1), *reviews)
    assert "dropout: Input should be less than 1, got 2.0" in message
    assert "epochs: Input should be greater than or equal to 0, got -1" in message


def test_a_missing_encoder_is_a_value_error(small, reviews):
    assert "encoder.name must be an existing directory" in failure(small(encoder="./none"), *reviews)


def test_tags_say_that_it_reads_texts():
    tags = get_tags(TextClassifier())
    assert (tags.input_tags.string, tags.input_tags.one_d_array, tags.input_tags.two_d_array) == (
        True,
        True,
        False,
    )


class OnNumbers(TextClassifier):
    """Writes each row of numbers as a text of words, for scikit-learn's checks, which know numbers alone."""

    def fit(self, X, y):
        if y is None:
            return super().fit(X, y)
        X, y = validate_data(self, X, y, multi_output=is_multilabel(y))
        return super().fit(self._written(X), y)

    def predict_proba(self, X):
        check_is_fitted(self)
        return super().predict_proba(self._written(validate_data(self, X, reset=False)))

    def _written(self, X):
        """Spell out sign, three digits and exponent of each number, a word for each character."""
        spelt = dict(zip("0123456789+-", WORDS, strict=True))
        rows = [[f"{x:+.2e}" for x in row] for row in np.asarray(X, dtype=float)]
        return [" ".join(spelt[c] for number in row for c in number if c in spelt) for row in rows]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = False, True
        tags.input_tags.string = False
        # A tiny random encoder, trained for an epoch on a dozen words: the checks look at manners, not at skill.
        tags.classifier_tags.poor_score = True
        return tags


EXEMPT: dict[str, str] = {}
"""Checks that are not passed, each with its reason."""


def checks():
    settings = {"encoder": "tiny", "head_width": 4, "epochs": 1, "max_length": 62}
    return estimator_checks_generator(OnNumbers(**settings), legacy=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({c.func.__name__ for _, c in checks() if hasattr(c, "func")}))
def test_it_passes_the_check_of_scikit_learn(name, tiny_encoder_dir):
    if name in EXEMPT:
        pytest.xfail(EXEMPT[name])
    for estimator, check in checks():
        if getattr(check, "func", None) is not None and check.func.__name__ == name:
            check(estimator.set_params(encoder=str(tiny_encoder_dir)))


def test_a_probe_is_a_logistic_regression_without_an_epoch(small, reviews):
    estimator = small(head_start="probe", head_width=0, epochs=0).fit(*reviews)
    assert estimator.figures_["epochs"] == 0
    assert estimator.score(*reviews) > 0.6


def test_groups_are_taken_by_fit(small, reviews):
    texts, labels = reviews
    groups = np.arange(len(texts)) // 3
    first, second = (small(epochs=1).fit(texts, labels, groups=g) for g in (groups, None))
    assert first.figures_["validation_accuracy"] > 0
    assert first.predict(texts[:2]).shape == (2,)
    assert second.figures_ != first.figures_


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["a"] * 8, "groups must hold two at least that have no text in common"),
        (["a"] * 7, "Found input variables with inconsistent numbers of samples"),
        (["a", None, *"bcdefg"], "groups must name one for each text, got None at index 1; fill it in"),
        (
            [*"aabb"] * 2,
            "each class needs a group to train on, got none for '.' beside the groups to stop by",
        ),
    ],
)
def test_groups_that_cannot_be_kept_together_are_refused_in_words(small, groups, message):
    texts = [f"{word} thing {i}" for i, word in enumerate(WORDS[:8])]
    labels = ["x" if group == "a" else "y" for group in groups] + ["y"] * (8 - len(groups))
    if len({*labels}) < 2:
        labels[0] = "y"
    with pytest.raises(ValueError, match=message):
        small().fit(texts, labels, groups=groups)


@pytest.fixture(scope="module")
def several():
    """Texts, and 0 and 1 for each of two labels."""
    texts = [
        f"{'good ' * (i % 3 + 1)}film {i}" if i % 2 else f"{'bad ' * (i % 3 + 1)}plot {i}" for i in range(60)
    ]
    return texts, np.array([[i % 2, i % 3 == 0] for i in range(60)], dtype=int)


def test_a_matrix_of_0_and_1_gives_one_back(several, tiny_encoder_dir):
    texts, y = several
    model = TextClassifier(encoder=str(tiny_encoder_dir), max_length=24, epochs=2).fit(texts, y)
    predicted, probabilities = model.predict(texts), model.predict_proba(texts)
    assert model.classes_.tolist() == [0, 1]
    assert predicted.shape == probabilities.shape == (60, 2)
    np.testing.assert_array_equal(predicted, probabilities >= 0.5)
    assert model.score(texts, y) == (predicted == y).all(axis=1).mean()


def test_sparse_labels_and_the_names_of_columns_are_taken(several, tiny_encoder_dir):
    import pandas as pd
    from scipy.sparse import csr_matrix

    texts, y = several
    model = TextClassifier(encoder=str(tiny_encoder_dir), max_length=24, epochs=1)
    plain = model.fit(texts, y).predict_proba(texts)
    np.testing.assert_array_equal(model.fit(texts, csr_matrix(y)).predict_proba(texts), plain)
    named = model.fit(texts, pd.DataFrame(y, columns=["odd", "third"]))
    assert named.classes_.tolist() == ["odd", "third"]
    assert [*named.classifier_.predict(texts[:1])[0].probabilities] == ["odd", "third"]


def test_a_column_without_both_values_is_refused(several, tiny_encoder_dir):
    texts, y = several
    y = np.hstack([y, np.zeros((60, 1), dtype=int)])
    with pytest.raises(
        ValueError, match="each column of y must hold 0 and 1, got one of them alone in 2; leave these out"
    ):
        TextClassifier(encoder=str(tiny_encoder_dir)).fit(texts, y)


@pytest.fixture(scope="module")
def stars():
    """Texts, and how much their writers liked it."""
    said = {"low": ("awful", "bad"), "medium": ("dull", "weak"), "high": ("good", "superb")}
    rows = [(f"{word} film {i}", name) for name, words in said.items() for word in words for i in range(12)]
    return [text for text, _ in rows], [name for _, name in rows]


def test_labels_in_an_order_keep_their_columns_and_the_median_is_predicted(small, stars):
    fit = {
        "epochs": 15,
        "batch_size": 8,
        "freeze_depth": 0,
        "dropout": 0.0,
        "learning_rate": 3e-3,
        "patience": None,
    }
    model = small(ordered=["low", "medium", "high"], metric="quadratic_kappa", **fit).fit(*stars)
    assert model.classes_.tolist() == ["high", "low", "medium"]
    assert model.config_.data.ordered == ("low", "medium", "high")
    assert set(model.figures_["on_scale"]) == {"accuracy", "quadratic_kappa", "mean_absolute_error"}
    probabilities = model.predict_proba(stars[0])
    below = probabilities[:, 1]  # of low
    middle = below + probabilities[:, 2]
    expected = np.where(below >= 0.5, "low", np.where(middle >= 0.5, "medium", "high"))
    assert model.predict(stars[0]).tolist() == expected.tolist()
    assert (
        cohen_kappa_score(
            stars[1], model.predict(stars[0]), weights="quadratic", labels=["low", "medium", "high"]
        )
        > 0.3
    )
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict_proba(stars[0]) == probabilities).all()
    plain = small(**fit).fit(*stars)
    assert "on_scale" not in plain.figures_
    assert (
        plain.predict(stars[0]).tolist()
        == plain.classes_[plain.predict_proba(stars[0]).argmax(axis=1)].tolist()
    )


def test_average_precision_is_of_the_label_that_is_named(small, reviews):
    texts, labels = reviews
    model = small(metric="average_precision", positive=labels[0]).fit(texts, labels)
    assert 0 < model.figures_["validation_accuracy"] <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"ordered": ["low", "high"]},
            "ordered must name each label once, from the lowest to the highest, got",
        ),
        ({"positive": "low"}, "positive must be one of two labels, got 'low' for"),
        ({"metric": "quadratic_kappa"}, "metric quadratic_kappa needs to know the order of the classes"),
    ],
)
def test_an_order_that_is_none_is_refused(small, stars, settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings).fit(*stars)

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from trainers.fit import probe
from trainers.fit.probe import REGULARISATIONS, UNSEEN, choose_strength, probes


def make_vectors(texts_C, *, seed=0, apart=1.0, size=8):
    """Vectors of as many texts of each class as asked for, around a mean of their own."""
    generator = np.random.default_rng(seed)
    labels_N = np.repeat(np.arange(len(texts_C)), texts_C)
    means_CD = apart * generator.normal(size=(len(texts_C), size))
    return generator.normal(size=(len(labels_N), size)) + means_CD[labels_N], labels_N


def first(vectors_ND, labels_N, *, num_classes=None, weights_C=None):
    weights_C = np.ones(num_classes or labels_N.max() + 1) if weights_C is None else weights_C
    return next(probes(vectors_ND, labels_N, weights_C=weights_C, seed=0, threads=1))


def probabilities(model, vectors_ND):
    logits_NC = vectors_ND @ model.weight_CD.T + model.bias_C
    odds_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    return odds_NC / odds_NC.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("texts_C", [(100, 60), (50, 40, 30), (12,) * 50])
@pytest.mark.parametrize("balanced", [False, True])
def test_a_probe_is_the_logistic_regression_of_scikit_learn(texts_C, balanced):
    vectors_ND, labels_N = make_vectors(texts_C)
    vectors_ND = 5 * vectors_ND + 3
    counts = np.array(texts_C)
    weights_C = counts.sum() / (len(counts) * counts) if balanced else np.ones(len(counts))
    model = first(vectors_ND, labels_N, weights_C=weights_C)
    centred_ND = StandardScaler(with_std=False).fit_transform(vectors_ND)
    scale = np.sqrt((centred_ND**2).mean())
    oracle = LogisticRegression(
        C=model.strength, max_iter=1000, class_weight="balanced" if balanced else None
    ).fit(centred_ND / scale, labels_N)
    assert probabilities(model, vectors_ND) == pytest.approx(
        oracle.predict_proba(centred_ND / scale), abs=1e-9
    )


def test_of_two_classes_the_first_has_no_weights():
    model = first(*make_vectors((30, 30)))
    assert not model.weight_CD[0].any()
    assert model.bias_C[0] == 0


def test_noise_is_regularised_more_than_what_tells_the_classes():
    noise_ND, labels_N = make_vectors((60, 60), apart=0.0, size=40)
    plain_ND, _ = make_vectors((60, 60), apart=3.0, size=40)
    weights_C = np.ones(2)
    chosen = [choose_strength(v, labels_N, weights_C=weights_C, seed=0) for v in (noise_ND, plain_ND)]
    assert chosen[0] < 0.01 < chosen[1]


def test_a_class_of_fewer_texts_than_folds_is_learned():
    vectors_ND, labels_N = make_vectors((40, 40, 2, 1), apart=4.0)
    assert (first(vectors_ND, labels_N).predict(vectors_ND) == labels_N).all()


@pytest.mark.parametrize("texts_C", [(2, 1), (1, 1), (1, 1, 1), (4, 4), (1, 40)])
def test_the_fewest_texts_are_enough(texts_C):
    vectors_ND, labels_N = make_vectors(texts_C, apart=4.0)
    assert np.isfinite(first(vectors_ND, labels_N).weight_CD).all()


@pytest.mark.parametrize("texts_C", [(30, 0, 30), (30, 30, 0), (0, 30, 20, 10)])
def test_a_class_without_a_text_is_never_predicted(texts_C):
    vectors_ND, labels_N = make_vectors(texts_C)
    model = first(vectors_ND, labels_N, num_classes=len(texts_C))
    [absent] = np.flatnonzero(np.array(texts_C) == 0)
    assert absent not in model.predict(vectors_ND)
    assert (probabilities(model, vectors_ND)[:, absent] < 0.01).all()


def test_a_single_class_is_predicted_always():
    vectors_ND, labels_N = make_vectors((0, 9, 0))
    assert (first(vectors_ND, labels_N, num_classes=3).predict(vectors_ND) == 1).all()
    assert UNSEEN < 0


def test_probes_are_regularised_ever_more():
    vectors_ND, labels_N = make_vectors((60, 60), apart=0.7)
    found = list(probes(vectors_ND, labels_N, weights_C=np.ones(2), seed=0, threads=1))
    strengths = [model.strength for model in found]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[-1] == REGULARISATIONS[0]
    sizes = [np.abs(model.weight_CD).sum() for model in found]
    assert sizes == sorted(sizes, reverse=True)


def test_the_same_seed_gives_the_same_probe():
    vectors_ND, labels_N = make_vectors((50, 40, 30))
    models = [first(vectors_ND, labels_N) for _ in range(2)]
    assert np.array_equal(models[0].weight_CD, models[1].weight_CD)


def test_folds_are_made_of_a_bounded_number_of_texts(monkeypatch):
    vectors_ND, labels_N = make_vectors((200, 200))
    monkeypatch.setattr(probe, "MOST_FOLDED", 100)
    folded = []
    fit = LogisticRegression.fit
    monkeypatch.setattr(
        LogisticRegression, "fit", lambda self, X, y, **more: folded.append(len(X)) or fit(self, X, y, **more)
    )
    first(vectors_ND, labels_N)
    assert set(folded[:-1]) == {80}
    assert folded[-1] == 400

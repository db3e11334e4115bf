import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import hypergeom

import trainers.fit.looks
from trainers.config import TrainConfig
from trainers.errors import FitError
from trainers.fit.features import Features
from trainers.fit.looks import CLEAR, FIRST_SAMPLE, PEEK_TEXTS, SURE, Looks
from trainers.fit.loop import _Fit, fit
from trainers.fit.metrics import confusion, cross_entropy, is_clear_of, measure, weighted_mean
from trainers.fit.samples import Sample
from trainers.fit.stopping import EarlyStopping
from trainers.model.classifier import weights_sha256

DATA = {"source": "imdb"}
CONFIG = TrainConfig(data=DATA, freeze_depth=1, dropout=0.1, head_width=8, learning_rate=1e-3, patience=2)


class Ages:
    """A network whose weights are its age."""

    def __init__(self):
        self.age = torch.tensor(-1)

    def eval(self):
        return self

    def state_dict(self):
        return {"age": self.age}

    def load_state_dict(self, weights):
        self.age = weights["age"].clone()


class Written(Sample):
    """A sample whose logits at each age are written down."""

    def __init__(self, logits_ANC, labels_N, *, seed=0):
        self.labels_N = torch.as_tensor(labels_N)
        self.num_runs_N = np.zeros(len(labels_N), dtype=np.int64)
        self.logits_ANC = logits_ANC
        self._order = np.random.default_rng(seed).permutation(len(labels_N))

    def run(self, network, rows):
        self.num_runs_N[rows] += 1
        return torch.as_tensor(self.logits_ANC[network.age][rows], dtype=torch.float32)


def logits_of(margins_AN, labels_N):
    """Logits of two classes that are right by a margin."""
    signs_N = 2 * labels_N - 1
    return np.stack([np.zeros_like(margins_AN), margins_AN * signs_N], axis=2)


def curves(strengths, *, validation=2000, train=3000, seed=0, noise=0.0, training_strengths=None):
    """Samples of weights whose margins have these means at each age; texts are hard or easy at all ages alike."""
    generator = np.random.default_rng(seed)
    found = []
    for count, means in ((train, training_strengths or strengths), (validation, strengths)):
        labels_N = generator.integers(0, 2, count)
        ease_N = generator.normal(size=count)
        own_AN = noise * generator.normal(size=(len(means), count))
        found.append(Written(logits_of(np.array(means)[:, None] + ease_N + own_AN, labels_N), labels_N))
    return found


def run(train, validation, config=CONFIG, *, to_beat=None):
    """Look at each age until there is a reason to stop; returns what was found, the restored age and its figures."""
    network = Ages()
    looks = Looks(network, config, train=train, validation=validation, weights_C=None, num_classes=2)
    found = []
    for age in range(len(validation.logits_ANC)):
        network.age = torch.tensor(age)
        found.append(looks.evaluate())
        assert network.age == age
        if looks.reason_to_stop():
            break
    best, figures = looks.restore(to_beat=to_beat)
    assert network.age == best
    return found, best, figures


def plain(train, validation, config):
    """The oracle: look at everything at each age. Returns the ages until the stop, and the restored one."""
    stopping = EarlyStopping(patience=config.patience, ceiling=config.ceiling)
    losses, accuracies = [], []
    for train_NC, validation_NC in zip(train.logits_ANC, validation.logits_ANC, strict=True):
        logits_NC = torch.as_tensor(validation_NC, dtype=torch.float32)
        losses.append(cross_entropy(logits_NC, validation.labels_N))
        accuracies.append(measure(confusion(torch.as_tensor(train_NC), train.labels_N), metric="accuracy"))
        if stopping.reason_to_stop(losses, accuracies):
            break
    return len(losses), stopping.preference(losses, accuracies)[0]


def exactly(sample, age):
    logits_NC = torch.as_tensor(sample.logits_ANC[age], dtype=torch.float32)
    accuracy = measure(confusion(logits_NC, sample.labels_N), metric="accuracy")
    return accuracy, cross_entropy(logits_NC, sample.labels_N)


histories = st.lists(st.floats(-1, 3), min_size=1, max_size=7)
ceilings = st.sampled_from([None, 0.6, 0.8, 0.95])


@settings(max_examples=40)
@given(histories, ceilings, st.sampled_from([None, 1, 2]), st.integers(0, 100))
def test_where_a_sample_is_the_whole_split_all_is_decided_as_by_looking_at_everything(
    strengths, ceiling, patience, seed
):
    config = CONFIG.model_copy(update={"ceiling": ceiling, "patience": patience})
    train, validation = curves(strengths, validation=40, train=50, seed=seed, noise=0.5)
    found, best, _ = run(train, validation, config)
    assert (len(found), best) == plain(train, validation, config)


@settings(max_examples=40)
@given(histories, ceilings, st.sampled_from([None, 1, 2]), st.integers(0, 100))
def test_restored_figures_are_over_all_texts(strengths, ceiling, patience, seed):
    config = CONFIG.model_copy(update={"ceiling": ceiling, "patience": patience})
    train, validation = curves(strengths, validation=1000, train=900, seed=seed, noise=0.5)
    _, best, figures = run(train, validation, config)
    accuracy, loss = exactly(validation, best)
    assert figures.num_validation_texts is None
    assert (figures.validation_score, figures.validation_loss) == (accuracy, pytest.approx(loss, abs=1e-9))
    assert (figures.training_exact, figures.training_score) == (True, exactly(train, best)[0])


@settings(max_examples=25)
@given(st.permutations([0.2, 0.8, 1.6, 2.4]), ceilings, st.integers(0, 100))
def test_clear_differences_are_decided_as_by_looking_at_everything(strengths, ceiling, seed):
    config = CONFIG.model_copy(update={"ceiling": ceiling})
    train, validation = curves(strengths, seed=seed, noise=0.1)
    found, best, _ = run(train, validation, config)
    assert (len(found), best) == plain(train, validation, config)


def test_a_clear_improvement_needs_the_first_sample_alone():
    train, validation = curves([0.0, 1.0, 2.0])
    found, best, _ = run(train, validation)
    assert best == 2
    assert [f.num_validation_texts for f in found] == [FIRST_SAMPLE] * 3
    assert validation.num_runs_N.sum() == 2 * FIRST_SAMPLE + len(validation)


def test_an_unclear_difference_is_looked_at_with_all_texts_of_both():
    train, validation = curves([1.0, 1.0], noise=0.5)
    found, _, _ = run(train, validation)
    assert [f.num_validation_texts for f in found] == [FIRST_SAMPLE, None]
    assert validation.num_runs_N.tolist() == [2] * len(validation)


def test_no_text_is_looked_at_twice_with_the_same_weights():
    train, validation = curves([0.5, 1.0, 1.0, 1.02, 0.2, 0.2], noise=0.5)
    found, _, _ = run(train, validation)
    assert validation.num_runs_N.max() <= len(found)
    assert train.num_runs_N.max() <= len(found)


def test_all_looks_and_peeks_begin_with_the_same_texts():
    train, validation = curves([0.0, 1.0])
    network = Ages()
    looks = Looks(network, CONFIG, train=train, validation=validation, weights_C=None, num_classes=2)
    seen = []
    for age, look in ((0, looks.peek), (0, looks.evaluate), (1, looks.evaluate), (1, looks.peek)):
        network.age = torch.tensor(age)
        before = validation.num_runs_N.copy()
        look()
        seen.append(np.flatnonzero(validation.num_runs_N > before).tolist())
    assert [len(rows) for rows in seen] == [PEEK_TEXTS, FIRST_SAMPLE, FIRST_SAMPLE, PEEK_TEXTS]
    assert set(seen[0]) <= set(seen[1]) == set(seen[2])
    assert seen[3] == seen[0]


def test_where_the_last_weights_are_kept_nothing_is_compared():
    config = CONFIG.model_copy(update={"patience": None, "ceiling": None})
    train, validation = curves([1.0, 1.0, 1.0], noise=0.5)
    _, best, _ = run(train, validation, config)
    assert best == 2
    assert validation.num_runs_N.sum() == 2 * FIRST_SAMPLE + len(validation)


def test_what_is_above_the_ceiling_is_not_compared_further():
    config = CONFIG.model_copy(update={"ceiling": 0.9})
    train, validation = curves([1.0, 1.0], training_strengths=[0.5, 4.0], noise=0.5)
    found, best, _ = run(train, validation, config)
    assert best == 0
    assert found[1].num_validation_texts == FIRST_SAMPLE


def test_what_the_exact_training_score_rules_out_is_not_restored():
    """The later weights are better; 88 % of the first training texts are right, and 98 % of all others."""
    config = CONFIG.model_copy(update={"ceiling": 0.92})
    train, validation = curves([1.0, 3.0], training_strengths=[0.5, 0.5])
    first = train.rows(0, 300)
    right_N = np.ones(len(train), dtype=bool)
    right_N[first[:36]] = False
    right_N[train.rows(300, len(train))[:54]] = False
    train.logits_ANC[1] = logits_of(np.where(right_N, 1.0, -1.0)[None], train.labels_N.numpy())[0]
    found, best, figures = run(train, validation, config)
    assert found[1].training_score == 0.88
    assert not found[1].training_exact
    assert exactly(train, 1)[0] == 0.97
    assert (best, figures.training_exact) == (0, True)


def test_a_loss_that_is_not_finite_is_named_at_the_first_sample():
    train, validation = curves([1.0])
    validation.logits_ANC[0, :, :] = np.nan
    with pytest.raises(FitError, match=r"^diverged: validation loss nan at learning rate 0\.001$"):
        run(train, validation)
    assert validation.num_runs_N.sum() == FIRST_SAMPLE


@pytest.mark.parametrize("skew", ["normal", "heavy"])
@pytest.mark.parametrize("mean", [0.0, 0.03, 0.1])
def test_a_decision_contradicts_the_full_figures_no_more_often_than_its_error_says(skew, mean):
    """Three samples before all texts, each wrong by chance one time in 44, the 2.3 % beyond two standard errors."""
    generator = np.random.default_rng(7)
    runs, total, wrong = 1500, 1500, 0
    for _ in range(runs):
        noise_N = generator.normal(size=total) if skew == "normal" else generator.standard_t(3, size=total)
        differences_N = mean + noise_N
        for count in (300, 600, 1200):
            found, error = weighted_mean(differences_N[:count], of=total)
            if abs(found) > CLEAR * error:
                wrong += (found > 0) != (differences_N.mean() > 0)
                break
    assert wrong / runs < 3 * 0.023
    if mean == 0.1:
        assert wrong / runs < 0.01


@pytest.mark.parametrize("ceiling", [0.7, 0.85, 0.92, 0.97])
@pytest.mark.parametrize("total", [400, 1000, 3000, 20_000])
def test_surely_below_the_ceiling_is_wrong_less_than_once_in_ten_thousand_fits(ceiling, total):
    """The worst split: its accuracy just above the ceiling."""
    right = int(ceiling * total) + 1
    chance, count = 0.0, FIRST_SAMPLE
    while count < total:
        looks_sure = [
            k
            for k in range(count)
            if k / count < ceiling
            and is_clear_of(
                ceiling, np.array([[k, count - k], [0, 0]]), metric="accuracy", of=total, errors=SURE
            )
        ]
        if looks_sure:
            chance += hypergeom.cdf(max(looks_sure), total, right, count)
        count *= 2
    assert chance < 1e-4


STRENGTHS = [0.3, 0.6, 0.9]


def test_below_what_is_to_beat_a_training_score_far_under_the_ceiling_is_an_estimate():
    config = CONFIG.model_copy(update={"ceiling": 0.99})
    train, validation = curves(STRENGTHS)
    _, best, figures = run(train, validation, config, to_beat=1.0)
    low, high = figures.training_interval
    assert best == 2
    assert not figures.training_exact
    assert low < figures.training_score < high
    assert low < exactly(train, 2)[0] < high
    assert train.num_runs_N.sum() == 3 * FIRST_SAMPLE
    assert figures.num_validation_texts is None


@pytest.mark.parametrize(("to_beat", "exact"), [(0.0, True), (None, True), ("own", True), ("more", False)])
def test_what_reaches_the_best_so_far_is_measured_exactly(to_beat, exact):
    config = CONFIG.model_copy(update={"ceiling": 0.99})
    train, validation = curves(STRENGTHS)
    own = exactly(validation, 2)[0]
    found = run(train, validation, config, to_beat={"own": own, "more": own + 1e-9}.get(to_beat, to_beat))
    assert found[2].training_exact is exact


def test_what_is_restored_above_the_ceiling_is_measured_exactly_whatever_is_to_beat():
    config = CONFIG.model_copy(update={"ceiling": 0.6})
    train, validation = curves([2.0, 2.5])
    _, best, figures = run(train, validation, config, to_beat=1.0)
    assert (best, figures.training_exact, figures.training_score) == (0, True, exactly(train, 0)[0])


@settings(max_examples=40)
@given(histories, ceilings, st.integers(0, 30))
def test_what_is_restored_does_not_depend_on_what_is_to_beat(strengths, ceiling, seed):
    config = CONFIG.model_copy(update={"ceiling": ceiling})
    train, validation = curves(strengths, validation=500, train=700, seed=seed, noise=0.5)
    bests = {run(train, validation, config, to_beat=to_beat)[1] for to_beat in (None, 0.5, 1.0)}
    assert len(bests) == 1


@pytest.fixture
def features(tiny_encoder, tiny_splits):
    return Features(tiny_encoder, tiny_splits)


@pytest.fixture
def small_samples(monkeypatch):
    monkeypatch.setattr(trainers.fit.looks, "FIRST_SAMPLE", 12)


@pytest.mark.usefixtures("small_samples")
@pytest.mark.parametrize("ceiling", [None, 0.7, 0.99])
def test_weights_of_a_fit_do_not_depend_on_what_is_to_beat(make_config, features, ceiling):
    config = make_config(ceiling=ceiling, evaluations_per_epoch=3)
    fits = [fit(config, features, to_beat=to_beat) for to_beat in (None, 0.0, 1.0)]
    assert len({weights_sha256(f.network) for f in fits}) == 1
    assert len({(f.validation_loss, f.best_epoch, f.epochs) for f in fits}) == 1
    assert [f.training_exact for f in fits[:2]] == [True, True]


@pytest.mark.usefixtures("small_samples")
def test_comparing_leaves_the_training_as_it_was(make_config, features, monkeypatch):
    config = make_config(epochs=3, patience=9, evaluations_per_epoch=3, learning_rate=1e-5)
    sampled = fit(config, features)
    monkeypatch.setattr(trainers.fit.looks, "FIRST_SAMPLE", 1000)
    whole = fit(config, features)
    assert any(e.num_validation_texts for e in sampled.evaluations)
    assert len(sampled.evaluations) == len(whole.evaluations)
    for one, other in zip(sampled.evaluations, whole.evaluations, strict=True):
        if one.num_validation_texts is None:
            assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-6)
    assert weights_sha256(sampled.network) == weights_sha256(whole.network)


@pytest.mark.parametrize("depth", [0, 2, 3])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_untouched_encoder_is_looked_at_by_its_vectors_as_by_the_whole_network(
    make_config, features, depth, pooling
):
    config = make_config(
        freeze_depth=depth, head_start="fitted", encoder={"pooling": pooling}, cache="float32"
    )
    state = _Fit(config, features, (), lambda _: None)
    short = state.looks.evaluate(state.pooled)
    assert state.train_sample.num_runs_N.sum() == state.validation_sample.num_runs_N.sum() == 0
    whole = state.looks.evaluate()
    assert short.validation_loss == pytest.approx(whole.validation_loss, abs=1e-5)
    assert short.validation_score == whole.validation_score
    assert short.training_score == whole.training_score
    assert short.training_exact
    assert short.num_validation_texts is None


@pytest.mark.parametrize(
    ("changes", "stopped"),
    [
        ({"epochs": 1, "patience": None}, "epochs"),
        ({"epochs": 5, "ceiling": 0.05}, "ceiling"),
        ({"epochs": 12, "learning_rate": 0.01, "patience": 1}, "patience"),
    ],
)
def test_the_last_evaluation_says_that_it_is_the_last(make_config, features, changes, stopped):
    result = fit(make_config(**changes), features)
    assert result.stopped == stopped
    assert [e.last for e in result.evaluations] == [False] * (len(result.evaluations) - 1) + [True]


def test_the_last_evaluation_of_a_first_stage_is_not_the_last(make_config, features):
    thaw = {"freeze_depth": 1, "learning_rate": 1e-4, "epochs": 1}
    result = fit(make_config(freeze_depth=3, thaw=thaw, epochs=1, patience=None), features)
    assert [e.last for e in result.evaluations] == [False, True]

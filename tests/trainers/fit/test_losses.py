import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from trainers.config import DataConfig, TrainConfig
from trainers.errors import InputError
from trainers.fit.losses import balanced_weights, check_class_weights, class_weights, mean_loss
from trainers.fit.metrics import losses


@st.composite
def cases(draw):
    """Logits, labels and weights of the classes."""
    num_texts, num_classes = draw(st.integers(1, 12)), draw(st.integers(2, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits_NC = 3 * torch.randn(num_texts, num_classes, generator=generator, dtype=torch.float64)
    labels_N = torch.randint(num_classes, (num_texts,), generator=generator)
    weights_C = 0.1 + torch.rand(num_classes, generator=generator, dtype=torch.float64)
    return logits_NC, labels_N, draw(st.sampled_from([None, weights_C]))


@given(cases(), st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]))
def test_the_focal_loss_is_that_of_a_plain_loop(case, gamma):
    logits_NC, labels_N, weights_C = case
    above = below = 0.0
    for logits_C, label in zip(logits_NC, labels_N, strict=True):
        probability = float(logits_C.exp()[label] / logits_C.exp().sum())
        weight = 1.0 if weights_C is None else float(weights_C[label])
        above += weight * (1 - probability) ** gamma * -np.log(probability)
        below += weight
    found = mean_loss(logits_NC, labels_N, weights_C=weights_C, gamma=gamma)
    assert float(found) == pytest.approx(above / below, rel=1e-6, abs=1e-9)


@given(cases(), st.sampled_from([0.0, 0.2]))
def test_a_gamma_of_0_is_cross_entropy_smoothed_and_weighted_alike(case, smoothing):
    logits_NC, labels_N, weights_C = case
    found = mean_loss(logits_NC, labels_N, weights_C=weights_C, label_smoothing=smoothing, gamma=0.0)
    expected = F.cross_entropy(logits_NC, labels_N, weight=weights_C, label_smoothing=smoothing)
    assert float(found) == pytest.approx(float(expected), rel=1e-9)


@given(cases())
def test_without_gamma_it_is_torchs_cross_entropy_to_the_bit(case):
    logits_NC, labels_N, weights_C = case
    found = mean_loss(logits_NC, labels_N, weights_C=weights_C, label_smoothing=0.1)
    assert torch.equal(found, F.cross_entropy(logits_NC, labels_N, weight=weights_C, label_smoothing=0.1))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_text_that_is_quite_sure_has_a_finite_slope(gamma):
    logits_NC = torch.tensor([[60.0, -60.0], [-60.0, 60.0]], requires_grad=True)
    mean_loss(logits_NC, torch.tensor([0, 0]), gamma=gamma).backward()
    assert logits_NC.grad.isfinite().all()


@st.composite
def label_cases(draw):
    """Logits, 0 and 1 for each label, and weights of the labels."""
    num_texts, num_labels = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits_NC = 3 * torch.randn(num_texts, num_labels, generator=generator, dtype=torch.float64)
    labels_NC = torch.randint(2, (num_texts, num_labels), generator=generator)
    weights_C = 0.1 + 5 * torch.rand(num_labels, generator=generator, dtype=torch.float64)
    return logits_NC, labels_NC, draw(st.sampled_from([None, weights_C]))


@given(label_cases(), st.sampled_from([0.0, 0.5, 2.0]))
def test_the_focal_loss_of_labels_is_that_of_torchvisions_formula(case, gamma):
    logits_NC, labels_NC, weights_C = case
    target_NC = labels_NC.double()
    probability_NC = torch.sigmoid(logits_NC)
    plain_NC = F.binary_cross_entropy_with_logits(
        logits_NC, target_NC, pos_weight=weights_C, reduction="none"
    )
    true_NC = probability_NC * target_NC + (1 - probability_NC) * (1 - target_NC)
    expected = (plain_NC * (1 - true_NC) ** gamma).mean()  # torchvision's sigmoid_focal_loss, alpha=-1
    found = mean_loss(logits_NC, labels_NC, weights_C=weights_C, gamma=gamma)
    assert float(found) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@given(label_cases(), st.sampled_from([0.0, 0.2]))
def test_a_gamma_of_0_is_binary_cross_entropy_smoothed_and_weighted_alike(case, smoothing):
    logits_NC, labels_NC, weights_C = case
    with_gamma, without = (
        mean_loss(logits_NC, labels_NC, weights_C=weights_C, label_smoothing=smoothing, gamma=gamma)
        for gamma in (0.0, None)
    )
    assert float(with_gamma) == pytest.approx(float(without), rel=1e-9)


@given(label_cases())
def test_without_gamma_labels_have_torchs_binary_cross_entropy_to_the_bit(case):
    logits_NC, labels_NC, weights_C = case
    found = mean_loss(logits_NC, labels_NC, weights_C=weights_C)
    expected = F.binary_cross_entropy_with_logits(logits_NC, labels_NC.double(), pos_weight=weights_C)
    assert torch.equal(found, expected)


@given(label_cases(), st.sampled_from([None, 0.5, 2.0]))
def test_what_early_stopping_looks_at_is_what_is_minimised(case, gamma):
    logits_NC, labels_NC, weights_C = case
    each_N = losses(logits_NC, labels_NC, weights_C=weights_C, gamma=gamma)
    found = mean_loss(logits_NC, labels_NC, weights_C=weights_C, gamma=gamma)
    assert each_N.mean() == pytest.approx(float(found), rel=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_label_that_is_quite_sure_has_a_finite_slope(gamma):
    logits_NC = torch.tensor([[60.0, -60.0], [-60.0, 60.0]], requires_grad=True)
    mean_loss(logits_NC, torch.tensor([[1, 0], [1, 0]]), gamma=gamma).backward()
    assert logits_NC.grad.isfinite().all()


def config_with(**settings):
    data = DataConfig(source="/texts.csv")
    return TrainConfig(data=data, freeze_depth=1, dropout=0.1, head_width=8, learning_rate=1e-3, **settings)


def test_weights_by_name_keep_their_ratios_and_the_average_text_weighs_1():
    config = config_with(class_weights={"spam": 10.0, "ham": 2.0})
    weights_C = class_weights(config, np.array([0, 0, 0, 1]), names=("ham", "spam"))
    assert weights_C[1] / weights_C[0] == pytest.approx(5.0)
    assert weights_C[[0, 0, 0, 1]].mean() == pytest.approx(1.0)


def test_weights_by_label_are_what_its_texts_weigh_beside_1_for_all_others():
    config = config_with(class_weights={"billing": 4.0, "app": 0.5})
    labels_NC = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    assert class_weights(config, labels_NC, names=("app", "billing")).tolist() == [0.5, 4.0]


def test_balanced_weights_and_none_go_on_as_they_were():
    labels_N = np.array([0, 0, 0, 1])
    assert class_weights(config_with(), labels_N, names=("a", "b")) is None
    found = class_weights(config_with(class_weights="balanced"), labels_N, names=("a", "b"))
    assert found.tolist() == balanced_weights(labels_N, num_classes=2).tolist()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"spam": 5.0}, "missing 'ham'"),
        ({"spam": 5.0, "ham": 1.0, "eggs": 1.0}, "unknown 'eggs'"),
        ({"spam": 5.0, "Ham": 1.0}, "unknown 'Ham' and missing 'ham'; did you mean 'ham'?"),
        (
            dict.fromkeys("123456", 1.0),
            "unknown '1', '2', '3', '4', '5' and 1 more and missing 'ham', 'spam'",
        ),
    ],
)
def test_unknown_and_missing_classes_are_named(weights, said):
    with pytest.raises(InputError) as caught:
        check_class_weights(config_with(class_weights=weights), ("ham", "spam"))
    assert str(caught.value) == (
        f"class_weights must give each of the 2 classes its weight, got {said}; fix the table"
    )


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_balanced_weights_are_scikit_learns(labels):
    labels_N = np.unique(labels, return_inverse=True)[1]  # all classes have a text, as scikit-learn wants it
    classes = np.unique(labels_N)
    expected = compute_class_weight("balanced", classes=classes, y=labels_N)
    assert balanced_weights(labels_N, num_classes=len(classes)) == pytest.approx(expected)


def test_a_class_without_a_text_weighs_nothing():
    assert balanced_weights(np.array([0, 0, 2]), num_classes=3).tolist() == [0.5, 0.0, 1.0]

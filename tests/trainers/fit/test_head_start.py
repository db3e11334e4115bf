import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from trainers.fit.feature_building import build_features
from trainers.fit.features import Features
from trainers.fit.head_start import fit_head, pooled_splits
from trainers.fit.inputs import Batch
from trainers.fit.loop import fit
from trainers.fit.metrics import confusion, measure
from trainers.fit.probe import probes
from trainers.modeling_frostline import Head


def make_batch(count, *, seed, noise=1.0):
    """Vectors of two classes that lie apart in one direction, in one batch."""
    generator = torch.Generator().manual_seed(seed)
    labels_N = torch.arange(count) % 2
    vectors_ND = noise * torch.randn(count, 8, generator=generator)
    vectors_ND[:, 0] += 2 * labels_N - 1
    return Batch(vectors_ND, None, labels_N)


def make_head(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Head(hidden_size=8, width=16, num_classes=2, dropout=0.1)


def fitted(config, *, train, validation, seed=0):
    head = make_head()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        was_fitted = fit_head(head, config, train=train, validation=validation, weights_C=None)
    return head.eval(), was_fitted


def accuracy(head, batch):
    with torch.no_grad():
        return measure(confusion(head(batch.inputs), batch.labels_B), metric="accuracy")


def test_a_fitted_head_reads_what_the_vectors_tell(make_config):
    train, validation = make_batch(400, seed=1), make_batch(400, seed=2)
    head, was_fitted = fitted(make_config(ceiling=None), train=train, validation=validation)
    best_possible = ((validation.inputs[:, 0] > 0).long() == validation.labels_B).float().mean().item()
    assert was_fitted
    assert accuracy(make_head().eval(), validation) < 0.7
    assert accuracy(head, validation) > best_possible - 0.02


def test_a_fitted_head_lies_under_the_ceiling(make_config):
    train, validation = make_batch(400, seed=1), make_batch(400, seed=2)
    free, _ = fitted(make_config(ceiling=None), train=train, validation=validation)
    ceiling = 0.75
    assert accuracy(free, train) > ceiling
    head, was_fitted = fitted(make_config(ceiling=ceiling), train=train, validation=validation)
    assert not was_fitted or accuracy(head, train) <= ceiling


def test_where_no_weights_lie_under_the_ceiling_the_head_stays_as_it_came(make_config):
    train = make_batch(400, seed=1)
    head, was_fitted = fitted(make_config(ceiling=0.01), train=train, validation=train)
    assert not was_fitted
    for name, value in make_head().state_dict().items():
        assert torch.equal(value, head.state_dict()[name])


def test_a_head_stops_before_it_memorises_noise(make_config):
    train, validation = make_batch(60, seed=1, noise=20.0), make_batch(400, seed=2, noise=20.0)
    head, _ = fitted(make_config(ceiling=None), train=train, validation=validation)
    with torch.no_grad():
        loss = F.cross_entropy(head(validation.inputs), validation.labels_B)
        first = F.cross_entropy(make_head().eval()(validation.inputs), validation.labels_B)
    assert loss < first


def test_the_same_seed_gives_the_same_head(make_config):
    train = make_batch(100, seed=1)
    heads = [fitted(make_config(), train=train, validation=train)[0] for _ in range(2)]
    for name, value in heads[0].state_dict().items():
        assert torch.equal(value, heads[1].state_dict()[name])


def make_features(encoder, splits, config, folder, depths):
    return build_features(encoder, splits, config, depths=depths, directory=folder, disk_bytes=2**30)


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_a_fit_from_a_fitted_head_is_the_same_with_and_without_stored_features(
    make_config, tiny_encoder, tiny_splits, tmp_path, depth
):
    config = make_config(freeze_depth=depth, head_start="fitted", cache="float32")
    stored = make_features(tiny_encoder, tiny_splits, config, tmp_path, [depth])
    assert tiny_encoder.num_layers in stored.kept
    cached, live = fit(config, stored), fit(config, Features(tiny_encoder, tiny_splits))
    assert [e.validation_loss for e in cached.evaluations] == pytest.approx(
        [e.validation_loss for e in live.evaluations], abs=1e-5
    )


def test_a_fit_from_a_fitted_head_begins_with_a_look_at_it(make_config, tiny_encoder, tiny_splits):
    features = Features(tiny_encoder, tiny_splits)
    result = fit(make_config(head_start="fitted"), features)
    random = fit(make_config(), features)
    assert [e.epoch for e in result.evaluations] == [0.0, 1.0, 2.0]
    assert result.evaluations[0].validation_loss < random.evaluations[0].validation_loss


def test_a_head_that_training_makes_worse_is_restored(make_config, tiny_encoder, tiny_splits):
    features = Features(tiny_encoder, tiny_splits)
    result = fit(make_config(head_start="fitted", learning_rate=0.9, patience=1, freeze_depth=3), features)
    assert result.best_epoch == 0.0
    assert result.validation_accuracy == result.evaluations[0].validation_accuracy


@pytest.mark.parametrize(("depth", "start"), [(0, "random"), (1, "random"), (2, "fitted"), (3, "fitted")])
def test_auto_has_the_bits_of_what_it_means(make_config, tiny_encoder, tiny_splits, depth, start):
    features = Features(tiny_encoder, tiny_splits)
    chosen = fit(make_config(freeze_depth=depth, head_start="auto", epochs=1), features)
    named = fit(make_config(freeze_depth=depth, head_start=start, epochs=1), features)
    assert [e.validation_loss for e in chosen.evaluations] == [e.validation_loss for e in named.evaluations]


def test_a_random_start_has_the_bits_it_always_had(make_config, tiny_encoder, tiny_splits):
    config = make_config(epochs=1)
    network = copy.deepcopy(fit(config, Features(tiny_encoder, tiny_splits)).network)
    again = fit(config.model_copy(update={"head_start": "random"}), Features(tiny_encoder, tiny_splits))
    rows = np.arange(4)
    batch = Features(tiny_encoder, tiny_splits).inputs("validation", 2).batch(rows)
    with torch.no_grad():
        assert torch.equal(network(batch), again.network(batch))


PROBE = {"head_start": "probe", "head_width": 0, "epochs": 0, "freeze_depth": 3, "ceiling": None}


def test_a_probe_trains_nothing_and_is_the_logistic_regression_on_pooled_vectors(
    make_config, tiny_encoder, tiny_splits
):
    features = Features(tiny_encoder, tiny_splits)
    config = make_config(**PROBE)
    result = fit(config, features)
    train, validation = pooled_splits(features, config)
    labels_N = train.labels_B.numpy()
    model = next(
        probes(train.inputs.double().numpy(), labels_N, weights_C=np.ones(2), seed=config.seed, threads=1)
    )
    right = model.predict(validation.inputs.double().numpy()) == validation.labels_B.numpy()
    assert result.validation_accuracy == pytest.approx(right.mean())
    assert (result.best_epoch, result.epochs, result.stopped, result.tokens) == (0.0, 0.0, "epochs", 0)
    assert [e.epoch for e in result.evaluations] == [0.0]
    assert result.training_seconds > 0


@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize("depth", [0, 2, 3])
def test_a_fit_from_a_probe_is_the_same_with_and_without_stored_features(
    make_config, tiny_encoder, tiny_splits, tmp_path, depth, epochs
):
    config = make_config(**(PROBE | {"freeze_depth": depth, "epochs": epochs}), cache="float32")
    stored = make_features(tiny_encoder, tiny_splits, config, tmp_path, [depth])
    assert tiny_encoder.num_layers in stored.kept
    cached, live = fit(config, stored), fit(config, Features(tiny_encoder, tiny_splits))
    assert len(cached.evaluations) == epochs + 1
    assert [e.validation_loss for e in cached.evaluations] == pytest.approx(
        [e.validation_loss for e in live.evaluations], abs=1e-5
    )


def test_a_probe_that_is_thawed_goes_on_from_its_head(make_config, tiny_encoder, tiny_splits):
    thaw = {"freeze_depth": 2, "learning_rate": 1e-9, "epochs": 1}
    result = fit(make_config(**PROBE, thaw=thaw), Features(tiny_encoder, tiny_splits))
    before, after = result.evaluations
    assert after.validation_loss == pytest.approx(before.validation_loss, abs=1e-3)


def test_a_probe_under_a_ceiling_is_regularised_until_it_lies_there(make_config):
    generator = torch.Generator().manual_seed(0)
    labels_N = torch.arange(120) % 6
    vectors_ND = torch.randn(120, 40, generator=generator)
    vectors_ND[torch.arange(120), labels_N] += 2.5
    train = Batch(vectors_ND, None, labels_N)
    models = probes(vectors_ND.double().numpy(), labels_N.numpy(), weights_C=np.ones(6), seed=1, threads=1)
    reached = [float((m.predict(vectors_ND.numpy()) == labels_N.numpy()).mean()) for m in models]
    assert reached[0] > reached[-1]
    for ceiling, wanted in ((None, reached[0]), (reached[-1], reached[-1]), (0.01, reached[-1])):
        head = Head(hidden_size=40, width=0, num_classes=6, dropout=0.1)
        config = make_config(head_start="probe", head_width=0, ceiling=ceiling)
        assert fit_head(head, config, train=train, validation=train, weights_C=None)
        assert accuracy(head.eval(), train) == pytest.approx(wanted)


def test_a_probe_weighs_classes_as_the_loss_does(make_config):
    train = make_batch(400, seed=1, noise=2.0)
    rare = Batch(train.inputs[:240], None, train.labels_B[:240])
    keep = torch.cat([torch.arange(0, 240, 2), torch.arange(1, 40, 2)])
    rare = Batch(rare.inputs[keep], None, rare.labels_B[keep])
    shares = []
    for weights_C in (None, torch.tensor([140 / 240, 140 / 40])):
        head = Head(hidden_size=8, width=0, num_classes=2, dropout=0.1)
        config = make_config(head_start="probe", head_width=0)
        fit_head(head, config, train=rare, validation=rare, weights_C=weights_C)
        with torch.no_grad():
            shares.append(head.eval()(train.inputs).argmax(dim=1).float().mean().item())
    assert shares[0] < 0.3 < 0.4 < shares[1]

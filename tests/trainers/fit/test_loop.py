import copy
import dataclasses
import math
import random

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import trainers.fit.looks
import trainers.fit.loop
from trainers.data.splits import load_splits
from trainers.encoder.loading import load_encoder
from trainers.errors import FitError, InputError
from trainers.fit.batching import shuffled_batches
from trainers.fit.feature_building import build_features
from trainers.fit.features import Features
from trainers.fit.hits import unpacked
from trainers.fit.loop import Network, fit
from trainers.fit.losses import balanced_weights
from trainers.fit.metrics import confusion, cross_entropy, measure
from trainers.fit.samples import Sample
from trainers.model.classifier import weights_sha256
from trainers.modeling_frostline import Head, pool

DEPTHS = (0, 1, 2, 3)
STEPS_PER_EPOCH = 6

# In nats, over 12 steps of the tiny encoder; a loss near 1 has a spacing of 6e-8 in fp32.
FP32_TOLERANCE = 1e-6
"""Padding re-orders sums; measured: 1.2e-7."""
FP16_TOLERANCE = 5e-5
"""Stored activations lose 13 of 23 bits; measured: 7.6e-6. At three times the rate Adam blows it up to 2e-2."""
CACHED_TOLERANCE = {"float32": 1e-6, "float16": 1e-5}
"""Stored or computed anew, rounded alike; measured: 1.2e-7 and 1.4e-6, where rounding tips over."""


@pytest.fixture(scope="session")
def stored(tiny_encoder, tiny_splits, make_config, tmp_path_factory):
    """A function: the stored features of all depths in a number format."""
    directory = tmp_path_factory.mktemp("features")

    def stored(cache, pooling="mean"):
        return build_features(
            tiny_encoder,
            tiny_splits,
            make_config(cache=cache, encoder={"pooling": pooling}),
            depths=DEPTHS,
            directory=directory,
            disk_bytes=2**30,
        )

    return stored


@pytest.fixture(scope="session")
def features(stored):
    return stored("float16")


@pytest.fixture(scope="session")
def uncached(tiny_encoder, tiny_splits):
    return Features(tiny_encoder, tiny_splits)


def figures(result):
    """All that a fit found but the time it took."""
    return [
        (e.epoch, e.validation_loss, e.validation_accuracy, e.training_accuracy, e.tokens)
        for e in result.evaluations
    ]


def training_losses(config, features, **options):
    """Fit, and return the result with the training loss of every step."""
    losses = []
    real = trainers.fit.loop.mean_loss

    def recorded(*args, **kwargs):
        loss = real(*args, **kwargs)
        losses.append(loss.item())
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers.fit.loop, "mean_loss", recorded)
        result = fit(config, features, **options)
    return result, losses


def padded(split, rows, pad_id):
    texts = [split.ids_S[split.offsets_N1[i] : split.offsets_N1[i + 1]] for i in rows]
    ids_BT = torch.full((len(texts), max(map(len, texts))), pad_id)
    mask_BT = torch.zeros_like(ids_BT)
    for i, ids in enumerate(texts):
        ids_BT[i, : len(ids)] = torch.from_numpy(ids)
        mask_BT[i, : len(ids)] = 1
    return ids_BT, mask_BT


def live_losses(config, encoder, splits):
    """Train the whole model through transformers' own forward; the oracle of every cached fit.

    Returns training losses and validation losses after each step. Knows no dropout.
    """
    model = copy.deepcopy(encoder.model).eval()
    for i, layer in enumerate(model.encoder.layer):
        layer.requires_grad_(i >= config.freeze_depth)
    model.embeddings.requires_grad_(config.freeze_depth == 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = Head(
            hidden_size=encoder.hidden_size, width=config.head_width, num_classes=2, dropout=config.dropout
        )
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": trainable, "lr": config.learning_rate},
            {"params": head.parameters(), "lr": config.learning_rate * config.head_learning_rate_ratio},
        ],
        weight_decay=0.0,
    )

    def logits(split, rows):
        ids_BT, mask_BT = padded(split, rows, encoder.tokenizer.pad_token_id)
        hidden_BTD = model(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
        return head(pool(hidden_BTD, mask_BT.bool(), pooling=config.encoder.pooling))

    generator = np.random.default_rng(config.seed)
    training, validation = [], []
    for _ in range(config.epochs):
        for rows in shuffled_batches(
            splits.train.lengths_N, batch_size=config.batch_size, generator=generator
        ):
            loss = F.cross_entropy(logits(splits.train, rows), torch.from_numpy(splits.train.labels_N[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            training.append(loss.item())
            with torch.no_grad():
                everything = np.arange(len(splits.validation))
                logits_NC = logits(splits.validation, everything)
            validation.append(cross_entropy(logits_NC, torch.from_numpy(splits.validation.labels_N)))
    return training, validation


def without_dropout(make_config, depth, **changes):
    return make_config(
        freeze_depth=depth,
        learning_rate=1e-3,
        dropout=0.0,
        encoder_dropout=0.0,
        patience=None,
        evaluations_per_epoch=STEPS_PER_EPOCH,
        head_learning_rate_ratio=2.0,
        **changes,
    )


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_losses_from_fp32_features_are_those_of_the_whole_model_run_live(
    make_config, stored, tiny_encoder, tiny_splits, depth, pooling
):
    config = without_dropout(make_config, depth, cache="float32", encoder={"pooling": pooling})
    features = stored(config.cache, pooling)
    result, training = training_losses(config, features)
    expected_training, expected_validation = live_losses(config, tiny_encoder, tiny_splits)
    assert training == pytest.approx(expected_training, abs=FP32_TOLERANCE)
    assert [e.validation_loss for e in result.evaluations] == pytest.approx(
        expected_validation, abs=FP32_TOLERANCE
    )


@pytest.mark.parametrize("depth", DEPTHS)
def test_losses_from_fp16_features_are_near_those_of_the_whole_model(
    make_config, features, tiny_encoder, tiny_splits, depth
):
    config = without_dropout(make_config, depth)
    result, training = training_losses(config, features)
    expected_training, expected_validation = live_losses(config, tiny_encoder, tiny_splits)
    assert training == pytest.approx(expected_training, abs=FP16_TOLERANCE)
    assert [e.validation_loss for e in result.evaluations] == pytest.approx(
        expected_validation, abs=FP16_TOLERANCE
    )


@pytest.mark.parametrize("cache", ["float32", "float16"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_what_is_stored_changes_the_last_bits_of_a_fit_at_most(make_config, stored, uncached, cache, depth):
    config = make_config(
        freeze_depth=depth, cache=cache, evaluations_per_epoch=STEPS_PER_EPOCH, patience=None
    )
    cached, cached_losses = training_losses(config, stored(cache))
    live, live_losses = training_losses(config, uncached)
    assert cached_losses == pytest.approx(live_losses, abs=CACHED_TOLERANCE[cache])
    assert [e.validation_loss for e in cached.evaluations] == pytest.approx(
        [e.validation_loss for e in live.evaluations], abs=CACHED_TOLERANCE[cache]
    )


@pytest.mark.full  # test_features.py holds the tiny encoder's against the whole model
@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews")
@pytest.mark.parametrize("cache", ["float32", "float16"])
def test_what_is_stored_changes_the_last_bits_of_the_packaged_encoder_at_most(make_config, tmp_path, cache):
    """At every depth, with batches of other texts than those that were stored together; to the bit at the last."""
    table = {"train": 96, "validation": 48, "max_length": 32}
    changes = {"cache": cache, "encoder": {"name": "minilm"}, "data": table, "learning_rate": 2e-4}
    config = make_config(**changes)
    encoder = load_encoder(config.encoder)
    splits = load_splits(config.data, encoder.tokenizer)
    depths = range(1, encoder.num_layers + 1)
    stored, bare = (
        build_features(
            encoder, splits, config, depths=depths, directory=tmp_path / str(room), disk_bytes=room
        )
        for room in (2**30, 0)
    )
    assert (stored.kept, bare.kept) == (tuple(depths), ())
    for depth in depths:
        fits = [training_losses(make_config(**changes, freeze_depth=depth), f) for f in (stored, bare)]
        (one, one_losses), (other, other_losses) = fits
        tolerance = CACHED_TOLERANCE[cache] if depth < encoder.num_layers else 0.0
        assert one_losses == pytest.approx(other_losses, abs=tolerance, rel=0.0)
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=tolerance, rel=0.0)
        if tolerance == 0.0:
            assert weights_sha256(one.network) == weights_sha256(other.network)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews")
def test_losses_of_the_packaged_encoder_are_those_of_the_whole_model_run_live(make_config, tmp_path):
    table = {"train": 64, "validation": 32, "max_length": 32}
    config = without_dropout(
        make_config, 4, cache="float32", encoder={"name": "minilm"}, data=table, epochs=1, seed=3
    )
    encoder = load_encoder(config.encoder)
    splits = load_splits(config.data, encoder.tokenizer)
    features = build_features(encoder, splits, config, depths=(4,), directory=tmp_path, disk_bytes=2**30)
    result, training = training_losses(config, features)
    expected_training, expected_validation = live_losses(config, encoder, splits)
    assert training == pytest.approx(expected_training, abs=FP32_TOLERANCE)
    assert [e.validation_loss for e in result.evaluations] == pytest.approx(
        expected_validation[: len(result.evaluations)], abs=FP32_TOLERANCE
    )


def test_a_network_holds_nothing_frozen(make_config, features, uncached):
    config = make_config(freeze_depth=2)
    names = {frozenset(fit(config, f).network.state_dict()) for f in (features, uncached)}
    assert len(names) == 1
    assert {name.split(".")[0] for name in names.pop()} == {"layers", "head"}


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_frozen_part_stays_in_eval_mode(make_config, uncached, tiny_encoder, depth):
    model = tiny_encoder.model
    frozen = [model.embeddings, *model.encoder.layer[:depth]] if depth else []
    modes = []
    hooks = [
        module.register_forward_hook(lambda module, *_: modes.append(module.training))
        for part in frozen
        for module in part.modules()
    ]
    fit(make_config(freeze_depth=depth, epochs=1), uncached)
    for hook in hooks:
        hook.remove()
    assert bool(modes) == bool(depth)
    assert not any(modes)


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_fit_leaves_the_encoder_as_it_was(make_config, uncached, tiny_encoder, depth):
    before = {key: value.clone() for key, value in tiny_encoder.model.state_dict().items()}
    fit(make_config(freeze_depth=depth, epochs=1, learning_rate=0.1), uncached)
    assert all(torch.equal(value, before[key]) for key, value in tiny_encoder.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in tiny_encoder.model.parameters())


@pytest.mark.parametrize("depth", DEPTHS)
def test_everything_above_the_freeze_depth_is_trained(make_config, features, tiny_encoder, depth):
    network = fit(make_config(freeze_depth=depth, epochs=1), features).network
    assert len(network.layers) == tiny_encoder.num_layers - depth
    assert (network.embeddings is not None) == (depth == 0)
    for trained, old in zip(network.layers, tiny_encoder.layers[depth:], strict=True):
        assert not torch.equal(trained.output.dense.weight, old.output.dense.weight)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_same_seed_gives_the_same_bits(make_config, features, depth):
    config = make_config(freeze_depth=depth)
    first, second = (fit(config, features) for _ in range(2))
    assert weights_sha256(first.network) == weights_sha256(second.network)
    assert figures(first) == figures(second)


def test_another_seed_gives_other_weights(make_config, features):
    first, second = (fit(make_config(seed=seed), features) for seed in (1, 2))
    assert weights_sha256(first.network) != weights_sha256(second.network)


def test_bits_do_not_depend_on_the_callers_random_state(make_config, features):
    fingerprints = set()
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fingerprints.add(weights_sha256(fit(make_config(), features).network))
    assert len(fingerprints) == 1


def test_a_fit_leaves_the_callers_random_state_as_it_was(make_config, features):
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    fit(make_config(), features)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_peeks_change_nothing(make_config, features):
    config = make_config(ceiling=0.99)
    seen = []
    peeked = fit(config, features, peeks=(0.2, 0.5, 1.5), on_evaluation=seen.append)
    plain = fit(config, features)
    assert sum(e.peek for e in seen) == 3
    assert weights_sha256(peeked.network) == weights_sha256(plain.network)
    assert figures(peeked) == figures(plain)


def test_peeks_stand_between_the_evaluations_in_order_of_age(make_config, features):
    seen = []
    fit(make_config(), features, peeks=(0.5, 1.5), on_evaluation=seen.append)
    assert [(e.epoch, e.peek) for e in seen] == [(0.5, True), (1.0, False), (1.5, True), (2.0, False)]


def test_no_peek_is_taken_where_an_evaluation_is_due(make_config, features):
    seen = []
    fit(make_config(), features, peeks=(1.0,), on_evaluation=seen.append)
    assert [e.peek for e in seen] == [False, False]


def test_a_peek_looks_at_a_sample_of_the_validation_split(make_config, features, monkeypatch):
    monkeypatch.setattr(trainers.fit.looks, "PEEK_TEXTS", 8)
    seen = []
    fit(make_config(epochs=1), features, peeks=(0.5,), on_evaluation=seen.append)
    assert [(e.peek, e.num_validation_texts) for e in seen] == [(True, 8), (False, None)]


def test_evaluations_are_spread_evenly_over_an_epoch(make_config, features):
    result = fit(make_config(evaluations_per_epoch=3, epochs=1, patience=None), features)
    assert [e.epoch for e in result.evaluations] == [1 / 3, 2 / 3, 1.0]


def test_there_are_no_more_evaluations_than_steps(make_config, features):
    result = fit(make_config(evaluations_per_epoch=100, epochs=1, patience=None), features)
    assert len(result.evaluations) == STEPS_PER_EPOCH


def test_tokens_are_those_trained_on(make_config, features):
    result = fit(make_config(patience=None), features)
    assert result.tokens == 2 * len(features.splits.train.ids_S)


def exact_figures(result, features, depth, *, metric="accuracy"):
    figures = []
    for name in ("train", "validation"):
        source = features.inputs(name, depth)
        with torch.no_grad():
            batches = [source.batch(np.array([i])) for i in range(len(source))]
            logits_NC = torch.cat([result.network(batch) for batch in batches])
        labels_N = torch.cat([batch.labels_B for batch in batches])
        figures += [
            measure(confusion(logits_NC, labels_N), metric=metric),
            cross_entropy(logits_NC, labels_N),
        ]
    return figures


def test_a_result_describes_the_restored_weights(make_config, features):
    result = fit(make_config(epochs=8, learning_rate=0.01), features)
    training, _, validation, loss = exact_figures(result, features, 2)
    assert result.training_accuracy == training
    assert result.validation_accuracy == validation
    assert result.validation_loss == pytest.approx(loss, abs=1e-5)
    assert not result.network.training


def test_the_lowest_validation_loss_is_restored(make_config, features):
    result = fit(make_config(epochs=12, learning_rate=0.01, patience=3), features)
    losses = [e.validation_loss for e in result.evaluations]
    assert result.stopped == "patience"
    assert result.epochs == len(losses) == losses.index(min(losses)) + 1 + 3
    assert result.validation_loss == min(losses)
    assert result.best_epoch == losses.index(min(losses)) + 1


def test_without_early_stopping_the_last_weights_are_kept(make_config, features):
    result = fit(make_config(epochs=6, learning_rate=0.01, patience=None), features)
    assert (result.stopped, result.best_epoch, result.epochs) == ("epochs", 6.0, 6.0)
    assert result.validation_loss == result.evaluations[-1].validation_loss


def test_a_fit_stops_above_the_ceiling_and_restores_weights_below_it(make_config, features):
    result = fit(make_config(epochs=30, learning_rate=0.01, patience=30, ceiling=0.8), features)
    assert result.stopped == "ceiling"
    assert result.evaluations[-1].training_accuracy > 0.8
    assert result.training_accuracy <= 0.8
    feasible = [e.validation_loss for e in result.evaluations if e.training_accuracy <= 0.8]
    assert result.validation_loss == min(feasible)


def test_where_all_weights_lie_above_the_ceiling_the_first_is_restored(make_config, features):
    result = fit(make_config(epochs=5, ceiling=0.05), features)
    assert (result.stopped, result.best_epoch, result.epochs) == ("ceiling", 1.0, 1.0)
    assert result.training_accuracy > 0.05


def scripted_accuracies(monkeypatch, *, estimates, exact):
    """Let the training accuracy be estimated and measured as written down, in order."""
    estimated, measured = iter(estimates), iter(exact)
    scripted = {}

    def look_at_training(_, look, *, errors, **__):
        scripted[id(look)] = next(measured if errors == math.inf else estimated)

    monkeypatch.setattr(trainers.fit.looks.Looks, "_look_at_training", look_at_training)
    monkeypatch.setattr(
        trainers.fit.looks.Looks, "_training_score", lambda _, look: scripted.get(id(look), 0.0)
    )
    monkeypatch.setattr(trainers.fit.looks._Look, "num_training", 1)


def test_weights_that_the_exact_accuracy_rules_out_are_not_restored(make_config, features, monkeypatch):
    scripted_accuracies(monkeypatch, estimates=[0.9, 0.9, 0.9], exact=[0.95, 0.91])
    result = fit(make_config(epochs=3, patience=9, ceiling=0.92), features)
    losses = [e.validation_loss for e in result.evaluations]
    assert result.training_accuracy == 0.91
    assert result.validation_loss == sorted(losses)[1]


def test_where_the_exact_accuracy_rules_all_out_the_most_wanted_is_restored(
    make_config, features, monkeypatch
):
    scripted_accuracies(monkeypatch, estimates=[0.9, 0.9, 0.9], exact=[0.95, 0.93, 0.94])
    result = fit(make_config(epochs=3, patience=9, ceiling=0.92), features)
    assert result.training_accuracy == 0.95
    assert result.validation_loss == min(e.validation_loss for e in result.evaluations)


def test_far_from_the_ceiling_a_sample_tells_the_training_accuracy(make_config, features, monkeypatch):
    monkeypatch.setattr(trainers.fit.looks, "FIRST_SAMPLE", 24)
    result = fit(make_config(epochs=1, ceiling=1.0), features)
    evaluation = result.evaluations[0]
    assert not evaluation.exact
    assert evaluation.training_accuracy * 24 == int(evaluation.training_accuracy * 24)


def test_near_the_ceiling_the_sample_grows_to_the_whole_split(make_config, features, monkeypatch):
    monkeypatch.setattr(trainers.fit.looks, "FIRST_SAMPLE", 24)
    monkeypatch.setattr(trainers.fit.looks, "is_clear_of", lambda *_, **__: False)
    result = fit(make_config(epochs=1, ceiling=0.9), features)
    assert result.evaluations[0].exact
    assert result.evaluations[0].training_accuracy == exact_figures(result, features, 2)[0]


def test_exact_training_accuracy_looks_only_at_texts_not_yet_seen_with_the_same_weights(
    make_config, features, monkeypatch
):
    monkeypatch.setattr(trainers.fit.looks, "FIRST_SAMPLE", 24)
    asked, rows = [], Sample.rows

    def recorded(self, start, end):
        if len(self) == len(features.splits.train):
            asked.append((start, end))
        return rows(self, start, end)

    monkeypatch.setattr(Sample, "rows", recorded)
    result = fit(make_config(epochs=1, ceiling=1.0), features)
    assert asked == [(0, 24), (24, len(features.splits.train))]
    assert result.training_accuracy == exact_figures(result, features, 2)[0]


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_sample_and_rest_give_the_metric_of_the_whole_split(make_config, features, monkeypatch, metric):
    monkeypatch.setattr(trainers.fit.looks, "FIRST_SAMPLE", 24)
    result = fit(make_config(epochs=1, metric=metric), features)
    assert not result.evaluations[0].exact
    training, _, validation, _ = exact_figures(result, features, 2, metric=metric)
    assert (result.training_accuracy, result.validation_accuracy) == (training, validation)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_the_metric_changes_no_weights_of_a_fit_without_a_ceiling(make_config, features, metric):
    by_accuracy, by_other = (fit(make_config(metric=m), features) for m in ("accuracy", metric))
    assert weights_sha256(by_accuracy.network) == weights_sha256(by_other.network)
    assert by_accuracy.validation_loss == by_other.validation_loss


def test_the_ceiling_holds_for_the_metric(make_config, features, monkeypatch):
    monkeypatch.setattr(
        trainers.fit.looks, "measure", lambda *_, metric: {"accuracy": 0.7, "macro_f1": 0.9}[metric]
    )
    stopped = {m: fit(make_config(metric=m, ceiling=0.8), features).stopped for m in ("accuracy", "macro_f1")}
    assert stopped == {"accuracy": "epochs", "macro_f1": "ceiling"}


def test_a_peek_and_an_evaluation_of_the_same_weights_hit_the_same_texts(make_config, features, monkeypatch):
    monkeypatch.setattr(trainers.fit.looks, "PEEK_TEXTS", 7)
    peeked, evaluated = [], []
    fit(make_config(epochs=1), features, peeks=(0.5,), on_evaluation=peeked.append)
    fit(make_config(epochs=1, evaluations_per_epoch=2), features, on_evaluation=evaluated.append)
    assert (peeked[0].peek, evaluated[0].peek) == (True, False)
    assert peeked[0].hits == evaluated[0].hits


def test_the_hits_of_a_peek_are_its_accuracy(make_config, features, monkeypatch):
    monkeypatch.setattr(trainers.fit.looks, "PEEK_TEXTS", 7)
    seen = []
    fit(make_config(epochs=1), features, peeks=(0.5,), on_evaluation=seen.append)
    assert unpacked(seen[0].hits).mean() == pytest.approx(seen[0].validation_accuracy)


def test_a_peek_measures_no_training_accuracy(make_config, features):
    seen = []
    fit(make_config(epochs=1), features, peeks=(1 / 3, 2 / 3), on_evaluation=seen.append)
    assert [(e.peek, e.training_accuracy is None) for e in seen] == [
        (True, True),
        (True, True),
        (False, False),
    ]


def lopsided(features):
    """Return features in whose training split every other text of class 1 is called class 0, and the labels."""
    labels_N = features.splits.train.labels_N.copy()
    labels_N[np.flatnonzero(labels_N == 1)[::2]] = 0
    train = dataclasses.replace(features.splits.train, labels_N=labels_N)
    return Features(features.encoder, dataclasses.replace(features.splits, train=train)), labels_N


def test_balanced_weights_weigh_training_and_validation_loss(make_config, features):
    skewed, labels_N = lopsided(features)
    config = make_config(
        epochs=1, learning_rate=1e-12, dropout=0.0, encoder_dropout=0.0, class_weights="balanced"
    )
    result, losses = training_losses(config, skewed)
    weights_C = torch.from_numpy(balanced_weights(labels_N, num_classes=2)).float()
    assert len(set(weights_C.tolist())) == 2
    rows = shuffled_batches(
        skewed.splits.train.lengths_N, batch_size=16, generator=np.random.default_rng(config.seed)
    )[0]
    with torch.no_grad():
        batch = skewed.inputs("train", 2).batch(rows)
        first = F.cross_entropy(result.network(batch), batch.labels_B, weight=weights_C)
        everything = skewed.inputs("validation", 2).batch(np.arange(len(skewed.splits.validation)))
        validation = cross_entropy(result.network(everything), everything.labels_B, weights_C=weights_C)
    assert losses[0] == pytest.approx(first.item(), abs=1e-6)
    assert result.validation_loss == pytest.approx(validation, abs=1e-6)


def test_the_focal_loss_with_weights_is_what_is_trained_on_and_stopped_by(make_config, features):
    skewed, _ = lopsided(features)
    weights = dict(zip(skewed.splits.class_names, (1.0, 3.0), strict=True))
    settings = {"class_weights": weights, "focal_gamma": 1.5}
    config = make_config(
        epochs=1, learning_rate=1e-12, dropout=0.0, encoder_dropout=0.0, loss="focal", **settings
    )
    result, losses = training_losses(config, skewed)
    weights_C = torch.tensor([1.0, 3.0])

    def plain(logits_NC, labels_N):
        own_N = logits_NC.softmax(dim=1)[range(len(labels_N)), labels_N]
        return ((1 - own_N) ** 1.5 * -own_N.log() * weights_C[labels_N]).sum() / weights_C[labels_N].sum()

    rows = shuffled_batches(
        skewed.splits.train.lengths_N, batch_size=16, generator=np.random.default_rng(config.seed)
    )[0]
    with torch.no_grad():
        batch = skewed.inputs("train", 2).batch(rows)
        first = plain(result.network(batch), batch.labels_B)
        everything = skewed.inputs("validation", 2).batch(np.arange(len(skewed.splits.validation)))
        validation = plain(result.network(everything), everything.labels_B)
    assert losses[0] == pytest.approx(first.item(), abs=1e-6)
    assert result.validation_loss == pytest.approx(validation.item(), abs=1e-6)


def test_a_focal_loss_of_gamma_0_is_cross_entropy_but_for_rounding(make_config, features):
    settings = {"class_weights": dict.fromkeys(features.splits.class_names, 2.0), "label_smoothing": 0.1}
    plain = fit(make_config(**settings), features)
    focal = fit(make_config(**settings, loss="focal", focal_gamma=0.0), features)
    assert focal.validation_loss == pytest.approx(plain.validation_loss, abs=1e-5)


def test_weights_without_a_class_are_refused(make_config, features):
    with pytest.raises(
        InputError,
        match="class_weights must give each of the 2 classes its weight, got unknown 'ham', 'spam' and missing",
    ):
        fit(make_config(class_weights={"spam": 5.0, "ham": 1.0}), features)


def test_where_classes_are_even_balanced_weights_change_nothing_but_rounding(make_config, features):
    plain, weighted = (fit(make_config(class_weights=w), features) for w in (None, "balanced"))
    assert features.splits.train.labels_N.mean() == 0.5
    assert weighted.validation_loss == pytest.approx(plain.validation_loss, abs=1e-5)


def rates(config, features, *, steps):
    """Return the learning rates of encoder and head at each step."""
    state = trainers.fit.loop._Fit(config, features, (), lambda _: None)
    optimizer, scheduler = state._optimizer(steps)
    found = []
    for _ in range(steps):
        found.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[-1]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


def test_the_rate_rises_from_zero_and_falls_to_zero(make_config, features):
    config = make_config(learning_rate=0.1, warmup=0.3, schedule="linear")
    expected = [0.025, 0.05, 0.075, 0.1, *(0.1 * k / 7 for k in (6, 5, 4, 3, 2, 1))]
    assert [rate for rate, _ in rates(config, features, steps=10)] == pytest.approx(expected)


def test_a_constant_rate_stays(make_config, features):
    assert [rate for rate, _ in rates(make_config(learning_rate=0.1), features, steps=4)] == [0.1] * 4


def test_the_head_has_its_own_rate(make_config, features):
    config = make_config(learning_rate=0.01, head_learning_rate_ratio=10)
    assert rates(config, features, steps=1) == [(pytest.approx(0.01), pytest.approx(0.1))]


def test_only_matrices_decay(make_config, features):
    state = trainers.fit.loop._Fit(make_config(weight_decay=0.1), features, (), lambda _: None)
    groups = state._optimizer(1)[0].param_groups
    assert {(group["params"][0].ndim > 1, group["weight_decay"]) for group in groups} == {
        (True, 0.1),
        (False, 0.0),
    }


def test_labels_are_smoothed_in_training_only(make_config, features):
    plain, plain_losses = training_losses(make_config(epochs=1, learning_rate=1e-12), features)
    smooth, smooth_losses = training_losses(
        make_config(epochs=1, learning_rate=1e-12, label_smoothing=0.9), features
    )
    assert plain.validation_loss == pytest.approx(smooth.validation_loss, abs=1e-6)
    assert plain_losses != pytest.approx(smooth_losses, abs=1e-4)


def test_a_fit_that_diverges_is_named(make_config, features):
    config = make_config(learning_rate=1.0, head_learning_rate_ratio=1e38)
    with pytest.raises(
        FitError, match=r"^diverged: (training|validation) loss (nan|inf) at learning rate 1$"
    ):
        fit(config, features)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.07 GB)"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"
        ),
    ],
)
def test_memory_that_runs_out_is_named(make_config, features, monkeypatch, error):
    def forward(*_):
        raise error

    monkeypatch.setattr(Network, "forward", forward)
    with pytest.raises(FitError, match=r"^out of memory$"):
        fit(make_config(), features)


def test_a_bug_stays_a_bug(make_config, features, monkeypatch):
    def forward(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(Network, "forward", forward)
    with pytest.raises(RuntimeError, match="shapes differ"):
        fit(make_config(), features)


def test_what_an_observer_raises_ends_the_fit(make_config, features):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(make_config(), features, on_evaluation=stop)


def test_a_freeze_depth_beyond_the_layers_is_an_error(make_config, features, tiny_encoder_dir):
    with pytest.raises(InputError) as caught:
        fit(make_config(freeze_depth=4), features)
    assert str(caught.value) == (
        f"freeze_depth must be at most 3, the layers of '{tiny_encoder_dir}', got 4; lower it"
    )


def test_seconds_grow(make_config, features):
    result = fit(make_config(), features)
    seconds = [e.seconds for e in result.evaluations]
    assert seconds == sorted(seconds)
    assert math.isfinite(result.seconds)
    assert seconds[-1] <= result.seconds


THAW = {"freeze_depth": 1, "learning_rate": 1e-3, "epochs": 2}


def test_a_second_stage_goes_on_from_what_the_first_one_restored(make_config, uncached):
    config = make_config(freeze_depth=3, thaw=THAW, dropout=0.0)
    first = fit(config.model_copy(update={"thaw": None}), uncached)
    second = fit(
        config.model_copy(update={"thaw": config.thaw.model_copy(update={"learning_rate": 1e-12})}), uncached
    )
    assert second.validation_loss == pytest.approx(first.validation_loss, abs=1e-5)
    assert second.validation_accuracy == first.validation_accuracy


def test_a_fit_in_two_stages_says_what_each_restored(make_config, features):
    config = make_config(freeze_depth=3, thaw=THAW)
    first = fit(config.model_copy(update={"thaw": None}), features)
    result = fit(config, features)
    assert [(s.freeze_depth, s.epochs) for s in result.stages] == [(3, 2.0), (1, 2.0)]
    assert result.stages[0].validation_accuracy == first.validation_accuracy
    assert result.stages[1].validation_accuracy == result.validation_accuracy
    assert [e.epoch for e in result.evaluations] == [1.0, 2.0, 3.0, 4.0]
    assert (result.epochs, result.best_epoch in (3.0, 4.0)) == (4.0, True)
    assert result.tokens > first.tokens
    assert result.figures()["stages"][0]["freeze_depth"] == 3


def test_a_second_stage_trains_the_layers_that_it_thaws(make_config, features):
    config = make_config(freeze_depth=3, thaw=THAW)
    assert len(fit(config, features).network.layers) == 2


def test_a_single_stage_has_no_stages_to_tell_of(make_config, features):
    assert fit(make_config(), features).figures()["stages"] == []


def test_a_thawed_depth_beyond_the_layers_is_an_error(make_config, features):
    with pytest.raises(InputError, match="freeze_depth must be at most 3"):
        fit(make_config(thaw={**THAW, "freeze_depth": 4}), features)


def test_one_logit_is_trained_by_binary_cross_entropy(make_config, features):
    config = make_config(freeze_depth=3, dropout=0.0, epochs=1, head_logits="one", weight_decay=0.1)
    source = features.inputs("train", 3)
    head = Head(hidden_size=16, width=8, num_classes=2, dropout=0.0)
    start = Network(features.encoder, config, start=3, num_classes=2)
    head.load_state_dict(start.head.state_dict())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "__init__", _with_head(head))
        result = fit(config, features)
    single = copy.deepcopy(head)
    decayed = [p for p in single.parameters() if p.ndim > 1]
    plain = [p for p in single.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], lr=3e-3
    )
    generator = np.random.default_rng(config.seed)
    for rows in shuffled_batches(source.lengths_N, batch_size=16, generator=generator):
        batch = source.batch(rows)
        logit_B = single(batch.inputs)[:, 1]
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(logit_B, batch.labels_B.float()).backward()
        optimizer.step()
    trained = result.network.head
    assert torch.equal(trained.output.weight[0], torch.zeros(8))
    assert trained.output.bias[0] == 0
    torch.testing.assert_close(trained.output.weight[1], single.output.weight[1], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(trained.hidden.weight, single.hidden.weight, atol=1e-6, rtol=1e-4)


def _with_head(head):
    """Return an ``__init__`` whose network begins with a given head."""
    real = Network.__init__

    def init(self, *args, **kwargs):
        real(self, *args, **kwargs)
        self.head.load_state_dict(head.state_dict())

    return init


def test_glorot_weights_have_glorots_bounds_and_no_bias(make_config, uncached):
    config = make_config(head_weights="glorot", head_logits="one", head_width=64)
    head = Network(uncached.encoder, config, start=None, num_classes=2).head
    for weight, fans in ((head.hidden.weight, 16 + 64), (head.output.weight[1:], 64 + 1)):
        bound = math.sqrt(6 / fans)
        assert 0.8 * bound < weight.abs().max() <= bound
    assert not head.hidden.bias.any()
    assert not head.output.bias.any()


def test_of_three_classes_there_is_no_single_logit(make_config, uncached):
    head = Network(uncached.encoder, make_config(head_logits="one"), start=None, num_classes=3).head
    assert head.output.weight.abs().sum(dim=1).min() > 0

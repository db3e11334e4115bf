import dataclasses

import numpy as np
import pytest

from search.new.sizes import LADDER, MARGIN, Sizes, choose_sizes, estimate_seconds
from search.new.speed import Speed
from trainers.data import Split, Splits

MINILM_LAYERS = 6
# Of one of two workers on the machine of the default study's run: studies/LOG.md.
SPEED = Speed(workers=2, training=67e9, evaluation=70e9)


def layer_flops(lengths_N):
    """MiniLM's: hidden size 384."""
    return lengths_N * (24 * 384**2 + 4 * 384 * lengths_N.astype(float))


def make_splits(train, validation, length):
    def split(count):
        offsets_N1 = np.arange(count + 1, dtype=np.int64) * length
        return Split(
            ids_S=np.zeros(0, dtype=np.int32),
            offsets_N1=offsets_N1,
            labels_N=np.zeros(count, dtype=np.int64),
        )

    return Splits(
        train=split(train),
        validation=split(validation),
        test=split(validation),
        class_names=("a", "b"),
        duplicates=0,
        contradictions=0,
        mended=0,
    )


def choose(splits, *, minutes, trials=50, speed=SPEED):
    return choose_sizes(
        splits,
        seconds=60 * minutes,
        num_trials=trials,
        num_layers=MINILM_LAYERS,
        layer_flops=layer_flops,
        speed=speed,
    )


def test_the_estimate_for_the_default_study_is_what_it_took():
    default = Sizes(train=3000, validation=1500, max_length=128, freeze_depth=2, epochs=1)
    seconds = estimate_seconds(
        default,
        make_splits(3000, 1500, 126),
        num_trials=50,
        num_layers=MINILM_LAYERS,
        layer_flops=layer_flops,
        speed=SPEED,
    )
    assert seconds == pytest.approx(35 * 60 + 3, rel=0.05)


def test_the_default_study_looks_at_its_texts_as_its_file_says():
    default = Sizes(train=3000, validation=1500, max_length=128, freeze_depth=2, epochs=1)
    assert default.evaluations_per_epoch == 4
    assert default.rungs == (0.125, 0.25, 0.5)


@pytest.mark.parametrize("minutes", [2, 5, 10, 20, 60])
@pytest.mark.parametrize("splits", [(1200, 400, 30), (1200, 400, 200), (15000, 5000, 250), (60, 20, 20)])
def test_the_search_is_expected_to_end_in_time(splits, minutes):
    _, seconds = choose(make_splits(*splits), minutes=minutes)
    assert seconds <= MARGIN * 60 * minutes


def test_more_time_never_makes_a_search_smaller():
    splits = make_splits(15000, 5000, 250)
    chosen = [choose(splits, minutes=m)[0] for m in (2, 5, 10, 20, 40, 60, 120, 600)]
    assert [s.freeze_depth for s in chosen] == sorted((s.freeze_depth for s in chosen), reverse=True)
    assert [s.train for s in chosen] == sorted(s.train for s in chosen)
    assert [s.max_length for s in chosen] == sorted(s.max_length for s in chosen)
    assert chosen[0] != chosen[-1]


def test_a_faster_machine_affords_more():
    splits = make_splits(15000, 5000, 250)
    fast = dataclasses.replace(SPEED, training=10 * SPEED.training, evaluation=10 * SPEED.evaluation)
    assert choose(splits, minutes=10, speed=fast)[0] == choose(splits, minutes=100)[0]


def test_where_nothing_ends_in_time_the_cheapest_is_taken_and_its_time_told():
    sizes, seconds = choose(make_splits(15000, 5000, 250), minutes=0.001)
    frozen, most_texts, most_tokens = LADDER[-1]
    assert (sizes.freeze_depth, sizes.train, sizes.max_length) == (
        frozen * MINILM_LAYERS,
        most_texts,
        most_tokens,
    )
    assert seconds > 0.06


def test_no_more_is_asked_for_than_there_is():
    sizes, _ = choose(make_splits(60, 20, 21), minutes=60)
    assert (sizes.train, sizes.validation, sizes.max_length) == (60, 20, 24)


@pytest.mark.parametrize(("train", "epochs"), [(60, 20), (320, 10), (1200, 3), (3000, 1)])
def test_small_training_splits_are_passed_more_often(train, epochs):
    assert choose(make_splits(train, 100, 30), minutes=600)[0].epochs == epochs

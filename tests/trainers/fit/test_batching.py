from itertools import pairwise

import numpy as np
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from trainers.fit.batching import FORWARD_TOKENS, MEGA_BATCH, shuffled_batches, sorted_batches

lengths = arrays(np.int64, st.integers(0, 700), elements=st.integers(1, 200))
sizes = st.integers(1, 12)


@given(lengths, sizes, st.integers(0, 2**32))
def test_every_text_stands_in_exactly_one_shuffled_batch(lengths_N, batch_size, seed):
    batches = shuffled_batches(lengths_N, batch_size=batch_size, generator=np.random.default_rng(seed))
    assert sorted(int(row) for batch in batches for row in batch) == list(range(len(lengths_N)))


@given(lengths, sizes, st.integers(0, 2**32))
def test_at_most_one_shuffled_batch_is_smaller(lengths_N, batch_size, seed):
    batches = shuffled_batches(lengths_N, batch_size=batch_size, generator=np.random.default_rng(seed))
    assert all(0 < len(batch) <= batch_size for batch in batches)
    assert sum(len(batch) < batch_size for batch in batches) <= 1


@given(lengths, sizes, st.integers(0, 2**32))
def test_equal_seeds_give_equal_batches(lengths_N, batch_size, seed):
    first, second = (
        shuffled_batches(lengths_N, batch_size=batch_size, generator=np.random.default_rng(seed))
        for _ in range(2)
    )
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in second]


def test_a_generator_gives_other_batches_in_the_next_epoch():
    lengths_N = np.arange(1, 101)
    generator = np.random.default_rng(0)
    first, second = (shuffled_batches(lengths_N, batch_size=10, generator=generator) for _ in range(2))
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]


@given(lengths, sizes, st.integers(0, 2**32))
def test_inside_a_mega_batch_length_ranges_do_not_overlap(lengths_N, batch_size, seed):
    lengths_N = lengths_N[: batch_size * MEGA_BATCH]
    batches = shuffled_batches(lengths_N, batch_size=batch_size, generator=np.random.default_rng(seed))
    ranges = sorted((int(lengths_N[b].min()), int(lengths_N[b].max())) for b in batches)
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))


def test_grouping_by_length_leaves_little_padding():
    lengths_N = np.random.default_rng(0).integers(4, 60, 3000)
    batches = shuffled_batches(lengths_N, batch_size=32, generator=np.random.default_rng(0))
    padded = sum(len(batch) * int(lengths_N[batch].max()) for batch in batches)
    assert padded / lengths_N.sum() < 1.05


@given(lengths)
def test_every_text_stands_in_exactly_one_sorted_batch(lengths_N):
    batches = sorted_batches(lengths_N)
    assert sorted(int(row) for batch in batches for row in batch) == list(range(len(lengths_N)))


@given(arrays(np.int64, st.integers(1, 100), elements=st.integers(1, 3 * FORWARD_TOKENS)))
def test_sorted_batches_are_as_large_as_their_padded_tokens_allow(lengths_N):
    batches = sorted_batches(lengths_N)
    padded = [len(batch) * int(lengths_N[batch].max()) for batch in batches]
    assert all(p <= FORWARD_TOKENS or len(b) == 1 for p, b in zip(padded, batches, strict=True))
    for batch, size in list(zip(batches, padded, strict=True))[:-1]:
        assert size + int(lengths_N[batch].max()) > FORWARD_TOKENS


@given(lengths)
def test_sorted_batches_begin_with_the_longest(lengths_N):
    batches = sorted_batches(lengths_N)
    in_order = [int(lengths_N[row]) for batch in batches for row in batch]
    assert in_order == sorted(in_order, reverse=True)


def test_no_texts_make_no_batches():
    nothing = np.array([], dtype=np.int64)
    assert shuffled_batches(nothing, batch_size=4, generator=np.random.default_rng(0)) == []
    assert sorted_batches(nothing) == []

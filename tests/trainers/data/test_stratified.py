import numpy as np
from hypothesis import given, settings, strategies as st

from trainers.data.stratified import stratified_parts, with_bare


def drawn_labels(num_texts, shares, seed=0):
    draw = np.random.default_rng(seed)
    return (draw.random((num_texts, len(shares))) < shares).astype(np.int64)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 60), st.integers(1, 5), st.integers(0, 1000), st.data())
def test_parts_have_exactly_the_sizes_asked_for(num_texts, num_labels, seed, data):
    labels_NC = drawn_labels(num_texts, np.linspace(0.1, 0.9, num_labels), seed)
    first = data.draw(st.integers(0, num_texts))
    part_N = stratified_parts(labels_NC, (first, num_texts - first), seed=seed)
    assert np.bincount(part_N, minlength=2).tolist() == [first, num_texts - first]


def test_each_label_is_dealt_out_in_proportion():
    labels_NC = drawn_labels(500, [0.5, 0.2, 0.05, 0.02])
    part_N = stratified_parts(labels_NC, (300, 100, 100), seed=1)
    for part, share in ((0, 0.6), (1, 0.2), (2, 0.2)):
        found_C = labels_NC[part_N == part].sum(axis=0)
        assert (np.abs(found_C - share * labels_NC.sum(axis=0)) <= 2).all()


def test_rare_labels_are_nearer_to_their_share_than_by_chance():
    labels_NC = drawn_labels(400, [0.4, 0.1, 0.03, 0.03])
    wanted_C = 0.2 * labels_NC.sum(axis=0)
    by_chance = [
        np.abs(labels_NC[np.random.default_rng(seed).permutation(400)[:80]].sum(axis=0) - wanted_C).sum()
        for seed in range(100)
    ]
    part_N = stratified_parts(labels_NC, (320, 80), seed=0)
    assert np.abs(labels_NC[part_N == 1].sum(axis=0) - wanted_C).sum() < min(by_chance)


def test_the_same_seed_deals_the_same_and_another_one_does_not():
    labels_NC = drawn_labels(100, [0.3, 0.3])
    first, again, other = (stratified_parts(labels_NC, (80, 20), seed=seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_texts_without_a_label_have_one_of_their_own():
    assert with_bare(np.array([[1, 0], [0, 0], [1, 1]])).tolist() == [[1, 0, 0], [0, 0, 1], [1, 1, 0]]

from hypothesis import given, strategies as st

from trainers.fit.stopping import EarlyStopping

history = st.lists(
    st.tuples(
        st.floats(0, 10, allow_nan=False),
        st.floats(0, 1, allow_nan=False),
    ),
    min_size=1,
    max_size=12,
)
patiences = st.integers(1, 5)
ceilings = st.floats(0.1, 1)


def split(history):
    return [loss for loss, _ in history], [accuracy for _, accuracy in history]


def test_patience_counts_evaluations_without_a_lower_loss():
    stopping = EarlyStopping(patience=2, ceiling=None)
    losses = [0.5, 0.4, 0.45, 0.41]
    decisions = [stopping.reason_to_stop(losses[:n], [0.0] * n) for n in range(1, 5)]
    assert decisions == [None, None, None, "patience"]


def test_a_tied_loss_is_no_improvement():
    assert EarlyStopping(patience=1, ceiling=None).reason_to_stop([0.5, 0.5], [0.0, 0.0]) == "patience"


def test_training_score_above_the_ceiling_stops():
    assert EarlyStopping(patience=3, ceiling=0.92).reason_to_stop([0.5], [0.93]) == "ceiling"


def test_training_score_at_the_ceiling_goes_on():
    assert EarlyStopping(patience=3, ceiling=0.92).reason_to_stop([0.5], [0.92]) is None


def test_the_ceiling_is_named_before_patience():
    assert EarlyStopping(patience=1, ceiling=0.9).reason_to_stop([0.4, 0.5], [0.8, 0.95]) == "ceiling"


@given(history)
def test_without_patience_and_ceiling_nothing_stops(history):
    assert EarlyStopping(patience=None, ceiling=None).reason_to_stop(*split(history)) is None


@given(history)
def test_without_patience_and_ceiling_the_last_weights_are_preferred(history):
    order = EarlyStopping(patience=None, ceiling=None).preference(*split(history))
    assert order == list(reversed(range(len(history))))


@given(history, patiences)
def test_patience_stops_exactly_when_the_lowest_loss_is_so_old(history, patience):
    losses, accuracies = split(history)
    age = len(losses) - 1 - losses.index(min(losses))
    decision = EarlyStopping(patience=patience, ceiling=None).reason_to_stop(losses, accuracies)
    assert (decision == "patience") == (age >= patience)


@given(history, patiences, ceilings)
def test_preference_orders_every_evaluation_once(history, patience, ceiling):
    order = EarlyStopping(patience=patience, ceiling=ceiling).preference(*split(history))
    assert sorted(order) == list(range(len(history)))


@given(history, patiences, ceilings)
def test_no_evaluation_above_the_ceiling_is_preferred_to_one_below(history, patience, ceiling):
    losses, accuracies = split(history)
    order = EarlyStopping(patience=patience, ceiling=ceiling).preference(losses, accuracies)
    above = [accuracies[i] > ceiling for i in order]
    assert above == sorted(above)


@given(history, patiences, ceilings)
def test_the_most_preferred_feasible_evaluation_has_the_lowest_loss_of_them(history, patience, ceiling):
    losses, accuracies = split(history)
    order = EarlyStopping(patience=patience, ceiling=ceiling).preference(losses, accuracies)
    feasible = [i for i in range(len(losses)) if accuracies[i] <= ceiling]
    if feasible:
        assert losses[order[0]] == min(losses[i] for i in feasible)
    else:
        assert accuracies[order[0]] - ceiling == min(a - ceiling for a in accuracies)


@given(history, patiences, ceilings, st.floats(0, 10), st.floats(0, 1))
def test_a_later_evaluation_leaves_the_order_of_the_earlier_ones(history, patience, ceiling, loss, accuracy):
    losses, accuracies = split(history)
    stopping = EarlyStopping(patience=patience, ceiling=ceiling)
    longer = stopping.preference([*losses, loss], [*accuracies, accuracy])
    assert [i for i in longer if i < len(losses)] == stopping.preference(losses, accuracies)


def test_ties_go_to_the_earlier_evaluation():
    assert EarlyStopping(patience=1, ceiling=0.9).preference([0.5, 0.5], [0.8, 0.8]) == [0, 1]


def test_above_the_ceiling_the_least_excess_comes_first():
    assert EarlyStopping(patience=1, ceiling=0.5).preference([0.1, 0.2], [0.9, 0.8]) == [1, 0]

import numpy as np
import pytest
from finalists import CEILING, SPEC, add, make_study

from search.analysis import OverSeeds, compare, estimate
from search.confirm.finalists import choose_finalists
from search.confirm.judgement import outcome, pairs_of
from search.study.spec import Score

RULE = Score(ceiling=CEILING, penalty=1.0)


@pytest.fixture
def study():
    return make_study()


def record(seed, validation, training, predicted=None):
    figures = {
        "validation_accuracy": validation,
        "training_accuracy": training,
        "seconds": 1.0,
        "best_epoch": 1.0,
        "processor": "a processor",
    }
    kept = {} if predicted is None else {"test_predictions": predicted}
    return {"seed": seed, "state": "complete", "reason": None, **figures, **kept}


FAILED = {"seed": 8, "state": "failed", "reason": "diverged"}

LABELS = np.arange(40) % 2

VERSIONS = {"torch": "2.13.0"}


def with_wrong(number):
    """Predictions of the test split, so many of them wrong."""
    return np.where(np.arange(40) < number, 1 - LABELS, LABELS).tolist()


def outcome_of(finalists, fits, *, rule=RULE, labels=LABELS):
    return outcome(
        finalists,
        fits,
        labels,
        validation_N=labels[:20],
        rule=rule,
        num_classes=2,
        after=9,
        versions=VERSIONS,
    )


def judged(study, fits):
    """The outcome for trials of the search, each with its fits; every one predicts a text wrongly per place."""
    for place in range(len(fits)):
        add(study, 0.90 - place / 100, 0.89 - place / 50, depth=place % 3)
    finalists = choose_finalists(study, SPEC, num_finalists=len(fits))[: len(fits)]
    for place, records in enumerate(fits):
        for kept in records:
            if kept["state"] == "complete":
                kept.setdefault("test_predictions", with_wrong(place + 1))
    named = {finalist.name: records for finalist, records in zip(finalists, fits, strict=True)}
    return outcome_of(finalists, named)


def test_the_winner_has_the_highest_mean_score_whatever_the_test_split_says(study):
    found = judged(study, [[record(7, 0.80, 0.85)], [record(7, 0.86, 0.85)], [record(7, 0.84, 0.85)]])
    assert found.winner == "trial 1"
    assert [row.name for row in found.finalists] == ["trial 1", "trial 2", "trial 0"]
    assert found.finalists[2].test.accuracy > found.finalists[0].test.accuracy


def test_a_setup_over_the_ceiling_with_half_of_the_seeds_cannot_win(study):
    found = judged(
        study, [[record(7, 0.95, 0.95), record(8, 0.95, 0.85)], [record(7, 0.70, 0.75), record(8, 0.7, 0.7)]]
    )
    assert found.winner == "trial 1"
    assert found.finalists[1].share_under_ceiling == 0.5


def test_without_a_setup_that_mostly_stays_under_the_ceiling_nobody_wins(study):
    assert judged(study, [[record(7, 0.95, 0.95)], [record(7, 0.9, 0.91)]]).winner is None


def test_equal_scores_are_won_by_who_freezes_more(study):
    assert judged(study, [[record(7, 0.8, 0.8)], [record(7, 0.8, 0.8)]]).winner == "trial 1"


def test_a_failed_fit_counts_against_its_setup(study):
    found = judged(study, [[record(7, 0.95, 0.85), FAILED], [record(7, 0.70, 0.75), record(8, 0.7, 0.7)]])
    assert found.winner == "trial 1"
    failed = found.finalists[1]
    assert (failed.share_under_ceiling, failed.validation) == (0.5, OverSeeds(mean=0.95, spread=None))


def test_every_fit_is_tested_and_the_mean_is_the_setups(study):
    fits = [record(7, 0.8, 0.8, with_wrong(4)), FAILED, record(9, 0.8, 0.8, with_wrong(8))]
    (row,) = judged(study, [fits]).finalists
    assert [fit.test_accuracy for fit in row.fits] == [0.9, None, 0.8]
    assert row.test.accuracy == pytest.approx(0.85)
    assert row.test.spread == pytest.approx(0.0707107)
    assert (row.test.num_fits, row.test.seed) == (2, 7)
    assert row.test.low < 0.8 < 0.9 < row.test.high


def test_where_the_first_fit_failed_the_next_is_the_one_to_export(study):
    found = judged(study, [[FAILED, record(9, 0.95, 0.85)], [record(8, 0.70, 0.75), record(9, 0.7, 0.7)]])
    assert [row.test.seed for row in found.finalists] == [8, 9]


def test_a_setup_none_of_whose_fits_ended_is_not_tested(study):
    found = judged(study, [[FAILED], [record(7, 0.70, 0.75)]])
    assert [row.test is None for row in found.finalists] == [False, True]
    assert found.comparisons == []


def test_what_made_the_fits_is_told(study):
    found = judged(study, [[record(7, 0.8, 0.8), record(8, 0.8, 0.8) | {"processor": "another"}, FAILED]])
    assert (found.versions, found.processors) == (VERSIONS, ["a processor", "another"])


def test_mean_spread_and_optimism_are_of_the_fresh_seeds(study):
    (row,) = judged(study, [[record(7, 0.84, 0.85), record(8, 0.86, 0.87), record(9, 0.88, 0.89)]]).finalists
    assert row.validation.plain() == {"mean": pytest.approx(0.86), "spread": pytest.approx(0.02)}
    assert row.training.mean == pytest.approx(0.87)
    assert row.optimism == row.flattery.search_above_fresh.value == pytest.approx(0.90 - 0.86)
    assert row.flattery.fresh_above_test.value == pytest.approx(0.86 - 0.975)
    assert all("test_predictions" not in fit.plain() for fit in row.fits)


def with_baseline(study):
    """Two trials and the baseline, which the study ran."""
    add(study, 0.70, 0.71, recipe="frozen-head")
    add(study, 0.85, 0.88)
    add(study, 0.84, 0.86)
    return choose_finalists(study, SPEC, num_finalists=2)


def test_each_is_compared_with_the_recipe_and_the_winner_with_the_runner_up(study):
    half = (LABELS * (np.arange(40) < 20)).tolist()
    fits = {
        "trial 1": [record(seed, 0.86, 0.85, LABELS.tolist()) for seed in (7, 8, 9)],
        "trial 2": [record(7, 0.85, 0.85, LABELS.tolist()), FAILED, record(9, 0.85, 0.85, LABELS.tolist())],
        "frozen-head": [record(seed, 0.7, 0.7, half) for seed in (7, 8, 9)],
    }
    found = outcome_of(with_baseline(study), fits)
    pairs = [(c.first, c.second, c.num_seeds) for c in found.comparisons]
    assert pairs == [
        ("trial 1", "frozen-head", 3),
        ("trial 2", "frozen-head", 2),
        ("trial 1", "trial 2", 2),
    ]
    first = found.comparisons[0]
    assert (first.difference, first.only_first_right, first.only_second_right) == (0.25, 30, 0)
    assert first.test == "permutation"
    assert first.p == pytest.approx(2 / 2**10, abs=0.001)
    assert first.p_holm == pytest.approx(3 * first.p)
    assert found.comparisons[2].p_holm == 1.0


def test_the_studys_metric_decides_and_not_the_texts_that_are_right(study):
    labels = np.repeat([0, 1], [300, 30])
    nothing, some = np.zeros(330, dtype=int), np.zeros(330, dtype=int)
    some[300:312] = 1
    some[:12] = 1
    fits = {
        "trial 1": [record(7, 0.86, 0.85, some.tolist())],
        "trial 2": [record(7, 0.85, 0.85, nothing.tolist())],
        "frozen-head": [record(7, 0.7, 0.7, nothing.tolist())],
    }
    rule = RULE.model_copy(update={"metric": "balanced_accuracy"})
    pair = outcome_of(with_baseline(study), fits, rule=rule, labels=labels).comparisons[0]
    assert pair.difference == pytest.approx((12 / 30 - 12 / 300) / 2)
    assert pair.only_first_right == pair.only_second_right
    assert pair.p_holm < 0.01


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["frozen-head", "a", "b"], ["a frozen-head", "b frozen-head"]),
        (["a", "frozen-head", "b"], ["a frozen-head", "b frozen-head"]),
        (["a", "b", "frozen-head"], ["a frozen-head", "b frozen-head", "a b"]),
        (["a", "b"], ["a b"]),
        (["a", "frozen-head"], ["a frozen-head"]),
        (["frozen-head"], []),
        (["a"], []),
    ],
)
def test_no_pair_is_compared_twice(names, pairs):
    assert [" ".join(pair) for pair in pairs_of(names)] == pairs


def test_where_the_baseline_leads_nothing_is_counted_twice(study):
    fits = {
        "frozen-head": [record(7, 0.86, 0.85, LABELS.tolist())],
        "trial 1": [record(7, 0.85, 0.85, with_wrong(10))],
        "trial 2": [record(7, 0.7, 0.7, with_wrong(5))],
    }
    found = outcome_of(with_baseline(study), fits)
    assert found.winner == "frozen-head"
    assert len(found.comparisons) == 2
    assert found.comparisons[0].p_holm == pytest.approx(2 * found.comparisons[0].p)


def test_where_there_are_groups_intervals_and_tests_are_over_them(study):
    add(study, 0.90, 0.85)
    add(study, 0.60, 0.70, recipe="frozen-head")
    finalists = choose_finalists(study, SPEC, num_finalists=1)
    fits = {
        "trial 0": [record(s, 0.9, 0.85, with_wrong(2 + s)) for s in (0, 1)],
        "frozen-head": [record(s, 0.6, 0.7, with_wrong(14 + s)) for s in (0, 1)],
    }
    groups = np.arange(40) // 5
    found = outcome(
        finalists,
        fits,
        LABELS,
        validation_N=LABELS[:20],
        rule=RULE,
        num_classes=2,
        after=9,
        versions=VERSIONS,
        words_N=1 - LABELS,
        groups_N={"validation": groups[:20], "test": groups},
    )
    first, second = (np.array([f["test_predictions"] for f in fits[n]]) for n in ("trial 0", "frozen-head"))
    how = {"metric": RULE.metric, "num_classes": 2, "groups_N": groups}
    pair = compare(LABELS, first, second, **how)
    told = next(c for c in found.comparisons if c.second == "frozen-head")
    assert (told.p, told.low, told.high) == (pair.p, pair.difference.low, pair.difference.high)
    assert found.finalists[0].test.low == estimate(LABELS, first, **how).low
    assert found.words.high == estimate(LABELS, 1 - LABELS[None], **how).high
    assert (found.num_test_groups, found.plain()["num_test_groups"]) == (8, 8)


def test_where_there_are_no_groups_nothing_is_said_of_them(study):
    assert "num_test_groups" not in judged(study, [[record(7, 0.80, 0.85)]]).plain()


def test_the_winners_first_tested_fit_says_what_its_probabilities_are_worth(study):
    curve = {"counts": [20], "confidences": [0.9], "accuracies": [0.8], "error": 0.1, "by_chance": 0.05}
    curve |= {"log_loss": 0.5}

    def believed(temperature):
        split = {"num_texts": 20, "before": curve, "after": curve, "coverage": []}
        return {
            "calibration": {
                "temperature": temperature,
                "reason": None,
                "validation": split,
                "test": split,
            }
        }

    add(study, 0.80, 0.85)
    add(study, 0.79, 0.84)
    failed = {"seed": 1, "state": "failed", "reason": "it was lost"}
    fits = {
        "trial 0": [failed, *(record(s, 0.8, 0.85, with_wrong(2)) | believed(float(s)) for s in (2, 3))],
        "trial 1": [record(s, 0.7, 0.84, with_wrong(3)) | believed(9.0) for s in (1, 2, 3)],
    }
    finalists = [f for f in choose_finalists(study, SPEC, num_finalists=2) if f.recipe is None]
    found = outcome_of(finalists, fits)
    assert (found.winner, found.calibration.temperature) == ("trial 0", 2.0)
    assert found.calibration.test.before.accuracies == [0.8]
    del fits["trial 0"][1]["calibration"]  # as earlier versions kept it
    assert "calibration" not in outcome_of(finalists, fits).plain()

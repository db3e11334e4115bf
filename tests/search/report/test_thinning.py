import pytest
from toys import add, evaluation, fill, make_spec, make_study

from search.report.html import render
from search.report.summary import summarise
from search.report.thinning import note_of, thinned


@pytest.fixture(scope="module")
def summary():
    """Of a study in which trial 1 is the best, and 40 like one another came after."""
    study = fill(make_study())
    for number in range(40):
        validation = 0.6 + number / 1000
        add(study, 0.95, validation, evaluations=[evaluation(2.0, validation, 0.95)])
    return summarise(study, make_spec())


def numbers(summary):
    return [row.number for row in summary.trials]


def test_a_short_search_is_shown_whole(summary):
    assert thinned(summary) is summary
    assert thinned(summary, most=len(summary.trials)) is summary
    assert note_of(summary, summary) is None


@pytest.mark.parametrize("most", [12, 20, 45])
def test_of_a_long_search_no_more_trials_are_shown_than_fit(summary, most):
    shown = thinned(summary, most=most)
    assert most // 2 < len(shown.trials) <= most
    assert numbers(shown) == sorted(set(numbers(shown)))
    assert {row.trial for row in shown.checkpoints} == {
        row.trial for row in summary.checkpoints if row.trial in numbers(shown)
    }


def test_what_is_best_what_is_on_a_front_and_recipes_stay(summary):
    shown = set(numbers(thinned(summary, most=10)))
    assert {0, 1} <= shown
    assert {row.number for row in summary.pareto} <= shown
    assert {row.trial for row in summary.checkpoint_front} <= shown


def test_the_others_are_spread_over_the_whole_search(summary):
    shown = [n for n in numbers(thinned(summary, most=20)) if n > 6]
    assert min(shown) < 12
    assert max(shown) > 40


def test_the_curve_of_the_hypervolume_is_the_same_with_fewer_points(summary):
    def after(history):
        heights, height = [], None
        known = {moment.finished: moment.hypervolume for moment in history}
        for finished in range(1, len(summary.hypervolume.history) + 1):
            height = known.get(finished, height)
            heights.append(height)
        return heights

    whole, shown = summary.hypervolume.history, thinned(summary, most=20).hypervolume.history
    assert len(shown) < len(whole)
    assert after(shown) == after(whole)
    assert shown[-1] == whole[-1]


def test_the_page_says_what_it_leaves_out(summary, monkeypatch):
    monkeypatch.setattr("search.report.html.thinned", lambda s: thinned(s, most=20))
    page = render(summary, options="--study toy")
    shown = thinned(summary, most=20)
    assert f"Figures and tables show {len(shown.trials)} of 46 trials: the best ones" in page
    assert f"<summary>{len(shown.trials)} trials</summary>" in page
    assert (
        f" of {len(summary.checkpoints)} are beaten" in page
        or f" of {len(summary.checkpoints)} is beaten" in page
    )
    assert "Figures and tables show" not in render(shown, options="--study toy")

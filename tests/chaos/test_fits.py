"""Fits that fail in ways that are no bug: memory, a worker that is killed, a loss that is no number."""

import pytest

pytestmark = pytest.mark.slow

NAMED = {
    "memory runs out in a fit": ("memory", "out of memory"),
    "an accelerator's memory runs out in a fit": ("accelerator memory", "out of memory"),
    "a loss becomes NaN": ("nan", "diverged: training loss nan"),
}


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.full), 2])
@pytest.mark.parametrize(
    "what", ["a loss becomes NaN", *(pytest.param(w, marks=pytest.mark.full) for w in list(NAMED)[:2])]
)
def test_fit_that_fails_for_a_named_reason_is_one_failed_trial(make_search, verify, what, workers):
    action, reason = NAMED[what]
    search = make_search(workers=workers)
    ending = search.strike(at="before step", nth=2, do=action)
    assert ending.code == 0, ending.output
    (failed,) = [t for t in search.trials() if t.state.name == "FAIL"]
    assert failed.user_attrs["reason"].startswith(reason)
    verify(search, scenario=what, saw=ending.line_with(" failed"))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.full)])
def test_fit_that_hangs_is_ended_and_one_failed_trial(make_search, verify, workers):
    search = make_search(workers=workers)
    ending = search.strike(at="before step", nth=2, do="hang", arguments=["--trial-timeout", "12"])
    assert ending.code == 0, ending.output
    (failed,) = [t for t in search.trials() if t.state.name == "FAIL"]
    assert failed.user_attrs["reason"].startswith("timed out: no news for 12 s")
    verify(search, scenario="a fit hangs", saw=ending.line_with(" failed"))


@pytest.mark.full
def test_fit_that_hangs_is_found_by_the_figures_of_the_others(make_search, verify):
    search = make_search(constants={"search.trials.silence": {"FLOOR_SECONDS": 30}})
    ending = search.strike(at="before step", nth=2, do="hang")
    assert ending.code == 0, ending.output
    (failed,) = [t for t in search.trials() if t.state.name == "FAIL"]
    assert failed.user_attrs["reason"].startswith("timed out: no news for ")
    verify(search, scenario="a fit hangs", saw=ending.line_with(" failed"))


@pytest.mark.parametrize("nth", [pytest.param(2, marks=pytest.mark.full), 8])
def test_trial_whose_worker_the_kernel_kills_is_repeated(make_search, verify, nth):
    search = make_search()
    ending = search.strike(at="after step", nth=nth)
    assert ending.code == 0, ending.output
    (failed,) = [t for t in search.trials() if t.state.name == "FAIL"]
    assert failed.user_attrs["reason"] == "killed"
    verify(search, scenario="kill -9 of a worker inside an epoch", saw=ending.line_with(" failed"))

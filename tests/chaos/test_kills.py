"""Kill -9 of a search and of its processes, at named points and at random moments."""

import contextlib
import os
import random
import signal
import time

import pytest
from invariants import best_number, check_export

pytestmark = pytest.mark.slow

KILLED = -signal.SIGKILL

SEARCH_DIES = {
    "with the lease taken, before its first sign of life": {"at": "after lease"},
    "while a feature file is written": {"at": "after features"},
    "after a feature file, before its checksum": {"at": "after replacing depth-2.bin"},
    "after asking for a trial": {"at": "after ask"},
    "between repeating a trial and failing it": {"at": "after enqueue"},
    "before a trial has parameters": {"at": "before suggest"},
    "before a trial is fitted": {"at": "after suggest"},
    "inside an epoch": {"at": "after step", "nth": 2, "do": "kill search"},
    "before an evaluation is stored": {"at": "before report"},
    "after an evaluation is stored": {"at": "after report"},
    "before telling": {"at": "before tell"},
    "after telling": {"at": "after tell"},
    "while report.json is written": {"at": "before replacing report.json"},
    "between report and picture": {"at": "after replacing report.json"},
}
"""By what the search was doing; in this order all of them strike one study."""

EXPORT_DIES = ("before save", "after save", "before replacing winner.toml")

RECOVERED = ("found and enqueued again", "trials finished")
"""What is worth showing of a search that was started again."""

MOMENTS = 10
"""Random kills of one seed; ten seeds make a hundred."""


def test_search_killed_at_every_point_in_turn_loses_nothing(make_search, verify):
    search = make_search(num_trials=6)
    for fault in SEARCH_DIES.values():
        assert search.strike(**fault).code == KILLED
    ending = search.finish()
    saw = ending.line_with(*RECOVERED)
    verify(search, scenario="one search, kill -9 at each point in turn", injected=len(SEARCH_DIES), saw=saw)


@pytest.mark.full
def test_search_killed_while_its_own_setups_are_enqueued_and_fitted_tries_each_once(make_search, verify):
    search = make_search(num_trials=3)
    setups = "{ dropout = 0.125 }, { dropout = 0.25 }"
    search.study.write_text(search.study.read_text() + f"\n[start]\nsetups = [{setups}]\n")
    points = ("after enqueue", "after ask", "after report")
    for point in points:
        assert search.strike(at=point).code == KILLED
    saw = search.finish().line_with(*RECOVERED)
    verify(search, scenario="own setups, kill -9 at three points in turn", injected=len(points), saw=saw)
    trials = search.trials()
    repeated = {t.user_attrs.get("retry_of") for t in trials}
    own = [t for t in trials if t.user_attrs.get("start") == "own" and t.number not in repeated]
    assert sorted(t.params["dropout"] for t in own) == [0.125, 0.25]


@pytest.mark.full
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("doing", SEARCH_DIES)
def test_search_killed_at_a_point_loses_nothing(make_search, verify, doing, workers):
    fault = SEARCH_DIES[doing]
    if workers == 1 and fault.get("do") == "kill search":
        fault = {**fault, "do": "kill"}
    search = make_search(num_trials=4, workers=workers)
    if doing == "between repeating a trial and failing it":
        search.strike(at="after ask")
    assert search.strike(**fault).code == KILLED
    ending = search.finish()
    saw = ending.line_with(*RECOVERED)
    verify(search, scenario=f"kill -9 {doing}", injected=len(search.endings) - 1, saw=saw)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100 // MOMENTS))
def test_search_killed_at_random_moments_loses_nothing(make_search, verify, pytestconfig, seed):
    moments = MOMENTS if pytestconfig.getoption("chaos") == "full" else 4
    for search, num_kills in disturbed(make_search, random.Random(seed), moments):
        verify(
            search,
            scenario="kill -9 of the search, a worker or their forkserver at a random moment",
            injected=num_kills,
            saw=search.endings[-1].line_with(*RECOVERED),
        )


@pytest.mark.full
def test_search_killed_at_random_moments_of_its_imports_loses_nothing(make_search, verify):
    for search, num_kills in disturbed(make_search, random.Random(100), 5, fresh=True):
        verify(
            search,
            scenario="kill -9 at a random moment, a new interpreter for each start",
            injected=num_kills,
            saw=search.endings[-1].line_with(*RECOVERED),
        )


def disturbed(make_search, draw, moments, **options):
    """Kill so often in all, at moments that ``draw`` gives; yields each search once it has ended by itself."""
    while moments > 0:
        search = make_search(num_trials=8, step_seconds=0.05, **options)
        num_kills = 0
        while num_kills < moments:
            launch = search.start()
            if draw.random() < 0.7:
                launch.wait_for("fit began")
            num_kills += kill_some(launch, draw, most=moments - num_kills)
            if search.ended(launch).code == 0:
                break
        else:
            search.finish()
        moments -= num_kills
        yield search, num_kills


def kill_some(launch, draw, *, most):
    """Kill processes of a search, one after the other, until it is dead or has ended, and return how many."""
    num_kills = 0
    while num_kills < most:
        deadline = time.monotonic() + draw.uniform(0, 3)
        while launch.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        if launch.poll() is not None:
            break
        wanted = draw.choice(("search", "search", "worker", "forkserver"))
        victims = sorted(pid for pid, kind in launch.members().items() if kind == wanted)
        if victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(draw.choice(victims), signal.SIGKILL)
                num_kills += 1
        if wanted == "search":
            break
    return num_kills


def test_search_killed_and_started_again_at_once_runs_no_trial_twice(make_search, verify):
    search = make_search(step_seconds=0.2)
    killed = search.start()
    killed.wait_for("fit began")
    killed.kill()
    again = search.start()
    assert search.ended(again).code == 0
    search.ended(killed)
    saw = search.endings[0].line_with("found and enqueued again")
    verify(search, scenario="kill -9 in training, started again while its workers still die", saw=saw)


@pytest.mark.full
def test_setup_whose_search_dies_of_it_every_time_is_given_up_and_counts(make_search, verify):
    search = make_search(num_trials=3, workers=1)
    for _ in range(3):
        search.strike(at="after step")
    ending = search.finish()
    assert [t.user_attrs.get("reason") for t in search.trials()[:3]] == ["killed"] * 3
    verify(
        search,
        scenario="kill -9 by the same trial again and again",
        injected=3,
        saw=ending.line_with("killed"),
    )


def test_export_killed_at_any_point_is_whole_after_the_next(make_search, verify):
    search = make_search(num_trials=2)
    search.finish()
    for point in EXPORT_DIES:
        assert search.strike(module="search.export", at=point).code == KILLED
    ending = search.run(module="search.export")
    assert ending.code == 0
    assert f"the same figures as trial {best_number(search.trials())} had in the search" in ending.output
    assert check_export(search.results, search.trials()) == []
    verify(
        search,
        scenario="kill -9 of an export",
        injected=len(EXPORT_DIES),
        saw=ending.line_with("the same figures"),
    )

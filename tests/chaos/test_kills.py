"""Kill -9 of a search and of its processes, at named points and at random moments."""

import os
import random
import signal
import time

import pytest

pytestmark = pytest.mark.slow

KILLED = -signal.SIGKILL

SEARCH_DIES = {
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


def test_search_killed_at_every_point_in_turn_loses_nothing(make_search, verify):
    search = make_search(num_trials=6)
    for fault in SEARCH_DIES.values():
        assert search.strike(**fault).code == KILLED
    ending = search.finish()
    verify(search, scenario="kill -9 of one search at every point", injected=len(SEARCH_DIES), saw=ending.last_line)

"""The simulator of the benchmarks, on a made-up table."""

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "tables"))

import contenders
import landscape as landscape_module
import replay
from tasks import TASKS

AGES = (1 / 4, 1 / 2, 1.0, 2.0)
RANDOM = contenders.Contender(pruning=contenders.NOTHING, sampler=contenders._random)


def made_up_table(setups=6):
    """Accuracy rises with rate times age; which texts are right follows their difficulty and a little luck."""
    rows = []
    task = TASKS["trec"]
    hard_N = np.random.default_rng(0).normal(size=task.validation + task.test)
    for setup in range(setups):
        generator = np.random.default_rng(setup)
        settings = {
            "freeze_depth": int(generator.integers(0, 7)),
            "dropout": float(generator.uniform(0, 0.5)),
            "head_width": int(generator.choice([32, 64, 128, 256])),
            "learning_rate": float(10 ** generator.uniform(-5, -3)),
            "epochs": 1 + setup % 2,
        }
        for seed in (0, 1):
            luck_N = np.random.default_rng([setup, seed]).normal(size=len(hard_N))
            for age in (a for a in AGES if a <= settings["epochs"]):
                skill = 1 + 0.7 * (math.log10(settings["learning_rate"] * age) + 4)
                right_N = hard_N + 0.3 * luck_N < skill
                validation, test = right_N[: task.validation], right_N[task.validation :]
                rows.append(
                    {
                        "task": "trec",
                        "setup": setup,
                        "seed": seed,
                        "head_start": "fitted",
                        **settings,
                        "age": age,
                    }
                    | {"training_accuracy": right_N.mean(), "validation_loss": 0.5, "test_loss": 0.5}
                    | {"validation_accuracy": validation.mean(), "test_accuracy": test.mean()}
                    | {"validation_right": np.packbits(validation).tobytes()}
                    | {"test_right": np.packbits(test).tobytes()}
                    | {
                        "training_seconds": age * (2 + 6 - settings["freeze_depth"]),
                        "evaluation_seconds": 1.0,
                    }
                )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def landscape():
    return landscape_module.landscapes(made_up_table(), head_start="fitted")["trec"]


def run(landscape, contender=RANDOM, **options):
    return replay.Replay(contender, landscape, **{"seed": 0, "num_trials": 6, **options}).run()


def test_the_same_seed_gives_the_same_study(landscape):
    assert run(landscape) == run(landscape)


def test_another_seed_gives_another_study(landscape):
    assert run(landscape) != run(landscape, seed=1)


def test_no_trial_counts_that_ends_after_the_limit(landscape):
    whole = run(landscape)
    limit = whole[3].seconds
    assert run(landscape, limit=limit) == whole[:4]


def test_two_workers_take_less_time_for_the_same_trials(landscape):
    one, two = run(landscape), run(landscape, workers=2)
    assert len(one) == len(two) == 6
    assert two[-1].seconds < one[-1].seconds


def test_validation_and_untouched_texts_share_none(landscape):
    split = replay.Split(landscape, np.random.default_rng(0))
    assert not set(split.validation) & set(split.test)
    assert len(split.validation) == TASKS["trec"].validation
    assert len(split.validation) + len(split.test) == TASKS["trec"].validation + TASKS["trec"].test


def test_a_drawn_curve_has_as_many_right_texts_as_it_is_accurate(landscape):
    settings = made_up_table().iloc[0].to_dict()
    accuracy, _, _ = landscape.expected(settings, [1.0])
    drawn = [
        landscape.curve(settings, [1.0], np.random.default_rng(seed)).right_AN.mean() for seed in range(30)
    ]
    assert np.mean(drawn) == pytest.approx(accuracy[0], abs=0.03)


def test_what_waited_at_one_epoch_goes_on_or_ends_as_paused(landscape):
    contender = contenders.Contender(
        pruning=contenders.NOTHING, sampler=contenders._random, pause_at=1.0, finish=1
    )
    ended = run(landscape, contender, num_trials=8)
    longer = [t for t in ended if t.settings["epochs"] > 1]
    assert [t.state for t in longer].count("complete") == 1
    assert {t.epochs for t in longer if t.state == "paused"} == {1.0}


def test_setups_left_out_are_expected_from_the_others():
    found = landscape_module.left_out(made_up_table(10), folds=3)
    assert {row["task"] for row in found} == {"trec"}
    assert all(0 <= row["model"] < 0.5 for row in found)

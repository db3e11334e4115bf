"""The fits of the benchmarks, which reach into the loop of a fit, on the tiny encoder."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainers.fit.feature_building import build_features

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "tables"))

import averages
import build

NUM_VALIDATION = 20
"""Of the tiny validation split; the rest of it plays the untouched set."""


@pytest.fixture(scope="module")
def config(make_config):
    return make_config(head_start="fitted", epochs=2, freeze_depth=1)


@pytest.fixture(scope="module")
def features(tiny_encoder, tiny_splits, config, tmp_path_factory):
    directory = tmp_path_factory.mktemp("features")
    return build_features(
        tiny_encoder, tiny_splits, config, depths=(1,), directory=directory, disk_bytes=2**30
    )


def test_a_fit_of_a_table_has_a_row_an_age_with_figures_of_the_validation_and_of_the_untouched_texts(
    config, features
):
    traced = build.Traced(config, features, NUM_VALIDATION)
    traced.run(None)
    rows = pd.DataFrame(traced.rows).set_index("age")
    # Of six steps an epoch, the sixteenth and the eighth part are the same one.
    assert set(rows.index) - {0.0} == {age for age in build.AGES if 1 / 16 < age <= 2}
    assert rows["flops"].is_monotonic_increasing
    assert rows[["validation_accuracy", "test_accuracy"]].map(lambda share: 0 <= share <= 1).all(axis=None)
    assert len(rows["validation_right"].iloc[-1]) == -(-NUM_VALIDATION // 8)


def test_weights_of_a_fit_are_its_last_its_best_and_its_averages(config, features):
    fit = averages.Averaged(config, features, NUM_VALIDATION, 0)
    weights = fit.trained()
    figures = {name: fit.figures(*fit.logits(found)) for name, found in weights.items()}
    assert list(weights) == ["last", "restored", "moving average", "equal average"]
    lowest = min(row["validation_loss"] for row in fit.rows)
    np.testing.assert_allclose(figures["restored"]["validation_loss"], lowest, rtol=1e-5)
    np.testing.assert_allclose(figures["last"]["test_loss"], fit.rows[-1]["test_loss"], rtol=1e-5)
    name = next(iter(weights["last"]))
    assert not np.array_equal(weights["last"][name], weights["moving average"][name])

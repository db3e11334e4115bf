import numpy as np
import pytest

from search.trials.fitting import figures_of
from trainers.fit import Features, fit, predict_test
from trainers.model import decisions


@pytest.mark.parametrize("wanted", [True, False])
def test_a_tested_fit_says_of_its_probabilities_what_an_export_of_it_says(
    tiny_encoder, tiny_splits, make_config, wanted
):
    config, features = make_config(epochs=1), Features(tiny_encoder, tiny_splits)
    figures = figures_of(config, features, test=wanted)
    if not wanted:
        assert not {"calibration", "test_predictions"} & set(figures)
        return
    result = fit(config, features)
    assert figures["calibration"] == decisions(config, features, result, test=True).calibration.plain()
    np.testing.assert_array_equal(figures["test_predictions"], predict_test(config, features, result))

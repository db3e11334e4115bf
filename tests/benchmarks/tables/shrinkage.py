"""What a setup is worth, once the luck of its one measurement is taken out: a model over all complete trials.

The best of many figures is the best partly by luck. A Gaussian process over the settings says how much of the differences
between trials their settings explain; the rest is noise, which it shrinks. Source: Rasmussen and Williams, Gaussian Processes
for Machine Learning, 2006, chapter 2; by scikit-learn.

Shapes: T trials, S settings.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

FEWEST = 8
"""Complete trials below which nothing can be said of how settings and figures go together."""

Floats = npt.NDArray[np.float64]


class Model:
    """A Gaussian process over the settings of a study; what it says is in units of the score.

    Args:
        space: Of the study.
        process: Fitted on points_TS.
        centre: What its figures are measured from.
        scale: And in.
    """

    def __init__(
        self, space: Mapping[str, BaseDistribution], process: Any, *, centre: float, scale: float
    ) -> None:
        self.space = space
        self.noise = scale * math.sqrt(float(process.kernel_.k2.noise_level))
        self._process = process
        self._centre = centre
        self._scale = scale

    def expect(self, settings: Sequence[Mapping[str, Any]]) -> tuple[Floats, Floats]:
        """Return what is expected of setups, a figure each, and how its errors go together, as covariances."""
        return self._at(scaled(settings, self.space))

    def gain(self, best: float, *, generator: np.random.Generator, draws: int = 500) -> float:
        """Return by how much the most promising of many setups of the space is expected to beat ``best``.

        Expected improvement (Jones et al. 1998), luck of its measurement left out.
        """
        from scipy.stats import norm

        means, covariances = self._at(generator.uniform(size=(draws, len(self.space))))
        errors = np.sqrt(np.maximum(np.diag(covariances), 1e-12))
        z = (means - best) / errors
        return float((errors * (z * norm.cdf(z) + norm.pdf(z))).max())

    def _at(self, points: Floats) -> tuple[Floats, Floats]:
        from scipy.linalg import solve_triangular

        process = self._process
        smooth = process.kernel_.k1  # without the noise
        across = smooth(points, process.X_train_)
        explained = solve_triangular(process.L_, across.T, lower=True)
        covariances = smooth(points) - explained.T @ explained
        return self._centre + self._scale * (across @ process.alpha_), self._scale**2 * covariances


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """Tell whether a distribution, as the study has it now, could give a value."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return bool(distribution._contains(distribution.to_internal_repr(value)))


def model(
    settings: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    space: Mapping[str, BaseDistribution],
) -> Model | None:
    """Fit the model; None where there are too few trials or all scores are equal.

    Scores far below the middle are drawn up to it: how bad a bad setup is says nothing about the good ones.
    """
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    values = np.asarray(scores, dtype=float)
    if len(values) < FEWEST or not np.ptp(values) > 0:
        return None
    middle, best = float(np.median(values)), float(values.max())
    values = np.maximum(values, middle - 2 * (best - middle) - 1e-3)
    centre, scale = float(values.mean()), float(values.std())
    points = scaled(settings, space)
    kernel = ConstantKernel(1.0, (0.05, 20.0)) * Matern(
        np.full(points.shape[1], 1.0), (0.2, 20.0), nu=2.5
    ) + WhiteKernel(0.3, (1e-3, 2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a length at its bound: a setting that does not matter
        process = GaussianProcessRegressor(kernel, random_state=0).fit(points, (values - centre) / scale)
    return Model(space, process, centre=centre, scale=scale)


def scaled(settings: Sequence[Mapping[str, Any]], space: Mapping[str, BaseDistribution]) -> Floats:
    """Return the settings as points_TS, each coordinate from 0 to 1."""
    return np.array([[_place(s[name], d) for name, d in space.items()] for s in settings], dtype=float)


def _place(value: Any, distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices.index(value) / max(1, len(distribution.choices) - 1)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (float(value) - low) / (high - low) if high > low else 0.0

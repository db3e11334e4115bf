"""Setups that were good on most of the project's tables of learning curves, best first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FITTED = {"head_start": "fitted"}

PORTFOLIO: tuple[Mapping[str, Any], ...] = (
    {
        "freeze_share": 0.5,
        "dropout": 0.475,
        "head_width": 128,
        "learning_rate": 1.94e-5,
        "epochs": 4,
        **_FITTED,
    },
    {
        "freeze_share": 0.667,
        "dropout": 0.404,
        "head_width": 256,
        "learning_rate": 1.07e-4,
        "epochs": 3,
        **_FITTED,
    },
)
"""Chosen by ``tests/benchmarks/tables/portfolio.py``. Freeze depth is a share of the encoder's layers.

2026-11-27, MiniLM, 500 to 800 training texts of five tasks, bfloat16: of seven setups that all tasks had by then, those two that
help. Seven are too few to tell whether a portfolio beats setups drawn at random; to be chosen again from larger tables.
"""


def portfolio_setups(*, num_layers: int) -> list[dict[str, Any]]:
    """Return the portfolio's settings for an encoder of ``num_layers`` layers."""
    return [
        {"freeze_depth": round(share * num_layers), **settings}
        for entry in PORTFOLIO
        for settings in [dict(entry)]
        for share in [settings.pop("freeze_share")]
    ]

"""Setups that were good on most of the project's tables of learning curves, best first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PORTFOLIO: tuple[Mapping[str, Any], ...] = ()
"""Chosen by ``tests/benchmarks/tables/portfolio.py``. Freeze depth is a share of the encoder's layers."""


def portfolio_setups(*, num_layers: int) -> list[dict[str, Any]]:
    """Return the portfolio's settings for an encoder of ``num_layers`` layers."""
    return [
        {"freeze_depth": round(share * num_layers), **settings}
        for entry in PORTFOLIO
        for settings in [dict(entry)]
        for share in [settings.pop("freeze_share")]
    ]

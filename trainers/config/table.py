"""A TOML table as a model of pydantic, and the keys that it may hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A TOML table: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def table_keys(model: type[BaseModel], path: tuple[str, ...]) -> Iterable[str]:
    """List the keys that the table at ``path`` inside ``model`` may hold; empty where there is no table."""
    for part in path:
        field = model.model_fields.get(part)
        tables = [t for t in (field.annotation, *get_args(field.annotation)) if _is_table(t)] if field else []
        if not tables:
            return []
        model = tables[0]
    return model.model_fields


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)

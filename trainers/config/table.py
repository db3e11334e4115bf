"""A TOML table as a model of pydantic, and the keys that it may hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Table(BaseModel):
    """A TOML table: immutable, and an unknown key is an error.

    Attributes:
        ADDED: Settings that earlier versions did not know. While they have their defaults they are not written, so that what is
            stored of a configuration, and what is derived from that, stays what it was.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    ADDED: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_added(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        fields = type(self).model_fields
        unused = {key for key in self.ADDED if getattr(self, key) == fields[key].default}
        return {key: value for key, value in written.items() if key not in unused}


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

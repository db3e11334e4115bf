"""What is said of a study, as models that do not change: their fields and descriptions make ``report.schema.json``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, WithJsonSchema


class Frozen(BaseModel):
    """A table of a report.

    What a later version stored beside the fields is left out, and their limits stand in the schema alone: a database is
    read, not judged.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_extra={"additionalProperties": False})

    def plain(self) -> dict[str, Any]:
        """Return what JSON holds of it; without what an earlier version did not know."""
        return self.model_dump(mode="json", exclude_unset=True)


Share = Annotated[float, WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]
Count = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0})]

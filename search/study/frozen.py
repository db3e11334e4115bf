"""What is said of a study, as models that do not change: their fields and descriptions make ``report.schema.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, WithJsonSchema

from trainers.errors import InputError


class Frozen(BaseModel):
    """A table of a report.

    What a later version stored beside the fields is left out, and their limits stand in the schema alone: a database is
    read, not judged.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_extra={"additionalProperties": False})

    @classmethod
    def of_stored(cls, held: Mapping[str, Any], *, place: str) -> Self:
        """Read what a database holds.

        Args:
            held: Of the database, completed where an earlier version stored less.
            place: What it is, for the error: "trial 3".

        Raises:
            InputError: It is not what any version has stored there.
        """
        try:
            return cls.model_validate(held)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            key = ".".join(map(str, first["loc"]))
            raise InputError(
                f"{place} in the study's database: {key} cannot be read ({first['msg']}); another program wrote it, or the file is "
                "damaged: restore the database from a copy, or begin a new study"
            ) from error

    def plain(self) -> dict[str, Any]:
        """Return what JSON holds of it; without what an earlier version did not know."""
        return self.model_dump(mode="json", exclude_unset=True)


Share = Annotated[float, WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]
Figure = Annotated[float, WithJsonSchema({"type": "number", "minimum": -1, "maximum": 1})]
"""By the study's metric: a share, but that quadratic kappa lies below 0 where chance is better."""
Count = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0})]

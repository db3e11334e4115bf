"""EncoderConfig: which pre-trained encoder, and how its token vectors are pooled."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from trainers.config.choices import PACKAGED_ENCODER, Pooling
from trainers.config.table import Table

_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


class EncoderConfig(Table):
    """Which pre-trained encoder, and how its token vectors become one vector a text.

    Attributes:
        name: ``minilm`` (packaged), a local directory, or a hub id.
        revision: Branch, tag or commit of a hub id.
        pooling: ``mean`` over the tokens, the first token (``cls``), or what the encoder's own pooler makes of
            it (``model``), where it has one; below full depth the pooler is trained, at full depth frozen.
    """

    name: str = Field(default=PACKAGED_ENCODER, min_length=1)
    revision: str | None = None
    pooling: Pooling = "mean"

    @field_validator("revision")
    @classmethod
    def _names_a_revision(cls, revision: str | None) -> str | None:
        # The hub client reads the file of this name in its cache, wherever dots and slashes lead.
        if revision is not None and (".." in revision or not _REVISION.fullmatch(revision)):
            raise ValueError(
                "must be a branch, tag or commit: letters, digits, '.', '_', '-' and '/', beginning with a letter "
                f"or digit and without '..', got {revision!r}; fix it"
            )
        return revision

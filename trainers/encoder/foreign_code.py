"""What a model's files would run or fetch when transformers loads them: found before, and refused by name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.errors import InputError

CONFIGS = ("config.json", "tokenizer_config.json")

PLAIN = {
    "attn_implementation": ("eager", "sdpa", "flex_attention"),
    "experts_implementation": ("eager", "batched_mm", "grouped_mm"),
}
"""Implementations that are part of transformers and torch. All others, ``flash_attention_2`` and ``owner/kernel@commit``
among them, are fetched from the hub and run where the package kernels is installed."""

REACHING = {
    "configuration_files": "lets another file stand for it",
    "custom_pipelines": "names code",
    "kernel_config": "has code fetched",
    "quantization_config": "loads packages and code for its kind of weights",
    "transformers_weights": "lets other weights be loaded than those that are checked",
    "use_kernels": "has code fetched",
    "backbone": "has other weights fetched",
    "use_pretrained_backbone": "has other weights fetched",
    "use_timm_backbone": "has other weights fetched",
}
"""Keys by which a configuration reaches beyond the files that are checked, and what each of them does. Collected from
``configuration_utils``, ``modeling_utils``, ``quantizers`` and ``integrations`` of transformers 5.20 to 5.24."""

FETCHING_FAMILIES = ("mra", "rwkv", "sam3_video", "yoso")
"""Families whose own code in transformers fetches a kernel."""

LABELS = ("label2id", "id2label")
"""Tables in which a class may be called like anything."""

OTHER_WEIGHTS = re.compile(r"adapter_config\.json|shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
"""Files that make transformers load other weights beside or instead of the model's, some with certain packages alone."""


@dataclass(frozen=True)
class KnownCode:
    """The one file of code of which a model's folder may hold a copy, and its configuration name classes.

    Such a copy is never run here.

    Attributes:
        name: Of the file.
        sha256: Of its contents, in all the versions that are known.
    """

    name: str
    sha256: frozenset[str]

    def holds(self, auto_map: Any) -> bool:
        """Tell whether an ``auto_map`` names classes of that file beside it alone, and none of another repository."""
        ours = rf"{Path(self.name).stem}\.\w+"
        return isinstance(auto_map, dict) and all(
            isinstance(v, str) and re.fullmatch(ours, v) for v in auto_map.values()
        )


def refuse_foreign_code(folder: Path, *, what: str, code: KnownCode | None = None) -> None:
    """Check that nothing in a model's folder makes transformers run code or fetch anything.

    Args:
        folder: Of the model.
        what: How errors call it.
        code: What it may bring; None allows nothing.

    Raises:
        InputError: Something does.
    """
    for name in CONFIGS:
        for key, value in _entries(folder / name):
            if key == "auto_map" and not (code and code.holds(value)):
                raise InputError(
                    f"{what} must bring no code of its own, but {folder / name} has auto_map, which names some; take a "
                    "model that transformers knows by itself"
                )
            reason = _reaches(key, value)
            if reason:
                raise InputError(
                    f"{what} must neither run code of others nor fetch anything, but {folder / name} has {key} = "
                    f"{json.dumps(value)[:80]}, which {reason}; remove the key, or take a model without it"
                )
    for path in sorted(folder.iterdir()):
        if OTHER_WEIGHTS.fullmatch(path.name):
            raise InputError(
                f"{what} must hold its weights alone, but {path} has transformers load others; merge them into the model "
                "and save_pretrained it, or remove the file"
            )
    if code is None:
        return
    for path in sorted(folder.rglob("*.py")):
        if path.name != code.name or hashlib.sha256(path.read_bytes()).hexdigest() not in code.sha256:
            raise InputError(
                f"{what} must bring no code of its own, but {path} is not the {code.name} of this version of "
                "Frostline or of an earlier one; export the model again, or load it with the version that saved it"
            )


def _reaches(key: str, value: Any) -> str | None:
    """Say what an entry of a configuration reaches for; None if nothing."""
    if key in REACHING:
        return REACHING[key] if value else None
    plain = PLAIN.get(key.lstrip("_").removesuffix("_internal"))
    if plain is not None:
        chosen = value.values() if isinstance(value, dict) else [value]
        if any(c is not None and not isinstance(c, dict) and c not in plain for c in chosen):
            return f"may be fetched and run, since it is none of {', '.join(plain)}"
    if key == "model_type" and value in FETCHING_FAMILIES:
        return "is a family that fetches code"
    return None


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a JSON file at any depth, class names left out; none of a file that is missing or damaged."""
    try:
        left = [json.loads(path.read_bytes())]
    except (OSError, ValueError, RecursionError):
        return  # loading it will say what is wrong
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield from value.items()
            left += [v for k, v in value.items() if k not in LABELS]
        elif isinstance(value, list):
            left += value

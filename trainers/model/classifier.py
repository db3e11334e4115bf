"""The fine-tuned classifier as a transformers model: assemble, save, load, predict.

Shapes: B texts, T tokens of the longest one, C classes.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerBase,
)
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from trainers import modeling_frostline
from trainers.config import Clean, Device, TrainConfig
from trainers.data import Text, cleaned, cut_points, encode, encode_pairs, has_segments, special_tokens
from trainers.encoder import (
    Encoder,
    KnownCode,
    check_files,
    check_vocabulary,
    embeds_segments,
    load_checked,
    load_tokenizer,
    quiet_transformers,
    sha256_of,
    verify_checksums,
    write_checksums,
)
from trainers.errors import InputError
from trainers.fit import FitResult, Network, sorted_batches
from trainers.model.description import (
    check_decisions,
    class_names,
    cleaning,
    decided_by,
    pair_columns,
    task,
    temperature as temperature,  # where it stood before
)
from trainers.modeling_frostline import FrostlineConfig, FrostlineForSequenceClassification

JOINER = ";"
"""Between the labels of a text, where they are one text."""

CODE = Path(modeling_frostline.__file__)
"""Copied into saved models, for those who use them without this package."""

RELEASED = {
    "0.1.0": "e4db820d590eceda26e509afb13c1115023a2822527cfcf17837d2b5cc410a20",
    "0.2.0": "eba354854f2ab717c7493cd519841bd503b28260a72bf7670d99fd00a1bdacb2",
}
"""SHA-256 of that file in each version: what one of them saved, all later ones load."""

BETWEEN = (
    "7112c3a0c8b922e0b9d9db3010f785f92409e33fd163a56b37c60162c593965d",
    "fbe0828dbbd32777a2d939ad108010f8571fdefe43e642c3de30cbdf2f9a41ff",
    "855a1fbdbadbe0d4ff32c9c0a95cc5bd496e4042307185585b2bc53a459446eb",
)
"""Likewise, of states between two versions."""


AutoConfig.register(FrostlineConfig.model_type, FrostlineConfig)
AutoModelForSequenceClassification.register(FrostlineConfig, FrostlineForSequenceClassification)


@dataclass(frozen=True)
class Prediction:
    """What the model says of one text.

    Attributes:
        label: Name of the most probable class, or of the one that the model's threshold says, or of the median of a scale. Of several labels all that the
            text has, ``;`` between them.
        probability: Of that class. Of several labels, that these and no others are right, if they do not depend on each other.
        labels: Where a text may have several: those that it has, the most probable first; else None.
        probabilities: Where a text may have several: that of each label that there is; else None.
    """

    label: str
    probability: float
    labels: tuple[str, ...] | None = None
    probabilities: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Classifier:
    """A fine-tuned model and its tokenizer: texts in, labels out."""

    model: FrostlineForSequenceClassification
    tokenizer: PreTrainedTokenizerBase

    def predict(self, texts: Sequence[Text]) -> list[Prediction]:
        """Return the class of each text, or of each pair ``(first, second)``: the most probable, or as the threshold says."""
        probabilities_NC = self.predict_proba(texts)
        names = class_names(self.model)
        if task(self.model) == "several_labels":
            has_NC = self.decide(probabilities_NC).astype(bool)
            return [
                _prediction_of_several(names, row, has_C)
                for row, has_C in zip(probabilities_NC, has_NC, strict=True)
            ]
        best_N = self.decide(probabilities_NC)
        return [Prediction(names[i], float(row[i])) for i, row in zip(best_N, probabilities_NC, strict=True)]

    def decide(self, probabilities_NC: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
        """Return the class of each text, best_N: the most probable, or as the threshold says; of several labels 0 and 1 for each.

        Of steps of a scale it may be the median class, by the probabilities without temperature: that is to change no label.
        """
        return decided_by(self.model, probabilities_NC)

    def plain(self, texts: Sequence[Text]) -> list[Text]:
        """Return texts cleaned as those that the model was trained on."""
        return [cleaned(text, cleaning(self.model))[0] for text in texts]

    def predict_proba(self, texts: Sequence[Text]) -> npt.NDArray[np.float32]:
        """Return probabilities_NC, the columns in the order of ``model.config.id2label``.

        Texts are cleaned as those that the model was trained on, and logits are divided by its temperature, if it has one.

        Raises:
            InputError: They are single where the model reads pairs, or the other way round.
        """
        rows, segments = self._encode(texts)
        probabilities_NC = np.empty((len(rows), len(class_names(self.model))), dtype=np.float32)
        lengths_N = np.array([len(r) for r in rows], dtype=np.int64)
        for batch in sorted_batches(lengths_N):
            ids_BT = pad_sequence(
                [torch.tensor(rows[i]) for i in batch],
                batch_first=True,
                padding_value=self.tokenizer.pad_token_id,
            )
            mask_BT = torch.arange(ids_BT.shape[1]) < torch.from_numpy(lengths_N[batch])[:, None]
            with torch.inference_mode():
                device = self.model.device
                more = {}
                if segments is not None:
                    padded = pad_sequence([torch.tensor(segments[i]) for i in batch], batch_first=True)
                    more["token_type_ids"] = padded.to(device)
                logits_BC = self.model(ids_BT.to(device), mask_BT.long().to(device), **more).logits
            found_BC = (
                logits_BC.sigmoid() if task(self.model) == "several_labels" else logits_BC.softmax(dim=1)
            )
            probabilities_NC[batch] = found_BC.cpu().numpy()
        return probabilities_NC

    def _encode(self, texts: Sequence[Text]) -> tuple[list[list[int]], list[list[int]] | None]:
        config, columns = self.model.config, pair_columns(self.model)
        check_form(texts, columns)
        plain = self.plain(texts)
        if columns is not None:
            pairs = [text for text in plain if not isinstance(text, str)]
            rows, segments, _ = encode_pairs(pairs, self.tokenizer, max_length=config.max_tokens)
            return rows, segments
        singles = [text for text in plain if isinstance(text, str)]
        return encode(
            singles, self.tokenizer, max_length=config.max_tokens, head_tokens=config.head_tokens
        ), None


def _prediction_of_several(
    names: Sequence[str], probabilities_C: npt.NDArray[np.floating], has_C: npt.NDArray[np.bool_]
) -> Prediction:
    order = sorted(np.flatnonzero(has_C).tolist(), key=lambda label: -float(probabilities_C[label]))
    labels = tuple(names[label] for label in order)
    return Prediction(
        label=JOINER.join(labels),
        probability=float(np.where(has_C, probabilities_C, 1 - probabilities_C).astype(np.float64).prod()),
        labels=labels,
        probabilities={name: float(p) for name, p in zip(names, probabilities_C, strict=True)},
    )


def check_form(texts: Sequence[Text], columns: tuple[str, str] | None) -> None:
    """Check that texts are pairs where a model reads pairs, and single ones elsewhere.

    Args:
        texts: To be classified.
        columns: As ``pair_columns`` gives them.

    Raises:
        InputError: One is not.
    """
    for i, text in enumerate(texts):
        is_pair = isinstance(text, tuple) and len(text) == 2 and all(isinstance(side, str) for side in text)
        if columns is None and isinstance(text, tuple | list):
            raise InputError(
                f"this model reads single texts, got a pair or list at index {i}; give one str a text"
            )
        if columns is not None and not is_pair:
            raise InputError(
                f"this model reads pairs ({columns[0]}, {columns[1]}), got a {type(text).__name__} at index {i} that is not "
                "two texts; give a tuple of two str"
            )


def assemble(
    encoder: Encoder,
    config: TrainConfig,
    result: FitResult,
    *,
    names: Sequence[str],
    temperature: float = 1.0,
    thresholds: Mapping[str, float] | None = None,
) -> Classifier:
    """Put the frozen part of the encoder and what a fit trained together into one whole model.

    Args:
        encoder: What was fine-tuned.
        config: Of the fit.
        result: What it trained.
        names: Of the classes.
        temperature: By which the model divides its logits.
        thresholds: From which probability on a class or label is said, by name; None means that the most probable class is, or
            each label from one half on.
    """
    inner = copy.deepcopy(encoder.model)
    network = result.network
    for path, part in network.encoder_parts().items():
        inner.get_submodule(path).load_state_dict(part.state_dict())
    layers: Any = inner.get_submodule(encoder.anatomy.layers)
    for layer, trained in zip(layers[len(layers) - len(network.layers) :], network.layers, strict=True):
        layer.load_state_dict(trained.state_dict())
    described = {**inner.config.to_dict(), "model_type": inner.config.model_type}
    described.pop("_name_or_path", None)  # a path of this machine
    tokenizer = copy.deepcopy(encoder.tokenizer)
    tokenizer.model_max_length = VERY_LARGE_INTEGER  # the model cuts; a tokenizer would take the start alone
    max_tokens, head_tokens, pair = config.data.max_length, config.data.head_tokens, config.data.pair
    beside: dict[str, Any] = {}  # models without these are described as before
    if pair is not None:  # which the tokenizer cuts, as only it can
        tokenizer.model_max_length = max_tokens
        beside["pair"] = list(pair)
        beside["segments"] = has_segments(tokenizer) and embeds_segments(encoder.model)
    if temperature != 1:
        beside["logit_temperature"] = temperature
    if config.data.task == "several_labels":
        beside["problem_type"] = "multi_label_classification"
    if config.metric == "quadratic_kappa" and not thresholds:
        beside["decides"] = "median"
    if thresholds:
        beside["thresholds"] = dict(thresholds)
    head, _ = cut_points(tokenizer, max_length=max_tokens, head_tokens=head_tokens)
    with torch.random.fork_rng(devices=[]):  # its first weights are random, and replaced at once
        model = FrostlineForSequenceClassification(
            FrostlineConfig(
                encoder=described,
                pooling=config.encoder.pooling,
                head_width=config.head_width,
                dropout=config.dropout,
                max_tokens=max_tokens,
                head_tokens=head_tokens,
                start_tokens=None if pair else len(special_tokens(tokenizer)[0]) + head,
                clean=config.data.clean,
                id2label=dict(enumerate(names)),
                label2id={name: i for i, name in enumerate(names)},
                **beside,
            )
        )
    model.encoder.load_state_dict(inner.state_dict())
    model.head.load_state_dict(network.head.state_dict())
    model.train(mode=False)
    return Classifier(model=model, tokenizer=tokenizer)


def save(
    classifier: Classifier,
    folder: Path,
    *,
    files: Mapping[str, str] | None = None,
    onnx: bool = False,
    copied: Path | None = None,
) -> None:
    """Write model and tokenizer so that ``folder`` is at every moment whole: the old one, or the new one.

    Args:
        classifier: What to save.
        folder: Where.
        files: Further texts that belong there, such as a card, by name.
        onnx: Write the model as ONNX, too.
        copied: Folder of further files that belong there; None if there are none.

    Raises:
        InputError: The folder cannot be written, holds something that is no model, or the model cannot be had as
            ONNX.
    """
    if folder.is_file() or (
        folder.is_dir() and not (folder / "config.json").is_file() and any(folder.iterdir())
    ):
        raise InputError(f"{folder} is neither empty nor a model directory; give another folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            fresh = Path(scratch) / "new"
            with quiet_transformers():
                classifier.model.save_pretrained(fresh)
                classifier.tokenizer.save_pretrained(fresh)
            for name, text in (files or {}).items():
                (fresh / name).write_text(text, encoding="utf-8")
            if copied is not None:
                shutil.copytree(copied, fresh, dirs_exist_ok=True)
            if onnx:
                from trainers.model.onnx import export_onnx

                export_onnx(classifier.model, fresh / "model.onnx")
            write_checksums(fresh)
            old = Path(scratch) / "old"
            try:
                if folder.exists():
                    folder.rename(old)
                fresh.rename(folder)
            except BaseException:
                if old.exists():
                    old.rename(folder)
                raise
    except OSError as error:
        raise InputError(
            f"the model directory {folder} must be writable with room for it, got: {error.strerror or error}; "
            "free space or give another folder"
        ) from error


def load(folder: str | Path, *, device: Device = "cpu") -> Classifier:
    """Load a saved classifier, checking that it is as it was saved, and nothing of it missing or damaged.

    Args:
        folder: As ``save`` wrote it.
        device: Where it predicts.

    Raises:
        InputError: It is missing or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no model directory {folder}; export one with: python -m search.export")
    what = "the fine-tuned model"
    code = KnownCode(CODE.name, frozenset({sha256_of(CODE), *RELEASED.values(), *BETWEEN}))
    check_files(folder, what=what, code=code)
    verify_checksums(folder, what=what)
    model = load_checked(FrostlineForSequenceClassification, folder, what=what, code=code)
    if cleaning(model) not in get_args(Clean):
        raise InputError(
            f"{what}: clean in {folder / 'config.json'} must be one of {', '.join(get_args(Clean))}, got "
            f"{cleaning(model)!r}; a newer version of Frostline may know it: pip install -U frostline"
        )
    check_decisions(model, what=f"{what}: {folder / 'config.json'}")
    tokenizer = load_tokenizer(folder, what=what)
    check_vocabulary(model.encoder, tokenizer, what=what)
    return Classifier(model=model.to(device), tokenizer=tokenizer)


def weights_sha256(network: Network) -> str:
    """Return a fingerprint of all trained weights: equal bits, equal fingerprint."""
    total = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.contiguous().cpu().numpy().tobytes())
    return total.hexdigest()

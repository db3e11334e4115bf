"""Which families of encoders can be cut, and how a section of one runs.

A section is a shallow copy of the whole model with fewer layers, and runs through the model's own ``forward``. Layers need
more than hidden states: attention masks, sliding windows, position biases, relative or rotary embeddings. ``forward`` makes
these as in the whole model, so that no code here depends on the arguments of a family.

Shapes: B texts, T tokens of the longest one, D hidden size.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainers.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SUPPORTED = "BERT, DistilBERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, MPNet, DeBERTa or ModernBERT"

EMBEDDINGS = "embeddings"
PROJECTION = "embeddings_project"
"""Small ELECTRA: embeddings are narrower than layers."""

LAYERS = ("encoder.layer", "transformer.layer", "layers")
FIRST_LAYERS_OWN = "encoder.conv"
"""Large DeBERTa-v2: works on the output of layer 1, and stands beside the layers."""

FINAL_NORM = "final_norm"
"""ModernBERT: normalises what the last layer gives."""

POOLER = "pooler"


@dataclass(frozen=True)
class Anatomy:
    """Paths of a model's parts.

    Attributes:
        layers: The list of layers.
        beside: Parts with weights that are neither embeddings nor layers, but that all layers use. They are trained at freeze depth 0 alone, with the embeddings.
        final_norm: What runs after the last layer, and is trained with it; None in most families.
    """

    layers: str
    beside: tuple[str, ...]
    final_norm: str | None


def dissect(model: PreTrainedModel, name: str) -> Anatomy:
    """Find a model's parts, and check on a few tokens that its sections, one after the other, give what the whole model gives.

    Raises:
        InputError: Its family cannot be cut; the message says why.
    """
    config: Any = model.config
    layers = next((path for path in LAYERS if _is_layer_list(model, path)), None)
    if model.main_input_name != "input_ids":
        raise _refusal(model, name, "which does not read text")
    if getattr(config, "is_encoder_decoder", False):
        raise _refusal(model, name, "which is an encoder-decoder")
    if getattr(config, "is_decoder", False):
        raise _refusal(model, name, "which is set up as a decoder")
    if hasattr(config, "num_hidden_groups"):
        raise _refusal(model, name, "whose layers share their weights, so that none can be frozen alone")
    if layers is None or not isinstance(_at(model, EMBEDDINGS), nn.Module):
        raise _refusal(
            model, name, "which does not keep embeddings and a list of layers where an encoder does"
        )
    owner = layers.rpartition(".")[0]
    known = {owner, layers, EMBEDDINGS, FINAL_NORM, POOLER}
    paths = [p for p, _ in model.named_children()]
    if owner:
        paths += [f"{owner}.{p}" for p, _ in model.get_submodule(owner).named_children()]
    anatomy = Anatomy(
        layers=layers,
        beside=tuple(p for p in paths if p not in known and any(True for _ in _at(model, p).parameters())),
        final_norm=FINAL_NORM if isinstance(_at(model, FINAL_NORM), nn.Module) else None,
    )
    whole_BTD, cut_BTD = _whole_and_sections(model, anatomy)
    if not whole_BTD.isfinite().all():
        raise _refusal(model, name, "which gives numbers that are not finite")
    if not torch.allclose(cut_BTD, whole_BTD, rtol=1e-3, atol=1e-4):
        raise _refusal(model, name, "whose layers, one after the other, do not give what the whole gives")
    return anatomy


def section(
    model: PreTrainedModel,
    anatomy: Anatomy,
    *,
    start: int | None,
    stop: int,
    parts: Mapping[str, nn.Module] | None = None,
) -> PreTrainedModel:
    """Return a copy of ``model`` that runs the layers from ``start`` to ``stop`` and shares all weights.

    Args:
        model: The whole model.
        anatomy: Its parts.
        start: Layers that the inputs have already been through; None enters before the embeddings.
        stop: Layers that the outputs have been through; at the last one, its final norm, too.
        parts: Parts that replace the model's own, by path; layers are those of the section.
    """
    layers: Any = model.get_submodule(anatomy.layers)
    exchanged: dict[str, nn.Module | None] = {anatomy.layers: layers[start or 0 : stop]}
    if start is not None:
        exchanged |= {EMBEDDINGS: _Entrance(), PROJECTION: nn.Identity(), FIRST_LAYERS_OWN: None}
    if stop < len(layers) and anatomy.final_norm is not None:
        exchanged[anatomy.final_norm] = nn.Identity()
    exchanged |= {POOLER: None, **(parts or {})}
    twin: PreTrainedModel = _twin(model)
    for path, part in exchanged.items():
        if _at(model, path) is not None:
            _exchange(twin, path, part)
    return twin


def run(
    part: PreTrainedModel, inputs: Tensor, mask_BT: Tensor | None, segments_BT: Tensor | None = None
) -> Tensor:
    """Return hidden_BTD of ids_BT, or of hidden_BTD that enters between layers.

    Args:
        part: A section.
        inputs: ids_BT or hidden_BTD.
        mask_BT: True where there is a token; None if nothing is padded.
        segments_BT: Which of two texts each token is from, for embeddings that have segments; None is segment 0 throughout.
    """
    name = "inputs_embeds" if inputs.is_floating_point() else "input_ids"
    attended_BT = None if mask_BT is None else mask_BT.long()  # DeBERTa computes with it
    more = {}
    if segments_BT is not None and name == "input_ids" and embeds_segments(part):
        more["token_type_ids"] = segments_BT
    hidden_BTD: Tensor = part(**{name: inputs}, attention_mask=attended_BT, **more).last_hidden_state
    return hidden_BTD


def embeds_segments(model: nn.Module) -> bool:
    """Tell whether a model's embeddings tell two texts apart: BERT's, ELECTRA's and some of DeBERTa's do."""
    table = _at(model, f"{EMBEDDINGS}.token_type_embeddings")
    return isinstance(table, nn.Embedding) and table.num_embeddings > 1


def set_dropout(module: nn.Module, rate: float) -> None:
    """Set hidden dropout to ``rate`` and attention dropout to 0 in a copied encoder part.

    Attention dropout above 0 drops scaled_dot_product_attention to its slow kernel on the CPU (about 80
    against 129 GFLOP/s over a training step of MiniLM).
    """
    for part in module.modules():
        if hasattr(part, "attention_dropout"):  # a rate, in ModernBERT
            setattr(part, "attention_dropout", 0.0)  # noqa: B010
        attends = type(part).__name__.endswith("SelfAttention")
        for name, child in part.named_children():
            if isinstance(child, nn.Dropout):
                child.p = 0.0 if attends and name == "dropout" else rate


def weights_a_token(layer: nn.Module) -> int:
    """Count the weights of one layer that each token is multiplied with; those for relative positions are not."""
    return sum(
        part.weight.numel()
        for path, part in layer.named_modules()
        if isinstance(part, nn.Linear) and not path.rpartition(".")[2].startswith("pos_")
    )


class _Entrance(nn.Module):
    """Replaces the embeddings, and returns the hidden states of the layers below."""

    def forward(
        self,
        input_ids: Tensor | None = None,  # noqa: ARG002
        inputs_embeds: Tensor | None = None,
        *_: Any,
        **__: Any,
    ) -> Tensor | None:
        """Return inputs_embeds as they are."""
        return inputs_embeds


def _refusal(model: PreTrainedModel, name: str, reason: str) -> InputError:
    return InputError(
        f"encoder {name!r} is a {type(model).__name__}, {reason}; use an encoder such as {SUPPORTED}"
    )


def _is_layer_list(model: PreTrainedModel, path: str) -> bool:
    layers = _at(model, path)
    return isinstance(layers, nn.ModuleList) and len(layers) == getattr(
        model.config, "num_hidden_layers", None
    )


@torch.no_grad()
def _whole_and_sections(model: PreTrainedModel, anatomy: Anatomy) -> tuple[Tensor, Tensor]:
    """Return what the whole model gives for a few tokens, and its layers one after the other."""
    ids_BT = torch.arange(16).remainder(model.config.vocab_size).view(2, 8)
    mask_BT = torch.arange(8) < torch.tensor([[8], [5]])
    whole_BTD = run(model, ids_BT, mask_BT)
    hidden_BTD = ids_BT
    for depth in range(model.config.num_hidden_layers):
        part = section(model, anatomy, start=depth or None, stop=depth + 1)
        hidden_BTD = run(part, hidden_BTD, mask_BT)
    return whole_BTD[mask_BT], hidden_BTD[mask_BT]


def _at(model: nn.Module, path: str) -> Any:
    """Return the part at a path; None if there is none."""
    found: Any = model
    for step in path.split("."):
        found = getattr(found, step, None)
    return found


def _exchange(twin: nn.Module, path: str, part: nn.Module | None) -> None:
    """Replace a part; the modules that hold it are copied, too, so that the original stays as it is."""
    *way, name = path.split(".")
    owner = twin
    for step in way:
        held = _twin(getattr(owner, step))
        setattr(owner, step, held)
        owner = held
    setattr(owner, name, part)


def _twin(module: Any) -> Any:
    """Return a shallow copy of a module that holds the same parts, which may then be replaced."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin

"""The frozen layers, run once over a split: what they give at some depths, batch by batch.

Shapes: B texts, T tokens of the longest one, D hidden size, S tokens of a batch without padding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import joblib
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.config import FixedPrecision
from trainers.encoder import POOLER, Encoder, run
from trainers.errors import InputError
from trainers.fit.batching import Indices, sorted_batches
from trainers.fit.device import kind
from trainers.fit.inputs import Batch, SplitInputs
from trainers.fit.precision import computing_in
from trainers.modeling_frostline import pool

WORDS_SHOWN = 60
"""Characters of a text that an error shows."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Piece:
    """What the frozen layers give for one batch.

    Attributes:
        rows: Its texts.
        values: values_SD at each depth that was asked for in a number format, of the last layer pooled_BD.
        largest: The largest absolute value at each depth that was asked for.
    """

    rows: Indices
    values: dict[int, npt.NDArray[np.floating]]
    largest: dict[int, float]


@dataclass(frozen=True)
class Prefix:
    """An encoder's layers, how what the last one gives is pooled, and the number format that they compute in."""

    encoder: Encoder
    pooling: str
    precision: FixedPrecision = "float32"

    def run(self, inputs: SplitInputs, asked: Mapping[int, np.dtype[np.floating] | None]) -> Iterator[Piece]:
        """Yield the pieces of a split in the order of ``sorted_batches``, which does not depend on ``asked``.

        Args:
            inputs: Token ids.
            asked: Depths, ascending, each with the format of its values; None where they are measured alone.

        Raises:
            InputError: Some value is not finite.
        """
        depths = list(asked)
        stages = [
            (depth, self.encoder.section(start=start, stop=depth))
            for start, depth in zip([None, *depths[:-1]], depths, strict=True)
        ]
        pooler = getattr(self.encoder.model, POOLER, None)

        def compute(rows: Indices) -> Piece:
            torch.set_num_threads(1)
            batch = inputs.batch(rows)
            piece = Piece(rows, {}, {})
            hidden = batch.inputs
            with torch.inference_mode():
                for depth, stage in stages:
                    with computing_in(self.precision, self.encoder.device):
                        hidden = run(stage, hidden, batch.mask_BT, batch.segments_BT).float()
                    if depth == self.encoder.num_layers:
                        given = pool(hidden, batch.mask_BT, pooling=self.pooling, pooler=pooler)
                    else:
                        given = hidden if batch.mask_BT is None else hidden[batch.mask_BT]
                        given = given.reshape(-1, self.encoder.hidden_size)
                    low, high = (float(end) for end in given.aminmax())
                    if not (np.isfinite(low) and np.isfinite(high)):
                        raise self._refusal(batch, hidden, depth)
                    piece.largest[depth] = max(-low, high)
                    dtype = asked[depth]
                    if dtype is not None:
                        with np.errstate(over="ignore"):  # the depth is then built again, in float32
                            piece.values[depth] = given.cpu().numpy().astype(dtype)
            return piece

        # Threads share a GPU's queue, and would fill its memory.
        num_threads = joblib.cpu_count(only_physical_cores=True) if kind(self.encoder.device) == "cpu" else 1
        return _side_by_side(compute, sorted_batches(inputs.lengths_N), num_threads=num_threads)

    def _refusal(self, batch: Batch, hidden_BTD: Tensor, depth: int) -> InputError:
        """Name the first text of a batch for which a layer gives a number that is not finite."""
        mask_BT = torch.ones_like(batch.inputs, dtype=torch.bool) if batch.mask_BT is None else batch.mask_BT
        broken_BT = ~hidden_BTD.isfinite().all(dim=2) & mask_BT
        where = "pooling" if not broken_BT.any() else f"layer {depth}"
        row = int(broken_BT.any(dim=1).int().argmax())
        ids = batch.inputs[row][mask_BT[row]].tolist()
        text = self.encoder.tokenizer.decode(ids, skip_special_tokens=True)
        shown = text if len(text) <= WORDS_SHOWN else f"{text[:WORDS_SHOWN]}..."
        return InputError(
            f"encoder {self.encoder.name!r} must give finite numbers, but its {where} gives nan or infinity for the "
            f"text {shown!r}; use another encoder, or leave such texts out"
        )


def _side_by_side(
    compute: Callable[[Indices], _Result], batches: Sequence[Indices], *, num_threads: int
) -> Iterator[_Result]:
    """Compute batches in order, one thread a core: faster than one batch after the other on all of them."""
    with ThreadPoolExecutor(num_threads) as executor:
        ahead: deque[Future[_Result]] = deque()
        for rows in batches:
            ahead.append(executor.submit(compute, rows))
            if len(ahead) > 2 * num_threads:  # what waits to be written takes memory
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

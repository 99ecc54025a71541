"""Weights as 8-bit numbers: one scale for every output, found by least squares; computed with in 32 bits as before.

A matrix or kernel ``name`` of (out, …) numbers is kept as int8 of the same shape and ``name.scale`` (out,): output
``o`` has the weights ``scale[o] · number[o]``. Batch normalisation changes a kernel by one factor for every output,
too, so that an exported network, which has it folded in, uses the very same numbers with other scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reid_models.card import existing, read_header
from reid_models.errors import ReidError

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".scale"
FEWEST = 1024
"""Smaller ones keep their bits: they weigh nothing."""
MOST = 127
_SHARES = np.linspace(0.7, 1.0, 16)
_SAME = 1e-5


def rounded(weights: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Numbers and scales of (out, …) weights, with the least squared error of 16 scales tried for each output.

    Raises:
        ReidError: a weight is not finite.
    """
    rows = np.asarray(weights, np.float64).reshape(len(weights), -1)
    if not np.isfinite(rows).all():
        raise ReidError("weights that are not finite numbers cannot be kept as 8-bit numbers")
    largest = np.abs(rows).max(axis=1, initial=0)
    whole = np.where(largest > 0, largest, 1) / MOST
    numbers, scale, least = np.zeros(rows.shape), whole.copy(), np.full(len(rows), np.inf)
    for share in _SHARES:
        tried = np.clip(np.rint(rows / (whole * share)[:, None]), -MOST, MOST)
        error = ((tried * (whole * share)[:, None] - rows) ** 2).sum(axis=1)
        better = error < least
        numbers[better], scale[better], least[better] = tried[better], (whole * share)[better], error[better]
    return numbers.astype(np.int8).reshape(weights.shape), scale.astype(np.float32)


def rescaled(weights: NDArray[Any], numbers: NDArray[np.int8]) -> NDArray[np.float32] | None:
    """The scales, of either sign, by which these numbers give these weights; None where there are none."""
    rows, whole = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (weights, numbers))
    power = (whole**2).sum(axis=1)
    scale = (rows * whole).sum(axis=1) / np.where(power > 0, power, 1)
    off = np.abs(scale[:, None] * whole - rows).max(initial=0)
    return scale.astype(np.float32) if off <= _SAME * np.abs(rows).max(initial=0) else None


@dataclass(frozen=True, eq=False)
class Stored:
    """8-bit numbers of a file, and the byte where they begin in it."""

    values: NDArray[np.int8]
    offset: int


def stored_numbers(path: Path) -> dict[str, Stored]:
    """The 8-bit weights of a ``.safetensors`` file by name; needs no torch.

    Raises:
        ReidError: it is no such file.
    """
    header, first = read_header(existing(path))
    data, found = path.read_bytes(), {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "I8":
            low, high = entry["data_offsets"]
            values = np.frombuffer(data[first + low : first + high], np.int8).reshape(entry["shape"])
            found[name] = Stored(values, first + low)
    return found


def packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by name, the large ones of more than one dimension as numbers and scales."""
    import torch

    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.float32 and tensor.ndim > 1 and tensor.numel() >= FEWEST:
            numbers, scale = rounded(tensor.numpy())
            kept[name], kept[name + SUFFIX] = torch.from_numpy(numbers), torch.from_numpy(scale)
        else:
            kept[name] = tensor
    return kept


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with their weights in 32 bits; what is not packed stays as it is."""
    import torch

    pairs = {n for n, t in tensors.items() if t.dtype == torch.int8 and n + SUFFIX in tensors}
    return {n: t.float() * tensors[n + SUFFIX].reshape(-1, *(1,) * (t.ndim - 1)) if n in pairs else t
            for n, t in tensors.items() if n.removesuffix(SUFFIX) not in pairs or n in pairs}

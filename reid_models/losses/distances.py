"""What the losses share: exact distances in full precision, who is whose positive, and reductions."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

P = ParamSpec("P")
R = TypeVar("R")


def in_full_precision(function: Callable[Concatenate[Tensor, P], R]) -> Callable[Concatenate[Tensor, P], R]:
    """Run a function of a tensor without autocast and with its first argument in float32 (float64 stays)."""

    @wraps(function)
    def wrapped(first: Tensor, /, *rest: P.args, **options: P.kwargs) -> R:
        with torch.autocast(first.device.type, enabled=False):
            return function(full(first), *rest, **options)

    return wrapped


def full(values: Tensor) -> Tensor:
    """The values in float32 if they come in half precision."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def pairwise_distances(features: Tensor, normalise: bool = False) -> Tensor:
    """(n, n) Euclidean distances of (n, d) rows, of their unit rows if ``normalise``.

    Differences, not inner products: ‖x‖² − 2xy + ‖y‖² loses the small distances of unnormalised features, and those
    are the ones that a loss on hard negatives looks at. The gradient of two equal rows is 0.
    """
    rows = functional.normalize(features, dim=1) if normalise else features
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")


def pair_masks(pid: Tensor) -> tuple[Tensor, Tensor]:
    """(n, n) bool: who is another picture of the same person, and who is a picture of somebody else.

    A picture of nobody known (pid below 0) is neither, to anyone.
    """
    known = pid >= 0
    both = known[:, None] & known[None, :]
    same = pid[:, None] == pid[None, :]
    itself = torch.eye(len(pid), dtype=torch.bool, device=pid.device)
    return both & same & ~itself, both & ~same


def reduce(values: Tensor, valid: Tensor, reduction: str = "mean") -> Tensor:
    """The mean or the sum of those values that are valid, or the mean of those above 0 (``nonzero``); 0 of none.

    Nothing here asks the device for a count, so that a GPU need not wait, and the result always hangs in the graph.
    """
    kept = torch.where(valid, values, 0)
    if reduction == "sum":
        return kept.sum()
    return kept.sum() / ((kept > 0) if reduction == "nonzero" else valid).sum().clamp(min=1)

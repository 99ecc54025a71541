"""From a feature map to one number per channel, in float32 whatever the autocast says."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reid_models.errors import ReidError
from reid_models.layers.precision import at_least_float32

SMALLEST = 1e-6
"""Values are clamped to it: x^p and its gradient are finite at 0, and channels that are all 0 pool to nearly 0."""
LEAST_POWER = 0.05


class GeM(nn.Module):
    """(n, c, h, w) → (n, c): generalised mean, Robust-ReID eq. (6): ``(mean_i x_i^p)^(1/p)``, one p per channel.

    p is trained. p = 1 is the mean, p → ∞ the maximum. As ``exp((logsumexp(p log x) - log n) / p)`` it neither
    overflows nor underflows at any p, in float32 also under autocast (x³ leaves float16 at x = 41).
    """

    def __init__(self, channels: int, p: float = 3.0) -> None:
        super().__init__()
        if not math.isfinite(p) or p < LEAST_POWER:
            raise ReidError(f"GeM: p {p}: expected a number of at least {LEAST_POWER}")
        self.p = nn.Parameter(torch.full((channels,), float(p)))

    def forward(self, x: Tensor) -> Tensor:
        """Pool; negative values count as 0."""
        with torch.autocast(x.device.type, enabled=False):
            p = at_least_float32(self.p).clamp(min=LEAST_POWER)
            logs = at_least_float32(x).flatten(2).clamp(min=SMALLEST).log()
            total = torch.logsumexp(logs * p[:, None], dim=2)
            return ((total - math.log(logs.shape[2])) / p).exp()


class AveragePool(nn.Module):
    """(n, c, h, w) → (n, c) float32: the mean."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        return at_least_float32(x).mean((2, 3))


class MaxPool(nn.Module):
    """(n, c, h, w) → (n, c) float32: the largest value."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        return at_least_float32(x).amax((2, 3))


POOLINGS = ("gem", "average", "max")


def pooling(kind: str, channels: int) -> nn.Module:
    """Build one of :data:`POOLINGS`.

    Raises:
        ReidError: there is no such pooling.
    """
    if kind == "gem":
        return GeM(channels)
    if kind == "average":
        return AveragePool()
    if kind == "max":
        return MaxPool()
    raise ReidError(f"pooling '{kind}': expected one of {', '.join(POOLINGS)}")

"""From a pooled vector to a descriptor and to class scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from reid_models.layers.precision import at_least_float32


class LinearHead(nn.Module):
    """(n, inputs) → (n, outputs): linear, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Apply all three."""
        y: Tensor = self.bn(self.linear(x))
        return y.relu()


def unit_rows(x: Tensor) -> Tensor:
    """(n, d) → the same in float32, each row of length 1 (a row of zeros stays one)."""
    with torch.autocast(x.device.type, enabled=False):
        return F.normalize(at_least_float32(x), dim=1)


def joined_unit_rows(parts: list[Tensor]) -> Tensor:
    """(n, d) each → (n, Σd): the parts' unit rows side by side, scaled to length 1 together, each part alike."""
    return torch.cat([unit_rows(part) for part in parts], dim=1) * len(parts) ** -0.5


def classifier(inputs: int, classes: int) -> nn.Linear:
    """Class scores without bias (BagOfTricks, as in the ablation of Robust-ReID)."""
    return nn.Linear(inputs, classes, bias=False)

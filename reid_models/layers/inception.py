"""The inception blocks of HA-CNN (Li et al., CVPR 2018), which Robust-ReID replaces by shuffle blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid_models.errors import ReidError
from reid_models.layers.conv import ConvBN


class InceptionA(nn.Module):
    """(n, c, h, w) → (n, out, h, w): three branches of 1 × 1 and 3 × 3, one of a mean and 1 × 1; out/4 each."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        width = _quarter(outputs, "A")
        branches = [nn.Sequential(ConvBN(inputs, width), ConvBN(width, width, 3)) for _ in range(3)]
        pooled = nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), ConvBN(inputs, width))
        self.branches = nn.ModuleList([*branches, pooled])

    def forward(self, x: Tensor) -> Tensor:
        """All branches side by side."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class InceptionB(nn.Module):
    """(n, c, h, w) → (n, out, h/2, w/2): 1 × 1 and one or two 3 × 3 (out/4 each), maximum pooling and 1 × 1 (out/2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        width = _quarter(outputs, "B")
        shallow = nn.Sequential(ConvBN(inputs, width), ConvBN(width, width, 3, stride=2))
        deep = nn.Sequential(ConvBN(inputs, width), ConvBN(width, width, 3), ConvBN(width, width, 3, stride=2))
        pooled = nn.Sequential(nn.MaxPool2d(3, 2, 1), ConvBN(inputs, 2 * width))
        self.branches = nn.ModuleList([shallow, deep, pooled])

    def forward(self, x: Tensor) -> Tensor:
        """All branches side by side."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def _quarter(outputs: int, name: str) -> int:
    if outputs % 4:
        raise ReidError(f"Inception-{name} joins quarters: {outputs} outputs is no multiple of 4")
    return outputs // 4


def inception_stage(inputs: int, outputs: int, repeat: int = 1) -> nn.Sequential:
    """``repeat`` × Inception-A at the full size, then Inception-B that halves it (HA-CNN: once)."""
    widths = [inputs] + [outputs] * repeat
    blocks = [InceptionA(widths[i], widths[i + 1]) for i in range(repeat)]
    return nn.Sequential(*blocks, InceptionB(widths[-1], outputs))

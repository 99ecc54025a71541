"""The two shuffle blocks of Robust-ReID (Fig. 5), after ShuffleNet v2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid_models.errors import ReidError
from reid_models.layers.conv import ConvBN, depthwise


def channel_shuffle(x: Tensor) -> Tensor:
    """(n, c, h, w), c even: the two halves of the channels are interleaved: a₀ b₀ a₁ b₁ …"""
    n, c, h, w = x.shape
    return x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleA(nn.Module):
    """(n, c, h, w) → the same: half the channels stay, the others pass 1 × 1, depth-wise 3 × 3, 1 × 1; then a shuffle.

    ReLU after both 1 × 1, none after the depth-wise convolution. 2 (c/2)² + 15 c/2 parameters, of which 6 · c/2 are
    of batch normalisation.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % 2:
            raise ReidError(f"Shuffle-A splits its channels into halves: {channels} is odd")
        half = channels // 2
        self.branch = nn.Sequential(ConvBN(half, half), depthwise(half), ConvBN(half, half))

    def forward(self, x: Tensor) -> Tensor:
        """Split, transform the second half, join, shuffle."""
        stays, changes = x.chunk(2, dim=1)
        return channel_shuffle(torch.cat((stays, self.branch(changes)), dim=1))


class ShuffleB(nn.Module):
    """(n, c, h, w) → (n, out, h/stride, w/stride): both branches see all of the input; for new widths or sizes.

    The first branch is depth-wise 3 × 3 and 1 × 1, the second 1 × 1, depth-wise 3 × 3 and 1 × 1; each gives half of
    the outputs, which are joined and shuffled. ReLU after each 1 × 1.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        if outputs % 2:
            raise ReidError(f"Shuffle-B joins two halves: {outputs} outputs is odd")
        half = outputs // 2
        self.short = nn.Sequential(depthwise(inputs, stride), ConvBN(inputs, half))
        self.long = nn.Sequential(ConvBN(inputs, half), depthwise(half, stride), ConvBN(half, half))

    def forward(self, x: Tensor) -> Tensor:
        """Both branches, joined and shuffled."""
        return channel_shuffle(torch.cat((self.short(x), self.long(x)), dim=1))


def shuffle_stage(inputs: int, outputs: int, repeat: int) -> nn.Sequential:
    """Table 1: Shuffle-B at the full size, ``repeat`` × Shuffle-A, Shuffle-B that halves the size."""
    return nn.Sequential(
        ShuffleB(inputs, outputs), *(ShuffleA(outputs) for _ in range(repeat)), ShuffleB(outputs, outputs, 2)
    )

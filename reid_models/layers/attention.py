"""Harmonious attention (Li et al., CVPR 2018): soft over places and channels, hard over four regions.

Regions are cut out by two matrix products, rows and columns apart, which for windows without rotation is exactly the
bilinear sampling of a spatial transformer with its border repeated; unlike ``grid_sample`` its gradient is summed in
the same order every time on a GPU, and it is fast everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from reid_models.layers.conv import ConvBN
from reid_models.layers.precision import at_least_float32

REGIONS = 4


class SoftAttention(nn.Module):
    """(n, c, h, w) → the same, each value in 0…1: what to weigh the features by.

    A map of places (mean over the channels, 3 × 3 with stride 2, enlarged again, 1 × 1) times a vector of channels
    (mean over the places, c → c/r → c), mixed by a 1 × 1 convolution over the channels, sigmoid.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        squeezed = max(1, channels // reduction)
        self.spatial = ConvBN(1, 1, 3, stride=2)
        self.spatial_out = ConvBN(1, 1)
        self.squeeze = ConvBN(channels, squeezed)
        self.excite = ConvBN(squeezed, channels)
        self.mix = ConvBN(channels, channels, relu=False)

    def places(self, x: Tensor) -> Tensor:
        """(n, 1, h, w): the weight of each place, before mixing."""
        coarse = self.spatial(x.mean(1, keepdim=True))
        # size, not scale_factor: a map with an odd number of rows must come back to its own size
        fine = F.interpolate(coarse, size=x.shape[2:], mode="bilinear", align_corners=False)
        return self.spatial_out(fine)

    def channels(self, x: Tensor) -> Tensor:
        """(n, c, 1, 1): the weight of each channel, before mixing."""
        return self.excite(self.squeeze(x.mean((2, 3), keepdim=True)))

    def forward(self, x: Tensor) -> Tensor:
        """The weights (not yet multiplied with x)."""
        return torch.sigmoid(self.mix(self.places(x) * self.channels(x)))


class HardAttention(nn.Module):
    """(n, c, h, w) → (n, 4, 2) in -1…1: the centres (x, y) of four regions, each as wide as the map and a quarter high.

    They start at the exact quarters, whatever the features: the layer's weights start at 0 and its shift at
    ``atanh`` of the centres -¾, -¼, ¼, ¾. (With the centres themselves as the shift, ``tanh`` draws them together:
    the regions overlap and miss the edges.)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, REGIONS * 2)
        self.reset()

    def reset(self) -> None:
        """Back to the quarters; called again after a network has initialised its linear layers."""
        nn.init.zeros_(self.linear.weight)
        centres = torch.tensor([[0.0, (2 * i + 1) / REGIONS - 1] for i in range(REGIONS)])
        with torch.no_grad():
            self.linear.bias.copy_(torch.atanh(centres).flatten())

    def forward(self, x: Tensor) -> Tensor:
        """Centres in float32: a region's edge is a difference of nearly equal numbers in bfloat16."""
        with torch.autocast(x.device.type, enabled=False):
            mean = at_least_float32(x).mean((2, 3))
            return torch.tanh(self.linear(mean)).unflatten(1, (REGIONS, 2))


def sampling_matrix(centre: Tensor, share: float, size: int, out: int) -> Tensor:
    """(…,) centres in -1…1 → (…, out, size): rows that sample a window of a line of ``size`` values at ``out`` places.

    The window is ``share`` of the line long. Linear interpolation between the centres of the values, the outermost
    values repeated beyond the ends; every row sums to 1.
    """
    places = (2 * torch.arange(out, device=centre.device, dtype=centre.dtype) + 1) / out - 1
    position = ((centre[..., None] + share * places + 1) * size - 1) / 2
    values = torch.arange(size, device=centre.device, dtype=centre.dtype)
    return (1 - (position.clamp(0, size - 1)[..., None] - values).abs()).clamp(min=0)


def cut_regions(x: Tensor, centres: Tensor, out_hw: tuple[int, int]) -> Tensor:
    """(n, c, h, w), (n, 4, 2) → (n, 4, c, *out_hw): each region resampled bilinearly to ``out_hw``."""
    h, w = x.shape[2:]
    rows = sampling_matrix(centres[..., 1], 1 / REGIONS, h, out_hw[0]).to(x.dtype)
    columns = sampling_matrix(centres[..., 0], 1.0, w, out_hw[1]).to(x.dtype)
    return rows[:, :, None] @ x[:, None] @ columns[:, :, None].transpose(-1, -2)


class HarmoniousAttention(nn.Module):
    """Soft and hard attention on the output of one stage: ``(x · weights, centres of the regions)``."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.soft = SoftAttention(channels, reduction)
        self.hard = HardAttention(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, c, h, w) weighed features and (n, 4, 2) centres."""
        return x * self.soft(x), self.hard(x)


__all__ = ["REGIONS", "HardAttention", "HarmoniousAttention", "SoftAttention", "cut_regions", "sampling_matrix"]

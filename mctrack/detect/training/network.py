"""A small anchor-free person detector: a plain residual trunk, a feature pyramid, one head for all three levels.

Ordinary 3 × 3 convolutions throughout: on a CPU they run several times nearer to the machine's peak than depthwise
ones, so that 0.8 G multiply-adds at 512 × 384 pixels take fewer milliseconds than most "mobile" nets of half that.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

STRIDES = (8, 16, 32)
_WIDTHS = (16, 24, 48, 96, 160)
_NECK = 48


class _Conv(nn.Sequential):
    """3 × 3 convolution, batch normalisation, ReLU."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(True)
        )


class _Residual(nn.Module):
    """x + conv(conv(x)) through half the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_Conv(channels, channels // 2), _Conv(channels // 2, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class PersonNet(nn.Module):
    """(n, 3, h, w) RGB in 0…1, sides multiples of 32 → per cell of the three levels a score and a box.

    Cells are ordered as the levels are (strides 8, 16, 32), row by row.
    """

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d, e = _WIDTHS
        self.stem = nn.Sequential(_Conv(3, a, 2), _Conv(a, b, 2), _Residual(b))
        self.c3 = nn.Sequential(_Conv(b, c, 2), _Residual(c), _Residual(c))
        self.c4 = nn.Sequential(_Conv(c, d, 2), _Residual(d), _Residual(d))
        self.c5 = nn.Sequential(_Conv(d, e, 2), _Residual(e), _Residual(e))
        self.lateral = nn.ModuleList(_Conv(width, _NECK, kernel=1) for width in (c, d, e))
        self.smooth = nn.ModuleList(_Conv(_NECK, _NECK) for _ in range(2))
        self.towers = nn.ModuleList(nn.Sequential(_Conv(_NECK, _NECK), _Conv(_NECK, _NECK)) for _ in range(2))
        self.score = nn.Conv2d(_NECK, 1, 1)
        self.box = nn.Conv2d(_NECK, 4, 1)
        # A priori one cell in a hundred holds a person (Lin et al. 2017, focal loss, section 4.1).
        nn.init.constant_(self.score.bias, -4.6)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Train on these: (n, cells) logits, and (n, cells, 4) ``xyxy`` in input pixels."""
        c3 = self.c3(self.stem((images - 0.45) * 4))
        c4 = self.c4(c3)
        c5 = self.c5(c4)
        p5 = self.lateral[2](c5)
        p4 = self.smooth[1](self.lateral[1](c4) + F.interpolate(p5, scale_factor=2.0, mode="nearest"))
        p3 = self.smooth[0](self.lateral[0](c3) + F.interpolate(p4, scale_factor=2.0, mode="nearest"))
        logits, boxes = [], []
        for level, stride in zip((p3, p4, p5), STRIDES, strict=True):
            scores, sides = self.score(self.towers[0](level)), self.box(self.towers[1](level))
            logits.append(scores.flatten(1))
            boxes.append(_to_boxes(F.softplus(sides) * (2 * stride), stride))
        return torch.cat(logits, 1), torch.cat(boxes, 1)


def centres(height: Tensor | int, width: Tensor | int, stride: int, device: torch.device) -> Tensor:
    """(height · width, 2) x and y of the cells' centres in input pixels."""
    x = (torch.arange(width, device=device) + 0.5) * stride  # type: ignore[arg-type]
    y = (torch.arange(height, device=device) + 0.5) * stride  # type: ignore[arg-type]
    grid = torch.stack([x[None, :] + 0 * y[:, None], y[:, None] + 0 * x[None, :]], -1)
    return grid.reshape(-1, 2)


def cell_centres(height: int, width: int, device: torch.device) -> Tensor:
    """(cells, 2) centres of all cells for an input of this size."""
    return torch.cat([centres(height // s, width // s, s, device) for s in STRIDES])


def _to_boxes(sides: Tensor, stride: int) -> Tensor:
    """(n, 4, h, w) distances to left, top, right, bottom → (n, h · w, 4) ``xyxy``."""
    grid = centres(sides.shape[2], sides.shape[3], stride, sides.device)
    flat = sides.flatten(2).transpose(1, 2)
    return torch.cat([grid - flat[..., :2], grid + flat[..., 2:]], -1)


class Exported(nn.Module):
    """What goes into the ONNX file: the layout (n, 5, cells) that YOLOv8 exports have, centre, size and score."""

    def __init__(self, net: PersonNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        logits, xyxy = self.net(images)
        size = xyxy[..., 2:] - xyxy[..., :2]
        rows = torch.cat([xyxy[..., :2] + size / 2, size, logits.sigmoid()[..., None]], -1)
        return rows.transpose(1, 2)

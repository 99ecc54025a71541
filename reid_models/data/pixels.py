"""The single steps of augmentation: batches in, batches out. ``rows`` are the numbers of the pictures concerned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from reid_models.data.augment import AugmentOptions

_LUMA = (0.299, 0.587, 0.114)
_TRIES = 20
_LEVELS = 8


class Chance:
    """Draws for n pictures from one generator, on that generator's device."""

    def __init__(self, generator: Generator, n: int) -> None:
        self.generator, self.n = generator, n

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(n,) numbers, or of another shape."""
        drawn = torch.rand(shape or (self.n,), generator=self.generator, device=self.generator.device)
        return low + (high - low) * drawn

    def happens(self, probability: float) -> Tensor:
        """(n,) bool."""
        return self.uniform(0, 1) < probability

    def rows(self, probability: float) -> Tensor:
        """Numbers of the pictures to which something happens."""
        return self.happens(probability).nonzero()[:, 0]


def shift(images: Tensor, window: tuple[int, int], pad: int, mirrored: Tensor, chance: Chance) -> Tensor:
    """Cut a random window out of each padded picture, mirrored where asked for; (n, 3, h, w) → (n, 3, *window)."""
    h, w = images.shape[2:]
    height, width = window
    top = (chance.uniform(0, 1) * (h + 2 * pad - height + 1)).long() - pad
    left = (chance.uniform(0, 1) * (w + 2 * pad - width + 1)).long() - pad
    if window == (h, w) and not pad:
        return torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(3), images)
    y = (top[:, None] + torch.arange(height, device=top.device)).to(images.device)
    x = left[:, None] + torch.arange(width, device=left.device)
    x = torch.where(mirrored[:, None], x.flip(1), x).to(images.device)
    # a picture's pixels as one line, so that one index serves its three channels
    place = (y.clamp(0, h - 1)[:, :, None] * w + x.clamp(0, w - 1)[:, None, :]).flatten(1)
    cut = images.flatten(2).gather(2, place[:, None].expand(-1, 3, -1)).view(-1, 3, height, width)
    if pad:
        inside = ((y >= 0) & (y < h))[:, None, :, None] & ((x >= 0) & (x < w))[:, None, None, :]
        cut = cut * inside
    return cut


def enlarge(picture: Tensor, rows: Tensor, by: float, chance: Chance) -> Tensor:
    """Enlarge some pictures by a share, and keep a random part of the old size."""
    # of the enlarged picture's 1 + by, one part stays in view: its centre may move by ±by / (1 + by), in units of
    # half a picture
    slack = by / (1 + by)
    centre = chance.uniform(-slack, slack, chance.n, 2)[rows].to(picture.device)
    rows = rows.to(picture.device)
    if not len(rows):
        return picture
    zoom = torch.full((len(rows), 1), 1 / (1 + by), device=picture.device)
    nothing = torch.zeros_like(zoom)
    theta = torch.stack([torch.cat([zoom, nothing, centre[:, :1]], 1),
                         torch.cat([nothing, zoom, centre[:, 1:]], 1)], 1)
    grid = functional.affine_grid(theta, [len(rows), *picture.shape[1:]], align_corners=False)
    changed = functional.grid_sample(picture[rows], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return picture.index_copy(0, rows, changed)


def recolour(picture: Tensor, options: AugmentOptions, chance: Chance) -> Tensor:
    """Brightness, contrast, saturation, hue and grey, as one affine map of the colours of each picture.

    Grey pixels are left as they are by saturation and hue, so the steps can be multiplied beforehand.
    """
    device = picture.device
    some, grey = chance.happens(options.jitter), chance.happens(options.grey)
    brightness, contrast, saturation = (
        torch.where(some, chance.uniform(1 - x, 1 + x), torch.ones(())).to(device)
        for x in (options.brightness, options.contrast, options.saturation))
    angle = torch.where(some, chance.uniform(-1, 1) * (2 * math.pi * options.hue), torch.zeros(())).to(device)
    saturation = torch.where(grey.to(device), 0.0, saturation)
    luma = torch.tensor(_LUMA, device=device)
    to_grey = luma.expand(3, 3)
    fade = saturation[:, None, None] * torch.eye(3, device=device) + (1 - saturation)[:, None, None] * to_grey
    turn = _turn(angle)
    mean_grey = torch.einsum("c,nc->n", luma, picture.mean(dim=(2, 3)))
    matrix = (brightness * contrast)[:, None, None] * (turn @ fade)
    offset = (brightness * (1 - contrast) * mean_grey)[:, None, None].expand(-1, 3, 1)
    return torch.baddbmm(offset, matrix, picture.flatten(2)).clamp_(0, 1).view_as(picture)


def _turn(angle: Tensor) -> Tensor:
    """(n, 3, 3) rotations of the chrominance plane of YIQ by ``angle`` (n,) radians."""
    yiq = torch.tensor([_LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)], device=angle.device)
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rotation = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], 1).view(-1, 3, 3)
    return torch.linalg.inv(yiq) @ rotation @ yiq


def coarsen(picture: Tensor, rows: Tensor, scale: tuple[float, float], chance: Chance) -> Tensor:
    """Make some pictures small and large again, by one of eight factors from ``scale``."""
    h, w = picture.shape[2:]
    level = (chance.uniform(0, _LEVELS)[rows]).long().clamp_(max=_LEVELS - 1)
    factors = torch.linspace(*scale, _LEVELS).tolist()
    result = picture.clone() if len(rows) else picture
    for k, factor in enumerate(factors):
        of_level = rows[level == k].to(picture.device)
        if len(of_level):
            small = functional.interpolate(picture[of_level], (max(1, round(h * factor)), max(1, round(w * factor))),
                                  mode="bilinear", antialias=True)
            result[of_level] = functional.interpolate(small, (h, w), mode="bilinear", align_corners=False)
    return result


def blur(picture: Tensor, rows: Tensor, sigma_px: tuple[float, float], chance: Chance) -> Tensor:
    """Blur some pictures, each by a Gaussian of its own width."""
    sigma = chance.uniform(*sigma_px)[rows].to(picture.device)
    rows = rows.to(picture.device)
    if not len(rows):
        return picture
    radius = min(math.ceil(3 * sigma_px[1]), picture.shape[2] - 1, picture.shape[3] - 1)
    offset = torch.arange(-radius, radius + 1, device=picture.device)
    kernel = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, dim=0)
    lines = picture[rows].flatten(0, 1)[None]
    lines = functional.conv2d(functional.pad(lines, (0, 0, radius, radius), mode="reflect"), kernel[:, None, :, None],
                     groups=kernel.shape[0])
    lines = functional.conv2d(functional.pad(lines, (radius, radius, 0, 0), mode="reflect"), kernel[:, None, None, :],
                     groups=kernel.shape[0])
    return picture.index_copy(0, rows, lines.view(len(rows), *picture.shape[1:]))


def erase(picture: Tensor, options: AugmentOptions, chance: Chance) -> Tensor:
    """Random erasing (Zhong et al. 2017, algorithm 1): the first of 20 drawn rectangles that fits is filled."""
    n, _, h, w = picture.shape
    area = chance.uniform(*options.erase_area, n, _TRIES) * (h * w)
    ratio = chance.uniform(*options.erase_ratio, n, _TRIES)
    height, width = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (height >= 1) & (width >= 1) & (height < h) & (width < w)
    rows = (chance.happens(options.erase) & fits.any(1)).nonzero()[:, 0]
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    height, width = height.gather(1, first), width.gather(1, first)
    top = (chance.uniform(0, 1)[:, None] * (h - height + 1)).floor()
    left = (chance.uniform(0, 1)[:, None] * (w - width + 1)).floor()
    y, x = torch.arange(h, device=top.device), torch.arange(w, device=top.device)
    high, wide = (y >= top) & (y < top + height), (x >= left) & (x < left + width)
    hole = (high[rows, None, :, None] & wide[rows, None, None, :]).to(picture.device)
    if options.erase_fill == "random":
        filling = chance.uniform(0, 1, len(rows), *picture.shape[1:]).to(picture.device)
    else:
        values = options.mean if options.erase_fill == "mean" else (0.0, 0.0, 0.0)
        filling = torch.tensor(values, device=picture.device)[:, None, None]
    rows = rows.to(picture.device)
    return picture.index_copy(0, rows, torch.where(hole, filling, picture[rows]))


def standardise(picture: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """(x − mean) / std per channel, in place."""
    middle = torch.tensor(mean, device=picture.device)[:, None, None]
    return picture.sub_(middle).div_(torch.tensor(std, device=picture.device)[:, None, None])

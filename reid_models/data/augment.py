"""Augmentation of whole batches of uint8 pictures, on the device where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reid_models.data.options import interval, number, strictly
from reid_models.errors import ReidError

if TYPE_CHECKING:
    from torch import Generator, Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class AugmentOptions:
    """What is done to training pictures; numbers without a unit are probabilities of doing it to one.

    Attributes:
        hw: (height, width) that come out; None: as they went in. Smaller than the (padded) pictures: a random part.
        flip: mirrored.
        pad_px: black border added on all sides, out of which a part of the old size is cut at random.
        enlarge, enlarge_by: enlarged by that share, and a part of the old size cut at random (as HA-CNN is trained).
        erase: a random rectangle of it is erased (Zhong et al. 2017; the values are those of Robust-ReID, section 3).
        erase_area, erase_ratio: the rectangle's share of the picture, and its height : width.
        erase_fill: ``random`` values 0…255 a pixel, the ImageNet ``mean``, or ``zero``.
        jitter: other colours, within the four limits that follow.
        brightness, contrast, saturation: factors 1 − x … 1 + x.
        hue: turned by at most this part of the circle of colours.
        grey: without colours.
        resolution, resolution_scale: made smaller by a factor from this range, and large again.
        blur, blur_sigma_px: blurred by a Gaussian.
        mean, std: per channel (RGB, pictures in 0…1): what is subtracted, and divided by, at the end.
    """

    hw: tuple[int, int] | None = None
    flip: float = 0.5
    pad_px: int = 0
    enlarge: float = 0.0
    enlarge_by: float = 0.125
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_ratio: tuple[float, float] = (0.3, 3.3)
    erase_fill: str = "random"
    jitter: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.15
    saturation: float = 0.2
    hue: float = 0.03
    grey: float = 0.0
    resolution: float = 0.0
    resolution_scale: tuple[float, float] = (0.3, 0.9)
    blur: float = 0.0
    blur_sigma_px: tuple[float, float] = (0.3, 1.5)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        for name in ("flip", "enlarge", "erase", "jitter", "grey", "resolution", "blur"):
            number(f"augment: {name}", getattr(self, name), 0, 1)
        for name in ("brightness", "contrast", "saturation", "enlarge_by"):
            number(f"augment: {name}", getattr(self, name), 0, 1)
        number("augment: hue", self.hue, 0, 0.5)
        number("augment: pad_px", self.pad_px, 0, 1024)
        interval("augment: erase_area", self.erase_area, 0.001, 1)
        interval("augment: erase_ratio", self.erase_ratio, 0.01, 100)
        interval("augment: resolution_scale", self.resolution_scale, 0.01, 1)
        interval("augment: blur_sigma_px", self.blur_sigma_px, 0.01, 20)
        if self.erase_fill not in ("random", "mean", "zero"):
            raise ReidError(f"augment: erase_fill is {self.erase_fill!r}, expected random, mean or zero")
        if self.hw is not None and (len(self.hw) != 2 or not all(isinstance(v, int) and v > 0 for v in self.hw)):
            raise ReidError(f"augment: hw is {self.hw!r}, expected (height, width) in pixels")
        for name in ("mean", "std"):
            if len(getattr(self, name)) != 3 or (name == "std" and min(self.std) <= 0):
                raise ReidError(f"augment: {name} is {getattr(self, name)!r}, expected three numbers, std above 0")

    @staticmethod
    def from_mapping(values: Mapping[str, Any]) -> AugmentOptions:
        """From YAML or JSON.

        Raises:
            ReidError: an unknown option, or a value out of range.
        """
        return strictly(AugmentOptions, values, "augment")


class Augment:
    """Augments uint8 batches; keeps no state, and no chance of its own."""

    def __init__(self, options: AugmentOptions | Mapping[str, Any] | None = None) -> None:
        """Do what ``options`` say (a mapping is checked strictly)."""
        self.options = options if isinstance(options, AugmentOptions) else AugmentOptions.from_mapping(options or {})

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Return (n, 3, H, W) float32, normalised.

        Args:
            images: (n, 3, h, w) uint8 RGB on any device.
            generator: the only source of chance. A CPU generator gives the same choices for CPU and CUDA pictures.

        Raises:
            ReidError: no such batch, or pictures smaller than what is to come out.
        """
        from reid_models.data import pixels

        o = self.options
        _check(images)
        chance = pixels.Chance(generator, len(images))
        window = o.hw or (images.shape[2], images.shape[3])
        if min(images.shape[2] + 2 * o.pad_px - window[0], images.shape[3] + 2 * o.pad_px - window[1]) < 0:
            raise ReidError(f"augment: pictures of {images.shape[2]}×{images.shape[3]} padded by {o.pad_px} are too "
                            f"small for the {window[0]}×{window[1]} asked for")
        picture = pixels.shift(images, window, o.pad_px, chance.happens(o.flip), chance).float().div_(255)
        if o.enlarge:
            picture = pixels.enlarge(picture, chance.rows(o.enlarge), o.enlarge_by, chance)
        if o.jitter or o.grey:
            picture = pixels.recolour(picture, o, chance)
        if o.resolution:
            picture = pixels.coarsen(picture, chance.rows(o.resolution), o.resolution_scale, chance)
        if o.blur:
            picture = pixels.blur(picture, chance.rows(o.blur), o.blur_sigma_px, chance)
        if o.erase:
            picture = pixels.erase(picture, o, chance)
        return pixels.standardise(picture, o.mean, o.std)


def normalise(images: Tensor, mean: tuple[float, float, float] = IMAGENET_MEAN,
              std: tuple[float, float, float] = IMAGENET_STD) -> Tensor:
    """(n, 3, h, w) uint8 RGB → float32, (x / 255 − mean) / std: for pictures that are not augmented."""
    from reid_models.data import pixels

    _check(images)
    return pixels.standardise(images.float().div_(255), mean, std)


def _check(images: Tensor) -> None:
    import torch

    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ReidError(f"pictures have shape {tuple(images.shape)} and type {images.dtype}, "
                        "expected (n, 3, h, w) uint8")

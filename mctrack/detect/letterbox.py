"""Pictures of any size onto a network's input and boxes back again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.types import FloatArray, Image

PAD = 114
"""Grey of the border: what YOLOX and ultralytics train with."""


@dataclass(frozen=True)
class Letterbox:
    """Where a picture lies in a network's input; all in input pixels.

    Attributes:
        width, height: size of the picture there.
        left, top: its corner.
        scale_x, scale_y: input pixels per picture pixel. They differ by the rounding of ``width`` and
            ``height`` to whole pixels: using one scale for both shifts boxes at the far edge by up to a pixel.
    """

    width: int
    height: int
    left: int
    top: int
    scale_x: float
    scale_y: float

    @staticmethod
    def fit(size: tuple[int, int], target: tuple[int, int], centred: bool) -> Letterbox:
        """The largest placement that keeps the aspect.

        Args:
            size: (width, height) of the picture.
            target: (width, height) of the network's input.
            centred: border on both sides (ultralytics) or only right and below (YOLOX).
        """
        ratio = min(target[0] / size[0], target[1] / size[1])
        width = min(max(round(size[0] * ratio), 1), target[0])
        height = min(max(round(size[1] * ratio), 1), target[1])
        left = (target[0] - width) // 2 if centred else 0
        top = (target[1] - height) // 2 if centred else 0
        return Letterbox(width, height, left, top, width / size[0], height / size[1])

    def place(self, image: Image, canvas: Image) -> None:
        """Draw a picture (h, w, 3) onto a canvas (H, W, 3) that is already grey."""
        import cv2

        rows, cols = slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)
        if image.shape[:2] == (self.height, self.width):
            canvas[rows, cols] = image
        else:
            canvas[rows, cols] = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_LINEAR)

    def to_input(self, xyxy: FloatArray) -> FloatArray:
        """(n, 4) boxes in picture pixels to input pixels."""
        return xyxy * self._scale() + self._shift()

    def to_picture(self, xyxy: FloatArray) -> FloatArray:
        """(n, 4) boxes in input pixels to picture pixels; the inverse of :meth:`to_input`."""
        return (xyxy - self._shift()) / self._scale()

    def _scale(self) -> FloatArray:
        return np.array([self.scale_x, self.scale_y] * 2)

    def _shift(self) -> FloatArray:
        return np.array([self.left, self.top] * 2, float)


def letterbox_batch(
    images: list[Image], target: tuple[int, int], centred: bool, rgb: bool, scale: float
) -> tuple[NDArray[np.float32], list[Letterbox]]:
    """Pictures as one network input.

    Args:
        images: (h, w, 3) uint8 BGR, of any sizes.
        target: (width, height) of the input.
        centred: see :meth:`Letterbox.fit`.
        rgb: swap the channels.
        scale: factor on the values 0…255.

    Returns:
        (n, 3, H, W) float32, and each picture's placement.
    """
    canvas = np.full((len(images), target[1], target[0], 3), PAD, np.uint8)
    placed = []
    for image, part in zip(images, canvas, strict=True):
        box = Letterbox.fit((image.shape[1], image.shape[0]), target, centred)
        box.place(image, part)
        placed.append(box)
    planes = canvas.transpose(0, 3, 1, 2)
    batch = np.ascontiguousarray(planes[:, ::-1] if rgb else planes, dtype=np.float32)
    if scale != 1:
        batch *= np.float32(scale)
    return batch, placed

"""Decoded frames to BGR pictures of one size, upright."""

from __future__ import annotations

from typing import Any

import numpy as np

from mctrack.types import Image


class PictureMaker:
    """Turns the frames of one camera into pictures of one size.

    Rotation flags are applied in steps of 90°. The first frame says the size (after rotation); later frames of
    another size are scaled to it, because boxes and calibrations belong to one size.
    """

    def __init__(self, first: Any) -> None:
        from av.video.reformatter import VideoReformatter

        # One for all frames: a frame's own to_ndarray(format=…) sets its tables up anew each time.
        self._reformatter: Any = VideoReformatter()
        self.size = upright_size(first)
        self.resized = 0
        self.first_resized: tuple[int, tuple[int, int]] | None = None

    def check(self, frame: Any, index: int) -> None:
        """Note a frame of another size, whether or not its picture is asked for."""
        size = upright_size(frame)
        if size != self.size:
            self.resized += 1
            self.first_resized = self.first_resized or (index, size)

    def make(self, frame: Any) -> Image:
        """(h, w, 3) uint8 BGR of a decoded frame."""
        image: Any = self._reformatter.reformat(frame, format="bgr24").to_ndarray()
        return fit(turn(image, quarter_turns(frame)), self.size)

    def warning(self) -> str | None:
        """One line about changes of size, or None."""
        if self.first_resized is None:
            return None
        index, (width, height) = self.first_resized
        return (f"the picture's size changes at frame {index} from {self.size[0]}x{self.size[1]} to {width}x{height}: "
                f"{self.resized} frame{'s' if self.resized > 1 else ''} scaled to the first size")


def quarter_turns(frame: Any) -> int:
    """Counter-clockwise quarter turns that set a frame upright, 0…3."""
    return round(float(frame.rotation) / 90) % 4


def upright_size(frame: Any) -> tuple[int, int]:
    """(width, height) in pixels of a frame once upright."""
    return (frame.height, frame.width) if quarter_turns(frame) % 2 else (frame.width, frame.height)


def turn(image: Image, quarters: int) -> Image:
    """Turn a picture counter-clockwise by quarters."""
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else np.ascontiguousarray(image)


def fit(image: Image, size: tuple[int, int]) -> Image:
    """Scale a picture to (width, height)."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    import cv2

    smaller = size[0] * size[1] < image.shape[0] * image.shape[1]
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(scaled, np.uint8)

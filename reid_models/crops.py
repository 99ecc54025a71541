"""What every embedder asks of the crops it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_models.errors import ReidError


def check_crops(crops: Sequence[NDArray[Any]]) -> None:
    """Raise unless every crop is (h, w, 3) uint8 with at least one pixel.

    Raises:
        ReidError: the message names the first crop that does not fit.
    """
    for i, crop in enumerate(crops):
        shape, dtype = getattr(crop, "shape", None), getattr(crop, "dtype", type(crop).__name__)
        if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
            raise ReidError(f"crop {i} has shape {shape} and type {dtype}, expected (h, w, 3) uint8 with h, w >= 1")


def resize_crop(crop: NDArray[np.uint8], height: int, width: int, averaged: bool = True) -> NDArray[np.uint8]:
    """(h, w, 3) → (height, width, 3).

    Args:
        crop: any size of at least 1 × 1.
        height, width: pixels wanted; proportions are not kept.
        averaged: take means where the crop shrinks, as our training data are made; otherwise bilinear only, as most
            published networks were trained. Where it grows it is bilinear either way.
    """
    import cv2

    shrinks = crop.shape[0] * crop.shape[1] > height * width
    how = cv2.INTER_AREA if averaged and shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, (width, height), interpolation=how), np.uint8)

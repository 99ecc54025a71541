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

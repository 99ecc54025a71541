"""Attention maps laid over the pictures they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_GAP_PX = 4


def attention_picture(images: NDArray[np.uint8], maps: NDArray[Any], strength: float = 0.5) -> NDArray[np.uint8]:
    """The pictures in a row, and below them the same with their maps: blue where nothing counts, red where much.

    Args:
        images: (n, 3, h, w) uint8 RGB, as ``load_images`` gives them.
        maps: (n, h, w) in 0…1, as ``grad_cam`` gives them.
        strength: share of the map in the lower row, 0…1.

    Returns:
        (height, width, 3) uint8 BGR on white.
    """
    import cv2

    n, _, h, w = images.shape
    canvas = np.full((2 * h + 3 * _GAP_PX, n * (w + _GAP_PX) + _GAP_PX, 3), 255, np.uint8)
    for k in range(n):
        left = _GAP_PX + k * (w + _GAP_PX)
        picture = images[k].transpose(1, 2, 0)[:, :, ::-1]
        heat = cv2.applyColorMap(np.clip(maps[k] * 255, 0, 255).astype(np.uint8), cv2.COLORMAP_JET)
        both = (1 - strength) * picture + strength * heat
        canvas[_GAP_PX : _GAP_PX + h, left : left + w] = picture
        canvas[2 * _GAP_PX + h : 2 * _GAP_PX + 2 * h, left : left + w] = both.round().astype(np.uint8)
    return canvas

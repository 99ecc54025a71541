"""Foreground where something has gone from, rather than come to."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.detect.background import Mask, Plane

_MIN_AREA = 12
_FREE_SHARE = 0.5
_FAINTER = 0.9


def find_ghosts(mask: Mask, still: NDArray[np.bool_], luma: Plane, scene: Plane) -> NDArray[np.bool_] | None:
    """Still parts of the foreground whose outline is in the remembered scene and not in the picture.

    Whoever stood there when the scene was learned has walked off: what shows now is the true scene. Only outline
    that borders on background counts: an inner part of somebody standing has no outline of its own either.

    Args:
        mask: (h, w) 0/1 foreground.
        still: (h, w) has not changed for a moment.
        luma: (h, w) brightness of the picture.
        scene: (h, w) brightness of the remembered scene.

    Returns:
        (h, w) the ghosts, a little enlarged, or None if there are none.
    """
    # opened: specks inside a walking person can look still for a moment
    parts = cv2.morphologyEx(mask & still.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(parts, connectivity=8)
    ghosts = np.zeros(mask.shape, bool)
    for i in range(1, count):
        x, y, width, height, area = (int(v) for v in stats[i])
        if area < _MIN_AREA:
            continue
        part = (slice(max(y - 4, 0), y + height + 4), slice(max(x - 4, 0), x + width + 4))
        own = (labels[part] == i).astype(np.uint8)
        if _outline_in_scene_only(own, mask[part], luma[part], scene[part]):
            ghosts[part] |= cv2.dilate(own, np.ones((5, 5), np.uint8)) > 0
    return ghosts if ghosts.any() else None


def _outline_in_scene_only(own: Mask, mask: Mask, luma: Plane, scene: Plane) -> bool:
    ring = (cv2.dilate(own, np.ones((3, 3), np.uint8)) - cv2.erode(own, np.ones((3, 3), np.uint8))) > 0
    free = cv2.dilate(1 - mask, np.ones((5, 5), np.uint8)) > 0
    outline = ring & free
    if outline.sum() < max(_FREE_SHARE * ring.sum(), 8):
        return False
    across = _normals(own)
    return bool(_jump(luma, across)[outline].mean() < _FAINTER * _jump(scene, across)[outline].mean())


def _normals(own: Mask) -> tuple[Plane, Plane]:
    """(h, w) unit vectors across the outline of a mask."""
    dx, dy = _gradient(np.asarray(cv2.GaussianBlur(own.astype(np.float32), (5, 5), 0), np.float32))
    length = np.asarray(np.maximum(np.sqrt(dx * dx + dy * dy), 1e-6), np.float32)
    return np.divide(dx, length), np.divide(dy, length)


def _jump(luma: Plane, across: tuple[Plane, Plane]) -> Plane:
    """(h, w) change of brightness across the outline: texture that runs any other way counts less."""
    dx, dy = _gradient(np.ascontiguousarray(luma))
    return np.abs(dx * across[0] + dy * across[1])


def _gradient(plane: Plane) -> tuple[Plane, Plane]:
    dx, dy = cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)
    return np.asarray(dx, np.float32), np.asarray(dy, np.float32)

"""Cutting people out of frames, and judging how much a crop can tell."""

from __future__ import annotations

import numpy as np

from mctrack import boxes
from mctrack.types import Detections, FloatArray, Image

_GOOD_HEIGHT_PX = 128.0
_EDGE = 0.01


def cut_crops(image: Image, xyxy: FloatArray) -> list[Image]:
    """The part of the picture inside each box.

    Args:
        image: (h, w, 3) uint8.
        xyxy: (n, 4) pixels; parts outside the picture are left out.

    Returns:
        n views of the picture (no copies: do not write to them); one of a box outside has no pixels.
    """
    left, top, right, bottom = pixel_boxes(xyxy, (image.shape[1], image.shape[0])).T
    return [image[y1:y2, x1:x2] for x1, y1, x2, y2 in zip(left, top, right, bottom, strict=True)]


def pixel_boxes(xyxy: FloatArray, size: tuple[int, int]) -> np.ndarray:
    """(n, 4) integers: the boxes rounded to whole pixels and cut at the edges of a picture of (width, height)."""
    corners = np.rint(boxes.clip(np.asarray(xyxy, float).reshape(-1, 4), *size)).astype(np.int64)
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2])
    return corners


def crop_quality(detections: Detections, size: tuple[int, int]) -> FloatArray:
    """(n,) how far each detection's crop can be trusted, 0…1; see :func:`quality`."""
    return quality(detections.xyxy, detections.score, size)


def quality(xyxy: FloatArray, score: FloatArray, size: tuple[int, int]) -> FloatArray:
    """How far crops can be trusted to show one whole person well.

    The product of four doubts: few pixels, cut by the edge of the picture, hidden by people in front, and a
    detector that was not sure. "In front" means standing nearer to the camera: the lower bottom edge.

    Args:
        xyxy: (n, 4) pixels, all boxes of one frame.
        score: (n,) 0…1.
        size: (width, height) of the picture.

    Returns:
        (n,) in 0…1.
    """
    xyxy = np.asarray(xyxy, float).reshape(-1, 4)
    height = boxes.clip(xyxy, *size)[:, 3] - boxes.clip(xyxy, *size)[:, 1]
    large = np.sqrt(np.clip(height / _GOOD_HEIGHT_PX, 0, 1))
    return large * _whole(xyxy, size) * visible(xyxy) * np.clip(score, 0, 1)


def visible(xyxy: FloatArray) -> FloatArray:
    """(n,) share of each box that no box in front of it covers; overlaps are taken as independent."""
    in_front = xyxy[:, 3] > xyxy[:, 3, None]
    return np.prod(1 - np.clip(boxes.cover(xyxy, xyxy), 0, 1) * in_front, axis=1)


def _whole(xyxy: FloatArray, size: tuple[int, int]) -> FloatArray:
    """(n,) share inside the picture; a box that ends at an edge hides an unknown share: half, one edge at a time."""
    inside = boxes.area(boxes.clip(xyxy, *size)) / np.maximum(boxes.area(xyxy), 1e-9)
    margin_px = _EDGE * max(size)
    ends = np.stack([xyxy[:, 0] < margin_px, xyxy[:, 1] < margin_px,
                     xyxy[:, 2] > size[0] - margin_px, xyxy[:, 3] > size[1] - margin_px])
    return np.clip(inside, 0, 1) * 0.5 ** ends.sum(axis=0)

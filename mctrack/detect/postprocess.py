"""What every detector does last: one set of rules for which boxes leave the room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mctrack import boxes
from mctrack.config import DetectConfig
from mctrack.types import Detections, Frame, Image

MAX_CANDIDATES = 1000
"""Non-maximum suppression is quadratic: only the best go in."""


def finish(
    xyxy: ArrayLike, score: ArrayLike, size: tuple[int, int], config: DetectConfig, clip: bool = True
) -> Detections:
    """Candidates to detections: finite, inside the picture, good enough, tall enough, not twice, not too many.

    Args:
        xyxy: (n, 4) candidate boxes in picture pixels; may be NaN, inverted or outside.
        score: (n,) scores; cut at 1.
        size: (width, height) of the picture.
        config: its ``score``, ``min_height_px``, ``nms_iou`` and ``max_detections`` apply.
        clip: cut boxes at the picture's edge; a box that lies outside altogether is dropped.
    """
    box = np.asarray(xyxy, np.float64).reshape(-1, 4)
    value = np.asarray(score, np.float64).reshape(-1)
    keep = np.isfinite(box).all(axis=1) & (value >= config.score) & np.isfinite(value)
    box, value = box[keep], np.minimum(value[keep], 1.0)
    if clip:
        box = boxes.clip(box, *size)
    keep = (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1]) & (box[:, 3] - box[:, 1] >= config.min_height_px)
    box, value = box[keep], value[keep]
    if len(value) > MAX_CANDIDATES:
        best = np.argsort(-value, kind="stable")[:MAX_CANDIDATES]
        box, value = box[best], value[best]
    kept = boxes.nms(box, value, config.nms_iou)[: config.max_detections]
    return Detections(box[kept], value[kept])


def with_pictures(frames: Sequence[Frame]) -> tuple[list[int], list[Image]]:
    """Positions of the frames that have a picture, and the pictures."""
    index = [i for i, frame in enumerate(frames) if frame.image is not None]
    return index, [image for frame in frames if (image := frame.image) is not None]

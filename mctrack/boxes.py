"""Box formats and overlaps on (n, 4) arrays.

Formats, always part of a name: ``xyxy`` (left, top, right, bottom), ``tlwh`` (left, top, width, height) and
``xcycwh`` (centre x, centre y, width, height); all in pixels, 0-based, continuous coordinates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def xyxy_to_tlwh(xyxy: Array) -> Array:
    """(n, 4) ``xyxy`` to ``tlwh``."""
    xyxy = np.asarray(xyxy, float).reshape(-1, 4)
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)


def tlwh_to_xyxy(tlwh: Array) -> Array:
    """(n, 4) ``tlwh`` to ``xyxy``."""
    tlwh = np.asarray(tlwh, float).reshape(-1, 4)
    return np.concatenate([tlwh[:, :2], tlwh[:, :2] + tlwh[:, 2:]], axis=1)


def xyxy_to_xcycwh(xyxy: Array) -> Array:
    """(n, 4) ``xyxy`` to ``xcycwh``."""
    xyxy = np.asarray(xyxy, float).reshape(-1, 4)
    return np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], axis=1)


def xcycwh_to_xyxy(xcycwh: Array) -> Array:
    """(n, 4) ``xcycwh`` to ``xyxy``."""
    xcycwh = np.asarray(xcycwh, float).reshape(-1, 4)
    half = xcycwh[:, 2:] / 2
    return np.concatenate([xcycwh[:, :2] - half, xcycwh[:, :2] + half], axis=1)


def area(xyxy: Array) -> Array:
    """(n,) areas in px²; an inverted box has area 0."""
    return np.maximum(xyxy[:, 2] - xyxy[:, 0], 0) * np.maximum(xyxy[:, 3] - xyxy[:, 1], 0)


def intersection(a_xyxy: Array, b_xyxy: Array) -> Array:
    """(n, m) intersection areas in px² of every box of ``a`` with every box of ``b``."""
    a, b = np.ascontiguousarray(a_xyxy.T), np.ascontiguousarray(b_xyxy.T)
    width = np.minimum(a[2][:, None], b[2]) - np.maximum(a[0][:, None], b[0])
    height = np.minimum(a[3][:, None], b[3]) - np.maximum(a[1][:, None], b[1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def iou(a_xyxy: Array, b_xyxy: Array) -> Array:
    """(n, m) intersection over union; pairs of two empty boxes have 0."""
    inter = intersection(a_xyxy, b_xyxy)
    union = area(a_xyxy)[:, None] + area(b_xyxy) - inter
    return inter / np.maximum(union, 1e-9)


def cover(a_xyxy: Array, b_xyxy: Array) -> Array:
    """(n, m) share of each box of ``a`` that lies inside each box of ``b``."""
    return intersection(a_xyxy, b_xyxy) / np.maximum(area(a_xyxy)[:, None], 1e-9)


def enlarge(xyxy: Array, buffer: float) -> Array:
    """Boxes grown by ``buffer`` × width (height) on every side (the buffered IoU of C-BIoU, Yang et al. 2023)."""
    margin = (xyxy[:, 2:] - xyxy[:, :2]) * buffer
    return np.concatenate([xyxy[:, :2] - margin, xyxy[:, 2:] + margin], axis=1)


def clip(xyxy: Array, width_px: float, height_px: float) -> Array:
    """Boxes cut at the picture's edges."""
    limit = np.array([width_px, height_px, width_px, height_px], float)
    return np.clip(xyxy, 0, limit)


def nms(xyxy: Array, score: Array, iou_threshold: float) -> NDArray[np.int64]:
    """Indices kept by greedy non-maximum suppression, best score first (ties: lower index first)."""
    order = np.argsort(-score, kind="stable")
    overlap = iou(xyxy[order], xyxy[order]) > iou_threshold
    alive = np.ones(len(order), bool)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~overlap[i, i + 1 :]
    return order[alive].astype(np.int64)

"""Candidate pairs of tracks and detections, and what each pair costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack import boxes

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Sparse candidate pairs: (k,) rows (tracks) and columns (detections), and (k,) ``overlap``: buffered IoU."""

    row: IntArray
    col: IntArray
    overlap: Array

    def take(self, keep: IntArray) -> Pairs:
        """The pairs at the given indices."""
        return Pairs(self.row.take(keep), self.col.take(keep), self.overlap.take(keep))


def overlapping_pairs(track_xyxy: Array, detection_xyxy: Array, buffer: float | Array) -> Pairs:
    """All pairs whose boxes, each enlarged by ``buffer`` of its size, overlap (Yang et al. 2023, buffered IoU).

    Args:
        track_xyxy: (n, 4). detection_xyxy: (m, 4).
        buffer: one share for all boxes, or (n,) shares for the tracks' boxes alone.
    """
    a = np.ascontiguousarray(_enlarge(track_xyxy, buffer).T)
    b = np.ascontiguousarray(_enlarge(detection_xyxy, buffer if np.ndim(buffer) == 0 else 0.0).T)
    row, col = _meeting(a, b)
    p, q = a.take(row, axis=1), b.take(col, axis=1)
    shared = np.maximum(np.minimum(p[2:], q[2:]) - np.maximum(p[:2], q[:2]), 0)
    own, other = p[2:] - p[:2], q[2:] - q[:2]
    inter = shared[0] * shared[1]
    union = own[0] * own[1] + other[0] * other[1] - inter
    return Pairs(row, col, inter / np.maximum(union, 1e-9))


def _meeting(a: Array, b: Array) -> tuple[IntArray, IntArray]:
    """Rows and columns of all pairs that overlap, of (4, n) and (4, m) columns of ``xyxy``.

    A sweep from left to right: with b sorted by its left edges, what may meet a box of a begins where the rightmost
    edge so far passes a's left edge, and ends where left edges pass a's right edge. In a crowd that leaves a few per
    cent of the n × m pairs to compare.
    """
    if not a.size or not b.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = b[0].argsort(kind="stable")
    begin = np.maximum.accumulate(b[2].take(order)).searchsorted(a[0], side="right")
    count = np.maximum(b[0].take(order).searchsorted(a[2]) - begin, 0)
    end = count.cumsum()
    row = np.arange(len(count)).repeat(count)
    col = order.take(np.arange(end[-1]) + (begin - end + count).take(row))
    p, q = a.take(row, axis=1), b.take(col, axis=1)
    keep = np.flatnonzero((p[1] < q[3]) & (p[3] > q[1]) & (p[0] < q[2]))
    return row.take(keep), col.take(keep)


def _enlarge(xyxy: Array, buffer: float | Array) -> Array:
    if np.ndim(buffer) == 0:
        return boxes.enlarge(xyxy, float(buffer)) if buffer else xyxy
    if not np.any(buffer):
        return xyxy
    margin = (xyxy[:, 2:] - xyxy[:, :2]) * np.asarray(buffer)[:, None]
    return np.concatenate([xyxy[:, :2] - margin, xyxy[:, 2:] + margin], axis=1)


def squared_mahalanobis(pairs: Pairs, mean: Array, variance: Array, xcycwh: Array) -> Array:
    """(k,) squared Mahalanobis distance over (x, y, w, h) of each pair; variance: (n, 4) of the innovation."""
    residual = xcycwh.take(pairs.col, axis=0) - mean.take(pairs.row, axis=0)[:, :4]
    # times ones: several times faster than a sum over an axis of four
    return (residual * residual / variance.take(pairs.row, axis=0)) @ np.ones(4)


def cosine_distance(pairs: Pairs, a: NDArray[np.float32], b: NDArray[np.float32]) -> Array:
    """(k,) 1 − cosine of unit rows; NaN where either row is all zeros (nothing was seen)."""
    p, q = a.take(pairs.row, axis=0), b.take(pairs.col, axis=0)
    distance = 1.0 - np.einsum("ij,ij->i", p, q).astype(float)
    distance[~(p.any(axis=1) & q.any(axis=1))] = np.nan
    return distance


def distinctiveness(pairs: Pairs, distance: Array, shape: tuple[int, int]) -> Array:
    """(k,) in 0…1: how clearly appearance tells each pair from its rivals.

    The gap between a pair's distance and the best other distance in its row and its column, 0 where a rival looks
    as good; 1 − 0 rivals give 0.5, since nothing was there to be told from (the idea of Deep OC-SORT's adaptive
    weighting, Maggiolino et al. 2023, on sparse pairs).
    """
    known = np.where(np.isnan(distance), np.inf, distance)
    gap = np.minimum(
        _gap_to_rival(pairs.row, known, shape[0]), _gap_to_rival(pairs.col, known, shape[1])
    )
    return np.where(np.isinf(gap), 0.5, np.clip(np.abs(gap) / 0.2, 0.0, 1.0))


def _gap_to_rival(group: IntArray, value: Array, n_groups: int) -> Array:
    """(k,) best value of the others in the group minus this value (∞ without others)."""
    best = np.full(n_groups, np.inf)
    np.minimum.at(best, group, value)
    is_best = value <= best[group]
    count_best = np.bincount(group, weights=is_best, minlength=n_groups)
    second = np.full(n_groups, np.inf)
    np.minimum.at(second, group[~is_best], value[~is_best])
    rival = np.where(is_best & (count_best[group] < 2), second[group], best[group])
    with np.errstate(invalid="ignore"):
        gap = rival - value
    return np.where(np.isnan(gap), np.inf, gap)


def crowded_score(crowd: Pairs, score: Array, sigma: float) -> Array:
    """(n,) scores lowered where a better box overlaps: s · exp(−IoU² / sigma), IoU with the worst such rival.

    The Gaussian of Soft-NMS (Bodla et al., ICCV 2017, eq. 3), with the strongest rival instead of the product. A second
    box on one person then no longer starts a track or takes over a neighbour's, while a person half hidden behind
    another still continues a track in the pass for low scores.

    Args:
        crowd: all pairs of the detections with each other (and themselves) that overlap. score: (n,).
        sigma: width of the Gaussian; 0: scores stay as they are.
    """
    if sigma <= 0 or len(score) < 2:
        return score
    own, other = score.take(crowd.row), score.take(crowd.col)
    better = np.flatnonzero((other > own) | ((other == own) & (crowd.col < crowd.row)))
    rival = np.zeros(len(score))
    np.maximum.at(rival, crowd.row.take(better), crowd.overlap.take(better))
    return score * np.exp(-rival * rival / sigma)

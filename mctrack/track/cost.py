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

    def take(self, keep: NDArray[np.bool_]) -> Pairs:
        """The pairs under a mask."""
        return Pairs(self.row[keep], self.col[keep], self.overlap[keep])


def overlapping_pairs(track_xyxy: Array, detection_xyxy: Array, buffer: float | Array) -> Pairs:
    """All pairs whose boxes, each enlarged by ``buffer`` of its size, overlap (Yang et al. 2023, buffered IoU).

    Only comparisons are done on all n × m pairs; the arithmetic runs on the few that overlap.
    """
    a = _enlarge(track_xyxy, buffer)
    b = _enlarge(detection_xyxy, buffer if np.ndim(buffer) == 0 else 0.0)
    at, bt = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
    meets = at[0][:, None] < bt[2]
    meets &= at[2][:, None] > bt[0]
    meets &= at[1][:, None] < bt[3]
    meets &= at[3][:, None] > bt[1]
    row, col = np.divmod(np.flatnonzero(meets), max(len(b), 1))
    p, q = at[:, row], bt[:, col]
    width = np.minimum(p[2], q[2]) - np.maximum(p[0], q[0])
    height = np.minimum(p[3], q[3]) - np.maximum(p[1], q[1])
    inter = width * height
    union = (p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1]) - inter
    return Pairs(row, col, inter / np.maximum(union, 1e-9))


def _enlarge(xyxy: Array, buffer: float | Array) -> Array:
    if np.ndim(buffer) == 0:
        return boxes.enlarge(xyxy, float(buffer)) if buffer else xyxy
    margin = (xyxy[:, 2:] - xyxy[:, :2]) * np.asarray(buffer)[:, None]
    return np.concatenate([xyxy[:, :2] - margin, xyxy[:, 2:] + margin], axis=1)


def squared_mahalanobis(pairs: Pairs, mean: Array, variance: Array, xcycwh: Array) -> Array:
    """(k,) squared Mahalanobis distance over (x, y, w, h) of each pair; variance: (n, 4) of the innovation."""
    residual = xcycwh[pairs.col] - mean[pairs.row, :4]
    return np.einsum("ij,ij->i", residual * residual, 1.0 / variance[pairs.row])


def cosine_distance(pairs: Pairs, a: NDArray[np.float32], b: NDArray[np.float32]) -> Array:
    """(k,) 1 − cosine of unit rows; NaN where either row is all zeros (nothing was seen)."""
    p, q = a[pairs.row], b[pairs.col]
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


def crowded_score(xyxy: Array, score: Array, sigma: float) -> Array:
    """(n,) scores lowered where a better box overlaps: s · exp(−IoU² / sigma), IoU with the worst such rival.

    The Gaussian of Soft-NMS (Bodla et al., ICCV 2017, eq. 3), with the strongest rival instead of the product. A second
    box on one person then no longer starts a track or takes over a neighbour's, while a person half hidden behind
    another still continues a track in the pass for low scores.
    """
    if sigma <= 0 or len(score) < 2:
        return score
    pairs = overlapping_pairs(xyxy, xyxy, 0.0)
    better = score[pairs.col] > score[pairs.row]
    better |= (score[pairs.col] == score[pairs.row]) & (pairs.col < pairs.row)
    rival = np.zeros(len(score))
    np.maximum.at(rival, pairs.row[better], pairs.overlap[better])
    return score * np.exp(-rival * rival / sigma)

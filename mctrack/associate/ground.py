"""People on the floor at one instant: sightings of several cameras that are one person, found jointly.

Every sighting is a place with a covariance. Two groups of sightings are one person or two by the ratio of likelihoods:
the density of their distance, N(difference; 0, P₁ + P₂), against the density of people that the cameras of one group
would all have missed. That odds ratio falls off with Mahalanobis distance, so it is a gate as well, and it weighs a
camera by how well it tells the place. No group ever holds two sightings of one camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from mctrack.types import FloatArray, IntArray

Array = NDArray[np.float64]
REACH_M = 2.0
"""Sightings further apart than this are never compared."""
WORD = 62
"""Cameras are kept as bits, so many to a 64-bit number."""
SWEEPS = 3


@dataclass(frozen=True, eq=False)
class Places:
    """Normal distributions on the floor: ``xy`` (n, 2) metres and ``cov`` (n, 2, 2) m²."""

    xy: FloatArray
    cov: FloatArray

    def __len__(self) -> int:
        return len(self.xy)


@dataclass(frozen=True, eq=False)
class Information:
    """The same in information form, additive: ``w`` (n, 3) the inverse covariance's xx, xy, yy; ``y`` (n, 2)."""

    w: Array
    y: Array

    @staticmethod
    def of(places: Places) -> Information:
        w = _inverse(_packed(places.cov))
        return Information(w, _times(w, places.xy))

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Information:
        return Information(self.w[index], self.y[index])

    def summed(self, label: IntArray, n: int) -> Information:
        """Sums over labels 0 … n − 1."""
        return Information(np.stack([np.bincount(label, c, n) for c in self.w.T], axis=1),
                            np.stack([np.bincount(label, c, n) for c in self.y.T], axis=1))

    def moments(self) -> tuple[Array, Array]:
        """Means (n, 2) and packed covariances (n, 3)."""
        p = _inverse(self.w)
        return _times(p, self.y), p


def _packed(cov: Array) -> Array:
    return np.stack([cov[..., 0, 0], (cov[..., 0, 1] + cov[..., 1, 0]) / 2, cov[..., 1, 1]], axis=-1)


def _inverse(p: Array) -> Array:
    det = p[..., 0] * p[..., 2] - p[..., 1] ** 2
    return np.asarray(np.stack([p[..., 2], -p[..., 1], p[..., 0]], axis=-1) / det[..., None])


def _times(p: Array, v: Array) -> Array:
    x, y = v[..., 0], v[..., 1]
    return np.stack([p[..., 0] * x + p[..., 1] * y, p[..., 1] * x + p[..., 2] * y], axis=-1)


def log_density(step: Array, p: Array) -> Array:
    """Log of N(step; 0, p) of (…, 2) differences under packed covariances (…, 3): xx, xy, yy."""
    return _log_density(step[..., 0], step[..., 1], p[..., 0], p[..., 1], p[..., 2])


def _log_density(x: Array, y: Array, xx: Array, xy: Array, yy: Array) -> Array:
    """The same by components: whole arrays of each are several times faster than strided ones."""
    det = xx * yy - xy**2
    square = (yy * x * x - 2 * xy * x * y + xx * y * y) / det
    return np.asarray(-0.5 * square - 0.5 * np.log(det) - 1.8378770664093453)


def squared(step: Array, p: Array) -> Array:
    """(…) squared Mahalanobis lengths of (…, 2) differences under packed covariances (…, 3)."""
    x, y, xx, xy, yy = step[..., 0], step[..., 1], p[..., 0], p[..., 1], p[..., 2]
    return np.asarray((yy * x * x - 2 * xy * x * y + xx * y * y) / (xx * yy - xy**2))


def _cross_density(a_xy: Array, a: Array, b_xy: Array, b: Array) -> Array:
    """(n, m) log of N(aᵢ − bⱼ; 0, Pᵢ + Pⱼ) of (n, 2) and (m, 2) places with packed covariances (n, 3) and (m, 3)."""
    step = [np.subtract.outer(a_xy[:, k], b_xy[:, k]) for k in (0, 1)]
    return _log_density(*step, *(np.add.outer(a[:, k], b[:, k]) for k in (0, 1, 2)))


def pair_odds(a: Places, b: Places, unseen_density: float) -> Array:
    """(n, m) log-odds that places of ``a`` and ``b`` are one person's rather than two people's.

    Args:
        a, b: n and m places.
        unseen_density: people per m² that a camera misses where it looks.
    """
    return np.asarray(_cross_density(a.xy, _packed(a.cov), b.xy, _packed(b.cov)) - np.log(unseen_density))


def group(places: Places, camera: IntArray, unseen_density: float) -> IntArray:
    """Which sightings of one instant are one person: (n,) labels 0 … m − 1, at most one sighting a camera in each.

    Groups grow by joining those pairs that are each other's best partner, as long as joining is more likely than not
    (for a cost that only adds up this is agglomeration in the order of cost, many steps at once). Then each camera's
    sightings are assigned anew to the groups of the others, all at once, until nothing changes: a join made too early
    is undone where the whole says so.

    Args:
        places: n sightings.
        camera: (n,) cameras' numbers, below 62.
        unseen_density: see :func:`pair_odds`.
    """
    n = len(places)
    if n < 2:
        return np.zeros(n, np.int64)
    single = Information.of(places)
    label = _agglomerate(places, single, camera, unseen_density)
    for _ in range(SWEEPS):
        changed = _reassign(places, single, camera, label, unseen_density)
        if not changed:
            break
        label = np.unique(label, return_inverse=True)[1].astype(np.int64)
    return label


def fused(places: Places, label: IntArray) -> Places:
    """The m groups' places: sightings weighed by the inverse of their covariances."""
    m = int(label.max(initial=-1)) + 1
    mean, p = Information.of(places).summed(label, m).moments()
    return Places(mean, p[:, [0, 1, 1, 2]].reshape(-1, 2, 2))


def _agglomerate(places: Places, single: Information, camera: IntArray, unseen_density: float) -> IntArray:
    n, floor = len(places), -float(np.log(unseen_density))
    i, j = cKDTree(places.xy).query_pairs(REACH_M, output_type="ndarray").T.astype(np.int64)
    root = np.arange(n)
    seen_by = np.zeros((n, int(camera.max(initial=0)) // WORD + 1), np.int64)  # a bit for every camera
    seen_by[root, camera // WORD] = np.int64(1) << camera % WORD
    w, y = single.w.copy(), single.y.copy()
    mean, p = places.xy.copy(), _packed(places.cov)
    first = True
    while len(i):
        keep = ~(seen_by[i] & seen_by[j]).any(axis=1)
        i, j = i[keep], j[keep]
        odds = log_density(mean[i] - mean[j], p[i] + p[j]) + floor
        if first:  # joining others moves a group by less than that
            near = odds > -8.0
            i, j, odds, first = i[near], j[near], odds[near], False
        order = np.argsort(odds, kind="stable")
        best = np.full(n, -1)
        best[i[order]] = best[j[order]] = order  # of several the last, best one stays
        both = np.full((2, n), -np.inf)
        np.maximum.at(both[0], i, odds)
        np.maximum.at(both[0], j, odds)
        pair = np.flatnonzero((odds > 0) & (odds >= both[0][i]) & (odds >= both[0][j]))
        if not len(pair):
            break
        used = np.zeros(n, bool)
        a, b = [], []
        for x, z in zip(i[pair].tolist(), j[pair].tolist(), strict=True):
            if not used[x] and not used[z]:  # equal odds: the first pair only
                used[x] = used[z] = True
                a.append(x)
                b.append(z)
        heir = np.arange(n)
        heir[b] = a
        w[a] += w[b]
        y[a] += y[b]
        seen_by[a] |= seen_by[b]
        p[a] = _inverse(w[a])
        mean[a] = _times(p[a], y[a])
        root, i, j = heir[root], heir[i], heir[j]
    return np.unique(root, return_inverse=True)[1].astype(np.int64)


def _reassign(
    places: Places, single: Information, camera: IntArray, label: IntArray, unseen_density: float
) -> bool:
    """Assign every camera's sightings anew to the groups that the other cameras make; changes ``label`` in place."""
    floor, changed = -float(np.log(unseen_density)), False
    for c in np.unique(camera).tolist():
        mine = np.flatnonzero(camera == c)
        m = int(label.max()) + 1
        total = single.summed(label, m)
        w, y = total.w, total.y
        w[label[mine]] -= single.w[mine]
        y[label[mine]] -= single.y[mine]
        size = np.bincount(label, minlength=m)
        size[label[mine]] -= 1
        group_of = np.flatnonzero(size > 0)
        if not len(group_of):
            continue
        p = _inverse(w[group_of])
        mean = _times(p, y[group_of])
        odds = _cross_density(places.xy[mine], _packed(places.cov[mine]), mean, p) + floor
        number = np.full(m, -1)
        number[group_of] = np.arange(len(group_of))
        here = number[label[mine]]
        now = np.where(here >= 0, odds[np.arange(len(mine)), here], 0.0)
        if (odds.max(axis=1) <= np.maximum(now, 0.0) + 1e-9).all() and (now >= 0).all():
            continue  # everyone is where he would go
        chosen = best_assignment(odds)
        new = np.where(chosen >= 0, group_of[chosen], m + np.arange(len(mine)))
        alone_before = here < 0
        new = np.where((chosen < 0) & alone_before, label[mine], new)
        if (new != label[mine]).any():
            label[mine] = new
            changed = True
    return changed


def best_assignment(odds: Array) -> IntArray:
    """(n,) column of each row, −1 where none is better: one to one, the sum of positive odds (n, m) at its largest."""
    n = len(odds)
    out = np.full(n, -1)
    if odds.size:
        rows, cols = linear_sum_assignment(np.minimum(-odds, 0.0))
        good = odds[rows, cols] > 0
        out[rows[good]] = cols[good]
    return out


SEEN_IF_REAL, SEEN_IF_FALSE = 0.6, 0.05
"""How often a camera that looks there sees a person who is there (crowds hide many), and one who is not."""


def existence(seen_by: IntArray, watchers: IntArray) -> Array:
    """(n,) log-odds that groups are people and not false detections.

    Args:
        seen_by: (n,) cameras that see each group.
        watchers: (n,) cameras that have its place in their picture.
    """
    missed_by = np.maximum(watchers - seen_by, 0)
    return np.asarray(seen_by * np.log(SEEN_IF_REAL / SEEN_IF_FALSE)
                      + missed_by * np.log((1 - SEEN_IF_REAL) / (1 - SEEN_IF_FALSE)))

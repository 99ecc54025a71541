"""Where pieces of tracklets were on the floor: who stood together, who apart, and who cannot have got there in time.

For the second pass, with whole tracks at hand and each camera's own calibration. Places of one person by two cameras
differ by the boxes' noise and by what the calibrations are off, so a single moment says little, seconds of it much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.associate.ground import log_density
from mctrack.types import IntArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
STEP_S = 0.4
"""Places are averaged over this and compared at these moments; boxes err alike within."""
SLACK_M = 0.25
"""What calibrations are off by, and averaging does not mend."""
UNSEEN_DENSITY = 0.05
"""People per m² that a camera misses where it looks."""
WORST, LIMIT = -6.0, 6.0
"""What one moment says at most against, and all of them either way."""
APART_M, APART_SHARE, APART_STEPS = 1.5, 0.5, 3
"""Pieces further apart than this (beyond their noise) for this share of so many moments are different people."""
STRAY_STEPS, STRAY_ODDS = 3, -2.0
"""A track went off with somebody else if for so many moments it disagrees this much with its person's other tracks."""
BODY_M, MAX_SPEED_M_S = 1.0, 3.0
"""Nobody gets further than the one plus the other times the seconds between."""


@dataclass(frozen=True, eq=False)
class Path:
    """A piece's places by its own camera: ``time_s`` (k,), ``xy`` (k, 2) metres, ``cov`` (k, 2, 2) m²; k may be 0."""

    time_s: Array
    xy: Array
    cov: Array

    @staticmethod
    def empty() -> Path:
        """Of a camera without calibration."""
        return Path(np.zeros(0), np.zeros((0, 2)), np.zeros((0, 2, 2)))

    def thinned(self) -> tuple[IntArray, Array, Array]:
        """One place per step: (m,) increasing numbers of steps, (m, 2) means and packed (m, 3) covariances."""
        good = np.isfinite(self.xy).all(axis=1)
        step, row = np.unique(np.floor(self.time_s[good] / STEP_S).astype(np.int64), return_inverse=True)
        row, count = row.reshape(-1), np.maximum(np.bincount(row.reshape(-1), minlength=len(step)), 1)
        columns = np.concatenate([self.xy[good], self.cov[good][:, [0, 0, 1], [0, 1, 1]]], axis=1)
        mean = np.stack([np.bincount(row, c, len(step)) / count for c in columns.T], axis=1)
        return step, mean[:, :2], mean[:, 2:]


@dataclass(frozen=True, eq=False)
class FloorEvidence:
    """For n pieces: ``odds`` (n, n) of having stood in one place at one time, ``forbidden`` (n, n) pairs.

    ``same`` (n, n): pairs already known to be one person, though one camera may have seen both at once when an old box
    lingered; None: no such.
    """

    odds: Array
    forbidden: Mask
    same: Mask | None = None


def floor_evidence(camera: IntArray, paths: Sequence[Path]) -> FloorEvidence:
    """Compare all pieces with each other.

    Args:
        camera: (n,) number of each one's camera.
        paths: n paths.
    """
    n = len(paths)
    odds, forbidden = np.zeros((n, n)), _unreachable(paths)
    thin = [path.thinned() for path in paths]
    order = [i for i in np.argsort([t[0][0] if len(t[0]) else np.inf for t in thin]).tolist() if len(thin[i][0])]
    current: list[int] = []
    for i in order:
        current = [j for j in current if thin[j][0][-1] >= thin[i][0][0]]
        for j in current:
            if camera[i] != camera[j]:
                odds[i, j], forbidden[i, j] = _together(thin[i], thin[j])
                odds[j, i], forbidden[j, i] = odds[i, j], forbidden[i, j]
        current.append(i)
    return FloorEvidence(odds, forbidden)


def _together(a: tuple[IntArray, Array, Array], b: tuple[IntArray, Array, Array]) -> tuple[float, bool]:
    """Log-odds of two pieces of different cameras being one person, and whether they cannot be.

    The mean over their common moments counts as often as there are independent ones, about one in two steps, but at
    most three times: what errs in a calibration errs all the time.
    """
    _, i, j = np.intersect1d(a[0], b[0], assume_unique=True, return_indices=True)
    if not len(i):
        return 0.0, False
    step, cov = a[1][i] - b[1][j], a[2][i] + b[2][j] + SLACK_M**2 * np.array([1.0, 0.0, 1.0])
    fit = np.maximum(log_density(step, cov) - np.log(UNSEEN_DENSITY), WORST)
    away = np.linalg.norm(step, axis=1) - 3.0 * np.sqrt((cov[:, 0] + cov[:, 2]) / 2)
    apart = len(i) >= APART_STEPS and float((away > APART_M).mean()) >= APART_SHARE
    value = float(fit.mean()) * min(0.5 + len(i) / 2, 3.0)
    return float(np.clip(value, -LIMIT, LIMIT)), apart


def _unreachable(paths: Sequence[Path]) -> Mask:
    """(n, n) whether from the earlier one's last place nobody gets to the later one's first in the time between."""
    n = len(paths)
    first, last = np.full((n, 4), np.nan), np.full((n, 4), np.nan)  # time, x, y, standard deviation
    for k, path in enumerate(paths):
        good = np.flatnonzero(np.isfinite(path.xy).all(axis=1))
        if len(good):
            first[k], last[k] = _surest(path, good), _surest(path, good[::-1])
    gap = first[None, :, 0] - last[:, None, 0]
    way = np.linalg.norm(first[None, :, 1:3] - last[:, None, 1:3], axis=-1)
    slack = BODY_M + 2.0 * (first[None, :, 3] + last[:, None, 3])
    out: Mask = (gap > 0) & (way > slack + MAX_SPEED_M_S * gap)  # NaN: unknown, False
    return np.asarray(out | out.T)


def _surest(path: Path, rows: IntArray) -> Array:
    """Time, place and deviation at the surest of the rows within a second of the first: edges of pictures are poor."""
    near = rows[np.abs(path.time_s[rows] - path.time_s[rows[0]]) <= 1.0]
    spread = np.sqrt(np.trace(path.cov[near], axis1=1, axis2=2) / 2)
    k = int(spread.argmin())
    return np.array([path.time_s[near[k]], *path.xy[near[k]], spread[k]])


def strays(camera: IntArray, paths: Sequence[Path], name: IntArray) -> dict[int, float]:
    """Pieces that for a part of their time were not where the other cameras saw their person, and when that changed.

    A tracker that goes on with somebody else is caught by the other cameras, if they did not make the same mistake.

    Args:
        camera: (n,) number of each one's camera. paths: n paths. name: (n,) the person each is believed to be.

    Returns:
        Piece → time in seconds to cut it at.
    """
    thin = [path.thinned() for path in paths]
    out = {}
    for i in range(len(paths)):
        mates = [j for j in np.flatnonzero((name == name[i]) & (camera != camera[i])).tolist() if len(thin[j][0])]
        step, fit = _company(thin[i], [thin[j] for j in mates])
        cut = _turn(fit)
        if cut is not None:
            out[i] = float((step[cut - 1] + step[cut] + 1) / 2 * STEP_S)
    return out


def _company(
    one: tuple[IntArray, Array, Array], mates: Sequence[tuple[IntArray, Array, Array]]
) -> tuple[IntArray, Array]:
    """Steps (m,) at which one of the mates was seen, too, and how well they agree (m,), the mean over those."""
    total, count = np.zeros(len(one[0])), np.zeros(len(one[0]))
    for mate in mates:
        _, i, j = np.intersect1d(one[0], mate[0], assume_unique=True, return_indices=True)
        cov = one[2][i] + mate[2][j] + SLACK_M**2 * np.array([1.0, 0.0, 1.0])
        total[i] += np.maximum(log_density(one[1][i] - mate[1][j], cov) - np.log(UNSEEN_DENSITY), WORST)
        count[i] += 1
    known = count > 0
    return one[0][known], total[known] / count[known]


def _turn(fit: Array) -> int | None:
    """Where (m,) agreements turn from good to bad or from bad to good, with enough of both; None: nowhere."""
    m = len(fit)
    if m < 2 * STRAY_STEPS:
        return None
    cuts = np.arange(STRAY_STEPS, m - STRAY_STEPS + 1)
    total = np.cumsum(fit)
    early, late = total[cuts - 1] / cuts, (total[-1] - total[cuts - 1]) / (m - cuts)
    turn = np.where((np.maximum(early, late) > 0) & (np.minimum(early, late) < STRAY_ODDS), np.abs(early - late), 0.0)
    best = int(turn.argmax())
    return int(cuts[best]) if turn[best] > 0 else None

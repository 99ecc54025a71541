"""How far two cameras' clocks are apart, from people who are seen by both.

With a common floor, at the right offset both cameras see people in the same places. Without one, people's motion tells:
all start, stop and turn at the same time in both pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SAME_M = 0.6
"""Places further apart than this are of different people, however far."""


@dataclass(frozen=True, eq=False)
class Walks:
    """One camera's tracks: (n,) ``time_s`` and ``track``, (n, 2) ``xy`` in metres (or in box heights)."""

    time_s: Array
    track: NDArray[np.int64]
    xy: Array


@dataclass(frozen=True)
class Offset:
    """Seconds to add to the second camera's clock, its standard deviation, and how clear the optimum is.

    Attributes:
        offset_s, sd_s: the estimate and its spread over stretches of the recording.
        contrast: how much better the optimum is than the typical offset: 0 means nothing was found, 1 is perfect.
    """

    offset_s: float
    sd_s: float
    contrast: float


def sync_on_floor(a: Walks, b: Walks, max_offset_s: float, step_s: float, parts: int = 8) -> Offset:
    """Offset of ``b`` against ``a`` at which people stand in the same places.

    Args:
        a, b: tracks on a common floor.
        max_offset_s: largest offset tried, both ways.
        step_s: a frame interval: offsets are tried this finely, and between the best three by a parabola.
        parts: stretches of the recording from which the spread is taken.
    """
    offsets = np.arange(-round(max_offset_s / step_s), round(max_offset_s / step_s) + 1) * step_s
    table, low = _positions(b, step_s)
    span = max(float(a.time_s.max() - a.time_s.min()), 1e-9)
    part = np.minimum(((a.time_s - a.time_s.min()) / span * parts).astype(int), parts - 1)
    cost = np.zeros((parts, len(offsets)))
    count = np.zeros((parts, 1))
    np.add.at(count[:, 0], part, 1.0)
    for k, offset in enumerate(offsets.tolist()):
        np.add.at(cost[:, k], part, _mismatch(a, table, low, step_s, offset))
    return _best(np.asarray(offsets, float), cost / np.maximum(count, 1.0), count[:, 0], step_s)


def _positions(walks: Walks, step_s: float) -> tuple[Array, float]:
    """(t, tracks, 2) places on an even grid of times, NaN where a track is not seen, and the grid's start."""
    low = float(walks.time_s.min())
    n = int(np.ceil((float(walks.time_s.max()) - low) / step_s)) + 1
    grid = low + np.arange(n) * step_s
    names = np.unique(walks.track)
    table = np.full((n, len(names), 2), np.nan)
    for j, name in enumerate(names.tolist()):
        rows = np.flatnonzero(walks.track == name)
        rows = rows[np.argsort(walks.time_s[rows])]
        t = walks.time_s[rows]
        inside = (grid >= t[0]) & (grid <= t[-1])
        for axis in (0, 1):
            table[inside, j, axis] = np.interp(grid[inside], t, walks.xy[rows, axis])
    return table, low


def _mismatch(a: Walks, table: Array, low: float, step_s: float, offset: float) -> Array:
    """(n,) squared distance to the nearest person of the other camera, at most ``SAME_M``², as a share of that."""
    where = (a.time_s - offset - low) / step_s
    left = np.floor(where).astype(int)
    share = (where - left)[:, None, None]
    inside = (left >= 0) & (left < len(table) - 1)
    left = np.clip(left, 0, len(table) - 2)
    there = (1 - share) * table[left] + share * table[left + 1]
    square = ((there - a.xy[:, None]) ** 2).sum(axis=2)
    nearest = np.nan_to_num(square, nan=np.inf).min(axis=1, initial=np.inf)
    return np.where(inside, np.minimum(nearest / SAME_M**2, 1.0), 1.0)


def sync_on_motion(a: Walks, b: Walks, max_offset_s: float, step_s: float, parts: int = 8) -> Offset:
    """Offset of ``b`` against ``a`` at which the amount of motion agrees best, by normalised correlation.

    For cameras without a common floor: ``xy`` may be in pixels over box height. The same people must be in both.
    """
    low = min(float(a.time_s.min()), float(b.time_s.min()))
    n = int(np.ceil((max(float(a.time_s.max()), float(b.time_s.max())) - low) / step_s)) + 1
    first, second = _activity(a, low, n, step_s), _activity(b, low, n, step_s)
    offsets = np.arange(-round(max_offset_s / step_s), round(max_offset_s / step_s) + 1)
    bounds = np.linspace(0, n, parts + 1).astype(int)
    cost = np.ones((parts, len(offsets)))
    for p in range(parts):
        at = np.arange(bounds[p], bounds[p + 1])
        for k, offset in enumerate(offsets.tolist()):
            here = at[(at - offset >= 0) & (at - offset < n)]
            if len(here) > 10:
                cost[p, k] = 1.0 - _correlation(first[here], second[here - offset])
    return _best(np.asarray(offsets * step_s, float), cost, np.diff(bounds).astype(float), step_s)


def _activity(walks: Walks, low: float, n: int, step_s: float) -> Array:
    """(n,) sum of everyone's speed on an even grid, smoothed over 0.2 s."""
    table, start = _positions(walks, step_s)
    speed = np.nan_to_num(np.linalg.norm(np.diff(table, axis=0), axis=2)).sum(axis=1) / step_s
    out = np.zeros(n)
    first = round(float(start - low) / step_s)
    out[first : first + len(speed)] = speed[: n - first]
    width = max(round(0.2 / step_s), 1)
    return np.convolve(out, np.ones(width) / width, mode="same")


def _correlation(x: Array, y: Array) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y) / max(float(np.sqrt((x @ x) * (y @ y))), 1e-12)


def _best(offsets: Array, cost: Array, weight: Array, step_s: float) -> Offset:
    """The optimum of all stretches together, and its spread by leaving one of them out each (jackknife)."""
    used = weight > 0
    cost, weight = cost[used], weight[used]

    def optimum(rows: NDArray[np.int64]) -> float:
        total = weight[rows] @ cost[rows]
        k = int(total.argmin())
        if 0 < k < len(total) - 1:
            left, here, right = total[k - 1 : k + 2]
            bend = left - 2 * here + right
            return float(offsets[k] + step_s * 0.5 * (left - right) / max(bend, 1e-12))
        return float(offsets[k])

    everything = np.arange(len(cost))
    total = weight @ cost / weight.sum()
    without = np.array([optimum(np.delete(everything, k)) for k in everything]) if len(everything) > 1 else np.zeros(0)
    k = len(without)
    sd = float(np.sqrt((k - 1) / k * ((without - without.mean()) ** 2).sum())) if k > 1 else float("nan")
    typical = float(np.median(total))
    return Offset(optimum(everything), sd, float(np.clip((typical - total.min()) / max(typical, 1e-12), 0.0, 1.0)))

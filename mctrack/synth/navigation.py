"""Where people can walk: an occupancy grid of an area and its corridors, shortest paths, and clearances."""

from __future__ import annotations

import heapq

import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.synth.layout import footprint, stands
from mctrack.synth.scene import Area
from mctrack.synth.shapes import passage

Array = NDArray[np.float64]

CELL_M = 0.1
BODY_M = 0.27
"""Radius of a person."""
_STEPS = [(i, j, float(np.hypot(i, j))) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]


class Grid:
    """The walkable floor of one area, corridors behind its doors included."""

    def __init__(self, area: Area) -> None:
        behind = passage(area)
        margin = max(behind.wall_m + behind.width_m, behind.reach_m) + 0.5
        self.area = area
        self._origin = np.array(area.origin) - margin
        shape = np.ceil((np.array(area.size) + 2 * margin) / CELL_M).astype(int)
        free = np.ones((int(shape[1]), int(shape[0])), np.uint8)
        for x0, y0, x1, y1 in [*footprint(area), *stands(area)]:
            i0, j0 = np.floor((np.array([x0, y0]) - self._origin) / CELL_M + 0.5).astype(int).clip(0)
            i1, j1 = np.ceil((np.array([x1, y1]) - self._origin) / CELL_M - 0.5).astype(int).clip(0)
            free[j0 : max(j1, j0 + 1), i0 : max(i1, i0 + 1)] = 0
        self.clearance = cv2.distanceTransform(free, cv2.DIST_L2, 5).astype(np.float64) * CELL_M
        self._walkable = self.clearance > BODY_M + 0.03

    def _cell(self, points: Array) -> NDArray[np.int64]:
        """(…, 2) metres to (…, 2) row, column, held inside the grid."""
        cell = np.floor((points - self._origin) / CELL_M).astype(np.int64)[..., ::-1]
        return np.clip(cell, 0, np.array(self._walkable.shape) - 1)

    def room(self, points: Array) -> Array:
        """(…,) distance in metres to the nearest obstacle."""
        cell = self._cell(points)
        out: Array = self.clearance[cell[..., 0], cell[..., 1]]
        return out

    def inside(self, points: Array) -> NDArray[np.bool_]:
        """(…,) whether points lie within the area's four walls."""
        low, size = np.array(self.area.origin), np.array(self.area.size)
        return np.asarray(((points > low) & (points < low + size)).all(axis=-1))

    def free_point(self, rng: np.random.Generator, margin_m: float = 0.7) -> Array:
        """(2,) a random place with elbow room, inside the area."""
        low, size = np.array(self.area.origin), np.array(self.area.size)
        for _ in range(2000):
            point = low + rng.uniform(0.08, 0.92, 2) * size
            if self.room(point) > margin_m:
                return point
        raise ValueError(f"area {self.area.name} has no free floor")

    def path(self, start: Array, goal: Array) -> Array:
        """(k, 2) corners of a short path by A*, straightened; a straight line where no path exists."""
        first, last = self._nearest(start), self._nearest(goal)
        came: dict[tuple[int, int], tuple[int, int]] = {first: first}
        cost = {first: 0.0}
        queue = [(0.0, first)]
        while queue:
            _, cell = heapq.heappop(queue)
            if cell == last:
                break
            for i, j, length in _STEPS:
                step = (cell[0] + i, cell[1] + j)
                if not (0 <= step[0] < self._walkable.shape[0] and 0 <= step[1] < self._walkable.shape[1]):
                    continue
                if not self._walkable[step]:
                    continue
                total = cost[cell] + length * (1 + 0.25 * max(0.0, 0.7 - float(self.clearance[step])))
                if total < cost.get(step, np.inf):
                    cost[step], came[step] = total, cell
                    heapq.heappush(queue, (total + float(np.hypot(step[0] - last[0], step[1] - last[1])), step))
        if last not in came:
            return np.stack([start, goal])
        cells = [last]
        while cells[-1] != first:
            cells.append(came[cells[-1]])
        corners = self._origin + (np.array(cells[::-1])[:, ::-1] + 0.5) * CELL_M
        return self._straighten(np.concatenate([start[None], corners[1:-1], goal[None]]))

    def _nearest(self, point: Array) -> tuple[int, int]:
        """The walkable cell nearest to a point."""
        row, column = (int(k) for k in self._cell(point))
        if self._walkable[row, column]:
            return row, column
        rows, columns = np.nonzero(self._walkable)
        best = int(np.argmin((rows - row) ** 2 + (columns - column) ** 2))
        return int(rows[best]), int(columns[best])

    def visible(self, a: Array, b: Array) -> bool:
        """Whether a person can walk straight from a to b."""
        steps = max(int(np.linalg.norm(b - a) / (CELL_M / 2)), 1)
        line = a + (b - a) * np.linspace(0, 1, steps + 1)[:, None]
        return bool((self.room(line) > BODY_M + 0.01).all())

    def _straighten(self, corners: Array) -> Array:
        """Leave out corners that can be cut."""
        kept, k = [0], 0
        while k < len(corners) - 1:
            ahead = next((j for j in range(len(corners) - 1, k + 1, -1) if self.visible(corners[k], corners[j])), k + 1)
            kept.append(ahead)
            k = ahead
        return corners[kept]

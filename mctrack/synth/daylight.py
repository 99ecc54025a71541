"""Light of the sky and the sun on an outdoor area, and how light comes and goes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.intersect import intersect
from mctrack.synth.scene import Area
from mctrack.synth.shapes import Solid, bgr, passage
from mctrack.synth.surfaces import CEILING, FLOOR

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

SKY_M = 1e4
"""Height of the sky: rays that meet nothing end there."""
_SKY = np.array([0.62, 0.575, 0.55])
_SUN = np.array([0.52, 0.62, 0.67])
_RIM_RAD = 0.006
"""Radius of the disc that the sun is taken for, a little larger than it is: the edges of shadows are soft."""
_MAP_M = 0.1
_CHEST_M = 1.15


def overcast(share: float) -> float:
    """Factor of the sky's light when that share of the sun's is there: clouds hand some of it on."""
    return 1 + 0.18 * (1 - share)


def sun_direction(area: Area) -> Array:
    """(3,) unit vector towards the sun."""
    azimuth, elevation = math.radians(area.sun[0]), math.radians(area.sun[1])
    return np.array(
        [math.cos(azimuth) * math.cos(elevation), math.sin(azimuth) * math.cos(elevation), math.sin(elevation)]
    )


def strength(area: Area, time_s: float) -> float:
    """Share 1 − ``light_swing`` … 1 of the light that is there at a moment: clouds outdoors, dimming indoors."""
    turn = 2 * math.pi * time_s / area.light_period_s
    wave = 0.5 + 0.35 * math.sin(turn + 1.4) + 0.15 * math.sin(2.7 * turn + 0.6)
    return 1 - area.light_swing * min(max(1.6 * (1 - wave) - 0.5, 0.0), 1.0)


class Daylight:
    """Sky and sun of one outdoor area."""

    def __init__(self, area: Area, shapes: list[Solid]) -> None:
        self._area = area
        self.sun = sun_direction(area)
        self._casters = [s for s in shapes if s.texture not in ("poster", "window", "board")]
        self._sky, self._beam = _SKY * area.brightness, _SUN * bgr(area.light_colour) * area.brightness

    def on(self, points: Array, normal: Array, hit: IntArray) -> Array:
        """(n, 2, 3) BGR light on surfaces: from the sky, from the sun. The sky itself shines."""
        above = 0.62 + 0.38 * normal[:, 2]
        above = above * (1 - 0.28 * np.exp(-np.clip(self._edge(points), 0, None) / 1.2) * (hit == FLOOR))
        upright = (hit >= 0) & (np.abs(normal[:, 2]) < 0.5)
        above = above * np.where(upright, 1 - 0.25 * np.exp(-np.clip(points[:, 2], 0, None) / 0.35), 1.0)
        above = np.where(self._edge(points) < -0.05, 0.8 * above, above)
        cosine = np.clip(normal @ self.sun, 0, None)
        cosine[hit == CEILING] = 0
        rows = np.flatnonzero(cosine > 0)
        cosine[rows] *= self._reached(points[rows] + normal[rows] * 0.01, 4)
        light = np.stack([above[:, None] * self._sky, cosine[:, None] * self._beam], axis=1)
        light[hit == CEILING, 0] = 1.0
        return light

    def _edge(self, points: Array) -> Array:
        """(n,) metres to the nearest side of the area, negative beyond it."""
        low, size = np.array(self._area.origin), np.array(self._area.size)
        return np.asarray(np.minimum(points[:, :2] - low, low + size - points[:, :2]).min(axis=1))

    def _reached(self, points: Array, rays: int) -> Array:
        """(n,) share of the sun's disc that is seen from (n, 3) points."""
        side = np.cross(self.sun, [0.0, 0.0, 1.0])
        side /= max(float(np.linalg.norm(side)), 1e-9)
        over = np.cross(side, self.sun)
        lit = np.zeros(len(points))
        frame = np.stack([side, over], axis=1)
        seen, boxes = points @ frame, [_shadow_box(s, frame) for s in self._casters]
        for k in range(rays):
            turn = 2 * math.pi * (k + 0.5) / rays
            aim = self.sun + (_RIM_RAD * (math.cos(turn) * side + math.sin(turn) * over) if rays > 1 else 0)
            direction = np.broadcast_to(np.where(np.abs(aim) < 1e-9, 1e-9, aim), points.shape)
            dark = np.zeros(len(points), bool)
            for shape, (low, high) in zip(self._casters, boxes, strict=True):
                rows = np.flatnonzero(~dark & ((seen >= low) & (seen <= high)).all(axis=1))
                dark[rows] = np.isfinite(intersect(shape, points[rows], direction[rows])[0])
            lit[~dark] += 1 / rays
        return lit

    def chest_map(self) -> tuple[Array, NDArray[np.float32]]:
        """Corner (2,) and (rows, columns) of a map, ``_MAP_M`` per cell: share of sun that reaches a chest there."""
        import cv2

        behind = passage(self._area)
        margin = behind.wall_m + behind.width_m + behind.reach_m
        corner = np.array(self._area.origin) - margin
        w, h = np.ceil((np.array(self._area.size) + 2 * margin) / (2 * _MAP_M)).astype(int).tolist()
        x, y = np.meshgrid(np.arange(w) * 2 * _MAP_M + _MAP_M, np.arange(h) * 2 * _MAP_M + _MAP_M)
        points = np.stack([x.ravel() + corner[0], y.ravel() + corner[1], np.full(w * h, _CHEST_M)], axis=1)
        lit = self._reached(points, 1).reshape(h, w).astype(np.float32)
        fine = cv2.GaussianBlur(cv2.resize(lit, (2 * w, 2 * h)), (0, 0), 1.5)
        return corner, np.asarray(fine, np.float32)

    def key(self, lit: float) -> Array:
        """(3,) BGR strength of the sun on people, of whom that share is in the sun."""
        return 1.05 * lit * self._beam

    @property
    def ambient(self) -> Array:
        """(3,) BGR strength of the sky on people."""
        return 1.12 * self._sky


def _shadow_box(shape: Solid, frame: Array) -> tuple[Array, Array]:
    """Two (2,) corners, in the plane across the sunlight, of the box in which a shape's shadow lies."""
    corners = np.stack(np.meshgrid(*zip(shape.low, shape.high, strict=True)), axis=-1).reshape(-1, 3) @ frame
    slack = _RIM_RAD * 50
    return corners.min(axis=0) - slack, corners.max(axis=0) + slack


def at(corner: Array, chart: NDArray[np.float32], x_m: float, y_m: float) -> float:
    """A map's value at a place."""
    j = int((x_m - corner[0]) / _MAP_M)
    i = int((y_m - corner[1]) / _MAP_M)
    return float(chart[min(max(i, 0), chart.shape[0] - 1), min(max(j, 0), chart.shape[1] - 1)])

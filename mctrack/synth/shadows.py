"""Soft shadows of people on the floor: their limbs thrown from every lamp onto a map of the floor, then looked up."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.synth import gait
from mctrack.synth.backdrop import Backdrop
from mctrack.synth.daylight import SKY_M, sun_direction
from mctrack.synth.layout import lamps
from mctrack.synth.scene import Area

Array = NDArray[np.float64]
FloatImage = NDArray[np.float32]

CELL_M, MARGIN_M = 0.04, 2.0
NEAREST = 4
"""So many lamps throw a shadow of a person."""
_LIMBS = [
    (gait.HEAD, gait.PELVIS, 0.13),
    (gait.CHEST, gait.PELVIS, 0.19),
    (gait.L_THIGH, gait.L_FOOT, 0.08),
    (gait.R_THIGH, gait.R_FOOT, 0.08),
    (gait.L_ARM, gait.L_HAND, 0.05),
    (gait.R_ARM, gait.R_HAND, 0.05),
]


class FloorShadows:
    """Shadows in one camera's picture."""

    def __init__(self, area: Area, backdrop: Backdrop) -> None:
        self._lamps = sun_direction(area)[None] * SKY_M + [*area.origin, 0.0] if area.outdoor else lamps(area)
        self._outdoor = area.outdoor
        self._origin = np.array(area.origin) - MARGIN_M
        w, h = np.ceil((np.array(area.size) + 2 * MARGIN_M) / CELL_M).astype(int).tolist()
        self._shape = (h, w)
        place = (backdrop.floor_xy - self._origin) / CELL_M
        self._x = place[..., 0].clip(0, w - 1).astype(np.float32)
        self._y = place[..., 1].clip(0, h - 1).astype(np.float32)
        self._floor = backdrop.floor

    def factors(self, skeletons: list[Array]) -> tuple[FloatImage, FloatImage]:
        """Two (h, w, 1) factors, given everyone's (17, 3) joints in world metres.

        Returns:
            of the light from everywhere (dark under the feet) and of direct light: indoors everything is in the
            second, outdoors it is the sun's.
        """
        dark = np.zeros(self._shape, np.float32)
        weight, soft = (0.95, 1.1) if self._outdoor else (0.15, 2.2)
        layers = [np.zeros(self._shape, np.uint8) for _ in self._lamps[:NEAREST]]
        for joints in skeletons:
            for layer, lamp in zip(layers, self._nearest(joints), strict=True):
                self._throw(layer, lamp, joints)
        for layer in layers:
            dark += cv2.GaussianBlur(layer, (0, 0), soft).astype(np.float32) * (weight / 255)
        contact = np.zeros(self._shape, np.float32)
        for joints in skeletons:
            for foot in (gait.L_FOOT, gait.R_FOOT):
                cv2.circle(contact, self._cells(joints[foot, None, :2])[0], 4, 0.5, -1)
        under = cv2.GaussianBlur(contact, (0, 0), 2.0)
        if not self._outdoor:
            thrown = self._seen(dark + under, 0.75)
            return thrown, thrown
        return self._seen(under, 0.75), self._seen(dark + under, 0.97)

    def _seen(self, dark: Any, most: float) -> FloatImage:
        """(h, w, 1) factor in the camera's picture from a map of darkness on the floor."""
        seen = cv2.remap(dark, self._x, self._y, cv2.INTER_LINEAR)
        return np.asarray(1 - np.minimum(seen, most) * self._floor, np.float32)[..., None]

    def _nearest(self, joints: Array) -> Array:
        """(≤ NEAREST, 3) the lamps that throw a visible shadow of someone."""
        if len(self._lamps) <= NEAREST:
            return self._lamps
        away = np.linalg.norm(self._lamps[:, :2] - joints[gait.PELVIS, :2], axis=1)
        return self._lamps[np.sort(np.argsort(away, kind="stable")[:NEAREST])]

    def _throw(self, layer: NDArray[np.uint8], lamp: Array, joints: Array) -> None:
        """Draw a body's shadow from one lamp as thick lines."""
        reach = lamp[2] / np.maximum(lamp[2] - joints[:, 2], 0.3)
        points = self._cells(lamp[:2] + (joints[:, :2] - lamp[:2]) * reach[:, None])
        for a, b, radius_m in _LIMBS:
            cv2.line(layer, points[a], points[b], 255, max(int(2 * radius_m / CELL_M), 1), cv2.LINE_AA)

    def _cells(self, xy: Array) -> list[list[int]]:
        """(n, 2) world metres to columns and rows of the map."""
        cells: list[list[int]] = np.round((xy - self._origin) / CELL_M).astype(int).tolist()
        return cells

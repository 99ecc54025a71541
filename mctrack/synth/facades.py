"""What outdoor surfaces look like: houses with windows and shops, a street between pavements, the sky."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.scene import Area
from mctrack.synth.shapes import Solid, bgr

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

STOREY_M = 3.1
_GLASS = np.array([0.46, 0.40, 0.36])
_ASPHALT = np.array([0.46, 0.45, 0.445])


class Noise(Protocol):
    """What is used of :class:`~mctrack.synth.surfaces.Textures`."""

    def noise(self, name: str, u: Array, v: Array, scale: float) -> Array:
        """(n,) noise at metres (u, v)."""

    def cell(self, i: IntArray, j: IntArray) -> Array:
        """(n,) one random number per cell."""


def sky(points: Array, textures: Noise) -> Array:
    """(n, 3) BGR: pale at the horizon, blue above, thin clouds in perspective."""
    flat = np.hypot(points[:, 0], points[:, 1])
    up = points[:, 2] / np.hypot(flat, points[:, 2])
    blue = np.array([0.90, 0.87, 0.84]) + np.sqrt(up)[:, None] * np.array([-0.02, -0.20, -0.34])
    wisps = textures.noise("broad", points[:, 0], points[:, 1], 9e4) + 0.5 * textures.noise(
        "broad", points[:, 0], points[:, 1], 2.3e4
    )
    cloud = np.clip(0.55 * wisps + 0.1, 0, 0.8)[:, None] * np.clip(up / 0.2, 0, 1)[:, None]
    return np.asarray(blue * (1 - cloud) + 0.94 * cloud)


def street(points: Array, area: Area, textures: Noise) -> Array:
    """(n, 3) BGR: asphalt along the longer side with a crossing in the middle, slabs and a kerb on both sides."""
    x, y = points[:, 0] - area.origin[0], points[:, 1] - area.origin[1]
    (length, width), (u, v) = area.size, (x, y)
    if width > length:
        length, width, u, v = width, length, y, x
    i, j = np.floor(x / 0.5).astype(np.int64), np.floor(y / 0.5).astype(np.int64)
    joint = (np.abs(x / 0.5 - np.round(x / 0.5)) < 0.018) | (np.abs(y / 0.5 - np.round(y / 0.5)) < 0.018)
    dirt = 0.06 * textures.noise("broad", x, y, 7.0) + 0.03 * textures.noise("fine", x, y, 1.3)
    slabs = bgr(area.floor_colour) * ((1 + dirt + 0.05 * textures.cell(i, j)) * np.where(joint, 0.8, 1.0))[:, None]
    grain = 1 + 0.10 * textures.noise("fine", x, y, 0.8) + 0.10 * textures.noise("broad", x, y, 9.0)
    road = _ASPHALT * grain[:, None]
    middle = np.abs(v - width / 2)
    half = 0.24 * width
    paint = (np.abs(u - length / 2) < 1.6) & ((v / 0.9) % 1 < 0.5) & (middle < half - 0.25)
    worn = 0.70 + 0.06 * textures.noise("fine", x, y, 1.6)
    road = np.where(paint[:, None], worn[:, None], road)
    kerb = np.full(3, 0.60) * (1 + dirt)[:, None]
    return np.where((middle < half)[:, None], road, np.where((middle < half + 0.16)[:, None], kerb, slabs))


def house(shape: Solid, points: Array, normal: Array, textures: Noise) -> Array:
    """(n, 3) factors of a house's paint: plinth, shop windows and doors below, rows of windows above."""
    side = np.abs(normal[:, 0]) > np.abs(normal[:, 1])
    u, z = np.where(side, points[:, 1], points[:, 0]), points[:, 2]
    paint = 1 + 0.05 * textures.noise("broad", u, z, 6.0) + 0.03 * textures.noise("fine", u, z, 1.5)
    paint = paint * np.where(z < 0.5, 0.62, 1 - 0.10 * np.exp(-z / 1.5)) * np.where(np.abs(z - 3.0) < 0.1, 0.82, 1.0)
    out = np.repeat(paint[:, None], 3, axis=1)
    low, size = shape.low, shape.high - shape.low
    wide = np.where(side, size[1], size[0])
    across = u - np.where(side, low[1], low[0])
    rows = np.flatnonzero((wide > 2.0) & (np.abs(normal[:, 2]) < 0.5))
    if len(rows) == 0:
        return out
    span, tall = float(wide[rows].max()), float(size[2])
    key = int(abs(low[0] * 3 + low[1] * 5)) % 50
    below = rows[z[rows] < 3.0]
    above = rows[(z[rows] >= 3.2) & (z[rows] < tall - 0.45)]
    out[above] = _windows(shape, out[above], across[above], z[above], span, key, textures)
    out[below] = _shops(shape, out[below], across[below], z[below], span, key, textures)
    return out


def _glass(shape: Solid, up: Array, tone: Array) -> Array:
    """(n, 3) factors that make panes of a shape's paint: the sky's reflection, brighter above."""
    return np.asarray(_GLASS * (0.62 + 0.5 * up + 0.22 * tone)[:, None] / np.maximum(shape.colour, 0.05))


def _windows(shape: Solid, paint: Array, u: Array, z: Array, span: float, key: int, textures: Noise) -> Array:
    """Upper storeys: a window every 1.8 m or so, with frame, cross bar and sill."""
    count = max(round(span / 1.8), 1)
    column = np.floor(u / span * count)
    x = u / span * count - column
    storey = np.floor(z / STOREY_M)
    y = z / STOREY_M - storey
    tone = textures.cell(column.astype(np.int64) + key, storey.astype(np.int64) + 3 * key)
    pane = (np.abs(x - 0.5) < 0.27) & (y > 0.27) & (y < 0.80)
    frame = (np.abs(x - 0.5) < 0.32) & (y > 0.245) & (y < 0.83)
    bars = (np.abs(x - 0.5) < 0.02) | (np.abs(y - 0.62) < 0.010)
    sill = (np.abs(x - 0.5) < 0.36) & (y > 0.215) & (y <= 0.245)
    white = 0.80 / np.maximum(shape.colour, 0.05) * np.ones((len(u), 1))
    glass = np.where((tone > 0.55)[:, None], 0.66 * white, _glass(shape, (y - 0.27) / 0.53, tone))
    out = np.where(sill[:, None], 0.8 * white, paint)
    out = np.where(frame[:, None], white, out)
    return np.where((pane & ~bars)[:, None], glass, out)


def _shops(shape: Solid, paint: Array, u: Array, z: Array, span: float, key: int, textures: Noise) -> Array:
    """The ground floor: wide windows under a sign, and a door in each house."""
    count = max(round(span / 3.0), 1)
    column = np.floor(u / span * count)
    x = u / span * count - column
    entrance = column == key % count
    tone = textures.cell(column.astype(np.int64) + key, np.full(len(u), key, np.int64))
    pane = ~entrance & (np.abs(x - 0.5) < 0.38) & (z > 0.55) & (z < 2.35)
    bars = np.abs(x - 0.5) < 0.012
    door = entrance & (np.abs(x - 0.5) < 0.19) & (z < 2.25)
    jamb = entrance & (np.abs(x - 0.5) < 0.23) & (z < 2.38)
    sign = ~entrance & (np.abs(x - 0.5) < 0.40) & (z > 2.45) & (z < 2.85)
    goods = np.where(z < 1.3, 0.9 + 0.5 * textures.noise("fine", u, z, 1.1), 1.0)
    colours = np.array([[0.28, 0.22, 0.20], [0.24, 0.30, 0.24], [0.22, 0.24, 0.42], [0.36, 0.30, 0.26]])
    dark = colours[key % len(colours)] / np.maximum(shape.colour, 0.05) * np.ones((len(u), 1))
    out = np.where((sign | door)[:, None], dark * np.where(sign, 1.25, 0.9)[:, None], paint)
    out = np.where((jamb & ~door)[:, None], 1.12 * paint, out)
    glass = _glass(shape, (z - 0.55) / 1.8, tone) * (0.72 * goods)[:, None]
    return np.where((pane & ~bars)[:, None], glass, out)

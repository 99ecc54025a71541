"""What the surfaces of a room look like: procedural textures of floors, walls, furniture and pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mctrack.synth import facades
from mctrack.synth.clothes import value_noise
from mctrack.synth.layout import lamps
from mctrack.synth.scene import Area
from mctrack.synth.shapes import Solid, bgr

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

FLOOR, CEILING = -1, -2
"""In place of a shape's index, for rays that hit none."""


class Textures:
    """Tileable noise for the procedural textures."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._fine = value_noise(rng, 512, 512, 128, 128)
        self._broad = value_noise(rng, 512, 512, 24, 24)
        self._grain = value_noise(rng, 512, 512, 12, 160)
        self._cell = rng.uniform(-1, 1, (64, 64)).astype(np.float32)

    def noise(self, name: str, u: Array, v: Array, scale: float) -> Array:
        """(n,) noise at metres (u, v), one tile per ``scale`` metres."""
        field = {"fine": self._fine, "broad": self._broad, "grain": self._grain}[name]
        i, j = (v / scale * 512).astype(np.int64) % 512, (u / scale * 512).astype(np.int64) % 512
        return field[i, j].astype(float)

    def cell(self, i: IntArray, j: IntArray) -> Array:
        """(n,) one random number per cell."""
        return self._cell[i % 64, j % 64].astype(float)


def albedo(points: Array, hit: IntArray, normal: Array, shapes: list[Solid], area: Area, textures: Textures) -> Array:
    """(n, 3) BGR of the surfaces."""
    colour = np.full((len(points), 3), 0.85)
    floor, ceiling = hit == FLOOR, hit == CEILING
    colour[floor] = _floor(points[floor], area, textures)
    if area.outdoor:
        colour[ceiling] = facades.sky(points[ceiling], textures)
    else:
        colour[ceiling] = _ceiling(points[ceiling], area)
    for index, shape in enumerate(shapes):
        rows = np.flatnonzero(hit == index)
        if len(rows):
            colour[rows] = shape.colour * _surface(shape, points[rows], normal[rows], textures)
    return colour


def _ceiling(points: Array, area: Area) -> Array:
    panel = (np.abs(points[:, None, :2] - lamps(area)[:, :2]).max(axis=2) < 0.45).any(axis=1)
    return np.where(panel[:, None], 1.6, 0.86) + np.zeros(3)


def _floor(points: Array, area: Area, textures: Textures) -> Array:
    if area.floor == "street":
        return facades.street(points, area, textures)
    x, y = points[:, 0], points[:, 1]
    base = 1 + 0.05 * textures.noise("broad", x, y, 6.0) + 0.03 * textures.noise("fine", x, y, 2.0)
    if area.floor == "tiles":
        i, j = np.floor(x / 0.6).astype(np.int64), np.floor(y / 0.6).astype(np.int64)
        joint = (np.abs(x / 0.6 - np.round(x / 0.6)) < 0.012) | (np.abs(y / 0.6 - np.round(y / 0.6)) < 0.012)
        base = base * (1 + 0.05 * textures.cell(i, j)) * np.where(joint, 0.72, 1.0)
    elif area.floor == "wood":
        i = np.floor(y / 0.14).astype(np.int64)
        j = np.floor(x / 1.4 + 0.37 * (i % 5)).astype(np.int64)
        joint = (y / 0.14 - np.floor(y / 0.14)) < 0.05
        base = (
            base
            * (1 + 0.11 * textures.cell(i, j) + 0.06 * textures.noise("grain", y, x, 1.6))
            * np.where(joint, 0.8, 1)
        )
    else:
        base = base * (1 + 0.10 * textures.noise("fine", x, y, 0.9))
    return bgr(area.floor_colour) * base[:, None]


def _surface(shape: Solid, points: Array, normal: Array, textures: Textures) -> Array:
    """(n, 3) or (n, 1) factors of a shape's colour."""
    x, y, z = points.T
    if shape.texture == "house":
        return facades.house(shape, points, normal, textures)
    side = np.abs(normal[:, 0]) > np.abs(normal[:, 1])
    u = np.where(side, y, x)
    if shape.texture == "plaster":
        factor = 1 + 0.025 * textures.noise("broad", u, z, 5.0) + 0.02 * textures.noise("fine", u, z, 1.5)
    elif shape.texture == "wood":
        factor = 1 + 0.10 * textures.noise("grain", np.where(np.abs(normal[:, 2]) > 0.5, y, z), x, 1.2)
    elif shape.texture == "fabric":
        factor = 1 + 0.07 * textures.noise("fine", x + z, y + z, 0.5)
    elif shape.texture == "awning":
        factor = np.where((u / 0.5) % 1 < 0.5, 1.0, 1.6)
    elif shape.texture == "leaves":
        factor = 1 + 0.55 * textures.noise("fine", x + z, y + z, 1.1)
    elif shape.texture in ("shelf", "window", "poster", "board"):
        low, size = shape.low, np.maximum(shape.high - shape.low, 1e-6)
        across = (u - np.where(side, low[1], low[0])) / np.where(side, size[1], size[0])
        return _drawn(shape, u, across, (z - low[2]) / size[2], np.abs(normal[:, 2]) < 0.5, textures)
    else:
        factor = np.ones(len(points))
    return factor[:, None]


def _drawn(shape: Solid, u: Array, across: Array, up: Array, upright: NDArray[np.bool_], textures: Textures) -> Array:
    """(n, 3) factors of things with a design; ``across`` and ``up`` run 0…1 over it, ``u`` is metres."""
    border = (np.minimum(across, up) < 0.05) | (np.maximum(across, up) > 0.95)
    if shape.texture == "shelf":
        row = np.floor(up * 5).astype(np.int64)
        level = up * 5 - row
        book = np.floor(u / 0.05).astype(np.int64)
        tint = np.stack([textures.cell(book, row + 8 * k) for k in range(3)], axis=1)
        books = (level > 0.12) & (level < 0.75 + 0.15 * textures.cell(book, row)) & upright
        return np.where(books[:, None], 0.75 + 0.5 * tint, np.where(level < 0.12, 1.1, 0.35)[:, None])
    if shape.texture == "window":
        view = np.stack([1.25 + 0.25 * up, 1.15 + 0.2 * up, 1.0 + 0.2 * up], axis=1)
        return np.where((border | (np.abs(across - 0.5) < 0.03))[:, None], 0.75, view)
    if shape.texture == "poster":
        i = np.floor(up * 6).astype(np.int64) + int(shape.low[0] * 7)
        cell = textures.cell(i, np.floor(across * 3).astype(np.int64))
        return np.where(border[:, None], 1.25, 1 + 0.5 * cell[:, None] * np.array([1.0, -0.4, 0.7]))
    return np.where(border, 0.5, 1 + 0.03 * textures.noise("broad", u, up, 2.0))[:, None]

"""The sides of a street: rows of houses with windows and shops, gaps between them, and the lanes behind."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.scene import WALLS, Area
from mctrack.synth.shapes import Solid, bgr, passage, slab, wall_frame

Array = NDArray[np.float64]

HOUSE_M = 6.5
"""About how wide a house is."""
_TINTS = (
    (1.00, 1.00, 1.00),
    (0.86, 0.95, 1.06),
    (1.05, 1.02, 0.94),
    (0.72, 0.84, 1.00),
    (0.94, 0.92, 0.90),
    (1.00, 0.97, 0.84),
    (0.80, 0.88, 0.96),
)
"""BGR factors of the houses' paint, one after the other."""


def houses(area: Area, wall: str) -> list[Solid]:
    """One side of an outdoor area: houses ``passage(area).wall_m`` deep, open where it has doors."""
    length, behind = wall_frame(area, wall)[3], passage(area)
    doors = sorted((d for d in area.doors if d.wall == wall), key=lambda d: d.at_m)
    gaps = [e for d in doors for e in (d.at_m - d.width_m / 2, d.at_m + d.width_m / 2)]
    edges = [-behind.wall_m, *gaps, length + behind.wall_m]
    shapes: list[Solid] = []
    number = WALLS.index(wall) * 3
    for low, high in zip(edges[::2], edges[1::2], strict=True):
        shapes += _row(area, wall, (low, high), (0.0, behind.wall_m), number)
        number += 2
    if doors:
        shapes += _lane(area, wall, (gaps[0], gaps[-1]), length, number)
    return shapes


def _row(area: Area, wall: str, span: tuple[float, float], depth: tuple[float, float], number: int) -> list[Solid]:
    """Houses side by side, each with its own paint and height, on a common plinth."""
    start, along, out, _ = wall_frame(area, wall)
    count = max(round((span[1] - span[0]) / HOUSE_M), 1)
    edges = np.linspace(*span, count + 1)
    accent = area.accent_wall == wall
    shapes = []
    for k, (low, high) in enumerate(pairwise(edges)):
        paint = bgr(area.accent_colour if accent else area.wall_colour) * _TINTS[(number + k) % len(_TINTS)]
        tall = area.height_m * (1.0, 0.88, 1.12, 0.95, 1.05)[(number + 2 * k) % 5]
        box = slab(start, along, out, (float(low), float(high)), depth, (0.0, tall))
        shapes.append(Solid("box", *box, np.clip(paint, 0, 1), "house"))
        eaves = slab(start, along, out, (float(low), float(high)), (depth[0] - 0.18, depth[1]), (tall - 0.16, tall))
        shapes.append(Solid("box", *eaves, np.clip(0.62 * paint, 0, 1), "plain", blocks=False))
    return shapes


def _lane(area: Area, wall: str, gaps: tuple[float, float], length: float, number: int) -> list[Solid]:
    """The lane behind a row of houses: their backs go on beyond the corner, and other houses stand across."""
    behind = passage(area)
    near, far = behind.wall_m, behind.wall_m + behind.width_m
    low, high = gaps[0] - behind.reach_m, gaps[1] + behind.reach_m
    shapes = _row(area, wall, (low - near, high + near), (far, far + near), number)
    for span in ((low, -near), (length + near, high)):
        if span[0] < span[1]:
            shapes += _row(area, wall, span, (0.0, near), number + 1)
    for span in ((low - near, low), (high, high + near)):
        shapes += _row(area, wall, span, (0.0, far), number + 3)
    return shapes

"""The solid shapes that places are made of, where a wall stands, and what lies behind its doors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.scene import Area

Array = NDArray[np.float64]

WALL_M = 0.15
CORRIDOR_M = 1.5
REACH_M = 3.4
"""How far a corridor goes on beyond its door, so that its end cannot be seen from the room."""


@dataclass(frozen=True)
class Passage:
    """What lies behind the doors: thickness of the wall, width of the corridor, how far it goes on; metres."""

    wall_m: float = WALL_M
    width_m: float = CORRIDOR_M
    reach_m: float = REACH_M


def passage(area: Area) -> Passage:
    """A corridor behind the walls of a room, a lane behind the houses of a street."""
    return Passage(0.5, 2.4, 6.5) if area.outdoor else Passage()


@dataclass(frozen=True, eq=False)
class Solid:
    """A shape of the backdrop.

    Attributes:
        kind: ``box`` (axis-aligned), ``cylinder`` (upright) or ``ellipsoid``, all inside ``low``…``high`` (3,) m.
        colour: (3,) BGR; texture: name of a procedural texture; blocks: whether people walk around it.
    """

    kind: str
    low: Array
    high: Array
    colour: Array
    texture: str = "plain"
    blocks: bool = True


def bgr(colour: tuple[float, float, float]) -> Array:
    """(3,) blue, green, red of a red, green, blue triple."""
    return np.array(colour[::-1], float)


def wall_frame(area: Area, wall: str) -> tuple[Array, Array, Array, float]:
    """Start point, direction along, outward normal (2,) and length in metres of a wall's inner face."""
    x0, y0 = area.origin
    w, d = area.size
    return {
        "south": (np.array([x0, y0]), np.array([1.0, 0.0]), np.array([0.0, -1.0]), w),
        "north": (np.array([x0, y0 + d]), np.array([1.0, 0.0]), np.array([0.0, 1.0]), w),
        "west": (np.array([x0, y0]), np.array([0.0, 1.0]), np.array([-1.0, 0.0]), d),
        "east": (np.array([x0 + w, y0]), np.array([0.0, 1.0]), np.array([1.0, 0.0]), d),
    }[wall]


def slab(
    start: Array,
    along: Array,
    out: Array,
    span: tuple[float, float],
    depth: tuple[float, float],
    z: tuple[float, float],
) -> tuple[Array, Array]:
    """Corners (3,) of a box given along and across a wall."""
    p, q = start + along * span[0] + out * depth[0], start + along * span[1] + out * depth[1]
    return np.array([*np.minimum(p, q), z[0]]), np.array([*np.maximum(p, q), z[1]])

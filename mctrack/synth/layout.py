"""From an area's description to solid shapes: walls with openings, corridors behind them, furniture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.scene import Area, Door, Item

Array = NDArray[np.float64]

WALL_M = 0.15
CORRIDOR_M = 1.5
REACH_M = 3.4
"""How far a corridor goes on beyond its door, so that its end cannot be seen from the room."""


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


def door_points(area: Area, door: Door) -> Array:
    """(4, 2) way in: the corridor's hidden end, the corridor before the door, the doorway, a step inside."""
    start, along, out, _ = wall_frame(area, door.wall)
    centre = start + along * door.at_m
    middle = WALL_M + CORRIDOR_M / 2
    return np.stack(
        [
            centre + out * middle + along * door.turn * (REACH_M - 0.4),
            centre + out * middle,
            centre + out * WALL_M / 2,
            centre - out * 0.7,
        ]
    )


def _slab(
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


def lamps(area: Area) -> Array:
    """(4, 3) centres of the ceiling lights, world metres."""
    x, y = area.origin
    w, d = area.size
    return np.array([[x + w * i, y + d * j, area.height_m - 0.05] for i in (0.27, 0.73) for j in (0.27, 0.73)])


def solids(area: Area) -> list[Solid]:
    """Everything of an area that can be seen and is not a person, floor and ceiling excepted."""
    shapes: list[Solid] = []
    for wall in ("south", "east", "north", "west"):
        shapes += _wall(area, wall)
    for item in area.items:
        shapes += _item(area, item)
    for flat in area.wall_items:
        start, along, out, _ = wall_frame(area, flat.wall)
        span = (flat.at_m - flat.size[0] / 2, flat.at_m + flat.size[0] / 2)
        box = _slab(start, along, out, span, (-0.02, 0.01), (flat.z_m - flat.size[1] / 2, flat.z_m + flat.size[1] / 2))
        shapes.append(Solid("box", *box, bgr(flat.colour), flat.kind, blocks=False))
    return shapes


@dataclass(frozen=True, eq=False)
class _Mason:
    """Makes boxes of one wall: spans along it, depths outward from its inner face, heights; metres."""

    area: Area
    wall: str

    def block(
        self,
        span: tuple[float, float],
        depth: tuple[float, float],
        z: tuple[float, float],
        tint: float = 1.0,
        texture: str = "plaster",
        blocks: bool = True,
    ) -> Solid:
        """One box in the wall's colour times ``tint``."""
        start, along, out, _ = wall_frame(self.area, self.wall)
        colour = self.area.accent_colour if self.area.accent_wall == self.wall else self.area.wall_colour
        return Solid("box", *_slab(start, along, out, span, depth, z), bgr(colour) * tint, texture, blocks)


def _wall(area: Area, wall: str) -> list[Solid]:
    """A wall, its skirting, its door frames, and the corridor behind if it has doors."""
    length = wall_frame(area, wall)[3]
    doors = sorted((d for d in area.doors if d.wall == wall), key=lambda d: d.at_m)
    make, shapes, top = _Mason(area, wall), list[Solid](), (0.0, area.height_m)
    edges = [-WALL_M, *(e for d in doors for e in (d.at_m - d.width_m / 2, d.at_m + d.width_m / 2)), length + WALL_M]
    for span in zip(edges[::2], edges[1::2], strict=True):
        shapes.append(make.block(span, (0, WALL_M), top))
        shapes.append(make.block(span, (-0.015, 0), (0, 0.09), 0.55, "plain", False))
    deep = (-0.03, WALL_M + 0.02)
    for door in doors:
        low, high = door.at_m - door.width_m / 2, door.at_m + door.width_m / 2
        shapes.append(make.block((low, high), (0, WALL_M), (door.height_m, area.height_m), blocks=False))
        for edge in (low - 0.07, high):
            shapes.append(make.block((edge, edge + 0.07), deep, (0, door.height_m + 0.07), 0.42, "plain", False))
        lintel = (door.height_m, door.height_m + 0.07)
        shapes.append(make.block((low, high), deep, lintel, 0.42, "plain", False))
    return shapes + (_corridor(make, doors, length) if doors else [])


def _corridor(make: _Mason, doors: list[Door], length: float) -> list[Solid]:
    """The corridor behind a wall, ``REACH_M`` longer than its doors on both sides."""
    top, back = (0.0, make.area.height_m), WALL_M + CORRIDOR_M
    low, high = min(d.at_m for d in doors) - REACH_M, max(d.at_m for d in doors) + REACH_M
    beyond = [s for s in ((low, -WALL_M), (length + WALL_M, high)) if s[0] < s[1]]
    ends = [(low - WALL_M, low), (high, high + WALL_M)]
    return [
        *(make.block(s, (0, WALL_M), top, 0.8) for s in beyond),
        make.block((low, high), (back, back + WALL_M), top, 0.8),
        *(make.block(s, (0, back + WALL_M), top, 0.7) for s in ends),
        make.block((low, high), (0, back), (2.5, 2.6), 0.6, "plain", False),
    ]


@dataclass(frozen=True)
class _Carpenter:
    """Makes an item's parts: positions and sizes in metres, from the item's centre on the floor."""

    area: Area
    item: Item

    def part(
        self,
        at: tuple[float, float, float],
        size: tuple[float, float, float],
        tint: float = 1.0,
        texture: str = "wood",
        kind: str = "box",
        colour: Array | None = None,
    ) -> Solid:
        """A shape standing at (x, y, bottom)."""
        x, y = self.area.origin[0] + self.item.at[0] + at[0], self.area.origin[1] + self.item.at[1] + at[1]
        low = np.array([x - size[0] / 2, y - size[1] / 2, at[2]])
        paint = bgr(self.item.colour) if colour is None else colour
        return Solid(kind, low, low + np.array(size), np.clip(paint * tint, 0, 1), texture)

    def legs(self, inset: float, size: float, top: float) -> list[Solid]:
        """Four legs at the corners."""
        w, d, _ = self.item.size
        corners = [(i * (w / 2 - inset), j * (d / 2 - inset)) for i in (-1, 1) for j in (-1, 1)]
        return [self.part((x, y, 0), (size, size, top), 0.55) for x, y in corners]


def _item(area: Area, item: Item) -> list[Solid]:
    """Furniture out of boxes, cylinders and ellipsoids."""
    maker = _Carpenter(area, item)
    if item.kind in _BUILDERS:
        return _BUILDERS[item.kind](maker)
    texture = {"shelf": "shelf", "pillar": "plaster"}.get(item.kind, "plain")
    size = (*item.size[:2], area.height_m) if item.kind == "pillar" else item.size
    return [maker.part((0, 0, 0), size, texture=texture, kind="cylinder" if item.kind == "pillar" else "box")]


def _table(m: _Carpenter) -> list[Solid]:
    w, d, h = m.item.size
    return [m.part((0, 0, h - 0.04), (w, d, 0.04)), *m.legs(0.05, 0.06, h - 0.04)]


def _chair(m: _Carpenter) -> list[Solid]:
    w, d, h = m.item.size
    back = m.part((0, d / 2 - 0.03, 0.45), (w, 0.05, h - 0.45))
    return [m.part((0, 0, 0.42), (w, d, 0.05)), back, *m.legs(0.03, 0.04, 0.42)]


def _sofa(m: _Carpenter) -> list[Solid]:
    w, d, h = m.item.size
    arms = [m.part((i * (w / 2 - 0.09), 0, 0.4), (0.18, d, 0.2), 0.96, "fabric") for i in (-1, 1)]
    back = m.part((0, d / 2 - 0.1, 0.4), (w, 0.2, h - 0.4), 0.92, "fabric")
    return [m.part((0, 0, 0.08), (w, d, 0.34), texture="fabric"), back, *arms]


def _bench(m: _Carpenter) -> list[Solid]:
    w, d, h = m.item.size
    legs = [m.part((i * (w / 2 - 0.2), 0, 0), (0.08, d * 0.8, h - 0.07), 0.5) for i in (-1, 1)]
    return [m.part((0, 0, h - 0.07), (w, d, 0.07)), *legs]


def _counter(m: _Carpenter) -> list[Solid]:
    w, d, h = m.item.size
    return [
        m.part((0, 0, 0), (w, d, h - 0.05), 0.9),
        m.part((0, 0, h - 0.05), (w + 0.08, d + 0.08, 0.05), 0.45, "plain"),
    ]


def _plant(m: _Carpenter) -> list[Solid]:
    w, d, h = m.item.size
    leaf = np.array([0.22, 0.42, 0.20])
    crowns = [(0, 0, 0.50, 1.0), (0.16, 0.10, 0.38, 0.8), (-0.15, 0.08, 0.42, 0.8), (0.02, -0.16, 0.36, 0.85)]
    pot = m.part((0, 0, 0), (w * 0.55, d * 0.55, 0.32 * h), texture="plain", kind="cylinder")
    leaves = [
        m.part(
            (x * w, y * d, z * h),
            (w * s * 0.84, d * s * 0.84, min(0.5 * s, 1.0 - z) * h),
            0.8 + 0.1 * k,
            "leaves",
            "ellipsoid",
            leaf,
        )
        for k, (x, y, z, s) in enumerate(crowns)
    ]
    return [pot, *leaves]


def _sign(m: _Carpenter) -> list[Solid]:
    w, d, h = m.item.size
    return [
        m.part((0, 0, h * 0.35), (w, d, h * 0.65), texture="poster"),
        m.part((0, 0, 0), (0.06, 0.06, h * 0.36), 0.3, "plain"),
    ]


_BUILDERS: dict[str, Callable[[_Carpenter], list[Solid]]] = {
    "table": _table,
    "chair": _chair,
    "sofa": _sofa,
    "bench": _bench,
    "counter": _counter,
    "plant": _plant,
    "sign": _sign,
}


def footprint(area: Area) -> list[tuple[float, float, float, float]]:
    """(x0, y0, x1, y1) of everything people walk around, in world metres."""
    blocked = [(s.low[0], s.low[1], s.high[0], s.high[1]) for s in solids(area) if s.blocks and s.low[2] < 1.0]
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in blocked]

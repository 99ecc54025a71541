"""From an area's description to solid shapes: walls with openings, corridors behind them, what hangs on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.furniture import OVERHEAD, furniture
from mctrack.synth.houses import houses
from mctrack.synth.scene import Area, Door, WallItem
from mctrack.synth.shapes import CORRIDOR_M, REACH_M, WALL_M, Solid, bgr, passage, slab, wall_frame

Array = NDArray[np.float64]


def door_points(area: Area, door: Door) -> Array:
    """(4, 2) way in: the corridor's hidden end, the corridor before the door, the doorway, a step inside."""
    start, along, out, _ = wall_frame(area, door.wall)
    centre = start + along * door.at_m
    behind = passage(area)
    middle = behind.wall_m + behind.width_m / 2
    return np.stack(
        [
            centre + out * middle + along * door.turn * (behind.reach_m - 0.4),
            centre + out * middle,
            centre + out * behind.wall_m / 2,
            centre - out * 0.7,
        ]
    )


def lamps(area: Area) -> Array:
    """(n, 3) centres of the ceiling lights, world metres."""
    x, y = area.origin
    w, d = area.size
    columns, rows = (_spread(n) for n in area.lamps)
    return np.array([[x + w * i, y + d * j, area.height_m - 0.05] for i in columns for j in rows])


def _spread(count: int) -> list[float]:
    """Where along a side, 0…1, that many things stand evenly; two stand a little closer to the walls."""
    return [0.27, 0.73] if count == 2 else [(k + 0.5) / count for k in range(count)]


def solids(area: Area) -> list[Solid]:
    """Everything of an area that can be seen and is not a person, floor and ceiling excepted."""
    shapes: list[Solid] = []
    for wall in ("south", "east", "north", "west"):
        shapes += houses(area, wall) if area.outdoor else _wall(area, wall)
    for item in area.items:
        shapes += furniture(area, item)
    for flat in area.wall_items:
        shapes.append(_flat(area, flat))
    return shapes


def _flat(area: Area, item: WallItem) -> Solid:
    """What hangs on a wall; an awning sticks out of it."""
    start, along, out, _ = wall_frame(area, item.wall)
    span = (item.at_m - item.size[0] / 2, item.at_m + item.size[0] / 2)
    depth = (-1.1, 0.0) if item.kind == "awning" else (-0.02, 0.01)
    box = slab(start, along, out, span, depth, (item.z_m - item.size[1] / 2, item.z_m + item.size[1] / 2))
    return Solid("box", *box, bgr(item.colour), item.kind, blocks=False)


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
        return Solid("box", *slab(start, along, out, span, depth, z), bgr(colour) * tint, texture, blocks)


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


def stands(area: Area) -> list[tuple[float, float, float, float]]:
    """(x0, y0, x1, y1) of every item's hull, in world metres: nobody walks under a table.

    Trees and lamps are left out: people walk under them, and around their trunks.
    """
    x, y = area.origin
    return [
        (
            x + i.at[0] - i.size[0] / 2,
            y + i.at[1] - i.size[1] / 2,
            x + i.at[0] + i.size[0] / 2,
            y + i.at[1] + i.size[1] / 2,
        )
        for i in area.items
        if i.kind not in OVERHEAD
    ]


def footprint(area: Area) -> list[tuple[float, float, float, float]]:
    """(x0, y0, x1, y1) of everything people walk around, in world metres."""
    blocked = [(s.low[0], s.low[1], s.high[0], s.high[1]) for s in solids(area) if s.blocks and s.low[2] < 1.0]
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in blocked]

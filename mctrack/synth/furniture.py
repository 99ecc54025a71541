"""Furniture of rooms and streets, out of boxes, cylinders and ellipsoids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.scene import Area, Item
from mctrack.synth.shapes import Solid, bgr

Array = NDArray[np.float64]

OVERHEAD = ("tree", "lamp")
"""Kinds whose hull is above people's heads: they walk underneath."""


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

    def behind(self, thick: float) -> tuple[float, float, float, float]:
        """Centre (x, y) and extent of a back rest; people look away from it, south if nothing is said."""
        w, d, _ = self.item.size
        side = {"south": (0, 1), "north": (0, -1), "west": (1, 0), "east": (-1, 0)}
        away, half = side[self.item.facing or "south"], thick / 2
        if away[0]:
            return away[0] * (w / 2 - half), 0, thick, d
        return 0, away[1] * (d / 2 - half), w, thick

    def legs(self, inset: float, size: float, top: float) -> list[Solid]:
        """Four legs at the corners."""
        w, d, _ = self.item.size
        corners = [(i * (w / 2 - inset), j * (d / 2 - inset)) for i in (-1, 1) for j in (-1, 1)]
        return [self.part((x, y, 0), (size, size, top), 0.55) for x, y in corners]


def furniture(area: Area, item: Item) -> list[Solid]:
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
    x, y, wide, deep = m.behind(0.06)
    back = m.part((x, y, 0.45), (wide if wide > deep else 0.05, deep if deep > wide else 0.05, h - 0.45))
    return [m.part((0, 0, 0.42), (w, d, 0.05)), back, *m.legs(0.03, 0.04, 0.42)]


def _sofa(m: _Carpenter) -> list[Solid]:
    w, d, h = m.item.size
    x, y, wide, deep = m.behind(0.2)
    size = (0.18, d, 0.2) if wide > deep else (w, 0.18, 0.2)
    ends = [(i * (w / 2 - 0.09), 0) if wide > deep else (0, i * (d / 2 - 0.09)) for i in (-1, 1)]
    arms = [m.part((*end, 0.4), size, 0.96, "fabric") for end in ends]
    back = m.part((x, y, 0.4), (wide, deep, h - 0.4), 0.92, "fabric")
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


def _tree(m: _Carpenter) -> list[Solid]:
    """A trunk in an iron ring, and a crown of many tufts that begins above people's heads."""
    w, d, h = m.item.size
    bark = np.array([0.22, 0.28, 0.34])
    trunk = m.part((0, 0, 0), (0.3, 0.3, 0.62 * h), texture="wood", kind="cylinder", colour=bark)
    ring = m.part((0, 0, 0), (1.1, 1.1, 0.02), 0.5, "plain", "cylinder", np.array([0.3, 0.3, 0.3]))
    shapes = [trunk, replace(ring, blocks=False)]
    for k in range(11):
        turn, up = 2.4 * k, (k + 0.5) / 11
        away = 0.30 * np.sqrt(1 - (2 * up - 1) ** 2)
        size = 0.40 + 0.14 * ((7 * k) % 5) / 4
        tall = 0.30 * h
        bottom = 0.45 * h + up * (0.55 * h - tall)
        leaf = np.array([0.20, 0.44, 0.25]) * (0.8 + 0.5 * up) * (0.92 + 0.04 * ((3 * k) % 5))
        at = (away * np.cos(turn) * w, away * np.sin(turn) * d, bottom)
        shapes.append(m.part(at, (size * w, size * d, tall), 1.0, "leaves", "ellipsoid", leaf))
    return shapes


def _lamp(m: _Carpenter) -> list[Solid]:
    w, d, h = m.item.size
    return [
        m.part((0, 0, 0), (0.22, 0.22, 0.6), 0.9, "plain", "cylinder"),
        m.part((0, 0, 0.6), (0.11, 0.11, h - 1.0), 1.0, "plain", "cylinder"),
        m.part((0, 0, h - 0.4), (w, d, 0.32), 1.0, "plain", "ellipsoid", np.array([0.86, 0.92, 0.94])),
        m.part((0, 0, h - 0.1), (w, d, 0.1), 0.8, "plain"),
    ]


_BUILDERS: dict[str, Callable[[_Carpenter], list[Solid]]] = {
    "table": _table,
    "chair": _chair,
    "sofa": _sofa,
    "bench": _bench,
    "counter": _counter,
    "plant": _plant,
    "sign": _sign,
    "tree": _tree,
    "lamp": _lamp,
}

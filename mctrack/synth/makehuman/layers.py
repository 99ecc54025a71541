"""Layers of a dressed body: each a mesh bound to the skeleton, with canonical coordinates and cuts for its hems."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.makehuman.assets import METRE, Assets
from mctrack.synth.makehuman.body import BODY, Body
from mctrack.synth.makehuman.rig import BONES, INDEX, Rig
from mctrack.synth.zbuffer import vertex_normals

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
CUTS = 4
FAR = 9.0
"""A cut value that never cuts."""
_ROWS = ("points", "canonical", "weights", "arm", "along", "cut")


@dataclass(frozen=True, eq=False)
class Layer:
    """A mesh at rest.

    Attributes:
        points, canonical: (v, 3) metres; weights: (v, b) of the skeleton; arm, along: (v,) as of `Body`.
        triangles: (f, 3); cut: (v, CUTS) drawn where all are ≥ 0; material: row of the material table.
    """

    points: Float32
    canonical: Float32
    weights: Float32
    arm: Float32
    along: Float32
    triangles: Int32
    cut: Float32
    material: int

    def trimmed(self) -> Layer:
        """Without triangles that are cut away in full, and without vertices nobody uses."""
        corners: NDArray[np.bool_] = self.cut[self.triangles] < 0
        gone = np.all(corners, axis=1).any(axis=1)
        return compact(self, self.triangles[~gone])


def compact(layer: Layer, triangles: Int32) -> Layer:
    """The layer with only these triangles and their vertices."""
    used, index = np.unique(triangles, return_inverse=True)
    rows = {n: getattr(layer, n)[used] for n in _ROWS}
    return replace(layer, triangles=index.reshape(-1, 3).astype(np.int32), **rows)


def join(layers: list[Layer]) -> tuple[Layer, NDArray[np.int16]]:
    """One layer of all, and the (f,) material of each of its triangles."""
    start = np.cumsum([0, *(len(x.points) for x in layers[:-1])])
    rows = {n: np.concatenate([getattr(x, n) for x in layers]) for n in _ROWS}
    triangles = np.concatenate([x.triangles + s for x, s in zip(layers, start, strict=True)]).astype(np.int32)
    material = np.concatenate([np.full(len(x.triangles), x.material, np.int16) for x in layers])
    return replace(layers[0], triangles=triangles, material=-1, **rows), material


class Cutter:
    """Makes layers on one body."""

    def __init__(self, assets: Assets, rig: Rig, body: Body) -> None:
        self.assets, self.rig, self.body = assets, rig, body
        self._groups = {g: np.unique(assets.base.triangles(f"helper-{g}")) for g in ("tights", "skirt")}
        self._normal = np.zeros_like(body.points)
        for g, used in self._groups.items():
            self._normal[used] = vertex_normals(body.points, assets.base.triangles(f"helper-{g}"))[used]
        skin = assets.base.triangles("body")
        self._normal[:BODY] = vertex_normals(body.points, skin)[:BODY]

    def base(self, group: str, thickness: Any, material: int, keep: NDArray[np.bool_] | None = None) -> Layer:
        """A group of the base mesh (``body``, ``helper-…``), moved out along its normals by metres (number or (v,))."""
        b = self.body
        points = (b.points + self._normal * np.asarray(thickness, np.float32).reshape(-1, 1)).astype(np.float32)
        triangles = self.assets.base.triangles(group)
        if keep is not None:
            triangles = triangles[keep[triangles].all(axis=1)]
        cut = np.full((len(points), CUTS), FAR, np.float32)
        return compact(
            Layer(points, b.canonical, self.rig.weights, b.arm, b.along, triangles, cut, material), triangles
        )

    def worn(
        self, kind: str, name: str, material: int, low: float = -9.0, high: float = 9.0, out: float = 0.0
    ) -> Layer:
        """Clothes, shoes or hair fitted to this body; only parts whose middle height is within low…high (canonical)."""
        f, b = self.assets.fitted(kind, name), self.body
        unit = np.array(
            [
                abs(float(b.points[i, k] - b.points[j, k])) / ref if ref > 0 else METRE
                for k, (i, j, ref) in enumerate(f.scale)
            ],
            np.float32,
        )
        weight = f.weight[..., None]
        points = (b.points[f.vertex] * weight).sum(axis=1) + f.offset * unit
        canonical = (b.canonical[f.vertex] * weight).sum(axis=1) + f.offset * unit
        positive = np.clip(f.weight, 0, None) + 1e-6
        positive /= positive.sum(axis=1, keepdims=True)
        weights = np.einsum("vk,vkb->vb", positive, self.rig.weights[f.vertex])
        arm = (b.arm[f.vertex] * positive).sum(axis=1)
        along = (b.along[f.vertex] * positive).sum(axis=1)
        if out:
            points = points + out * vertex_normals(points.astype(np.float32), f.triangles)
        count = np.bincount(f.part)
        centre = np.bincount(f.part, canonical[:, 1]) / count
        chosen = ((centre >= low) & (centre <= high))[f.part]
        triangles = f.triangles[chosen[f.triangles].all(axis=1)]
        cut = np.full((len(points), CUTS), FAR, np.float32)
        full = Layer(
            points.astype(np.float32),
            canonical.astype(np.float32),
            weights.astype(np.float32),
            arm.astype(np.float32),
            along.astype(np.float32),
            triangles,
            cut,
            material,
        )
        return compact(full, triangles)

    def lump(
        self, bone: str, centre: Any, radii: Any, exponent: float, material: int, flat_bottom: bool = False
    ) -> Layer:
        """A superellipsoid at canonical metres that hangs on one bone (bags, hoods lying on the back, brims)."""
        rows, columns = 14, 20
        polar, around = np.meshgrid(
            np.linspace(-np.pi / 2, np.pi / 2, rows), np.linspace(0, 2 * np.pi, columns, endpoint=False), indexing="ij"
        )

        def power(x: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(np.sign(x) * np.abs(x) ** (2 / exponent))

        ring = np.abs(np.cos(polar)) ** (2 / exponent)
        unit = np.stack([ring * power(np.cos(around)), power(np.sin(polar)), ring * power(np.sin(around))], axis=-1)
        if flat_bottom:
            unit[..., 1] = np.clip(unit[..., 1], -0.6, None)
        points = (unit.reshape(-1, 3) * np.asarray(radii) + np.asarray(centre)).astype(np.float32)
        i, j = (a.ravel() for a in np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij"))
        a, b, c, d = (
            i * columns + j,
            i * columns + (j + 1) % columns,
            (i + 1) * columns + j,
            (i + 1) * columns + (j + 1) % columns,
        )
        triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)
        n = len(points)
        weights = np.zeros((n, len(BONES)), np.float32)
        weights[:, INDEX[bone]] = 1
        zero = np.zeros(n, np.float32)
        return Layer(
            self.body.unposed(INDEX[bone], points),
            points,
            weights,
            zero,
            zero,
            triangles,
            np.full((n, CUTS), FAR, np.float32),
            material,
        )


def cut(layer: Layer, channel: int, value: NDArray[np.floating[Any]]) -> Layer:
    """The layer with a (v,) cut value: drawn where ≥ 0."""
    layer.cut[:, channel] = np.minimum(layer.cut[:, channel], value)
    return layer

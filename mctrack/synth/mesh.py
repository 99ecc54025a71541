"""Meshes made of lofts: rings of points strung along a limb, skinned to the bones of a skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles with texture coordinates and weights of up to two bones per corner, in the rest pose.

    Attributes:
        points: (v, 3) metres, x forward, y left, z up, origin on the floor between the feet.
        uv: (v, 2) position in the texture atlas, 0…1.
        bones: (v, 2) bone rows; weight: (v,) of the first bone, the second has the rest.
        triangles: (f, 3) rows of ``points``, counter-clockwise from outside.
    """

    points: Array
    uv: Array
    bones: IntArray
    weight: Array
    triangles: IntArray

    def normals(self) -> Array:
        """(v, 3) unit normals, averaged over coinciding points so that seams do not show."""
        corners = self.points[self.triangles]
        face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        total = np.zeros_like(self.points)
        for k in range(3):
            np.add.at(total, self.triangles[:, k], face)
        _, same = np.unique(self.points.round(5), axis=0, return_inverse=True)
        shared = np.zeros((int(same.max()) + 1, 3))
        np.add.at(shared, same.reshape(-1), total)
        total = shared[same.reshape(-1)]
        unit: Array = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
        return unit


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several."""
    offsets = np.cumsum([0, *(len(m.points) for m in meshes[:-1])])
    return Mesh(
        np.concatenate([m.points for m in meshes]),
        np.concatenate([m.uv for m in meshes]),
        np.concatenate([m.bones for m in meshes]),
        np.concatenate([m.weight for m in meshes]),
        np.concatenate([m.triangles + o for m, o in zip(meshes, offsets, strict=True)]),
    )


def grid_triangles(rows: int, columns: int) -> IntArray:
    """(2·(rows−1)·(columns−1), 3) triangles of a grid of points, counter-clockwise for rings with rising rows."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    p = (i * columns + j).ravel()
    lower = np.stack([p, p + 1, p + columns + 1], axis=1)
    upper = np.stack([p, p + columns + 1, p + columns], axis=1)
    return np.concatenate([lower, upper]).astype(np.int64)


def ring(columns: int, exponent: float = 2.0) -> tuple[Array, Array]:
    """(columns + 1, 2) points of a unit superellipse and their angles; the seam is at the back, the front at 0."""
    angle = np.linspace(-np.pi, np.pi, columns + 1)
    c, s = np.cos(angle), np.sin(angle)
    power = 2.0 / exponent
    points = np.stack([np.sign(c) * np.abs(c) ** power, np.sign(s) * np.abs(s) ** power], axis=1)
    return points, angle


def loft(
    sections: Array,
    columns: int,
    tile: tuple[float, float, float, float],
    skin: Skin,
    exponent: float = 2.0,
    axis: str = "z",
) -> Mesh:
    """A tube through elliptic sections, closed by what its first and last section shrink to.

    Args:
        sections: (s, 5) rows of position along the axis, half-depth (x), half-width (y), centre x, centre y; for
            ``axis="x"`` rows of x, half-height (z), half-width (y), centre z, centre y. Positions must rise.
        columns: corners per ring.
        tile: (u0, v0, u1, v1) of the atlas; u runs around (front in the middle), v from the top (0) down.
        skin: bones and weights from the points.
        exponent: 2 for ellipses, larger for boxier sections.
    """
    unit, angle = ring(columns, exponent)
    along = sections[:, 0, None] + np.zeros(columns + 1)
    first = sections[:, 3, None] + sections[:, 1, None] * unit[:, 0]
    second = sections[:, 4, None] + sections[:, 2, None] * unit[:, 1]
    stack = (first, second, along) if axis == "z" else (along, second, first)
    points = np.stack(stack, axis=-1).reshape(-1, 3)
    span = np.ptp(sections[:, 0]) or 1.0
    v = (sections[-1, 0] - along) / span
    u = angle / (2 * np.pi) + 0.5 + np.zeros_like(v)
    u0, v0, u1, v1 = tile
    uv = np.stack([u0 + (u1 - u0) * u, v0 + (v1 - v0) * v], axis=-1).reshape(-1, 2)
    triangles = grid_triangles(len(sections), columns + 1)
    if axis == "x":
        triangles = triangles[:, ::-1]
    bones, weight = skin(points)
    return Mesh(points, uv, bones, weight, np.ascontiguousarray(triangles))


class Skin:
    """Chain of bones along z: below each joint the next bone takes over, blended over a band."""

    def __init__(self, bones: Sequence[int], joints: Sequence[float] = (), band: float = 0.04) -> None:
        """``bones`` from the top down; ``joints`` their heights in metres, one fewer; ``band`` in metres."""
        self._bones = np.array(bones, np.int64)
        self._joints = np.array(joints, float)
        self._band = band

    def __call__(self, points: Array) -> tuple[IntArray, Array]:
        """(v, 2) bones and (v,) weight of the first."""
        n = len(points)
        if len(self._joints) == 0:
            return np.full((n, 2), self._bones[0]), np.ones(n)
        z = points[:, 2]
        nearest = np.argmin(np.abs(z[:, None] - self._joints), axis=1)
        weight = np.clip((z - self._joints[nearest]) / self._band + 0.5, 0, 1)
        return np.stack([self._bones[nearest], self._bones[nearest + 1]], axis=1), weight


def ellipsoid(
    centre: Sequence[float],
    radii: Sequence[float],
    tile: tuple[float, float, float, float],
    skin: Skin,
    columns: int = 12,
    rows: int = 8,
    exponent: float = 2.0,
) -> Mesh:
    """An ellipsoid (boxier with a larger exponent) with its poles up and down, metres."""
    polar = np.linspace(-np.pi / 2, np.pi / 2, rows + 1)
    power = 2.0 / exponent
    radius = np.abs(np.cos(polar)) ** power
    height = np.sign(np.sin(polar)) * np.abs(np.sin(polar)) ** power
    sections = np.stack(
        [
            centre[2] + radii[2] * height,
            radii[0] * radius,
            radii[1] * radius,
            np.full(rows + 1, centre[0]),
            np.full(rows + 1, centre[1]),
        ],
        axis=1,
    )
    return loft(sections, columns, tile, skin, exponent)

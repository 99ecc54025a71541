"""One person as a camera sees them: posed, projected, drawn into a window of samples, shaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mctrack.synth import body, gait
from mctrack.synth.camera import NEAR_M, Camera
from mctrack.synth.clothes import paint
from mctrack.synth.gait import Pose
from mctrack.synth.identity import Identity
from mctrack.synth.raster import Fragments, rasterise

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

SAMPLES = 2
"""Samples per pixel along each axis."""


@dataclass(frozen=True, eq=False)
class Light:
    """Light on people: from the sky half-space and from one direction.

    Attributes:
        direction: (3,) unit vector towards the light; key, ambient: (3,) BGR strengths.
    """

    direction: Array
    key: Array
    ambient: Array


class Actor(Protocol):
    """Somebody who can be put into a picture."""

    def draw(self, camera: Camera, pose: Pose) -> Drawn | None:
        """Rasterise in full, also beyond the picture's edges; None where no part is inside the picture."""
        ...

    def shade(self, drawn: Drawn, rows: IntArray, light: Light) -> NDArray[np.float32]:
        """(k, 3) BGR colours, 0…1 and beyond, of the chosen fragments."""
        ...

    def skeleton(self, pose: Pose) -> Array:
        """(17, 3) joints in world metres (for shadows), in the order of :mod:`mctrack.synth.gait`."""
        ...


class Figure:
    """An identity made drawable."""

    def __init__(self, person: Identity) -> None:
        self.person = person
        self.mesh = body.build(person)
        self.normals = self.mesh.normals()
        self.rest = gait.joints(person.height_m, person.shoulders)
        self.atlas = paint(person)
        self._carry = body.arm_carry(person)
        self._sway = (person.seed % 628) / 100
        self._soles = np.isin(self.mesh.bones[:, 0], (gait.L_FOOT, gait.R_FOOT))
        self._lap = body.lap(self.mesh)

    def posed(self, pose: Pose) -> tuple[Array, Array]:
        """(v, 3) points in world metres and (v, 3) unit normals."""
        transforms = self._transforms(pose)
        bones, weight = self.mesh.bones, self.mesh.weight
        if pose.sit <= 0:
            return gait.skin(self.mesh.points, self.normals, bones, weight, transforms)
        weight = weight + pose.sit * (self._lap - weight)
        return gait.skin(self.mesh.points, self.normals, bones, weight, transforms, self._soles)

    def skeleton(self, pose: Pose) -> Array:
        """(17, 3) joints in world metres (for shadows)."""
        transforms = self._transforms(pose)
        moved: Array = np.einsum("bij,bj->bi", transforms[:, :, :3], self.rest) + transforms[:, :, 3]
        if pose.sit > 0:
            moved[:, 2] += self.rest[gait.L_FOOT, 2] - moved[[gait.L_FOOT, gait.R_FOOT], 2].min()
        return moved

    def _transforms(self, pose: Pose) -> Array:
        return gait.bone_transforms(pose, self.rest, self._carry, self._sway, self.person.freedom)

    def draw(self, camera: Camera, pose: Pose) -> Drawn | None:
        """See :class:`Actor`. Triangles with a corner behind the near plane are left out."""
        points, normals = self.posed(pose)
        pixels, depth = camera.project(points)
        window = Window.around(pixels, depth, camera.size)
        if window is None:
            return None
        front, triangles = depth > NEAR_M, self.mesh.triangles
        if not front.all():
            triangles = triangles[front[triangles].all(axis=1)]
        grid = (pixels - window.origin) * SAMPLES
        fragments = rasterise(grid, 1 / np.where(front, depth, 1.0), triangles, window.width, window.height)
        corners = triangles[fragments.triangle]
        fragments = Fragments(fragments.sample, corners, fragments.weights, fragments.inverse_depth)
        return window.drawn(self, fragments, normals, camera)

    def shade(self, drawn: Drawn, rows: IntArray, light: Light) -> NDArray[np.float32]:
        """See :class:`Actor`."""
        corners = drawn.fragments.triangle[rows]
        weights = drawn.fragments.weights[rows]
        values = np.concatenate([self.mesh.uv, drawn.corners], axis=1)
        mixed = np.zeros((len(rows), 5))
        for k in range(3):
            mixed += values[corners[:, k]] * weights[:, k, None]
        uv, normal = mixed[:, :2], mixed[:, 2:]
        normal /= np.sqrt(np.maximum(np.einsum("ij,ij->i", normal, normal), 1e-12))[:, None]
        atlas = self.atlas[_level(drawn)]
        size = atlas.shape[0]
        texel = (uv * size).astype(np.int64).clip(0, size - 1)
        albedo = atlas[texel[:, 1], texel[:, 0]]
        wrap = np.clip((normal @ light.direction + 0.25) / 1.25, 0, None)
        sky = 0.72 + 0.28 * normal[:, 2]
        lit = light.key * wrap[:, None] + light.ambient * sky[:, None]
        return (albedo * lit).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What of somebody falls on the sample grid, picture edges and occluders not yet regarded.

    Attributes:
        column, row: (k,) sample coordinates in the camera's grid (may lie outside of the picture).
        fragments: their triangles (in the actor's own terms), weights and depths.
        corners: (v, …) of the posed mesh, what the actor shades by.
        xyxy: (4,) box around all samples, pixels, not cut at the picture's edges; eye: (3,) where the camera is.
    """

    figure: Actor
    column: IntArray
    row: IntArray
    fragments: Fragments
    corners: NDArray[Any]
    xyxy: Array
    eye: Array


class Window(NamedTuple):
    """The part of the sample grid that somebody can fall on: origin in pixels, size in samples."""

    origin: IntArray
    width: int
    height: int

    @classmethod
    def around(cls, pixels: Array, depth: Array, size: tuple[int, int]) -> Window | None:
        """Around (v, 2) pixels with (v,) depths in a picture of that size; None where all are outside of it.

        A window of at most a picture's size around the picture bounds the work for people right below the lens.
        """
        front = depth > NEAR_M
        if not front.any():
            return None
        low, high = pixels[front].min(axis=0), pixels[front].max(axis=0)
        full = np.array(size, float)
        if (low >= full).any() or (high <= 0).any():
            return None
        origin = np.floor(np.maximum(low, -full)).astype(np.int64) - 1
        end = np.ceil(np.minimum(high, 2 * full)).astype(np.int64) + 1
        width, height = ((end - origin) * SAMPLES).tolist()
        return cls(origin, width, height)

    def drawn(self, figure: Actor, fragments: Fragments, corners: NDArray[Any], camera: Camera) -> Drawn | None:
        """The fragments in the camera's grid; None without any."""
        if len(fragments.sample) == 0:
            return None
        row, column = np.divmod(fragments.sample, self.width)
        row, column = row + self.origin[1] * SAMPLES, column + self.origin[0] * SAMPLES
        box = np.array([column.min(), row.min(), column.max() + 1, row.max() + 1]) / SAMPLES
        return Drawn(figure, column, row, fragments, corners, box, camera.position)


def draw(camera: Camera, figure: Actor, pose: Pose) -> Drawn | None:
    """Rasterise somebody in full, also beyond the picture's edges; None where no part is inside the picture."""
    return figure.draw(camera, pose)


def shade(drawn: Drawn, rows: IntArray, light: Light) -> NDArray[np.float32]:
    """(k, 3) BGR colours, 0…1 and beyond, of the chosen fragments."""
    return drawn.figure.shade(drawn, rows, light)


def _level(drawn: Drawn) -> int:
    """Number of the atlas whose torso tile has about as many rows as the torso has samples."""
    height = (drawn.xyxy[3] - drawn.xyxy[1]) * SAMPLES * 0.4
    return int(np.clip(np.floor(np.log2(128 / max(height, 1.0))), 0, 2))

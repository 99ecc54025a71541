"""One person as a camera sees them: posed, projected, drawn into a window of samples, shaded."""

from __future__ import annotations

from dataclasses import dataclass

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

    def posed(self, pose: Pose) -> tuple[Array, Array]:
        """(v, 3) points in world metres and (v, 3) unit normals."""
        transforms = gait.bone_transforms(pose, self.rest, self._carry, self._sway, self.person.freedom)
        return gait.skin(self.mesh.points, self.normals, self.mesh.bones, self.mesh.weight, transforms)

    def skeleton(self, pose: Pose) -> Array:
        """(17, 3) joints in world metres (for shadows)."""
        transforms = gait.bone_transforms(pose, self.rest, self._carry, self._sway, self.person.freedom)
        moved: Array = np.einsum("bij,bj->bi", transforms[:, :, :3], self.rest) + transforms[:, :, 3]
        return moved


@dataclass(frozen=True, eq=False)
class Drawn:
    """What of a figure falls on the sample grid, picture edges and occluders not yet regarded.

    Attributes:
        column, row: (k,) sample coordinates in the camera's grid (may lie outside of the picture).
        fragments: their triangles, weights and depths.
        normals: (v, 3) of the posed mesh.
        xyxy: (4,) box around all samples, pixels, not cut at the picture's edges.
    """

    figure: Figure
    column: IntArray
    row: IntArray
    fragments: Fragments
    normals: Array
    xyxy: Array


def draw(camera: Camera, figure: Figure, pose: Pose) -> Drawn | None:
    """Rasterise a person in full, also beyond the picture's edges; None where no part is inside the picture.

    Triangles with a corner behind the near plane are left out: only people right at the lens have such.
    """
    points, normals = figure.posed(pose)
    pixels, depth = camera.project(points)
    front = depth > NEAR_M
    if not front.any():
        return None
    low, high = pixels[front].min(axis=0), pixels[front].max(axis=0)
    size = np.array(camera.size, float)
    if (low >= size).any() or (high <= 0).any():
        return None
    # A window of at most a picture's size around the picture bounds the work for people right below the lens.
    origin = np.floor(np.maximum(low, -size)).astype(np.int64) - 1
    end = np.ceil(np.minimum(high, 2 * size)).astype(np.int64) + 1
    width, height = ((end - origin) * SAMPLES).tolist()
    triangles = figure.mesh.triangles
    if not front.all():
        triangles = triangles[front[triangles].all(axis=1)]
    fragments = rasterise((pixels - origin) * SAMPLES, 1 / np.where(front, depth, 1.0), triangles, width, height)
    if len(fragments.sample) == 0:
        return None
    row, column = np.divmod(fragments.sample, width)
    row, column = row + origin[1] * SAMPLES, column + origin[0] * SAMPLES
    box = np.array([column.min(), row.min(), column.max() + 1, row.max() + 1]) / SAMPLES
    fragments = Fragments(fragments.sample, triangles[fragments.triangle], fragments.weights, fragments.inverse_depth)
    return Drawn(figure, column, row, fragments, normals, box)


def shade(drawn: Drawn, rows: IntArray, light: Light) -> NDArray[np.float32]:
    """(k, 3) BGR colours, 0…1 and beyond, of the chosen fragments."""
    corners = drawn.fragments.triangle[rows]
    weights = drawn.fragments.weights[rows]
    values = np.concatenate([drawn.figure.mesh.uv, drawn.normals], axis=1)
    mixed = np.zeros((len(rows), 5))
    for k in range(3):
        mixed += values[corners[:, k]] * weights[:, k, None]
    uv, normal = mixed[:, :2], mixed[:, 2:]
    normal /= np.sqrt(np.maximum(np.einsum("ij,ij->i", normal, normal), 1e-12))[:, None]
    atlas = _level(drawn)
    size = atlas.shape[0]
    texel = (uv * size).astype(np.int64).clip(0, size - 1)
    albedo = atlas[texel[:, 1], texel[:, 0]]
    wrap = np.clip((normal @ light.direction + 0.25) / 1.25, 0, None)
    sky = 0.72 + 0.28 * normal[:, 2]
    lit = light.key * wrap[:, None] + light.ambient * sky[:, None]
    return (albedo * lit).astype(np.float32)


def _level(drawn: Drawn) -> NDArray[np.float32]:
    """The atlas whose torso tile has about as many rows as the torso has samples."""
    height = (drawn.xyxy[3] - drawn.xyxy[1]) * SAMPLES * 0.4
    level = int(np.clip(np.floor(np.log2(128 / max(height, 1.0))), 0, 2))
    return drawn.figure.atlas[level]

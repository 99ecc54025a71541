"""Camera models in metres: pinhole with OpenCV's distortion, Tsai's, and the bare ground-plane homography.

All see the same world: x and y on the floor, z up. Pixels are continuous, (0, 0) is the top left corner of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from mctrack.geometry.homography import apply

Array = NDArray[np.float64]


class GroundCamera(Protocol):
    """What fusing across cameras needs of a camera, whatever its model."""

    @property
    def sees_height(self) -> bool:
        """Whether points above the floor can be projected (a bare homography knows the floor only)."""
        ...

    @property
    def position(self) -> Array | None:
        """(3,) the optical centre in metres, None where it is not known."""
        ...

    def to_ground(self, pixels: Array, height_m: float | Array = 0.0) -> Array:
        """(n, 2) metres where the rays through (n, 2) pixels meet the plane z = ``height_m``; NaN where they do not."""
        ...

    def to_image(self, points: Array) -> Array:
        """(n, 2) pixels of (n, 3) points in metres; NaN behind the camera."""
        ...


@dataclass(frozen=True, eq=False)
class Pinhole:
    """OpenCV's camera: ``x_cam = R x_world + t``, x right, y down, z forward.

    Attributes:
        K: (3, 3) pinhole matrix. dist: (5,) k1, k2, p1, p2, k3.
        R, t: (3, 3) and (3,) pose, metres.
    """

    K: Array
    dist: Array
    R: Array
    t: Array
    _r2_max: float = field(init=False, default=math.inf)

    def __post_init__(self) -> None:
        k1, k2, _, _, k3 = self.dist
        r2 = np.linspace(0.0, 16.0, 3201)
        # beyond the radius where the polynomial turns round, far points would fold back into the picture
        bad = np.flatnonzero(1 + 3 * k1 * r2 + 5 * k2 * r2**2 + 7 * k3 * r2**3 < 0.1)
        object.__setattr__(self, "_r2_max", float(r2[bad[0]]) if len(bad) else 16.0)

    sees_height: ClassVar[bool] = True

    @property
    def position(self) -> Array:
        """(3,) the optical centre, metres."""
        return np.asarray(-self.R.T @ self.t)

    def distort(self, xy: Array) -> Array:
        """(n, 2) ideal normalised coordinates to distorted ones."""
        k1, k2, p1, p2, k3 = self.dist
        norm2 = (xy**2).sum(axis=1)
        r2 = np.minimum(norm2, self._r2_max)
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        rim = np.sqrt(r2 / np.maximum(norm2, 1e-12)).clip(max=1.0)
        u, v = xy[:, 0] * rim, xy[:, 1] * rim
        tangential = np.stack([2 * p1 * u * v + p2 * (r2 + 2 * u * u), p1 * (r2 + 2 * v * v) + 2 * p2 * u * v], axis=1)
        return np.asarray(xy * radial[:, None] + tangential)

    def undistort(self, xy: Array) -> Array:
        """(n, 2) distorted normalised coordinates to ideal ones, by damped Newton steps on the radius.

        The tangential part, small beside the radial one, follows from step to step.
        """
        if not self.dist.any():
            return xy
        ideal, damping = xy.copy(), np.ones((len(xy), 1))
        missing = xy - self.distort(ideal)
        for _ in range(60):
            if np.abs(missing).max(initial=0.0) < 1e-10:
                break
            trial = ideal + damping * self._towards(ideal, missing)
            left = xy - self.distort(trial)
            nearer = ((left**2).sum(axis=1) < (missing**2).sum(axis=1))[:, None]
            ideal, missing = np.where(nearer, trial, ideal), np.where(nearer, left, missing)
            damping = np.where(nearer, np.minimum(2 * damping, 1.0), damping / 2)
        return ideal

    def _towards(self, ideal: Array, missing: Array) -> Array:
        """(n, 2) the step from ideal coordinates that should move the distorted ones by ``missing``."""
        k1, k2, _, _, k3 = self.dist
        norm2 = (ideal**2).sum(axis=1)
        r2 = np.minimum(norm2, self._r2_max)
        across = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        along = np.where(norm2 < self._r2_max, 1 + r2 * (3 * k1 + r2 * (5 * k2 + r2 * 7 * k3)), across)
        outward = ideal / np.sqrt(np.maximum(norm2, 1e-24))[:, None]
        radial = (missing * outward).sum(axis=1)[:, None]
        sideways = missing - radial * outward
        return np.asarray(outward * radial / np.maximum(along, 0.1)[:, None]
                          + sideways / np.maximum(across, 0.1)[:, None])

    def to_image(self, points: Array) -> Array:
        """(n, 2) pixels of (n, 3) points in metres; NaN behind the camera."""
        cam = np.asarray(points, float).reshape(-1, 3) @ self.R.T + self.t
        xy = cam[:, :2] / np.maximum(cam[:, 2:], 1e-9)
        pixels = self.distort(xy) @ self.K[:2, :2].T + self.K[:2, 2]
        pixels[cam[:, 2] <= 1e-6] = np.nan
        return pixels

    def rays(self, pixels: Array) -> Array:
        """(n, 3) world directions of unit depth through (n, 2) pixels."""
        pixels = np.asarray(pixels, float).reshape(-1, 2)
        xy = self.undistort((pixels - self.K[:2, 2]) @ np.linalg.inv(self.K[:2, :2]).T)
        return np.asarray(np.concatenate([xy, np.ones((len(xy), 1))], axis=1) @ self.R)

    def to_ground(self, pixels: Array, height_m: float | Array = 0.0) -> Array:
        """(n, 2) metres on the plane z = ``height_m``; NaN where the ray does not meet it in front of the camera."""
        return meet_plane(self.position, self.rays(pixels), height_m)


@dataclass(frozen=True, eq=False)
class Tsai:
    """The camera of Tsai 1987: one radial coefficient, and a sensor with cells.

    Attributes:
        focal: f in the unit of ``cell``. kappa1: undistorted = distorted · (1 + kappa1 · radius²), in that unit.
        centre: (2,) Cx, Cy in pixels. cell: (2,) dpx, dpy: size of a pixel on the sensor. sx: horizontal scale.
        R, t: (3, 3) and (3,) pose, metres.
    """

    focal: float
    kappa1: float
    centre: Array
    cell: Array
    sx: float
    R: Array
    t: Array

    sees_height: ClassVar[bool] = True

    @property
    def position(self) -> Array:
        """(3,) the optical centre, metres."""
        return np.asarray(-self.R.T @ self.t)

    def to_image(self, points: Array) -> Array:
        """(n, 2) pixels of (n, 3) points in metres; NaN behind the camera."""
        cam = np.asarray(points, float).reshape(-1, 3) @ self.R.T + self.t
        ideal = self.focal * cam[:, :2] / np.maximum(cam[:, 2:], 1e-9)
        sensor = ideal * self._shrink(np.linalg.norm(ideal, axis=1))[:, None]
        pixels = sensor / self.cell * [self.sx, 1.0] + self.centre
        pixels[cam[:, 2] <= 1e-6] = np.nan
        return np.asarray(pixels)

    def _shrink(self, radius: Array) -> Array:
        """(n,) distorted over undistorted radius: the root of κ r³ + r = R nearest to R, by Newton's method."""
        r = radius.copy()
        for _ in range(20):
            r -= (self.kappa1 * r**3 + r - radius) / np.maximum(1 + 3 * self.kappa1 * r**2, 0.1)
        return np.asarray(r / np.maximum(radius, 1e-12))

    def to_ground(self, pixels: Array, height_m: float | Array = 0.0) -> Array:
        """(n, 2) metres on the plane z = ``height_m``; NaN where the ray does not meet it in front of the camera."""
        sensor = (np.asarray(pixels, float).reshape(-1, 2) - self.centre) * self.cell / [self.sx, 1.0]
        ideal = sensor * (1 + self.kappa1 * (sensor**2).sum(axis=1, keepdims=True)) / self.focal
        rays = np.concatenate([ideal, np.ones((len(ideal), 1))], axis=1) @ self.R
        return meet_plane(self.position, rays, height_m)


def meet_plane(position: Array, rays: Array, height_m: float | Array) -> Array:
    """(n, 2) where rays (n, 3) from a point meet the plane z = ``height_m``; NaN where they go the other way."""
    drop = rays[:, 2]
    depth = (np.asarray(height_m, float) - position[2]) / np.where(np.abs(drop) < 1e-12, 1e-12, drop)
    ground = position[:2] + depth[:, None] * rays[:, :2]
    return np.where((depth > 0)[:, None], ground, np.nan)


@dataclass(frozen=True, eq=False)
class FloorMap:
    """A camera of which only planes are known: the floor, and maybe one at head height.

    Attributes:
        image_to_ground: (3, 3) pixels → metres, scaled so that the weight is positive in front of the camera.
        projection: (3, 4) metres → pixels where a second plane fixed the vertical, else None.
    """

    image_to_ground: Array
    projection: Array | None = None

    @property
    def sees_height(self) -> bool:
        """Whether points above the floor can be projected."""
        return self.projection is not None

    @property
    def position(self) -> Array | None:
        """(3,) the optical centre in metres, None where only the floor is known."""
        if self.projection is None:
            return None
        return np.asarray(-np.linalg.solve(self.projection[:, :3], self.projection[:, 3]))

    @staticmethod
    def of(image_to_ground: Array, foot_px: Array, head: Array | None = None, head_m: float = 1.75) -> FloorMap:
        """Build from homographies.

        Two planes fix the whole projection: the columns of the floor's map (metres → pixels) are ``h1 h2 h4``, those
        of the plane at height z are ``h1 h2 h4 + z h3`` up to scale (Hartley and Zisserman 2004, 8.1).

        Args:
            image_to_ground: (3, 3) pixels → metres on the floor.
            foot_px: (2,) a pixel where somebody may stand: it tells the floor's side of the horizon.
            head: (3, 3) pixels → metres on the plane ``head_m`` above the floor, or None.
        """
        floor = _facing(np.asarray(image_to_ground, float), foot_px)
        if head is None:
            return FloorMap(floor)
        low, high = np.linalg.inv(floor), np.linalg.inv(np.asarray(head, float))
        scale = float((low[:, :2] * high[:, :2]).sum() / (high[:, :2] ** 2).sum())
        up = (scale * high[:, 2] - low[:, 2]) / head_m
        return FloorMap(floor, np.column_stack([low[:, 0], low[:, 1], up, low[:, 2]]))

    def to_image(self, points: Array) -> Array:
        """(n, 2) pixels of (n, 3) points in metres; NaN behind the camera, and off the floor where that is unknown."""
        points = np.asarray(points, float).reshape(-1, 3)
        if self.projection is not None:
            mapped = points @ self.projection[:, :3].T + self.projection[:, 3]
            return np.where(mapped[:, 2:] > 1e-12, mapped[:, :2] / np.maximum(mapped[:, 2:], 1e-12), np.nan)
        pixels, weight = apply(np.asarray(np.linalg.inv(self.image_to_ground), float), points[:, :2].astype(float))
        return np.where(((weight > 0) & (points[:, 2] == 0))[:, None], pixels, np.nan)

    def to_ground(self, pixels: Array, height_m: float | Array = 0.0) -> Array:
        """(n, 2) metres on the plane z = ``height_m``; NaN beyond the horizon, and off the floor where unknown."""
        pixels = np.asarray(pixels, float).reshape(-1, 2)
        height = np.broadcast_to(np.asarray(height_m, float), len(pixels))
        ground, weight = apply(self.image_to_ground, pixels)
        ground = np.where((weight > 0)[:, None], ground, np.nan)
        above = np.flatnonzero(height != 0.0)
        if len(above):
            ground[above] = np.nan if self.projection is None else self._on_plane(pixels[above], height[above])
        return ground

    def _on_plane(self, pixels: Array, height: Array) -> Array:
        assert self.projection is not None
        p = self.projection
        maps = np.stack([np.broadcast_to(p[:, 0], (len(pixels), 3)), np.broadcast_to(p[:, 1], (len(pixels), 3)),
                         p[:, 3] + height[:, None] * p[:, 2]], axis=2)  # fmt: skip
        where = np.linalg.solve(maps, np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1)[:, :, None])[:, :, 0]
        return np.where(where[:, 2:] > 1e-12, where[:, :2] / np.maximum(where[:, 2:], 1e-12), np.nan)


def _facing(image_to_ground: Array, foot_px: Array) -> Array:
    """The same map with a positive weight at ``foot_px`` (2,), and its inverse too (metres → pixels) there."""
    h = image_to_ground / np.linalg.norm(image_to_ground)
    weight = float(apply(h, foot_px)[1][0])
    # with w > 0 here, the inverse's weight at the mapped point is 1 / w > 0 as well
    return h if weight > 0 else -h


def picture_points(size: tuple[int, int], share: float = 0.5, per_side: int = 5) -> Array:
    """(n, 2) pixels on a grid over the lower ``share`` of a picture, where feet are."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0.1, 0.9, per_side) * width, np.linspace(1 - share, 1.0, per_side) * height)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def ground_jacobian(camera: GroundCamera, pixels: Array, height_m: float | Array = 0.0, step_px: float = 0.5) -> Array:
    """(n, 2, 2) metres per pixel at (n, 2) pixels, by central differences; NaN where a neighbour meets no floor."""
    n = len(pixels)
    steps = step_px * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    around = (np.asarray(pixels, float)[None] + steps[:, None]).reshape(-1, 2)
    height = np.tile(np.broadcast_to(np.asarray(height_m, float), n), 4)
    right, left, down, up = camera.to_ground(around, height).reshape(4, n, 2)
    return np.asarray(np.stack([right - left, down - up], axis=2) / (2 * step_px))

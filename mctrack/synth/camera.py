"""The pinhole camera with lens distortion that the world is seen through (OpenCV's conventions)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEAR_M = 0.15
"""Points nearer than this to the image plane are not drawn."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated camera: ``x_cam = R x_world + t``, x right, y down, z forward; the world has z up and floor z = 0.

    Attributes:
        name: the camera's name.
        size: (width, height) in pixels.
        fps: frames per second.
        K: (3, 3) pinhole matrix; the centre of the top left pixel is at (0.5, 0.5).
        dist: (5,) k1, k2, p1, p2, k3.
        R, t: (3, 3) and (3,) pose.
        start_s: time of the first frame.
    """

    name: str
    size: tuple[int, int]
    fps: float
    K: Array
    dist: Array
    R: Array
    t: Array
    start_s: float = 0.0
    _r2_max: float = field(init=False, default=math.inf)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_r2_max", self._monotone_radius2())

    @property
    def position(self) -> Array:
        """(3,) the optical centre in the world, metres."""
        return -self.R.T @ self.t

    def _monotone_radius2(self) -> float:
        """Largest squared radius up to which the radial polynomial still grows: beyond it points would fold back."""
        k1, k2, _, _, k3 = self.dist
        r2 = np.linspace(0.0, 16.0, 3201)
        slope = 1 + 3 * k1 * r2 + 5 * k2 * r2**2 + 7 * k3 * r2**3
        bad = np.flatnonzero(slope < 0.2)
        return float(r2[bad[0]]) if len(bad) else 16.0

    def distort(self, xy: Array) -> Array:
        """(n, 2) ideal normalised coordinates to distorted ones."""
        k1, k2, p1, p2, k3 = self.dist
        x, y = xy[:, 0], xy[:, 1]
        r2 = np.minimum(x * x + y * y, self._r2_max)
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        # Tangential terms are held at the rim as well, or far points would curl back into the picture.
        shrink = np.sqrt(r2 / np.maximum(x * x + y * y, 1e-12)).clip(max=1.0)
        u, v = x * shrink, y * shrink
        dx = 2 * p1 * u * v + p2 * (r2 + 2 * u * u)
        dy = p1 * (r2 + 2 * v * v) + 2 * p2 * u * v
        return np.stack([x * radial + dx, y * radial + dy], axis=1)

    def undistort(self, xy: Array, iterations: int = 12) -> Array:
        """(n, 2) distorted normalised coordinates to ideal ones, by fixed-point iteration."""
        ideal = xy.copy()
        for _ in range(iterations):
            ideal += xy - self.distort(ideal)
        return ideal

    def to_camera(self, world: Array) -> Array:
        """(n, 3) world metres to (n, 3) camera metres."""
        return world @ self.R.T + self.t

    def project(self, world: Array) -> tuple[Array, Array]:
        """(n, 3) world metres to (n, 2) pixels and (n,) depth in metres; pixels mean nothing where depth ≤ 0."""
        cam = self.to_camera(world)
        depth = cam[:, 2]
        safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
        xy = self.distort(cam[:, :2] / safe[:, None])
        return xy @ self.K[:2, :2].T + self.K[:2, 2], depth

    def rays(self, pixels: Array) -> Array:
        """(n, 2) pixels to (n, 3) world directions with unit depth: ``position + depth * ray`` lies at that depth."""
        xy = self.undistort((pixels - self.K[:2, 2]) / np.array([self.K[0, 0], self.K[1, 1]]))
        return np.concatenate([xy, np.ones((len(xy), 1))], axis=1) @ self.R

    def ground_homography(self) -> Array:
        """(3, 3) from undistorted pixels to the floor (x_m, y_m, 1)."""
        H = self.K @ np.column_stack([self.R[:, 0], self.R[:, 1], self.t])
        inverse = np.linalg.inv(H)
        return np.asarray(inverse / inverse[2, 2], np.float64)

    def to_dict(self) -> dict[str, Any]:
        """The calibration as it stands in ``calibration.json``."""
        return {
            "image_size": list(self.size),
            "fps": self.fps,
            "start_s": self.start_s,
            "K": self.K.tolist(),
            "dist": self.dist.tolist(),
            "R": self.R.tolist(),
            "t": self.t.tolist(),
            "position_m": self.position.round(6).tolist(),
            "homography_image_to_ground": self.ground_homography().tolist(),
        }


def _unit(vector: Array) -> Array:
    unit: Array = vector / np.linalg.norm(vector)
    return unit


def look_at(
    name: str,
    position: Array,
    target: Array,
    size: tuple[int, int],
    hfov_deg: float,
    fps: float,
    dist: tuple[float, ...] = (),
    roll_deg: float = 0.0,
    start_s: float = 0.0,
) -> Camera:
    """A camera at ``position`` (metres) whose optical axis goes through ``target``."""
    forward = _unit(np.asarray(target, float) - np.asarray(position, float))
    right = _unit(np.cross(forward, [0.0, 0.0, 1.0]))
    down = np.cross(forward, right)
    c, s = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
    R = np.stack([c * right + s * down, -s * right + c * down, forward])
    focal = size[0] / 2 / math.tan(math.radians(hfov_deg) / 2)
    K = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
    coefficients = np.zeros(5)
    coefficients[: len(dist)] = dist
    return Camera(name, size, fps, K, coefficients, R, -R @ np.asarray(position, float), start_s)

"""The setting of a crop: the lens, what the light sees first, floor and backdrop along every ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.synth import shading
from mctrack.synth.reid.cameras import CameraStyle
from mctrack.synth.reid.places import FLOOR_M, LEVELS, WALL_M, Image, Place, decode

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
NONE = np.zeros((1, 1), np.float32)
NO_FRAME = np.zeros((3, 4), np.float32)


class Shadow(NamedTuple):
    """A map of what the light sees first, and how points map into it (`shading.shadow_at`)."""

    near: Float32
    frame: Float32


@dataclass(frozen=True, eq=False)
class Lens:
    """A pinhole before the origin, on the +z side: pixels are counted from the principal point, right and down."""

    eye: Array
    turn: Array
    focal_px: float

    def project(self, points: Float32) -> tuple[Float32, Float32]:
        """(v, 2) pixels and (v,) depth of (v, 3) points."""
        seen = (points - self.eye.astype(np.float32)) @ self.turn.T.astype(np.float32)
        depth = np.maximum(-seen[:, 2], 1e-3)
        return np.stack([self.focal_px * seen[:, 0] / depth, -self.focal_px * seen[:, 1] / depth], axis=1), depth


def background(
    lens: Lens,
    box: tuple[int, int, int, int],
    place: Place,
    camera: CameraStyle,
    corner: Float32,
    shadow: Shadow,
    light: Float32,
    rng: np.random.Generator,
) -> Float32:
    """(h, w, 3) linear RGB: rays to the floor, or to the upright backdrop where that is nearer."""
    x0, y0, width, height = box
    u, v = np.meshgrid(np.arange(width) + x0 + 0.5, np.arange(height) + y0 + 0.5)
    rays = np.stack([u / lens.focal_px, -v / lens.focal_px, -np.ones_like(u)], axis=-1) @ lens.turn
    behind = float(rng.uniform(*place.wall_m))
    skew = float(rng.normal(0, 0.25))
    # The backdrop: z = -behind + skew · x.
    to_wall = (-behind - lens.eye[2] + skew * lens.eye[0]) / np.minimum(rays[..., 2] - skew * rays[..., 0], -1e-3)
    to_floor = np.where(rays[..., 1] < -1e-4, -lens.eye[1] / np.minimum(rays[..., 1], -1e-4), 1e6)
    floor = to_floor < to_wall
    t = np.where(floor, to_floor, to_wall)
    hit = lens.eye + rays * t[..., None]
    shift = rng.uniform(0, 40, 3)
    out = _wall_colour(place, hit, float(np.median(t)) / lens.focal_px, float(shift[0]))
    angle = np.radians(camera.azimuth_deg)
    gx = hit[..., 0] * np.cos(angle) - hit[..., 2] * np.sin(angle) + shift[1]
    gz = hit[..., 0] * np.sin(angle) + hit[..., 2] * np.cos(angle) + shift[2]
    ground = _floor_colour(place, gx, gz, t / lens.focal_px)
    direct = light[3:6] * light[1]
    ambient = light[6:9]
    lit = np.ones(floor.shape, np.float32)
    if len(shadow.near) > 1:
        lit = shading.floor_light(
            hit[..., 0].astype(np.float32), hit[..., 2].astype(np.float32), shadow.near, shadow.frame
        )
        lit = np.asarray(cv2.GaussianBlur(lit, (0, 0), 0.5 + 0.006 * height), np.float32)
    contact = _contact(corner, hit)
    ground = ground * (lit[..., None] * direct + (ambient * contact[..., None]))
    out = out * (0.75 * light[3:6] * max(float(light[2]) * 0.5 + 0.5, 0.2) + 0.75 * ambient)
    return np.where(floor[..., None], ground, out).astype(np.float32)


def _contact(corner: Float32, hit: Array) -> Float32:
    """How much of the sky the floor sees beside feet."""
    feet = corner[corner[:, 1] < 0.07][:, [0, 2]]
    out = np.ones(hit.shape[:2], np.float32)
    if len(feet) == 0:
        return out
    split = feet @ np.linalg.svd(feet - feet.mean(axis=0), full_matrices=False)[2][0]
    for part in (split < np.median(split), split >= np.median(split)):
        if part.any():
            c = feet[part].mean(axis=0)
            r2 = (hit[..., 0] - c[0]) ** 2 + (hit[..., 2] - c[1]) ** 2
            out *= (1 - 0.45 * np.exp(-r2 / 0.03) - 0.25 * np.exp(-r2 / 0.25)).astype(np.float32)
    return out


def _sample(levels: tuple[Image, ...], x: Array, y: Array, level: float) -> Float32:
    """(h, w, 3) from a pyramid at full-size pixel coordinates; repeats sideways, and downwards."""
    k = int(np.clip(np.floor(level), 0, LEVELS - 1))
    picture = levels[k]
    h, w = picture.shape[:2]
    map_x = np.mod(x / 2**k, w).astype(np.float32)
    map_y = np.mod(y / 2**k, h).astype(np.float32)
    sampled = cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return decode(np.asarray(sampled, np.uint8))


def _floor_colour(place: Place, x: Array, z: Array, metre_per_px: Array) -> Float32:
    texel = FLOOR_M / place.floor[0].shape[1]
    level = float(np.log2(max(float(np.median(metre_per_px)) * 1.6 / texel, 1.0)))
    return _sample(place.floor, x / texel, z / texel, level)


def _wall_colour(place: Place, hit: Array, metre_per_px: float, shift: float) -> Float32:
    h, w = place.wall[0].shape[:2]
    texel = WALL_M[0] / w
    level = float(np.log2(max(metre_per_px / texel, 1.0)))
    y = np.clip(h - 1 - np.maximum(hit[..., 1], 0) / texel, 0, h - 2)
    return _sample(place.wall, (hit[..., 0] + shift) / texel, y, level)

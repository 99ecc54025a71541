"""The empty rooms as a camera sees them: ray-cast once, with exact depth, textures, and soft light from the ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.camera import Camera
from mctrack.synth.daylight import SKY_M, Daylight
from mctrack.synth.figure import SAMPLES
from mctrack.synth.intersect import intersect, near
from mctrack.synth.layout import lamps, solids
from mctrack.synth.scene import Area
from mctrack.synth.shapes import Solid, bgr
from mctrack.synth.surfaces import CEILING, FLOOR, Textures, albedo

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
FloatImage = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Backdrop:
    """What never changes in a camera's picture.

    Attributes:
        colour: (h, w, 3) float32 BGR, before the camera's own colours.
        inverse_depth: (SAMPLES·h, SAMPLES·w) 1/m at every sample.
        sun: (h, w, 3) what the sun adds to ``colour``; None indoors.
        floor_xy: (h, w, 2) float32 world metres where the pixel shows the floor; floor: (h, w) its share, 0…1.
    """

    colour: FloatImage
    inverse_depth: Array
    floor_xy: FloatImage
    floor: FloatImage
    sun: FloatImage | None = None


def build(camera: Camera, area: Area, seed: int = 0) -> Backdrop:
    """Ray-cast the area for a camera, ``SAMPLES``² rays per pixel; deterministic for a seed (textures)."""
    width, height = camera.size
    shapes = solids(area)
    scene = _Scene(area, shapes, Textures(seed), Daylight(area, shapes) if area.outdoor else None)
    sub = (np.arange(SAMPLES) + 0.5) / SAMPLES
    # (h, w, S, S): the samples of a pixel lie side by side, so that most pixels need their light only once.
    ys = np.arange(height)[:, None, None, None] + sub[:, None] + np.zeros((1, width, 1, SAMPLES))
    xs = np.arange(width)[None, :, None, None] + sub + np.zeros((height, 1, SAMPLES, 1))
    pixels = np.stack([xs, ys], axis=-1).reshape(-1, 2)
    n, chunk = len(pixels), SAMPLES**2 * 15_000
    colour, inverse = np.empty((n, scene.layers, 3), np.float32), np.empty(n)
    floor, floor_xy = np.empty(n, np.float32), np.empty((n, 2), np.float32)
    for start in range(0, n, chunk):
        part = slice(start, start + chunk)
        rays = camera.rays(pixels[part])
        depth, hit, normal = cast(camera.position, rays, scene.shapes, SKY_M if area.outdoor else area.height_m)
        points = camera.position + depth[:, None] * rays
        colour[part] = scene.shade(points, hit, normal)
        inverse[part], floor[part], floor_xy[part] = 1 / depth, hit == FLOOR, points[:, :2]

    def mean(values: FloatImage) -> FloatImage:
        return values.reshape(height, width, SAMPLES**2, -1).mean(axis=2)

    grid = inverse.reshape(height, width, SAMPLES, SAMPLES).transpose(0, 2, 1, 3).reshape(height * SAMPLES, -1)
    sun = mean(colour[:, 1]) if area.outdoor else None
    return Backdrop(mean(colour[:, 0]), np.ascontiguousarray(grid), mean(floor_xy), mean(floor)[..., 0], sun)


@dataclass(frozen=True, eq=False)
class _Scene:
    area: Area
    shapes: list[Solid]
    textures: Textures
    day: Daylight | None

    @property
    def layers(self) -> int:
        """Lamps, or sky and sun."""
        return 1 if self.day is None else 2

    def shade(self, points: Array, hit: IntArray, normal: Array) -> Array:
        """(n, layers, 3) colours; light is computed once for pixels that lie on one smooth surface."""
        light = np.empty((len(points), self.layers, 3))
        k = SAMPLES**2
        pixel_hit, pixel_normal = hit.reshape(-1, k), normal.reshape(-1, k, 3)
        smooth = (pixel_hit == pixel_hit[:, :1]).all(axis=1)
        smooth &= ((pixel_normal * pixel_normal[:, :1]).sum(axis=2) > 0.95).all(axis=1)
        chosen = np.ones((len(smooth), k), bool)
        chosen[smooth, 1:] = False
        rows = np.flatnonzero(chosen)
        if self.day is None:
            light[rows, 0] = _light(points[rows], normal[rows], hit[rows], self.shapes, self.area)
        else:
            light[rows] = self.day.on(points[rows], normal[rows], hit[rows])
        by_pixel = light.reshape(-1, k, self.layers, 3)
        by_pixel[smooth] = by_pixel[smooth, :1]
        colours = albedo(points, hit, normal, self.shapes, self.area, self.textures)
        return np.asarray(colours[:, None] * light)


def cast(origin: Array, rays: Array, shapes: list[Solid], ceiling_m: float) -> tuple[Array, IntArray, Array]:
    """Nearest hit of every ray: (n,) distance in ray lengths, (n,) index of the shape, (n, 3) normal."""
    n = len(rays)
    safe = np.where(np.abs(rays) < 1e-9, 1e-9, rays)
    up = safe[:, 2] > 0
    depth = np.where(up, (ceiling_m - origin[2]) / safe[:, 2], -origin[2] / safe[:, 2])
    hit = np.where(up, CEILING, FLOOR)
    normal = np.zeros((n, 3))
    normal[:, 2] = np.where(up, -1.0, 1.0)
    length2 = (safe * safe).sum(axis=1)
    for index, shape in enumerate(shapes):
        rows = near(shape, origin, safe, length2)
        distance, direction = intersect(shape, origin, safe[rows])
        nearer = distance < depth[rows]
        rows = rows[nearer]
        depth[rows] = distance[nearer]
        hit[rows] = index
        normal[rows] = direction[nearer]
    return depth, hit, normal


def _light(points: Array, normal: Array, hit: IntArray, shapes: list[Solid], area: Area) -> Array:
    """(n, 3) light from the four lamps, with shadows of the furniture and darker corners."""
    total = np.full(len(points), 0.46)
    x0, y0 = area.origin
    edge = np.minimum.reduce(
        [points[:, 0] - x0, x0 + area.size[0] - points[:, 0], points[:, 1] - y0, y0 + area.size[1] - points[:, 1]]
    )
    walls = [s for s in shapes if s.texture == "plaster" and s.kind == "box"]
    furniture = [
        s
        for s in shapes
        if s.texture not in ("plain", "plaster", "window", "board", "poster")
        or s.kind == "cylinder"
        or (s.texture == "plain" and s.blocks)
    ]
    # Walls cannot shade anything inside the room; only the corridors need them.
    inside = edge > -0.02
    for rows, casters in ((np.flatnonzero(inside), furniture), (np.flatnonzero(~inside), walls)):
        if len(rows):
            total[rows] += _direct(points[rows], normal[rows], casters, lamps(area))
    total[hit == CEILING] += 0.25
    total *= 1 - 0.16 * np.exp(-np.clip(edge, 0, None) / 0.5)
    low = np.where(
        (hit >= 0) & (np.abs(normal[:, 2]) < 0.5), 1 - 0.15 * np.exp(-np.clip(points[:, 2], 0, None) / 0.15), 1.0
    )
    total = np.where(edge < -0.05, total * 0.55 + 0.05, total * low)
    return np.asarray(total[:, None] * bgr(area.light_colour) * area.brightness, float)


def _direct(points: Array, normal: Array, casters: list[Solid], lights: Array) -> Array:
    """(n,) light that comes straight from the lamps."""
    total = np.zeros(len(points))
    start = points + normal * 0.004
    for lamp in lights:
        towards = lamp - start
        distance2 = (towards * towards).sum(axis=1)
        cosine = np.clip((normal * towards).sum(axis=1) / np.sqrt(distance2), 0, None)
        rays = np.where(np.abs(towards) < 1e-9, 1e-9, towards)
        blocked = np.zeros(len(points), bool)
        for shape in casters:
            rows = near(shape, lamp, -rays, distance2)
            blocked[rows] |= intersect(shape, start[rows], rays[rows])[0] < 0.999
        total += np.where(blocked, 0.0, 1.0) * cosine * 1.55 / (1.6 + distance2 / 3.0)
    return total

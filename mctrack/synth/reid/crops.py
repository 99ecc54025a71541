"""One crop: a person before a place, lit and seen by a camera, boxed like a detector would box them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.synth import zbuffer
from mctrack.synth.reid.cameras import CameraStyle, develop, video_frame
from mctrack.synth.reid.foreground import in_front
from mctrack.synth.reid.people import Drawable
from mctrack.synth.reid.places import Place
from mctrack.synth.reid.setting import NO_FRAME, NONE, Lens, Shadow, background

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
MOST_HIDDEN = 0.75
FINE_PX = 180
"""Crops lower than this get two samples a pixel along each axis; taller ones are shrunk before anyone embeds them."""


def render_crop(
    figure: Drawable, others: list[Drawable], camera: CameraStyle, place: Place, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 BGR crop at its native size; the same arguments give the same picture."""
    native = float(np.clip(camera.native_px * np.exp(rng.normal(0, 0.22)), 32, 300))
    lens = _lens(camera, figure.height_m, native, rng)
    corner = figure.posed(figure.pose(rng, bool(rng.random() < 0.75)), _heading(camera, rng))
    light = sample_light(camera, rng)
    shadow = _shadow_map(figure, corner, light) if camera.shadows else Shadow(NONE, NO_FRAME)
    xy, depth = lens.project(corner[:, :3])
    box = _box(xy, rng)
    scene = background(lens, box, place, camera, corner, shadow, light, rng)
    crowd = _crowd(others, xy, lens, box, camera, light, rng)
    for passer in (p for dz, p in crowd if dz < 0):
        scene = _over(scene, passer)
    target = draw_person(figure, corner, xy, depth, box, lens, light, shadow)
    if camera.motion_px * native / camera.native_px > 0.8:
        target = _smear(target, camera.motion_px * native / camera.native_px, rng)
    scene = _over(scene, target)
    for passer in (p for dz, p in crowd if dz > 0):
        hidden = (passer[..., 3] * target[..., 3]).sum() / max(target[..., 3].sum(), 1)
        if hidden < 0.5:
            scene = _over(scene, passer)
    if rng.random() < camera.cluttered:
        scene = _before(scene, target, place, lens, box, light, rng)
    picture = develop(scene, camera, rng, native)
    return video_frame(picture, camera.h264_crf) if camera.h264_crf else picture


def _heading(camera: CameraStyle, rng: np.random.Generator) -> float:
    """Most people walk along the camera's usual ways, some anywhere."""
    if rng.random() < 0.25:
        return float(rng.uniform(0, 360))
    return float(rng.choice(camera.headings) + rng.normal(0, 25))


def _lens(camera: CameraStyle, tall: float, native: float, rng: np.random.Generator) -> Lens:
    """Nearer people are larger; the person is a little off the optical axis."""
    near, far = camera.distance_m
    share = np.clip(camera.native_px / native, 0.55, 1.8)
    distance = float(np.clip((near * far) ** 0.5 * share, near * 0.8, far * 1.2))
    middle = tall * rng.uniform(0.2, 0.8)
    pitch = np.arctan2(camera.height_m - middle, distance) + np.radians(rng.normal(0, 3))
    c, s = np.cos(pitch), np.sin(pitch)
    roll = np.radians(rng.normal(0, 1.5))
    spin = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    turn = spin @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    eye = np.array([0, camera.height_m, distance])
    span = np.arctan2(camera.height_m, distance) - np.arctan2(camera.height_m - tall, distance)
    return Lens(eye, turn, float(native / max(span, 0.02)))


def sample_light(camera: CameraStyle, rng: np.random.Generator) -> Float32:
    """The (13,) light of `shading.shade` in the lens' frame; clouds pass, lamps differ from spot to spot."""
    azimuth = np.radians(camera.sun_deg[0] - camera.azimuth_deg + rng.normal(0, 40 if camera.indoor else 6))
    height = np.radians(camera.sun_deg[1])
    direction = (np.cos(height) * np.sin(azimuth), np.sin(height), np.cos(height) * np.cos(azimuth))
    key = np.array(camera.key) * np.exp(rng.normal(0, 0.15))
    sky = np.array(camera.sky) * np.exp(rng.normal(0, 0.08))
    return np.array([*direction, *key, *sky, *camera.bounce, camera.wrap], np.float32)


def _shadow_map(figure: Drawable, corner: Float32, light: Float32) -> Shadow:
    """Draw the person as the light sees them, 1.6 cm a texel."""
    towards = light[:3].astype(float)
    return Shadow(*zbuffer.light_map(corner, figure.cut, figure.triangles, towards, 0.016))


def _box(xy: Float32, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """(x0, y0, width, height) in the lens' pixels: like a detector's, a little off, sometimes cutting parts off."""
    low, high = xy.min(axis=0).astype(float), xy.max(axis=0).astype(float)
    size = high - low
    low = low + size * (rng.normal(-0.015, 0.035, 2)) - np.array([0.06 * size[0], 0])
    high = high + size * (rng.normal(0.015, 0.035, 2)) + np.array([0.06 * size[0], 0])
    partial = rng.random()
    if partial < 0.07:
        high[1] -= size[1] * rng.uniform(0.1, 0.45)
    elif partial < 0.10:
        low[1] += size[1] * rng.uniform(0.03, 0.12)
    elif partial < 0.13:
        low[0] += size[0] * rng.uniform(0.1, 0.35)
    elif partial < 0.16:
        high[0] -= size[0] * rng.uniform(0.1, 0.35)
    elif partial < 0.20:
        grow = size * rng.uniform(0.05, 0.2)
        low, high = low - grow, high + grow
    x0, y0 = (int(np.floor(v)) for v in low)
    return x0, y0, max(int(np.ceil(high[0])) - x0, 12), max(int(np.ceil(high[1])) - y0, 24)


def empty_place(
    lens: Lens,
    box: tuple[int, int, int, int],
    place: Place,
    camera: CameraStyle,
    light: Float32,
    rng: np.random.Generator,
) -> Float32:
    """(h, w, 3) linear RGB of a place with nobody in it."""
    return background(lens, box, place, camera, np.zeros((0, 3), np.float32), Shadow(NONE, NO_FRAME), light, rng)


def draw_person(
    figure: Drawable,
    corner: Float32,
    xy: Float32,
    depth: Float32,
    box: tuple[int, int, int, int],
    lens: Lens,
    light: Float32,
    shadow: Shadow,
) -> Float32:
    """(h, w, 4) premultiplied linear RGB and coverage of a person within the box."""
    x0, y0, width, height = box
    samples = 2 if height < FINE_PX else 1
    grid = ((xy - np.array([x0, y0])) * samples).astype(np.float32)
    seen = zbuffer.draw(
        grid, (1 / depth).astype(np.float32), figure.cut, figure.triangles, width * samples, height * samples
    )
    fine = figure.colours(corner, seen, light, shadow.near, shadow.frame, lens.eye)
    if samples == 1:
        return fine
    return np.asarray(cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _over(scene: Float32, layer: Float32) -> Float32:
    return np.asarray(scene * (1 - layer[..., 3:]) + layer[..., :3], np.float32)


def _smear(layer: Float32, length: float, rng: np.random.Generator) -> Float32:
    """Motion blur, mostly sideways."""
    n = int(np.ceil(length)) | 1
    if n < 3:
        return layer
    angle = rng.normal(0, 0.3)
    kernel = np.zeros((n, n), np.float32)
    for t in np.linspace(-0.5, 0.5, 4 * n) * min(length, n - 1) * rng.uniform(0.3, 1):
        kernel[round(n // 2 + t * np.sin(angle)), round(n // 2 + t * np.cos(angle))] += 1
    return np.asarray(cv2.filter2D(layer, -1, kernel / kernel.sum()), np.float32)


def _crowd(
    others: list[Drawable],
    target: Float32,
    lens: Lens,
    box: tuple[int, int, int, int],
    camera: CameraStyle,
    light: Float32,
    rng: np.random.Generator,
) -> list[tuple[float, Float32]]:
    """Passers-by: (metres nearer than the person, picture), farthest first."""
    del target
    out = []
    for _ in range(int(rng.choice(3, p=[0.68, 0.26, 0.06])) if others else 0):
        other = others[int(rng.integers(len(others)))]
        dz = -rng.uniform(0.5, 5.0) if rng.random() < 0.72 else rng.uniform(0.35, 1.2)
        dz = min(float(dz), 0.4 * float(lens.eye[2]))
        width_m = box[2] / lens.focal_px * float(np.linalg.norm(lens.eye))
        dx = float(rng.choice([-1, 1]) * rng.uniform(0.25, 0.5 * width_m + 0.45))
        corner = other.posed(other.pose(rng, bool(rng.random() < 0.7)), _heading(camera, rng)).copy()
        corner[:, 0] += np.float32(dx)
        corner[:, 2] += np.float32(dz)
        xy, depth = lens.project(corner[:, :3])
        out.append((dz, draw_person(other, corner, xy, depth, box, lens, light, Shadow(NONE, NO_FRAME))))
    return sorted(out, key=lambda item: item[0])


def _before(
    scene: Float32,
    target: Float32,
    place: Place,
    lens: Lens,
    box: tuple[int, int, int, int],
    light: Float32,
    rng: np.random.Generator,
) -> Float32:
    """The scene with a thing of the place in front, unless that left next to nothing of the person."""
    thing = in_front(place.things[int(rng.integers(len(place.things)))], lens, box, light, rng)
    hidden = (thing[..., 3] * target[..., 3]).sum() / max(target[..., 3].sum(), 1)
    return scene if hidden > MOST_HIDDEN else _over(scene, thing)

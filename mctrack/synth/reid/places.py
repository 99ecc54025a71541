"""Places to stand in: a textured floor, a backdrop, and things that stand in front of people."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.synth.reid.foreground import Thing, sample_things
from mctrack.synth.reid.paint import draw_car, draw_foliage, muted, spectral

Float32 = NDArray[np.float32]
Image = NDArray[np.uint8]
FLOOR_PX, FLOOR_M = 512, 8.0
WALL_PX, WALL_M = (1536, 448), (36.0, 10.5)
"""Size of the backdrop: pixels (w, h) and metres; row 0 is its upper edge."""
LEVELS = 4
INDOOR = 0.3
BRIGHTEST = 1.4
"""Linear light of the byte 255."""


@dataclass(frozen=True, eq=False)
class Place:
    """RGB pictures as uint8 (see `decode`), each as a pyramid of halved copies.

    Attributes:
        floor: `FLOOR_M` metres a side, repeating; wall: upright behind the scene, repeating sideways.
        wall_m: usual distance of the backdrop behind people; things: what may stand in front of them.
    """

    indoor: bool
    floor: tuple[Image, ...]
    wall: tuple[Image, ...]
    wall_m: tuple[float, float]
    things: tuple[Thing, ...]


def pyramid(picture: Float32) -> tuple[Image, ...]:
    """The picture and its halvings, square roots of linear light as bytes: a quarter of the memory of numbers."""
    levels = [np.ascontiguousarray(picture, np.float32)]
    for _ in range(LEVELS - 1):
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32))
    return tuple((np.sqrt(np.clip(x, 0, BRIGHTEST) / BRIGHTEST) * 255 + 0.5).astype(np.uint8) for x in levels)


def decode(colour: Image) -> Float32:
    """Linear light of a `pyramid`'s bytes."""
    x = colour.astype(np.float32) * np.float32(1 / 255)
    return np.asarray(x * x * np.float32(BRIGHTEST))


def is_indoor(rng: np.random.Generator) -> bool:
    """Whether `sample_place` makes a room of this fresh generator, without painting it."""
    return bool(rng.random() < INDOOR)


def sample_place(rng: np.random.Generator) -> Place:
    """A place at random, 30 % of them indoors."""
    indoor = is_indoor(rng)
    floor = _floor(rng, indoor)
    wall = _room(rng) if indoor else _street(rng)
    near = (0.8, 6.0) if indoor else (2.0, 22.0)
    return Place(indoor, pyramid(np.clip(floor, 0.004, 1)), pyramid(np.clip(wall, 0.004, BRIGHTEST)), near,
                 sample_things(indoor, rng))


def _floor(rng: np.random.Generator, indoor: bool) -> Float32:
    n = FLOOR_PX
    kind = str(
        rng.choice(
            ["tiles", "carpet", "concrete", "wood"]
            if indoor
            else ["asphalt", "asphalt", "slabs", "slabs", "cobbles", "grass", "concrete"]
        )
    )
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) * (FLOOR_M / n)
    colour = (
        muted(rng, 0.07, 0.42) if kind != "grass" else np.array([0.07, 0.12, 0.03], np.float32) * rng.uniform(0.7, 1.5)
    )
    broad, fine = spectral(rng, (n, n), 1.4), spectral(rng, (n, n), 0.45)
    shade = 1 + 0.10 * broad + (0.16 if kind in ("grass", "carpet") else 0.08) * fine
    out = colour * shade[..., None]
    if kind in ("tiles", "slabs", "cobbles", "wood"):
        step_x = {"tiles": 0.5, "slabs": 0.8, "cobbles": 0.2, "wood": 2.0}[kind]
        step_y = {"tiles": 0.5, "slabs": 0.4, "cobbles": 0.1, "wood": 0.2}[kind]
        row = np.floor(y / step_y).astype(int)
        shifted = x + (row % 2) * step_x / 2 * (kind != "tiles")
        column = np.floor(shifted / step_x).astype(int)
        cell = rng.normal(0, 0.09, (256, 256)).astype(np.float32)[
            row % int(FLOOR_M / step_y) % 256, column % int(FLOOR_M / step_x) % 256
        ]
        joint = np.minimum(shifted % step_x, y % step_y) < 0.018
        out = out * (1 + cell[..., None]) * np.where(joint, rng.uniform(0.55, 0.85), 1.0)[..., None]
    for _ in range(int(rng.integers(0, 7))):  # stains, lids, patches
        c = tuple(int(v) for v in rng.integers(0, n, 2))
        cv2.ellipse(
            out,
            c,
            (int(rng.integers(4, 40)), int(rng.integers(4, 30))),
            0,
            0,
            360,
            tuple(float(v) for v in colour * rng.uniform(0.5, 1.4)),
            -1,
        )
    if not indoor and rng.random() < 0.4:
        at = int(rng.integers(40, n - 40))
        out[:, at : at + int(rng.integers(6, 11))] = np.array(rng.choice([0.75, 0.55])) * (1 + 0.08 * fine[:, :1, None])
    return np.asarray(cv2.GaussianBlur(out, (0, 0), 0.6), np.float32) * (1 + 0.05 * fine[..., None])


def _street(rng: np.random.Generator) -> Float32:
    w, h = WALL_PX
    px = h / WALL_M[1]
    kind = rng.choice(["facade", "facade", "park", "open"])
    wall = np.zeros((h, w, 3), np.float32)
    sky = np.array([0.55, 0.66, 0.85], np.float32) * rng.uniform(0.5, 1.2)
    wall[:] = sky * (1 + 0.12 * spectral(rng, (h, w), 1.6)[..., None])
    if kind == "facade":
        at = 0
        while at < w:
            width = int(rng.uniform(5, 14) * px)
            _facade(wall[:, at : at + width], rng, px)
            at += width
    else:
        green = int(rng.uniform(2.5, 9) * px)
        draw_foliage(wall, rng, h - green, h, rng.uniform(0.5, 1.2))
    for _ in range(int(rng.integers(0, 5))):
        top = h - int(rng.uniform(0.6, 3.5) * px)
        left = int(rng.integers(0, w - 80))
        draw_foliage(wall[:, left : left + int(rng.uniform(2, 6) * px)], rng, top, h, rng.uniform(0.4, 1.1))
    for _ in range(int(rng.integers(0, 6))):
        draw_car(wall, rng, px)
    for _ in range(int(rng.integers(1, 7))):
        _post(wall, rng, px)
    return _grain(wall, rng)


def _room(rng: np.random.Generator) -> Float32:
    w, h = WALL_PX
    px = h / WALL_M[1]
    wall = np.zeros((h, w, 3), np.float32)
    at = 0
    while at < w:
        width = int(rng.uniform(3, 9) * px)
        paint = muted(rng, 0.25, 0.75, 0.08) if rng.random() < 0.75 else muted(rng, 0.1, 0.4, 0.35)
        wall[:, at : at + width] = paint
        wall[int(h - 0.1 * px) :, at : at + width] = paint * 0.5
        at += width
    wall[: int(h - rng.uniform(2.7, 4) * px)] = muted(rng, 0.5, 0.9, 0.03)
    wall *= (1 + 0.06 * spectral(rng, (h, w), 1.8))[..., None]
    for _ in range(int(rng.integers(3, 12))):
        what = rng.random()
        x = int(rng.integers(0, w - 60))
        if what < 0.35:
            _box(wall, x, h - int(2.05 * px), int(0.95 * px), int(2.05 * px), muted(rng, 0.05, 0.6, 0.3), rng)
        elif what < 0.6:
            _box(
                wall,
                x,
                h - int(rng.uniform(1.5, 2.4) * px),
                int(rng.uniform(0.4, 2.0) * px),
                int(rng.uniform(0.5, 1.2) * px),
                muted(rng, 0.1, 0.9, 0.5),
                rng,
            )
        elif what < 0.8:
            tall = rng.uniform(0.5, 1.9)
            _shelf(wall, x, h - int(tall * px), int(rng.uniform(0.8, 2.5) * px), int(tall * px), rng)
        else:
            draw_foliage(wall[:, x : x + int(0.8 * px)], rng, h - int(rng.uniform(0.6, 1.7) * px), h, 0.8)
    return _grain(wall, rng)


def _box(wall: Float32, x: int, y: int, width: int, height: int, colour: Float32, rng: np.random.Generator) -> None:
    y = max(y, 0)
    part = wall[y : y + height, x : x + width]
    part[:] = colour
    part[:2] *= 0.6
    part[:, :2] *= 0.6
    if min(part.shape[:2]) > 16 and rng.random() < 0.6:
        part[4 : int(height * 0.45), 5:-5] = colour * rng.uniform(0.4, 1.8)


def _shelf(wall: Float32, x: int, y: int, width: int, height: int, rng: np.random.Generator) -> None:
    part = wall[max(y, 0) : max(y, 0) + height, x : x + width]
    part[:] = muted(rng, 0.05, 0.4, 0.2)
    rows, columns = max(part.shape[0] // 15, 1), max(part.shape[1] // 4, 1)
    things = rng.uniform(0.02, 0.5, (rows, columns, 1)) * rng.uniform(0.5, 1.3, (rows, columns, 3))
    filled = cv2.resize(things.astype(np.float32), (part.shape[1], part.shape[0]), interpolation=cv2.INTER_NEAREST)
    level = (np.arange(part.shape[0]) % 15 > 3)[:, None, None]
    part[:] = np.where(level, filled, part)


def _facade(part: Float32, rng: np.random.Generator, px: float) -> None:
    h, w = part.shape[:2]
    colour = muted(rng, 0.12, 0.55, 0.25)
    part[:] = colour
    if rng.random() < 0.4:  # bricks or panels
        y, x = np.mgrid[0:h, 0:w]
        part *= np.where((y % 4 == 0) | ((x + 5 * (y // 4 % 2)) % 10 == 0), 0.85, 1.0)[..., None].astype(np.float32)
    step_x, step_y = rng.uniform(1.3, 3.0) * px, rng.uniform(2.6, 3.4) * px
    glass = rng.uniform(0.03, 0.3) * np.array([0.85, 0.97, 1.1], np.float32)
    ww, hh = int(step_x * rng.uniform(0.35, 0.8)), int(step_y * rng.uniform(0.4, 0.65))
    for i in range(int(w / step_x)):
        for j in range(1, 4):
            x, y = int((i + 0.25) * step_x), int(h - (j + 0.75) * step_y)
            _window(part, x, y, ww, hh, glass, rng)
    shop = rng.random() < 0.5
    at = int(0.3 * px)
    while at < w - px:
        width = int(rng.uniform(0.9, 2.8) * px)
        height = int(rng.uniform(1.9, 2.5) * px)
        if shop or rng.random() < 0.3:
            _window(part, at, h - height - int(0.2 * px), width, height, glass * rng.uniform(0.5, 2), rng)
            if rng.random() < 0.4:
                sign = muted(rng, 0.1, 0.5, 0.9)
                part[max(h - height - int(0.7 * px), 0) : h - height - int(0.25 * px), at : at + width] = sign
        at += width + int(rng.uniform(0.3, 1.5) * px)
    part[h - int(0.15 * px) :] *= 0.6


def _window(part: Float32, x: int, y: int, width: int, height: int, glass: Float32, rng: np.random.Generator) -> None:
    y0, y1 = max(y, 0), max(y + height, 0)
    pane = part[y0:y1, x : x + width]
    if pane.size == 0:
        return
    reflection = np.linspace(1.5, 0.7, pane.shape[0], dtype=np.float32)[:, None, None]
    pane[:] = glass * reflection * rng.uniform(0.6, 1.5)
    frame = rng.uniform(0.3, 0.8) if rng.random() < 0.5 else 0.06
    pane[:2], pane[-2:], pane[:, :2], pane[:, -2:] = frame, frame, frame, frame
    if width > 24:
        pane[:, width // 2 : width // 2 + 2] = frame


def _post(wall: Float32, rng: np.random.Generator, px: float) -> None:
    h, w = wall.shape[:2]
    x = int(rng.integers(0, w - 12))
    tall = int(rng.uniform(0.8, 6) * px)
    width = max(int(rng.uniform(0.06, 0.3) * px), 2)
    shade = np.linspace(0.6, 1.3, width, dtype=np.float32)[None, :, None]
    wall[max(h - tall, 0) :, x : x + width] = muted(rng, 0.03, 0.4, 0.2) * shade


def _grain(wall: Float32, rng: np.random.Generator) -> Float32:
    """Weather and unevenness over everything, and no edge sharper than paint."""
    h, w = wall.shape[:2]
    worn = np.exp(0.13 * spectral(rng, (h, w), 1.2) + 0.06 * spectral(rng, (h, w), 0.5))[..., None]
    return np.asarray(cv2.GaussianBlur(wall * worn, (0, 0), 0.7), np.float32)

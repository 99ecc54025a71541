"""Cut-out people and empty places: what training pictures for a person detector are put together from.

``people/*.png``: (h, w, 4) BGRA, straight alpha, cut to the person, feet at the lower edge. ``backgrounds/*.jpg``:
streets, halls and rooms with nobody in them. Every file is a function of the seed and its number.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.errors import ConfigError, OutputError
from mctrack.synth.reid.cameras import develop, sample_camera
from mctrack.synth.reid.crops import NO_FRAME, NONE, Lens, Shadow, draw_person, empty_place, sample_light
from mctrack.synth.reid.people import Drawable, People, open_people
from mctrack.synth.reid.places import sample_place
from mctrack.synth.scene import load_scene
from mctrack.synth.view import View

Image = NDArray[np.uint8]
PERSON_PX = 260
"""Height of a cut-out; training scales it down."""
BACKGROUND, ROOM = (960, 720), (480, 360)
"""Sizes of painted places and of rooms, which take far longer to draw."""
POSES = 6
"""Cut-outs of each person."""
Progress = Callable[[int, int], None]


def write_bank(out: Path, people: str, count: int, backgrounds: int, seed: int, workers: int = 1,
               progress: Progress | None = None) -> None:  # fmt: skip
    """Write ``count`` cut-outs and ``backgrounds`` places; files that are there already stay.

    Args:
        people: see :func:`mctrack.synth.reid.people.open_people`; a fourth of the cut-outs are parametric in any case.

    Raises:
        ConfigError: numbers that make no sense, or no such people.
        OutputError: the folder cannot be written.
    """
    if count < 1 or backgrounds < 1:
        raise ConfigError("cut-outs and backgrounds: at least one of each")
    open_people(people, seed)  # a wrong folder is told before any process starts
    try:
        for name in ("people", "backgrounds"):
            (out / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error
    jobs = [("people", k) for k in range(-(-count // POSES))] + [("backgrounds", k) for k in range(backgrounds)]
    arguments = [(str(out), people, count, seed, kind, k) for kind, k in jobs]
    if workers <= 1:
        for done, job in enumerate(arguments, 1):
            _job(job)
            if progress:
                progress(done, len(jobs))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(_job, arguments, chunksize=4), 1):
            if progress:
                progress(done, len(jobs))


def _job(job: tuple[str, str, int, int, str, int]) -> None:
    out, people, count, seed, kind, k = job
    if kind == "backgrounds":
        path = Path(out) / kind / f"{k:05d}.jpg"
        if not path.exists():
            _write(path, background(seed, k))
        return
    paths = [Path(out) / kind / f"{k * POSES + i:06d}.png" for i in range(min(POSES, count - k * POSES))]
    if all(p.exists() for p in paths):
        return
    spec = "parametric" if k % 4 == 3 else people
    figure = _people(spec, seed).figure(k)
    for i, path in enumerate(paths):
        _write(path, cutout(figure, np.random.default_rng((seed, 5, k, i))))


def _write(path: Path, image: Image) -> None:
    """Whole or not at all: an interrupted bank is completed by the next call."""
    part = path.with_name("part-" + path.name)
    if not cv2.imwrite(str(part), image):
        raise OutputError(f"{path} cannot be written")
    part.replace(path)


@lru_cache(maxsize=2)
def _people(spec: str, seed: int) -> People:
    return open_people(spec, seed)


def cutout(figure: Drawable, rng: np.random.Generator) -> Image:
    """(h, w, 4) uint8 BGRA of a person in some pose, light and view."""
    style = sample_camera(1, 0, bool(rng.random() < 0.5), rng)
    pitch = np.radians(np.clip(rng.normal(14, 13), -3, 60))
    distance = float(rng.uniform(4, 14))
    c, s = np.cos(pitch), np.sin(pitch)
    eye = np.array([0.0, 0.5 * figure.height_m + distance * s, distance * c])
    lens = Lens(eye, np.array([[1, 0, 0], [0, c, -s], [0, s, c]]), PERSON_PX * distance / figure.height_m)
    corner = figure.posed(figure.pose(rng, bool(rng.random() < 0.7)), float(rng.uniform(0, 360)))
    light = sample_light(style, rng)
    xy, depth = lens.project(corner[:, :3])
    low, high = np.floor(xy.min(axis=0)).astype(int) - 1, np.ceil(xy.max(axis=0)).astype(int) + 1
    box = (int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))
    layer = draw_person(figure, corner, xy, depth, box, lens, light, Shadow(NONE, NO_FRAME))
    alpha = layer[..., 3]
    colour = layer[..., :3] / np.maximum(alpha, 1e-3)[..., None]
    clean = replace(style, noise=0.0, blur_px=0.0, sharpen=0.0, exposure=1.0)
    picture = develop(np.asarray(colour, np.float32), clean, rng, clean.native_px)
    rows, columns = np.flatnonzero(alpha.max(axis=1) > 0.5), np.flatnonzero(alpha.max(axis=0) > 0.5)
    out = np.dstack([picture, (np.clip(alpha, 0, 1) * 255 + 0.5).astype(np.uint8)])
    return np.ascontiguousarray(out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def background(seed: int, number: int) -> Image:
    """(h, w, 3) uint8 BGR of a place without people: every sixth one a furnished room, the others painted."""
    rng = np.random.default_rng((seed, 6, number))
    return _room(rng) if number % 6 == 0 else _place(rng)


def _place(rng: np.random.Generator) -> Image:
    place = sample_place(rng)
    style = sample_camera(1, 0, place.indoor, rng)
    width, height = BACKGROUND
    pitch, focal = np.radians(rng.uniform(0, 35)), width / (2 * np.tan(np.radians(rng.uniform(45, 90)) / 2))
    c, s = np.cos(pitch), np.sin(pitch)
    lens = Lens(np.array([0.0, style.height_m, float(rng.uniform(3, 12))]),
                np.array([[1, 0, 0], [0, c, -s], [0, s, c]]), float(focal))  # fmt: skip
    light = empty_place(lens, (-width // 2, -height // 2, width, height), place, style, sample_light(style, rng), rng)
    return develop(light, replace(style, noise=0.5), rng, style.native_px)


def _room(rng: np.random.Generator) -> Image:
    """The laboratory with other walls, floor, furniture and camera."""
    scene = load_scene("lab")
    area = scene.areas[0]

    def colour() -> tuple[float, float, float]:
        base = rng.uniform(0.15, 0.9)
        r, g, b = np.clip(base + rng.normal(0, 0.08, 3), 0.05, 0.95)
        return (float(r), float(g), float(b))

    floor = str(rng.choice(["carpet", "tiles", "wood", "concrete"]))
    size = (float(rng.uniform(5, 16)), float(rng.uniform(6, 16)))
    items = [replace(item, at=(float(rng.uniform(0.8, size[0] - 0.8)), float(rng.uniform(0.8, size[1] - 0.8))),
                     colour=colour()) for item in area.items for _ in range(int(rng.integers(0, 3)))]  # fmt: skip
    area = replace(area, size=size, floor=floor, floor_colour=colour(), wall_colour=colour(), accent_colour=colour(),
                   brightness=float(rng.uniform(0.5, 1.0)), items=items, doors=[], wall_items=[])  # fmt: skip
    x, y = rng.uniform(0.2, size[0] - 0.2), rng.uniform(0.2, 0.5 * size[1])
    look = (float(rng.uniform(0.2, 0.8) * size[0]), float(rng.uniform(0.6, 0.95) * size[1]), 0.8)
    camera = replace(scene.cameras[0], position=(float(x), float(y), float(rng.uniform(1.8, 2.8))), look_at=look,
                     hfov_deg=float(rng.uniform(55, 92)), size=ROOM, noise=0.5)  # fmt: skip
    picture, _ = View(camera, area, int(rng.integers(2**31))).picture([], {})
    assert picture is not None
    return picture

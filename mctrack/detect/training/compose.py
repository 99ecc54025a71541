"""Training pictures put together from cut-out people and empty backgrounds, or cut from whole scenes; exact boxes.

A bank is a folder: ``people/*.png`` (BGRA, cut to the person, feet at the lower edge), ``backgrounds/*.jpg`` and, where
there are any, ``scenes/*.jpg`` with a ``.txt`` each (a line ``left top right bottom visibility`` per person). Every
picture is a function of (seed, number): perspective, crowd, light and camera are drawn anew each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.detect.training.clutter import clutter
from mctrack.errors import ConfigError

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
SIZES = ((320, 256), (256, 352), (384, 224), (288, 288), (352, 288), (448, 320))
"""(width, height) of the pictures of a batch, in turn. Small ones: what a step costs goes by pixels, what it teaches by
people."""
SCENES = 0.35
"""Share of the pictures that are cut from scenes, where the bank has any."""
ASK, IGNORE = 0.3, 0.05
"""Visible shares from which a person is asked for; between the two it is ignored, below it is background."""


@dataclass(frozen=True, eq=False)
class Sample:
    """``image`` (h, w, 3) BGR, ``xyxy`` (k, 4) float32, ``visible`` (k,) shares 0…1."""

    image: Picture
    xyxy: Floats
    visible: Floats


class Bank:
    """Cut-outs and backgrounds, read when asked for.

    Raises:
        ConfigError: the folder holds no people or no backgrounds.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.people = sorted((self.root / "people").glob("*.png"))
        self.backgrounds = sorted((self.root / "backgrounds").glob("*.jpg"))
        self.scenes = sorted((self.root / "scenes").glob("*.jpg"))
        self._kept: dict[Path, Picture] = {}
        if not self.people or not self.backgrounds:
            raise ConfigError(f"{self.root}: expected people/*.png and backgrounds/*.jpg; write them with 'mctrack "
                              "synth cutouts --out DIR'")  # fmt: skip

    def person(self, index: int) -> Picture:
        """(h, w, 4) BGRA."""
        return self._keep(self.people[index], cv2.IMREAD_UNCHANGED, 4)

    def background(self, index: int) -> Picture:
        """(h, w, 3) BGR."""
        return self._keep(self.backgrounds[index], cv2.IMREAD_COLOR, 3)

    def scene(self, index: int) -> tuple[Picture, Floats]:
        """(h, w, 3) BGR, and (k, 5) its people: ``xyxy`` in pixels and the visible share."""
        path = self.scenes[index].with_suffix(".txt")
        try:
            rows = [[float(v) for v in line.split()] for line in path.read_text(encoding="utf-8").splitlines()]
            people = np.array(rows, np.float32).reshape(-1, 5)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: expected a line 'left top right bottom visibility' per person") from error
        return _read(self.scenes[index], cv2.IMREAD_COLOR, 3), people

    def _keep(self, path: Path, mode: int, channels: int) -> Picture:
        """Read once: decoding costs more than all the rest of a picture."""
        found = self._kept.get(path)
        if found is None:
            found = self._kept[path] = _read(path, mode, channels)
        return found


def _read(path: Path, mode: int, channels: int) -> Picture:
    image = cv2.imread(str(path), mode)
    if image is None or image.ndim != 3 or image.shape[2] != channels:
        raise ConfigError(f"{path}: not a picture with {channels} channels; write the bank again")
    return np.asarray(image, np.uint8)


def compose(bank: Bank, seed: int, number: int, size: tuple[int, int]) -> Sample:
    """One picture of (width, height) pixels; the same for the same seed, number and size."""
    rng = np.random.default_rng((seed, number))
    if bank.scenes and rng.random() < SCENES:
        return _develop(*_cut(bank, rng, size), rng)
    width, height = size
    canvas = _backdrop(bank, rng, size)
    owner = np.full((height, width), -1, np.int16)
    totals: list[int] = []
    boxes: list[list[float]] = []
    horizon, slope = _perspective(rng, height)
    for x, foot in _places(rng, size, horizon, slope):
        tall = slope * (foot - horizon)
        figure = bank.person(int(rng.integers(len(bank.people))))
        box, total = _paste(canvas, owner, figure, (x, foot, tall), len(boxes), rng)
        boxes.append(box)
        totals.append(total)
        if rng.random() < 0.06:
            _occlude(canvas, owner, box, rng)
    count = np.bincount(owner[owner >= 0], minlength=len(boxes)).astype(np.float32)
    visible = count / np.maximum(np.array(totals, np.float32), 1)
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    inside = np.clip(xyxy, 0, np.array([width, height, width, height], np.float32))
    return _develop(canvas, np.asarray(inside, np.float32), np.asarray(visible, np.float32), rng)


def _develop(canvas: Picture, xyxy: Floats, visible: Floats, rng: np.random.Generator) -> Sample:
    """Film the picture, mirror every other one, and forget who cannot be seen."""
    image, width = _film(canvas, rng), canvas.shape[1]
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
        xyxy = np.stack([width - xyxy[:, 2], xyxy[:, 1], width - xyxy[:, 0], xyxy[:, 3]], 1)
    keep = visible >= IGNORE
    return Sample(image, np.asarray(xyxy[keep], np.float32), np.asarray(visible[keep], np.float32))


def _cut(bank: Bank, rng: np.random.Generator, size: tuple[int, int]) -> tuple[Picture, Floats, Floats]:
    """A part of a scene's frame at some scale: picture, ``xyxy`` and visible shares."""
    frame, people = bank.scene(int(rng.integers(len(bank.scenes))))
    h, w = frame.shape[:2]
    biggest = min(w / size[0], h / size[1])
    scale = biggest * rng.uniform(0.45, 1.0)  # pixels of the frame per pixel of the picture
    x, y = rng.uniform(0, w - scale * size[0]), rng.uniform(0, h - scale * size[1])
    view = np.array([[1 / scale, 0, -x / scale], [0, 1 / scale, -y / scale]])
    part = cv2.warpAffine(frame, view, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    xyxy = (people[:, :4] - np.array([x, y, x, y], np.float32)) / np.float32(scale)
    clipped = np.clip(xyxy, 0, np.array([*size, *size], np.float32))
    share = _areas(clipped) / np.maximum(_areas(xyxy), 1e-6)
    tint = rng.normal(1.0, 0.06, 3) * rng.uniform(0.75, 1.2)
    return np.clip(part * tint, 0, 255).astype(np.uint8), clipped, np.asarray(people[:, 4] * share, np.float32)


def _areas(xyxy: Floats) -> Floats:
    return np.asarray((xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1]), np.float32)


# ---------------------------------------------------------------------------------------- the place


def _backdrop(bank: Bank, rng: np.random.Generator, size: tuple[int, int]) -> Picture:
    """Some part of a background, in other colours."""
    image = bank.background(int(rng.integers(len(bank.backgrounds))))
    h, w = image.shape[:2]
    share = rng.uniform(0.5, 1.0)
    cut_w = min(w, h * size[0] / size[1]) * share
    cut_h = cut_w * size[1] / size[0]
    x, y = rng.uniform(0, w - cut_w), rng.uniform(0, h - cut_h)
    part: Any = image[int(y) : int(y + cut_h), int(x) : int(x + cut_w)]
    part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if cut_w > size[0] else cv2.INTER_LINEAR)
    tint = rng.normal(1.0, 0.08, 3) * rng.uniform(0.7, 1.2)
    canvas = np.clip(part * tint.astype(np.float32), 0, 255).astype(np.uint8)
    for _ in range(rng.poisson(4)):
        clutter(canvas, rng, lambda: bank.person(int(rng.integers(len(bank.people)))))
    return canvas


def _perspective(rng: np.random.Generator, height: int) -> tuple[float, float]:
    """Row of the horizon and growth of people per row: tall = slope · (foot − horizon)."""
    horizon = height * rng.uniform(-1.0, 0.45)
    biggest = height * np.exp(rng.uniform(np.log(0.18), np.log(1.3)))
    return horizon, biggest / (height - horizon)


def _places(rng: np.random.Generator, size: tuple[int, int], horizon: float, slope: float) -> list[tuple[float, float]]:
    """Where feet stand (x, y), far ones first; in groups more often than chance would have it."""
    width, height = size
    count = int(rng.choice([0, 1, 2, 3, 5, 8, 12, 18], p=[0.05, 0.07, 0.10, 0.16, 0.20, 0.20, 0.13, 0.09]))
    # below this row people are too small to be asked for; above the lower edge, or with their feet cut off
    low = max(horizon + 20.0 / slope, 0.0)
    high = height * rng.uniform(1.0, 1.35)
    if low >= high:
        return []
    spots: list[tuple[float, float]] = []
    for _ in range(count):
        if spots and rng.random() < 0.4:
            x, y = spots[int(rng.integers(len(spots)))]
            tall = slope * (y - horizon)
            x, y = x + rng.normal(0, 0.35 * tall), y + rng.normal(0, 0.08 * tall)
        else:
            x, y = rng.uniform(-0.02 * width, 1.02 * width), low + (high - low) * np.sqrt(rng.random())
        spots.append((float(x), float(np.clip(y, low, high))))
    return sorted(spots, key=lambda spot: spot[1])


# ---------------------------------------------------------------------------------------- the people


def _paste(canvas: Picture, owner: NDArray[np.int16], figure: Picture, place: tuple[float, float, float], index: int,
           rng: np.random.Generator) -> tuple[list[float], int]:  # fmt: skip
    """Set a person down; its whole box ``xyxy``, and how many pixels it has, also outside the picture."""
    x, foot, tall = place
    tall *= rng.normal(1.0, 0.05)
    wide = tall * figure.shape[1] / figure.shape[0] * rng.uniform(0.93, 1.08)
    small = cv2.resize(figure, (max(round(wide), 2), max(round(tall), 4)), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        small = np.ascontiguousarray(small[:, ::-1])
    alpha = small[..., 3:].astype(np.float32) / 255
    colour = small[..., :3] * (rng.normal(1.0, 0.06, 3) * rng.uniform(0.75, 1.15)).astype(np.float32)
    h, w = small.shape[:2]
    left, top = round(x - w / 2), round(foot - h)
    _shadow(canvas, x, foot, w, h, rng)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + w, canvas.shape[1]), min(top + h, canvas.shape[0])
    if x1 > x0 and y1 > y0:
        part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        region = canvas[y0:y1, x0:x1]
        region[:] = np.clip(region * (1 - alpha[part]) + colour[part] * alpha[part], 0, 255).astype(np.uint8)
        owner[y0:y1, x0:x1][alpha[part][..., 0] > 0.5] = index
    return [left, top, left + w, top + h], int((alpha > 0.5).sum())


def _shadow(canvas: Picture, x: float, foot: float, w: int, h: int, rng: np.random.Generator) -> None:
    """Darken the ground under the feet."""
    mask = np.zeros(canvas.shape[:2], np.float32)
    axes = (max(int(w * rng.uniform(0.35, 0.8)), 1), max(int(h * rng.uniform(0.015, 0.05)), 1))
    shift = rng.normal(0, 0.15) * w
    cv2.ellipse(mask, (round(x + shift), round(foot - axes[1] / 2)), axes, 0, 0, 360, float(rng.uniform(0.1, 0.55)), -1)
    y0, y1 = max(int(foot) - 4 * axes[1] - 4, 0), min(int(foot) + 4 * axes[1] + 4, canvas.shape[0])
    if y1 <= y0:
        return
    soft = cv2.blur(mask[y0:y1], (2 * (axes[1] // 2) + 3,) * 2)
    canvas[y0:y1] = (canvas[y0:y1] * (1 - soft[..., None])).astype(np.uint8)


def _occlude(canvas: Picture, owner: NDArray[np.int16], box: list[float], rng: np.random.Generator) -> None:
    """A thing before the person: over the legs, or over one side."""
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    if rng.random() < 0.6:
        low, cover = y1 + 0.02 * h, rng.uniform(0.1, 0.55) * h
        area = (x0 - rng.uniform(0.1, 2) * w, low - cover, x1 + rng.uniform(0.1, 2) * w, low)
    else:
        side = x0 + rng.uniform(-0.3, 0.8) * w
        area = (side, y0 - rng.uniform(0, 0.5) * h, side + rng.uniform(0.15, 0.5) * w, y1 + 0.02 * h)
    a, b, c, d = (max(int(v), 0) for v in area)
    region = canvas[b:d, a:c]
    if region.size:
        grain = rng.normal(1, rng.uniform(0, 0.06), region.shape[:2])[..., None]
        region[:] = np.clip(rng.uniform(20, 230, 3) * grain, 0, 255).astype(np.uint8)
        owner[b:d, a:c] = -1


# ---------------------------------------------------------------------------------------- the camera


def _film(canvas: Picture, rng: np.random.Generator) -> Picture:
    """What a camera makes of it: resolution, blur, exposure, colour, noise, compression."""
    image: Any = canvas
    h, w = image.shape[:2]
    if rng.random() < 0.3:
        scale = rng.uniform(0.45, 0.95)
        image = cv2.resize(image, (max(int(w * scale), 8), max(int(h * scale), 8)), interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.3)))
    gain = rng.normal(1.0, 0.07, 3) * rng.uniform(0.7, 1.3)
    levels = np.clip(np.arange(256)[:, None] * gain / 255, 0, 1) ** rng.uniform(0.7, 1.4)
    image = cv2.LUT(image, np.round(255 * levels).astype(np.uint8)[None])
    if rng.random() < 0.12:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, 7))
    out = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.uniform(25, 90))
        out = np.asarray(cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1), np.uint8)
    return out

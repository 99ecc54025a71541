"""What stands between a camera and people: signs, bins, bollards, hedges, railings, tables, parked cars.

A thing belongs to its place, so that a camera sees many people behind the same one: looking alike behind it means
nothing, which an embedder can learn only from pictures that say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.synth.reid.paint import draw_car, draw_foliage, muted, spectral

if TYPE_CHECKING:
    from mctrack.synth.reid.setting import Lens

Float32 = NDArray[np.float32]
PX_A_M = 80
"""Texels a metre: finer than nearly all crops."""
THINGS = 3
OUTDOORS = ("sign", "sign", "bin", "bollard", "hedge", "railing", "car", "banner")
INDOORS = ("table", "table", "plant", "bin", "stand", "railing", "banner")
LETTERS = "ABCDEFGHJKLMNPRSTUVXYZ0123456789"


@dataclass(frozen=True, eq=False)
class Thing:
    """Upright, standing on the floor, the same from all sides.

    Attributes:
        kind: what it is; picture: (h, w, 4) linear RGB, premultiplied, and coverage, row h − 1 on the floor.
    """

    kind: str
    picture: Float32

    @property
    def size_m(self) -> tuple[float, float]:
        """(width, height)."""
        return self.picture.shape[1] / PX_A_M, self.picture.shape[0] / PX_A_M


def sample_things(indoor: bool, rng: np.random.Generator) -> tuple[Thing, ...]:
    """What stands about in a place."""
    kinds = INDOORS if indoor else OUTDOORS
    return tuple(sample_thing(str(rng.choice(kinds)), rng) for _ in range(THINGS))


def sample_thing(kind: str, rng: np.random.Generator) -> Thing:
    """One thing of a kind, weathered."""
    picture = {"sign": _sign, "bin": _bin, "bollard": _bollard, "hedge": _plant, "plant": _plant, "railing": _railing,
               "car": _car, "banner": _banner, "table": _table, "stand": _stand}[kind](rng)  # fmt: skip
    h, w = picture.shape[:2]
    picture[..., :3] *= np.exp(0.08 * spectral(rng, (h + h % 2, w + w % 2), 1.2))[:h, :w, None]
    return Thing(kind, np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.7), np.float32))


def in_front(
    thing: Thing, lens: Lens, box: tuple[int, int, int, int], light: Float32, rng: np.random.Generator
) -> Float32:
    """(h, w, 4) of the thing before a person at the origin, within their box; premultiplied, lit.

    Where it stands is drawn at random: 0.3 m to 3 m nearer than the person, near enough sideways to hide some of them.
    """
    x0, y0, width, height = box
    wide, tall = thing.size_m
    nearer = min(float(rng.uniform(0.3, 3.0)), 0.4 * float(lens.eye[2]))
    aside = float(rng.uniform(-1, 1)) * (0.5 * wide + 0.25)
    corners = np.array([[aside - wide / 2, tall, nearer], [aside + wide / 2, tall, nearer],
                        [aside + wide / 2, 0, nearer], [aside - wide / 2, 0, nearer]], np.float32)  # fmt: skip
    # The line of sight through the origin's foot point, taken along: what is nearer must not slide out of the picture.
    corners[:, 0] += np.float32(lens.eye[0] * nearer / lens.eye[2])
    xy = (lens.project(corners)[0] - np.array([x0, y0])).astype(np.float32)
    h, w = thing.picture.shape[:2]
    picture = thing.picture
    shrink = float(np.linalg.norm(xy[0] - xy[3])) / h
    if shrink < 0.8:  # else single texels would flicker in and out
        size = max(int(w * shrink), 2), max(int(h * shrink), 2)
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)
        w, h = size
    frame = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    turned = cv2.getPerspectiveTransform(frame, xy)
    seen = np.asarray(cv2.warpPerspective(picture, turned, (width, height), flags=cv2.INTER_LINEAR), np.float32)
    strength = light[6:9] + light[3:6] * np.float32(rng.uniform(0.2, 0.7))
    seen[..., :3] *= strength
    return seen


def _blank(width_m: float, height_m: float) -> Float32:
    return np.zeros((max(round(height_m * PX_A_M), 4), max(round(width_m * PX_A_M), 4), 4), np.float32)


def _fill(part: Float32, colour: Float32 | float) -> None:
    part[..., :3] = colour
    part[..., 3] = 1


def _paint(rng: np.random.Generator) -> Float32:
    """(3,) linear RGB of a sign: often loud."""
    if rng.random() < 0.3:
        return muted(rng, 0.5, 0.9, 0.05)
    hue = rng.uniform(0, 180)
    hsv = np.array([[[hue, rng.uniform(90, 255), rng.uniform(70, 255)]]], np.uint8)
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32) / 255
    return np.asarray(rgb**2.2 * 0.9 + 0.01, np.float32)


def _print(board: Float32, rng: np.random.Generator) -> None:
    """A border, a picture and some lines of letters on a board."""
    h, w = board.shape[:2]
    back = _paint(rng)
    ink = np.array([0.85, 0.85, 0.85], np.float32) if back.mean() < 0.35 else muted(rng, 0.01, 0.08, 0.3)
    drawn = np.zeros((h, w), np.uint8)
    if rng.random() < 0.6:
        edge = max(round(0.03 * min(h, w)), 1)
        cv2.rectangle(drawn, (edge, edge), (w - 1 - edge, h - 1 - edge), 255, edge)
    at = 0.15 * h
    if rng.random() < 0.5:
        kind, size = int(rng.integers(3)), int(0.16 * min(h, w))
        x, y = int(w * rng.uniform(0.35, 0.65)), int(at)
        if kind == 0:
            cv2.circle(drawn, (x, y + size), size, 255, -1)
        elif kind == 1:
            cv2.arrowedLine(drawn, (x, y), (x, y + 2 * size), 255, max(size // 4, 1))
        else:
            cv2.rectangle(drawn, (x - size, y), (x + size, y + 2 * size), 255, -1)
        at += 2.6 * size
    while at < 0.85 * h:
        text = "".join(rng.choice(list(LETTERS), int(rng.integers(3, 10))))
        room = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)[0][0] / (0.8 * w)
        scale = min(1 / max(room, 0.1), 0.16 * h / 22)
        thick = max(round(2.2 * scale), 1)
        cv2.putText(drawn, text, (int(0.1 * w), int(at + 22 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thick)
        at += 34 * scale + 2
    share = drawn[..., None].astype(np.float32) / 255
    _fill(board, np.asarray(back * (1 - share) + ink * share, np.float32))


def _upright(picture: Float32, rng: np.random.Generator, x: float, width_m: float, top: int = 0) -> None:
    """A round post at share ``x`` of the width, from row ``top`` down."""
    w = picture.shape[1]
    wide = min(max(round(width_m * PX_A_M), 2), w)
    left = int(np.clip(x * w - wide / 2, 0, w - wide))
    round_ = np.sin(np.linspace(0.25, 2.6, wide, dtype=np.float32))[None, :, None]
    part = picture[top:, left : left + wide]
    _fill(part, 1.0)
    part[..., :3] = muted(rng, 0.03, 0.55, 0.2) * round_


def _sign(rng: np.random.Generator) -> Float32:
    """A board on one or two posts."""
    wide, tall, high = rng.uniform(0.35, 1.1), rng.uniform(0.3, 1.1), rng.uniform(0.9, 2.6)
    picture = _blank(wide, high)
    for x in (0.5,) if rng.random() < 0.6 else (0.12, 0.88):
        _upright(picture, rng, x, rng.uniform(0.05, 0.1))
    first = round(rng.uniform(0, 0.25) * max(high - tall, 0) * PX_A_M)
    _print(picture[first : first + round(tall * PX_A_M)], rng)
    return picture


def _banner(rng: np.random.Generator) -> Float32:
    picture = _blank(rng.uniform(0.6, 2.2), rng.uniform(0.7, 1.3))
    _print(picture, rng)
    return picture


def _bin(rng: np.random.Generator) -> Float32:
    picture = _blank(rng.uniform(0.35, 0.75), rng.uniform(0.6, 1.15))
    h, w = picture.shape[:2]
    _fill(picture, 1.0)
    shade = np.sin(np.linspace(0.5, 2.7, w, dtype=np.float32))[None, :, None]
    picture[..., :3] = muted(rng, 0.02, 0.35, 0.5) * shade
    picture[: round(0.12 * h), :, :3] *= rng.uniform(0.3, 1.8)
    if rng.random() < 0.4:
        _print(picture[round(0.3 * h) : round(0.6 * h), round(0.25 * w) : round(0.75 * w)], rng)
    return picture


def _bollard(rng: np.random.Generator) -> Float32:
    picture = _blank(rng.uniform(0.1, 0.32), rng.uniform(0.8, 1.2) if rng.random() < 0.7 else rng.uniform(2, 4))
    _upright(picture, rng, 0.5, 9)
    if rng.random() < 0.5:
        for row in range(0, picture.shape[0], 24):
            picture[row : row + 8, :, :3] = _paint(rng)
    return picture


def _plant(rng: np.random.Generator) -> Float32:
    """Leaves, with gaps between them."""
    picture = _blank(rng.uniform(0.5, 2.2), rng.uniform(0.5, 1.3))
    h, w = picture.shape[:2]
    leaves = np.full((h, w, 3), -1, np.float32)
    draw_foliage(leaves, rng, 0, h, float(rng.uniform(0.6, 1.5)))
    there = leaves.min(axis=2) >= 0
    picture[..., :3] = np.where(there[..., None], leaves, 0)
    picture[..., 3] = there
    return picture


def _railing(rng: np.random.Generator) -> Float32:
    picture = _blank(rng.uniform(1.2, 2.6), rng.uniform(0.85, 1.2))
    h, w = picture.shape[:2]
    colour = muted(rng, 0.03, 0.6, 0.3)
    bar = max(round(rng.uniform(0.02, 0.05) * PX_A_M), 1)
    for x in range(0, w, max(round(rng.uniform(0.1, 0.5) * PX_A_M), bar + 2)):
        _fill(picture[:, x : x + bar], colour)
    for row in range(0, h - bar, max(round(rng.uniform(0.25, 0.9) * h), bar + 2)):
        _fill(picture[row : row + 2 * bar], colour * 1.15)
    return picture


def _car(rng: np.random.Generator) -> Float32:
    """Somewhere of a parked car: its bonnet, doors or boot."""
    whole = np.full((round(2.0 * PX_A_M), round(4.6 * PX_A_M), 3), -1, np.float32)
    draw_car(whole, rng, float(PX_A_M))
    there = (whole.min(axis=2) > 0).astype(np.float32)
    picture = np.concatenate([np.where(there[..., None] > 0, whole, 0), there[..., None]], axis=2).astype(np.float32)
    rows = np.flatnonzero(there.any(axis=1))
    left = int(rng.uniform(0, 0.5) * picture.shape[1])
    return np.ascontiguousarray(picture[rows[0] : rows[-1] + 1, left : left + round(2.3 * PX_A_M)])


def _table(rng: np.random.Generator) -> Float32:
    picture = _blank(rng.uniform(0.8, 2.0), rng.uniform(0.68, 1.1))
    colour = muted(rng, 0.05, 0.6, 0.25)
    thick = max(round(rng.uniform(0.03, 0.15) * PX_A_M), 2)
    if rng.random() < 0.5:
        _fill(picture, colour * 0.6)  # a closed front
    for x in (0.04, 0.96):
        _upright(picture, rng, x, 0.06)
    _fill(picture[:thick], colour)
    return picture


def _stand(rng: np.random.Generator) -> Float32:
    """A shelf or rack with small things."""
    picture = _blank(rng.uniform(0.5, 1.4), rng.uniform(0.7, 1.4))
    h, w = picture.shape[:2]
    rows, columns = max(h // 20, 1), max(w // 12, 1)
    things = rng.uniform(0.02, 0.6, (rows, columns, 1)) * rng.uniform(0.4, 1.3, (rows, columns, 3))
    _fill(picture, np.asarray(cv2.resize(things, (w, h), interpolation=cv2.INTER_NEAREST), np.float32))
    picture[np.arange(h) % 20 < 3, :, :3] = muted(rng, 0.05, 0.5, 0.2)
    return picture

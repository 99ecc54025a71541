"""Painting the texture atlas of an identity: cloth with patterns and folds, face, hair, shoes, bags."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.synth import body
from mctrack.synth.identity import CLOTH, HAIR, Colour, Identity

Image = NDArray[np.float32]
SIZE = 128
ATLAS = 4 * SIZE


def bgr(colour: Colour) -> NDArray[np.float32]:
    """(3,) blue, green, red in 0…1."""
    return np.asarray(np.array(colour[::-1]) / 255, np.float32)


def value_noise(rng: np.random.Generator, height: int, width: int, cells_y: int, cells_x: int) -> NDArray[np.float32]:
    """(height, width) smooth noise around 0, about −1…1, with the given number of cells."""
    coarse = rng.uniform(-1, 1, (cells_y, cells_x)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def paint(person: Identity) -> list[Image]:
    """The atlas (512, 512, 3) float32 BGR in 0…1, followed by its halves in resolution."""
    rng = np.random.default_rng(person.seed)
    tiles = {
        "torso": _torso(person, rng),
        "arm": _arm(person, rng),
        "leg": _leg(person, rng),
        "head": _head(person, rng),
        "hair": _hair(person, rng),
        "skirt": _cloth(bgr(CLOTH[person.bottom_colour]), rng, 7),
        "shoe": _shoe(person),
        "hand": _flat(bgr(person.skin) * 0.96),
        "bag": _bag(person, rng),
        "hat": _cloth(bgr(CLOTH[person.hat_colour]), rng, 4),
        "neck": _neck(person),
        "tail": _pattern(person, rng, 90, 128),
    }
    atlas = np.zeros((ATLAS, ATLAS, 3), np.float32)
    for name, picture in tiles.items():
        row, column = divmod(body.TILES.index(name), 4)
        atlas[row * SIZE : (row + 1) * SIZE, column * SIZE : (column + 1) * SIZE] = picture
    levels = [np.clip(atlas, 0, 1)]
    for _ in range(2):
        half = levels[-1].shape[0] // 2
        levels.append(np.asarray(cv2.resize(levels[-1], (half, half), interpolation=cv2.INTER_AREA), np.float32))
    return levels


def _flat(colour: NDArray[np.float32]) -> Image:
    return np.tile(colour, (SIZE, SIZE, 1)).astype(np.float32)


def _folds(rng: np.random.Generator, amount: float, down: int = 10, around: int = 6) -> Image:
    """(128, 128, 1) brightness factors: soft folds plus a little weave."""
    soft = value_noise(rng, SIZE, SIZE, down, around) * 0.7 + value_noise(rng, SIZE, SIZE, 3, 4) * 0.5
    weave = rng.normal(0, 0.35, (SIZE, SIZE)).astype(np.float32)
    return np.asarray(1 + amount * soft + 0.06 * amount / 0.1 * weave, np.float32)[..., None]


def _cloth(colour: NDArray[np.float32], rng: np.random.Generator, folds: int) -> Image:
    picture = _flat(colour) * _folds(rng, 0.10, folds, 10)
    picture[-4:] *= 0.8
    return picture


def _pattern(person: Identity, rng: np.random.Generator, around: int, along: int) -> Image:
    """The top's cloth; ``around`` and ``along`` scale the pattern to the part (128 = the torso's girth and height)."""
    first, second = bgr(CLOTH[person.top_colour]), bgr(CLOTH[person.top_colour2])
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    x, y = x * around / SIZE, y * along / SIZE
    mask = {
        "stripes": (y % 14) < 6,
        "pinstripes": (x % 8) < 2.5,
        "checks": ((y % 16) < 7) ^ ((x % 16) < 7),
        "block": y < 44,
        "band": (y > 34) & (y < 54),
    }.get(person.pattern, np.zeros_like(x, bool))
    picture = np.where(mask[..., None], second, first).astype(np.float32)
    if person.pattern == "checks":
        picture = 0.45 * first + 0.55 * picture
    return np.asarray(picture * _folds(rng, 0.09), np.float32)


def _row(height: float) -> int:
    """Row of the torso tile at a height given in body heights."""
    return round((body.TORSO_TOP - height) / (body.TORSO_TOP - body.TORSO_BOTTOM) * SIZE)


def _torso(person: Identity, rng: np.random.Generator) -> Image:
    picture = _pattern(person, rng, 128, 128)
    first = bgr(CLOTH[person.top_colour])
    middle, hem, collar = SIZE // 2, _row(body.HEM[person.top]), _row(0.836)
    if person.pattern == "logo":
        _logo(picture, bgr(CLOTH[person.top_colour2]), rng)
    if person.top in ("jacket", "coat"):
        picture[collar:hem, middle - 7 : middle + 7] = bgr(CLOTH[person.inner]) * 0.95
        picture[collar:hem, [middle - 8, middle + 7]] = first * 0.45
    elif person.top == "hoodie":
        picture[collar:hem, middle - 1 : middle + 1] *= 0.6
        cv2.rectangle(picture, (middle - 20, _row(0.58)), (middle + 20, _row(0.53)), (first * 0.7).tolist(), 1)
    elif person.top == "shirt":
        picture[collar:hem, middle] *= 0.75
        picture[collar + 4 : hem : 10, middle] = 0.85
    picture[:collar] = first * 0.72 if person.top in ("hoodie", "sweater", "jacket", "coat") else bgr(person.skin) * 0.9
    if person.top == "t-shirt":
        cv2.ellipse(picture, (middle, collar), (13, 9), 0, 0, 360, (bgr(person.skin) * 0.93).tolist(), -1)
    if person.top == "shirt":
        picture[max(collar - 5, 0) : collar] = np.clip(first * 1.12, 0, 1)
    picture[hem - 3 : hem] *= 0.72
    picture[hem:] = bgr(CLOTH[person.bottom_colour]) * 0.85
    picture[hem : hem + 4] = bgr(CLOTH["black"]) if person.bottom != "skirt" else bgr(CLOTH[person.bottom_colour])
    _straps(person, picture)
    # The sides lie under the arms and get less light.
    shade = 1 - 0.22 * np.exp(-(((np.abs(np.arange(SIZE) - middle) - SIZE / 4) / 9.0) ** 2))
    return np.asarray(picture * shade[None, :, None], np.float32)


def _logo(picture: Image, colour: NDArray[np.float32], rng: np.random.Generator) -> None:
    middle, top = SIZE // 2, _row(0.765)
    kind = int(rng.integers(3))
    paint_colour = colour.tolist()
    if kind == 0:
        cv2.circle(picture, (middle, top + 12), 11, paint_colour, -1)
    elif kind == 1:
        cv2.rectangle(picture, (middle - 14, top + 3), (middle + 14, top + 19), paint_colour, -1)
    else:
        triangle = np.array([[middle - 14, top + 22], [middle + 14, top + 22], [middle, top]], np.int32)
        cv2.fillConvexPoly(picture, triangle, paint_colour)
    cv2.rectangle(picture, (4, top + 4), (22, top + 14), paint_colour, -1)
    cv2.rectangle(picture, (SIZE - 22, top + 4), (SIZE - 4, top + 14), paint_colour, -1)


def _straps(person: Identity, picture: Image) -> None:
    colour = (bgr(CLOTH[person.bag_colour]) * 0.7).tolist()
    middle = SIZE // 2
    if person.bag == "backpack":
        for x in (middle - 15, middle + 15):
            cv2.line(picture, (x, _row(0.83)), (x, _row(0.66)), colour, 4)
    elif person.bag == "shoulder bag":
        # u runs from the back over the right side (a quarter) to the front: the strap goes over the left shoulder.
        cv2.line(picture, (middle + 22, _row(0.82)), (middle - 30, _row(0.54)), colour, 3)
        cv2.line(picture, (SIZE - 12, _row(0.82)), (SIZE, _row(0.70)), colour, 3)
        cv2.line(picture, (0, _row(0.70)), (30, _row(0.54)), colour, 3)


def _arm(person: Identity, rng: np.random.Generator) -> Image:
    span = body.ARM_TOP - body.ARM_BOTTOM
    end = round((body.ARM_TOP - body.SLEEVE_END.get(person.top, 0.49)) / span * SIZE)
    picture = _pattern(person, rng, 50, 110)
    if person.pattern == "block" and person.top != "t-shirt":
        picture = _flat(bgr(CLOTH[person.top_colour2])) * _folds(rng, 0.08)
    picture[max(end - 4, 0) : end] *= 0.75
    picture[end:] = bgr(person.skin)
    return picture


def _leg(person: Identity, rng: np.random.Generator) -> Image:
    colour = bgr(CLOTH[person.bottom_colour])
    picture = _flat(colour) * _folds(rng, 0.09, 14, 5)
    span = body.LEG_TOP - body.LEG_BOTTOM
    if person.bottom == "jeans":
        worn = np.exp(-(((np.arange(SIZE) - 40) / 26.0) ** 2))[:, None, None] * 0.14
        front = np.exp(-(((np.arange(SIZE) - 64) / 22.0) ** 2))[None, :, None]
        picture = picture + worn * front
    if person.bottom in ("shorts", "skirt"):
        end = round((body.LEG_TOP - (body.SHORTS_END if person.bottom == "shorts" else 0.47)) / span * SIZE)
        picture[end - 3 : end] *= 0.75
        picture[end:] = bgr(person.skin) if person.bottom == "shorts" else bgr(person.skin) * 0.55 + 0.02
        picture[-8:] = 0.85
    # The insides of the thighs shade each other.
    return np.asarray(np.clip(picture, 0, 1), np.float32)


def _neck(person: Identity) -> Image:
    shade = np.linspace(0.68, 0.92, SIZE, dtype=np.float32)[:, None, None]
    return _flat(bgr(person.skin)) * shade


def _head(person: Identity, rng: np.random.Generator) -> Image:
    """Face with brows, eyes, mouth and beard; the front is the middle column, the chin the last row."""
    skin, hair = bgr(person.skin), bgr(HAIR[person.hair])
    picture = _flat(skin) * _folds(rng, 0.03)
    middle = SIZE // 2
    dark = np.clip(hair * 0.8, 0, 1)
    for side in (-1, 1):
        x = middle + side * 10
        cv2.ellipse(picture, (x, 62), (7, 5), 0, 0, 360, (skin * 0.80).tolist(), -1)
        cv2.ellipse(picture, (x, 63), (5, 3), 0, 0, 360, (0.86, 0.87, 0.88), -1)
        cv2.circle(picture, (x, 63), 2, (0.08, 0.08, 0.10), -1)
        cv2.line(picture, (x - 6, 54), (x + 6, 54), dark.tolist(), 3)
        ear = middle + side * 33
        cv2.ellipse(picture, (ear, 66), (3, 9), 0, 0, 360, (skin * 0.78).tolist(), -1)
    cv2.line(picture, (middle - 5, 83), (middle + 5, 83), (skin * 0.70).tolist(), 2)
    if person.beard:
        beard = np.zeros((SIZE, SIZE), np.float32)
        cv2.ellipse(beard, (middle, 108), (30, 30), 0, 0, 360, 1.0, -1)
        cv2.ellipse(beard, (middle, 95), (9, 5), 0, 0, 360, 0.35, -1)
        cv2.rectangle(beard, (middle - 10, 89), (middle + 10, 92), 0.9, -1)
        beard = cv2.GaussianBlur(beard, (0, 0), 2)[..., None] * 0.85
        picture = picture * (1 - beard) + hair * beard
    if person.hair_style == "bald":
        picture[:46] = picture[:46] * 0.96 + 0.02
    return np.asarray(picture, np.float32)


def _hair(person: Identity, rng: np.random.Generator) -> Image:
    strands = value_noise(rng, SIZE, SIZE, 5, 48)
    return np.asarray(np.clip(_flat(bgr(HAIR[person.hair])) * (1 + 0.22 * strands[..., None]), 0, 1), np.float32)


def _shoe(person: Identity) -> Image:
    colour = bgr(CLOTH[person.shoes])
    picture = _flat(colour)
    # u runs around the shoe: its edges are the sole, the middle is the top.
    sole = bgr(CLOTH["white"]) * 0.85 if person.shoes in ("white", "red", "grey") else colour * 0.5
    edge = np.abs(np.arange(SIZE) - SIZE // 2) > 46
    picture[:, edge] = sole
    picture[50:90, SIZE // 2 - 6 : SIZE // 2 + 6] = np.clip(colour * 1.25 + 0.06, 0, 1)
    return picture


def _bag(person: Identity, rng: np.random.Generator) -> Image:
    colour = bgr(CLOTH[person.bag_colour])
    picture = _flat(colour) * _folds(rng, 0.05)
    picture[44:47] *= 0.6
    picture[84:87] *= 0.6
    return np.asarray(picture, np.float32)

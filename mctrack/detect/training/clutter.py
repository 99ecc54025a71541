"""Things that are not people, for composed pictures: signs on posts, cones, tripods, panels, rags of cloth.

What a detector takes for a person in a street is mostly upright, bright and textured, and stands there all day.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
_LETTERS = "AEHIKLMNOPRSTUX0123456789"


def clutter(canvas: Picture, rng: np.random.Generator, cloth: Callable[[], Picture]) -> None:
    """Draw one thing somewhere.

    Args:
        canvas: (h, w, 3) BGR, drawn into.
        cloth: gives a (h, w, 4) cut-out person, of whom only scraps are used.
    """
    height, width = canvas.shape[:2]
    tall = height * float(np.exp(rng.uniform(np.log(0.06), np.log(0.6))))
    x, foot = float(rng.uniform(0, width)), float(rng.uniform(0.2 * height, 1.1 * height))
    kind = rng.random()
    if kind < 0.25:
        _board(canvas, rng, x, foot, tall)
    elif kind < 0.45:
        _sign(canvas, rng, x, foot, tall)
    elif kind < 0.55:
        _cone(canvas, rng, x, foot, 0.5 * tall)
    elif kind < 0.63:
        _tripod(canvas, rng, x, foot, tall)
    else:
        _scrap(canvas, rng, x, foot, tall, cloth())


def _colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """Greys as often as colours: most of a street is grey."""
    grey = rng.uniform(10, 245)
    spread = 0.0 if rng.random() < 0.4 else rng.uniform(20, 120)
    b, g, r = np.clip(grey + spread * rng.standard_normal(3), 0, 255)
    return float(b), float(g), float(r)


def _board(canvas: Picture, rng: np.random.Generator, x: float, foot: float, tall: float) -> None:
    """A plain upright thing with a little shading and grain."""
    wide = tall * rng.uniform(0.05, 0.8)
    region = _region(canvas, x - wide / 2, foot - tall, x + wide / 2, foot)
    if region is None:
        return
    shade = np.linspace(rng.uniform(0.6, 1), rng.uniform(0.6, 1), region.shape[1])[None, :, None]
    texture = rng.normal(1, rng.uniform(0, 0.08), region.shape[:2])[..., None]
    region[:] = np.clip(np.array(_colour(rng)) * shade * texture, 0, 255).astype(np.uint8)


def _sign(canvas: Picture, rng: np.random.Generator, x: float, foot: float, tall: float) -> None:
    """A post with one to three panels, each with letters, bars or a ring on it."""
    thick = max(round(tall * rng.uniform(0.02, 0.06)), 1)
    cv2.line(canvas, _at(x, foot), _at(x, foot - tall * rng.uniform(1.0, 2.5)), _colour(rng), thick)
    top = foot - tall * rng.uniform(0.6, 1.2)
    for _ in range(int(rng.integers(1, 4))):
        w, h = tall * rng.uniform(0.15, 0.6), tall * rng.uniform(0.15, 0.7)
        cv2.rectangle(canvas, _at(x - w / 2, top), _at(x + w / 2, top + h), _colour(rng), -1)
        ink, size = _colour(rng), max(h / 90, 0.15)
        for k in range(int(rng.integers(0, 5))):
            left, low = x - w * rng.uniform(0.1, 0.5), top + h * (k + 1) / 5
            if rng.random() < 0.5:
                text = "".join(rng.choice(list(_LETTERS), int(rng.integers(1, 8))))
                cv2.putText(canvas, text, _at(left, low), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1)
            else:
                cv2.line(canvas, _at(left, low), _at(left + w * rng.uniform(0.1, 0.9), low), ink, thick)
        if rng.random() < 0.3:
            cv2.circle(canvas, _at(x, top + h / 2), max(round(0.35 * w), 1), _colour(rng), max(thick, 1))
        top += h * rng.uniform(0.9, 1.2)


def _cone(canvas: Picture, rng: np.random.Generator, x: float, foot: float, tall: float) -> None:
    """A traffic cone in any colours, with a band."""
    wide = tall * rng.uniform(0.3, 0.7)

    def part(low: float, high: float, colour: tuple[float, float, float]) -> None:
        corners = [(x - wide / 2 * (1 - low), foot - low * tall), (x + wide / 2 * (1 - low), foot - low * tall),
                   (x + wide / 2 * (1 - high), foot - high * tall), (x - wide / 2 * (1 - high), foot - high * tall)]
        cv2.fillConvexPoly(canvas, np.array([_at(*c) for c in corners], np.int32), colour)

    part(0.0, 0.95, _colour(rng))
    part(0.35, 0.6, _colour(rng))


def _tripod(canvas: Picture, rng: np.random.Generator, x: float, foot: float, tall: float) -> None:
    """Three legs and a head: lines where a person has limbs."""
    colour, thick = _colour(rng), max(round(tall * 0.03), 1)
    for way in rng.uniform(-0.35, 0.35, 3):
        cv2.line(canvas, _at(x, foot - 0.7 * tall), _at(x + way * tall, foot), colour, thick)
    cv2.line(canvas, _at(x, foot - 0.7 * tall), _at(x, foot - tall), colour, thick)
    cv2.circle(canvas, _at(x, foot - tall), max(round(0.07 * tall), 1), colour, -1)


def _scrap(canvas: Picture, rng: np.random.Generator, x: float, foot: float, tall: float, person: Picture) -> None:
    """Cloth without a body: a piece of a person's middle, turned and stretched, as a rectangle or an ellipse."""
    h, w = person.shape[:2]
    y0, x0 = int(h * rng.uniform(0.2, 0.6)), int(w * rng.uniform(0.2, 0.5))
    piece: Any = person[y0 : y0 + max(int(h * rng.uniform(0.08, 0.3)), 2), x0 : x0 + max(int(w * 0.4), 2), :3]
    piece = np.rot90(piece, int(rng.integers(4)))
    size = (max(round(tall * rng.uniform(0.1, 0.9)), 2), max(round(tall * rng.uniform(0.3, 1.0)), 2))
    piece = cv2.resize(np.ascontiguousarray(piece), size)
    left, top = round(x - size[0] / 2), round(foot - size[1])
    region = _region(canvas, left, top, left + size[0], top + size[1])
    if region is None:
        return
    part = piece[max(-top, 0) : max(-top, 0) + region.shape[0], max(-left, 0) : max(-left, 0) + region.shape[1]]
    if rng.random() < 0.5:
        mask = np.zeros(part.shape[:2], np.uint8)
        cv2.ellipse(mask, (part.shape[1] // 2, part.shape[0] // 2), (part.shape[1] // 2, part.shape[0] // 2),
                    0, 0, 360, 255, -1)  # fmt: skip
        region[mask > 0] = part[mask > 0]
    else:
        region[:] = part


def _region(canvas: Picture, x0: float, y0: float, x1: float, y1: float) -> Picture | None:
    """The part of the picture between two corners, None where there is none."""
    a, b, c, d = (max(int(v), 0) for v in (x0, y0, x1, y1))
    region = canvas[b:d, a:c]
    return region if region.size else None


def _at(x: float, y: float) -> tuple[int, int]:
    return round(x), round(y)

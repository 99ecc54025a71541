"""Colours as people wear them: named after Market-1501's classes, mostly dark or muted, each shade slightly its own."""

from __future__ import annotations

import colorsys

import numpy as np

RGB = tuple[float, float, float]
"""Red, green, blue in 0…1, sRGB."""

# class -> shades (hue 0…1, saturation, value); several per class, muted ones first.
_SHADES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "black": ((0.62, 0.12, 0.12), (0.08, 0.08, 0.13), (0.62, 0.25, 0.17), (0.0, 0.0, 0.10)),
    "gray": ((0.6, 0.05, 0.45), (0.6, 0.06, 0.32), (0.1, 0.06, 0.55), (0.0, 0.0, 0.66), (0.55, 0.08, 0.27)),
    "white": ((0.1, 0.03, 0.90), (0.6, 0.03, 0.92), (0.12, 0.08, 0.86)),
    "blue": ((0.62, 0.55, 0.24), (0.61, 0.50, 0.36), (0.60, 0.45, 0.55), (0.58, 0.32, 0.70), (0.64, 0.65, 0.45)),
    "green": ((0.22, 0.35, 0.30), (0.36, 0.40, 0.32), (0.30, 0.22, 0.45), (0.42, 0.45, 0.40), (0.26, 0.45, 0.50)),
    "red": ((0.98, 0.65, 0.42), (0.0, 0.72, 0.58), (0.97, 0.60, 0.30), (0.01, 0.55, 0.68)),
    "purple": ((0.78, 0.35, 0.34), (0.83, 0.40, 0.30), (0.74, 0.28, 0.55)),
    "yellow": ((0.13, 0.55, 0.72), (0.12, 0.40, 0.80), (0.14, 0.70, 0.82)),
    "pink": ((0.95, 0.28, 0.78), (0.93, 0.38, 0.66), (0.97, 0.18, 0.85)),
    "brown": ((0.07, 0.50, 0.34), (0.08, 0.38, 0.46), (0.06, 0.45, 0.24)),
    "beige": ((0.10, 0.24, 0.74), (0.09, 0.30, 0.62), (0.11, 0.16, 0.80)),
    "denim": ((0.60, 0.42, 0.42), (0.60, 0.35, 0.56), (0.59, 0.28, 0.66), (0.61, 0.50, 0.30), (0.60, 0.22, 0.74)),
    "orange": ((0.06, 0.62, 0.72), (0.05, 0.52, 0.58)),
}
UPPER = {
    "black": 0.25,
    "gray": 0.17,
    "white": 0.14,
    "blue": 0.16,
    "green": 0.06,
    "red": 0.07,
    "purple": 0.025,
    "yellow": 0.025,
    "pink": 0.03,
    "brown": 0.03,
    "beige": 0.045,
    "orange": 0.02,
}
LOWER = {
    "black": 0.34,
    "gray": 0.16,
    "white": 0.035,
    "blue": 0.29,
    "green": 0.035,
    "red": 0.008,
    "purple": 0.008,
    "yellow": 0.008,
    "pink": 0.01,
    "brown": 0.05,
    "beige": 0.075,
    "orange": 0.004,
}
THINGS = {
    "black": 0.36,
    "gray": 0.14,
    "white": 0.08,
    "blue": 0.12,
    "green": 0.05,
    "red": 0.07,
    "purple": 0.02,
    "yellow": 0.02,
    "pink": 0.03,
    "brown": 0.08,
    "beige": 0.03,
    "orange": 0.02,
}
SKINS: tuple[RGB, ...] = (
    (0.90, 0.74, 0.65),
    (0.86, 0.68, 0.57),
    (0.80, 0.61, 0.49),
    (0.70, 0.51, 0.38),
    (0.52, 0.36, 0.26),
    (0.38, 0.26, 0.19),
    (0.27, 0.185, 0.14),
)
HAIRS: dict[str, RGB] = {
    "black": (0.075, 0.065, 0.062),
    "dark brown": (0.15, 0.105, 0.080),
    "brown": (0.27, 0.185, 0.125),
    "light brown": (0.40, 0.29, 0.19),
    "blond": (0.66, 0.53, 0.36),
    "red": (0.42, 0.20, 0.11),
    "grey": (0.52, 0.51, 0.50),
    "white": (0.78, 0.77, 0.75),
}


def pick(rng: np.random.Generator, chances: dict[str, float]) -> str:
    """A key, by weight."""
    weight = np.array(list(chances.values()))
    return str(list(chances)[int(rng.choice(len(weight), p=weight / weight.sum()))])


def shade(rng: np.random.Generator, name: str) -> RGB:
    """A shade of a colour class, near one of its usual ones."""
    shades = _SHADES[name]
    h, s, v = shades[int(rng.integers(len(shades)))]
    h = (h + rng.normal(0, 0.012)) % 1.0
    s = float(np.clip(s * rng.normal(0.86, 0.15), 0.0, 0.78))
    v = float(np.clip(v * rng.normal(1.0, 0.10), 0.05, 0.95))
    r, g, b = colorsys.hsv_to_rgb(float(h), s, v)
    return (round(r, 4), round(g, 4), round(b, 4))


def linear(rgb: RGB) -> tuple[float, float, float]:
    """SRGB 0…1 to linear light (exponent 2.2)."""
    r, g, b = (max(c, 0.0) ** 2.2 for c in rgb)
    return (r, g, b)

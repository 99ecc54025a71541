"""Painting from noise with a 1/f spectrum and simple shapes: materials, leaves, cars."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def spectral(rng: np.random.Generator, shape: tuple[int, int], power: float = 1.0) -> Float32:
    """(h, w) tileable noise whose amplitude falls as 1/f^power; mean 0, deviation 1."""
    h, w = shape
    fy, fx = np.fft.fftfreq(h)[:, None] * h, np.fft.rfftfreq(w)[None] * w
    amplitude = 1 / np.maximum(np.hypot(fx, fy * w / h), 1.0) ** power
    amplitude[0, 0] = 0
    wave = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * amplitude, shape)
    return (wave / wave.std()).astype(np.float32)


def muted(rng: np.random.Generator, low: float, high: float, colour: float = 0.10) -> Float32:
    """(3,) linear RGB of a building material."""
    base = rng.uniform(low, high)
    warm, green = rng.normal(0.3, 1) * colour, rng.normal(0, 0.35) * colour
    return (base * np.array([1 + warm, 1 + green, 1 - warm])).clip(0.01, 1).astype(np.float32)


def draw_foliage(part: Float32, rng: np.random.Generator, top: int, bottom: int, bright: float) -> None:
    """Leaves: where broad noise is high towards the ground; their light from fine noise."""
    top = max(top, 0)
    h, w = bottom - top, part.shape[1]
    if h < 8 or w < 8:
        return
    shape = (h + h % 2, w + w % 2)
    broad, fine, leaf = (
        spectral(rng, shape, 1.3)[:h, :w],
        spectral(rng, shape, 0.75)[:h, :w],
        spectral(rng, shape, 0.25)[:h, :w],
    )
    edge = (
        np.linspace(-1.2, 1.6, h, dtype=np.float32)[:, None]
        + 1.0
        - 1.4 * np.abs(np.linspace(-1, 1, w, dtype=np.float32))[None] ** 4
    )
    mask = (broad + 0.6 * fine + edge > 0.5).astype(np.float32)[..., None]
    green = np.array([0.060, 0.095, 0.028], np.float32) * np.array(
        [rng.uniform(0.7, 1.6), 1, rng.uniform(0.6, 1.5)], np.float32
    )
    light = np.exp(0.55 * fine + 0.45 * leaf + 0.25 * broad)[..., None]
    part[top:bottom] = part[top:bottom] * (1 - mask) + mask * green * light * bright


def draw_car(wall: Float32, rng: np.random.Generator, px: float) -> None:
    """A car from its side, standing on the last row; ``px`` pixels a metre."""
    h = wall.shape[0]
    length, tall = int(4.3 * px), int(rng.uniform(1.35, 1.75) * px)
    x = int(rng.integers(0, max(wall.shape[1] - length, 1)))
    body = muted(rng, 0.02, 0.6, 0.15) if rng.random() < 0.7 else muted(rng, 0.05, 0.3, 0.9)
    base, waist = h - int(0.25 * px), h - int(0.85 * px)
    colour = tuple(float(v) for v in body)
    cv2.rectangle(wall, (x, waist), (x + length, base), colour, -1)
    roof = np.array(
        [
            [x + 0.14 * length, waist],
            [x + 0.30 * length, h - tall],
            [x + 0.75 * length, h - tall],
            [x + 0.93 * length, waist],
        ],
        np.int32,
    )
    cv2.fillPoly(wall, [roof], colour)
    inner = ((roof - roof.mean(axis=0)) * np.array([0.86, 0.72]) + roof.mean(axis=0)).astype(np.int32)
    cv2.fillPoly(wall, [inner], (0.03, 0.035, 0.04))
    for f in (0.2, 0.8):
        cv2.circle(wall, (int(x + f * length), base), int(0.31 * px), (0.012, 0.012, 0.012), -1)
        cv2.circle(wall, (int(x + f * length), base), int(0.17 * px), (0.2, 0.2, 0.2), -1)
    wall[waist : waist + 3, x : x + length] *= 1.8
    wall[base - 4 :, x : x + length] *= 0.5

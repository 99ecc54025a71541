"""Plane-to-plane maps: applying, differentiating and estimating (3, 3) homographies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SINGULAR = 1e12
"""A homography of a larger condition number (after scaling both sides) maps the plane to a line."""


def apply(homography: Array, points: Array) -> tuple[Array, Array]:
    """Map (n, 2) points: (n, 2) images, and (n,) homogeneous weights, whose sign tells the side of the horizon."""
    points = np.asarray(points, float).reshape(-1, 2)
    mapped = points @ homography[:, :2].T + homography[:, 2]
    weight = mapped[:, 2]
    safe = np.where(np.abs(weight) < 1e-300, 1e-300, weight)
    return mapped[:, :2] / safe[:, None], weight


def jacobian(homography: Array, points: Array) -> Array:
    """(n, 2, 2) derivatives of the image by the point, at (n, 2) points."""
    mapped, weight = apply(homography, points)
    top = homography[None, :2, :2] - mapped[:, :, None] * homography[None, 2:, :2]
    return np.asarray(top / np.where(np.abs(weight) < 1e-300, 1e-300, weight)[:, None, None])


def is_singular(homography: Array) -> bool:
    """Whether the map has no inverse, however its units are chosen."""
    h = np.asarray(homography, float)
    if h.shape != (3, 3) or not np.isfinite(h).all() or not h.any():
        return True
    for _ in range(4):  # equilibrate: a homography in millimetres is not singular
        h = h / np.maximum(np.abs(h).max(axis=1, keepdims=True), 1e-300)
        h = h / np.maximum(np.abs(h).max(axis=0, keepdims=True), 1e-300)
    return bool(np.linalg.cond(h) > SINGULAR)


def fit(source: Array, target: Array, weight: Array | None = None) -> Array:
    """(3, 3) least-squares homography of n ≥ 4 point pairs, (n, 2) each.

    The normalised direct linear transform (Hartley 1997), followed by Gauss–Newton steps on the distance in the
    target plane, which the linear solution does not minimise.

    Args:
        source, target: the pairs.
        weight: (n,) weights of the squared distances, default 1.
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    a, b = _normaliser(source), _normaliser(target)
    p, q = apply(a, source)[0], apply(b, target)[0]
    w = np.ones(len(p)) if weight is None else np.asarray(weight, float)
    h = _linear(p, q, w)
    for _ in range(10):
        mapped, scale = apply(h, p)
        if (np.abs(scale) < 1e-12).any():
            break  # a point on the horizon: there is no derivative
        row = np.concatenate([p, np.ones((len(p), 1))], axis=1) / scale[:, None]
        zero = np.zeros_like(row)
        rows = np.stack([
            np.concatenate([row, zero, -mapped[:, :1] * row], axis=1),
            np.concatenate([zero, row, -mapped[:, 1:] * row], axis=1),
        ], axis=1)  # fmt: skip
        design = (rows * np.sqrt(w)[:, None, None]).reshape(-1, 9)
        wanted = ((q - mapped) * np.sqrt(w)[:, None]).reshape(-1)
        # the map's scale is free: hold it by asking for no step along the map itself
        design = np.concatenate([design, h.reshape(1, 9)])
        step = np.linalg.lstsq(design, np.append(wanted, 0.0), rcond=None)[0]
        h = h + step.reshape(3, 3)
        h /= np.linalg.norm(h)
        if np.abs(step).max() < 1e-12:
            break
    out = np.linalg.inv(b) @ h @ a
    return np.asarray(out / np.linalg.norm(out))


def _linear(p: Array, q: Array, weight: Array) -> Array:
    one, zero = np.ones((len(p), 1)), np.zeros((len(p), 3))
    row = np.concatenate([p, one], axis=1)
    system = np.concatenate([
        np.concatenate([row, zero, -q[:, :1] * row], axis=1),
        np.concatenate([zero, row, -q[:, 1:] * row], axis=1),
    ]) * np.sqrt(np.tile(weight, 2))[:, None]  # fmt: skip
    return np.asarray(np.linalg.svd(system)[2][-1].reshape(3, 3))


def _normaliser(points: Array) -> Array:
    centre = points.mean(axis=0)
    scale = np.sqrt(2.0) / max(float(np.linalg.norm(points - centre, axis=1).mean()), 1e-12)
    return np.array([[scale, 0, -scale * centre[0]], [0, scale, -scale * centre[1]], [0, 0, 1]])


@dataclass(frozen=True, eq=False)
class Fit:
    """A robustly estimated homography.

    Attributes:
        homography: (3, 3) source → target.
        inlier: (n,) the pairs it rests on.
        residual: (n,) distances in the target plane of all pairs.
    """

    homography: Array
    inlier: NDArray[np.bool_]
    residual: Array


def ransac(
    source: Array, target: Array, threshold: float, rng: np.random.Generator, trials: int = 500
) -> Fit | None:
    """Homography of n point pairs some of which are wrong (Fischler and Bolles 1981); None if nothing fits 4 of them.

    Args:
        source, target: (n, 2) pairs.
        threshold: a pair within this distance in the target plane is right.
        rng: draws the samples; with few pairs all samples of four are tried instead.
        trials: samples at most.
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    n, best, best_cost = len(source), None, np.inf
    for sample in _samples(n, trials, rng):
        if _collinear(source[sample]) or _collinear(target[sample]):
            continue
        h = fit(source[sample], target[sample])
        residual = np.linalg.norm(apply(h, source)[0] - target, axis=1)
        cost = float(np.minimum(residual / threshold, 1.0).sum())  # counts inliers, and prefers the closer ones
        if cost < best_cost and _one_side(h, source[residual <= threshold]):
            best, best_cost = residual <= threshold, cost
    if best is None:
        return None
    for _ in range(5):
        if best.sum() < 4:
            return None
        h = fit(source[best], target[best])
        residual = np.linalg.norm(apply(h, source)[0] - target, axis=1)
        new = residual <= threshold
        if (new == best).all():
            break
        best = new
    return Fit(h, best, residual)


def _samples(n: int, trials: int, rng: np.random.Generator) -> list[list[int]]:
    from itertools import combinations
    from math import comb

    if comb(n, 4) <= trials:
        return [list(c) for c in combinations(range(n), 4)]
    return [rng.choice(n, 4, replace=False).tolist() for _ in range(trials)]


def _collinear(points: Array) -> bool:
    """Whether any three of four points lie on a line, so that they fix no homography."""
    size = float(np.ptp(points, axis=0).max())
    for skip in range(4):
        a, b, c = np.delete(points, skip, axis=0)
        if abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])) <= 1e-3 * size**2:
            return True
    return False


def _one_side(homography: Array, points: Array) -> bool:
    """Whether all points lie on one side of the horizon: nobody stands beyond it."""
    weight = apply(homography, points)[1]
    return bool((weight > 0).all() or (weight < 0).all())

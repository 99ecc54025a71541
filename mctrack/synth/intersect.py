"""Where rays meet solid shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.shapes import Solid

Array = NDArray[np.float64]


def near(shape: Solid, origin: Array, rays: Array, length2: Array) -> NDArray[np.int64]:
    """Rows of the (n, 3) rays from one origin (3,) that pass a shape's bounding sphere; ``length2`` (n,) squared."""
    centre = (shape.low + shape.high) / 2 - origin
    beyond = float(centre @ centre) - 1.001 * float(((shape.high - shape.low) ** 2).sum()) / 4 - 1e-6
    if beyond <= 0:
        return np.arange(len(rays))
    along = rays @ centre
    return np.flatnonzero((along > 0) & (along * along >= beyond * length2))


def intersect(shape: Solid, origin: Array, rays: Array) -> tuple[Array, Array]:
    """(n,) distance to a shape (inf where missed) and (n, 3) normal there; ``origin`` (3,) or (n, 3)."""
    if shape.kind == "ellipsoid":
        return _hit_quadric(shape, origin, rays, upright=False)
    near = (np.where(rays > 0, shape.low, shape.high) - origin) / rays
    far = (np.where(rays > 0, shape.high, shape.low) - origin) / rays
    enter, leave = near.max(axis=1), far.min(axis=1)
    if shape.kind == "cylinder":
        return _hit_quadric(shape, origin, rays, upright=True)
    distance = np.where((enter <= leave) & (enter > 1e-6), enter, np.inf)
    axis = near.argmax(axis=1)
    normal = np.zeros_like(rays)
    rows = np.arange(len(rays))
    normal[rows, axis] = -np.sign(rays[rows, axis])
    return distance, normal


def _hit_quadric(shape: Solid, origin: Array, rays: Array, upright: bool) -> tuple[Array, Array]:
    """Ellipsoid, or the mantle of an upright elliptic cylinder with its flat top."""
    centre, radius = (shape.low + shape.high) / 2, (shape.high - shape.low) / 2
    axes = 2 if upright else 3
    o, d = ((origin - centre) / radius)[..., :axes], (rays / radius)[:, :axes]
    a, b, c = (d * d).sum(axis=1), (o * d).sum(axis=-1), (o * o).sum(axis=-1) - 1
    root = b * b - a * c
    t = np.where(root >= 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    t = np.where(t > 1e-6, t, np.inf)
    finite = np.where(np.isfinite(t), t, 0.0)[:, None]
    normal = np.zeros_like(rays)
    normal[:, :axes] = ((origin + finite * rays - centre) / radius**2)[:, :axes]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    if upright:
        z = (origin + finite * rays)[:, 2]
        t = np.where((z >= shape.low[2]) & (z <= shape.high[2]), t, np.inf)
        top = (shape.high[2] - np.broadcast_to(origin, rays.shape)[:, 2]) / rays[:, 2]
        p = o + top[:, None] * d
        on_top = (top > 1e-6) & ((p * p).sum(axis=1) <= 1) & (top < t) & (rays[:, 2] < 0)
        t = np.where(on_top, top, t)
        normal[on_top] = [0, 0, 1]
    return t, normal

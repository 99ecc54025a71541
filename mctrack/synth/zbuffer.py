"""A z-buffer compiled with numba: nearest triangle, perspective-correct weights and depth of every sample.

Unlike `raster`, triangles are drawn from both sides (cloth is thin) and may be cut per sample: a sample is dropped
where one of the interpolated cut values is negative, which gives clean hems and necklines on coarse meshes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]


def compiled(function: Callable[..., Any]) -> Any:
    """``numba.njit`` with a cache where a place for it can be found.

    Numba keeps the cache beside the module where that is writable and else in the user's cache folder (or
    ``NUMBA_CACHE_DIR``); where none of these exists it refuses to decorate, so that the function stays uncached.
    """
    try:
        return numba.njit(cache=True, fastmath=False)(function)
    except RuntimeError:
        return numba.njit(fastmath=False)(function)


class Samples(NamedTuple):
    """What a grid of samples sees.

    Attributes:
        triangle: (h, w) int32 row of the nearest triangle, −1 where there is none.
        weight: (h, w, 2) perspective-correct weights of its second and third corner.
        nearness: (h, w) inverse depth (or whatever rises towards the viewer), 0 where there is nothing.
    """

    triangle: Int32
    weight: Float32
    nearness: Float32


@compiled
def _draw(
    xy: Float32,
    near: Float32,
    cut: Float32,
    triangles: Int32,
    perspective: bool,
    triangle: Int32,
    weight: Float32,
    nearness: Float32,
) -> None:
    height, width = triangle.shape
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        na, nb, nc = near[i], near[j], near[k]
        if na <= 0 or nb <= 0 or nc <= 0:
            continue
        ax, ay = xy[i, 0], xy[i, 1]
        bx, by = xy[j, 0], xy[j, 1]
        cx, cy = xy[k, 0], xy[k, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        x0 = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0)
        x1 = min(int(np.floor(max(ax, bx, cx) - 0.5)), width - 1)
        y0 = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0)
        y1 = min(int(np.floor(max(ay, by, cy) - 0.5)), height - 1)
        if x0 > x1 or y0 > y1:
            continue
        scale = 1.0 / area
        for y in range(y0, y1 + 1):
            py = y + 0.5
            for x in range(x0, x1 + 1):
                px = x + 0.5
                wa = ((cx - bx) * (py - by) - (cy - by) * (px - bx)) * scale
                wb = ((ax - cx) * (py - cy) - (ay - cy) * (px - cx)) * scale
                wc = 1.0 - wa - wb
                if wa < 0 or wb < 0 or wc < 0:
                    continue
                n = wa * na + wb * nb + wc * nc
                if n <= nearness[y, x]:
                    continue
                if perspective:
                    wa, wb, wc = wa * na / n, wb * nb / n, wc * nc / n
                kept = True
                for m in range(cut.shape[1]):
                    if wa * cut[i, m] + wb * cut[j, m] + wc * cut[k, m] < 0:
                        kept = False
                        break
                if kept:
                    nearness[y, x] = n
                    triangle[y, x] = t
                    weight[y, x, 0] = wb
                    weight[y, x, 1] = wc


def draw(
    xy: Float32, near: Float32, cut: Float32, triangles: Int32, width: int, height: int, perspective: bool = True
) -> Samples:
    """Draw a mesh into a grid whose sample centres lie at (column + 0.5, row + 0.5).

    Args:
        xy: (v, 2) corners in sample units; near: (v,) inverse depths, triangles with one ≤ 0 are left out.
        cut: (v, m) a sample is dropped where any interpolated value is negative.
        triangles: (f, 3) corner rows; width, height: of the grid.
        perspective: whether ``near`` is an inverse depth; False for parallel light, where it is linear in depth.
    """
    triangle = np.full((height, width), -1, np.int32)
    weight = np.zeros((height, width, 2), np.float32)
    nearness = np.zeros((height, width), np.float32)
    args = (np.ascontiguousarray(a, np.float32) for a in (xy, near, cut))
    _draw(*args, np.ascontiguousarray(triangles, np.int32), perspective, triangle, weight, nearness)
    return Samples(triangle, weight, nearness)


def light_map(
    corner: Float32, cut: Float32, triangles: Int32, towards: NDArray[np.float64], texel_m: float
) -> tuple[Float32, Float32]:
    """(n, m) nearness of a mesh as parallel light sees it, and the (3, 4) frame of `shading.shadow_at`.

    Args:
        corner: (v, ≥ 3) metres, y up; towards: (3,) unit vector to the light; texel_m: size of a texel.
    """
    side = np.cross([0.0, 1.0, 0.0], towards)
    side /= max(np.linalg.norm(side), 1e-6)
    axes = np.stack([side, np.cross(towards, side), towards]).astype(np.float32)
    p = corner[:, :3] @ axes.T
    low, high = p.min(axis=0), p.max(axis=0)
    scale = np.float32(1 / texel_m)
    frame = np.zeros((3, 4), np.float32)
    frame[:2, :3], frame[2, :3] = axes[:2] * scale, axes[2]
    frame[:2, 3], frame[2, 3] = -low[:2] * scale + 3, 20 - low[2]
    width, height = (np.ceil((high - low)[:2] * scale) + 6).astype(int)
    uv = corner[:, :3] @ frame[:2, :3].T + frame[:2, 3]
    near = corner[:, :3] @ frame[2, :3] + frame[2, 3]
    return draw(uv, near, cut, triangles, int(width), int(height), False).nearness, frame


@compiled
def _normals(points: Float32, triangles: Int32, out: Float32) -> None:
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]
        vx, vy, vz = points[k, 0] - points[i, 0], points[k, 1] - points[i, 1], points[k, 2] - points[i, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for m in (i, j, k):
            out[m, 0] += nx
            out[m, 1] += ny
            out[m, 2] += nz
    for v in range(out.shape[0]):
        length = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2) + np.float32(1e-12)
        for m in range(3):
            out[v, m] /= length


def vertex_normals(points: Float32, triangles: Int32) -> Float32:
    """(v, 3) unit normals, means of the adjoining triangles' weighted by area."""
    out = np.zeros((len(points), 3), np.float32)
    _normals(np.ascontiguousarray(points, np.float32), np.ascontiguousarray(triangles, np.int32), out)
    return out

"""A z-buffered triangle rasteriser in plain NumPy: every sample gets the exact nearest triangle and its depth.

Triangles are sorted into classes by the size of their screen box, and each class is tested at once against its
box of samples. Meshes of people have a few thousand triangles of a few samples each, which suits this well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

_CLASSES = np.array([2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096])


@dataclass(frozen=True, eq=False)
class Fragments:
    """The samples that a mesh covers, each once, with its nearest triangle.

    Attributes:
        sample: (k,) flat index into the (height, width) grid.
        triangle: (k,) row of the triangle list.
        weights: (k, 3) perspective-correct weights of the triangle's corners.
        inverse_depth: (k,) 1/m, larger is nearer.
    """

    sample: IntArray
    triangle: IntArray
    weights: Array
    inverse_depth: Array


def rasterise(xy: Array, inverse_depth: Array, triangles: IntArray, width: int, height: int) -> Fragments:
    """Draw a mesh into a grid of samples whose centres lie at (column + 0.5, row + 0.5).

    Args:
        xy: (v, 2) corners in sample units; inverse_depth: (v,) 1/m.
        triangles: (f, 3) corner rows; those turned away (clockwise on screen with y down) are dropped.
        width, height: of the grid; samples outside are not drawn.
    """
    a, b, c = xy[triangles[:, 0]], xy[triangles[:, 1]], xy[triangles[:, 2]]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    low = np.ceil(np.minimum(np.minimum(a, b), c) - 0.5).clip(0).astype(np.int64)
    high = np.floor(np.maximum(np.maximum(a, b), c) - 0.5).astype(np.int64)
    high = np.minimum(high, [width - 1, height - 1])
    extent = high - low + 1
    keep = np.flatnonzero((area < -1e-9) & (extent > 0).all(axis=1))
    size_class = np.searchsorted(_CLASSES, extent[keep])
    code = size_class[:, 0] * 16 + size_class[:, 1]
    parts = [
        _draw_class(
            keep[code == k],
            a,
            b,
            c,
            area,
            low,
            high,
            inverse_depth[triangles],
            int(_CLASSES[k // 16]),
            int(_CLASSES[k % 16]),
            width,
        )
        for k in np.unique(code)
    ]
    if not parts:
        return Fragments(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0))
    sample, triangle, weights, inverse = (np.concatenate([p[k] for p in parts]) for k in range(4))
    return _nearest(sample, triangle, weights, inverse, width * height)


def _draw_class(
    rows: IntArray,
    a: Array,
    b: Array,
    c: Array,
    area: Array,
    low: IntArray,
    high: IntArray,
    corner_depth: Array,
    box_w: int,
    box_h: int,
    width: int,
) -> tuple[IntArray, IntArray, Array, Array]:
    """Samples inside each of the given triangles, all tested against a box of ``box_w`` × ``box_h`` samples."""
    px = low[rows, 0, None] + np.arange(box_w)
    py = low[rows, 1, None] + np.arange(box_h)
    x, y = (px + 0.5)[:, None, :], (py + 0.5)[:, :, None]
    scale = 1.0 / area[rows]

    def edge(p: Array, q: Array) -> Array:
        dx, dy = (q - p)[rows, 0] * scale, (q - p)[rows, 1] * scale
        # dx * (y - py) - dy * (x - px), one term per row and one per column of the box
        return (dx[:, None, None] * (y - p[rows, 1, None, None])) - (dy[:, None, None] * (x - p[rows, 0, None, None]))

    wa, wb = edge(b, c), edge(c, a)
    wc = 1.0 - wa - wb
    inside = (wa >= 0) & (wb >= 0) & (wc >= 0)
    inside &= (px <= high[rows, 0, None])[:, None, :] & (py <= high[rows, 1, None])[:, :, None]
    n, j, i = np.nonzero(inside)
    weights = np.stack([wa[n, j, i], wb[n, j, i], wc[n, j, i]], axis=1) * corner_depth[rows[n]]
    inverse = weights.sum(axis=1)
    return py[n, j] * width + px[n, i], rows[n], weights / inverse[:, None], inverse


def _nearest(sample: IntArray, triangle: IntArray, weights: Array, inverse: Array, cells: int) -> Fragments:
    """Keep the nearest fragment of every sample; of equals the last, so that each sample appears once."""
    depth = np.zeros(cells)
    np.maximum.at(depth, sample, inverse)
    best = np.flatnonzero(depth[sample] == inverse)
    winner = np.full(cells, -1, np.int64)
    winner[sample[best]] = best
    chosen = winner[winner >= 0]
    return Fragments(sample[chosen], triangle[chosen], weights[chosen], inverse[chosen])

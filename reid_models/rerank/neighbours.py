"""Nearest neighbours among unit vectors, a chunk of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_models.errors import ReidError

Floats = NDArray[Any]
Ints = NDArray[np.int64]

_CHUNK_BYTES = 64 * 2**20


def checked(query: Floats, gallery: Floats) -> tuple[Floats, Floats]:
    """The features as float32 or float64 alike.

    Raises:
        ReidError: not (q, d) and (g, d) unit rows. Rows of zeros pass: a barely trained network whose last layer is a
            ReLU may have nothing to say of a picture, which then is as far from all others as they can be.
    """
    query, gallery = np.asarray(query), np.asarray(gallery)
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ReidError(f"features have shapes {query.shape} and {gallery.shape}, expected (q, d) and (g, d)")
    kind = np.result_type(query, gallery, np.float32)
    kind = kind if kind == np.float32 else np.dtype(np.float64)
    query, gallery = query.astype(kind, copy=False), gallery.astype(kind, copy=False)
    for rows in (query, gallery):
        # einsum: no second array of that size; NaN fails the comparison as well
        square = np.einsum("nd,nd->n", rows, rows)
        if not ((np.abs(square - 1) < 1e-2) | (square == 0)).all():
            raise ReidError("features are not unit rows: divide each by its length first")
    return query, gallery


def chunks(rows: int, columns: int, width: int = 8) -> Iterator[slice]:
    """Slices of rows whose (chunk, columns) matrix of ``width`` bytes a number takes 64 MB at most."""
    step = max(1, _CHUNK_BYTES // (width * max(columns, 1)))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def nearest(a: Floats, b: Floats, k: int, same: bool) -> tuple[Ints, Floats]:
    """The ``k`` rows of ``b`` nearest to each row of ``a``.

    Args:
        a, b: (n, d) and (m, d) unit rows.
        k: at most m.
        same: ``a`` is ``b``; each row then comes first among its own neighbours, also where others are equal.

    Returns:
        (n, k) row numbers, nearest first (of equals the first in ``b``), and (n,) the largest squared distance to
        any row of ``b``.
    """
    found = np.empty((len(a), k), np.int64)
    farthest = np.empty(len(a), a.dtype)
    for part in chunks(len(a), len(b), a.itemsize):
        distance = a[part] @ b.T
        np.negative(distance, out=distance)
        farthest[part] = 2 + 2 * distance.max(axis=1)
        if same:
            distance[np.arange(len(distance)), np.arange(part.start, part.stop)] = -np.inf
        near = np.argpartition(distance, k - 1, axis=1)[:, :k]
        near.sort(axis=1)
        order = np.argsort(np.take_along_axis(distance, near, 1), axis=1, kind="stable")
        found[part] = np.take_along_axis(near, order, 1)
    return found, farthest

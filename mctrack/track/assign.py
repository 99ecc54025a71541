"""Gated assignment on a sparse list of candidate pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mctrack.types import Matches

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
DENSE = 65536
"""Up to this many entries one dense problem is faster than looking for its parts."""


def assign(
    rows: IntArray, cols: IntArray, cost: FloatArray, shape: tuple[int, int], limit: float
) -> Matches:
    """Optimal one-to-one matching in which staying alone costs as much as a pair at the limit.

    Minimises Σ (cost − limit) over the chosen pairs, each below ``limit``: the Hungarian problem with every
    forbidden pair at the finite cost ``limit`` and such pairs dropped afterwards. Pairs that compete with nobody
    are taken at once; the rest is solved per connected component, so crowds cost little.

    Args:
        rows, cols: (k,) candidate pairs, each pair at most once. cost: (k,) finite.
        shape: number of rows and columns.
        limit: pairs at or above this cost are never made.
    """
    keep = np.flatnonzero(cost < limit)
    rows, cols, cost = rows.take(keep), cols.take(keep), cost.take(keep)
    n_rows, n_cols = shape
    alone = (np.bincount(rows).take(rows) == 1) & (np.bincount(cols).take(cols) == 1)
    col_of_row = np.full(n_rows, -1)
    col_of_row[rows[alone]] = cols[alone]
    contested = np.flatnonzero(~alone)
    if len(contested):
        _solve(rows.take(contested), cols.take(contested), cost.take(contested), limit, col_of_row)
    matched = np.flatnonzero(col_of_row >= 0)
    taken = col_of_row.take(matched)
    free = np.ones(n_cols, bool)
    free[taken] = False
    pairs = np.concatenate([matched[:, None], taken[:, None]], axis=1)
    return Matches(pairs, np.flatnonzero(col_of_row < 0), np.flatnonzero(free))


def _solve(rows: IntArray, cols: IntArray, cost: FloatArray, limit: float, col_of_row: IntArray) -> None:
    """Solve the contested pairs, writing into ``col_of_row``; many at once fall apart into groups first."""
    row_ids, r = _numbered(rows)
    col_ids, c = _numbered(cols)
    n_rows, n_cols = len(row_ids), len(col_ids)
    groups = [np.arange(len(r))] if n_rows * n_cols <= DENSE else _components(r, c, n_rows, n_cols)
    for group in groups:
        ur, lr = _numbered(r[group])
        uc, lc = _numbered(c[group])
        block = np.full((len(ur), len(uc)), limit)
        block[lr, lc] = cost[group]
        i, j = linear_sum_assignment(block)
        good = block[i, j] < limit
        col_of_row[row_ids[ur[i[good]]]] = col_ids[uc[j[good]]]


def _numbered(index: IntArray) -> tuple[IntArray, IntArray]:
    """The values that occur, ascending, and the place of each value among them (np.unique without its sort)."""
    values = np.flatnonzero(np.bincount(index))
    place = np.empty(values[-1] + 1, np.int64)
    place[values] = np.arange(len(values))
    return values, place.take(index)


def _components(r: IntArray, c: IntArray, n_rows: int, n_cols: int) -> list[IntArray]:
    """Indices of the pairs of each connected component."""
    nodes = n_rows + n_cols
    graph = coo_array((np.ones(len(r), np.int8), (r, c + n_rows)), shape=(nodes, nodes))
    label = connected_components(graph, directed=False)[1].take(r)
    order = np.argsort(label, kind="stable")
    return list(np.split(order, np.flatnonzero(np.diff(label.take(order))) + 1))

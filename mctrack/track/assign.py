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
    keep = cost < limit
    rows, cols, cost = rows[keep], cols[keep], cost[keep]
    row_degree = np.bincount(rows, minlength=shape[0])
    col_degree = np.bincount(cols, minlength=shape[1])
    free = (row_degree[rows] == 1) & (col_degree[cols] == 1)
    row_of_col = np.full(shape[1], -1)
    row_of_col[cols[free]] = rows[free]
    contested = ~free
    if contested.any():
        _solve(rows[contested], cols[contested], cost[contested], limit, row_of_col)
    matched_cols = np.flatnonzero(row_of_col >= 0)
    pairs = np.stack([row_of_col[matched_cols], matched_cols], axis=1)
    pairs = pairs[np.argsort(pairs[:, 0])]
    alone = np.ones(shape[0], bool)
    alone[pairs[:, 0]] = False
    return Matches(pairs, np.flatnonzero(alone), np.flatnonzero(row_of_col < 0))


def _solve(rows: IntArray, cols: IntArray, cost: FloatArray, limit: float, row_of_col: IntArray) -> None:
    """Solve the contested pairs component by component, writing into ``row_of_col``."""
    row_ids, r = np.unique(rows, return_inverse=True)
    col_ids, c = np.unique(cols, return_inverse=True)
    n_rows, n_cols = len(row_ids), len(col_ids)
    if n_rows * n_cols <= 1024:
        groups: list[NDArray[np.int64]] = [np.arange(len(r))]
    else:
        nodes = n_rows + n_cols
        graph = coo_array((np.ones(len(r), np.int8), (r, c + n_rows)), shape=(nodes, nodes))
        label = connected_components(graph, directed=False)[1][r]
        order = np.argsort(label, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    for group in groups:
        gr, gc = r[group], c[group]
        ur, lr = np.unique(gr, return_inverse=True)
        uc, lc = np.unique(gc, return_inverse=True)
        block = np.full((len(ur), len(uc)), limit)
        block[lr, lc] = cost[group]
        i, j = linear_sum_assignment(block)
        good = block[i, j] < limit
        row_of_col[col_ids[uc[j[good]]]] = row_ids[ur[i[good]]]

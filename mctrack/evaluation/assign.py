"""Assignments frame by frame, and of whole identities, as fast as the official ones are slow and equal to them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mctrack.evaluation.table import BoolArray, Overlaps
from mctrack.types import FloatArray, IntArray

EPS = float(np.finfo(float).eps)
_LARGEST_MATRIX = 1 << 22  # cells; a frame with more is solved over the boxes that overlap anything


class FrameAssigner:
    """Best assignments in every frame over a chosen part of the overlapping pairs.

    A pair whose boxes have no other partner needs no Hungarian algorithm. The other frames are solved over all
    their boxes, not over the contested ones alone: where two solutions are equally good, the official kit's choice
    depends on the whole matrix, and identity switches depend on that choice.
    """

    def __init__(self, overlaps: Overlaps, chosen: IntArray) -> None:
        """Prepare the pairs at the (s,) sorted indices ``chosen``."""
        self.pair = chosen
        self.row, self.col = overlaps.row[chosen], overlaps.col[chosen]
        self.start = np.searchsorted(chosen, overlaps.pair_start)
        self._height = np.diff(overlaps.gt_start)
        self._width = np.diff(overlaps.result_start)
        self.frame = np.repeat(np.arange(len(overlaps.frames)), np.diff(self.start))
        self._cell = (self.row - overlaps.gt_start[self.frame]) * self._width[self.frame]
        self._cell += self.col - overlaps.result_start[self.frame]
        alone = np.bincount(self.row, minlength=len(overlaps.gt_id))[self.row] == 1
        alone &= np.bincount(self.col, minlength=len(overlaps.result_id))[self.col] == 1
        contested = np.zeros(len(overlaps.frames), bool)
        contested[self.frame[~alone]] = True
        self.contested = np.flatnonzero(contested)
        self.settled = ~contested[self.frame]

    def solve(self, score: FloatArray | Callable[[slice, BoolArray], FloatArray]) -> BoolArray:
        """(s,) mask of the chosen pairs that the best assignment holds.

        Args:
            score: (s,) positive scores, or a function that gives those of one frame's slice from the mask so far
                (frames are solved in order, so all earlier frames are final).
        """
        matched = self.settled.copy()
        start, width, height, cell = self.start, self._width, self._height, self._cell
        for f in self.contested:
            part = slice(start[f], start[f + 1])
            n, m, cells = height[f], width[f], cell[part]
            if n * m > _LARGEST_MATRIX:
                n, m, cells = _squeezed(self.row[part], self.col[part])
            matrix = np.zeros((n, m))
            flat = matrix.reshape(-1)
            flat[cells] = score(part, matched) if callable(score) else score[part]
            rows, cols = linear_sum_assignment(matrix, maximize=True)
            flat[:] = 0
            flat[rows * m + cols] = 1
            matched[part] = flat[cells] > 0
        return matched


def _squeezed(row: IntArray, col: IntArray) -> tuple[int, int, IntArray]:
    """Size of a matrix of only the boxes that occur in the (k,) pairs, and the pairs' cells in it."""
    rows, r = np.unique(row, return_inverse=True)
    cols, c = np.unique(col, return_inverse=True)
    return len(rows), len(cols), r * len(cols) + c


def best_total(row: IntArray, col: IntArray, weight: FloatArray) -> tuple[float, IntArray]:
    """Largest total weight of a one-to-one assignment between identities, from a sparse table.

    Args:
        row, col: (k,) labels from 0 on, each combination at most once.
        weight: (k,) positive weights.

    Returns:
        The total, and the (s,) sorted indices of the entries used. Connected groups are solved on their own, so
        many thousand identities need no matrix of all with all.
    """
    if not len(row):
        return 0.0, np.zeros(0, np.int64)
    n, m = int(row.max()) + 1, int(col.max()) + 1
    graph = coo_matrix((np.ones(len(row)), (row, col + n)), shape=(n + m, n + m))
    group = connected_components(graph, directed=False)[1][row]
    order = np.argsort(group, kind="stable")
    bounds = np.flatnonzero(np.diff(group[order], prepend=-1, append=-1))
    used = []
    for a, b in pairwise(bounds):
        entries = order[a:b]
        if b - a == 1:
            used.append(entries)
            continue
        rows, r = np.unique(row[entries], return_inverse=True)
        cols, c = np.unique(col[entries], return_inverse=True)
        matrix, index = np.zeros((len(rows), len(cols))), np.full((len(rows), len(cols)), -1)
        matrix[r, c], index[r, c] = weight[entries], entries
        picked = index[linear_sum_assignment(matrix, maximize=True)]
        used.append(picked[picked >= 0])
    chosen = np.sort(np.concatenate(used))
    return float(weight[chosen].sum()), chosen

"""The re-birth stage: people who come back after a gap too long for motion alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mctrack.config import TrackConfig
from mctrack.track.assign import assign
from mctrack.track.cost import Pairs, cosine_distance
from mctrack.track.kalman import Array
from mctrack.track.table import TrackTable
from mctrack.types import Matches

IntArray = NDArray[np.int64]
Probability = Callable[[Array], Array]


def generic_probability(distance: Array) -> Array:
    """Probability of the same person from cosine distance for an embedder that brings no calibration."""
    return 1.0 / (1.0 + np.exp((np.asarray(distance) - 0.25) / 0.05))


class Rebirth:
    """Decides which dormant track a free detection continues.

    Three gates, all of which must open: the way from the last position is walkable in the time that passed, the
    calibrated probability of the same person is at least ``rebirth_probability``, and no rival (another dormant
    track for this detection, another detection for this track) comes within ``rebirth_margin``.
    """

    def __init__(self, config: TrackConfig, probability: Probability = generic_probability) -> None:
        self.config = config
        self.probability = probability

    def match(
        self, dormant: TrackTable, embedding: NDArray[np.float32], xcycwh: Array, free: IntArray, time_s: float
    ) -> Matches:
        """Match dormant tracks (rows) to free detections (columns are positions in ``free``).

        Args:
            dormant: tracks with embeddings of d numbers.
            embedding: (n, d) unit rows of all detections, zeros where unknown. xcycwh: (n, 4) their boxes.
            free: detections that may continue a track.
        """
        shape = (len(dormant), len(free))
        row, col = np.nonzero(self._reachable(dormant, xcycwh[free], time_s))
        pairs = Pairs(row, col, np.zeros(len(row)))
        distance = cosine_distance(pairs, dormant.embedding, embedding[free])
        usable = np.flatnonzero(~np.isnan(distance))
        pairs, distance = pairs.take(usable), distance.take(usable)
        likely = self.probability(distance) >= self.config.rebirth_probability
        clear = self._clear(pairs, distance, shape)
        keep = likely & clear
        return assign(pairs.row[keep], pairs.col[keep], distance[keep], shape, limit=2.0)

    def _reachable(self, dormant: TrackTable, xcycwh: Array, time_s: float) -> NDArray[np.bool_]:
        """(n, m) whether a walk from the last position to the detection is possible."""
        height = np.maximum(dormant.box_seen[:, 3], 1.0)
        gap = time_s - dormant.seen_s
        way = np.hypot(
            xcycwh[None, :, 0] - dormant.box_seen[:, 0, None], xcycwh[None, :, 1] - dormant.box_seen[:, 1, None]
        )
        reach = height * (1.0 + self.config.rebirth_speed * gap)
        ratio = np.abs(np.log(np.maximum(xcycwh[None, :, 3], 1.0) / height[:, None]))
        return (way <= reach[:, None]) & (ratio <= np.minimum(0.25 + 0.15 * gap, 1.0)[:, None])

    def _clear(self, pairs: Pairs, distance: Array, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """(k,) whether the pair is nearer than every rival of its row and column by the margin."""
        dense = np.full(shape, np.inf)
        dense[pairs.row, pairs.col] = distance
        best = np.ones(len(distance), bool)
        for matrix, own, other in ((dense, pairs.row, pairs.col), (dense.T, pairs.col, pairs.row)):
            order = np.argsort(matrix, axis=1)[:, :2]
            first = order[:, 0]
            runner = (
                matrix[np.arange(len(matrix)), order[:, 1]] if matrix.shape[1] > 1 else np.full(len(matrix), np.inf)
            )
            best &= (first[own] == other) & (runner[own] - distance >= self.config.rebirth_margin)
        return best

"""From appearance distance to log-odds of being the same person, adapted to the scene at hand."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

from mctrack.types import State

Array = NDArray[np.float64]
CAUTION = 1.5
"""Taken off the log-odds of an embedder in a scene it does not know yet: a wrong link costs more than a late merge."""
ENOUGH = 6
SHIFT, SPREAD = 0.25, 0.2
"""How much less alike a person looks at the next sight than within one, as shares of the gap to other people."""
LIMIT = 6.0
"""Log-odds are kept within ±LIMIT: no single distance makes certain."""


class SceneCalibration:
    """Distance → log-odds, from the embedder's own calibration and from what the scene itself proves.

    Two people seen in one camera at one time are different; the early and the late half of one tracklet are the same
    person. The distances of both kinds (robust mean and spread, as two normal distributions) give a log-likelihood
    ratio. It is blended with the embedder's calibration by how many different pairs of people were met, so that a
    scene of look-alikes, or a camera that sees everything in one colour, raises the bar by itself. A pair has one
    vote however long it is watched.

    Args:
        probability: the embedder's map from cosine distance to probability of the same person.
        prior_weight: how many pairs of the scene weigh as much as the embedder's calibration.
        capacity: votes remembered of each kind.
    """

    def __init__(self, probability: Callable[[Array], Array], prior_weight: float = 8.0, capacity: int = 512) -> None:
        self._probability = probability
        self._prior_weight = prior_weight
        self.capacity = capacity
        self._votes: dict[str, dict[Hashable, float]] = {"same": {}, "different": {}}
        self._normal: tuple[float, float, float, float] | None = None

    def add(self, kind: str, key: Hashable, distance: float) -> None:
        """Remember the latest distance of a pair known to be ``same`` or ``different``; the oldest are forgotten."""
        votes = self._votes[kind]
        votes.pop(key, None)
        votes[key] = round(float(distance), 9)  # see looks.exact()
        if len(votes) > self.capacity:
            del votes[next(iter(votes))]
        self._normal = None

    def log_odds(self, distance: Array) -> Array:
        """Log-odds of being the same person, before any knowledge of place and time; any shape, NaN stays NaN."""
        distance = np.asarray(distance, float)
        p = np.clip(self._probability(np.nan_to_num(distance, nan=1.0)), 1e-6, 1 - 1e-6)
        odds = np.log(p / (1 - p)) - CAUTION
        n = len(self._votes["different"])
        if n >= ENOUGH and len(self._votes["same"]) >= ENOUGH:
            weight = n / (n + self._prior_weight)
            odds = (1 - weight) * odds + weight * self._ratio(distance)
        return np.where(np.isnan(distance), np.nan, np.clip(odds, -LIMIT, LIMIT))

    def reach(self, odds: float) -> float:
        """The largest distance with at least these log-odds, found to 0.001 and rounded up; −1 if there is none."""
        grid = np.linspace(0.0, 2.0, 2001)
        inside = np.flatnonzero(self.log_odds(grid) >= odds)
        return float(grid[inside[-1]]) + 1e-3 if len(inside) else -1.0

    def _ratio(self, distance: Array) -> Array:
        """Log-likelihood ratio of two normal distributions, constant where it would turn round again."""
        m_same, s_same, m_diff, s_diff = self._fit()
        near = np.clip(distance, m_same, m_diff)
        same = -0.5 * ((near - m_same) / s_same) ** 2 - np.log(s_same)
        different = -0.5 * ((near - m_diff) / s_diff) ** 2 - np.log(s_diff)
        return np.asarray(same - different)

    def _fit(self) -> tuple[float, float, float, float]:
        """Mean and spread of the distances of the same person and of different people."""
        if self._normal is None:
            m_same, s_same = _robust(np.array(list(self._votes["same"].values())))
            m_diff, s_diff = _robust(np.array(list(self._votes["different"].values())))
            gap = max(m_diff - m_same, 1e-3)
            m_same += SHIFT * gap
            # few pairs can lie close together by chance; people never all differ by the same amount
            self._normal = (m_same, max(s_same, SPREAD * gap), max(m_diff, m_same), max(s_diff, 0.3 * gap))
        return self._normal

    def state(self) -> State:
        """Votes, oldest first."""
        return {kind: [[key, distance] for key, distance in votes.items()] for kind, votes in self._votes.items()}

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self._votes = {kind: {_hashable(key): distance for key, distance in state[kind]} for kind in self._votes}
        self._normal = None


def _hashable(key: object) -> Hashable:
    return tuple(key) if isinstance(key, list) else key


def _robust(values: Array) -> tuple[float, float]:
    """Median and spread (interquartile range of a normal distribution)."""
    low, mid, high = np.percentile(values, [25, 50, 75])
    return float(mid), max(float(high - low) / 1.349, 1e-3)

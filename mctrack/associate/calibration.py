"""From appearance distance to log-odds of being the same person, adapted to the scene at hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mctrack.types import State

Array = NDArray[np.float64]
LIMIT = 6.0
"""Log-odds are kept within ±LIMIT: no single distance makes certain."""


class SceneCalibration:
    """Distance → log-odds, from the embedder's own calibration and from what the scene itself proves.

    Two people seen in one camera at one time are different; crops of one tracklet some seconds apart are the same
    person. The distances of both kinds (robust mean and spread, as two normal distributions of equal weight) give a
    linear log-odds (Fisher's discriminant). It is blended with the embedder's calibration by how many different
    people were met, so that a scene of look-alikes, or a camera that sees everything in one colour, raises the bar by
    itself.

    Args:
        probability: the embedder's map from cosine distance to probability of the same person.
        prior_weight: how many pairs of the scene weigh as much as the embedder's calibration.
        capacity: pairs remembered of each kind.
    """

    def __init__(self, probability: Callable[[Array], Array], prior_weight: float = 60.0, capacity: int = 1024) -> None:
        self._probability = probability
        self._prior_weight = prior_weight
        self._capacity = capacity
        self._pairs = {"same": np.zeros(0), "different": np.zeros(0)}
        self._line: tuple[float, float] | None = None

    def add(self, kind: str, distance: Array) -> None:
        """Remember distances of pairs that are known to be ``same`` or ``different``; the oldest are forgotten."""
        if len(distance):
            self._pairs[kind] = np.concatenate([self._pairs[kind], distance])[-self._capacity :]
            self._line = None

    def log_odds(self, distance: Array) -> Array:
        """Log-odds of being the same person, before any knowledge of place and time; any shape, NaN stays NaN."""
        distance = np.asarray(distance, float)
        p = np.clip(self._probability(np.nan_to_num(distance, nan=1.0)), 1e-6, 1 - 1e-6)
        prior = np.log(p / (1 - p))
        same, different = self._pairs["same"], self._pairs["different"]
        if len(same) >= 20 and len(different) >= 20:
            slope, middle = self._fit()
            weight = min(len(same), len(different)) / (min(len(same), len(different)) + self._prior_weight)
            prior = (1 - weight) * prior + weight * slope * (middle - distance)
        return np.where(np.isnan(distance), np.nan, np.clip(prior, -LIMIT, LIMIT))

    def _fit(self) -> tuple[float, float]:
        """Slope and zero of the linear log-odds."""
        if self._line is None:
            (m_same, s_same), (m_diff, s_diff) = (_robust(self._pairs[k]) for k in ("same", "different"))
            # the same person later, elsewhere, looks less alike than within one tracklet: half the way's third
            m_same += 0.25 * max(m_diff - m_same, 0.0)
            variance = (s_same**2 + s_diff**2) / 2
            slope = max(m_diff - m_same, 0.0) / max(variance, 1e-8)
            self._line = (slope, (m_same + m_diff) / 2)
        return self._line

    def state(self) -> State:
        """Remembered pairs."""
        return {k: v.copy() for k, v in self._pairs.items()}

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self._pairs = {k: np.array(state[k]) for k in self._pairs}
        self._line = None


def _robust(values: Array) -> tuple[float, float]:
    """Median and spread (interquartile range of a normal distribution)."""
    low, mid, high = np.percentile(values, [25, 50, 75])
    return float(mid), max(float(high - low) / 1.349, 1e-3)

"""How tall a person is in the picture, by the row of the feet: learned from what walks through."""

from __future__ import annotations

import numpy as np

from mctrack.types import FloatArray, State

_BINS, _KEPT = 24, 16
_ENOUGH = 12
_REFIT_EVERY = 10


class HeightModel:
    """``height = slope · foot + intercept``, which is exact for a level pinhole camera above a flat floor.

    Samples are kept by the row of the feet, a few for each stretch of rows, so that somebody standing for minutes
    does not outvote everybody else. The fit is a ridge towards a horizon at the upper edge of the picture (a small
    range of rows cannot tell the slope), reweighted with Cauchy weights: two people seen as one are outliers.

    Args:
        picture_height_px: of the pictures that the samples come from.
    """

    def __init__(self, picture_height_px: int) -> None:
        self._rows = picture_height_px
        self._foot = np.zeros((_BINS, _KEPT))
        self._height = np.zeros((_BINS, _KEPT))
        self._count = np.zeros(_BINS, np.int64)
        self._line = np.zeros(2)  # slope, intercept

    @property
    def known(self) -> bool:
        """Whether enough people have been seen."""
        return self._line[0] != 0

    def add(self, foot_px: float, height_px: float) -> None:
        """Learn from one person seen alone and whole."""
        row = min(max(int(foot_px / self._rows * _BINS), 0), _BINS - 1)
        at = self._count[row] % _KEPT
        self._foot[row, at], self._height[row, at] = foot_px, height_px
        self._count[row] += 1
        total = int(self._count.sum())
        if total >= _ENOUGH and (total < 4 * _ENOUGH or total % _REFIT_EVERY == 0):
            self._fit()

    def expected(self, foot_px: FloatArray) -> FloatArray:
        """(n,) heights for feet in these rows."""
        return np.maximum(self._line[0] * np.asarray(foot_px, float) + self._line[1], 4.0)

    def foot_of(self, head_px: FloatArray) -> FloatArray:
        """(n,) rows of the feet that belong to heads in these rows."""
        # foot − height(foot) = head, solved for foot; the slope stays below 1 (see _fit)
        foot = (np.asarray(head_px, float) + self._line[1]) / (1 - self._line[0])
        return np.maximum(foot, np.asarray(head_px, float) + 4.0)

    def _fit(self) -> None:
        used = np.arange(_KEPT) < np.minimum(self._count, _KEPT)[:, None]
        foot, height = self._foot[used], self._height[used]
        foot_mid, height_mid = float(np.median(foot)), float(np.median(height))
        prior = height_mid / max(foot_mid, 1.0)
        slope, level = prior, height_mid
        share = np.repeat(1 / np.sqrt(np.maximum(used.sum(axis=1), 1)), used.sum(axis=1))
        for _ in range(12):
            line = np.maximum(level + slope * (foot - foot_mid), 4.0)
            # what is cut short (legs behind a table, dark trousers on a dark floor) is more common than too tall
            weight = share * np.clip(height / line, 0.3, 1.2) / (1 + ((height / line - 1) / 0.1) ** 2)
            ridge = 4 * (0.12 * self._rows) ** 2
            x = foot - foot_mid
            total, sum_x, sum_y = weight.sum(), (weight * x).sum(), (weight * height).sum()
            normal = np.array([[(weight * x * x).sum() + ridge, sum_x], [sum_x, total]])
            slope, level = np.linalg.solve(normal, [(weight * x * height).sum() + ridge * prior, sum_y])
            slope = float(np.clip(slope, 0.01, 0.8))
            level = float((sum_y - slope * sum_x) / total)
        self._line = np.array([slope, level - slope * foot_mid])

    def state(self) -> State:
        """Samples and line."""
        return {"rows": self._rows, "foot": self._foot.copy(), "height": self._height.copy(),
                "count": self._count.copy(), "line": self._line.copy()}

    @staticmethod
    def restored(state: State) -> HeightModel:
        """A model that goes on from a saved state."""
        self = HeightModel(int(state["rows"]))
        self._foot, self._height = np.array(state["foot"], float), np.array(state["height"], float)
        self._count, self._line = np.array(state["count"], np.int64), np.array(state["line"], float)
        return self

"""The same motion model on one filterpy object per track: slow, selectable, and the oracle of the batched filter."""

from __future__ import annotations

from typing import Any

import numpy as np

from mctrack.track.kalman import Array, KalmanMotion, MotionNoise, transition


class FilterpyMotion:
    """Motion model with full matrices: ``mean`` (n, 8), ``cov`` (n, 8, 8); order x, y, w, h, then velocities.

    The filter objects carry no memory from call to call, which all of a track's state in ``mean`` and ``cov``
    requires; they are kept because making one takes as long as using it.
    """

    def __init__(self, noise: MotionNoise | None = None) -> None:
        from filterpy.kalman import KalmanFilter

        self._filter_class = KalmanFilter
        self._filters: list[Any] = []
        self._batched = KalmanMotion(noise)
        self.noise = self._batched.noise

    def empty(self) -> tuple[Array, Array]:
        """Arrays of no tracks."""
        return np.zeros((0, 8)), np.zeros((0, 8, 8))

    def _filter(self, row: int) -> Any:
        """The object that serves tracks in this row."""
        while len(self._filters) <= row:
            kalman = self._filter_class(dim_x=8, dim_z=4)
            kalman.H = np.eye(4, 8)
            self._filters.append(kalman)
        return self._filters[row]

    def initiate(self, xcycwh: Array, score: Array) -> tuple[Array, Array]:
        """Mean and covariance of new tracks from (n, 4) detections."""
        mean, blocks = self._batched.initiate(xcycwh, score)
        return mean, _full(blocks)

    def predict(self, mean: Array, cov: Array, dt_s: float | Array) -> tuple[Array, Array]:
        """Move every track ahead by its own ``dt_s`` seconds."""
        steps = np.broadcast_to(np.asarray(dt_s, float), (len(mean),))
        keys, which = np.unique(steps, return_inverse=True)
        reach, keep, noise = transition(keys, self._batched.tau_s)
        walk = self._batched.walk * keys[:, None]
        process = _full(np.stack([self._batched.accel * part for part in noise], axis=1))
        process[:, range(4), range(4)] += walk
        moves = np.zeros((len(keys), 8, 8))
        moves[:, range(8), range(8)] = np.concatenate([np.ones_like(keep), keep], axis=1)
        moves[:, range(4), range(4, 8)] = reach
        height2 = np.maximum(mean[:, 3], 1.0) ** 2
        mean, cov = mean.copy(), cov.copy()
        for i, key in enumerate(which):
            kalman = self._filter(i)
            kalman.x, kalman.P = mean[i], cov[i]
            kalman.predict(F=moves[key], Q=height2[i] * process[key])
            mean[i], cov[i] = kalman.x, kalman.P
        np.maximum(mean[:, 2:4], 1.0, out=mean[:, 2:4])
        return mean, cov

    def innovation_variance(self, mean: Array, cov: Array, score: Array) -> Array:
        """(n, 4) variance in px² of detection minus predicted box."""
        noise = self._batched.measurement_variance(np.maximum(mean[:, 3], 1.0), score)
        return np.diagonal(cov, axis1=1, axis2=2)[:, :4] + noise

    def update(self, mean: Array, cov: Array, xcycwh: Array, score: Array) -> tuple[Array, Array]:
        """Correct every track by its detection."""
        noise = self._batched.measurement_variance(np.maximum(mean[:, 3], 1.0), score)
        mean, cov = mean.copy(), cov.copy()
        for i in range(len(mean)):
            kalman = self._filter(i)
            kalman.x, kalman.P = mean[i], cov[i]
            kalman.update(xcycwh[i], R=np.diag(noise[i]))
            mean[i], cov[i] = kalman.x, kalman.P
        return mean, cov


def _full(blocks: Array) -> Array:
    """(n, 8, 8) covariance matrices of (n, 3, 4) variances of position, covariances and variances of velocity."""
    low, high = range(4), range(4, 8)
    out = np.zeros((len(blocks), 8, 8))
    out[:, low, low], out[:, high, high] = blocks[:, 0], blocks[:, 2]
    out[:, low, high] = out[:, high, low] = blocks[:, 1]
    return out

"""The same motion model on one filterpy object per track: slow, selectable, and the oracle of the batched filter."""

from __future__ import annotations

import numpy as np

from mctrack.track.kalman import Array, KalmanMotion, MotionNoise, transition


class FilterpyMotion:
    """Motion model with full matrices: ``mean`` (n, 8), ``cov`` (n, 8, 8); order x, y, w, h, then velocities."""

    def __init__(self, noise: MotionNoise | None = None) -> None:
        from filterpy.kalman import KalmanFilter

        self._filter_class = KalmanFilter
        self._batched = KalmanMotion(noise)
        self.noise = self._batched.noise

    def empty(self) -> tuple[Array, Array]:
        """Arrays of no tracks."""
        return np.zeros((0, 8)), np.zeros((0, 8, 8))

    def _filter(self, mean: Array, cov: Array):  # type: ignore[no-untyped-def]
        kalman = self._filter_class(dim_x=8, dim_z=4)
        kalman.x, kalman.P, kalman.H = mean.copy(), cov.copy(), np.eye(4, 8)
        return kalman

    def initiate(self, xcycwh: Array, score: Array) -> tuple[Array, Array]:
        """Mean and covariance of new tracks from (n, 4) detections."""
        mean, blocks = self._batched.initiate(xcycwh, score)
        cov = np.zeros((len(mean), 8, 8))
        for i, block in enumerate(blocks):
            cov[i, :4, :4], cov[i, 4:, 4:] = np.diag(block[0]), np.diag(block[2])
        return mean, cov

    def predict(self, mean: Array, cov: Array, dt_s: float | Array) -> tuple[Array, Array]:
        """Move every track ahead by its own ``dt_s`` seconds."""
        steps = np.broadcast_to(np.asarray(dt_s, float), (len(mean),))
        mean, cov = mean.copy(), cov.copy()
        for i, dt in enumerate(steps):
            kalman = self._filter(mean[i], cov[i])
            reach, keep, noise = transition(dt, self._batched._tau)
            height2 = max(mean[i, 3], 1.0) ** 2
            kalman.F = np.block([[np.eye(4), np.diag(reach)], [np.zeros((4, 4)), np.diag(keep)]])
            pos, cross, vel = (np.diag(height2 * self._batched._accel * part) for part in noise)
            walk = np.diag(height2 * self._batched._walk * dt)
            kalman.Q = np.block([[pos + walk, cross], [cross, vel]])
            kalman.predict()
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
            kalman = self._filter(mean[i], cov[i])
            kalman.R = np.diag(noise[i])
            kalman.update(xcycwh[i])
            mean[i], cov[i] = kalman.x, kalman.P
        return mean, cov

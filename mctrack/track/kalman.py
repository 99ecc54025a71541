"""Batched Kalman filter on (centre x, centre y, width, height) boxes with variable time steps.

The four coordinates are independent, so the 8 × 8 covariance of every track is four 2 × 2 blocks (position,
velocity). Keeping just these makes predict and update of all tracks a handful of element-wise operations, and
is exact: :class:`mctrack.track.filterpy_model.FilterpyMotion` runs the full matrices and agrees to 1e-9.

Velocities follow an Ornstein-Uhlenbeck process (they decay with time constant ``tau_s``; Särkkä & Solin, "Applied
Stochastic Differential Equations", 2019, ch. 6) plus a random walk of the position. The discretisation is exact:
predicting by a and then by b seconds is predicting by a + b seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MotionNoise:
    """Noise of motion and measurement, as shares of the box height.

    Attributes:
        position: random walk of the centre, heights per √s.
        accel: white-noise acceleration of the centre, heights per s^1.5.
        size: random walk of width and height, heights per √s.
        size_accel: white-noise acceleration of width and height, heights per s^1.5.
        measure: standard deviation of a certain detection's centre, in heights.
        measure_size: the same for its width and height.
        score_scale: a detection of score s has measurement noise × (1 + score_scale · (1 − s)).
        tau_s: time constant after which a velocity has faded to 1/e.
        tau_size_s: the same for the growth of width and height.
        speed: standard deviation of a new track's velocity, heights per s.
    """

    position: float = 0.2
    accel: float = 0.7
    size: float = 0.12
    size_accel: float = 0.1
    measure: float = 0.05
    measure_size: float = 0.07
    score_scale: float = 1.0
    tau_s: float = 10.0
    tau_size_s: float = 0.5
    speed: float = 1.2


class MotionModel(Protocol):
    """A motion model without hidden state: everything about n tracks is in ``mean`` (n, 8) and ``cov`` (n, …)."""

    def initiate(self, xcycwh: Array, score: Array) -> tuple[Array, Array]:
        """Mean and covariance of new tracks from (n, 4) detections with (n,) scores."""
        ...

    def predict(self, mean: Array, cov: Array, dt_s: float | Array) -> tuple[Array, Array]:
        """Move all tracks ahead by ``dt_s`` seconds (one number, or one per track)."""
        ...

    def update(self, mean: Array, cov: Array, xcycwh: Array, score: Array) -> tuple[Array, Array]:
        """Correct n tracks by one (n, 4) detection each."""
        ...

    def innovation_variance(self, mean: Array, cov: Array, score: float | Array) -> Array:
        """(n, 4) variance in px² of detection minus predicted box, for detections of the given score(s)."""
        ...

    def empty(self) -> tuple[Array, Array]:
        """Mean and covariance of no tracks at all."""
        ...


def transition(dt_s: float | Array, tau_s: Array) -> tuple[Array, Array, Array]:
    """Exact discretisation of the decaying velocity for time constants ``tau_s`` (4,).

    Returns:
        ``reach`` (…, 4), seconds of velocity added to the position; ``keep`` (…, 4), share of the velocity
        that stays; ``noise`` (3, …, 4): position variance, covariance and velocity variance per unit of squared
        white-noise acceleration.
    """
    dt = np.asarray(dt_s, float)[..., None]
    keep = np.exp(-dt / tau_s)
    lost = -np.expm1(-dt / tau_s)
    reach = tau_s * lost
    vel = tau_s * (1 - keep * keep) / 2
    cross = reach * reach / 2
    # dt − 2·reach + vel cancels to about dt³/(3·tau²); never negative but for rounding
    pos = np.maximum(tau_s**2 * (dt - 2 * reach + vel), 0)
    return reach, keep, np.stack([pos, cross, vel])


@lru_cache(maxsize=64)
def _step_matrices(noise: MotionNoise, dt_s: float) -> tuple[Array, Array, Array]:
    """One time step of the batched filter as matrices on its rows; cameras repeat the same few intervals.

    Returns:
        (8, 8) for ``mean``, (12, 12) for the flattened ``cov``, and (12,) variance added per squared box height.
    """
    model = KalmanMotion(noise)
    reach, keep, added = transition(dt_s, model.tau_s)
    added = model.accel * added
    added[0] += model.walk * dt_s
    coordinate, carry, spread = range(4), np.zeros((2, 4, 2, 4)), np.zeros((3, 4, 3, 4))
    carry[0, coordinate, 0, coordinate] = 1
    carry[1, coordinate, 0, coordinate] = reach
    carry[1, coordinate, 1, coordinate] = keep
    # Särkkä & Solin eq. 6.20-6.22: how each (first index) variance or covariance feeds those after the step (third)
    spread[0, coordinate, 0, coordinate] = 1
    spread[1, coordinate, 0, coordinate] = 2 * reach
    spread[2, coordinate, 0, coordinate] = reach * reach
    spread[1, coordinate, 1, coordinate] = keep
    spread[2, coordinate, 1, coordinate] = keep * reach
    spread[2, coordinate, 2, coordinate] = keep * keep
    return carry.reshape(8, 8), spread.reshape(12, 12), added.reshape(12)


class KalmanMotion:
    """The batched filter. ``mean`` (n, 8): x, y, w, h and their velocities per second, in pixels.

    ``cov`` (n, 3, 4): variance of the position, covariance with the velocity and variance of the velocity, for each
    of the four coordinates.
    """

    def __init__(self, noise: MotionNoise | None = None) -> None:
        self.noise = n = noise or MotionNoise()
        self.tau_s = np.array([n.tau_s, n.tau_s, n.tau_size_s, n.tau_size_s])
        self.walk = np.array([n.position, n.position, n.size, n.size]) ** 2
        self.accel = np.array([n.accel, n.accel, n.size_accel, n.size_accel]) ** 2
        self._measure = np.array([n.measure, n.measure, n.measure_size, n.measure_size]) ** 2
        self._speed = np.array([n.speed, n.speed, n.size_accel, n.size_accel]) ** 2

    def empty(self) -> tuple[Array, Array]:
        """Arrays of no tracks."""
        return np.zeros((0, 8)), np.zeros((0, 3, 4))

    def measurement_variance(self, height_px: Array, score: float | Array) -> Array:
        """(n, 4) measurement variance in px² of detections with the given (n,) heights and scores."""
        scale = height_px * (1 + self.noise.score_scale * (1 - score))
        return (scale * scale)[:, None] * self._measure

    def initiate(self, xcycwh: Array, score: Array) -> tuple[Array, Array]:
        """See :class:`MotionModel`."""
        mean = np.concatenate([xcycwh, np.zeros_like(xcycwh)], axis=1)
        cov = np.zeros((len(mean), 3, 4))
        cov[:, 0] = self.measurement_variance(xcycwh[:, 3], score)
        cov[:, 2] = (xcycwh[:, 3] ** 2)[:, None] * self._speed
        return mean, cov

    def predict(self, mean: Array, cov: Array, dt_s: float | Array) -> tuple[Array, Array]:
        """See :class:`MotionModel`."""
        dt_s = np.asarray(dt_s, float)
        if not dt_s.size or (dt_s == dt_s.flat[0]).all():
            return self._step(mean, cov, float(dt_s.flat[0]) if dt_s.size else 0.0)
        out, new = np.empty_like(mean), np.empty_like(cov)
        intervals, which = np.unique(dt_s, return_inverse=True)
        for i, interval in enumerate(intervals.tolist()):
            rows = np.flatnonzero(which == i)
            out[rows], new[rows] = self._step(mean[rows], cov[rows], interval)
        return out, new

    def _step(self, mean: Array, cov: Array, dt_s: float) -> tuple[Array, Array]:
        """Move all tracks ahead by the same time: a product with one matrix is much faster than term by term."""
        carry, spread, added = _step_matrices(self.noise, dt_s)
        height = np.maximum(mean[:, 3], 1.0)
        out = mean @ carry
        np.maximum(out[:, 2:4], 1.0, out=out[:, 2:4])
        new = cov.reshape(-1, 12) @ spread
        new += (height * height)[:, None] * added
        return out, new.reshape(-1, 3, 4)

    def innovation_variance(self, mean: Array, cov: Array, score: float | Array) -> Array:
        """See :class:`MotionModel`."""
        return cov[:, 0] + self.measurement_variance(np.maximum(mean[:, 3], 1.0), score)

    def update(self, mean: Array, cov: Array, xcycwh: Array, score: Array) -> tuple[Array, Array]:
        """See :class:`MotionModel`; the Kalman update of each 2 × 2 block in closed form.

        What is left of the position's variance p is p · r / (p + r): p − gain · p would cancel where p is far above r.
        """
        noise = self.measurement_variance(np.maximum(mean[:, 3], 1.0), score)
        total = cov[:, 0] + noise
        gain = cov[:, :2] / total[:, None]  # (n, 2, 4): of position and velocity
        residual = xcycwh - mean[:, :4]
        out = mean + (gain * residual[:, None]).reshape(-1, 8)
        new = cov.copy()
        new[:, :2] *= (noise / total)[:, None]
        new[:, 2] -= gain[:, 1] * cov[:, 1]
        return out, new


def warp(mean: Array, cov: Array, affine: Array) -> tuple[Array, Array]:
    """Carry tracks from the previous picture to this one, where the camera itself moved.

    Args:
        mean: (n, 8) as above. cov: (n, 3, 4).
        affine: (2, 3) map of the previous picture's pixels to this picture's, a similarity (BoT-SORT, Aharon et al.
            2022, eq. 5-8, written for a diagonal covariance: x and y have equal noise, which a rotation keeps).
    """
    turn, shift = affine[:, :2], affine[:, 2]
    scale = float(np.sqrt(abs(np.linalg.det(turn))))
    out = mean.copy()
    out[:, :2] = mean[:, :2] @ turn.T + shift
    out[:, 4:6] = mean[:, 4:6] @ turn.T
    out[:, 2:4] *= scale
    out[:, 6:8] *= scale
    return out, cov * scale**2

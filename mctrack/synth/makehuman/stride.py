"""The stride of a gait: how far its feet carry a body, and the timing at which planted feet do not slide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.makehuman.poses import leg

Array = NDArray[np.float64]

PELVIS_DEG = 11.0
"""Forward tilt of the pelvis, see `mctrack.synth.makehuman.poses.walking`."""
HEEL_M, BALL_M = -0.05, 0.13
"""Where the foot touches the floor, along it from the ankle."""
_PHASE = np.linspace(0.0, 0.5, 51)
_SWINGS = np.linspace(0.2, 1.5, 27)


class Stride:
    """Tables of one pair of legs.

    While a foot is on the floor (the first half of its cycle), the point of it that touches should move backwards
    evenly under the body. The curves of the joints do not do that by themselves; a slight change of their timing does.
    """

    def __init__(self, thigh_m: float, shin_m: float, ankle_m: float) -> None:
        self._way = np.stack([_way(k, thigh_m, shin_m, ankle_m) for k in _SWINGS])
        self._length = 2 * self._way[:, -1]

    def swing(self, stride_m: float) -> float:
        """How far the joints have to swing, relative to the textbook's curves, for strides of that length."""
        return float(np.interp(stride_m, self._length, _SWINGS))

    def phase(self, phase: float, swing: float) -> float:
        """The curves' phase at which the body has come as far as at an even pace in ``phase`` of a stride."""
        half, part = divmod(phase, 0.5)
        at = float(np.clip((swing - _SWINGS[0]) / (_SWINGS[1] - _SWINGS[0]), 0, len(_SWINGS) - 1.001))
        k, f = int(at), at - int(at)
        way = self._way[k] * (1 - f) + self._way[k + 1] * f
        return 0.5 * half + float(np.interp(part / 0.5 * way[-1], way, _PHASE))


def _way(swing: float, thigh_m: float, shin_m: float, ankle_m: float) -> Array:
    """(51,) metres that a planted left foot has carried the body at each of `_PHASE`, rising."""
    angles = np.radians([leg(p, swing, PELVIS_DEG) for p in _PHASE])
    thigh, knee, ankle = angles.T
    ahead = thigh_m * np.sin(thigh) + shin_m * np.sin(thigh - knee)
    pitch = -thigh + knee - ankle
    points = np.array([HEEL_M, BALL_M])
    along = ahead[:, None] + points * np.cos(pitch)[:, None] - ankle_m * np.sin(pitch)[:, None]
    height = -points * np.sin(pitch)[:, None]
    touching = np.argmin(height, axis=1)
    # Between two moments, the point that touches at the later one has moved back by so much.
    rows = np.arange(1, len(_PHASE))
    step = along[rows - 1, touching[1:]] - along[rows, touching[1:]]
    return np.concatenate([[0.0], np.cumsum(np.maximum(step, 1e-5))])

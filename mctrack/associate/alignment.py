"""How far each camera's floor is off from what the other cameras agree on, learned while people walk through."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mctrack.associate.ground import Information, Places
from mctrack.types import FloatArray, IntArray, State

Array = NDArray[np.float64]
WINDOW = 256
"""Differences remembered per camera."""
SEARCH_M = 1.0
"""A sighting this near to a group of the other cameras may be of the same person."""
PRIOR_WEIGHT = 20.0
"""Pull towards no offset, in the weight of sightings at the mode (1/m² each)."""
TRUST_M = 0.12
"""A calibration is taken at its word within this: smaller offsets are left alone, larger ones nearly all corrected
(the garrote of Breiman 1995)."""
SPREAD_M = 0.15
"""Differences further than a few of these from the common one are of other people."""


class Alignment:
    """Offsets in metres to be added to each camera's places.

    A calibration that is wrong by some decimetres moves all of a camera's people alike. The differences between its
    sightings and the groups of the other cameras have a mode, whoever is paired with whom; it is found by iterated
    reweighting from several starts. The floor as a whole stays where most cameras have it.

    Args:
        cameras: how many.
    """

    def __init__(self, cameras: int) -> None:
        self.offset: FloatArray = np.zeros((cameras, 2))
        self._common: FloatArray = np.zeros((cameras, 2))
        self._step: list[Array] = [np.zeros((0, 3)) for _ in range(cameras)]

    def make_room(self, cameras: int) -> None:
        """Take up cameras not heard of before."""
        for _ in range(cameras - len(self.offset)):
            self.offset = np.concatenate([self.offset, np.zeros((1, 2))])
            self._common = np.concatenate([self._common, np.zeros((1, 2))])
            self._step.append(np.zeros((0, 3)))

    @property
    def settled(self) -> bool:
        """Whether there is enough to go by in every camera that ever shared a person with another."""
        counts = [len(s) for s in self._step]
        return bool(max(counts, default=0) >= WINDOW)

    def observe(self, camera: IntArray, raw_xy: FloatArray, others_xy: FloatArray, var: FloatArray) -> None:
        """Remember differences between sightings and what other cameras say about the same spot.

        Args:
            camera: (n,) numbers of the cameras.
            raw_xy: (n, 2) places by the camera's own calibration.
            others_xy: (n, 2) places of the nearest group without that camera, offsets applied.
            var: (n,) variance of the difference, m².
        """
        step = np.column_stack([others_xy - raw_xy, var])
        for c in np.unique(camera).tolist():
            self._step[c] = np.concatenate([self._step[c], step[camera == c]])[-WINDOW:]

    def update(self, camera: int | None = None) -> None:
        """Take up what was observed, of all cameras or, to spread the work, of one."""
        for c in range(len(self.offset)) if camera is None else [camera]:
            self._common[c] = _mode(self._step[c], self.offset[c])
        found = self._common.copy()
        active = np.array([len(step) > 0 for step in self._step])
        if active.any():
            found[active] -= _middle(found[active])
        size2 = np.maximum((found**2).sum(axis=1, keepdims=True), 1e-12)
        self.offset = (found * np.maximum(1.0 - TRUST_M**2 / size2, 0.0)).round(6)

    def state(self) -> State:
        """Offsets and what they rest on."""
        return {"offset": self.offset.copy(), "common": self._common.copy(), "step": [s.copy() for s in self._step]}

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.offset, self._common = state["offset"].copy(), state["common"].copy()
        self._step = [np.array(s).reshape(-1, 3) for s in state["step"]]


def _middle(offset: Array) -> Array:
    """(2,) the mean of offsets (k, 2) among those that agree, by iterated reweighting from their median."""
    middle = np.median(offset, axis=0)
    for _ in range(10):
        weight = 1.0 / (1.0 + ((offset - middle) ** 2).sum(axis=1) / SPREAD_M**2)
        middle = (weight[:, None] * offset).sum(axis=0) / weight.sum()
    return np.asarray(middle)


def _mode(step: Array, now: Array) -> Array:
    """(2,) the most common of differences (n, 3: x, y, variance): the best of several starts by the votes it gets."""
    if not len(step):
        return np.asarray(now)
    xy, width = step[:, :2], SPREAD_M**2 + step[:, 2]
    at = _starts(xy, now)
    for _ in range(8):
        weight = _votes(xy, at, width) / width
        at = (weight @ xy) / (weight.sum(axis=1, keepdims=True) + PRIOR_WEIGHT)
    vote = _votes(xy, at, width).sum(axis=1) - PRIOR_WEIGHT * (at**2).sum(axis=1)
    return np.asarray(at[int(vote.argmax())])


def _votes(xy: Array, at: Array, width: Array) -> Array:
    """(starts, n) how much differences (n, 2) of variances (n,) speak for offsets (starts, 2)."""
    x, y = (np.subtract.outer(at[:, k], xy[:, k]) for k in (0, 1))
    return np.asarray(np.exp(-0.5 * (x**2 + y**2) / width))


def _starts(xy: Array, now: Array) -> Array:
    angle = np.arange(6) * np.pi / 3
    ring = 0.35 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([now[None], np.zeros((1, 2)), np.median(xy, axis=0)[None], ring])


def differences(places: Places, label: IntArray, camera: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """What the other cameras say about the spots where a camera sees somebody.

    Args:
        places: n sightings, offsets applied. label: (n,) groups 0 … m − 1. camera: (n,).

    Returns:
        (k,) sightings near a group of others, (k, 2) that group's place without their camera, and (k,) the variance of
        the difference in m². Groups of two other cameras count, where there are more than two at all.
    """
    m, at_least = int(label.max(initial=-1)) + 1, 2 if len(np.unique(camera)) > 2 else 1
    single, trace = Information.of(places), places.cov[:, 0, 0] + places.cov[:, 1, 1]
    rows, where, variance = [np.zeros(0, np.int64)], [np.zeros((0, 2))], [np.zeros(0)]
    for c in np.unique(camera).tolist():
        mine, others = np.flatnonzero(camera == c), np.flatnonzero(camera != c)
        there = np.bincount(label[others], minlength=m) >= at_least
        if not there.any():
            continue
        xy, p = single.take(others).summed(label[others], m).take(there).moments()
        x, y = (np.subtract.outer(places.xy[mine, k], xy[:, k]) for k in (0, 1))
        way2 = x**2 + y**2
        nearest, close = way2.argmin(axis=1), way2.min(axis=1) < SEARCH_M**2
        rows.append(mine[close])
        where.append(xy[nearest[close]])
        variance.append((p[nearest[close], 0] + p[nearest[close], 2] + trace[mine[close]]) / 2)
    return np.concatenate(rows), np.concatenate(where), np.concatenate(variance)

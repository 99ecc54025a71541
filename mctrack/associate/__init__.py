"""Identities across cameras and absences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mctrack.types import IntArray, Link, State, Tracks

ASSOCIATORS = {"online": "mctrack.associate.online:OnlineAssociator"}


@dataclass(frozen=True, eq=False)
class CameraView:
    """One camera's tracks at one instant.

    Attributes:
        camera: its name.
        tracks: n tracks.
        quality: (n,) of each track's crop in 0…1, 0 where unseen.
        ground_xy: (n, 2) metres, where each stands by this camera's calibration; NaN where that is not known. None
            where the camera is not calibrated.
        ground_cov: (n, 2, 2) m², its covariance.
        split: gives one of the tracks a new ID from this instant on and returns it, for an associator that finds that
            it has gone on with another person; None where the tracker cannot.
    """

    camera: str
    tracks: Tracks
    quality: NDArray[np.float64]
    ground_xy: NDArray[np.float64] | None = None
    ground_cov: NDArray[np.float64] | None = None
    split: Callable[[int], int] | None = None


class Associator(Protocol):
    """Gives tracklets their identities."""

    def update(self, time_s: float, views: Sequence[CameraView]) -> tuple[Link, ...]:
        """Take one instant; returns the decisions made, to be applied in order."""
        ...

    def finish(self) -> tuple[Link, ...]:
        """Name everything that still waits; afterwards every confirmed tracklet has an identity."""
        ...

    def global_ids(self, camera: str, track_id: IntArray) -> IntArray:
        """(n,) identities of a camera's tracks, −1 where not yet named."""
        ...

    def ground(self, camera: str, track_id: IntArray) -> NDArray[np.float64]:
        """(n, 2) metres, where the people of a camera's tracks are by all cameras together; NaN where unknown."""
        ...

    def state(self) -> State:
        """What :meth:`restore` needs to go on with identical decisions."""
        ...

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        ...

"""Identities across cameras and absences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mctrack.types import IntArray, Link, State, Tracks

ASSOCIATORS = {"online": "mctrack.associate.online:OnlineAssociator"}


@dataclass(frozen=True, eq=False)
class CameraView:
    """One camera's tracks at one instant, with the (n,) quality in 0…1 of each track's crop (0 where unseen)."""

    camera: str
    tracks: Tracks
    quality: NDArray[np.float64]


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

    def state(self) -> State:
        """What :meth:`restore` needs to go on with identical decisions."""
        ...

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        ...

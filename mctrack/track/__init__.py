"""One camera: motion, assignment, tracks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mctrack.types import Detections, State, Tracks

TRACKERS = {
    "fused": "mctrack.track.camera_tracker:CameraTracker",
    "motdt": "mctrack.track.motdt:MotdtTracker",
}
"""Name → ``module:Class``; each is called as ``Class(config: TrackConfig, probability)``."""


class Tracker(Protocol):
    """Follows the people of one camera."""

    def update(self, detections: Detections, time_s: float, camera_warp: NDArray[np.float64] | None = None) -> Tracks:
        """Take one frame's detections; all active tracks, seen in this frame or coasting."""
        ...

    def state(self) -> State:
        """Everything :meth:`restore` needs to go on with identical results."""
        ...

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        ...

"""Observation-centric re-update (Cao et al., "Observation-Centric SORT", CVPR 2023, section 4.1)."""

from __future__ import annotations

import numpy as np

from mctrack.track.kalman import Array, MotionModel
from mctrack.track.table import TrackTable

MAX_STEPS = 8


def reupdate(
    motion: MotionModel, tracks: TrackTable, xcycwh: Array, time_s: float, frame_s: float
) -> tuple[Array, Array]:
    """Redo the gap of tracks that were just found again.

    While a track is not seen its filter drifts on the last velocity. The filter goes back to the last detection
    and walks along the straight line to the new one with virtual detections in between (eq. 7), so that what it
    brings to the new detection is the velocity that really got it there. The last update, on the detection itself,
    is left to the caller.

    Args:
        tracks: m tracks, ``seen_s`` before ``time_s``. xcycwh: (m, 4) the new detections.
        frame_s: frame interval; a line gets about one virtual detection per frame, at most ``MAX_STEPS``.

    Returns:
        Mean and covariance of the tracks, predicted to ``time_s``.
    """
    gap = time_s - tracks.seen_s
    steps = np.minimum(np.maximum(np.rint(gap / max(frame_s, 1e-6)), 1), MAX_STEPS)
    dt = np.round(gap / steps, 9)
    mean, cov = motion.predict(tracks.mean_seen, tracks.cov_seen, dt)
    shortest, longest, way = int(steps.min()), int(steps.max()), xcycwh - tracks.box_seen
    for i in range(1, longest):
        on = slice(None) if i < shortest else np.flatnonzero(steps > i)
        virtual = tracks.box_seen[on] + way[on] * (i / steps[on])[:, None]
        part = motion.update(mean[on], cov[on], virtual, np.full(len(virtual), 0.5))
        mean[on], cov[on] = motion.predict(*part, dt[on])
    return mean, cov

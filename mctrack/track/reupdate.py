"""Observation-centric re-update (Cao et al., "Observation-Centric SORT", CVPR 2023, section 4.1)."""

from __future__ import annotations

import numpy as np

from mctrack.track.kalman import Array, MotionModel
from mctrack.track.table import TrackTable

MAX_STEPS = 8


def reupdate(motion: MotionModel, tracks: TrackTable, xcycwh: Array, time_s: float, frame_s: float) -> None:
    """Redo the gap of tracks that were just found again, in place.

    While a track is not seen its filter drifts on the last velocity. The filter goes back to the last detection
    and walks along the straight line to the new one with virtual detections in between (eq. 7), so that what it
    brings to the new detection is the velocity that really got it there. The last update, on the detection itself,
    is left to the caller.

    Args:
        tracks: m tracks, ``seen_s`` before ``time_s``. xcycwh: (m, 4) the new detections.
        frame_s: frame interval; the line gets about one virtual detection per frame, at most ``MAX_STEPS``.
    """
    gap = time_s - tracks.seen_s
    steps = int(np.clip(round(float(gap.max()) / max(frame_s, 1e-6)), 1, MAX_STEPS))
    mean, cov = tracks.mean_seen, tracks.cov_seen
    score = np.full(len(tracks), 0.5)
    dt = gap / steps
    for i in range(1, steps + 1):
        mean, cov = motion.predict(mean, cov, dt)
        if i < steps:
            virtual = tracks.box_seen + (xcycwh - tracks.box_seen) * (i / steps)
            mean, cov = motion.update(mean, cov, virtual, score)
    tracks.mean, tracks.cov = mean, cov

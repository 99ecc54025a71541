"""Everyone's way over the floor, from a run's database; how far and how fast they went."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mctrack.sinks.reader import StoreReader
from mctrack.types import FloatArray, IntArray

GAP_S = 1.0
"""Nobody knows where somebody was who is not located for longer than this, or for three frames where that is longer."""
BIN_S = 0.25
STEPS = 5
"""The speed at a time is the median over so many steps of ``BIN_S``: see :func:`velocity`."""
STANDING_M_S = 0.25
"""Slower than this nobody walks: people who stand shift their weight, and boxes tremble."""


@dataclass(frozen=True, eq=False)
class GroundPath:
    """Where one identity was.

    Attributes:
        time_s: (k,) increasing.
        xy_m: (k, 2) metres on the floor.
        gap_s: where two times are further apart, the path has a gap.
    """

    time_s: FloatArray
    xy_m: FloatArray
    gap_s: float = GAP_S

    def stretches(self) -> list[GroundPath]:
        """The path cut at its gaps."""
        cuts = np.flatnonzero(np.diff(self.time_s) > self.gap_s) + 1
        parts = zip(np.split(self.time_s, cuts), np.split(self.xy_m, cuts), strict=True)
        return [GroundPath(t, xy, self.gap_s) for t, xy in parts]


@dataclass(frozen=True)
class Travelled:
    """How far and how fast somebody went.

    Attributes:
        distance_m: length of the way, without what was not seen.
        mean_m_s: distance over the time on the floor that was seen, standing included.
        top_m_s: the highest speed held for a second.
        located_s: that time.
    """

    distance_m: float
    mean_m_s: float
    top_m_s: float
    located_s: float


def ground_paths(store: StoreReader) -> dict[int, GroundPath]:
    """global_id → path of every identity that was located; what several cameras say of one time is averaged."""
    ids, times, places = [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros((0, 2))]
    gap_s = GAP_S
    for camera in store.cameras():
        boxes = store.boxes(camera.name)
        if boxes.ground_m is None:
            continue
        frame_index, frame_time = store.frame_times(camera.name)
        gap_s = max(gap_s, 3 * float(np.median(np.diff(frame_time))) if len(frame_time) > 1 else 0.0)
        known = np.flatnonzero((boxes.global_id >= 0) & np.isfinite(boxes.ground_m).all(axis=1))
        ids.append(boxes.global_id[known])
        times.append(frame_time[np.searchsorted(frame_index, boxes.frame_index[known])])
        places.append(boxes.ground_m[known])
    return _paths(np.concatenate(ids), np.concatenate(times), np.concatenate(places), gap_s)


def _paths(who: IntArray, time_s: FloatArray, xy: FloatArray, gap_s: float) -> dict[int, GroundPath]:
    order = np.lexsort((time_s, who))
    who, time_s, xy = who[order], time_s[order], xy[order]
    if not len(who):
        return {}
    first = np.flatnonzero(np.r_[True, (np.diff(who) != 0) | (np.diff(time_s) > 1e-6)])
    mean = np.add.reduceat(xy, first, axis=0) / np.diff(first, append=len(who))[:, None]
    who, time_s = who[first], time_s[first]
    cuts = np.flatnonzero(np.diff(who)) + 1
    starts = [0, *cuts.tolist()]
    return {
        int(who[a]): GroundPath(t, m, gap_s)
        for a, t, m in zip(starts, np.split(time_s, cuts), np.split(mean, cuts), strict=True)
    }


def travelled(path: GroundPath) -> Travelled:
    """Distance and speeds that neither jitter nor a jump of the position adds to."""
    distance, located, top = 0.0, 0.0, 0.0
    for part in path.stretches():
        steps, span_s = velocity(part)
        located += span_s
        speed = np.linalg.norm(steps, axis=1)
        if not len(speed):
            continue
        speed[speed < STANDING_M_S] = 0.0
        distance += float(speed.mean()) * span_s
        held = min(round(1.0 / BIN_S), len(speed))
        top = max(top, float(np.convolve(speed, np.full(held, 1 / held), "valid").max()))
    return Travelled(distance, distance / located if located > 0 else 0.0, top, located)


def velocity(part: GroundPath) -> tuple[FloatArray, float]:
    """(n, 2) metres per second at regular steps of a stretch without gaps, and its length in seconds.

    Positions are averaged in bins of ``BIN_S``. The velocity of a step is the median, x and y apart, over ``STEPS``
    steps around it: a jump, which is one or two steps however far it goes, has no say, and the tremble of boxes, which
    goes back and forth from step to step, nearly cancels.
    """
    span_s = float(part.time_s[-1] - part.time_s[0])
    bins = round(span_s / BIN_S)
    if bins < 2:
        # too short for a median: from its first to its last place, or nothing at all
        return (part.xy_m[-1:] - part.xy_m[:1]) / max(span_s, BIN_S), span_s
    place = np.minimum(((part.time_s - part.time_s[0]) / span_s * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    full = np.flatnonzero(count)
    when = np.bincount(place, part.time_s, bins)[full] / count[full]
    mean = np.stack([np.bincount(place, part.xy_m[:, i], bins)[full] / count[full] for i in (0, 1)], axis=1)
    step_s = span_s / bins
    middles = part.time_s[0] + (np.arange(bins) + 0.5) * step_s
    raw = np.diff(np.stack([np.interp(middles, when, mean[:, i]) for i in (0, 1)], axis=1), axis=0) / step_s
    half = STEPS // 2
    padded = np.pad(raw, ((half, half), (0, 0)), mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, STEPS, axis=0), axis=2)), span_s

"""From presentation timestamps to times that a tracker can use: strictly increasing, deterministic."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TypeVar

T = TypeVar("T")

_BACK_FRAMES = 5
"""A step back by more frames than this is a new count of timestamps (joined files), a smaller one is disorder."""
_AHEAD_S = 10.0
"""A leap ahead by more than this is believed only if the next frame confirms it."""


class FileClock:
    """Times of a file's frames, in seconds from its first frame.

    A missing timestamp becomes the previous time plus one frame interval. A repeated one, or a small step back,
    becomes the previous time plus a quarter interval, so that the true times are met again at the next frame
    instead of drifting away. After a large step back (joined recordings) counting goes on one interval later.
    A single leap ahead that the next frame takes back is a damaged timestamp; one that lasts is a real gap and
    stays: other cameras go on in the meantime.

    Args:
        interval_s: nominal seconds between frames.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._origin: Fraction | None = None
        self._shift_s = 0.0
        self._last_s: float | None = None
        self.frames = 0
        self.longest_step_s = 0.0
        self._regular_steps = 0
        self.missing = 0
        self.backwards = 0
        self.leaps = 0
        self.restarts = 0

    def run(self, stamped: Iterator[tuple[Fraction | None, T]]) -> Iterator[tuple[float, T]]:
        """Replace each (timestamp in seconds or None, item) by (time in seconds, item), in the order given."""
        ahead: list[tuple[Fraction | None, T]] = []
        while True:
            current = ahead.pop() if ahead else next(stamped, None)
            if current is None:
                return
            stamp, item = current
            time_s = self._relative(stamp)
            if time_s is not None and self._last_s is not None and time_s - self._last_s > _AHEAD_S:
                following = next(stamped, None)
                if following is not None:
                    ahead.append(following)
                    next_s = self._relative(following[0])
                    if next_s is not None and next_s < time_s:
                        self.leaps += 1
                        time_s = self._last_s + self._interval_s
            placed_s = self._place(time_s)
            step_s = placed_s - (self._last_s or 0.0)
            self.longest_step_s = max(self.longest_step_s, step_s)
            # Containers round to milliseconds.
            self._regular_steps += abs(step_s - self._interval_s) < 0.1 * self._interval_s + 1.5e-3
            self._last_s = placed_s
            self.frames += 1
            yield placed_s, item

    def _relative(self, stamp: Fraction | None) -> float | None:
        if stamp is None:
            return None
        if self._origin is None:
            # The exact difference first: large timestamps would lose digits as floats.
            self._origin = stamp - (0 if self._last_s is None else Fraction(self._last_s + self._interval_s))
        return float(stamp - self._origin) + self._shift_s

    def _place(self, time_s: float | None) -> float:
        if self._last_s is None:
            self.missing += time_s is None
            return 0.0
        if time_s is None:
            self.missing += 1
            return self._last_s + self._interval_s
        if time_s > self._last_s:
            return time_s
        if self._last_s - time_s > _BACK_FRAMES * self._interval_s:
            self.restarts += 1
            self._shift_s += self._last_s + self._interval_s - time_s
            return self._last_s + self._interval_s
        self.backwards += 1
        return self._last_s + self._interval_s / 4

    @property
    def regular(self) -> bool:
        """Whether nearly all steps are one nominal interval: a constant frame rate, perhaps with gaps."""
        return self._regular_steps >= 0.8 * (self.frames - 1) > 0

    def warning(self) -> str | None:
        """One line about everything that was repaired, or None."""
        found = ((self.missing, "missing"), (self.backwards, "repeated or out of order"),
                 (self.leaps, "far ahead of their neighbours"), (self.restarts, "restarts of the count"))
        total = sum(count for count, _ in found)
        if total == self.missing == self.frames and total:
            return f"the file has no timestamps: its times follow from {1 / self._interval_s:g} frames per second"
        parts = ", ".join(f"{count} {what}" for count, what in found if count)
        return f"{total} timestamp{'s' if total > 1 else ''} repaired ({parts})" if total else None


class LiveClock:
    """Times of a live camera's frames: arrival, smoothed by the camera's own timestamps.

    Network jitter delays frames but never brings one early, so the difference of arrival and timestamp is held at
    about its minimum: a frame that comes earlier than the clock says corrects it at once, one that comes later
    pulls it slowly (clocks drift). Timestamps that jump, or disagree with the arrival by seconds, start it anew.
    """

    _PULL = 0.02
    _DISAGREE_S = 1.0

    def __init__(self) -> None:
        self._lag_s: float | None = None
        self._last_stamp_s: float | None = None
        self._last_s = float("-inf")

    def restart(self) -> None:
        """A new connection: its timestamps count from somewhere else."""
        self._lag_s = self._last_stamp_s = None

    def time(self, arrival_s: float, stamp_s: float | None) -> float:
        """Time of a frame in seconds, on the clock of the arrivals, later than all before.

        Args:
            arrival_s: when it came.
            stamp_s: the camera's timestamp in seconds, or None.
        """
        time_s = arrival_s
        if stamp_s is not None:
            step = None if self._last_stamp_s is None else stamp_s - self._last_stamp_s
            if self._lag_s is None or step is None or not 0 < step < 5:
                self._lag_s = arrival_s - stamp_s
            late_s = arrival_s - (stamp_s + self._lag_s)
            if late_s < 0 or late_s > self._DISAGREE_S:
                self._lag_s += late_s
            else:
                self._lag_s += self._PULL * late_s
            self._last_stamp_s = stamp_s
            time_s = min(stamp_s + self._lag_s, arrival_s)
        # A burst after a stall can only be told apart by a little: a millisecond keeps the order.
        self._last_s = max(time_s, self._last_s + 1e-3)
        return self._last_s

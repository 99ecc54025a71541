"""How long a file says it is, and whether it kept its word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mctrack.video.clock import FileClock
from mctrack.video.decode import Decoder
from mctrack.video.integrity import torn_end


@dataclass(frozen=True)
class Verdict:
    """What became of a file that was read to its end.

    Attributes:
        expected: frames it should have had; those it had where nothing is missing.
        early: it ended before its declared end.
        gaps: frames are missing in between.
        complete: nothing is missing.
        why: what broke off, if that is known.
    """

    expected: int
    early: bool
    gaps: bool
    complete: bool
    why: str | None

    def warning(self, decoded: int, expected: int | None) -> str | None:
        """One line for the user about ``decoded`` of ``expected`` frames, or None."""
        reason = f" ({self.why})" if self.why else ""
        if self.gaps:
            return f"{decoded} of about {expected} frames read{reason}: some are missing in between"
        if self.early:
            return (f"ended after {decoded} of the {expected} frames its header declares{reason}: "
                    "the file is cut off or damaged")
        return f"ended after {decoded} frames{reason}: the file is cut off or damaged" if self.why else None


class DeclaredLength:
    """The length a container declares: a count of frames, or only a duration.

    Attributes:
        frames: declared frames, or None.
        exact: whether the container counts them; else ``frames`` follows from a duration.
        hidden: frames that an edit list hides.
    """

    def __init__(self, container: Any, stream: Any, path: str, fps: float) -> None:
        self._format: str = container.format.name
        self._path = path
        self._fps = fps
        self._duration_s = _duration_s(container, stream)
        self.hidden = 0
        self.frames: int | None = stream.frames if stream.frames > 0 else None
        self.exact = self.frames is not None
        shown = self._duration_s * float(stream.average_rate or 0)
        if self.frames is None and self._duration_s > 0:
            self.frames = max(round(self._duration_s * fps), 1)
        elif self.frames is not None and self._format.startswith("mov") and 1 <= shown < self.frames - 1.5:
            # An mp4's count includes what its edit list cuts away; its duration does not.
            self.hidden = self.frames - round(shown)
            self.frames, self.exact = round(shown), False

    def verdict(self, total: int, last_s: float, clock: FileClock, decoder: Decoder) -> Verdict:
        """Judge a file that gave ``total`` frames, the last one at ``last_s``."""
        damaged = decoder.damaged + decoder.partial > 0
        declared, early, gaps = self.frames, False, False
        if declared is not None and self.exact:
            declared -= decoder.unshown
            early = total < declared - (0 if damaged else 1)
            # An AVI counts frames its recorder dropped, and leaves their place empty: time tells those from lost ones.
            if early and not damaged and self._format == "avi":
                early = round(last_s * self._fps) + 1 < declared - 1
        elif declared is not None:
            early = self._ends_early(last_s, clock.longest_step_s)
            # A lower count is natural where the frame rate varies, but not where all other steps are regular.
            fewer = total < (declared if damaged else min(declared - 1, 0.98 * declared))
            gaps = fewer and not early and (damaged or clock.regular)
        why = decoder.failure or (None if self.exact else torn_end(self._path, self._format))
        unknown = declared is None and decoder.damaged > 0
        complete = not (early or gaps or why or unknown)
        return Verdict(declared if declared is not None and (early or gaps) else total, early, gaps, complete, why)

    def _ends_early(self, last_s: float, longest_step_s: float) -> bool:
        """Whether the last frame lies clearly before the end of the declared duration."""
        # With a variable frame rate the last frame may stand as long as any other.
        tolerance_s = max(0.02 * self._duration_s, 1 / self._fps, min(longest_step_s, 1.0))
        return self._duration_s - (last_s + 1 / self._fps) > tolerance_s


def _duration_s(container: Any, stream: Any) -> float:
    """Declared duration in seconds from the first frame, 0 where there is none."""
    if stream.duration and stream.duration > 0 and stream.time_base:
        return float(stream.duration * stream.time_base)
    # These count from zero even where the first frame comes later.
    from_zero = container.format.name in ("matroska,webm", "nut")
    before = max(container.start_time or 0, 0) if from_zero else 0
    return max((container.duration or 0) - before, 0) / 1e6

"""What every source of frames has in common, and the account it gives of itself at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from mctrack.config import VideoConfig
from mctrack.types import Frame
from mctrack.video.cameras import shown_uri
from mctrack.video.spec import CameraSpec


@dataclass(frozen=True)
class SourceReport:
    """What became of a source.

    Attributes:
        camera: the camera's name.
        source: path or URL, without password.
        expected: frames it declares, after ``start`` and ``max_frames``; None where it declares none.
        decoded: frames read, again after ``start``, dropped ones included.
        dropped: frames of a live camera thrown away because nobody took them in time.
        complete: whether it was read to its end, or to ``max_frames``, and lacks none of the expected frames.
        warnings: one line each, without the camera's name.
    """

    camera: str
    source: str
    expected: int | None
    decoded: int
    dropped: int
    complete: bool
    warnings: tuple[str, ...]


class VideoSource(Protocol):
    """Frames of one camera in order, with strictly increasing times. It can be iterated once.

    Times: the first frame of a file has time 0 (of a live camera: its arrival on the shared clock); the camera's
    ``offset_s`` is added to that.
    """

    @property
    def spec(self) -> CameraSpec:
        """The camera."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of every frame."""
        ...

    @property
    def fps(self) -> float:
        """Nominal frames per second."""
        ...

    @property
    def frame_count(self) -> int | None:
        """Expected number of frames after ``start`` and ``max_frames``, or None where unknown."""
        ...

    @property
    def live(self) -> bool:
        """Whether frames are lost unless read in time."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """The frames; decoding happens in the thread that asks."""
        ...

    def now(self) -> float:
        """``time_s`` that a frame arriving at this moment would have; infinite for files."""
        ...

    def report(self) -> SourceReport:
        """The account so far; final once the iteration has ended. Valid after :meth:`close`."""
        ...

    def warn(self, text: str) -> None:
        """Add a line to the report."""
        ...

    def add_dropped(self, count: int) -> None:
        """Count frames that were read but thrown away later on the way."""
        ...

    def close(self) -> None:
        """End an iteration in any thread and release everything, within a second. Safe to call twice."""
        ...


class BaseSource:
    """Bookkeeping shared by the sources."""

    def __init__(self, spec: CameraSpec, config: VideoConfig, images_from: int = 0) -> None:
        self.spec = spec
        self.size: tuple[int, int] = (0, 0)
        self.fps: float = 0.0
        self.frame_count: int | None = None
        self._config = config
        self._images_from = images_from
        self._offset_s = float(config.offset_s.get(spec.name, 0.0))
        self._shown = shown_uri(spec.uri)
        self._decoded = 0
        self._dropped = 0
        self._complete = False
        self._warnings: list[str] = []
        self._stop = threading.Event()
        self._counting = threading.Lock()

    @property
    def live(self) -> bool:
        """Whether frames are lost unless read in time."""
        return self.spec.live

    def now(self) -> float:
        """Infinite: a file's clock is not the wall's."""
        return float("inf")

    def warn(self, text: str) -> None:
        """Add a line to the report, once."""
        if text not in self._warnings:
            self._warnings.append(text)

    def add_dropped(self, count: int) -> None:
        """Count frames thrown away after reading."""
        with self._counting:  # two threads drop frames of a live camera
            self._dropped += count

    def report(self) -> SourceReport:
        """The account so far."""
        return SourceReport(self.spec.name, self._shown, self.frame_count, self._decoded, self._dropped,
                            self._complete, tuple(self._warnings))

    def _window(self, declared: int | None) -> int | None:
        """How many of the declared frames are left after ``start`` and ``max_frames``."""
        if declared is None:
            return None
        left = max(declared - self._config.start, 0)
        return left if self._config.max_frames is None else min(left, self._config.max_frames)

    def _wanted(self, index: int) -> bool:
        """Whether a frame's picture is needed (frames before ``images_from`` only keep the time)."""
        return index >= self._images_from

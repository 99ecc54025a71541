"""Video files: every frame once, with its real time, and an honest account of what was missing."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, pairwise
from statistics import median
from typing import Any

from mctrack.config import VideoConfig
from mctrack.errors import SourceError
from mctrack.types import Frame
from mctrack.video.clock import FileClock
from mctrack.video.decode import STALL_S, Decoder, StalledError, Stamps, open_container, video_stream
from mctrack.video.integrity import whole_fragments_end
from mctrack.video.length import DeclaredLength
from mctrack.video.picture import PictureMaker
from mctrack.video.source import BaseSource
from mctrack.video.spec import CameraSpec


class FileSource(BaseSource):
    """A video file.

    ``start`` frames are decoded and thrown away (indices and times count from the file's first frame); frames
    before ``images_from`` are decoded but not converted and come without picture.
    """

    def __init__(self, spec: CameraSpec, config: VideoConfig, images_from: int = 0) -> None:
        super().__init__(spec, config, images_from)
        self._label = f"camera '{spec.name}' ({spec.uri})"
        self._lock = threading.Lock()
        self._running = False
        self._container = self._open_container()
        try:
            self._open()
        except BaseException:
            self._container.close()
            raise

    def _open_container(self) -> Any:
        path = self._path()
        try:
            return open_container(path, self._label, (STALL_S, STALL_S))
        except SourceError:
            # libav refuses a fragmented MP4 that was cut while it was written; its whole fragments are fine.
            end = whole_fragments_end(path)
            if end is None:
                raise
        return open_container(f"subfile,,start,0,end,{end},,:{path}", self._label, (STALL_S, STALL_S))

    def _path(self) -> str:
        # Absolute, it cannot be taken for a protocol ("a:b.mp4").
        return os.path.abspath(self.spec.uri)

    def _open(self) -> None:
        self._stream = video_stream(self._container, self._label)
        self._decoder = Decoder(self._container, self._stream, self._stop.is_set)
        self._frames = self._decoder.frames()
        self._peeked: deque[Any] = deque()
        self._peek(1)
        if not self._peeked:
            raise SourceError(f"{self._label}: none of its frames can be decoded; the file is damaged")
        self._pictures = PictureMaker(self._peeked[0])
        self.size = self._pictures.size
        self.fps = self._nominal_fps()
        self._length = DeclaredLength(self._container, self._stream, self._path(), self.fps)
        declared, hidden = self._length.frames, self._length.hidden
        if declared is not None and self._length.exact and self._config.start >= declared:
            raise SourceError(self._start_beyond(declared))
        if hidden:
            self.warn(f"the file's edit list hides {hidden} of its {self._stream.frames} frames, as in any player")
        self.frame_count = self._window(declared)

    def _peek(self, count: int) -> None:
        try:
            self._peeked.extend(islice(self._frames, count))
        except StalledError:
            if not self._peeked:
                raise SourceError(f"{self._label}: gives no frame in {STALL_S:.0f} s; the file is damaged") from None

    def _nominal_fps(self) -> float:
        """The container's average rate, or what the first frames show where that is missing or absurd."""
        rate = float(self._stream.average_rate or 0)
        if 0.01 < rate <= (1000 if self._stream.frames > 0 else 120):
            return rate
        self._peek(12)
        stamps = [s for s in map(Stamps(self._stream.time_base, 0.04), self._peeked) if s is not None]
        steps = [float(b - a) for a, b in pairwise(stamps) if b > a]
        if steps and 1e-3 <= median(steps) <= 100:
            return 1 / median(steps)
        guess = float(self._stream.guessed_rate or 0)
        return guess if 0.01 < guess <= 240 else 25.0

    def _start_beyond(self, frames: int) -> str:
        return (f"{self._label}: it has {frames} frames, so start={self._config.start} is beyond its end; "
                f"choose a start below {frames}")

    def __iter__(self) -> Iterator[Frame]:
        """The frames; once only."""
        with self._lock:
            if self._running or self._stop.is_set():
                raise RuntimeError("a source can be read once")
            self._running = True
        try:
            yield from self._read()
        finally:
            with self._lock:
                self._stop.set()
                self._container.close()

    def close(self) -> None:
        """End an iteration in any thread at its next frame, and release the file."""
        self._stop.set()
        with self._lock:
            if not self._running:  # a running iteration closes the container itself, in its own thread
                self._container.close()

    def _read(self) -> Iterator[Frame]:
        clock = FileClock(1 / self.fps)
        index = -1
        time_s = 0.0
        try:
            for time_s, frame in clock.run(self._stamped()):
                index += 1
                if index < self._config.start:
                    continue
                result = self._frame(frame, index, time_s)
                if result is None:
                    continue
                self._decoded += 1
                # Told before the frame goes out: who takes only max_frames never asks again.
                self._complete = self._decoded == self._config.max_frames
                yield result
                if self._complete:
                    return
            if not self._stop.is_set():
                self._judge_end(index + 1, time_s, clock)
        finally:
            for line in (clock.warning(), self._pictures.warning(), self._decoder.warning()):
                if line:
                    self.warn(line)

    def _stamped(self) -> Iterator[tuple[Fraction | None, Any]]:
        stamp = Stamps(self._stream.time_base, 1 / self.fps)
        while self._peeked:
            frame = self._peeked.popleft()
            yield stamp(frame), frame
        try:
            for frame in self._frames:
                yield stamp(frame), frame
        except StalledError:
            self._decoder.failure = f"no frame in {STALL_S:.0f} s"

    def _frame(self, frame: Any, index: int, time_s: float) -> Frame | None:
        image = None
        self._pictures.check(frame, index)
        if self._wanted(index):
            try:
                image = self._pictures.make(frame)
            except Exception:  # a damaged header can announce a pixel format nothing converts
                self._decoder.damaged += 1
                return None
        return Frame(self.spec.name, index, time_s + self._offset_s, image, self.size)

    def _judge_end(self, total: int, last_s: float, clock: FileClock) -> None:
        """Compare what was read with what the file declares."""
        if total <= self._config.start:
            raise SourceError(self._start_beyond(total))
        if self._decoded == 0:
            raise SourceError(f"{self._label}: none of its frames can be converted to a picture; the file is damaged")
        verdict = self._length.verdict(total, last_s, clock, self._decoder)
        self.frame_count = self._window(verdict.expected)
        self._complete = verdict.complete
        line = verdict.warning(self._decoded, self.frame_count)
        if line:
            self.warn(line)

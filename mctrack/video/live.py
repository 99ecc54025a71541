"""Network cameras and webcams: a thread reads, the oldest frames are dropped, lost connections are taken up again."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mctrack.config import VideoConfig
from mctrack.errors import MctrackError, SourceError, redact
from mctrack.types import Frame
from mctrack.video.clock import LiveClock
from mctrack.video.decode import Decoder, StalledError, Stamps, open_container, video_stream
from mctrack.video.picture import PictureMaker
from mctrack.video.source import BaseSource, SourceReport
from mctrack.video.spec import CameraSpec

_FIRST_PICTURE_S = 10.0
"""How long a connected camera may take to its first picture: a stream can be met just after a key frame."""
_BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_CLOSE_S = 0.8


class LiveSource(BaseSource):
    """A camera that does not wait.

    Frame times are arrivals on the clock that starts at ``clock_zero``, smoothed by the camera's own timestamps
    (:class:`~mctrack.video.clock.LiveClock`). Frame numbers count what was decoded, so a dropped frame leaves a gap.
    A recording behind a URL (its length is known) is read at its own pace and ends; everything else is connected
    again when it stops. ``config.start`` has no meaning here.
    """

    def __init__(self, spec: CameraSpec, config: VideoConfig, clock_zero: float) -> None:
        super().__init__(spec, config)
        self._label = f"camera '{spec.name}' ({self._shown})"
        self._zero = clock_zero
        self._clock = LiveClock()
        self._queue: deque[tuple[int, float, Any]] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._connected = False
        self._recording = False
        self._error: SourceError | None = None
        self._pictures: PictureMaker | None = None
        self._damaged = 0
        self._losses = 0
        self._last_loss = ""
        self._given_up = False
        # A daemon: libav may sit in a blocking call (name resolution) that nothing can interrupt.
        self._thread = threading.Thread(target=self._run, name=f"camera {spec.name}", daemon=True)
        self._thread.start()
        self._await_first()

    def _await_first(self) -> None:
        """Block until the first picture, or raise why there is none."""
        # Opening and looking into the stream each have the timeout; failures come earlier, from the thread.
        due_s = time.monotonic() + 2 * self._config.timeout_s + 1
        with self._changed:
            while self._pictures is None and not self._ended:
                # Once connected, only the first key frame is awaited.
                wait_s = due_s + (_FIRST_PICTURE_S if self._connected else 0) - time.monotonic()
                if wait_s <= 0:
                    self._error = SourceError(f"{self._label}: no picture in time; check the address and the network")
                    break
                self._changed.wait(min(wait_s, 0.2))
        if self._pictures is None:
            self.close()
            raise self._error or SourceError(f"{self._label}: ended before its first picture")

    def now(self) -> float:
        """``time_s`` that a frame arriving at this moment would have."""
        return time.monotonic() - self._zero + self._offset_s

    def __iter__(self) -> Iterator[Frame]:
        """The frames that were not dropped; conversion to BGR happens in the asking thread."""
        given = 0
        while self._config.max_frames is None or given < self._config.max_frames:
            with self._changed:
                while not self._queue and not self._ended:
                    self._changed.wait(0.5)
                if not self._queue or self._stop.is_set():
                    break
                index, time_s, raw = self._queue.popleft()
            assert self._pictures is not None  # the constructor waits for it
            self._pictures.check(raw, index)
            try:
                image = self._pictures.make(raw)
            except Exception:
                self._damaged += 1
                continue
            given += 1
            yield Frame(self.spec.name, index, time_s + self._offset_s, image, self.size)
        if given == self._config.max_frames:
            self.close()

    def report(self) -> SourceReport:
        """The account so far. A live camera is complete unless it was lost for good."""
        lines = [self._pictures.warning()] if self._pictures else []
        if self._damaged:
            lines.append(f"{self._damaged} damaged packet{'s' if self._damaged > 1 else ''}")
        if self._losses:
            times = "once" if self._losses == 1 else f"{self._losses} times"
            end = "given up" if self._given_up else "connected again each time"
            lines.append(f"connection lost {times}, last {self._last_loss}; {end}")
        report = super().report()
        return replace(report, complete=not self._given_up,
                       warnings=(*report.warnings, *(line for line in lines if line)))

    def close(self) -> None:
        """Stop reading. The thread ends by itself, at the latest after the network timeout."""
        if self._stop.is_set():
            return
        self._stop.set()
        with self._changed:
            self._ended = True
            self._queue.clear()
            self._changed.notify_all()
        self._thread.join(_CLOSE_S)

    # ---- the reading thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        attempt = 0
        try:
            while not self._stop.is_set():
                before = self._decoded
                lost = self._connect_and_read()
                if lost is None:
                    return
                if self._pictures is None:
                    self._error = lost
                    return
                if self._decoded > before:
                    attempt = 0
                if self._recording or 0 <= self._config.reconnects <= attempt:
                    self._given_up = True
                    return
                if self._stop.wait(_BACK_OFF_S[min(attempt, len(_BACK_OFF_S) - 1)]):
                    return
                attempt += 1
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _connect_and_read(self) -> SourceError | None:
        """Read until the connection ends: None at the end of a recording (or when told to stop), else why."""
        container = None
        before = self._decoded
        try:
            container = self._connect()
            stream = video_stream(container, self._label)
            # Taking a recording up again would show its beginning a second time.
            self._recording = self.spec.kind == "stream" and (container.duration or 0) > 0
            with self._changed:
                self._connected = True
            failure = self._read(container, stream)
            if self._stop.is_set() or (self._recording and failure is None):
                return None
            why = failure or "the camera ended the stream"
        except MctrackError as refused:
            why = str(refused).removeprefix(redact(f"{self._label}: "))
        except Exception as unexpected:  # whatever libav does: a camera that fails must not end the others
            why = f"{type(unexpected).__name__} while reading"
        finally:
            if container is not None:
                container.close()
        if self._decoded > before:
            self._losses += 1
            self._last_loss = f"after {self._decoded} frames ({why})"
        return SourceError(f"{self._label}: {why}")

    def _connect(self) -> Any:
        timeout_s = self._config.timeout_s
        if self.spec.kind == "webcam":
            where, device = _webcam(self.spec.uri)
            return open_container(where, self._label, (timeout_s, timeout_s), container_format=device)
        options = {"rtsp_transport": "tcp", "analyzeduration": "1000000"}
        if self.spec.uri.lower().startswith("rtsp"):
            options["timeout"] = str(round(timeout_s * 1e6))
        return open_container(self.spec.uri, self._label, (timeout_s, timeout_s), options)

    def _read(self, container: Any, stream: Any) -> str | None:
        """Queue the frames of one connection; the reason it broke, or None at the end of the data."""
        self._clock.restart()
        stamps = Stamps(stream.time_base, 0.04)
        decoder = Decoder(container, stream, self._stop.is_set)
        pace = _Pace(self._stop) if self._recording else None
        try:
            for raw in decoder.frames():
                at = stamps(raw)
                if pace is not None and at is not None:
                    pace.wait(float(at))
                arrival_s = time.monotonic() - self._zero
                self._push(raw, stream, self._clock.time(arrival_s, None if at is None else float(at)))
                if self._stop.is_set():
                    return None
        except StalledError:
            return "no frame for 10 s"
        finally:
            self._damaged += decoder.damaged + decoder.partial - decoder.tries
        return decoder.failure

    def _push(self, raw: Any, stream: Any, time_s: float) -> None:
        with self._changed:
            if self._pictures is None:
                rate = float(stream.average_rate or stream.guessed_rate or 0)
                self.fps = rate if 0.01 < rate <= 240 else 25.0
                self._pictures = PictureMaker(raw)
                self.size = self._pictures.size
            if len(self._queue) >= self._config.queue:
                self._queue.popleft()
                self.add_dropped(1)
            self._queue.append((self._decoded, time_s, raw))
            self._decoded += 1
            self._changed.notify_all()


class _Pace:
    """Holds frames of a recording back until their time, so that they are not all dropped at once."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._start_s: float | None = None

    def wait(self, stamp_s: float) -> None:
        now_s = time.monotonic()
        if self._start_s is None or not -1 < self._start_s + stamp_s - now_s < 5:
            self._start_s = now_s - stamp_s
        self._stop.wait(max(self._start_s + stamp_s - now_s, 0.0))


def _webcam(number: str) -> tuple[str, str]:
    """(address, libav device) of a webcam number."""
    if sys.platform.startswith("linux"):
        return f"/dev/video{int(number)}", "v4l2"
    if sys.platform == "darwin":
        return str(int(number)), "avfoundation"
    return str(int(number)), "vfwcap"

"""What a run's time went into: codec, detector and embedder on one side, everything else on the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mctrack.errors import SourceError

CODEC_AND_NETWORKS = ("decode", "encode", "detect", "embed")
T = TypeVar("T")


class Meter:
    """Adds up the time in which codec, detector or embedder are at work, in whatever thread.

    Attributes:
        busy_s: wall seconds in which at least one of them was.
        decode_s: CPU seconds of decoding in the threads that ask for frames.
    """

    def __init__(self) -> None:
        self.busy_s = 0.0
        self.decode_s = 0.0
        self._inside = 0
        self._since_s = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Codec, detector or embedder is at work in this block."""
        with self._lock:
            if not self._inside:
                self._since_s = time.perf_counter()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self.busy_s += time.perf_counter() - self._since_s

    def decoding(self, frames: Iterable[T], live: bool) -> Iterator[T]:
        """The same frames; a live camera's wait for the next one is no work."""
        source = iter(frames)
        end: Any = object()
        try:
            while True:
                begin = time.thread_time()
                if live:
                    frame = next(source, end)
                else:
                    with self.busy():
                        frame = next(source, end)
                with self._lock:  # each camera has a thread of its own
                    self.decode_s += time.thread_time() - begin
                if frame is end:
                    return
                yield frame
        finally:
            getattr(source, "close", lambda: None)()

    def encoder(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """The same maker of video files, with their writing counted."""
        return lambda path, size, fps: _Encoder(make, (path, size, fps), self)


class MeteredSource:
    """A source whose decoding is counted, and that ends quietly where it turns out to have no frame at all.

    Attributes:
        broken: why it has none; the other cameras go on.
    """

    def __init__(self, source: Any, meter: Meter) -> None:
        self._source, self._meter = source, meter
        self.broken: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __iter__(self) -> Iterator[Any]:
        given = False
        try:
            for frame in self._meter.decoding(self._source, self._source.live):
                given = True
                yield frame
        except SourceError as error:
            if given:
                raise
            self.broken = str(error)


class _Encoder:
    """A video file whose writing counts as work of the codec."""

    def __init__(self, make: Callable[..., Any], arguments: tuple[Path, tuple[int, int], float], meter: Meter) -> None:
        self._meter = meter
        with meter.busy():
            self._file = make(*arguments)

    def write(self, image_bgr: Any, time_s: float) -> None:
        with self._meter.busy():
            self._file.write(image_bgr, time_s)

    def close(self) -> None:
        with self._meter.busy():
            self._file.close()


def overhead(seconds: Mapping[str, float], busy_s: float, wall_s: float, cpu_s: float) -> dict[str, float]:
    """What everything but codec, detector and embedder costs.

    Args:
        seconds: stage → seconds; those of :data:`CODEC_AND_NETWORKS` are left out, the others are CPU seconds.
        busy_s: see :class:`Meter`.
        wall_s: the whole run, from its first line to its last.
        cpu_s: CPU seconds of the process.

    Returns:
        ``wall``: share of the run's time in which none of the three was at work (so the run would be that much
        shorter without the rest); ``cpu``: the rest's share of the CPU time.
    """
    own = sum(v for k, v in seconds.items() if k not in CODEC_AND_NETWORKS)
    return {
        "wall": round(max(1 - busy_s / wall_s, 0.0), 4) if wall_s > 0 else 0.0,
        "cpu": round(own / cpu_s, 4) if cpu_s > 0 else 0.0,
    }

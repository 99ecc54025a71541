"""Demuxing and decoding with PyAV, made to survive whatever a file holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from mctrack.errors import SourceError

STALL_S = 10.0
"""A source that gives no frame for so long is given up."""
_DEMUX_FAILURES = 20
_MAX_PIXELS = 1 << 26
"""A damaged header may announce pictures that fill the memory."""
# Text and single pictures that libav would happily "play".
_NOT_VIDEO = ("tty", "image2", "ico", "bin", "xbin", "adf", "idf")


class StalledError(Exception):
    """Nothing came for :data:`STALL_S` seconds."""


def reason(error: BaseException) -> str:
    """What went wrong, without the URL and password that libav's own text repeats."""
    from av.error import ExitError, InvalidDataError

    if isinstance(error, ExitError):
        return "timed out"
    if isinstance(error, InvalidDataError):
        return "invalid data"
    text = getattr(error, "strerror", None) or type(error).__name__
    return str(text).splitlines()[0].lower()


def open_container(where: str, label: str, timeout_s: tuple[float, float], options: dict[str, str] | None = None,
                   container_format: str | None = None) -> Any:
    """Open a file or URL.

    Args:
        where: path or URL.
        label: how to call it in messages.
        timeout_s: seconds to wait for opening and for each read.

    Raises:
        SourceError: it cannot be opened; the message ends with why.
    """
    import av

    # PyAV turns genpts on, which invents wrong presentation times for AVIs with B-frames.
    began_s = time.monotonic()
    merged = {"fflags": "-genpts", **(options or {})}
    # Damaged text in tags must not stop a video; PyAV 19 sees to that itself.
    lenient: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
    try:
        # Not options=: that goes to every stream too, and older PyAVs crash where streams appear late (FLV).
        return av.open(where, format=container_format, container_options=merged, timeout=timeout_s, **lenient)
    except Exception as error:
        # The RTSP client says "invalid data" when its time is up.
        late = time.monotonic() - began_s >= 0.98 * timeout_s[0]
        raise SourceError(f"{label}: {_opening_failed(where, 'timed out' if late else reason(error))}") from None


def _opening_failed(where: str, why: str) -> str:
    if why == "invalid data":
        cut = where.lower().endswith((".mp4", ".mov", ".m4v", ".3gp"))
        return "not a video, or " + ("cut off before its index was written" if cut else "its header is damaged")
    return f"cannot be opened: {why}"


def video_stream(container: Any, label: str) -> Any:
    """The video stream with the largest picture; cover pictures and text do not count.

    Raises:
        SourceError: there is none, or none that can be decoded.
    """
    from av.stream import Disposition

    name = container.format.name
    if name in _NOT_VIDEO or name.endswith("_pipe"):
        kind = "text" if name == "tty" else "a single picture"
        raise SourceError(f"{label}: {kind}, not a video")
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        # By list, not by stream.type: that crashes older PyAVs on streams of unknown kind.
        found = container.streams
        lists = {"a cover picture": found.video, "audio": found.audio, "subtitles": found.subtitles, "data": found.data}
        what = ", ".join(kind for kind, members in lists.items() if members)
        raise SourceError(f"{label}: holds no video, {f'only {what}' if what else 'its header is damaged'}")
    streams = [s for s in streams if s.codec_context is not None]
    if not streams:
        raise SourceError(f"{label}: its video codec is not supported; convert it to H.264")
    best = max(streams, key=lambda s: s.codec_context.width * s.codec_context.height)
    # One thread: cameras already run side by side, errors are concealed the same way every time, and the
    # decoders' slice threads are documented as unsafe on damaged input.
    best.codec_context.thread_count = 1
    best.codec_context.options = {"max_pixels": str(_MAX_PIXELS)}
    return best


class Decoder:
    """The frames of one stream in display order, going on after damage where the decoder can.

    Attributes:
        damaged: packets that could not be read or decoded.
        tries: how many of these were the last reads of all, failing in a row: no packets, but the end of the data.
        partial: packets that lack a part, and give a picture with traces of the one before.
        unshown: packets that are no frame by the container's own word (edit lists, empty packets).
        failure: why reading ended before the end of the data, if it did.
    """

    def __init__(self, container: Any, stream: Any, stopped: Callable[[], bool]) -> None:
        self._container = container
        self._stream = stream
        self._stopped = stopped
        self._alive_s = 0.0
        self.damaged = 0
        self.tries = 0
        self.partial = 0
        self.unshown = 0
        self.failure: str | None = None

    def frames(self) -> Iterator[Any]:
        """The decoded frames.

        Raises:
            StalledError: nothing came for a while.
        """
        self._alive_s = time.monotonic()
        for packet in self._packets():
            for frame in self._decode(packet):
                yield frame
                self._alive_s = time.monotonic()
            if self._stopped():
                return

    def _packets(self) -> Iterator[Any]:
        """Packets, and None at the end to flush the decoder; a broken read is tried again a few times."""
        from av.error import ExitError

        failures = 0
        packets = self._container.demux(self._stream)
        while failures < _DEMUX_FAILURES:
            if time.monotonic() - self._alive_s > STALL_S:
                raise StalledError
            try:
                packet = next(packets, None)
            except Exception as error:
                self.damaged += 1
                self.tries += 1
                self.failure = reason(error)
                failures = _DEMUX_FAILURES if isinstance(error, ExitError) else failures + 1
                packets = self._container.demux(self._stream)
                continue
            if packet is None:
                self.failure = None
                return
            self.tries = 0
            if packet.size == 0 and (packet.dts is not None or packet.pts is not None):
                # An AVI's empty chunk: the decoder would take it for the end of the stream.
                self.unshown += 1
                continue
            self.unshown += bool(packet.is_discard)
            self.partial += bool(packet.is_corrupt)
            yield packet
        yield None

    def warning(self) -> str | None:
        """One line about damage, or None."""
        told = [f"{count} damaged packet{'s' if count > 1 else ''} {what}"
                for count, what in ((self.damaged, "skipped"), (self.partial, "shown as far as possible")) if count]
        return ", ".join(told) or None

    def _decode(self, packet: Any) -> list[Any]:
        try:
            frames = self._stream.codec_context.decode(packet)
        except EOFError:
            return []
        except Exception:
            self.damaged += 1
            return []
        return [f for f in frames if f.width > 0 and f.height > 0]


class Stamps:
    """Reads the timestamps of one stream's frames.

    A container without presentation times (AVI) still says when each packet is decoded; frames come out of the decoder
    in step with that, so it serves as well, up to a constant. Once a presentation time has been seen only those count.

    Args:
        time_base: seconds per unit where the frame does not say.
        interval_s: nominal seconds between frames.
    """

    def __init__(self, time_base: Fraction | None, interval_s: float) -> None:
        self._base = time_base
        self._interval = Fraction(interval_s).limit_denominator(1_000_000)
        self._by_packet: bool | None = None
        self._last: Fraction | None = None

    def __call__(self, frame: Any) -> Fraction | None:
        """Seconds on the stream's own clock, or None where the frame has no time."""
        base = frame.time_base or self._base
        if not base:
            return None
        if frame.pts is not None:
            self._by_packet = False
            return frame.pts * Fraction(base)
        if self._by_packet is None and frame.dts is not None:
            self._by_packet = True
        if not self._by_packet:
            return None
        if frame.dts is not None:
            self._last = frame.dts * Fraction(base)
        elif self._last is not None:  # the last ones come out without a packet going in
            self._last += self._interval
        return self._last

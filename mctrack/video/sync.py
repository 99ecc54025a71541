"""Frames of all cameras, matched by time: each frame in exactly one instant."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence

from mctrack.config import VideoConfig
from mctrack.errors import SourceError, redact
from mctrack.types import Frame, Instant
from mctrack.video.matching import SLACK, group, ranks
from mctrack.video.source import VideoSource

_PATIENCE = 2.0
"""A live camera is waited for so many of its frame intervals."""
_JOIN_S = 0.8


def instants(sources: Sequence[VideoSource], config: VideoConfig) -> Iterator[Instant]:
    """Yield the frames of all cameras grouped by time; deterministic as long as all sources are files.

    Every frame of a file appears exactly once, at most one frame of a camera per instant, in the cameras' order; the
    instants' times (that of their earliest frame) never decrease. A camera that starts late, ends early or has
    gaps holds nobody up. Live cameras are waited for two of their frame intervals, and when the consumer is too slow
    their oldest frames are dropped and counted; files among them go at the pace of the clock.

    Each source is read ahead in a thread of its own. Close the generator (``contextlib.closing``) to stop the
    threads; that closes the sources too.

    Args:
        sources: the cameras; their reports stay valid afterwards.
        config: ``queue`` frames are read ahead; ``match_tolerance_s`` bounds how far a frame may be from the one
            that its instant is built around (default: half the shortest frame interval, plus slack for jitter).

    Raises:
        SourceError: a camera failed before its first frame. One that fails later only ends, with a warning.
    """
    lock = threading.Lock()
    arrived = threading.Condition(lock)
    # Two frames ahead at least: matching looks at each camera's next frame and the one after.
    feeds = [_Feed(source, max(config.queue, 2), lock, arrived) for source in sources]
    merge = _Merge(feeds, config, arrived)
    try:
        for feed in feeds:
            feed.start()
        while True:
            frames = merge.next_frames()
            if not frames:
                return
            yield Instant(merge.time_s, frames)
    finally:
        _stop(feeds)


class _Feed:
    """Reads one source in a thread into a bounded queue: a file waits for room, a live camera drops the oldest."""

    def __init__(self, source: VideoSource, limit: int, lock: threading.Lock, arrived: threading.Condition) -> None:
        self.source = source
        self.queue: deque[Frame] = deque()
        self.done = False
        self.error: BaseException | None = None
        self.given = 0
        self.overrun = False
        self._limit = limit
        self._arrived = arrived
        self._room = threading.Condition(lock)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"feed {source.spec.name}", daemon=True)

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def _run(self) -> None:
        try:
            frames = iter(self.source)
            try:
                for frame in frames:
                    if not self._put(frame):
                        break
            finally:
                # In this thread: closing a decoder while it decodes would crash.
                getattr(frames, "close", lambda: None)()
        except BaseException as error:
            self.error = error
        finally:
            with self._room:
                self.done = True
                self._arrived.notify_all()

    def _put(self, frame: Frame) -> bool:
        with self._room:
            if self.source.live:
                if len(self.queue) >= self._limit:
                    self.drop()
                    self.overrun = True
            else:
                while len(self.queue) >= self._limit and not self._stopped:
                    self._room.wait()
            if self._stopped:
                return False
            self.queue.append(frame)
            self._arrived.notify_all()
            return True

    def drop(self) -> None:
        """Throw the oldest frame away."""
        self.queue.popleft()
        self.source.add_dropped(1)

    def take(self) -> Frame:
        """Remove the oldest frame; the lock is held."""
        self.given += 1
        self.overrun = False
        self._room.notify()
        return self.queue.popleft()

    def stop(self) -> None:
        """Ask the thread to end."""
        with self._room:
            self._stopped = True
            self._room.notify_all()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)


def _stop(feeds: Sequence[_Feed]) -> None:
    for feed in feeds:
        feed.stop()
    # Closing a live source waits a little for its own thread: all side by side.
    closers = [threading.Thread(target=feed.source.close, daemon=True) for feed in feeds]
    for closer in closers:
        closer.start()
    due_s = time.monotonic() + _JOIN_S
    for closer in closers:
        closer.join(max(due_s - time.monotonic(), 0.0))
    for feed in feeds:
        feed.join(max(due_s - time.monotonic(), 0.0))


class _Merge:
    """Takes groups of frames off the feeds."""

    def __init__(self, feeds: Sequence[_Feed], config: VideoConfig, arrived: threading.Condition) -> None:
        fps = [feed.source.fps for feed in feeds]
        interval_s = 1 / max(fps, default=1.0)
        self._feeds = feeds
        self._arrived = arrived
        self._rank = ranks(fps)
        self._slack_s = SLACK * interval_s
        tolerance_s = config.match_tolerance_s
        self._tolerance_s = (interval_s + self._slack_s) / 2 if tolerance_s is None else tolerance_s
        self.time_s = float("-inf")

    def next_frames(self) -> tuple[Frame, ...]:
        """The frames of the next instant; empty at the end. Sets :attr:`time_s`."""
        with self._arrived:
            while (wait_s := self._must_wait()) != 0:
                self._arrived.wait(wait_s)
            self._raise_errors()
            self._catch_up()
            heads = [feed.queue[0].time_s if feed.queue else None for feed in self._feeds]
            following = [feed.queue[1].time_s if len(feed.queue) > 1 else None for feed in self._feeds]
            chosen = group(heads, following, self._rank, self._tolerance_s, self._slack_s)
            frames = tuple(self._feeds[i].take() for i in chosen)
        if frames:
            # A live frame may come late; time itself never runs backwards.
            self.time_s = max(self.time_s, min(frame.time_s for frame in frames))
        return frames

    def _must_wait(self) -> float | None:
        """Seconds to wait for frames that may belong to the next instant; 0: go on, None: until one arrives."""
        silent = []
        for feed in self._feeds:
            if feed.done:
                continue
            if not feed.source.live and len(feed.queue) < 2:
                return None
            if feed.source.live and not feed.queue:
                silent.append(feed)
        if not silent:
            return 0
        heads = [feed.queue[0].time_s for feed in self._feeds if feed.queue]
        if not heads:
            return None
        due_s = [min(heads) + _PATIENCE / feed.source.fps - feed.source.now() for feed in silent]
        return max(0, *due_s)

    def _raise_errors(self) -> None:
        for feed in self._feeds:
            error, feed.error = feed.error, None
            if error is None:
                continue
            if not isinstance(error, Exception):
                raise error
            text = redact(str(error)) or type(error).__name__
            if feed.given or feed.queue:
                feed.source.warn(f"stopped by an error: {text}")
            elif isinstance(error, SourceError):
                raise error
            else:
                raise SourceError(f"camera '{feed.source.spec.name}' cannot be read: {text}") from error

    def _catch_up(self) -> None:
        """When live frames were dropped the consumer is too slow: go on at a moment that all live cameras share."""
        live = [feed for feed in self._feeds if feed.source.live and feed.queue]
        if not any(feed.overrun for feed in live):
            return
        moment_s = max(feed.queue[0].time_s for feed in live)
        for feed in live:
            while len(feed.queue) > 1 and (abs(feed.queue[1].time_s - moment_s) < abs(feed.queue[0].time_s - moment_s)):
                feed.drop()

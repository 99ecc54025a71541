"""The only per-frame loop: frames in, tracks with identities out, for every use.

Work is staged in threads that overlap: sources decode ahead, one thread finds and describes people, this loop follows
and names them, sinks write behind their own queues. What each instant needs from a stage with memory (a detector's
background, the camera's motion) travels with the instant, so a checkpoint is one consistent moment.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np

from mctrack.associate import Associator, CameraView
from mctrack.detect import Detector
from mctrack.embed.crops import crop_quality
from mctrack.errors import OutputError
from mctrack.meter import Meter
from mctrack.sinks import Sink
from mctrack.track import Tracker
from mctrack.types import Detections, FloatArray, Frame, Instant, InstantResult, State, Tracks

AHEAD = 4
CHECKPOINT_EVERY = 16
"""Only every so manieth instant carries the state of the stages before the trackers."""
_END = object()
T = TypeVar("T")


class FrameEmbedder(Protocol):
    """Describes all people of all cameras in one batch."""

    def embed(self, frames: Sequence[Frame], detections: Sequence[Detections]) -> list[Detections]:
        """The detections with embeddings."""
        ...


class Locator(Protocol):
    """Knows where on the floor people in a calibrated camera stand."""

    def locate(self, frame: Frame, xyxy: FloatArray) -> tuple[FloatArray, FloatArray] | None:
        """(n, 2) metres, NaN where unknown, and (n, 2, 2) covariances in m²; None: the camera is not calibrated."""
        ...


class MotionEstimator(Protocol):
    """Estimates one camera's own motion between pictures."""

    def estimate(self, frame: Frame, exclude_xyxy: FloatArray | None) -> FloatArray:
        """(2, 3) map of the previous picture to this one."""
        ...

    def state(self) -> State:
        """What restore needs."""
        ...

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        ...


@dataclass
class Stages:
    """The parts of one run.

    Attributes:
        detector, embedder, trackers (by camera), associator: as their rooms describe them; embedder None: motion only.
        motion: camera-motion estimators by camera, empty where not wanted.
        next_frame: filled as the run goes: each camera's first frame that was not followed yet.
        seconds: filled as the run goes: CPU seconds of this loop's own work per stage, and wall seconds of the
            detector and embedder (networks compute in threads of their own).
        meter: told when detector and embedder are at work.
        locator: where people stand, in a run with calibration.
    """

    detector: Detector
    embedder: FrameEmbedder | None
    trackers: Mapping[str, Tracker]
    associator: Associator
    motion: Mapping[str, MotionEstimator] = field(default_factory=dict)
    next_frame: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)
    locator: Locator | None = None

    @contextmanager
    def timed(self, stage: str, clock: Callable[[], float] = time.thread_time) -> Iterator[None]:
        """Add the time of a block to a stage."""
        begin = clock()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + clock() - begin

    def state(self, perception: State) -> State:
        """Everything a resumed run needs; ``perception`` is what travelled with the instant."""
        return {
            "perception": perception, "associator": self.associator.state(), "next_frame": dict(self.next_frame),
            "trackers": {name: tracker.state() for name, tracker in self.trackers.items()},
        }

    def restore(self, state: State) -> None:
        """Take up a saved state.

        Raises:
            OutputError: a version of mctrack saved it that remembered other things.
        """
        try:
            self.detector.restore(state["perception"]["detector"])
            for name, estimator in self.motion.items():
                estimator.restore(state["perception"]["motion"][name])
            for name, tracker in self.trackers.items():
                tracker.restore(state["trackers"][name])
            self.associator.restore(state["associator"])
            self.next_frame = dict(state["next_frame"])
        except KeyError as error:
            raise OutputError(f"the saved state has no {error}: another version of mctrack wrote it; go on with that "
                              "version, or start the run afresh in another folder") from error


@dataclass(frozen=True, eq=False)
class Perceived:
    """One instant after detector and embedder; ``state`` is theirs right after it (None on most instants)."""

    instant: Instant
    detections: tuple[Detections, ...]
    quality: tuple[FloatArray, ...]
    warps: tuple[FloatArray | None, ...]
    state: State | None


@dataclass(frozen=True)
class LoopEnd:
    """How far :func:`run_loop` got: ``done`` instants, skipped ones included; ``complete``: there are no more."""

    done: int
    complete: bool


def run_loop(
    instants: Iterable[Instant],
    stages: Stages,
    sinks: Sequence[Sink],
    *,
    checkpoint: Callable[[int, State], None] | None = None,
    checkpoint_s: float = 5.0,
    replay: Callable[[int, Instant], None] | None = None,
    skip: int = 0,
    stop: threading.Event | None = None,
) -> LoopEnd:
    """Run until the instants end or ``stop`` is set, then name what still waits.

    Args:
        instants: frames matched by time.
        stages: the parts; restored beforehand when resuming.
        sinks: take every result.
        checkpoint: saves a state with the number of instants done; called every ``checkpoint_s`` seconds of wall time.
        replay: gets the first ``skip`` instants, whose results an earlier attempt has already written.
        skip: instants done by that attempt.
        stop: ends the loop after the current instant.
    """
    stop = stop or threading.Event()
    source = _Source(instants, skip, replay, stop)
    done, last_saved = skip, time.monotonic()
    perceived = ahead(_perceive(source, stages, skip), AHEAD, stop)
    try:
        for seen in perceived:
            _hand_over(_follow(seen, stages), stages, sinks)
            done += 1
            due = time.monotonic() - last_saved >= checkpoint_s
            if checkpoint is not None and seen.state is not None and due:
                with stages.timed("checkpoint"):
                    checkpoint(done, stages.state(seen.state))
                last_saved = time.monotonic()
            if stop.is_set():
                break
    finally:
        perceived.close()
    links = stages.associator.finish()
    if links:
        _hand_over(InstantResult(Instant(max(link.time_s for link in links), ()), (), (), links), stages, sinks)
    return LoopEnd(done, source.exhausted and done >= source.count)


def _hand_over(result: InstantResult, stages: Stages, sinks: Sequence[Sink]) -> None:
    with stages.timed("hand_over"):
        for sink in sinks:
            sink.write(result)


class _Source:
    """Passes the first ``skip`` instants to ``replay``, gives the rest, and knows whether that was all of them."""

    def __init__(
        self, instants: Iterable[Instant], skip: int, replay: Callable[[int, Instant], None] | None,
        stop: threading.Event,
    ) -> None:
        self._instants, self._skip, self._replay, self._stop = instants, skip, replay, stop
        self.count = 0
        self.exhausted = False

    def __iter__(self) -> Iterator[Instant]:
        source = iter(self._instants)
        try:
            for instant in source:
                if self._stop.is_set():
                    return
                self.count += 1
                if self.count > self._skip:
                    yield instant
                elif self._replay is not None:
                    self._replay(self.count, instant)
            self.exhausted = True
        finally:
            getattr(source, "close", lambda: None)()


def _perceive(instants: Iterable[Instant], stages: Stages, done: int) -> Iterator[Perceived]:
    """Find and describe the people of every instant, all cameras at once."""
    source = iter(instants)
    number = done
    try:
        while True:
            with stages.timed("match"):
                instant = next(source, None)
            if instant is None:
                return
            number += 1
            frames = instant.frames
            if stages.detector.needs_images:
                frames = tuple(f for f in frames if f.image is not None)
            found = _find(frames, stages)
            with stages.timed("crops"):
                quality = tuple(crop_quality(d, f.size) for f, d in zip(frames, found, strict=True))
            with stages.timed("camera_motion", time.perf_counter):
                warps = tuple(_warp(stages.motion.get(f.camera), f, d) for f, d in zip(frames, found, strict=True))
            state = _perception_state(stages) if number % CHECKPOINT_EVERY == 0 else None
            yield Perceived(Instant(instant.time_s, frames), tuple(found), quality, warps, state)
    finally:
        getattr(source, "close", lambda: None)()


def _find(frames: Sequence[Frame], stages: Stages) -> Sequence[Detections]:
    """Detections with embeddings, one per frame."""
    if not frames:
        return ()
    with stages.timed("detect", time.perf_counter), stages.meter.busy():
        found = stages.detector.detect(frames)
    if stages.embedder is None:
        return found
    with stages.timed("embed", time.perf_counter), stages.meter.busy():
        return stages.embedder.embed(frames, found)


def _warp(estimator: MotionEstimator | None, frame: Frame, found: Detections) -> FloatArray | None:
    return None if estimator is None else estimator.estimate(frame, found.xyxy)


def _perception_state(stages: Stages) -> State:
    return {
        "detector": stages.detector.state(),
        "motion": {name: estimator.state() for name, estimator in stages.motion.items()},
    }


def _follow(seen: Perceived, stages: Stages) -> InstantResult:
    """Track every camera, then name the tracks."""
    tracks, views, divided = [], [], []
    with stages.timed("track"):
        for frame, found, warp in zip(seen.instant.frames, seen.detections, seen.warps, strict=True):
            tracks.append(stages.trackers[frame.camera].update(found, frame.time_s, warp))
            stages.next_frame[frame.camera] = frame.index + 1
    with stages.timed("associate"):
        for frame, track, quality in zip(seen.instant.frames, tracks, seen.quality, strict=True):
            of_track = np.where(track.seen, np.append(quality, 0.0)[track.detection_index], 0.0)
            splits = _Splits(stages.trackers[frame.camera])
            places = _places(stages.locator, frame, track)
            views.append(CameraView(frame.camera, track, of_track, *places, splits.split if splits.able else None))
            divided.append(splits)
        links = stages.associator.update(seen.instant.time_s, views)
        tracks = [s.apply(track) for s, track in zip(divided, tracks, strict=True)]
        views = [replace(v, tracks=track) for v, track in zip(views, tracks, strict=True)]
        names = tuple(stages.associator.global_ids(v.camera, v.tracks.track_id) for v in views)
        ground: tuple[FloatArray, ...] = ()
        if stages.locator is not None:
            ground = tuple(stages.associator.ground(v.camera, v.tracks.track_id) for v in views)
    return InstantResult(seen.instant, tuple(tracks), names, links, ground)


class _Splits:
    """Tracks of one camera that got a new ID at this instant, because the associator asked for it."""

    def __init__(self, tracker: object) -> None:
        self._split = getattr(tracker, "split", None)
        self._new: dict[int, int] = {}

    @property
    def able(self) -> bool:
        """Whether this kind of tracker can split its tracks."""
        return self._split is not None

    def split(self, track_id: int) -> int:
        """A new ID for a track."""
        assert self._split is not None
        self._new[track_id] = self._split(track_id)
        return self._new[track_id]

    def apply(self, tracks: Tracks) -> Tracks:
        """The tracks under their new IDs."""
        if not self._new:
            return tracks
        return replace(tracks, track_id=np.array([self._new.get(t, t) for t in tracks.track_id.tolist()], np.int64))


def _places(locator: Locator | None, frame: Frame, tracks: Tracks) -> tuple[FloatArray | None, FloatArray | None]:
    return (None, None) if locator is None else locator.locate(frame, tracks.xyxy) or (None, None)


def ahead(items: Iterator[T], limit: int, stop: threading.Event) -> Generator[T, None, None]:
    """Compute an iterator in a thread of its own, at most ``limit`` items ahead; its errors are raised here.

    Ends early once ``stop`` is set, without waiting for an item in the making.
    """
    worker = _Worker(items, limit)
    thread = threading.Thread(target=worker.work, name="perceive", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = worker.ready.get(timeout=0.1)
            except queue.Empty:
                if stop.is_set():
                    return
                continue
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]
    finally:
        worker.closed.set()
        thread.join(1.0)


class _Worker:
    """Fills a bounded queue from an iterator, until that ends, fails, or nobody wants more."""

    def __init__(self, items: Iterator[object], limit: int) -> None:
        self.ready: queue.Queue[object] = queue.Queue(limit)
        self.closed = threading.Event()
        self._items = items

    def work(self) -> None:
        """The thread; what ends it is the last thing in the queue."""
        try:
            for item in self._items:
                if not self._put(item):
                    break
            self._put(_END)
        except BaseException as error:
            self._put(error)
        finally:
            getattr(self._items, "close", lambda: None)()

    def _put(self, item: object) -> bool:
        while not self.closed.is_set():
            try:
                self.ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

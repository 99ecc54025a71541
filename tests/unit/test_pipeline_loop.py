"""The per-frame loop with stand-ins for its stages: order, checkpoints, replay, stopping, errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from mctrack.associate import CameraView
from mctrack.config import TrackConfig
from mctrack.pipeline import AHEAD, CHECKPOINT_EVERY, Stages, ahead, run_loop
from mctrack.track.camera_tracker import CameraTracker
from mctrack.types import Detections, Frame, Instant, InstantResult, IntArray, Link, State

SIZE = (64, 48)


class Detector:
    """One box that moves with the frame number, and a memory of how many frames it has seen."""

    description = "stand-in"
    needs_images = True

    def __init__(self) -> None:
        self.seen = 0
        self.batches: list[list[str]] = []

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.seen += len(frames)
        self.batches.append([f.camera for f in frames])
        return [Detections(np.array([[f.index, 5.0, f.index + 10, 35.0]]), np.array([0.9])) for f in frames]

    def state(self) -> State:
        return {"seen": self.seen}

    def restore(self, state: State) -> None:
        self.seen = state["seen"]


class Associator:
    """Names every track after itself; one link at the end."""

    def __init__(self) -> None:
        self.times_s: list[float] = []

    def update(self, time_s: float, views: Sequence[CameraView]) -> tuple[Link, ...]:
        self.times_s.append(time_s)
        return ()

    def finish(self) -> tuple[Link, ...]:
        return (Link(self.times_s[-1], "a", 1, 1, "new"),) if self.times_s else ()

    def global_ids(self, camera: str, track_id: IntArray) -> IntArray:
        return track_id.copy()

    def state(self) -> State:
        return {"times_s": list(self.times_s)}

    def restore(self, state: State) -> None:
        self.times_s = list(state["times_s"])


class Sink:
    def __init__(self) -> None:
        self.results: list[InstantResult] = []

    def write(self, result: InstantResult) -> None:
        self.results.append(result)

    def close(self) -> None:
        """Nothing to finish."""


def frame(camera: str, index: int, picture: bool = True) -> Frame:
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8) if picture else None
    return Frame(camera, index, index / 10, image, SIZE)


def moments(count: int, cameras: Sequence[str] = ("a", "b")) -> list[Instant]:
    return [Instant(k / 10, tuple(frame(c, k) for c in cameras)) for k in range(count)]


def stages(cameras: Sequence[str] = ("a", "b")) -> Stages:
    return Stages(Detector(), None, {c: CameraTracker(TrackConfig()) for c in cameras}, Associator())


def boxes(results: Sequence[InstantResult]) -> list[Any]:
    return [(r.instant.time_s, [(t.track_id.tolist(), t.xyxy.tolist()) for t in r.tracks], len(r.links))
            for r in results]


def test_every_instant_reaches_every_sink_in_order() -> None:
    parts, first, second = stages(), Sink(), Sink()
    end = run_loop(moments(30), parts, [first, second])
    assert (end.done, end.complete) == (30, True)
    assert boxes(first.results) == boxes(second.results)
    assert [r.instant.time_s for r in first.results[:30]] == [k / 10 for k in range(30)]
    assert parts.detector.batches == [["a", "b"]] * 30  # type: ignore[attr-defined]
    assert parts.next_frame == {"a": 30, "b": 30}
    last = first.results[-1]
    assert last.instant.frames == ()
    assert last.instant.time_s == pytest.approx(2.9)
    assert [k.kind for k in last.links] == ["new"]


def test_frames_without_picture_reach_only_detectors_that_need_none() -> None:
    mixed = [Instant(0.0, (frame("a", 0), frame("b", 0, picture=False)))]
    parts, sink = stages(), Sink()
    run_loop(mixed, parts, [sink])
    assert parts.detector.batches == [["a"]]  # type: ignore[attr-defined]
    assert [f.camera for f in sink.results[0].instant.frames] == ["a"]
    parts, sink = stages(), Sink()
    parts.detector.needs_images = False
    run_loop(mixed, parts, [sink])
    assert [f.camera for f in sink.results[0].instant.frames] == ["a", "b"]


def test_an_instant_without_any_picture_asks_no_detector() -> None:
    parts, sink = stages(), Sink()
    end = run_loop([Instant(0.0, (frame("a", 0, picture=False),)), *moments(3)[1:]], parts, [sink])
    assert end.complete
    assert len(parts.detector.batches) == 2  # type: ignore[attr-defined]
    assert sink.results[0].tracks == ()


def test_nothing_to_do() -> None:
    sink = Sink()
    end = run_loop([], stages(), [sink])
    assert (end.done, end.complete, sink.results) == (0, True, [])


def test_any_checkpoint_goes_on_to_the_same_end() -> None:
    """The detector runs ahead of the loop; its state must be the one that belongs to the instant."""
    saved: list[tuple[int, State]] = []
    whole, sink = stages(), Sink()
    run_loop(moments(100), whole, [sink], checkpoint=lambda n, s: saved.append((n, s)), checkpoint_s=0.0)
    assert [n for n, _ in saved] == list(range(CHECKPOINT_EVERY, 101, CHECKPOINT_EVERY))
    for number, state in saved:
        assert state["perception"]["detector"]["seen"] == 2 * number
        assert state["next_frame"] == {"a": number, "b": number}
        again, rest, replayed = stages(), Sink(), []
        again.restore(state)
        end = run_loop(moments(100), again, [rest], skip=number, replay=lambda n, i, to=replayed: to.append((n, i)))
        assert end.complete
        assert end.done == 100
        assert boxes(rest.results) == boxes(sink.results[number:])
        assert [n for n, _ in replayed] == list(range(1, number + 1))
        assert again.associator.state() == whole.associator.state()
        assert again.next_frame == whole.next_frame


def test_checkpoints_keep_their_distance_in_time() -> None:
    saved: list[int] = []
    run_loop(moments(100), stages(), [], checkpoint=lambda n, s: saved.append(n), checkpoint_s=60.0)
    assert saved == []


def test_stopping_ends_after_the_current_instant_and_names_the_rest() -> None:
    stop = threading.Event()

    class Stopper(Sink):
        def write(self, result: InstantResult) -> None:
            super().write(result)
            if len(self.results) == 10:
                stop.set()

    sink = Stopper()
    end = run_loop(moments(1000), stages(), [sink], stop=stop)
    assert (end.done, end.complete) == (10, False)
    assert len(sink.results) == 11
    assert sink.results[-1].links


def test_a_stop_after_the_last_instant_is_no_interruption() -> None:
    stop = threading.Event()

    class Stopper(Sink):
        def write(self, result: InstantResult) -> None:
            if result.instant.frames and result.instant.frames[0].index == 4:
                time.sleep(0.2)  # meanwhile the other thread finds that there is no more
                stop.set()

    end = run_loop(moments(5), stages(), [Stopper()], stop=stop)
    assert (end.done, end.complete) == (5, True)


def test_stopping_does_not_wait_for_a_slow_detector() -> None:
    parts, stop, entered = stages(), threading.Event(), threading.Event()

    def slow(frames: Sequence[Frame]) -> list[Detections]:
        entered.set()
        time.sleep(3.0)
        return [Detections.empty() for _ in frames]

    parts.detector.detect = slow  # type: ignore[method-assign]
    threading.Thread(target=lambda: (entered.wait(), stop.set())).start()
    began = time.monotonic()
    end = run_loop(moments(5), parts, [], stop=stop)
    assert time.monotonic() - began < 2.0
    assert not end.complete


def test_stopping_ends_a_long_replay() -> None:
    stop, replayed = threading.Event(), []

    def replay(number: int, instant: Instant) -> None:
        replayed.append(number)
        if number == 5:
            stop.set()

    end = run_loop(moments(100), stages(), [], skip=90, replay=replay, stop=stop)
    assert replayed == [1, 2, 3, 4, 5]
    assert (end.done, end.complete) == (90, False)


@pytest.mark.parametrize("where", ["source", "detector", "sink"])
def test_errors_end_the_loop_and_are_raised_as_they_are(where: str) -> None:
    parts, closed = stages(), []

    def source() -> Iterator[Instant]:
        try:
            for k, instant in enumerate(moments(1000)):
                if where == "source" and k == 20:
                    raise ZeroDivisionError("here")
                yield instant
        finally:
            closed.append(True)

    class Failing(Sink):
        def write(self, result: InstantResult) -> None:
            super().write(result)
            if where == "sink" and len(self.results) == 20:
                raise ZeroDivisionError("here")

    detect = parts.detector.detect

    def failing(frames: Sequence[Frame]) -> list[Detections]:
        if where == "detector" and frames[0].index == 20:
            raise ZeroDivisionError("here")
        return detect(frames)

    parts.detector.detect = failing  # type: ignore[method-assign]
    sink = Failing()
    with pytest.raises(ZeroDivisionError, match="here"):
        run_loop(source(), parts, [sink])
    assert len(sink.results) == 20
    assert closed == [True]


def test_running_ahead_is_bounded_and_closes_its_source() -> None:
    made, closed = [], threading.Event()

    def source() -> Iterator[int]:
        try:
            for k in range(1000):
                made.append(k)
                yield k
        finally:
            closed.set()

    before = set(threading.enumerate())
    items = ahead(source(), AHEAD, threading.Event())
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    time.sleep(0.3)
    assert len(made) <= 3 + AHEAD + 1
    items.close()
    assert closed.wait(1.0)
    assert not set(threading.enumerate()) - before


def test_time_is_accounted_for_by_stage() -> None:
    parts = stages()
    began = time.perf_counter()
    run_loop(moments(50), parts, [Sink()])
    took_s = time.perf_counter() - began
    assert {"match", "detect", "crops", "track", "associate", "hand_over"} <= set(parts.seconds)
    assert all(0 <= s <= took_s for s in parts.seconds.values())
    assert 0 < parts.meter.busy_s <= took_s

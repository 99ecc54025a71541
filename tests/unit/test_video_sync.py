"""Matching by time with threads and real files; the matching rule itself is tested in test_video_matching.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from video_clips import read_number, write_clip

from mctrack.config import VideoConfig
from mctrack.errors import SourceError
from mctrack.types import Frame, Instant
from mctrack.video.cameras import parse_cameras
from mctrack.video.reader import open_sources
from mctrack.video.source import BaseSource
from mctrack.video.spec import CameraSpec
from mctrack.video.sync import instants


class FakeSource(BaseSource):
    """Frames at given times; a live one gives them at those times of the clock."""

    def __init__(self, name: str, times_s: list[float], fps: float = 25, *, live: bool = False,
                 error: Exception | None = None, delay_s: float = 0.0) -> None:
        super().__init__(CameraSpec(name, name, "stream" if live else "file"), VideoConfig())
        self.times_s, self.fps, self.error, self.delay_s = times_s, fps, error, delay_s
        self.zero = time.monotonic()
        self.read = 0
        self.threads: set[str] = set()

    def now(self) -> float:
        return time.monotonic() - self.zero if self.live else float("inf")

    def close(self) -> None:
        self._stop.set()

    def __iter__(self) -> Iterator[Frame]:
        for index, time_s in enumerate(self.times_s):
            if self._stop.wait(max(time_s - self.now(), 0) if self.live else self.delay_s):
                return
            self.read += 1
            yield Frame(self.spec.name, index, time_s, None, (1, 1))
        if self.error:
            raise self.error


def regular(count: int, fps: float = 25, shift_s: float = 0.0) -> list[float]:
    return [shift_s + k / fps for k in range(count)]


def names(instant: Instant) -> str:
    return "".join(f.camera for f in instant.frames)


def run(sources: list[FakeSource], **config: object) -> list[Instant]:
    return list(instants(sources, VideoConfig(**config)))


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith(("feed", "camera"))]


def test_cameras_of_one_rate_stay_paired() -> None:
    result = run([FakeSource("a", regular(50)), FakeSource("b", regular(50, shift_s=0.016))])
    assert [names(i) for i in result] == ["ab"] * 50
    assert all(i.frames[0].index == i.frames[1].index for i in result)


def test_three_cameras_a_third_of_a_frame_apart_meet_in_every_instant() -> None:
    result = run([FakeSource(n, regular(50, shift_s=k * 0.04 / 3)) for k, n in enumerate("abc")])
    assert {names(i) for i in result[1:-1]} == {"abc"}


def test_half_a_frame_apart_with_jitter_does_not_change_partners(rng: np.random.Generator) -> None:
    a = np.arange(500) * 0.04 + rng.uniform(-0.0009, 0.0009, 500)
    b = np.arange(500) * 0.04 + 0.02 + rng.uniform(-0.0009, 0.0009, 500)
    result = run([FakeSource("a", list(a)), FakeSource("b", list(b))])
    assert len(result) <= 501
    lags = {i.frames[0].index - i.frames[1].index for i in result if len(i.frames) == 2}
    assert len(lags) == 1


def test_different_rates() -> None:
    result = run([FakeSource("a", regular(30, 30), 30), FakeSource("b", regular(10, 10), 10)])
    assert [names(i) for i in result] == ["ab", "a", "a"] * 10


def test_late_start_early_end_and_gap() -> None:
    c = [k / 25 for k in range(100) if not 38 <= k < 75]
    result = run([FakeSource("a", regular(100)), FakeSource("b", regular(20, shift_s=1.0)), FakeSource("c", c)])
    present = [names(i) for i in result]
    assert len(present) == 100
    assert set(present[:25]) == {"ac"}
    assert set(present[25:38]) == {"abc"}  # c's last frame before its gap is number 37, at 1.48 s
    assert set(present[38:45]) == {"ab"}  # b's last frame is at 1.76 s
    assert set(present[45:75]) == {"a"}
    assert set(present[75:]) == {"ac"}


def test_one_camera_and_none() -> None:
    assert len(run([FakeSource("a", regular(10))])) == 10
    assert run([]) == []


def test_a_slow_reader_changes_nothing() -> None:
    def make(delay_s: float) -> list[FakeSource]:
        return [FakeSource("a", regular(40)), FakeSource("b", regular(30, 20, 0.013), 20, delay_s=delay_s)]

    fast, slow = run(make(0.0), queue=2), run(make(0.004), queue=5)
    assert [[(f.camera, f.index) for f in i.frames] for i in fast] == [
        [(f.camera, f.index) for f in i.frames] for i in slow]


def test_reading_ahead_is_bounded() -> None:
    source = FakeSource("a", regular(500))
    with closing(instants([source], VideoConfig(queue=4))) as stream:
        next(stream)
        time.sleep(0.1)
        assert source.read <= 7


def test_a_camera_that_fails_later_ends_with_a_warning() -> None:
    sources = [FakeSource("a", regular(10), error=OSError("disk rtsp://u:pw@host gone")), FakeSource("b", regular(20))]
    result = run(sources)
    assert sum(len(i.frames) for i in result) == 30
    assert sources[0].report().warnings == ("stopped by an error: disk rtsp://***@host gone",)
    assert not sources[0].report().complete


def test_a_camera_that_fails_at_once_is_an_error() -> None:
    with pytest.raises(SourceError, match="camera 'b' cannot be read: disk"):
        run([FakeSource("a", regular(10)), FakeSource("b", [], error=OSError("disk"))])
    with pytest.raises(SourceError, match="beyond"):
        run([FakeSource("a", regular(10)), FakeSource("b", [], error=SourceError("start beyond the end"))])
    assert threads() == []


def test_closing_stops_every_thread() -> None:
    sources = [FakeSource(n, regular(10_000)) for n in "abcd"]
    stream = instants(sources, VideoConfig())
    next(stream)
    assert len(threads()) == 4
    before = time.monotonic()
    stream.close()
    assert time.monotonic() - before < 1
    assert threads() == []


def test_a_consumer_that_raises_stops_every_thread() -> None:
    def consume() -> None:
        with closing(instants([FakeSource(n, regular(10_000)) for n in "ab"], VideoConfig())) as stream:
            for instant in stream:
                raise ZeroDivisionError(str(instant.time_s))

    before = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        consume()
    assert time.monotonic() - before < 1
    assert threads() == []


def test_a_silent_live_camera_holds_nobody_up() -> None:
    a = FakeSource("a", regular(25), live=True)
    b = FakeSource("b", [0.0, 0.04, 5.0], live=True)
    arrivals = []
    with closing(instants([a, b], VideoConfig())) as stream:
        for instant in stream:
            arrivals.append((a.now() - instant.time_s, names(instant)))
            if len(arrivals) == 24:
                break
        began = time.monotonic()
    assert time.monotonic() - began < 1
    assert [n for _, n in arrivals] == ["ab", "ab"] + ["a"] * 22
    # Two intervals of patience, and what a busy machine adds.
    assert np.median([late for late, _ in arrivals]) < 0.15


def test_live_cameras_are_paired_although_they_arrive_apart() -> None:
    sources = [FakeSource(n, regular(20, shift_s=k * 0.012), live=True) for k, n in enumerate("abc")]
    result = run(sources)
    assert sum(len(i.frames) for i in result) == 60
    assert sum(len(i.frames) == 3 for i in result) >= 17


def test_a_slow_consumer_of_live_cameras_gets_fresh_pairs() -> None:
    sources = [FakeSource(n, regular(50, shift_s=k * 0.022), live=True) for k, n in enumerate("ab")]
    late, pairs = [], []
    with closing(instants(sources, VideoConfig(queue=4))) as stream:
        for instant in stream:
            late.append(sources[0].now() - instant.time_s)
            pairs.append(len(instant.frames))
            time.sleep(0.3 if sources[0].now() < 1.8 else 0)
    reports = [s.report() for s in sources]
    assert all(r.dropped > 10 for r in reports)
    assert max(late) < 0.7
    assert pairs[1:5].count(2) >= 3
    assert sum(pairs) + sum(r.dropped for r in reports) == 100


def test_files_among_live_cameras_keep_time_with_them() -> None:
    file, live = FakeSource("f", regular(25)), FakeSource("l", regular(25, shift_s=0.005), live=True)
    result = run([file, live])
    assert sum(len(i.frames) for i in result) == 50
    assert sum(len(i.frames) == 2 for i in result) >= 20


def test_real_files_with_offset_and_other_rates(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 100, 25)
    write_clip(tmp_path / "b.mkv", 60, 20, first=1000)
    write_clip(tmp_path / "c.ts", 50, 25, first=2000)
    specs = parse_cameras([str(tmp_path / "*.*")])
    config = VideoConfig(offset_s={"c": 1.3})
    seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    last_s = -1.0
    for instant in instants(open_sources(specs, config), config):
        assert instant.time_s >= last_s
        last_s = instant.time_s
        order = [f.camera for f in instant.frames]
        assert order == sorted(set(order))
        for frame in instant.frames:
            assert frame.image is not None
            seen[frame.camera].append(read_number(frame.image))
            assert abs(frame.time_s - instant.time_s) <= 0.045
    assert seen == {"a": list(range(100)), "b": list(range(1000, 1060)), "c": list(range(2000, 2050))}
    assert threads() == []


def test_a_file_damaged_in_the_middle_of_a_run(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 100)
    cut = write_clip(tmp_path / "b.mp4", 100, mux={"movflags": "faststart"})
    cut.write_bytes(cut.read_bytes()[:cut.stat().st_size * 2 // 3])
    sources = open_sources(parse_cameras([str(tmp_path / "*.mp4")]), VideoConfig())
    result = list(instants(sources, VideoConfig()))
    reports = [s.report() for s in sources]
    assert sum(len(i.frames) for i in result) == 100 + reports[1].decoded
    assert reports[0].complete
    assert not reports[1].complete
    assert "of the 100 frames" in reports[1].warnings[0]

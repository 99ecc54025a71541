"""Matching by time on cameras of any kind: nothing lost, nothing doubled, nobody starved, nearest partners."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mctrack.config import VideoConfig
from mctrack.types import Frame
from mctrack.video.matching import EPSILON_S, SLACK, group, ranks
from mctrack.video.source import BaseSource
from mctrack.video.spec import CameraSpec
from mctrack.video.sync import instants

Cameras = list[list[float]]


def merge(cameras: Cameras, fps: list[float], tolerance_s: float | None = None) -> list[list[tuple[int, int]]]:
    """Every instant as (camera, frame index) pairs, taken the way ``instants`` takes them."""
    interval_s = 1 / max(fps)
    slack_s = SLACK * interval_s
    reach_s = (interval_s + slack_s) / 2 if tolerance_s is None else tolerance_s
    at = [0] * len(cameras)
    result = []
    while True:
        heads = [c[k] if k < len(c) else None for c, k in zip(cameras, at, strict=True)]
        following = [c[k + 1] if k + 1 < len(c) else None for c, k in zip(cameras, at, strict=True)]
        chosen = group(heads, following, ranks(fps), reach_s, slack_s)
        if not chosen:
            return result
        result.append([(c, at[c]) for c in chosen])
        for camera in chosen:
            at[camera] += 1


@st.composite
def camera_sets(draw: st.DrawFn) -> tuple[Cameras, list[float]]:
    """Up to five cameras: own rate, start, jitter, lost frames, early end."""
    cameras, rates = [], []
    for _ in range(draw(st.integers(1, 5))):
        fps = draw(st.sampled_from([5.0, 10.0, 12.5, 24.0, 25.0, 29.97, 30.0, 60.0]))
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        count = draw(st.integers(0, 60))
        jitter = draw(st.sampled_from([0.0, 0.05, 0.45]))
        kept = rng.random(count) >= draw(st.sampled_from([0.0, 0.1, 0.6]))
        times = draw(st.floats(-1, 3)) + (np.arange(count) + rng.uniform(-jitter, jitter, count)) / fps
        cameras.append([float(t) for t in times[kept]])
        rates.append(fps)
    return cameras, rates


@settings(max_examples=120, deadline=None)
@given(camera_sets(), st.sampled_from([None, 0.0, 0.005, 0.03, 0.2, 5.0]))
def test_each_frame_exactly_once_in_order(drawn: tuple[Cameras, list[float]], tolerance_s: float | None) -> None:
    cameras, fps = drawn
    instants = merge(cameras, fps, tolerance_s)
    seen: list[list[int]] = [[] for _ in cameras]
    for instant in instants:
        order = [camera for camera, _ in instant]
        assert order == sorted(set(order))
        for camera, index in instant:
            seen[camera].append(index)
    assert seen == [list(range(len(c))) for c in cameras]
    starts = [min(cameras[c][k] for c, k in instant) for instant in instants]
    assert starts == sorted(starts)


@settings(max_examples=120, deadline=None)
@given(camera_sets(), st.sampled_from([None, 0.0, 0.005, 0.03, 0.2]))
def test_an_instant_is_built_around_one_frame(drawn: tuple[Cameras, list[float]], tolerance_s: float | None) -> None:
    cameras, fps = drawn
    reach_s = (1 + SLACK) / (2 * max(fps)) if tolerance_s is None else tolerance_s
    for instant in merge(cameras, fps, tolerance_s):
        times = np.array([cameras[c][k] for c, k in instant])
        assert np.abs(times[:, None] - times).max(axis=1).min() <= reach_s + 2 * EPSILON_S


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 5), st.integers(5, 60), st.sampled_from([10.0, 25.0, 30.0]), st.integers(0, 2**32 - 1))
def test_equal_rates_pair_with_the_nearest(count: int, length: int, fps: float, seed: int) -> None:
    """Each frame meets the frames of the first camera that are nearest to it, and keeps that lag."""
    rng = np.random.default_rng(seed)
    shifts = np.r_[0, rng.uniform(-0.5, 0.5, count - 1)] / fps
    cameras = [[float(s + k / fps) for k in range(length)] for s in shifts]
    # Around half a frame both neighbours are as good as equal, and the first pairing is kept.
    clear = [abs(abs(s) * fps - 0.5) > SLACK for s in shifts]
    for instant in merge(cameras, [fps] * count):
        frames = dict(instant)
        for camera, index in instant:
            if 0 in frames and clear[camera]:
                assert index == frames[0]
    for instant in merge(cameras, [fps] * count):
        if (0, length // 2) in instant:
            assert {c for c, _ in instant} >= {c for c in range(count) if clear[c]}


@settings(max_examples=100, deadline=None)
@given(st.floats(0.0, 1.0), st.floats(0, 0.04), st.integers(0, 2**32 - 1))
def test_two_cameras_never_alternate_between_partners(shift: float, jitter: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = np.arange(100) + rng.uniform(-jitter, jitter, 100) / 2
    b = np.arange(100) + shift + rng.uniform(-jitter, jitter, 100) / 2
    instants = merge([list(a / 25), list(b / 25)], [25.0, 25.0])
    lags = [i[0][1] - i[1][1] for i in instants if len(i) == 2]
    assert len(instants) <= 102
    assert np.count_nonzero(np.diff(lags)) <= 1  # at the edge of the slack it may settle on the other one, for good
    nearest = np.abs(a[:, None] - b).min(axis=1)
    apart = [abs(a[i[0][1]] - b[i[1][1]]) for i in instants if len(i) == 2]
    assert max(apart) <= nearest[1:-1].max() + SLACK + 1e-3


@settings(max_examples=100, deadline=None)
@given(camera_sets())
def test_nobody_waits(drawn: tuple[Cameras, list[float]]) -> None:
    """A frame never comes out while an earlier one of another camera still waits, but for its instant's partners."""
    cameras, fps = drawn
    at = [0] * len(cameras)
    for instant in merge(cameras, fps):
        waiting = [c[k] for c, k in zip(cameras, at, strict=True) if k < len(c)]
        assert min(cameras[c][k] for c, k in instant) == min(waiting)
        for camera, _ in instant:
            at[camera] += 1


class TimedSource(BaseSource):
    """Frames without pictures at given times."""

    def __init__(self, name: str, times_s: list[float], fps: float) -> None:
        super().__init__(CameraSpec(name, name, "file"), VideoConfig())
        self.times_s, self.fps = times_s, fps

    def __iter__(self) -> Iterator[Frame]:
        return iter([Frame(self.spec.name, k, t, None, (1, 1)) for k, t in enumerate(self.times_s)])

    def close(self) -> None:
        self._stop.set()


@settings(max_examples=60, deadline=None)
@given(camera_sets(), st.sampled_from([None, 0.03]), st.integers(1, 9))
def test_threads_change_nothing(drawn: tuple[Cameras, list[float]], tolerance_s: float | None, queue: int) -> None:
    cameras, fps = drawn
    sources = [TimedSource(str(k), times, rate) for k, (times, rate) in enumerate(zip(cameras, fps, strict=True))]
    found = instants(sources, VideoConfig(queue=queue, match_tolerance_s=tolerance_s))
    assert [[(int(f.camera), f.index) for f in i.frames] for i in found] == merge(cameras, fps, tolerance_s)

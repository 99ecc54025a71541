"""The tracker of Long et al. 2018: its formulas, and what it does in scenes small enough to follow by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mctrack.config import RunConfig, TrackConfig, load_config
from mctrack.errors import ConfigError
from mctrack.sinks.state import dump_state, load_state
from mctrack.track.camera_tracker import CameraTracker
from mctrack.track.motdt import MotdtOptions, MotdtTracker, suppress, tracklet_confidence
from mctrack.types import Detections, TrackState

RED, BLUE = np.eye(2, 8, dtype=np.float32)


def seen(*people: tuple[float, float, np.ndarray | None]) -> Detections:
    """People of 40 × 100 px: (left edge, score, look)."""
    if not people:
        return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 8), np.float32))
    looks = [p[2] for p in people]
    return Detections(
        np.array([[x, 50.0, x + 40, 150] for x, _, _ in people]), np.array([s for _, s, _ in people]),
        None if looks[0] is None else np.stack(looks),
    )  # fmt: skip


def iou(a: np.ndarray, b: np.ndarray) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_confidence_of_a_tracklet() -> None:
    found = tracklet_confidence(np.array([0, 1, 10, 60, 1]), np.array([2, 5, 5, 5, 1]), 0.05, 2)
    assert found == pytest.approx([1, 1 - math.log(1.05), 1 - math.log(1.5), 0, 0])


def test_suppression_against_a_slow_loop() -> None:
    rng = np.random.default_rng(3)
    for n in (0, 1, 40):
        corner = rng.uniform(0, 100, (n, 2))
        xyxy = np.concatenate([corner, corner + rng.uniform(10, 60, (n, 2))], axis=1)
        score = rng.integers(0, 6, n) / 5  # with ties
        kept: list[int] = []
        for i in sorted(range(n), key=lambda i: (-score[i], i)):
            if all(iou(xyxy[i], xyxy[j]) <= 0.3 for j in kept):
                kept.append(i)
        assert suppress(xyxy, score, 0.3).tolist() == sorted(kept)


def test_a_track_is_confirmed_by_its_second_detection_and_removed_after_thirty_frames_without() -> None:
    tracker = MotdtTracker()
    tracks = tracker.update(seen((100, 0.9, None)), 0.0)
    assert tracks.state.tolist() == [TrackState.TENTATIVE]
    tracks = tracker.update(seen((101, 0.9, None)), 0.1)
    assert (tracks.track_id.tolist(), tracks.state.tolist()) == ([1], [TrackState.CONFIRMED])
    for k in range(2, 32):  # its prediction stays a candidate while 0.9 · (1 − log(1 + 0.05 L)) ≥ 0.4, up to L = 14
        tracks = tracker.update(seen(), k / 10)
        assert tracks.detection_index.tolist() == [-1]
        assert tracks.state.tolist() == [TrackState.CONFIRMED if k - 1 <= 14 else TrackState.LOST]
    assert len(tracker.update(seen(), 3.2)) == 0


def test_what_was_missed_once_while_tentative_is_gone_and_weak_detections_start_nothing() -> None:
    tracker = MotdtTracker()
    tracker.update(seen((100, 0.9, None)), 0.0)
    assert len(tracker.update(seen(), 0.1)) == 0
    assert len(tracker.update(seen((100, 0.59, None)), 0.2)) == 0
    assert tracker.update(seen((100, 0.6, None)), 0.3).track_id.tolist() == [2]


def test_a_lost_track_returns_by_its_looks_only() -> None:
    for look, same in ((RED, True), (BLUE, False)):
        tracker = MotdtTracker()
        for k in range(5):
            tracker.update(seen((100, 0.9, RED)), k / 10)
        for k in range(5, 25):
            tracker.update(seen(), k / 10)
        for k in range(25, 27):
            tracks = tracker.update(seen((102, 0.9, look)), k / 10)
        assert (1 in tracks.track_id[tracks.seen].tolist()) is same
        assert tracks.seen.sum() == 1


def test_looks_decide_where_boxes_cannot() -> None:
    """Two people change places between two frames: overlap alone would swap them."""
    tracker = MotdtTracker(TrackConfig(method="motdt", options={"gate": 1e9}))
    for k in range(5):
        tracks = tracker.update(seen((100, 0.9, RED), (160, 0.9, BLUE)), k / 10)
    assert tracks.track_id.tolist() == [1, 2]
    tracks = tracker.update(seen((100, 0.9, BLUE), (160, 0.9, RED)), 0.5)
    assert tracks.detection_index.tolist() == [1, 0]


def test_a_prediction_outlives_a_weak_detection_beside_it() -> None:
    """The stronger candidate wins the place: a shifted box of low score does not drag the track along."""
    tracker = MotdtTracker()
    for k in range(5):
        tracker.update(seen((100, 0.9, None)), k / 10)
    tracks = tracker.update(seen((112, 0.5, None)), 0.5)
    assert tracks.detection_index.tolist() == [-1]
    assert tracks.state.tolist() == [TrackState.CONFIRMED]
    assert tracks.xyxy[0, 0] == pytest.approx(100, abs=1)


def test_saved_and_restored_it_goes_on_the_same() -> None:
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(6, 8)).astype(np.float32)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    frames = []
    for k in range(60):
        there = [i for i in range(6) if rng.random() > 0.2]
        frames.append(seen(*[(60.0 * i + 2 * k, float(rng.uniform(0.3, 1)), looks[i]) for i in there]))
    whole, first = MotdtTracker(), MotdtTracker()
    expected = [whole.update(f, k / 10) for k, f in enumerate(frames)]
    for k, frame in enumerate(frames[:30]):
        first.update(frame, k / 10)
    second = MotdtTracker()
    second.restore(load_state(dump_state(first.state())))
    for k, frame in enumerate(frames[30:], 30):
        tracks = second.update(frame, k / 10)
        for name in ("track_id", "xyxy", "state", "detection_index"):
            assert np.array_equal(getattr(tracks, name), getattr(expected[k], name))
    assert {i for t in expected for i in t.track_id.tolist()} >= set(range(1, 7))


def test_memory_is_bounded() -> None:
    tracker = MotdtTracker(TrackConfig(options={"gallery": 5}, max_tracks=10))
    for k in range(40):
        tracker.update(seen(*[(50.0 * i, 0.9, RED) for i in range(14)]), k / 10)
    assert len(tracker.active) == 10
    assert {len(rows) for rows in tracker.gallery.values()} == {5}


def test_the_preset_has_the_papers_numbers_and_wrong_options_are_named() -> None:
    config = load_config(RunConfig, ["motdt"])
    assert config.track.method == "motdt"
    assert MotdtTracker(config.track).options == MotdtOptions()
    with pytest.raises(ConfigError, match=r"unknown key 'apearance' .did you mean 'appearance'"):
        MotdtTracker(TrackConfig(options={"apearance": 0.5}))
    with pytest.raises(ConfigError, match="'appearance' is for other methods"):
        CameraTracker(TrackConfig(options={"appearance": 0.5}))

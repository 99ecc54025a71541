"""One camera's tracker: looks and re-birth, a camera that moves, both motion models, saving and restoring."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from track_scenes import FPS, NOBODY, Scene, View, follow, play, same, seen

from mctrack.config import TrackConfig
from mctrack.sinks.state import dump_state, load_state
from mctrack.track.camera_tracker import CameraTracker
from mctrack.types import Detections, TrackState

CONFIRMED = TrackState.CONFIRMED
LOOKS = np.eye(4, dtype=np.float32)

# ---------------------------------------------------------------- looks


def test_embeddings_of_this_frame_come_out() -> None:
    tracker = CameraTracker()
    follow(tracker, [seen((100, 200), (400, 200), looks=LOOKS[:2])] * 4)
    out = tracker.update(seen((400, 200), looks=LOOKS[1:2]), 0.4)
    assert out.detection_index.tolist() == [-1, 0]
    np.testing.assert_array_equal(out.embedding, [[0, 0, 0, 0], LOOKS[1]])


def test_nan_embeddings_are_refused_and_zero_rows_mean_unknown() -> None:
    with pytest.raises(ValueError, match="not finite"):
        seen((100, 200), looks=np.full((1, 4), np.nan, np.float32))
    tracker = CameraTracker()
    follow(tracker, [seen((100, 200), looks=LOOKS[:1])] * 3)
    out = follow(tracker, [seen((100, 200), looks=np.zeros((1, 4), np.float32))] * 3, 3)
    assert out[-1].track_id.tolist() == [1]
    np.testing.assert_allclose(tracker.active.embedding, LOOKS[:1], atol=1e-6)
    assert tracker.active.weight[0] == pytest.approx(3 * 0.95)


def test_running_look_by_hand() -> None:
    """Two equally good crops count the same; the mean is put back to length 1."""
    tracker = CameraTracker()
    follow(tracker, [seen((100, 200), looks=LOOKS[:1]), seen((100, 200), looks=LOOKS[1:2])])
    np.testing.assert_allclose(tracker.active.embedding[0], np.array([1, 1, 0, 0]) / np.sqrt(2), atol=1e-4)


def test_embeddings_may_appear_change_and_vanish() -> None:
    """First none, then 4 numbers, then 2 (another embedder after a restart), then none, then an empty array."""
    tracker = CameraTracker()
    wide = np.eye(2, dtype=np.float32)
    empty = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 0), np.float32))
    frames = [
        *[seen((100, 200))] * 4, *[seen((100, 200), looks=LOOKS[:1])] * 3, *[seen((100, 200), looks=wide[:1])] * 3,
        *[seen((100, 200))] * 2, empty, Detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 2), np.float32)),
        seen((100, 200), looks=wide[:1]),
    ]  # fmt: skip
    out = follow(tracker, frames)
    assert [t.track_id.tolist() for t in out] == [[1]] * len(frames)
    assert out[3].embedding is None
    assert [out[i].embedding.shape for i in (4, 7, 14)] == [(1, 4), (1, 2), (1, 2)]  # type: ignore[union-attr]
    np.testing.assert_allclose(tracker.active.embedding, wide[:1])


def test_looks_settle_what_motion_cannot() -> None:
    """Two people meet and part again where nothing but their looks can tell who went where."""
    looks = LOOKS[:2]
    ways = [(300 - max(0, 10 - i) * 12, 300 + max(0, 10 - i) * 12) for i in range(11)]
    ways += [(300, 300)] * 2
    for crossed in (False, True):
        tracker = CameraTracker(TrackConfig(crowd_sigma=0.0, duplicate_iou=2.0))
        follow(tracker, [seen((a, 200), (b, 200), looks=looks) for a, b in ways])
        k = len(ways)
        for i in range(1, 12):
            left, right = (300 - 8 * i, 200), (300 + 8 * i, 200)
            out = tracker.update(seen(*((right, left) if crossed else (left, right)), looks=looks), (k + i) / FPS)
        assert out.track_id[np.argsort(out.detection_index)].tolist() == [1, 2]


def gone_and_back(away_s: float, **options: float) -> list[int]:
    """IDs of one person before and after an absence; a stranger is there all the time."""
    config = replace(TrackConfig(n_init=2, max_age_s=0.5), **options)  # type: ignore[arg-type]
    tracker = CameraTracker(config)
    there, alone = seen((100, 200), (800, 200), looks=LOOKS[:2]), seen((800, 200), looks=LOOKS[1:2])
    before = follow(tracker, [there] * 5)[-1]
    frames = round(away_s * FPS)
    follow(tracker, [alone] * frames, 5)
    after = tracker.update(seen((160, 210), (800, 200), looks=LOOKS[:2]), (5 + frames) / FPS)
    return [int(t.track_id[t.detection_index == 0][0]) for t in (before, after)]


def test_rebirth_through_the_tracker() -> None:
    """Dormant after max_age_s, awake again by its look, removed after rebirth_s."""
    assert gone_and_back(3.0) == [1, 1]
    assert gone_and_back(3.0, rebirth_s=2.0) == [1, 3]
    assert gone_and_back(3.0, rebirth_s=0.0) == [1, 3]
    assert gone_and_back(3.0, rebirth_probability=1.1) == [1, 3]


def test_a_reborn_track_is_confirmed_and_at_the_new_place() -> None:
    tracker = CameraTracker(TrackConfig(n_init=2, max_age_s=0.3))
    follow(tracker, [seen((100, 200), looks=LOOKS[:1])] * 4 + [NOBODY] * 10)
    assert tracker.dormant.track_id.tolist() == [1]
    back = tracker.update(seen((300, 220), looks=LOOKS[:1]), 1.4)
    assert (back.track_id.tolist(), back.state.tolist(), back.time_since_update.tolist()) == ([1], [CONFIRMED], [0.0])
    np.testing.assert_allclose(back.xyxy, seen((300, 220)).xyxy, atol=1e-6)
    assert len(tracker.dormant) == 0
    assert tracker.active.born_s.tolist() == [0.0]


def test_a_stranger_does_not_inherit() -> None:
    tracker = CameraTracker(TrackConfig(n_init=2, max_age_s=0.3))
    follow(tracker, [seen((100, 200), looks=LOOKS[:1])] * 4 + [NOBODY] * 10)
    assert tracker.update(seen((110, 200), looks=LOOKS[3:]), 1.4).track_id.tolist() == [2]


# ---------------------------------------------------------------- a camera that moves


def moving_camera(warped: bool, consensus: bool) -> int:
    """IDs used for five people nearby and three far off, while the picture jumps by a far one's width every second."""
    tracker = CameraTracker(TrackConfig(consensus_motion=consensus))
    offset, used = np.zeros(2), set()
    for i in range(40):
        jump = np.array([30.0, 20]) * (1 if i % 20 == 10 else -1) if i and i % 10 == 0 else np.zeros(2)
        offset = offset + jump
        centre = np.array([[150.0 * k + 2 * i, 200 + 40 * (k % 2)] for k in range(8)]) + offset
        half = np.where(np.arange(8)[:, None] < 5, (40, 100), (12, 30))
        people = Detections(np.concatenate([centre - half, centre + half], axis=1), np.full(8, 0.95))
        warp = np.array([[1, 0, jump[0]], [0, 1, jump[1]]]) if warped else None
        used |= set(tracker.update(people, i / FPS, warp).track_id.tolist())
    return len(used)


def test_camera_warp_and_consensus_carry_tracks_along() -> None:
    """Consensus: those nearby still overlap themselves and show where the others have gone."""
    assert moving_camera(warped=True, consensus=False) == 8
    assert moving_camera(warped=False, consensus=True) == 8
    assert moving_camera(warped=False, consensus=False) > 8


def test_consensus_carries_those_who_left() -> None:
    """Six people stay and move 20 px with the camera, which never says so; the one who left moves with them."""
    tracker = CameraTracker(TrackConfig(n_init=2, max_age_s=0.3))
    looks = np.eye(7, dtype=np.float32)
    people = [(150.0 * k, 200.0) for k in range(7)]
    follow(tracker, [seen(*people, looks=looks)] * 5)
    follow(tracker, [seen(*people[:6], looks=looks[:6])] * 6, 5)
    assert tracker.dormant.track_id.tolist() == [7]
    before = tracker.dormant.box_seen.copy()
    tracker.update(seen(*[(x + 20, y) for x, y in people[:6]], looks=looks[:6]), 1.1)
    np.testing.assert_allclose(tracker.dormant.box_seen - before, [[20, 0, 0, 0]], atol=1)


def test_those_who_left_are_carried_along_too() -> None:
    """The camera pans 900 px while a person is away: only from there can he have walked to where he comes back."""
    tracker = CameraTracker(TrackConfig(n_init=2, max_age_s=0.3))
    follow(tracker, [seen((1000, 200), looks=LOOKS[:1])] * 4 + [NOBODY] * 6)
    for i in range(10, 19):
        tracker.update(NOBODY, i / FPS, np.array([[1.0, 0, -100], [0, 1, 0]]))
    np.testing.assert_allclose(tracker.dormant.box_seen, [[100, 200, 40, 100]])
    assert tracker.update(seen((110, 200), looks=LOOKS[:1]), 1.9).track_id.tolist() == [1]


# ---------------------------------------------------------------- motion models, state


@pytest.mark.parametrize("scene", [Scene(steps=60, jolt_px=25, irregular=True), Scene(steps=60, dim=8, absence=0.5)])
def test_filterpy_gives_the_same_tracks(scene: Scene) -> None:
    kalman, filterpy = CameraTracker(), CameraTracker(TrackConfig(motion="filterpy"))
    for view in play(scene, seed=2):
        a = kalman.update(view.detections, view.time_s)
        same(a, filterpy.update(view.detections, view.time_s), atol=1e-7)


@pytest.mark.parametrize("motion", ["kalman", "filterpy"])
@pytest.mark.parametrize("dim", [0, 8])
def test_state_goes_on_exactly(dim: int, motion: str) -> None:
    """Saved and restored midway, through bytes, the rest is identical to the bit."""
    config = TrackConfig(motion=motion, max_age_s=0.4)
    views: list[View] = list(play(Scene(people=8, steps=90, dim=dim, absence=0.8, irregular=True), seed=4))
    whole = CameraTracker(config)
    for view in views[:50]:
        whole.update(view.detections, view.time_s)
    assert not dim or len(whole.dormant)
    saved = dump_state(whole.state())
    resumed, plain = CameraTracker(config), CameraTracker(config)
    resumed.restore(load_state(saved))
    plain.restore(whole.state())
    for view in views[50:]:
        expected = whole.update(view.detections, view.time_s)
        same(expected, resumed.update(view.detections, view.time_s))
        same(expected, plain.update(view.detections, view.time_s))
    assert dump_state(whole.state()) == dump_state(resumed.state())


def test_state_of_a_fresh_tracker() -> None:
    one, two = CameraTracker(), CameraTracker()
    two.restore(load_state(dump_state(one.state())))
    for view in play(Scene(steps=10), seed=0):
        same(one.update(view.detections, view.time_s), two.update(view.detections, view.time_s))


def test_a_saved_state_is_a_copy() -> None:
    tracker = CameraTracker()
    follow(tracker, [seen((100, 200))] * 4)
    saved = tracker.state()
    before = dump_state(saved)
    follow(tracker, [seen((150, 200))] * 4, 4)
    assert dump_state(saved) == before

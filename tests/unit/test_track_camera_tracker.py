"""One camera's tracker: the life of tracks, what ends and bounds it, odd inputs, looks, saving and restoring."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from track_scenes import Scene, View, play

from mctrack.config import TrackConfig
from mctrack.errors import ConfigError
from mctrack.sinks.state import dump_state, load_state
from mctrack.track.camera_tracker import CameraTracker
from mctrack.types import Detections, Tracks, TrackState

TENTATIVE, CONFIRMED, LOST = TrackState.TENTATIVE, TrackState.CONFIRMED, TrackState.LOST
FPS = 10.0
LOOKS = np.eye(4, dtype=np.float32)
NOBODY = Detections.empty()


def seen(*centres: tuple[float, float], score: float = 0.95, looks: np.ndarray | None = None) -> Detections:
    """People of 40 × 100 px at these centres."""
    c = np.array(centres, float).reshape(-1, 2)
    half = np.array([20, 50])
    return Detections(np.concatenate([c - half, c + half], axis=1), np.full(len(c), score), looks)


def follow(
    tracker: CameraTracker, frames: Iterable[Detections], first: int = 0, fps: float = FPS
) -> list[Tracks]:
    return [tracker.update(d, i / fps) for i, d in enumerate(frames, first)]


def same(a: Tracks, b: Tracks, atol: float = 0.0) -> None:
    for name in ("track_id", "state", "detection_index"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("xyxy", "score", "time_since_update"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=atol)
    assert (a.embedding is None) == (b.embedding is None)
    if a.embedding is not None and b.embedding is not None:
        np.testing.assert_array_equal(a.embedding, b.embedding)


# ---------------------------------------------------------------- life


def test_life_from_tentative_to_removed() -> None:
    config = TrackConfig(n_init=3, max_age_s=0.5)
    tracker = CameraTracker(config)
    out = follow(tracker, [seen((100 + 3 * i, 200)) for i in range(5)])
    assert [int(t.state[0]) for t in out] == [TENTATIVE, TENTATIVE, CONFIRMED, CONFIRMED, CONFIRMED]
    assert all(t.track_id.tolist() == [1] and t.detection_index.tolist() == [0] for t in out)
    gone = follow(tracker, [NOBODY] * 6, 5)
    assert [t.state.tolist() for t in gone] == [[LOST]] * 5 + [[]]
    assert [float(t.time_since_update[0]) for t in gone[:5]] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert all(t.detection_index.tolist() == [-1] and not t.seen.any() for t in gone[:5])
    x = [float(t.xyxy[0, 0]) for t in gone[:5]]
    assert (np.diff(x) > 1).all()  # coasts on
    assert len(tracker.dormant) == 0  # nothing to be recognised by


def test_first_frame_and_a_frame_without_anybody() -> None:
    tracker = CameraTracker()
    assert len(tracker.update(NOBODY, 5.0)) == 0
    first = tracker.update(seen((100, 200), (300, 200)), 5.1)
    assert first.track_id.tolist() == [1, 2]
    assert first.detection_index.tolist() == [0, 1]
    np.testing.assert_allclose(first.xyxy, seen((100, 200), (300, 200)).xyxy)
    np.testing.assert_array_equal(first.time_since_update, 0)


def test_tentative_tracks_that_are_missed_are_forgotten_and_their_ids_too() -> None:
    tracker = CameraTracker()
    out = follow(tracker, [seen((100, 200)), NOBODY, seen((100, 200)), NOBODY, seen((100, 200))])
    assert [t.track_id.tolist() for t in out] == [[1], [], [2], [], [3]]


def test_n_init_1_confirms_at_once() -> None:
    assert CameraTracker(TrackConfig(n_init=1)).update(seen((100, 200)), 0).state.tolist() == [CONFIRMED]


def test_a_lost_track_is_found_again_with_its_id() -> None:
    tracker = CameraTracker()
    out = follow(tracker, [seen((100 + 5 * i, 200)) if i < 8 or i >= 13 else NOBODY for i in range(16)])
    assert [t.track_id.tolist() for t in out] == [[1]] * 16
    assert [int(t.state[0]) for t in out[7:15]] == [CONFIRMED] + [LOST] * 5 + [CONFIRMED] * 2


def test_born_and_seen_times_are_kept_apart() -> None:
    tracker = CameraTracker()
    follow(tracker, [seen((100, 200))] * 4)
    assert tracker.active.born_s.tolist() == [0.0]
    assert tracker.active.seen_s.tolist() == [0.3]


def test_ids_are_never_reused() -> None:
    """Over everything that ends or changes a track, an ID that was gone from sight and memory is not seen again."""
    tracker = CameraTracker(TrackConfig(max_age_s=0.3, rebirth_s=1.0))
    present: set[int] = set()
    ended: set[int] = set()
    highest = 0
    for view in play(Scene(people=15, steps=150, fps=10, miss=0.2, false=0.2, dim=8, absence=0.8), seed=3):
        ids = set(tracker.update(view.detections, view.time_s).track_id.tolist())
        assert not ids & ended
        assert all(i > highest for i in ids - present)
        known = ids | set(tracker.dormant.track_id.tolist())
        ended |= present - known
        present, highest = known, max([highest, *ids])
    assert len(ended) > 20


def test_two_trackers_know_nothing_of_each_other() -> None:
    a, b, alone = CameraTracker(), CameraTracker(), CameraTracker()
    views = list(play(Scene(people=5, steps=20), seed=1))
    for i, view in enumerate(views):
        mine = a.update(view.detections, view.time_s)
        b.update(views[-1 - i].detections, i / 7)
        same(mine, alone.update(view.detections, view.time_s))
    assert CameraTracker().update(seen((1, 1)), 0).track_id.tolist() == [1]


# ---------------------------------------------------------------- bounds


def test_max_tracks_bounds_memory() -> None:
    tracker = CameraTracker(TrackConfig(max_tracks=3, max_age_s=0.3))
    everybody = seen(*[(100.0 * i, 200.0) for i in range(6)])
    for i in range(5):
        assert len(tracker.update(everybody, i / FPS)) == 3
    for i in range(5, 12):
        assert len(tracker.update(NOBODY, i / FPS)) <= 3
    assert len(tracker.update(everybody, 1.3)) == 3


def test_max_dormant_keeps_the_latest() -> None:
    """Three people leave one after another, room for two: the first cannot come back under his ID."""
    tracker = CameraTracker(TrackConfig(max_dormant=2, max_age_s=0.2, n_init=2))
    places = [(100.0, 200.0), (500.0, 200.0), (900.0, 200.0)]
    for who, place in enumerate(places):
        follow(tracker, [seen(place, looks=LOOKS[who : who + 1])] * 4 + [NOBODY] * 4, 8 * who)
    assert tracker.dormant.track_id.tolist() == [2, 3]
    back = tracker.update(seen(*places, looks=LOOKS[:3]), 2.5)
    assert sorted(back.track_id.tolist()) == [2, 3, 4]


def test_reborn_tracks_count_towards_max_tracks() -> None:
    tracker = CameraTracker(TrackConfig(max_tracks=2, max_age_s=0.2, n_init=2))
    pair = [seen((100, 200), (500, 200), looks=LOOKS[:2])] * 4
    follow(tracker, pair + [NOBODY] * 4)
    others = [seen((2000, 200), (2500, 200), looks=LOOKS[2:])] * 4
    follow(tracker, others, 8)
    assert sorted(tracker.dormant.track_id.tolist()) == [1, 2]
    crowd = seen((2000, 200), (2500, 200), (100, 200), (500, 200), looks=LOOKS[[2, 3, 0, 1]])
    assert sorted(tracker.update(crowd, 1.2).track_id.tolist()) == [3, 4]
    assert sorted(tracker.dormant.track_id.tolist()) == [1, 2]


def test_five_hundred_people() -> None:
    tracker = CameraTracker()
    centres = [(60.0 * (i % 32), 120.0 * (i // 32)) for i in range(500)]
    out = follow(tracker, [seen(*[(x + 2 * k, y) for x, y in centres]) for k in range(6)])
    assert out[-1].track_id.tolist() == list(range(1, 501))
    assert (out[-1].state == CONFIRMED).all()


# ---------------------------------------------------------------- odd inputs


def test_the_same_time_twice_does_no_lasting_harm() -> None:
    """A repeated time stamp neither fails nor makes the tracker take every later frame for a gap."""
    one, two = CameraTracker(), CameraTracker()
    frames = [seen((100 + 4 * i, 200), (400 - 3 * i, 220)) for i in range(30)]
    follow(one, frames[:10])
    follow(two, frames[:10])
    two.update(frames[9], 9 / FPS)
    for i in range(10, 30):
        a, b = one.update(frames[i], i / FPS), two.update(frames[i], i / FPS)
        np.testing.assert_array_equal(a.track_id, b.track_id)
        np.testing.assert_allclose(a.xyxy, b.xyxy, atol=3)
    assert two.frame_s == pytest.approx(one.frame_s)


def test_a_clock_that_goes_back_does_not_break_anything() -> None:
    tracker = CameraTracker()
    follow(tracker, [seen((100, 200))] * 6, 50)
    assert tracker.update(seen((100, 200)), 0.0).track_id.tolist() == [1]
    assert follow(tracker, [seen((100, 200))] * 6, 1)[-1].track_id.tolist() == [1]


def test_variable_intervals_and_a_long_stall() -> None:
    """Positions follow time, not frames: 60 px/s over intervals from 20 ms to 200 ms; a stall of 1 s loses nobody."""
    rng, tracker, time_s = np.random.default_rng(0), CameraTracker(), 0.0
    for step in range(60):
        time_s += 1.0 if step == 40 else float(rng.uniform(0.02, 0.2))
        out = tracker.update(seen((100 + 60 * time_s, 200)), time_s)
        assert out.track_id.tolist() == [1]
    assert tracker.active.mean[0, 4] == pytest.approx(60, abs=3)


def test_boxes_that_are_no_boxes() -> None:
    """Inverted, empty and enormous boxes are followed or dropped, never a failure."""
    strange = Detections(
        np.array([[50.0, 50, 40, 40], [10, 10, 10, 10], [0, 0, 1e7, 1e7], [5, 5, 5, 60], [100, 100, 140, 200]]),
        np.full(5, 0.9),
    )
    for motion in ("kalman", "filterpy"):
        for out in follow(CameraTracker(TrackConfig(motion=motion)), [strange] * 6):
            assert np.isfinite(out.xyxy).all()
            np.testing.assert_allclose(out.xyxy[out.detection_index == 4], strange.xyxy[4:], atol=1e-6)


def test_results_are_the_callers_to_keep() -> None:
    """Arrays handed in and out are never written to afterwards."""
    tracker = CameraTracker()
    frames = [seen((100 + 3 * i, 200), looks=LOOKS[:1].copy()) for i in range(4)]
    kept = [(d.xyxy.copy(), d.score.copy()) for d in frames]
    out = follow(tracker, frames)
    copies = [(t.track_id.copy(), t.xyxy.copy(), t.state.copy()) for t in out]
    follow(tracker, [NOBODY] * 10, 4)
    for d, (xyxy, score) in zip(frames, kept, strict=True):
        np.testing.assert_array_equal(d.xyxy, xyxy)
        np.testing.assert_array_equal(d.score, score)
    for t, (ids, xyxy, state) in zip(out, copies, strict=True):
        np.testing.assert_array_equal(t.track_id, ids)
        np.testing.assert_array_equal(t.xyxy, xyxy)
        np.testing.assert_array_equal(t.state, state)


def test_unknown_motion_model_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'kalman'"):
        CameraTracker(TrackConfig(motion="kalmann"))


# ---------------------------------------------------------------- scores and neighbours


def test_low_scores_continue_but_never_start() -> None:
    tracker = CameraTracker()
    assert len(tracker.update(seen((100, 200), score=0.3), 0)) == 0
    follow(tracker, [seen((100, 200))] * 5, 1)
    low = follow(tracker, [seen((100, 200), (600, 200), score=0.3)] * 3, 6)
    assert [t.track_id.tolist() for t in low] == [[1]] * 3
    assert all(t.seen.all() and t.detection_index.tolist() == [0] for t in low)
    assert not tracker.update(seen((100, 200), score=0.05), 0.9).seen.any()


def test_low_scores_do_not_wake_the_lost() -> None:
    """After a frame without a detection only a confident one will do; ``low_gap_s`` allows more."""
    for allowed_s, expected in ((0.0, False), (0.1, True)):
        tracker = CameraTracker(TrackConfig(low_gap_s=allowed_s))
        follow(tracker, [seen((100, 200))] * 5 + [NOBODY])
        assert bool(tracker.update(seen((100, 200), score=0.3), 0.6).seen.any()) is expected


def test_low_scores_follow_only_confirmed_tracks() -> None:
    tracker = CameraTracker()
    out = follow(tracker, [seen((100, 200)), seen((100, 200)), seen((100, 200), score=0.3)])
    assert len(out[-1]) == 0


def test_middling_scores_continue_but_do_not_start() -> None:
    tracker = CameraTracker()
    assert len(tracker.update(seen((100, 200), score=0.7), 0)) == 0
    out = follow(tracker, [seen((100, 200))] * 4 + [seen((100, 200), score=0.7)] * 6, 1)
    assert out[-1].track_id.tolist() == [1]
    assert out[-1].seen.all()


def test_a_second_box_on_a_person_starts_no_track() -> None:
    tracker = CameraTracker(TrackConfig(crowd_sigma=0.0))
    double = Detections(np.array([[80.0, 150, 120, 250], [82, 152, 122, 252]]), np.array([0.95, 0.9]))
    follow(tracker, [seen((100, 200))] * 4)
    assert tracker.update(double, 0.4).track_id.tolist() == [1]
    apart = Detections(np.array([[80.0, 150, 120, 250], [110, 150, 150, 250]]), np.array([0.95, 0.9]))
    assert tracker.update(apart, 0.5).track_id.tolist() == [1, 2]


def test_people_who_cross_keep_their_ids() -> None:
    tracker = CameraTracker()
    frames = [seen((100 + 12 * i, 200), (580 - 12 * i, 230)) for i in range(40)]
    out = follow(tracker, frames)
    assert all(t.track_id[np.argsort(t.detection_index)].tolist() == [1, 2] for t in out)


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

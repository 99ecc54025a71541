"""One camera's tracker: the life of tracks, what ends and bounds it, odd inputs, scores and neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from track_scenes import FPS, NOBODY, Scene, follow, play, same, seen

from mctrack.config import TrackConfig
from mctrack.errors import ConfigError
from mctrack.track.camera_tracker import CameraTracker
from mctrack.types import Detections, TrackState

TENTATIVE, CONFIRMED, LOST = TrackState.TENTATIVE, TrackState.CONFIRMED, TrackState.LOST
LOOKS = np.eye(4, dtype=np.float32)

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


def test_low_scores_alone_follow_nobody_for_long() -> None:
    """A door frame where somebody went out scores 0.3 for ever: two seconds after the last sure sight it is let go."""
    tracker = CameraTracker(TrackConfig(low_s=2.0, max_age_s=0.5))
    out = follow(tracker, [seen((100, 200))] * 5 + [seen((100, 200), score=0.3)] * 30)
    assert [bool(t.seen.any()) for t in out] == [True] * 25 + [False] * 10
    assert [len(t) for t in out[25:]] == [1] * 5 + [0] * 5
    sure = [seen((100, 200), score=0.9 if i % 15 < 2 else 0.3) for i in range(60)]
    assert all(t.seen.all() for t in follow(CameraTracker(), [seen((100, 200))] * 5 + sure))


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


def test_the_better_of_two_equal_boxes_is_taken() -> None:
    """Both 8 px beside a track that stands still, one to each side: only their scores differ."""
    for scores, expected in (((0.7, 0.95), 1), ((0.95, 0.7), 0)):
        tracker = CameraTracker(TrackConfig(crowd_sigma=0.0))
        follow(tracker, [seen((100, 200))] * 6)
        both = replace(seen((92, 200), (108, 200)), score=np.array(scores))
        out = tracker.update(both, 0.6)
        assert out.detection_index[out.track_id == 1].tolist() == [expected]


def test_a_confirmed_track_goes_before_a_tentative_one() -> None:
    """One detection right on a newcomer, but at the newcomer's extra cost the old track a little beside it has it."""
    for extra, expected in ((0.0, 2), (0.6, 1)):
        tracker = CameraTracker(TrackConfig(tentative_cost=extra, max_cost=2.0, duplicate_iou=2.0, crowd_sigma=0.0))
        follow(tracker, [seen((100, 200))] * 6)
        tracker.update(seen((100, 200), (110, 200)), 0.6)
        out = tracker.update(seen((109, 200)), 0.7)
        assert out.track_id[out.seen].tolist() == [expected]


def test_the_gate_is_on_motion() -> None:
    """15 px beside a track that stood still: inside the default gate, outside one of 0.5, though the boxes overlap."""
    for gate, expected in ((30.0, [1]), (0.5, [1, 2])):
        tracker = CameraTracker(TrackConfig(gate=gate, weight_motion=0.0, duplicate_iou=2.0))
        follow(tracker, [seen((100, 200))] * 6)
        assert tracker.update(seen((115, 200)), 0.6).track_id.tolist() == expected


def test_what_was_seen_last_is_kept_for_the_way_back() -> None:
    """The filter right after the last detection: follows while seen, stands still while the prediction coasts on."""
    tracker = CameraTracker()
    follow(tracker, [seen((100 + 6 * i, 200)) for i in range(8)])
    table = tracker.active
    np.testing.assert_array_equal(table.mean_seen, table.mean)
    np.testing.assert_array_equal(table.cov_seen, table.cov)
    mean, cov = table.mean.copy(), table.cov.copy()
    follow(tracker, [NOBODY] * 3, 8)
    np.testing.assert_array_equal(tracker.active.mean_seen, mean)
    np.testing.assert_array_equal(tracker.active.cov_seen, cov)
    assert tracker.active.mean[0, 0] > mean[0, 0] + 10


def test_frame_interval_follows_a_slower_camera_slowly_and_a_faster_one_at_once() -> None:
    """A stall must not pass for the frame rate: a tenth of the way per frame up, all of it down."""
    tracker, time_s = CameraTracker(), 0.0
    expected = 0.0
    for dt in [0.1] * 5 + [0.2] * 40 + [0.05]:
        time_s += dt
        tracker.update(NOBODY, time_s)
        if time_s > 0.15:  # the first frame has no interval
            expected = dt if not expected else min(dt, 0.9 * expected + 0.1 * dt)
        assert tracker.frame_s == pytest.approx(expected)
        if dt == 0.2:
            assert tracker.frame_s > 0.1
            slow = tracker.frame_s
    assert slow == pytest.approx(0.2, rel=0.02)
    assert tracker.frame_s == pytest.approx(0.05)


def test_people_who_cross_keep_their_ids() -> None:
    tracker = CameraTracker()
    frames = [seen((100 + 12 * i, 200), (580 - 12 * i, 230)) for i in range(40)]
    out = follow(tracker, frames)
    assert all(t.track_id[np.argsort(t.detection_index)].tolist() == [1, 2] for t in out)

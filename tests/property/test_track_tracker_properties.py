"""What must hold for one camera's tracker on any scene: symmetries of time and space, order, independence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from track_scenes import Scene, View, play

from mctrack.config import TrackConfig
from mctrack.track.camera_tracker import CameraTracker
from mctrack.track.kalman import MotionNoise
from mctrack.types import Detections, Tracks

scenes = st.builds(
    Scene,
    people=st.integers(1, 14), steps=st.just(40), fps=st.sampled_from([5.0, 12.5, 30.0]),
    miss=st.sampled_from([0.0, 0.1, 0.3]), low=st.sampled_from([0.0, 0.2]), false=st.sampled_from([0.0, 0.1]),
    dim=st.sampled_from([0, 0, 6]), absence=st.sampled_from([0.0, 0.7]), away_s=st.just(1.0),
    jolt_px=st.sampled_from([0.0, 20.0]), irregular=st.booleans(),
)  # fmt: skip
seeds = st.integers(0, 2**32 - 1)
# short lives, so that everything happens within forty frames
CONFIG = TrackConfig(n_init=3, max_age_s=0.4)
few = settings(max_examples=15, deadline=None)


def follow(views: Sequence[View], config: TrackConfig = CONFIG) -> list[Tracks]:
    tracker = CameraTracker(config)
    return [tracker.update(view.detections, view.time_s) for view in views]


def changed(views: Sequence[View], boxes: Callable[[np.ndarray], np.ndarray]) -> list[View]:
    return [
        replace(v, detections=Detections(boxes(v.detections.xyxy), v.detections.score, v.detections.embedding))
        for v in views
    ]


def same_decisions(a: Tracks, b: Tracks) -> None:
    np.testing.assert_array_equal(a.track_id, b.track_id)
    np.testing.assert_array_equal(a.state, b.state)
    np.testing.assert_array_equal(a.detection_index, b.detection_index)


@few
@given(scene=scenes, seed=seeds)
def test_results_are_well_formed(scene: Scene, seed: int) -> None:
    """Each detection and each ID at most once, IDs increasing as tracks are born, everything finite and on record."""
    highest, tracker = 0, CameraTracker(CONFIG)
    for view in play(scene, seed):
        t = tracker.update(view.detections, view.time_s)
        used = t.detection_index[t.seen]
        assert len(np.unique(used)) == len(used)
        assert len(np.unique(t.track_id)) == len(t)
        assert not set(t.track_id.tolist()) & set(tracker.dormant.track_id.tolist())
        assert ((used >= 0) & (used < len(view.detections))).all()
        assert ((t.time_since_update == 0) == t.seen).all()
        assert (t.time_since_update <= CONFIG.max_age_s + 1e-6).all()
        assert (t.xyxy[:, 2:] > t.xyxy[:, :2]).all()
        assert (t.state[~t.seen] == 2).all()
        assert (t.state[t.seen] != 2).all()
        fresh = t.track_id[t.track_id > highest]
        assert fresh.tolist() == list(range(highest + 1, highest + 1 + len(fresh)))
        highest += len(fresh)


@few
@given(scene=scenes, seed=seeds)
def test_order_of_detections_does_not_matter(scene: Scene, seed: int) -> None:
    """Shuffled detections give the same tracks: only the numbers of those born in one frame may be swapped."""
    rng, views = np.random.default_rng(seed), list(play(scene, seed))
    orders = [rng.permutation(len(v.detections)) for v in views]
    shuffled = [replace(v, detections=v.detections.take(o)) for v, o in zip(views, orders, strict=True)]
    name: dict[int, int] = {}
    for a, b, order in zip(follow(views), follow(shuffled), orders, strict=True):
        place = {int(d): k for k, d in enumerate(b.detection_index) if d >= 0}
        partner = np.full(len(a), -1)
        for k, d in enumerate(a.detection_index):
            if d >= 0:
                partner[k] = place[int(np.flatnonzero(order == d)[0])]
                name.setdefault(int(a.track_id[k]), int(b.track_id[partner[k]]))
            else:
                partner[k] = np.flatnonzero(b.track_id == name[int(a.track_id[k])])[0]
        assert [name[int(i)] for i in a.track_id] == b.track_id[partner].tolist()
        assert len(a) == len(b)
        np.testing.assert_allclose(a.xyxy, b.xyxy[partner], atol=1e-6)
        np.testing.assert_array_equal(a.state, b.state[partner])
    assert len(set(name.values())) == len(name)


@few
@given(scene=scenes, seed=seeds, x=st.integers(-5000, 5000), y=st.integers(-5000, 5000))
def test_moving_the_picture_moves_the_tracks(scene: Scene, seed: int, x: int, y: int) -> None:
    views, shift = list(play(scene, seed)), np.array([x, y, x, y], float)
    for a, b in zip(follow(views), follow(changed(views, lambda xyxy: xyxy + shift)), strict=True):
        same_decisions(a, b)
        np.testing.assert_allclose(a.xyxy + shift, b.xyxy, atol=1e-6)


@few
@given(scene=scenes, seed=seeds, scale=st.sampled_from([0.25, 0.5, 2.0, 3.7]))
def test_a_larger_picture_is_the_same_picture(scene: Scene, seed: int, scale: float) -> None:
    views = list(play(replace(scene, false=0.0), seed))
    for a, b in zip(follow(views), follow(changed(views, lambda xyxy: xyxy * scale)), strict=True):
        same_decisions(a, b)
        np.testing.assert_allclose(a.xyxy * scale, b.xyxy, rtol=1e-7, atol=1e-5)


@few
@given(scene=scenes, seed=seeds)
def test_a_mirror_picture_is_the_same_picture(scene: Scene, seed: int) -> None:
    views = list(play(scene, seed))
    mirror = np.array([-1.0, 1, -1, 1])
    flipped = changed(views, lambda xyxy: (xyxy * mirror)[:, [2, 1, 0, 3]])
    for a, b in zip(follow(views), follow(flipped), strict=True):
        same_decisions(a, b)
        np.testing.assert_allclose((a.xyxy * mirror)[:, [2, 1, 0, 3]], b.xyxy, atol=1e-6)


@few
@given(scene=scenes, seed=seeds, start_s=st.sampled_from([-1.0, 0.1, 1e3 / 3, 1e5, 1.7e9]))
def test_the_clock_may_start_anywhere(scene: Scene, seed: int, start_s: float) -> None:
    """Seconds since the start of a file or since 1970: no decision hangs on how a time was rounded.

    Since 1970 a float counts in steps of 0.24 µs; at irregular times any threshold may then be met by chance.
    """
    scene = replace(scene, irregular=scene.irregular and start_s < 1e6)
    views = list(play(scene, seed))
    later = [replace(v, time_s=v.time_s + start_s) for v in views]
    for a, b in zip(follow(views), follow(later), strict=True):
        same_decisions(a, b)
        np.testing.assert_allclose(a.xyxy, b.xyxy, atol=1e-2 if start_s > 1e6 else 1e-5)


@few
@given(scene=scenes, seed=seeds, slow=st.sampled_from([0.25, 0.5, 3.0]))
def test_slower_time_with_slower_noise_is_the_same(scene: Scene, seed: int, slow: float) -> None:
    """Everything stretched in time by k, with noise, limits and speeds to match: the same boxes and decisions.

    Without ``size_accel``, which is also the spread of a new track's growth and so cannot be stretched as both, and
    without re-birth, whose gate on sizes grows by a fixed 0.15 per second.
    """
    n, views = MotionNoise(), list(play(scene, seed))
    config = replace(CONFIG, noise={"size_accel": 0.0}, rebirth_s=0.0)
    slowed = replace(
        config, max_age_s=config.max_age_s * slow, buffer_growth=config.buffer_growth / slow,
        noise={
            "position": n.position / slow**0.5, "accel": n.accel / slow**1.5, "size": n.size / slow**0.5,
            "size_accel": 0.0, "tau_s": n.tau_s * slow, "tau_size_s": n.tau_size_s * slow,
            "speed": n.speed / slow,
        },
    )  # fmt: skip
    fast, stretched = follow(views, config), [replace(v, time_s=v.time_s * slow) for v in views]
    for a, b in zip(fast, follow(stretched, slowed), strict=True):
        same_decisions(a, b)
        np.testing.assert_allclose(a.xyxy, b.xyxy, atol=1e-4)
        np.testing.assert_allclose(a.time_since_update * slow, b.time_since_update, atol=1e-9)


@few
@given(scene=scenes, seed=seeds)
def test_groups_far_apart_do_not_know_each_other(scene: Scene, seed: int) -> None:
    """Two crowds in one picture are tracked as each would be alone (without the camera's common motion)."""
    config = replace(CONFIG, consensus_motion=False)
    scene = replace(scene, dim=0)
    one, two = list(play(scene, seed)), list(play(scene, seed + 1))
    far = np.array([1e5, 0, 1e5, 0])
    both = [
        View(
            a.time_s,
            Detections(
                np.concatenate([a.detections.xyxy, b.detections.xyxy + far]),
                np.concatenate([a.detections.score, b.detections.score]),
            ),
            a.person,
        )
        for a, b in zip(one, two, strict=True)
    ]
    two = [replace(b, time_s=a.time_s) for a, b in zip(one, two, strict=True)]
    for a, b, t in zip(follow(one, config), follow(two, config), follow(both, config), strict=True):
        here = t.xyxy[:, 0] < 5e4
        np.testing.assert_allclose(t.xyxy[here], a.xyxy, atol=1e-6)
        np.testing.assert_allclose(t.xyxy[~here] - far, b.xyxy, atol=1e-6)
        np.testing.assert_array_equal(t.state[here], a.state)
        np.testing.assert_array_equal(t.state[~here], b.state)


@few
@given(
    rows=st.integers(1, 4), columns=st.integers(1, 5), fps=st.sampled_from([5.0, 10.0, 25.0, 50.0]), seed=seeds,
    consensus=st.booleans(),
)  # fmt: skip
def test_perfect_detections_of_people_apart(rows: int, columns: int, fps: float, seed: int, consensus: bool) -> None:
    """One track per person from the first frame to the last, and no switch."""
    rng, n = np.random.default_rng(seed), rows * columns
    centre = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2) * 600.0
    tall = rng.uniform(40, 120, (n, 1))
    speed = rng.uniform(-0.7, 0.7, (n, 2)) * tall
    half = tall * [0.2, 0.5]
    tracker = CameraTracker(TrackConfig(consensus_motion=consensus))
    first = None
    for step in range(40):
        at = centre + speed * step / fps
        order = rng.permutation(n)
        found = Detections(np.concatenate([at - half, at + half], axis=1)[order], rng.uniform(0.85, 1, n))
        t = tracker.update(found, step / fps)
        person = order[t.detection_index]
        first = person if first is None else first
        assert t.track_id.tolist() == list(range(1, n + 1))
        np.testing.assert_array_equal(person, first)
        np.testing.assert_allclose(t.xyxy, found.xyxy[t.detection_index], atol=0.2 * tall.max())
    assert (t.state == 1).all()

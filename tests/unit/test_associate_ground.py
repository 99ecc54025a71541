"""One name for one person in overlapping cameras: by geometry, by looks where it cannot tell, and over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mctrack.associate import CameraView
from mctrack.associate.alignment import Alignment, differences
from mctrack.associate.floor import Floor, Sightings, _dissenting
from mctrack.associate.ground import Places, existence, fused, group
from mctrack.associate.online import OnlineAssociator
from mctrack.config import AssociateConfig
from mctrack.pipeline import _Splits
from mctrack.sinks.state import dump_state, load_state
from mctrack.types import Link, Tracks, TrackState

STEP_S = 0.1
NOISE_M = 0.08


def cov(n: int, sd: float = 0.1) -> np.ndarray:
    return np.tile(sd**2 * np.eye(2), (n, 1, 1))


# ---------------------------------------------------------------------- one instant


def test_crossing_people_are_not_mixed_within_a_camera() -> None:
    """Two people 60 cm apart, three cameras: each group has one sighting of every camera."""
    rng = np.random.default_rng(0)
    person, camera = np.repeat([0, 1], 3), np.tile([0, 1, 2], 2)
    for _ in range(50):
        xy = np.array([[0.0, 0.0], [0.6, 0.0]])[person] + rng.normal(0, 0.08, (6, 2))
        label = group(Places(xy, cov(6)), camera, 0.05)
        assert label.max() == 1
        assert len(set(zip(label.tolist(), camera.tolist(), strict=True))) == 6


def test_precise_cameras_count_more() -> None:
    places = Places(np.array([[0.0, 0.0], [1.0, 0.0]]), np.stack([0.01 * np.eye(2), 0.09 * np.eye(2)]))
    one = fused(places, np.zeros(2, np.int64))
    assert one.xy[0, 0] == pytest.approx(0.1)
    assert one.cov[0] == pytest.approx(0.009 * np.eye(2))


def test_existence() -> None:
    odds = existence(np.array([1, 1, 2, 3]), np.array([1, 7, 7, 7]))
    assert (odds > 0).tolist() == [True, False, True, True]


def test_a_camera_that_is_off_is_found_and_the_others_stay() -> None:
    rng = np.random.default_rng(0)
    alignment, off = Alignment(4), np.array([0.3, -0.1])
    for _ in range(20):
        spots = rng.uniform(0, 8, (6, 2))
        camera, person = (a.ravel() for a in np.meshgrid(np.arange(4), np.arange(6)))
        raw = spots[person] + rng.normal(0, 0.08, (24, 2)) + np.where((camera == 2)[:, None], off, 0.0)
        places = Places(raw + alignment.offset[camera], cov(24))
        row, others, var = differences(places, group(places, camera, 0.05), camera)
        alignment.observe(camera[row], raw[row], others, var)
        alignment.update()
    assert np.linalg.norm(alignment.offset[2] + off) < 0.1
    assert np.abs(alignment.offset[[0, 1, 3]]).max() < 0.05


@pytest.mark.data
def test_wildtrack(data_dir: Path) -> None:
    """The full measurement is eval/wildtrack_ground.py; here its bar, and the worst of the wrong cameras."""
    import runpy

    tool = runpy.run_path(str(Path(__file__).resolve().parents[2] / "eval" / "wildtrack_ground.py"))
    moments, homographies = tool["load"](data_dir / "wildtrack")
    found = tool["score"](moments, tool["ours"](moments, tool["cameras"](homographies)))
    assert found["MODA"] >= 0.90
    assert found["MODP"] >= 0.79
    off = tool["score"](moments, tool["ours"](moments, tool["cameras"](homographies, 1, (-0.3, 0.0))))
    assert off["MODA"] >= found["MODA"] - 0.03


# ---------------------------------------------------------------------- over time


class Room:
    """Cameras that all see a room; people at given places, tracks by camera and person, and what becomes of them."""

    def __init__(self, cameras: Sequence[str], probability=None, uncalibrated: Sequence[str] = (),
                 splits: bool = True) -> None:
        self.rng, self.splits = np.random.default_rng(0), splits
        self.cameras, self.uncalibrated, self.time_s = list(cameras), set(uncalibrated), 0.0
        self.associator = OnlineAssociator(AssociateConfig(), self.cameras, probability)
        self.looks = np.eye(8, 16)
        self.links: list[Link] = []
        self.trackers = {c: _Tracker() for c in self.cameras}

    def step(self, where: dict[int, np.ndarray], seen: dict[str, dict[int, int]]) -> None:
        """``seen``: camera → track → person."""
        views = []
        for camera in self.cameras:
            tracks = seen.get(camera, {})
            ids = np.array([self.trackers[camera].now(t) for t in tracks], np.int64)
            n, people = len(ids), list(tracks.values())
            xy = np.array([where[p] for p in people]).reshape(-1, 2) + self.rng.normal(0, NOISE_M, (n, 2))
            look = self.looks[people] + self.rng.normal(0, 0.02, (n, 16))
            box = np.column_stack([60.0 * np.arange(n), np.zeros(n), 60.0 * np.arange(n) + 40, np.full(n, 100.0)])
            made = Tracks(ids, box, np.ones(n), np.full(n, int(TrackState.CONFIRMED)), np.zeros(n), np.arange(n),
                          (look / np.linalg.norm(look, axis=1, keepdims=True)).astype(np.float32))
            known = camera not in self.uncalibrated
            split = _Splits(self.trackers[camera]).split if self.splits else None
            views.append(CameraView(camera, made, np.full(n, 0.9), xy if known else None, cov(n) if known else None,
                                    split))
        self.links += self.associator.update(self.time_s, views)
        self.time_s += STEP_S

    def name(self, camera: str, track: int) -> int:
        return int(self.associator.global_ids(camera, np.array([self.trackers[camera].now(track)]))[0])


class _Tracker:
    """Gives new IDs on demand; tests go on calling a track by its first one."""

    def __init__(self) -> None:
        self.new: dict[int, int] = {}
        self.next_id = 100

    def now(self, track: int) -> int:
        while track in self.new:
            track = self.new[track]
        return track

    def split(self, track_id: int) -> int:
        self.new[track_id], self.next_id = self.next_id, self.next_id + 1
        return self.new[track_id]


def walk(k: int, start: tuple[float, float], speed: tuple[float, float]) -> np.ndarray:
    return np.array(start) + k * STEP_S * np.array(speed)


def test_without_looks_one_id_in_all_calibrated_cameras() -> None:
    room = Room("abcd")
    for k in range(40):
        where = {0: walk(k, (0, 0), (0.5, 0)), 1: walk(k, (0, 3), (0.5, 0))}
        room.step(where, {c: {1: 0, 2: 1} for c in "abcd" if not (c == "d" and k < 15)})
    names = {t: {room.name(c, t) for c in "abcd"} for t in (1, 2)}
    assert all(len(n) == 1 for n in names.values())
    assert names[1] != names[2]
    there = room.associator.ground("d", np.array([1, 2]))
    np.testing.assert_allclose(there, [where[0], where[1]], atol=0.25)
    assert np.isnan(room.associator.ground("d", np.array([9]))).all()


def test_a_track_that_goes_on_with_another_person_is_split() -> None:
    """In camera a the tracks of two people change over; the other cameras do not: each person keeps one ID."""
    room = Room("abc")
    for k in range(80):
        where = {0: walk(k, (0, 0), (0.6, 0.2)), 1: walk(k, (0, 1.6), (0.6, -0.2))}
        swapped = k >= 40
        room.step(where, {"a": {1: int(swapped), 2: int(not swapped)}, "b": {1: 0, 2: 1}, "c": {1: 0, 2: 1}})
    first, second = room.name("b", 1), room.name("b", 2)
    assert first != second
    assert room.name("c", 1) == first
    assert room.name("c", 2) == second
    assert room.name("a", 2) == first
    assert room.name("a", 1) == second
    assert set(room.trackers["a"].new) == {1, 2}
    assert room.trackers["b"].new == {} == room.trackers["c"].new
    before = room.associator.global_ids("a", np.array([1, 2]))  # what they were until then keeps its name
    assert before.tolist() == [first, second]


def test_a_track_that_goes_off_with_a_passer_by_does_not_drag_the_place_along() -> None:
    room, off_m = Room("abcd"), []
    for k in range(80):
        where = {0: np.zeros(2), 1: walk(k, (-2.0, 0.5), (0.5, 0))}
        room.step(where, {c: {1: 0} for c in "abc"} | {"d": {1: int(k >= 40)}})  # nobody else sees who passes by
        off_m.append(np.linalg.norm(room.associator.ground("a", np.array([1]))[0]))
    assert max(off_m[5:]) < 0.15
    assert {room.name(c, 1) for c in "abc"} == {1} != {room.name("d", 1)}


def test_who_dissents_by_hand() -> None:
    """Variances of 0.01 + 0.01, of three others a third: 0.7² / (0.02 + 0.02 / 3) = 18.4 > 11.8, 0.5² is not."""
    xy = np.array([[0.0, 0], [0.0, 0], [0.0, 0], [0.7, 0], [5.0, 5], [5.9, 5], [8.0, 8], [8, 8], [8, 8], [8, 8.5]])
    home = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
    assert _dissenting(Places(xy, cov(10)), home, 3).tolist() == [False] * 3 + [True] + [False] * 6


def test_one_bad_box_breaks_no_link() -> None:
    room = Room("abc")
    for k in range(60):
        where = {0: walk(k, (0, 0), (0.5, 0))}
        room.step(where | {1: where[0] + [1.5, 0]}, {"a": {1: 1 if k in (30, 31) else 0}, "b": {1: 0}, "c": {1: 0}})
    assert {room.name(c, 1) for c in "abc"} == {1}
    assert room.trackers["a"].new == {}


def sharp(distance: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp((np.asarray(distance) - 0.4) / 0.05))


def test_the_room_comes_back_and_the_hall_without_calibration_shares_the_id() -> None:
    """Camera h is not calibrated: looks link it; a person who left the room returns under the old ID."""
    room = Room("abh", probability=sharp, uncalibrated="h")
    for k in range(40):
        room.step({0: walk(k, (0, 0), (0.5, 0)), 1: np.array([0.0, 4.0])}, {"a": {1: 0, 2: 1}, "b": {1: 0, 2: 1}})
    for _ in range(40):
        room.step({0: np.zeros(2), 1: np.array([0.0, 4.0])}, {"h": {1: 0}, "a": {2: 1}, "b": {2: 1}})
    for k in range(40):
        room.step({0: walk(k, (2, 0), (-0.5, 0)), 1: np.array([0.0, 4.0])}, {"a": {3: 0, 2: 1}, "b": {3: 0, 2: 1}})
    person = room.name("a", 1)
    assert {room.name("b", 1), room.name("h", 1), room.name("a", 3), room.name("b", 3)} == {person}
    assert room.name("a", 2) == room.name("b", 2) != person


def test_geometry_forbids_what_looks_suggest() -> None:
    """Two who look the same stand 6 m apart in different cameras: never one identity."""
    room = Room("ab", probability=sharp)
    room.looks[1] = room.looks[0]
    for _ in range(80):
        room.step({0: np.zeros(2), 1: np.array([6.0, 0.0])}, {"a": {1: 0}, "b": {1: 1}})
    assert room.name("a", 1) != room.name("b", 1)


def test_nobody_runs_that_fast() -> None:
    room = Room("a", probability=sharp)
    room.looks[1] = room.looks[0]
    for k in range(60):
        room.step({0: np.zeros(2), 1: np.array([15.0, 0.0])}, {"a": {1: 0} if k < 30 else {2: 1}})
    assert room.name("a", 1) != room.name("a", 2)


@pytest.mark.parametrize("cut", [12, 45, 52])
def test_saved_and_restored_it_decides_the_same(cut: int) -> None:
    def play(room: Room, steps: range) -> None:
        for k in steps:
            where = {0: walk(k, (0, 0), (0.6, 0.2)), 1: walk(k, (0, 1.6), (0.6, -0.2)), 2: walk(k, (3, 3), (0, 0.3))}
            swapped = k >= 40
            room.step(where, {"a": {1: int(swapped), 2: int(not swapped)}, "b": {1: 0, 2: 1}, "c": {1: 0, 2: 1, 3: 2}})

    whole, first, second = (Room("abc", probability=sharp) for _ in range(3))
    play(whole, range(80))
    play(first, range(cut))
    second.associator.restore(load_state(dump_state(first.associator.state())))
    second.time_s, second.rng, second.trackers = first.time_s, first.rng, first.trackers
    play(second, range(cut, 80))
    assert repr(first.links + second.links) == repr(whole.links)


def test_the_floor_forgets() -> None:
    rng, floor = np.random.default_rng(0), Floor(2)
    for k in range(600):
        where = rng.uniform(0, 20, (2, 2))
        camera = np.array([0, 1])
        floor.update(k * STEP_S, Sightings(camera, np.array([k // 10, k // 10]), Places(where, cov(2))))
    assert len(floor.ids) < 80
    assert sum(map(len, floor.members().values())) < 80
    assert len(floor.state()["evidence"]) < 400


def test_before_a_track_is_confirmed_its_own_camera_says_where_it_is() -> None:
    associator = OnlineAssociator(AssociateConfig(), ["a"])
    at = np.array([[1.0, 2.0], [3.0, 4.0]])
    state = np.array([int(TrackState.TENTATIVE), int(TrackState.CONFIRMED)])
    seen = Tracks(np.array([1, 2]), np.array([[0, 0, 40, 100.0], [60, 0, 100, 100]]), np.ones(2), state, np.zeros(2),
                  np.arange(2))  # fmt: skip
    associator.update(0.0, [CameraView("a", seen, np.ones(2), at, cov(2))])
    np.testing.assert_allclose(associator.ground("a", np.array([2, 1, 9])), [at[1], at[0], [np.nan, np.nan]])

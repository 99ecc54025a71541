"""Hindsight: names that everything remembered speaks against are changed, and only those."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_associate_ground import Room, sharp
from test_identities import World

from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.hindsight import Hindsight, look_back
from mctrack.associate.identities import FORGET_S, IdentityBook
from mctrack.associate.online import OnlineAssociator
from mctrack.associate.refine import RefineOptions, gather
from mctrack.associate.stays import MEMORY_S, TOGETHER, Stays
from mctrack.associate.transitions import Transitions
from mctrack.config import AssociateConfig, RunConfig, tracker_config
from mctrack.sinks.state import dump_state, load_state

CAMERAS = ("a", "b", "c", "d")
A, B, C = np.eye(3, 8, dtype=np.float32)


class Book:
    """A book of identities written by hand."""

    def __init__(self) -> None:
        self.book = IdentityBook(CAMERAS, 16, 100)
        self.scene = SceneCalibration(sharp)
        self._track = 0

    def tracklet(self, camera: str, begin_s: float, end_s: float, look: np.ndarray, name: int, crops: int = 6) -> int:
        """One more, named ``name`` (made if there is no such identity yet); its row."""
        self._track += 1
        track, box = np.array([self._track]), np.array([[0.0, 0.0, 40.0, 100.0]])
        (row,) = self.book.see(camera, track, begin_s, box).tolist()
        self.book.see(camera, track, end_s, box)
        self.book.table.confirmed[row] = True
        for _ in range(crops):
            self.book.table.looks[row].add(look, 1.0)
        self.book.table.samples[row] = crops
        while not self.book.is_open(name):
            self.book.create()
        self.book.assign(row, name)
        return row

    def back(self) -> Hindsight:
        return look_back(self.book, self.scene, Transitions({}, CAMERAS), lambda rows: None)


def test_a_tracklet_goes_to_whom_it_looks_like() -> None:
    """Named 2 by mistake; distances of its looks from the new and the old company are 0 and 1."""
    book = Book()
    book.tracklet("a", 0, 10, A, 1)
    wrong = book.tracklet("b", 12, 20, A, 2)
    book.tracklet("c", 0, 30, B, 2)
    (move,) = book.back().moves
    assert (move.row, move.global_id, move.fresh) == (wrong, 1, None)
    assert move.distance == pytest.approx(0, abs=1e-6)
    assert move.rival == pytest.approx(1, abs=1e-6)


def test_somebody_else_becomes_somebody_new() -> None:
    book = Book()
    book.tracklet("a", 0, 10, A, 1)
    other = book.tracklet("b", 12, 18, C, 1)
    (move,) = book.back().moves
    assert move.row == other
    assert move.fresh == move.global_id == 2
    assert np.isnan(move.distance)
    assert move.rival == pytest.approx(1, abs=1e-6)


def test_names_that_fit_stay() -> None:
    book = Book()
    for camera, look, name in (("a", A, 1), ("b", A, 1), ("a", B, 2), ("c", B, 2)):
        book.tracklet(camera, 0, 10, look, name)
    assert book.back() == Hindsight()
    assert Book().back() == Hindsight()


def test_those_long_gone_keep_their_number_before_all_others() -> None:
    """Five seconds of A, forgotten one by one but not as identity 1, and a minute of B that was taken for 1, too."""
    book = Book()
    old = book.tracklet("a", 0, 5, A, 1)
    now_s = 5 + FORGET_S + 1
    returned = book.tracklet("b", now_s - 2, now_s + 60, B, 1)
    book.book.prune(now_s)
    assert not len(book.book.table.looks[old])
    (move,) = book.back().moves
    assert (move.row, move.fresh) == (returned, 2)


def test_two_old_identities_that_look_alike_become_the_older_one() -> None:
    book = Book()
    book.tracklet("a", 0, 5, A, 1)
    book.tracklet("b", 10, 15, A, 2)
    book.tracklet("c", 10, 15, B, 3)
    book.book.prune(15 + FORGET_S + 1)
    late = book.tracklet("c", 80, 90, A, 2)
    found = book.back()
    assert found.merges == ((1, 2),)
    assert not found.moves  # it goes along with the merge
    assert book.book.members(2)[-1] == late


def test_identities_without_tracklets_are_closed_and_meetings_are_seen_anew() -> None:
    """B was with A in camera a, under the name 1 of a third; once it is 2, 2 has met A, and 1 nobody."""
    book = Book()
    book.tracklet("a", 0, 10, A, 3)
    b = book.tracklet("a", 0, 10, B, 1)
    book.tracklet("b", 20, 30, C, 1)
    empty = book.tracklet("c", 0, 10, B, 4)
    for _ in range(3):
        book.book.saw_together([1, 3])
    assert book.book.met(1, [3]).tolist() == [True]
    book.book.assign(b, 2)
    book.book.assign(empty, 2)
    book.book.tidy([1, 2, 4])
    assert book.book.open_ids() == [1, 2, 3]
    assert book.book.met(3, [1, 2]).tolist() == [False, True]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_whatever_the_names_were_nobody_is_twice_in_one_camera(seed: int) -> None:
    """Random tracklets with random names, after hindsight: no identity holds a pair that cannot be."""
    rng = np.random.default_rng(seed)
    online = OnlineAssociator(AssociateConfig(), CAMERAS, sharp)
    book = Book()
    book.book, book.scene = online.book, online.scene
    people = rng.normal(size=(4, 8)).astype(np.float32)
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    for _ in range(rng.integers(2, 14)):
        begin_s = float(rng.uniform(0, 40))
        book.tracklet(CAMERAS[rng.integers(4)], begin_s, begin_s + float(rng.uniform(1, 15)), people[rng.integers(4)],
                      int(rng.integers(1, 5)))  # fmt: skip
    for g in [g for g in online.book.open_ids() if not online.book.members(g)]:
        online.book.close(g)
    online._look_back(60.0)
    table = online.book.table
    assert all(online.book.members(g) for g in online.book.open_ids())
    e = gather(*_pieces(online.book), online.scene, RefineOptions())
    names = table.global_id[online.book.grouped().rows]
    order = np.argsort(table.serial[online.book.grouped().rows])
    same = names[order][:, None] == names[order]
    assert not (same & e.forbidden).any()


def _pieces(book: IdentityBook):
    from mctrack.associate.hindsight import _as_pieces

    rows = book.grouped().rows
    return (_as_pieces(book, rows[np.argsort(book.table.serial[rows])])[0],)


def look_alikes(hindsight_s: float) -> tuple[World, dict[tuple[str, int], int]]:
    """1 is in a; 0, seen in b against the light, is taken for him; later both are in plain sight, in a and in b."""
    world = World("ab")
    world.associator.config.hindsight_s = hindsight_s
    world.looks = np.eye(8, 64)
    plain = world.looks[0].copy()
    world.run(4, {"a": [(1, 1)]})
    world.looks[0] = 0.8 * world.looks[1] + 0.2 * plain
    world.run(2, {"b": [(1, 0)]})
    world.looks[0] = plain
    world.run(12, {"b": [(1, 0)], "a": [(2, 1)]})
    world.take(world.associator.finish())
    return world, {key: world.name(*key) for key in (("a", 1), ("b", 1), ("a", 2))}


def test_a_name_given_too_early_is_taken_back() -> None:
    """The links say so, with the distances from new and old company; without hindsight the mistake stays."""
    _, names = look_alikes(0)
    assert names["b", 1] == names["a", 1]
    world, names = look_alikes(5)
    assert names["b", 1] != names["a", 1] == names["a", 2]
    (link,) = [k for k in world.links if k.gates.get("hindsight")]
    assert (link.camera, link.track_id, link.kind, link.previous_id) == ("b", 1, "unlink", names["a", 1])
    assert link.runner_up > 0.05


def test_a_saved_state_looks_back_alike() -> None:
    world, _ = look_alikes(5)
    other = OnlineAssociator(AssociateConfig(), list("ab"), world.associator.scene._probability)
    other.restore(load_state(dump_state(world.associator.state())))
    assert other.state()["next_s"] == world.associator.state()["next_s"]
    assert dump_state(other.state()) == dump_state(world.associator.state())


def test_trackers_leave_returns_to_an_associator_that_looks_back() -> None:
    config = RunConfig()
    assert tracker_config(config).rebirth_s == 0
    config.associate.hindsight_s = 0
    assert tracker_config(config).rebirth_s == 30
    config.associate.hindsight_s, config.associate.name = 5, "package.module:Another"
    assert tracker_config(config).rebirth_s == 30
    config.associate.name, config.reid.name = "online", "none"
    assert tracker_config(config).rebirth_s == 30
    config.track.rebirth_s = 7
    assert tracker_config(config).rebirth_s == 7


# ---------------------------------------------------------------------- the floor


def stays(**visits: tuple[float, float, float, float, float, float]) -> Stays:
    out = Stays()
    out.visit = {int(name[1:]): visit for name, visit in visits.items()}
    return out


def near(a, b) -> float:
    return 1.5 if abs(a[4] - b[1]) < 5 else -np.inf


def test_what_stays_say() -> None:
    """1 in two cameras, then 2 where 1 ended, then 3 far off; −1 and 9 are unknown."""
    memory = stays(p1=(0, 0, 0, 10, 1, 0), p2=(12, 2, 0, 20, 2, 0), p3=(13, 50, 0, 20, 50, 0))
    said = memory.evidence(np.array([1, 1, 2, 3, -1, 9]), near, None)
    assert said.odds[0, 1] == TOGETHER
    assert said.odds[0, 2] == said.odds[2, 1] == pytest.approx(0.75)  # 1.5 in all, over two pairs
    assert said.forbidden[0].tolist() == [False, False, False, True, False, False]
    assert not said.odds[3:].any()
    assert said.same is not None
    assert said.same[0].tolist() == [True, True, False, False, False, False]
    assert not said.same[4:].any()


def test_doors_count_between_stays() -> None:
    """Both ends in the middle of the room: by 0.82 to 0.18 it is the same person (at most 1.5)."""
    memory = stays(p1=(0, 0, 0, 10, 1, 0), p2=(12, 2, 0, 20, 2, 0))
    said = memory.evidence(np.array([1, 2]), lambda a, b: 0.0, lambda xy: np.zeros(len(xy)))
    assert said.odds[0, 1] == pytest.approx(1.5)


def test_presences_twice_far_from_each_other_are_apart() -> None:
    memory = stays(p1=(0, 0, 0, 10, 1, 0), p2=(0, 9, 0, 10, 9, 0))
    far = np.array([[False, True], [True, False]])
    memory.note_apart(np.array([2, 1]), far)
    assert not memory.apart(1, 2)
    memory.note_apart(np.array([1, 2]), far)
    assert memory.apart(1, 2)
    assert memory.apart(2, 1)
    assert memory.evidence(np.array([1, 2]), near, None).forbidden[0, 1]
    other = Stays()
    other.restore(load_state(dump_state(memory.state())))
    assert other.visit == memory.visit
    assert other.apart(1, 2)
    memory.prune(10 + MEMORY_S + 1)
    assert not memory.visit
    assert not memory.apart(1, 2)


def test_a_presence_that_was_another_one_takes_its_beginning_along() -> None:
    memory = stays(p1=(5, 1, 1, 10, 2, 2), p2=(0, 0, 0, 7, 3, 3))
    memory.absorb(2, 1)
    memory.absorb(8, 1)
    assert memory.visit == {1: (0, 0, 0, 10, 2, 2)}


def test_names_on_the_floor_follow() -> None:
    """0 comes in looking like 1, who has gone; once he looks like himself he is somebody else, in both cameras."""
    room = Room("ab", probability=sharp)
    plain = room.looks[0].copy()
    for _ in range(40):
        room.step({1: np.zeros(2)}, {"a": {1: 1}, "b": {1: 1}})
    for _ in range(40):
        room.step({}, {})
    room.looks[0] = room.looks[1] + 0.1 * plain
    for _ in range(20):
        room.step({0: np.array([3.0, 0.0])}, {"a": {2: 0}, "b": {2: 0}})
    assert room.name("a", 2) == room.name("a", 1)
    room.looks[0] = plain
    for _ in range(120):
        room.step({0: np.array([3.0, 0.0])}, {"a": {2: 0}, "b": {2: 0}})
    room.step({0: np.array([3.0, 0.0])}, {"a": {2: 0}, "b": {3: 0}})
    for _ in range(15):
        room.step({0: np.array([3.0, 0.0])}, {"a": {2: 0}, "b": {3: 0}})
    assert room.name("a", 2) == room.name("b", 3) != room.name("a", 1)

"""Who comes back: doors, second thoughts, and look-alikes who stand apart; positions that are neither hit nor miss."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_associate_ground import STEP_S, Room, sharp, walk

from mctrack.associate.doors import LIMIT, through_doors
from mctrack.associate.floor import Floor, Sightings
from mctrack.associate.ground import Places, group
from mctrack.associate.online import OnlineAssociator
from mctrack.associate.relay import BIN_S, LATE_S, Recent
from mctrack.associate.scores import Scorer
from mctrack.associate.transitions import CHUNK, Transitions
from mctrack.config import AssociateConfig
from mctrack.geometry.cameras import Pinhole
from mctrack.geometry.entrances import Entrances
from mctrack.geometry.site import Site
from mctrack.sinks.state import dump_state, load_state
from mctrack.track.rebirth import generic_probability

share = st.floats(0, 1)

# ---------------------------------------------------------------------- doors


def test_doors_by_hand() -> None:
    """In the middle of the room: by 0.9 · 0.9 + 0.1 · 0.1 = 0.82 to a stranger's 0.18 it is who vanished there."""
    assert through_doors(0, 0) == pytest.approx(min(math.log(0.82 / 0.18), LIMIT))
    assert through_doors(0, 1) == through_doors(1, 1) == pytest.approx(0)
    assert through_doors(1, 0) == pytest.approx(max(math.log(0.18 / 0.82), -LIMIT))


@given(share, share, share)
def test_the_further_from_the_doors_the_likelier_who_stayed(came: float, went: float, other: float) -> None:
    assert -LIMIT <= through_doors(came, went) <= LIMIT
    near, far = min(came, other), max(came, other)
    if went <= 0.5:
        assert through_doors(near, went) >= through_doors(far, went) - 1e-9


def overhead(x: float, y: float) -> Pinhole:
    """A camera 4 m above (x, y) that looks straight down on 4 × 4 m."""
    K = np.array([[400.0, 0, 200], [0, 400.0, 200], [0, 0, 1]])
    R = np.diag([1.0, -1.0, -1.0])
    return Pinhole(K, np.zeros(5), R, -R @ np.array([x, y, 4.0]))


def test_entrances_are_doors_and_the_rim_of_the_views() -> None:
    cameras = {"a": overhead(0, 0), "b": overhead(3, 0)}
    site = Site(Path("site.yaml"), ("a", "b"), dict(cameras), dict.fromkeys(cameras, (400, 400)),
                doors={"north": np.array([0.0, 5.0])})  # fmt: skip
    assert Entrances(site)(np.array([[4.9, 0.0], [0.0, 0.0], [1.5, 0.0], [0.0, 5.0]])).round(2).tolist() == [1, 0, 0, 1]


def test_an_area_has_no_rim_at_its_walls() -> None:
    room = np.array([[-1.9, -1.9], [1.9, -1.9], [1.9, 1.9], [-1.9, 1.9]])
    site = Site(Path("site.yaml"), ("a",), {"a": overhead(0, 0)}, {"a": (400, 400)}, areas={"room": room},
                doors={"north": np.array([1.9, 0.0])})  # fmt: skip
    corner, doorway = Entrances(site)(np.array([[-1.8, -1.8], [1.8, 0.0]]))
    assert corner < 0.01
    assert doorway > 0.9


@pytest.mark.parametrize(("door", "same"), [((50.0, 0.0), True), (None, False)])
def test_who_appears_in_the_middle_of_the_room_was_there_before(door: tuple[float, float] | None, same: bool) -> None:
    """Lost behind a shelf for four seconds, and since then seen from another side: looks alone do not suffice."""
    room = Room("ab", probability=sharp)
    room.looks[1] = room.looks[0] + 1.15 * room.looks[5]  # the same person turned round: not quite like before
    if door is not None:
        room.associator.take_entrances(
            lambda xy: np.exp(-0.5 * (np.linalg.norm(xy - np.array(door), axis=1) / 1.2) ** 2))
    for _ in range(40):
        room.step({0: np.zeros(2)}, {"a": {1: 0}, "b": {1: 0}})
    for _ in range(40):
        room.step({}, {})
    for _ in range(70):
        room.step({1: np.array([2.0, 0.0])}, {"a": {2: 1}, "b": {2: 1}})
    assert (room.name("a", 1) == room.name("a", 2)) == same


# ---------------------------------------------------------------------- look-alikes and second thoughts


def test_look_alikes_who_stand_apart_are_never_one_from_the_first_second() -> None:
    """They appear at once, each in the middle of two cameras that do not see the other one."""
    room = Room("abcd", probability=sharp)
    room.looks[1] = room.looks[0]
    for k in range(40):
        where = {0: walk(k, (0, 0), (0.2, 0)), 1: walk(k, (0, 3.6), (0.2, 0))}
        room.step(where, {"a": {1: 0}, "b": {1: 0}, "c": {2: 1}, "d": {2: 1}})
        given_names = {room.name("a", 1), room.name("c", 2)} - {-1}
        assert len(given_names) != 1 or k < 15
    assert room.name("a", 1) == room.name("b", 1) != room.name("c", 2) == room.name("d", 2)
    assert not [link for link in room.links if link.kind in ("merge", "unlink")]


def test_two_places_with_one_name_are_told_apart_again() -> None:
    room = Room("abcd", probability=sharp)
    room.looks[1] = room.looks[0]
    for k in range(60):
        where = {0: np.zeros(2), 1: np.array([0.0, 3.6])}
        room.step(where, {"a": {1: 0}, "b": {1: 0}, "c": {2: 1}, "d": {2: 1}})
        if k == 30:  # as if somebody had been taken for the other one by mistake
            keep, gone = sorted((room.name("a", 1), room.name("c", 2)))
            room.associator.book.merge(keep, gone)
            room.associator.together.renamed(keep, gone)
    assert room.name("a", 1) == room.name("b", 1) != room.name("c", 2) == room.name("d", 2)


@pytest.mark.parametrize("turns", [True, False])
def test_a_return_that_later_looks_speak_against_is_undone(turns: bool) -> None:
    """In the doorway the newcomer looks like somebody who left; in the room he does not. A true return stays one."""
    room = Room("ab", probability=sharp)
    for _ in range(40):
        room.step({0: np.zeros(2)}, {"a": {1: 0}, "b": {1: 0}})
    for _ in range(40):
        room.step({}, {})
    room.looks[1] = room.looks[0]
    for k in range(120):
        if k == 15 and turns:
            room.looks[1] = room.looks[6]
        room.step({1: walk(k, (0, 0), (0.1, 0))}, {"a": {2: 1}, "b": {2: 1}})
        if k == 14:
            assert room.name("a", 2) == room.name("a", 1)
    assert (room.name("a", 2) == room.name("a", 1)) != turns
    assert room.name("a", 2) == room.name("b", 2)
    assert bool([link for link in room.links if link.kind == "unlink"]) == turns


# ---------------------------------------------------------------------- relays in a doorway


@pytest.mark.parametrize("known", [True, False])
def test_a_presence_that_goes_on_with_another_person_is_divided(known: bool) -> None:
    """0 walks to the door, where 1 comes in: all tracks go on with 1, who keeps, or gets, a name of his own."""
    room = Room("ab", probability=sharp)
    if known:
        for k in range(40):
            room.step({1: walk(k, (0, 3), (0, 0.2))}, {"a": {1: 1}, "b": {1: 1}})
        for _ in range(60):
            room.step({}, {})
    there = room.name("a", 1)
    for k in range(60):
        room.step({0: walk(k, (2, 0), (-0.3, 0))}, {"a": {2: 0}, "b": {2: 0}})
    first = room.name("a", 2)
    for k in range(60):
        room.step({1: walk(k, (0.2, 0), (0.3, 0))}, {"a": {2: 1}, "b": {2: 1}})
    second = room.name("a", 2)
    assert first == room.associator.global_ids("a", np.array([2]))[0]  # what it was until then keeps its name
    assert second == room.name("b", 2) != first
    assert (second == there) == known
    told = [link for link in room.links if "relay_s" in link.gates]
    assert {link.previous_id for link in told} == {first}
    assert told[0].gates["relay_s"] == pytest.approx(room.time_s - 60 * STEP_S, abs=1.5)
    book = room.associator.book
    for g, person in ((first, 0), (second, 1)):  # nobody's looks have anything of the other's
        assert book.gallery.look(g).pooled @ room.looks[person] > 0.97


def test_who_turns_round_a_little_is_nobody_else() -> None:
    room = Room("ab", probability=sharp)
    for k in range(120):
        if k == 60:
            room.looks[0] = room.looks[0] + 0.5 * room.looks[5]
        room.step({0: walk(k, (0, 0), (0.2, 0))}, {"a": {1: 0}, "b": {1: 0}})
    assert {room.name(c, 1) for c in "ab"} == {1}
    assert room.trackers["a"].new == {}


@pytest.mark.parametrize("cut", [70, 85])
def test_a_relay_is_the_same_after_a_restart(cut: int) -> None:
    """Saved between the change of people and its discovery, and after it."""
    def play(room: Room, steps: range) -> None:
        for k in steps:
            person = int(k >= 60)
            room.step({person: walk(k, (0, 0), (0.2, 0))}, {"a": {1: person}, "b": {1: person}})

    whole, first, second = (Room("ab", probability=sharp) for _ in range(3))
    play(whole, range(120))
    play(first, range(cut))
    second.associator.restore(load_state(dump_state(first.associator.state())))
    second.time_s, second.rng, second.trackers = first.time_s, first.rng, first.trackers
    play(second, range(cut, 120))
    assert repr(first.links + second.links) == repr(whole.links)
    assert [link for link in whole.links if "relay_s" in link.gates]


@pytest.mark.parametrize("known", [True, False])
def test_a_relay_where_no_track_can_be_ended_leaves_everybody_a_tracklet(known: bool) -> None:
    """The tracker cannot part with the newcomer's half: then the one who went keeps all of it."""
    room = Room("ab", probability=sharp, splits=False)
    if known:
        for k in range(40):
            room.step({1: walk(k, (0, 3), (0, 0.2))}, {"a": {1: 1}, "b": {1: 1}})
        for _ in range(60):
            room.step({}, {})
    for k in range(60):
        room.step({0: walk(k, (2, 0), (-0.3, 0))}, {"a": {2: 0}, "b": {2: 0}})
    for k in range(200):
        room.step({1: walk(min(k, 60), (0.2, 0), (0.3, 0))}, {"a": {2: 1}, "b": {2: 1}})
    book = room.associator.book
    assert room.name("a", 2) == room.name("b", 2) > 0
    assert all(book.members(g) for g in book.open_ids())


@pytest.mark.parametrize("fps", [25.0, 2.0, 1.0, 0.5])
def test_where_somebody_was_is_remembered_for_seconds_only(fps: float) -> None:
    recent, last_s = Recent(), 0.0
    for k in range(round(120 * fps)):
        last_s = k / fps
        recent.note(1, last_s, float(k), 0.0)
    assert len(recent.state()["trail"]) <= LATE_S / BIN_S + 1
    assert recent.where(1, last_s) is not None


# ---------------------------------------------------------------------- crowds


def test_in_a_crowd_everybody_is_asked_in_turn_whom_he_could_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """More pairs than one turn compares, and everybody's looks change all the time."""
    rng, n = np.random.default_rng(0), 150
    looks = 1.9 * rng.normal(size=32) + rng.normal(size=(n, 32))
    online = OnlineAssociator(AssociateConfig(hindsight_s=0), ["a"], generic_probability)
    book, table = online.book, online.book.table
    rows = book.see("a", np.arange(n), 0.0, np.tile([0.0, 0, 40, 100], (n, 1)))
    for k, row in enumerate(rows.tolist()):
        table.confirmed[row], table.samples[row] = True, 20
        table.looks[row].add((looks[k] / np.linalg.norm(looks[k])).astype(np.float32), 1.0)
        table.first_s[row], table.last_s[row] = 10.0 * k, 10.0 * k + 5  # one after the other
        book.assign(row, book.create())
    asked, partners = [], Scorer.partners

    def told(self: Scorer, g: int, *rest: Any) -> Any:
        asked.append(g)
        return partners(self, g, *rest)

    monkeypatch.setattr(Scorer, "partners", told)
    online._scorer.impossible = lambda g, h: True  # so the floor says: compared, and never one
    for turn in range(12):
        for row in rows.tolist():
            book.touch(row)
        before = len(asked)
        online._merge(1e4 + turn)
        assert len(asked) - before < n
    assert set(asked) == set(book.open_ids())


def test_a_track_that_changes_its_home_twice_in_one_instant_has_moved_once() -> None:
    """Crowded walkers whose tracks swap: a home is left for another one, and that one given up."""
    rng = np.random.default_rng(27)
    cameras, n = int(rng.integers(2, 5)), int(rng.integers(3, 6))
    floor = Floor(cameras)
    place, fresh = rng.uniform(0, 2, (n, 2)), [100] * cameras
    ids = [[10 * c + p for p in range(n)] for c in range(cameras)]
    wide, shown, off = float(rng.uniform(0.5, 2)), np.ones((cameras, n), bool), rng.normal(size=(cameras, n, 2)) * 0.3
    moved = 0
    for k in range(150):
        place = np.clip(place + rng.normal(size=place.shape) * 0.1, 0, wide)
        camera, track, xy = [], [], []
        for c in range(cameras):
            if rng.random() < 0.05:
                a, b = rng.choice(n, 2, replace=False)
                ids[c][a], ids[c][b] = ids[c][b], ids[c][a]
            for p in range(n):
                if rng.random() < 0.06:
                    shown[c, p] ^= True
                if rng.random() < 0.05:
                    off[c, p] = rng.normal(size=2) * 0.4
                if not shown[c, p]:
                    continue
                if rng.random() < 0.01:
                    ids[c][p], fresh[c] = fresh[c], fresh[c] + 1
                camera.append(c)
                track.append(ids[c][p])
                xy.append(place[p] + off[c, p] + rng.normal(size=2) * 0.05)
        if camera:
            near = Places(np.array(xy), np.tile(np.eye(2) * 0.03, (len(xy), 1, 1)))
            floor.update(k * 0.2, Sightings(np.array(camera), np.array(track), near), None, lambda a, b: True)
            assert len(floor.moved) == len(set(floor.moved))
            moved += len(floor.moved)
    assert moved


@pytest.mark.parametrize("camera", [3, 61, 62, 63, 64, 200])
def test_one_camera_never_sees_one_person_twice_however_many_cameras(camera: int) -> None:
    near = Places(np.array([[0.0, 0], [0.1, 0], [0.05, 0]]), np.tile(np.eye(2) * 0.05, (3, 1, 1)))
    label = group(near, np.array([camera, camera, 1]), 0.05)
    assert label[0] != label[1]
    assert label[2] in label[:2]


def test_learned_times_are_compared_in_parts_with_the_same_result() -> None:
    times = Transitions({}, ["a", "b"])
    rng = np.random.default_rng(3)
    for value in rng.normal(8, 2, 40):
        times.learn("a", "b", float(value))
    elapsed = rng.uniform(0, 60, (3, CHUNK))
    whole = times.log_odds("a", "b", elapsed)
    assert whole.shape == elapsed.shape
    some = rng.integers(0, CHUNK, 50)
    assert np.array_equal(whole[:, some], times.log_odds("a", "b", elapsed[:, some]))
    assert times.log_odds("a", "b", np.zeros((0, 4))).shape == (0, 4)

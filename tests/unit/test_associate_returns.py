"""Who comes back: doors, second thoughts, and look-alikes who stand apart; positions that are neither hit nor miss."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_associate_ground import STEP_S, Room, sharp, walk

from mctrack.associate.doors import LIMIT, through_doors
from mctrack.geometry.cameras import Pinhole
from mctrack.geometry.entrances import Entrances
from mctrack.geometry.site import Site
from mctrack.sinks.state import dump_state, load_state

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

"""Who comes back: doors, second thoughts, and look-alikes who stand apart; positions that are neither hit nor miss."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_associate_ground import Room, sharp, walk

from mctrack.associate.doors import LIMIT, through_doors
from mctrack.geometry.cameras import Pinhole
from mctrack.geometry.entrances import Entrances
from mctrack.geometry.site import Site

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

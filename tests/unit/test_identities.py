"""Identities from made-up looks: what a user counts on, whatever goes on inside the associator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mctrack.associate import CameraView
from mctrack.associate.online import OnlineAssociator
from mctrack.config import AssociateConfig
from mctrack.sinks.state import dump_state, load_state
from mctrack.types import Link, Tracks, TrackState

DIM, STEP_S = 64, 0.1
Seen = dict[str, list[tuple[int, int]]]
"""camera → (track_id, person) of everyone in view."""


def calibrated(distance: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp((np.asarray(distance) - 0.4) / 0.05))


def view(camera: str, people: Sequence[tuple[int, int]], looks: np.ndarray, rng: np.random.Generator) -> CameraView:
    n = len(people)
    embedding = looks[[p for _, p in people]] + rng.normal(0, 0.04, (n, DIM))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    left = 100.0 * np.array([p for _, p in people])
    xyxy = np.stack([left, np.full(n, 50.0), left + 40, np.full(n, 150.0)], axis=1)
    tracks = Tracks(np.array([t for t, _ in people], np.int64), xyxy, np.ones(n),
                    np.full(n, int(TrackState.CONFIRMED)), np.zeros(n), np.arange(n), embedding.astype(np.float32))
    return CameraView(camera, tracks, np.full(n, 0.9))


class World:
    """Feeds an associator and keeps the map that its links describe."""

    def __init__(self, cameras: Sequence[str], people: int = 8, seed: int = 0, probability=calibrated) -> None:
        self.rng = np.random.default_rng(seed)
        looks = np.abs(self.rng.normal(size=(people, DIM)))
        self.looks = looks / np.linalg.norm(looks, axis=1, keepdims=True)
        self.associator = OnlineAssociator(AssociateConfig(), list(cameras), probability)
        self.cameras, self.time_s = list(cameras), 0.0
        self.links: list[Link] = []
        self.names: dict[tuple[str, int], int] = {}
        self.heir: dict[int, int] = {}

    def run(self, seconds: float, seen: Seen) -> None:
        for _ in range(round(seconds / STEP_S)):
            views = [view(c, seen[c], self.looks, self.rng) for c in self.cameras if seen.get(c)]
            self.take(self.associator.update(self.time_s, views))
            self.time_s += STEP_S

    def take(self, links: Sequence[Link]) -> None:
        for link in links:
            self.links.append(link)
            if link.kind == "merge":
                self.heir[link.previous_id] = link.global_id
            else:
                self.names[link.camera, link.track_id] = link.global_id

    def name(self, camera: str, track_id: int) -> int:
        found = self.names[camera, track_id]
        while found in self.heir:
            found = self.heir[found]
        assert self.associator.global_ids(camera, np.array([track_id]))[0] == found
        return found


def test_one_id_across_cameras_and_after_an_absence() -> None:
    world = World(["a", "b"])
    world.run(6, {"a": [(1, 0), (2, 1), (3, 2)]})
    world.run(4, {"b": [(1, 0)], "a": [(2, 1)]})
    world.run(5, {"a": [(2, 1)]})
    world.run(6, {"a": [(2, 1), (4, 2), (5, 3)], "b": [(2, 0)]})
    world.take(world.associator.finish())
    assert world.name("a", 1) == world.name("b", 1) == world.name("b", 2)
    assert world.name("a", 3) == world.name("a", 4)
    assert len({world.name("a", t) for t in (1, 2, 3, 5)}) == 4
    link = next(x for x in world.links if x.kind == "link")
    assert link.distance < 0.3
    assert link.probability >= 0.6
    assert link.gates["free_in_camera"] is True


def test_look_alikes_in_one_picture_stay_two() -> None:
    world = World(["a"])
    world.looks[1] = world.looks[0]
    world.run(8, {"a": [(1, 0), (2, 1), (3, 2)]})
    world.take(world.associator.finish())
    assert world.name("a", 1) != world.name("a", 2)


def test_without_reid_every_confirmed_track_is_somebody() -> None:
    world = World(["a", "b"], probability=None)
    world.run(1, {"a": [(1, 0)], "b": [(1, 0)]})
    assert {x.kind for x in world.links} == {"new"}
    assert world.name("a", 1) != world.name("b", 1)


def test_everybody_has_a_name_in_the_end_even_without_a_crop() -> None:
    world = World(["a"])
    world.looks[:] = 0  # nothing was described
    world.run(0.3, {"a": [(1, 0), (2, 1)]})
    world.take(world.associator.finish())
    assert world.name("a", 1) != world.name("a", 2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_no_identity_is_twice_in_a_picture_for_long_and_ids_are_never_reused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = World(["a", "b", "c"], people=6, seed=seed)
    world.looks = 0.7 * world.looks + 0.3 * world.looks[:1]  # much alike, so that mistakes are made
    world.looks /= np.linalg.norm(world.looks, axis=1, keepdims=True)
    next_track = dict.fromkeys("abc", 1)
    twice: dict[tuple[str, int], int] = {}
    for _ in range(6):
        seen: Seen = {}
        for camera in "abc":
            people = rng.permutation(6)[: rng.integers(0, 4)]
            seen[camera] = [(next_track[camera] + i, int(p)) for i, p in enumerate(people)]
            next_track[camera] += len(people)
        for _ in range(int(rng.integers(5, 30))):
            world.run(STEP_S, seen)
            now = set()
            for camera, people in seen.items():
                ids = [world.name(camera, t) for t, _ in people if (camera, t) in world.names]
                now |= {(camera, g) for g in ids if ids.count(g) > 1}
            twice = {key: twice.get(key, 0) + 1 for key in now}
            assert max(twice.values(), default=0) * STEP_S <= 2.0
    founded = [x.global_id for x in world.links if x.kind == "new"]
    assert len(founded) == len(set(founded))


@pytest.mark.parametrize("cut", [7, 23, 61])
def test_saved_and_restored_it_decides_the_same(cut: int) -> None:
    def schedule(step: int) -> Seen:
        return {"a": [(1, 0), (2, 1)] if step < 40 else [(3, 1), (4, 2)], "b": [(1, 2)] if step < 50 else [(2, 0)]}

    whole, first, second = (World(["a", "b"]) for _ in range(3))
    for step in range(90):
        whole.run(STEP_S, schedule(step))
    for step in range(cut):
        first.run(STEP_S, schedule(step))
    second.associator.restore(load_state(dump_state(first.associator.state())))
    second.time_s, second.rng = first.time_s, first.rng
    for step in range(cut, 90):
        second.run(STEP_S, schedule(step))
    assert repr(first.links + second.links) == repr(whole.links)

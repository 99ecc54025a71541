"""Sitting down and getting up: seats, the way there, legs that fold, one person to a place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mctrack.errors import ConfigError
from mctrack.synth import gait, world
from mctrack.synth.figure import Figure
from mctrack.synth.furniture import furniture
from mctrack.synth.gait import FEET_AHEAD_M, Pose, fold
from mctrack.synth.identity import sample_people
from mctrack.synth.motion import STEP_S
from mctrack.synth.navigation import Grid
from mctrack.synth.scene import Area, CameraConfig, Door, Habits, Item, SceneConfig, load_scene
from mctrack.synth.seats import FACING, seats
from mctrack.synth.world import World

ITEMS = [Item("chair", (0.4, 2.0), (0.44, 0.44, 0.88), facing="east"), Item("bench", (4.6, 2.5), (0.5, 1.9, 0.46))]
ROOM = Area("room", (2.0, 1.0), (6.0, 5.0), doors=[Door("door", "north", 3.0)], items=ITEMS)
EYE = CameraConfig("eye", "room", (0.2, 0.2, 2.5), (3.0, 2.5, 0.9), 80, (96, 64), 5.0, noise=0, blur_px=0)
HABITS = Habits(inside_at_start=1.0, stops=(3, 4), stop_s=(0.5, 1.0), sit=0.9, sit_s=(1.0, 3.0))
SCENE = SceneConfig([ROOM], [EYE], HABITS, look_alikes=0, people=4, seconds=30.0)


@pytest.fixture(scope="module")
def made() -> World:
    return world.create(SCENE, 2)


@pytest.fixture(scope="module")
def figures() -> list[Figure]:
    people, _ = sample_people(12, np.random.default_rng(4), 0)
    return [Figure(p) for p in people]


def test_seats_face_away_from_their_back_and_benches_have_two_sides() -> None:
    found = seats(ROOM, Grid(ROOM))
    chairs = [s for s in found if s.key[0] == 0]
    assert len(chairs) == 1
    assert chairs[0].heading == 0.0
    assert chairs[0].feet[0] - chairs[0].place[0] == pytest.approx(FEET_AHEAD_M)
    bench = [s for s in found if s.key[0] == 1]
    assert {s.key[1] for s in bench} == {0, 1, 2}, "three places of 60 cm on 1.9 m"
    assert len(bench) == 6
    for place in range(3):
        a, b = (s for s in bench if s.key[1] == place)
        assert abs(a.place[1] - b.place[1]) < 1e-9
        assert abs(a.heading - b.heading) == pytest.approx(np.pi)


@pytest.mark.parametrize("facing", sorted(FACING))
@pytest.mark.parametrize("kind", ["chair", "sofa"])
def test_the_back_rest_is_behind_the_sitter(kind: str, facing: str) -> None:
    item = Item(kind, (3.0, 2.5), (1.5, 0.8, 0.9) if facing in ("south", "north") else (0.8, 1.5, 0.9), facing=facing)
    area = replace(ROOM, items=[item])
    centre, front = np.array([5.0, 3.5]), np.array(FACING[facing])
    tallest = max(furniture(area, item), key=lambda s: s.high[2])
    middle = 0.5 * (tallest.low + tallest.high)[:2]
    assert (middle - centre) @ front < -0.2
    for seat in seats(area, Grid(area)):
        assert -0.25 < (seat.place - centre) @ front < (seat.feet - centre) @ front


def test_a_seat_that_something_stands_before_is_none() -> None:
    blocked = replace(ROOM, items=[*ITEMS, Item("box", (1.1, 2.0), (0.5, 0.9, 1.0))])
    assert all(s.key[0] != 0 for s in seats(blocked, Grid(blocked)))
    assert not seats(replace(ROOM, items=[Item("table", (3, 2), (1, 1, 0.7))]), Grid(ROOM))


@pytest.mark.parametrize("height_m", [1.5, 1.75, 2.0])
def test_folded_legs_reach_from_the_hips_to_the_planted_feet(height_m: float) -> None:
    thigh, shin, ankle = 0.235 * height_m, 0.24 * height_m, 0.045 * height_m
    for sit in (0.0, 0.3, 0.7, 1.0):
        pose = Pose(0, 0, 0, 0, 0, sit=sit, seat_m=0.45)
        hip, knee = np.radians(fold(thigh, shin, ankle, height_m, pose))
        ahead = thigh * np.sin(hip) + shin * np.sin(hip - knee)
        down = thigh * np.cos(hip) + shin * np.cos(hip - knee)
        assert ahead == pytest.approx(FEET_AHEAD_M * sit, abs=0.01)
        if sit in (0.0, 1.0):
            seated = 0.45 + gait.HIP_ABOVE_SEAT * height_m - ankle
            assert down == pytest.approx(seated if sit else thigh + shin, abs=0.01)


def test_feet_stay_where_they_are_while_the_hips_go_down(figures: list[Figure]) -> None:
    for f in figures:
        feet, hips, tops = [], [], []
        for sit in (0.05, 0.4, 0.75, 1.0):
            pose = Pose(3.0 - FEET_AHEAD_M * sit, 2.0, 0.0, 0.2, 0.0, sit=sit, seat_m=0.45)
            points, normals = f.posed(pose)
            soles = points[np.isin(f.mesh.bones[:, 0], (gait.L_FOOT, gait.R_FOOT))]
            assert soles[:, 2].min() == pytest.approx(0, abs=1e-9)
            assert np.allclose(np.linalg.norm(normals, axis=1), 1)
            joints = f.skeleton(pose)
            feet.append(joints[[gait.L_FOOT, gait.R_FOOT], 0].mean())
            hips.append(joints[gait.L_THIGH, 2])
            tops.append(points[:, 2].max())
        assert np.ptp(feet) < 0.03
        assert sorted(hips, reverse=True) == hips
        assert hips[-1] == pytest.approx(0.45 + gait.HIP_ABOVE_SEAT * f.person.height_m, abs=0.02)
        assert 0.68 < tops[-1] / f.person.height_m < 0.86


def test_people_sit_and_get_up_again(made: World) -> None:
    moves = made.moves
    here = moves.area >= 0
    seated = here & (moves.sit >= 1)
    assert seated.any(axis=0).sum() >= 3
    risen = (moves.sit[:-1] > 0) & (moves.sit[1:] <= 0)
    assert risen.sum() >= 3
    places = np.stack([s.place for s in seats(ROOM, Grid(ROOM))])
    for step, k in np.argwhere(seated)[::40]:
        assert np.linalg.norm(moves.xy[step, k] - places, axis=1).min() < 1e-6
    for k in range(moves.xy.shape[1]):
        going = np.flatnonzero((moves.sit[:-1, k] <= 0) & (moves.sit[1:, k] > 0))
        for start in going:
            until = start + np.flatnonzero(moves.sit[start:, k] >= 1)
            if len(until):
                assert 0.9 < (until[0] - start) * STEP_S < 1.4, "about a second to sit down"
    jumps = np.linalg.norm(np.diff(moves.xy, axis=0), axis=-1)[here[1:] & here[:-1]]
    assert jumps.max() < 2.0 * STEP_S


def test_a_place_holds_one_person_and_nobody_walks_through_furniture(made: World) -> None:
    moves, grid = made.moves, Grid(ROOM)
    here = moves.area >= 0
    both = here[:, :, None] & here[:, None] & ~np.eye(4, dtype=bool)
    gaps = np.linalg.norm(moves.xy[:, :, None] - moves.xy[:, None], axis=-1)
    assert gaps[both].min() > 0.3
    assert grid.room(moves.xy[here & (moves.sit <= 0)]).min() > 0.05
    ahead = np.stack([np.cos(moves.heading), np.sin(moves.heading)], axis=-1)
    feet = moves.xy + FEET_AHEAD_M * moves.sit[..., None] * ahead
    for k in range(4):
        down = here[:, k] & (moves.sit[:, k] > 0)
        runs = np.split(np.flatnonzero(down), np.flatnonzero(np.diff(np.flatnonzero(down)) > 1) + 1)
        for run in runs:
            if len(run) > 1:
                assert np.ptp(feet[run, k], axis=0).max() < 0.06, "feet stay planted"


def test_same_seed_same_sitting_and_none_unless_asked(made: World) -> None:
    np.testing.assert_array_equal(world.create(SCENE, 2, seconds=8).moves.sit, made.moves.sit[: 8 * 30 + 2])
    standing = world.create(replace(SCENE, habits=replace(HABITS, sit=0.0)), 2, seconds=8)
    assert not standing.moves.sit.any()


def test_boxes_of_sitters_are_lower(made: World, figures: list[Figure]) -> None:
    from mctrack.synth.view import View

    view = View(EYE, ROOM, 0)
    stand = Pose(5.6, 4.0, np.pi, 0.2, 0.0)
    sit = replace(stand, x_m=stand.x_m + FEET_AHEAD_M, sit=1.0, seat_m=0.47)
    tall, low = (view.picture([figures[0]], {0: p}, render=False)[1][0].full_xyxy for p in (stand, sit))
    assert low[3] == pytest.approx(tall[3], abs=2.0), "the feet are where they were"
    assert 0.6 < (low[3] - low[1]) / (tall[3] - tall[1]) < 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("sit: 0.3", "sit: 1.3"), "habits.sit: 1.3 is not in"),
        (("sit_s: [1, 3]", "sit_s: [3, 1]"), "habits.sit_s.*smaller one first"),
        (("sit_s: [1, 3]", "sit_s: 3"), "must be a list of 2"),
        (("kind: chair", "kind: table"), "no area has a chair, bench or sofa"),
        (("facing: east", "facing: eastt"), "did you mean 'east'"),
    ],
)
def test_what_is_wrong_with_sitting_is_said(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    text = """
habits: {sit: 0.3, sit_s: [1, 3]}
areas:
  - {name: room, origin: [0, 0], size: [4, 4], doors: [{name: door, wall: north, at_m: 2.0}],
     items: [{kind: chair, at: [1, 1], size: [0.4, 0.4, 0.9], facing: east}]}
cameras: [{name: a, area: room, position: [0.2, 0.2, 2.4], look_at: [2.5, 2.5, 0.9]}]
"""
    path = tmp_path / "scene.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_scene(str(path)).habits.sit == 0.3
    assert change[0] in text
    path.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_scene(str(path))


def test_lab_and_hall_have_seats() -> None:
    for name, places in (("lab", 4), ("hall", 6)):
        scene = load_scene(name)
        assert scene.habits.sit > 0
        assert len({s.key for a in scene.areas for s in seats(a, Grid(a))}) == places

"""Every shipped scene: it can be filmed, people keep to the floor, and nobody appears out of nothing."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mctrack.resources import resource
from mctrack.synth import daylight, world
from mctrack.synth.backdrop import cast
from mctrack.synth.figure import Figure
from mctrack.synth.gait import Pose
from mctrack.synth.identity import sample_people
from mctrack.synth.layout import solids
from mctrack.synth.navigation import Grid
from mctrack.synth.scene import Area, CameraConfig, Door, Item, SceneConfig, load_scene
from mctrack.synth.view import View
from mctrack.synth.world import World

PRESETS = sorted(p.stem for p in resource("configs", "synth").glob("*.yaml"))
SECONDS = {"hall": 12.0, "corridor": 25.0, "street": 16.0}
SQUARE = Area(
    "square", (3.0, 1.0), (9.0, 7.0), height_m=4.0, outdoor=True, sun=(270.0, 40.0), floor="street",
    doors=[Door("gap", "north", 4.5, 2.0)], items=[Item("box", (4.5, 3.5), (0.6, 0.6, 1.2))],
)  # fmt: skip
EYE = CameraConfig("eye", "square", (4.5, 0.3, 3.5), (4.5, 7.0, 2.2), 80, (96, 64), 5.0, noise=0, blur_px=0)


def small(scene: SceneConfig) -> SceneConfig:
    """The same cameras with few pixels."""
    return replace(scene, cameras=[replace(c, size=(96, 54)) for c in scene.cameras])


@pytest.fixture(scope="module", params=sorted(SECONDS))
def made(request: pytest.FixtureRequest) -> World:
    return world.create(small(load_scene(request.param)), 7, seconds=SECONDS[request.param])


@pytest.fixture(scope="module")
def views(made: World) -> list[View]:
    areas = {a.name: a for a in made.scene.areas}
    return [View(c, areas[c.area], k) for k, c in enumerate(made.scene.cameras)]


def test_what_ships() -> None:
    assert {"pairs", "lab", "hall", "street", "corridor"} <= set(PRESETS)
    cameras = {name: len(load_scene(name).cameras) for name in PRESETS}
    assert (cameras["hall"], cameras["corridor"], cameras["street"]) == (6, 4, 4)
    assert load_scene("hall").people == 20


def test_the_shipped_clips_can_be_made_again() -> None:
    moves = world.create(load_scene("pairs"), 7, 9, 8.0).moves
    checked = 0
    for row in csv.DictReader((resource("videos") / "ground_truth_ground.csv").open()):
        if float(row["time_s"]) < 7.5:
            there = moves.pose(int(row["id"]) - 1, round(float(row["time_s"]) * 15) / 15)
            assert there is not None
            np.testing.assert_allclose([there[1].x_m, there[1].y_m], [float(row["x_m"]), float(row["y_m"])], atol=1e-4)
            checked += 1
    assert checked > 300


def test_people_keep_to_the_floor(made: World) -> None:
    grids = [Grid(a) for a in made.scene.areas]
    moves, most = made.moves, [a.max_people for a in made.scene.areas]
    long = world.create(made.scene, 7, seconds=90.0).moves
    for k, (grid, limit) in enumerate(zip(grids, most, strict=True)):
        here = moves.area == k
        assert grid.room(moves.xy[here & (moves.sit <= 0)]).min() > 0.05, "in a wall or in the furniture"
        assert here.sum(axis=1).max() <= limit
        assert grid.inside(long.xy[long.area == k]).mean() > 0.4, "rather than in the passages"
    together = (moves.area[:, :, None] == moves.area[:, None]) & (moves.area[:, :, None] >= 0)
    together &= ~np.eye(len(made.people), dtype=bool)
    gaps = np.linalg.norm(moves.xy[:, :, None] - moves.xy[:, None], axis=-1)
    assert gaps[together].min() > 0.25
    walked = np.linalg.norm(np.diff(moves.xy, axis=0), axis=-1)
    stayed = (moves.area[1:] == moves.area[:-1]) & (moves.area[1:] >= 0)
    assert walked[stayed].max() < 2.0 / 30, "nobody jumps, hence nobody gets through a wall"


def test_every_door_is_used_and_leads_to_its_partner() -> None:
    for name in PRESETS:
        scene = load_scene(name)
        doors = {f"{a.name}.{d.name}": d for a in scene.areas for d in a.doors}
        for own, door in doors.items():
            if door.to is not None:
                assert doors[door.to].to == own, f"{name}: {own}"


def test_a_picture_of_each_camera(made: World, views: list[View]) -> None:
    figures = [Figure(p) for p in made.people]
    seen = 0
    for view in views:
        poses = made.poses(view.area.name, 6.0)
        picture, truth = view.picture(figures, poses, time_s=6.0)
        assert picture is not None
        assert picture.shape == (54, 96, 3)
        assert picture.std() > 12, "a picture, not a grey card"
        assert 40 < picture.mean() < 215
        assert {s.person for s in truth} <= set(poses)
        seen += len(truth)
    assert seen >= 3


def test_nobody_appears_or_vanishes_in_a_picture(made: World, views: list[View]) -> None:
    figures = [Figure(p) for p in made.people]
    moves, checked = made.moves, 0
    for step, (before, after) in enumerate(pairwise(moves.area)):
        for person in np.flatnonzero(before != after):
            for area, at in ((before[person], step), (after[person], step + 1)):
                if area < 0:
                    continue
                place = moves.xy[at, person]
                pose = Pose(float(place[0]), float(place[1]), float(moves.heading[at, person]), 0.1, 1.0)
                for view in views:
                    if view.area.name == made.scene.areas[area].name:
                        _, truth = view.picture(figures, {int(person): pose}, render=False)
                        assert not truth, (view.config.name, place)
                        checked += 1
    assert checked >= 8


@pytest.mark.parametrize("name", ["corridor", "street"])
def test_nobody_is_faster_out_of_sight_than_on_foot(name: str) -> None:
    scene = load_scene(name)
    moves, far = world.create(small(scene), 7, seconds=60.0).moves, 0
    step_s = 60.0 / (len(moves.area) - 1)
    for person in range(moves.area.shape[1]):
        here = np.flatnonzero(moves.area[:, person] >= 0)
        for last, first in pairwise(here):
            if first - last > 1:
                way = float(np.linalg.norm(moves.xy[first, person] - moves.xy[last, person]))
                assert way <= scene.habits.behind_mps * (first - last) * step_s + 0.3, (person, last, first)
                far += way > 10
    assert far > 3, "some come in again far from where they went out"


def test_corridor_cameras_share_no_one() -> None:
    scene = load_scene("corridor")
    assert len({c.area for c in scene.cameras}) == len(scene.cameras)
    for a, b in pairwise(sorted(scene.areas, key=lambda area: area.origin)):
        assert a.origin[0] + a.size[0] + 2 * 1.8 < b.origin[0], "stretches lie apart on the ground plane too"


def test_hall_cameras_overlap() -> None:
    scene = load_scene("hall")
    points = np.array([[x, y, 1.0] for x in np.linspace(3, 15, 5) for y in np.linspace(3, 11, 5)])
    count = np.zeros(len(points))
    for config in scene.cameras:
        camera = View(replace(config, size=(96, 54)), scene.areas[0], 0).camera
        pixel, depth = camera.project(points)
        count += (depth > 0) & (pixel >= 0).all(axis=1) & (pixel < camera.size).all(axis=1)
    assert np.median(count) >= 3
    assert (count >= 2).mean() > 0.9


def test_outdoors_has_sky_sun_and_shadows() -> None:
    view = View(EYE, SQUARE, 0)
    assert view.backdrop.sun is not None
    assert view.backdrop.inverse_depth[0].max() < 1e-3, "sky above the houses"
    blue, _, red = view.backdrop.colour[0].mean(axis=0)
    assert blue > red
    assert not view.backdrop.sun[0].any(), "the sun adds nothing to the sky"
    floor = view.backdrop.floor > 0.99
    lit = view.backdrop.sun[floor].max(axis=1)
    assert (lit > 0.15).mean() > 0.2
    assert (lit < 0.02).mean() > 0.05, "the houses in the south throw shadow"
    # A point in the open is lit; one just north of the box is not: the sun stands in the south.
    day = daylight.Daylight(SQUARE, solids(SQUARE))
    points = np.array([[6.0, 6.5, 0.0], [7.5, 5.0, 0.0], [7.5, 7.5, 0.0]])
    light = day.on(points, np.array([[0.0, 0.0, 1.0]] * 3), np.full(3, -1))[:, 1].max(axis=1)
    assert light[1] == 0 < min(light[0], light[2])


def test_people_throw_shadows_in_the_sun() -> None:
    view = View(EYE, replace(SQUARE, sun=(200.0, 45.0)), 0)
    figure = Figure(sample_people(1, np.random.default_rng(4), 0)[0][0])
    empty, _ = view.picture([figure], {})
    with_one, (seen,) = view.picture([figure], {0: Pose(9.3, 5.6, 0.3, 0.2, 1.0)})
    assert empty is not None
    assert with_one is not None
    change = with_one.astype(int) - empty
    x0, y0, x1, y1 = (int(v) for v in seen.xyxy)
    outside = np.ones(change.shape[:2], bool)
    outside[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1] = False
    assert change[outside].min() < -25, "a shadow beside the body"
    assert change[outside].max() <= 1, "and no light"


def test_light_comes_and_goes() -> None:
    cloudy = replace(SQUARE, light_swing=0.8, light_period_s=30.0)
    shares = np.array([daylight.strength(cloudy, t) for t in np.arange(0, 60, 0.5)])
    assert shares.max() == 1.0
    assert 0.19 < shares.min() < 0.5
    assert np.abs(np.diff(shares)).max() < 0.15, "no flicker"
    view = View(EYE, cloudy, 0)
    bright, dim = (view.picture([], {}, time_s=0.5 * float(k))[0] for k in (shares.argmax(), shares.argmin()))
    assert bright is not None
    assert dim is not None
    assert bright.mean() > dim.mean() + 5
    room = replace(cloudy, outdoor=False, floor="tiles")
    assert View(EYE, room, 0).backdrop.sun is None


def test_pairs_go_together() -> None:
    scene = load_scene("street")
    made = world.create(scene, 3, people=4, seconds=30)
    alone = world.create(replace(scene, habits=replace(scene.habits, groups=0.0)), 3, people=4, seconds=30)

    def apart(w: World, a: int, b: int) -> float:
        both = (w.moves.area[:, a] == w.moves.area[:, b]) & (w.moves.area[:, a] >= 0)
        return float(np.median(np.linalg.norm(w.moves.xy[both, a] - w.moves.xy[both, b], axis=1)))

    assert apart(made, 2, 3) < 2.5 < apart(alone, 2, 3)
    assert made.people == alone.people


def test_a_large_crowd_can_be_dressed() -> None:
    people, _ = sample_people(60, np.random.default_rng(0), 0)
    outfits = {(p.top, p.top_colour, p.bottom, p.bottom_colour) for p in people}
    assert len(outfits) == 60


def test_sky_is_far_away() -> None:
    depth, hit, _ = cast(np.zeros(3) + 1.0, np.array([[1.0, 0, 0.2], [1.0, 0, -0.5]]), [], daylight.SKY_M)
    np.testing.assert_array_equal(hit, [-2, -1])
    assert depth[0] > 1e4 > depth[1]

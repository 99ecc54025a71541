"""Tiny scenes: the truth is the same for the same seed, and agrees with what is drawn."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mctrack.errors import ConfigError
from mctrack.synth import figure, motion, world
from mctrack.synth.figure import Figure, draw
from mctrack.synth.gait import Pose
from mctrack.synth.identity import sample_people
from mctrack.synth.scene import Area, CameraConfig, Door, Habits, Item, SceneConfig, load_scene
from mctrack.synth.truth import Stay, absences
from mctrack.synth.view import View

ROOM = Area(
    "room",
    (2.0, 1.0),
    (5.0, 4.0),
    doors=[Door("door", "north", 2.5)],
    items=[Item("box", (3.4, 2.8), (0.6, 0.6, 1.0))],
)
LEFT = CameraConfig("left", "room", (0.2, 0.2, 2.5), (3.0, 2.5, 0.9), 80, (96, 64), 5.0, [-0.05], noise=0, blur_px=0)
RIGHT = replace(LEFT, name="right", position=(4.8, 0.2, 2.5), look_at=(2.0, 2.5, 0.9), fps=4.0)
SCENE = SceneConfig([ROOM], [LEFT, RIGHT], Habits(inside_at_start=1.0), look_alikes=1, people=2, seconds=1.0)
AHEAD = np.arctan2(2.3, 2.8)


@pytest.fixture(scope="module")
def view() -> View:
    return View(LEFT, ROOM, 0)


@pytest.fixture(scope="module")
def figures() -> list[Figure]:
    people, _ = sample_people(3, np.random.default_rng(4), 0)
    return [Figure(p) for p in people]


def standing(x_m: float, y_m: float, heading: float = 0.7) -> Pose:
    return Pose(x_m, y_m, heading, 0.2, 1.2)


def on_axis(distance_m: float) -> Pose:
    """Someone on the line of sight of the left camera."""
    return standing(2.2 + distance_m * np.cos(AHEAD), 1.2 + distance_m * np.sin(AHEAD))


def test_same_seed_same_truth() -> None:
    once, again, other = (world.create(SCENE, seed) for seed in (3, 3, 4))
    assert once.people == again.people
    np.testing.assert_array_equal(once.moves.xy, again.moves.xy)
    np.testing.assert_array_equal(once.moves.phase, again.moves.phase)
    assert once.people != other.people
    assert not np.array_equal(once.moves.xy, other.moves.xy)
    measured = [world.film(w, Path(), video=False) for w in (once, again)]
    assert [t.frames for t in measured[0]] == [t.frames for t in measured[1]]


def test_visibility_equals_brute_force(view: View, figures: list[Figure]) -> None:
    poses = {0: on_axis(2.6), 1: on_axis(3.3), 2: standing(5.4, 4.3)}
    _, seen = view.picture(figures, poses, render=False)
    width, height = (figure.SAMPLES * s for s in LEFT.size)
    layers = {}
    for k, pose in poses.items():
        drawn = draw(view.camera, figures[k], pose)
        assert drawn is not None
        layers[k] = dict(
            zip(zip(drawn.row.tolist(), drawn.column.tolist(), strict=True), drawn.fragments.inverse_depth, strict=True)
        )
    for s in seen:
        free = 0
        for (row, column), inverse in layers[s.person].items():
            if not (0 <= row < height and 0 <= column < width) or inverse <= view.backdrop.inverse_depth[row, column]:
                continue
            free += all(other.get((row, column), 0) < inverse for k, other in layers.items() if k != s.person)
        assert s.visibility == pytest.approx(free / len(layers[s.person]), abs=1e-12)
    by_person = {s.person: s.visibility for s in seen}
    assert by_person[0] == 1.0
    assert 0 < by_person[1] < 0.7, "stands behind the first"


def test_furniture_hides_the_legs(view: View, figures: list[Figure]) -> None:
    _, open_floor = view.picture(figures, {0: standing(4.2, 4.6)}, render=False)
    _, behind_box = view.picture(figures, {0: standing(5.8, 4.45)}, render=False)
    assert open_floor[0].visibility == 1.0
    assert 0.3 < behind_box[0].visibility < 0.95


def test_box_is_full_body_cut_at_the_edge(view: View, figures: list[Figure]) -> None:
    _, seen = view.picture(figures, {0: on_axis(1.2)}, render=False)
    (s,) = seen
    assert s.full_xyxy[3] > LEFT.size[1], "the feet are below the picture"
    assert s.xyxy[3] == LEFT.size[1]
    assert s.xyxy[:3] == s.full_xyxy[:3]
    assert s.visibility < 1.0
    _, outside = view.picture(figures, {0: standing(2.5, 20.0)}, render=False)
    assert outside == []


@pytest.mark.parametrize("place", [(3.9, 3.0), (5.8, 4.45), (4.4, 1.6)])
def test_box_contains_every_rendered_pixel(
    view: View, figures: list[Figure], place: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view._shadows, "factors", lambda skeletons: (np.ones((64, 96, 1), np.float32),) * 2)
    empty, _ = view.picture(figures, {})
    picture, seen = view.picture(figures, {0: standing(*place)})
    assert empty is not None
    assert picture is not None
    rows, columns = np.nonzero((picture != empty).any(axis=2))
    x0, y0, x1, y1 = seen[0].xyxy
    assert np.floor(x0) <= columns.min() <= columns.max() + 1 <= np.ceil(x1)
    assert np.floor(y0) <= rows.min() <= rows.max() + 1 <= np.ceil(y1)
    if seen[0].visibility == 1.0:
        drawn = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        np.testing.assert_allclose(drawn, (x0, y0, x1, y1), atol=1.01)


def test_generated_folder(tmp_path: Path) -> None:
    import av

    made = world.create(SCENE, 3)
    world.generate(made, tmp_path, "the command")
    calibration = json.loads((tmp_path / "calibration.json").read_text())
    ground = {
        (round(float(r["time_s"]), 4), int(r["id"])): (float(r["x_m"]), float(r["y_m"]))
        for r in csv.DictReader((tmp_path / "ground_truth_ground.csv").open())
    }
    checked = 0
    for config in SCENE.cameras:
        with av.open(str(tmp_path / f"{config.name}.mp4")) as container:
            times = [float(f.pts * f.time_base) for f in container.decode(video=0)]
        np.testing.assert_allclose(times, np.arange(round(config.fps)) / config.fps, atol=1e-6)
        rows = [list(map(float, line.split(","))) for line in (tmp_path / f"gt/{config.name}.txt").read_text().split()]
        assert len({(r[0], r[1]) for r in rows}) == len(rows), "an identity at most once per camera and frame"
        assert all((r[6] == 0) == (r[8] < 0.1) and r[7] == 1 and 1 <= r[0] <= len(times) for r in rows)
        H = np.linalg.inv(calibration["cameras"][config.name]["homography_image_to_ground"])
        for frame, person, left, top, w, h, _, _, visibility in rows:
            key = (round((frame - 1) / config.fps, 4), int(person))
            if visibility == 1.0 and top + h < config.size[1] - 1 and key in ground:
                x, y, scale = H @ [*ground[key], 1]
                # (undistorted pixels: within two pixels of the true ones in this small picture)
                assert left - 4 <= x / scale <= left + w + 4
                assert top + 0.75 * h <= y / scale <= top + h + 4
                checked += 1
    assert checked >= 4
    assert json.loads((tmp_path / "topology.json").read_text())["overlapping"] == [["left", "right"]]
    assert set(json.loads((tmp_path / "identities.json").read_text())["people"]) == {"1", "2"}
    assert "the command" in (tmp_path / "README.md").read_text()


def test_look_alikes_differ_in_one_detail_of_dress() -> None:
    people, pairs = sample_people(6, np.random.default_rng(0), 2)
    body = {"height_m", "pace_mps", "seed"}
    for pair in pairs:
        a, b = (people[k - 1].to_dict() for k in pair["ids"])
        assert len({k for k in a if a[k] != b[k]} - body) == 1
    others = [people[0], people[2], *people[4:]]
    assert len({p.top_colour for p in others}) == len(others)


def test_people_stand_on_the_floor_at_their_height(figures: list[Figure]) -> None:
    for f in figures:
        for phase in (0.0, 0.3, 0.6):
            points, normals = f.posed(Pose(1.0, 2.0, 0.5, phase, 1.3))
            assert points[:, 2].min() == pytest.approx(0, abs=1e-9)
            assert 0.93 * f.person.height_m < points[:, 2].max() < 1.08 * f.person.height_m
            np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def test_walkers_collide_with_nobody_and_stay_off_the_furniture() -> None:
    scene = load_scene("pairs")
    made = world.create(scene, 7, seconds=25)
    moves = made.moves
    here = moves.area[:, :, None]
    together = (here == moves.area[:, None, :]) & (here >= 0) & ~np.eye(len(made.people), dtype=bool)
    gaps = np.linalg.norm(moves.xy[:, :, None] - moves.xy[:, None], axis=-1)
    assert gaps[together].min() > 0.35
    steps = np.linalg.norm(np.diff(moves.xy, axis=0), axis=-1)
    stayed = (moves.area[1:] == moves.area[:-1]) & (moves.area[1:] >= 0)
    assert steps[stayed].max() < 2.0 * motion.STEP_S
    for k, area in enumerate(scene.areas):
        for item in area.items:
            centre = np.array(area.origin) + item.at
            inside = (np.abs(moves.xy - centre) < np.array(item.size[:2]) / 2).all(axis=-1) & (moves.area == k)
            assert not inside.any(), item
    gone = (moves.area[1:] < 0) & (moves.area[:-1] >= 0)
    assert gone.any(axis=0).sum() >= 4, "people leave"
    back = (moves.area[1:] >= 0) & (moves.area[:-1] < 0) & (np.cumsum(gone, axis=0) > 0)
    assert back.any(axis=0).sum() >= 3, "and come back"


def test_absences() -> None:
    found = [Stay(0, "a", 0, 4), Stay(0, "b", 9, 12), Stay(1, "a", 3, 5)]
    (gap,) = absences(found)
    assert (gap["id"], gap["from_area"], gap["to_area"], gap["away_s"]) == (1, "a", "b", 5)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"people": 0}, "people"), ({"seconds": 0.0}, "seconds"), ({"cameras": 5}, "cams"), ({"people": 300}, "people")],
)
def test_numbers_out_of_range(arguments: dict[str, int], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        world.create(SCENE, 1, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seed"):
        world.create(SCENE, -1)

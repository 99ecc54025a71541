"""People from MakeHuman's assets: files of our own for the formats, the real folder where there is one."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mctrack.errors import SourceError
from mctrack.synth import gait, world
from mctrack.synth.makehuman.actor import HumanActor
from mctrack.synth.makehuman.assets import Assets, components, read_fitted, read_obj, read_target
from mctrack.synth.makehuman.bvh import at_ease, blend, read_bvh
from mctrack.synth.makehuman.crowd import sample_crowd
from mctrack.synth.makehuman.palette import UPPER, shade
from mctrack.synth.makehuman.person import Person, market_attributes, sample_person, twin
from mctrack.synth.makehuman.poses import mix, sample_pose, walking
from mctrack.synth.makehuman.rig import (
    BONES,
    INDEX,
    PARENT,
    SOURCE,
    STRAIGHT,
    Pose,
    about,
    between,
    rotations,
    skin,
    transforms,
)
from mctrack.synth.makehuman.stride import Stride
from mctrack.synth.scene import Area, CameraConfig, Door, Habits, SceneConfig
from mctrack.synth.view import View

ROOT = Path(__file__).resolve().parents[2]
OBJ = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\ng body\nf 1/1 2/2 3/3 4/4\ng joint-x\nf 1 2 3\ng body\nf 1 3 4\n"
CLOTHES = """# clothes
name thing
obj_file thing.obj
x_scale 0 1 2.0
z_scale 0 3 1.0
y_scale 1 2 4.0
verts 0
material thing.mhmat
2
0 1 2 0.5 0.75 -0.25 0.1 0.2 0.3
1
3
delete_verts
1 3 - 5
"""


@pytest.fixture(scope="module")
def assets() -> Path:
    """The folder of MakeHuman's assets; the test skips where it is missing."""
    path = Path(os.environ.get("MCTRACK_ASSETS", ROOT.parent / "shared" / "assets")) / "makehuman_cc0"
    if not path.is_dir():
        pytest.skip(f"MakeHuman's assets not found at {path}; set MCTRACK_ASSETS")
    return path


def person(seed: int = 3) -> Person:
    return sample_person(np.random.default_rng(seed))


def test_obj_groups_repeat_and_quads_become_two_triangles(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text(OBJ, encoding="utf-8")
    mesh = read_obj(tmp_path / "a.obj")
    assert mesh.points.shape == (4, 3)
    assert mesh.groups["body"].tolist() == [[0, 1, 2], [0, 2, 3], [0, 2, 3]]
    assert len(mesh.triangles("joint")) == 1


def test_target_leaves_out_what_it_does_not_name(tmp_path: Path) -> None:
    path = tmp_path / "t.target.gz"
    path.write_bytes(gzip.compress(b"# shifts\n1 .5 -1 0\n9 1 1 1\n"))
    assert read_target(path, 3).tolist() == [[0, 0, 0], [0.5, -1, 0], [0, 0, 0]]
    path.write_bytes(gzip.compress(b""))
    assert not read_target(path, 3).any()


def test_clothes_bind_to_one_or_three_vertices_after_a_material_line(tmp_path: Path) -> None:
    (tmp_path / "thing.obj").write_text(OBJ, encoding="utf-8")
    (tmp_path / "thing.mhclo").write_text(CLOTHES, encoding="utf-8")
    worn = read_fitted(tmp_path / "thing.mhclo")
    assert worn.vertex.tolist() == [[2, 2, 2], [0, 1, 2], [1, 1, 1], [3, 3, 3]]
    assert worn.weight[1].tolist() == [0.5, 0.75, -0.25]
    assert worn.weight[0].tolist() == [1, 0, 0]
    assert worn.scale == ((0, 1, 2.0), (1, 2, 4.0), (0, 3, 1.0))  # x, y, z though the file says x, z, y
    assert worn.hides.tolist() == [1, 3, 4, 5]


def test_components_split_what_is_not_connected() -> None:
    part = components(np.array([[0, 1, 2], [3, 4, 5], [2, 1, 6]], np.int32), 7)
    assert part[0] == part[1] == part[2] == part[6]
    assert part[3] == part[4] == part[5] != part[0]


def test_a_folder_without_assets_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no 3dobjs/base\.obj"):
        Assets(tmp_path)


def test_parents_come_before_their_children() -> None:
    assert PARENT[INDEX["pelvis"]] == -1
    assert all(p < k for k, p in enumerate(PARENT))
    assert BONES[PARENT[INDEX["forearm.R"]]] == "arm.R"


def test_least_rotation_takes_one_direction_to_the_other(rng: np.random.Generator) -> None:
    for a, b in rng.normal(size=(10, 2, 3)):
        turn = between(a, b)
        assert np.allclose(turn @ a / np.linalg.norm(a), b / np.linalg.norm(b))
        assert np.linalg.det(turn) == pytest.approx(1)


def test_rotation_about_x_leans_forward() -> None:
    assert np.allclose(about(0, 90) @ [0, 1, 0], [0, 0, 1])


def test_same_seed_same_person_and_attributes_in_range() -> None:
    assert person() == person()
    assert person(1) != person(2)
    for seed in range(60):
        marks = market_attributes(person(seed))
        assert len(marks) == 27
        assert 1 <= marks["age"] <= 4
        assert all(v in (1, 2) for k, v in marks.items() if k != "age")
        assert sum(v == 2 for k, v in marks.items() if k.startswith("up") and k != "up") <= 1
        assert sum(v == 2 for k, v in marks.items() if k.startswith("down") and k != "down") <= 1


def test_colours_are_mostly_muted() -> None:
    rng = np.random.default_rng(0)
    shades = np.array([shade(rng, name) for name in UPPER for _ in range(20)])
    assert (shades.max(axis=1) - shades.min(axis=1)).mean() < 0.35
    assert shades.min() >= 0
    assert shades.max() <= 1


def test_a_twin_wears_the_same_but_for_one_detail() -> None:
    for seed in range(20):
        first, other = person(seed), person(seed + 500)
        double = twin(first, other, np.random.default_rng(seed), 7)
        assert double.twin_of == 7
        changed = {
            n for n in ("top", "bottom", "bag", "shoe_rgb", "print_kind") if getattr(double, n) != getattr(first, n)
        }
        assert len(changed) <= 1
        assert double.difference


def test_the_gait_is_periodic_and_swings_arms_against_legs() -> None:
    someone = replace(person(), swing=1.0)
    assert walking(someone, 0.25).knee == pytest.approx(walking(someone, 1.25).knee)
    assert walking(someone, 0.25).arm == pytest.approx(walking(someone, 1.25).arm)
    pose = walking(someone, 0.0)
    assert pose.thigh[0] > pose.thigh[1]
    assert pose.arm[0] < pose.arm[1]


def hierarchy(turns: dict[str, tuple[float, float, float]]) -> str:
    """A BVH file of the skeleton's main bones, one frame with these rotations about z, x and y."""
    lines, values = ["HIERARCHY"], []

    def joint(bone: str) -> None:
        lines.extend([("JOINT " if values else "ROOT ") + SOURCE[bone], "{", "OFFSET 0 0 1"])
        lines.append("CHANNELS 3 Zrotation Xrotation Yrotation" if values else
                     "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation")  # fmt: skip
        values.extend([*([] if values else [5.0, 6.0, 7.0]), *turns.get(bone, (0.0, 0.0, 0.0))])
        below = [b for b in BONES if PARENT[INDEX[b]] == INDEX[bone] and not b.startswith("held")]
        for other in below:
            joint(other)
        lines.extend([] if below else ["End Site", "{", "OFFSET 0 0 1", "}"])
        lines.append("}")

    joint("pelvis")
    return "\n".join([*lines, "MOTION", "Frames: 1", "Frame Time: 0.04", " ".join(str(v) for v in values), ""])


def test_captured_poses_are_turned_upright_and_to_the_front(tmp_path: Path) -> None:
    path = tmp_path / "pose.bvh"
    # In the file's axes z is up and −y in front: turned to the left as a whole, the left shin 90° back, then sideways.
    path.write_text(hierarchy({"pelvis": (40.0, 0.0, 0.0), "shin.L": (30.0, 90.0, 0.0)}), encoding="utf-8")
    turns = read_bvh(path).rotations()
    assert np.allclose(turns[INDEX["pelvis"]], np.eye(3), atol=1e-9), "the whole turn is taken out"
    assert np.allclose(turns[INDEX["thigh.L"]], np.eye(3), atol=1e-9)
    assert np.allclose(turns[INDEX["shin.L"]], about(1, 30) @ about(0, 90), atol=1e-9)
    assert np.allclose(turns[INDEX["foot.L"]], turns[INDEX["shin.L"]]), "carried by its parent"
    assert np.allclose(turns[INDEX["held.L"]], np.eye(3))
    rest = np.zeros((len(BONES), 3))
    for bone in BONES:  # a body whose limbs hang down
        rest[INDEX[bone]] = [0, 2 - 0.1 * INDEX[bone], 0]
    assert not at_ease(turns, rest)
    path.write_text(hierarchy({"pelvis": (-90.0, 0.0, 0.0), "arm.R": (0.0, 20.0, 0.0)}), encoding="utf-8")
    assert at_ease(read_bvh(path).rotations(), rest)


def test_what_is_no_bvh_is_said(tmp_path: Path) -> None:
    path = tmp_path / "pose.bvh"
    for text in ("", "HIERARCHY\nMOTION\nFrames: 1\nFrame Time: 1\n", hierarchy({})[:-12]):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SourceError, match=r"pose\.bvh is no BVH file"):
            read_bvh(path)


def test_blended_rotations_are_rotations_on_the_way() -> None:
    a = np.tile(np.eye(3), (len(BONES), 1, 1))
    b = np.tile(about(1, 80.0), (len(BONES), 1, 1))
    assert np.allclose(blend(a, b, 0, 0), a)
    assert np.allclose(blend(a, b, 1, 1), b)
    half = blend(a, b, 0.5, 0.0)
    assert np.allclose(half[INDEX["thigh.L"]], about(1, 40.0))
    assert np.allclose(half[INDEX["arm.R"]], np.eye(3))
    assert np.allclose(np.linalg.det(half), 1)


@pytest.fixture(scope="module")
def human(assets: Path) -> object:
    from mctrack.synth.makehuman.figure import MakeHuman

    return MakeHuman(assets)


def test_bodies_have_the_height_wanted_and_hang_their_arms(human: object) -> None:
    from mctrack.synth.makehuman.body import BODY, Shape, build

    for shape in (
        Shape(gender=1, height_m=1.9, weight=0.9, tall=0.7),
        Shape(gender=0, height_m=1.5, age=1.0, african=1.0),
    ):
        body = build(human.assets, human.rig, shape)  # type: ignore[attr-defined]
        assert np.ptp(body.points[:BODY, 1]) == pytest.approx(shape.height_m, abs=1e-3)
        m = body.marks
        order = ("ankle", "knee", "crotch", "hip", "waist", "chest", "shoulder", "neck", "head", "eye", "top")
        heights = [m[k] for k in order]
        assert heights == sorted(heights)
        hands = body.canonical[:BODY][(body.along[:BODY] > 1.1) & (body.arm[:BODY] > 0.9)]
        assert (np.abs(hands[:, 0]) < 0.45).all()
        assert (hands[:, 1] < m["hip"] + 0.1).all()


def test_skin_weights_add_up_and_the_rest_pose_stays(human: object) -> None:
    weights = human.rig.weights  # type: ignore[attr-defined]
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-5)
    points = human.assets.base.points  # type: ignore[attr-defined]
    joints = human.rig.joints(points)  # type: ignore[attr-defined]
    still = np.tile(np.eye(3), (len(BONES), 1, 1))
    assert np.allclose(skin(points, weights, *transforms(still, joints)), points, atol=1e-4)
    knuckles = tuple(human.rig.knuckles(points, s) for s in "LR")  # type: ignore[attr-defined]
    turn, shift = transforms(rotations(STRAIGHT, joints, knuckles), joints)  # type: ignore[arg-type]
    elbow, wrist = (turn[INDEX[b]] @ joints[INDEX[b]] + shift[INDEX[b]] for b in ("forearm.L", "hand.L"))
    assert np.allclose((wrist - elbow)[[0, 2]], 0, atol=1e-3)  # straight down
    assert wrist[1] < elbow[1]


def test_a_dressed_person_stands_on_the_floor_and_is_covered(human: object) -> None:
    from mctrack.synth import zbuffer
    from mctrack.synth.makehuman.figure import HumanFigure

    rng = np.random.default_rng(0)
    for seed in (1, 4, 9):
        someone = person(seed)
        figure = HumanFigure(human, someone)  # type: ignore[arg-type]
        assert len(figure.triangles) < 60000
        corner = figure.posed(sample_pose(someone, rng, True), 30.0)
        assert np.isfinite(corner).all()
        assert abs(float(np.partition(corner[:, 1], 20)[20])) < 1e-4
        xy = np.stack([60 + corner[:, 0] * 100, 210 - corner[:, 1] * 100], axis=1)
        near = 5 + corner[:, 2]
        seen = zbuffer.draw(xy, near, figure.cut, figure.triangles, 120, 220, False)
        light = np.array([0, 0.7, 0.7, 1, 1, 1, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.3], np.float32)
        none, frame = np.zeros((1, 1), np.float32), np.zeros((3, 4), np.float32)
        colour = figure.colours(corner, seen, light, none, frame, np.array([0, 1.5, 9.0]))
        share = (colour[..., 3] > 0).mean()
        assert 0.12 < share < 0.7
        assert np.array_equal(colour[..., 3] > 0, seen.triangle >= 0)
        assert np.isfinite(colour).all()


def test_the_same_person_looks_the_same_twice(human: object) -> None:
    from mctrack.synth.makehuman.figure import HumanFigure

    first, second = (HumanFigure(human, person(6)) for _ in range(2))  # type: ignore[arg-type]
    pose = Pose()
    assert np.array_equal(first.posed(pose, 0.0), second.posed(pose, 0.0))
    assert np.array_equal(first.table, second.table)


def test_strides_grow_with_the_swing_and_timing_keeps_the_cycle() -> None:
    legs = Stride(0.43, 0.42, 0.08)
    for stride_m in (0.5, 1.0, 1.3):
        swing = legs.swing(stride_m)
        steps = [legs.phase(p, swing) for p in np.linspace(0, 2, 81)]
        assert np.all(np.diff(steps) > 0)
        assert steps[0] == 0
        assert steps[-1] == pytest.approx(2)
        assert steps[40] == pytest.approx(1)
    assert legs.swing(0.6) < legs.swing(1.2)


def test_a_pose_mixed_is_between_its_parts() -> None:
    a = Pose(thigh=(10.0, 0.0), elbow=(0.0, 0.0))
    b = Pose(thigh=(20.0, 4.0), elbow=(80.0, 40.0), extra={"toes_out": 8.0})
    half = mix(a, b, 0.5, 0.25)
    assert half.thigh == (15.0, 2.0)
    assert half.elbow == (20.0, 10.0)
    assert half.extra == {"toes_out": 6.0}
    assert mix(a, b, 0.0, 0.0).thigh == a.thigh


def test_a_crowd_differs_but_for_its_look_alikes() -> None:
    people, pairs = sample_crowd(14, np.random.default_rng(3), 2)
    assert [p["ids"] for p in pairs] == [[1, 2], [3, 4]]
    assert people[1].twin_of == 0
    strangers = [people[0], people[2], *people[4:]]
    assert len({(p.top.kind, p.top.colour, p.bottom.kind, p.bottom.colour) for p in strangers}) == len(strangers)
    assert all(0.7 < p.pace_mps < 1.6 and p.freedom in (0.75, 1.0) for p in people)
    assert sample_crowd(14, np.random.default_rng(3), 2) == (people, pairs)


@pytest.fixture(scope="module")
def actors(human: object) -> list[HumanActor]:
    return [HumanActor(human, p) for p in sample_crowd(3, np.random.default_rng(5), 0)[0]]  # type: ignore[arg-type]


def test_captured_stances_stand_upright(human: object, actors: list[HumanActor]) -> None:
    stances = human.stances  # type: ignore[attr-defined]
    assert len(stances) >= 2
    for stance in stances:
        assert np.allclose(np.linalg.det(stance), 1)
        assert stance[INDEX["chest"]][1, 1] > 0.9
    someone = actors[0]
    poses = [gait.Pose(0.0, 0.0, 0.0, 0.1, 0.0, still=1.0, stop=k) for k in range(12)]
    heights = [float(someone.posed(p)[:, 1].max()) / someone.person.height_m for p in poses]
    assert 0.93 < min(heights) < max(heights) < 1.12
    assert len({round(h, 4) for h in heights}) > 4, "not always the same"


def test_planted_feet_do_not_slide(actors: list[HumanActor]) -> None:
    for actor in actors:
        left = np.flatnonzero(actor.figure.weights[:, INDEX["foot.L"]] > 0.5)
        someone = actor.person
        for speed in (0.8, 1.25):
            stride = gait.stride_m(speed, someone.height_m, someone.freedom)
            track = []
            for phase in np.linspace(0.1, 0.45, 8):  # on the floor: after the heel's strike, before it is lifted
                moment = gait.Pose(3.0, 1.0 + phase * stride, np.pi / 2, float(phase), speed)
                foot = actor.posed(moment)[left, :3]
                track.append([*foot.mean(axis=0)[[2, 0]], np.partition(foot[:, 1], 6)[6]])
            x, y, z = np.array(track).T
            assert np.ptp(x) < 0.01, "sideways"
            assert np.ptp(y) < 0.03 < 0.2 * stride, "along the way"
            assert z.max() < 0.03


def test_sitting_folds_the_legs_over_planted_feet(actors: list[HumanActor]) -> None:
    for actor in actors:
        feet, hips = [], []
        for sit in (0.0, 0.3, 0.7, 1.0):
            pose = gait.Pose(2.0 - gait.FEET_AHEAD_M * sit, 1.0, 0.0, 0.3, 0.0, sit=sit, seat_m=0.46, still=1.0, stop=2)
            corner, joints = actor.posed(pose), actor.skeleton(pose)
            soles = np.partition(corner[actor.figure.soles, 1], 20)[20]
            assert abs(float(soles)) < 1e-5
            feet.append(joints[[gait.L_FOOT, gait.R_FOOT], 0].mean())
            hips.append(joints[[gait.L_THIGH, gait.R_THIGH], 2].mean())
            assert np.linalg.norm(joints[gait.PELVIS, :2] - [pose.x_m, pose.y_m]) < 1e-3
        assert np.ptp(feet) < 0.06
        assert hips == sorted(hips, reverse=True)
        assert hips[-1] == pytest.approx(0.46 + gait.HIP_ABOVE_SEAT * actor.person.height_m, abs=0.03)


def test_a_scene_shows_them_and_boxes_fit(actors: list[HumanActor]) -> None:
    room = Area("room", (2.0, 1.0), (5.0, 4.0), doors=[Door("door", "north", 2.5)])
    eye = CameraConfig("eye", "room", (0.2, 0.2, 2.5), (3.0, 2.5, 0.9), 80, (96, 64), 5.0, noise=0, blur_px=0)
    view = View(eye, room, 0)
    pose = gait.Pose(4.4, 3.2, 0.5, 0.2, 1.2)
    bare, none = view.picture(actors, {})
    first, (seen,) = view.picture(actors, {1: pose})
    again, (same,) = view.picture(actors, {1: pose})
    assert not none
    assert bare is not None
    assert first is not None
    np.testing.assert_array_equal(first, again)
    assert seen == same
    assert seen.visibility == 1.0
    x0, y0, x1, y1 = (round(v) for v in seen.xyxy)
    changed = np.abs(first.astype(int) - bare).max(axis=2) > 12
    assert changed[y0:y1, x0:x1].mean() > 0.25
    assert not changed[: max(y0 - 1, 0)].any(), "nothing above the head"
    below, _ = view.camera.project(np.array([[pose.x_m, pose.y_m, 0.0]]))
    assert x0 - 1 <= below[0, 0] <= x1 + 1
    assert abs(below[0, 1] - y1) < 4
    _, two = view.picture(actors, {1: pose, 2: replace(pose, x_m=3.6, y_m=2.5)}, render=False)
    assert {s.person: s.visibility for s in two}[1] < 0.8, "hidden by the one in front"


def test_a_film_of_them_says_who_is_who(assets: Path, tmp_path: Path) -> None:
    area = Area("room", (0.0, 0.0), (5.0, 4.0), doors=[Door("door", "north", 2.5)])
    eye = CameraConfig("eye", "room", (0.2, 0.2, 2.5), (3.0, 2.5, 0.9), 80, (96, 64), 5.0)
    scene = SceneConfig([area], [eye], Habits(inside_at_start=1.0), look_alikes=0, people=2, seconds=0.4)
    made = world.create(scene, 3, made_of=f"makehuman:{assets}")
    world.generate(made, tmp_path, "the command")
    known = json.loads((tmp_path / "identities.json").read_text())["people"]
    for number, someone in enumerate(made.people, 1):
        assert known[str(number)]["description"] == someone.describe()
        assert known[str(number)]["market_1501"] == market_attributes(someone)  # type: ignore[arg-type]
    assert (tmp_path / "eye.mp4").stat().st_size > 0
    assert "makehuman" not in (tmp_path / "README.md").read_text()

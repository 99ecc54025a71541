"""People from MakeHuman's assets: files of our own for the formats, the real folder where there is one."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mctrack.errors import SourceError
from mctrack.synth.makehuman.assets import Assets, components, read_fitted, read_obj, read_target
from mctrack.synth.makehuman.palette import UPPER, shade
from mctrack.synth.makehuman.person import Person, market_attributes, sample_person, twin
from mctrack.synth.makehuman.poses import sample_pose, walking
from mctrack.synth.makehuman.rig import (
    BONES,
    INDEX,
    PARENT,
    STRAIGHT,
    Pose,
    about,
    between,
    rotations,
    skin,
    transforms,
)

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

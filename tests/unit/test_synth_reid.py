"""Re-identification data with the built-in bodies: layout, splits, repeatability, going on; the compiled rasteriser."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from scipy.io import loadmat

from mctrack.commands.synth import synth
from mctrack.errors import ConfigError
from mctrack.synth import shading, zbuffer
from mctrack.synth.reid import foreground
from mctrack.synth.reid.cameras import develop, sample_camera, video_frame
from mctrack.synth.reid.crops import render_crop
from mctrack.synth.reid.dataset import Plan, Recipe, generate
from mctrack.synth.reid.paint import spectral
from mctrack.synth.reid.people import open_people
from mctrack.synth.reid.places import decode, pyramid, sample_place
from mctrack.synth.reid.setting import Lens

NAME = re.compile(r"^(\d{4,})_c(\d+)s1_(\d{6})_01\.jpg$")
FOLDERS = ("bounding_box_train", "bounding_box_test", "query")
TINY = Recipe(identities=4, cameras=4, images=4, seed=3, test=0.5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reid")
    generate(TINY, out)
    return out


def files(out: Path) -> dict[str, bytes]:
    return {f"{d}/{p.name}": p.read_bytes() for d in FOLDERS for p in sorted((out / d).iterdir())}


def test_layout_is_market_1501s(made: Path) -> None:
    found = files(made)
    assert len(found) == 16
    parts = {d: [NAME.match(n.split("/")[1]) for n in found if n.startswith(d)] for d in FOLDERS}
    assert all(all(p) for p in parts.values())
    pids = {d: {int(m[1]) for m in p if m} for d, p in parts.items()}
    assert pids["bounding_box_train"] == {1, 2}
    assert pids["query"] == pids["bounding_box_test"] == {3, 4}
    # Every query has a match in the gallery that another camera took.
    gallery = {(int(m[1]), int(m[2])) for m in parts["bounding_box_test"] if m}
    for m in parts["query"]:
        assert m is not None
        assert any(pid == int(m[1]) and camid != int(m[2]) for pid, camid in gallery)
    for data in found.values():
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape[0] >= 24
        assert picture.shape[1] >= 12
        assert picture.std() > 2


def test_attributes_and_notes(made: Path) -> None:
    tree = loadmat(made / "market_attribute.mat")["market_attribute"][0, 0]
    train = tree["train"][0, 0]
    assert [str(x[0]) for x in train["image_index"][0]] == ["0001", "0002"]
    assert train["gender"].shape == (1, 2)
    assert set(np.unique(train["gender"])) <= {1, 2}
    assert len(train.dtype.names) == 28  # 27 attributes and the index
    people = json.loads((made / "people.json").read_text(encoding="utf-8"))
    assert [p["split"] for p in people] == ["train", "train", "test", "test"]
    assert "market_attribute.mat" in (made / "README.md").read_text(encoding="utf-8")
    assert len(json.loads((made / "cameras.json").read_text(encoding="utf-8"))) == 4


def test_same_seed_same_files_and_what_is_missing_is_made_again(made: Path, tmp_path: Path) -> None:
    before = files(made)
    lost = next(made / n for n in before if n.startswith("query"))
    lost.unlink()
    (made / "query" / "left.part").write_bytes(b"half")
    told: list[tuple[int, int]] = []
    generate(TINY, made, progress=lambda done, of: told.append((done, of)))
    (made / "query" / "left.part").unlink()
    assert files(made) == before
    assert told[-1] == (16, 16)
    other = tmp_path / "two"
    generate(Recipe(identities=2, cameras=4, images=2, seed=4, test=0.0), other)
    third = tmp_path / "three"
    generate(Recipe(identities=2, cameras=4, images=2, seed=4, test=0.0), third)
    assert files(other) == files(third)


def test_another_recipe_does_not_mix_in(made: Path) -> None:
    with pytest.raises(ConfigError, match="seed 3, not 9"):
        generate(Recipe(identities=4, cameras=4, images=4, seed=9, test=0.5), made)


@pytest.mark.slow
def test_workers_write_the_same_files(made: Path, tmp_path: Path) -> None:
    generate(TINY, tmp_path / "w", workers=2)
    assert files(tmp_path / "w") == files(made)


def test_held_out_cameras_are_never_trained_on() -> None:
    plan = Plan(Recipe(identities=60, cameras=30, images=6, seed=1, test=0.4))
    train = {p.camera for k in range(60) if plan.split(k) == "train" for p in plan.pictures(k)}
    held = {p.camera for k in range(60) if plan.split(k) == "test-held-out" for p in plan.pictures(k)}
    assert held
    assert not train & held
    assert {plan.camera(c).place for c in train}.isdisjoint({plan.camera(c).place for c in held})
    assert {plan.split(k) for k in range(60)} == {"train", "test", "test-held-out"}
    assert all(len({p.camera for p in plan.pictures(k)}) >= 2 for k in range(60))


def test_new_cameras_stand_in_places_of_training_and_change_nothing_else() -> None:
    recipe = Recipe(identities=60, cameras=30, images=6, seed=1, test=0.4)
    before, plan = Plan(recipe), Plan(replace(recipe, new_cameras=8))
    assert {plan.split(k) for k in range(60)} == {"train", "test", "test-held-out", "test-new-cameras"}
    train = [k for k in range(60) if plan.split(k) == "train"]
    assert [plan.pictures(k) for k in train] == [before.pictures(k) for k in train]
    assert all(plan.camera(c) == before.camera(c) for c in range(30))
    trained = {p.camera for k in train for p in plan.pictures(k)}
    new = {p.camera for k in range(60) if plan.split(k) == "test-new-cameras" for p in plan.pictures(k)}
    assert new
    assert new <= set(range(30, 38))
    assert {plan.camera(c).place for c in new} <= {plan.camera(c).place for c in trained}
    assert len({plan.camera(c) for c in new | trained}) == len(new | trained)


def test_a_folder_from_before_there_were_new_cameras_is_gone_on_with(made: Path) -> None:
    note = made / "recipe.json"
    kept = note.read_text(encoding="utf-8")
    note.write_text(json.dumps({k: v for k, v in json.loads(kept).items() if k != "new_cameras"}), encoding="utf-8")
    generate(TINY, made)
    assert note.read_text(encoding="utf-8") == kept
    with pytest.raises(ConfigError, match="new_cameras 0, not 2"):
        generate(replace(TINY, new_cameras=2), made)


def test_each_tenth_person_looks_like_the_one_before() -> None:
    people = open_people("parametric", 5)
    first, second = (people.describe(k)[0] for k in (8, 9))
    assert (first["top"], first["top_colour"]) == (second["top"], second["top_colour"])
    assert first["bag"] != second["bag"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--people", "makehumn:/x"], "makehuman"),
        (["--people", "makehuman:/does/not/exist"], "base.obj"),
        (["--identities", "1"], "--identities"),
        (["--cameras", "1"], "--cameras"),
        (["--new-cameras", "1"], "--new-cameras"),
        (["--new-cameras", "4", "--test", "0"], "--new-cameras"),
    ],
)
def test_mistakes_are_one_line(options: list[str], word: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(synth, ["reid", "--out", str(tmp_path / "o"), *options])
    text = result.output + (str(result.exception) if result.exception else "")
    assert result.exit_code != 0
    assert word in text
    assert not (tmp_path / "o").exists()


def test_sheet_is_one_picture(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    result = CliRunner().invoke(synth, ["sheet", "--identities", "2", "--cameras", "2", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert cv2.imread(str(out)).shape == (146, 2 * (2 * 66 + 4), 3)


@pytest.mark.parametrize("perspective", [True, False])
def test_rasteriser_equals_a_slow_loop(perspective: bool) -> None:
    rng = np.random.default_rng(2)
    xy = rng.uniform(-4, 28, (24, 2)).astype(np.float32)
    near = rng.uniform(0.2, 1.0, 24).astype(np.float32)
    cut = rng.normal(0.4, 1, (24, 2)).astype(np.float32)
    triangles = rng.integers(0, 24, (14, 3)).astype(np.int32)
    seen = zbuffer.draw(xy, near, cut, triangles, 24, 20, perspective)
    mistakes = 0
    for row in range(20):
        for column in range(24):
            best, which = 0.0, -1
            for t, corner in enumerate(triangles):
                matrix = np.vstack([xy[corner].T, np.ones(3)]).astype(float)
                if abs(np.linalg.det(matrix)) < 1e-6:
                    continue
                w = np.linalg.solve(matrix, [column + 0.5, row + 0.5, 1.0])
                depth = float(w @ near[corner])
                if (w < 0).any() or depth <= best:
                    continue
                share = w * near[corner] / depth if perspective else w
                if (share @ cut[corner] >= 0).all():
                    best, which = depth, t
            mistakes += which != seen.triangle[row, column]
            if which == seen.triangle[row, column] and which >= 0:
                assert seen.nearness[row, column] == pytest.approx(best, rel=1e-4)
    assert mistakes <= 2  # single precision at an edge


def test_normals_of_a_tetrahedron_point_outwards() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    triangles = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    normals = zbuffer.vertex_normals(points, triangles)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert ((points - points.mean(axis=0)) * normals).sum(axis=1).min() > 0


def test_shadow_falls_on_the_floor_away_from_the_light() -> None:
    light = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)  # from the left and above
    near = np.zeros((8, 8), np.float32)
    near[3:5, 3:5] = 15.0  # something near the light in the middle of the map
    frame = np.zeros((3, 4), np.float32)
    frame[0], frame[1, 2], frame[1, 3] = [1, 0, 0, 4], 1, 4
    frame[2, :3], frame[2, 3] = light, 10.0
    x, z = np.meshgrid(np.array([-3.0, 0.0, 3.0], np.float32), np.zeros(1, np.float32))
    lit = shading.floor_light(x, z, near, frame)
    assert lit[0, 1] == 0
    assert lit[0, 0] == lit[0, 2] == 1


def test_noise_has_a_falling_spectrum() -> None:
    noise = spectral(np.random.default_rng(0), (64, 64), 1.0)
    power = np.abs(np.fft.rfft2(noise)) ** 2
    assert power[1:4, 1:4].mean() > 20 * power[20:30, 20:30].mean()
    assert noise.std() == pytest.approx(1, rel=1e-5)


def test_place_pictures_survive_their_bytes() -> None:
    picture = np.random.default_rng(0).uniform(0, 1, (16, 16, 3)).astype(np.float32)
    assert np.abs(decode(pyramid(picture)[0]) - picture).max() < 0.01


def test_camera_styles_change_the_picture_and_nothing_is_global() -> None:
    figure = open_people("parametric", 1).figure(0)
    place = sample_place(np.random.default_rng(1))
    first, second = (sample_camera(k, 0, False, np.random.default_rng(k)) for k in (1, 2))
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr]  # noqa: NPY002
    a, b, c = (render_crop(figure, [figure], cam, place, np.random.default_rng(7)) for cam in (first, first, second))
    assert np.array_equal(a, b)
    assert a.shape != c.shape or not np.array_equal(a, c)
    assert np.array_equal(state, np.random.get_state()[1])  # type: ignore[arg-type]  # noqa: NPY002


def test_video_encoder_keeps_the_picture_about_the_same() -> None:
    camera = sample_camera(1, 0, False, np.random.default_rng(0))
    light = np.full((41, 23, 3), 0.2, np.float32)
    picture = develop(light, camera, np.random.default_rng(1), 60.0)
    coded = video_frame(picture, 28)
    assert coded.shape == picture.shape
    assert abs(float(coded.mean()) - float(picture.mean())) < 6


@pytest.mark.parametrize("kind", sorted({*foreground.INDOORS, *foreground.OUTDOORS}))
def test_things_stand_on_the_floor_and_are_solid_or_see_through(kind: str) -> None:
    for seed in range(12):
        picture = foreground.sample_thing(kind, np.random.default_rng(seed)).picture
        assert picture.dtype == np.float32
        assert np.isfinite(picture).all()
        assert picture.min() >= 0
        assert picture[..., 3].max() == pytest.approx(1, abs=1e-3)
        assert (picture[..., :3].max(axis=2) <= 1.6 * picture[..., 3] + 1e-3).all()  # premultiplied
        assert picture[-8:, :, 3].max() > 0.3


def test_a_thing_in_front_is_where_its_corners_project() -> None:
    eye = np.array([0.0, 3.0, 8.0])
    pitch = np.arctan2(2.0, 8.0)
    c, s = np.cos(pitch), np.sin(pitch)
    lens = Lens(eye, np.array([[1, 0, 0], [0, c, -s], [0, s, c]]), 400.0)
    board = np.zeros((80, 40, 4), np.float32)
    board[...] = 1  # half a metre wide, a metre high, white
    thing = foreground.Thing("board", board)
    box = (-200, -200, 400, 400)
    light = np.r_[np.zeros(3), np.zeros(3), np.full(3, 0.5), np.zeros(4)].astype(np.float32)
    for seed in range(8):
        seen = foreground.in_front(thing, lens, box, light, np.random.default_rng(seed))
        rows, columns = (np.flatnonzero((seen[..., 3] > 0.5).any(axis=axis)) for axis in (1, 0))
        rng = np.random.default_rng(seed)
        nearer, aside = rng.uniform(0.3, 3.0), rng.uniform(-1, 1) * (0.25 + 0.25)
        corner = np.array([[x, y, nearer] for x in (aside - 0.25, aside + 0.25) for y in (0, 1)], np.float32)
        xy = lens.project(corner)[0] + 200
        assert rows[[0, -1]] == pytest.approx([xy[:, 1].min(), xy[:, 1].max()], abs=2)
        assert columns[[0, -1]] == pytest.approx([xy[:, 0].min(), xy[:, 0].max()], abs=2)
        assert seen[rows.mean().astype(int), columns.mean().astype(int)] == pytest.approx([0.5, 0.5, 0.5, 1], abs=0.01)


def test_a_cluttered_camera_shows_things_of_the_place_before_people() -> None:
    people = open_people("parametric", 0)
    place = sample_place(np.random.default_rng(5))
    assert len(place.things) == foreground.THINGS
    camera = sample_camera(1, 0, place.indoor, np.random.default_rng(2))
    free, hidden = (replace(camera, cluttered=share, noise=0.5, h264_crf=0) for share in (0.0, 1.0))
    changed = 0
    for k in range(6):
        figure = people.figure(k)
        one, two = (render_crop(figure, [], c, place, np.random.default_rng(k)) for c in (free, hidden))
        assert one.shape == two.shape
        changed += bool(np.abs(one.astype(int) - two).mean() > 6)
    assert changed >= 4


def test_half_of_the_cameras_have_something_in_front() -> None:
    shares = np.array([sample_camera(k, 0, False, np.random.default_rng(k)).cluttered for k in range(300)])
    assert 0.4 < (shares > 0.1).mean() < 0.6
    assert shares.min() == 0.03
    assert shares.max() <= 0.45

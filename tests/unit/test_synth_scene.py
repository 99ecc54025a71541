"""Reading scenes from YAML, and the command."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mctrack.commands.synth import _people, synth
from mctrack.errors import ConfigError, OutputError, SourceError
from mctrack.synth.backdrop import cast
from mctrack.synth.layout import door_points, solids
from mctrack.synth.navigation import Grid
from mctrack.synth.scene import load_scene
from mctrack.synth.shapes import Solid

TINY = """
people: 2
seconds: 0.4
habits: {inside_at_start: 1.0}
areas:
  - name: room
    origin: [0, 0]
    size: [4, 4]
    doors: [{name: door, wall: north, at_m: 2.0}]
cameras:
  - {name: a, area: room, position: [0.2, 0.2, 2.4], look_at: [2.5, 2.5, 0.9], size: [96, 64], fps: 5}
"""


def write(folder: Path, text: str) -> str:
    path = folder / "scene.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("name", "cameras"), [("pairs", 4), ("lab", 4), ("hall", 6), ("street", 4), ("corridor", 4)])
def test_presets(name: str, cameras: int, rng: np.random.Generator) -> None:
    scene = load_scene(name)
    assert len(scene.cameras) == cameras
    for area in scene.areas:
        grid = Grid(area)
        spot = grid.free_point(rng)
        for door in area.doors:
            way = door_points(area, door)
            path = grid.path(way[0], spot)
            assert len(path) >= 3, "the way from the corridor's end turns"
            legs = pairwise(path)
            line = np.concatenate([a + (b - a) * np.linspace(0, 1, 40)[:, None] for a, b in legs])
            assert grid.room(line).min() > 0.2
            assert grid.inside(line[-1])
            assert not grid.inside(line[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("people: 2", "poeple: 2"), "unknown key 'poeple'.*did you mean 'people'"),
        (("    size: [4, 4]\n", ""), r"'areas\[0\].size' is missing"),
        (("size: [4, 4]", "size: [4]"), "must be a list of 2"),
        (("at_m: 2.0", "at_m: wide"), "must be a float"),
        (("wall: north", "wall: nord"), "did you mean 'north'"),
        (("area: room", "area: roam"), "did you mean 'room'"),
        (("fps: 5", "fps: 0"), "fps above 0"),
        (("[96, 64]", "[97, 64]"), "even"),
        (("people: 2", "people: [2"), "not valid YAML"),
    ],
)
def test_a_wrong_scene_is_one_clear_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in TINY
    with pytest.raises(ConfigError, match=message) as caught:
        load_scene(write(tmp_path, TINY.replace(*change)))
    assert "\n" not in str(caught.value)


def test_unknown_preset() -> None:
    with pytest.raises(ConfigError, match="did you mean 'pairs'"):
        load_scene("pair")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_scene("nowhere.yaml")


def test_command_writes_everything(tmp_path: Path) -> None:
    out = tmp_path / "clips"
    arguments = ["scene", "--preset", write(tmp_path, TINY), "--seed", "1", "--out", str(out)]
    result = CliRunner().invoke(synth, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert {p.name for p in out.iterdir()} == {
        "a.mp4", "gt", "calibration.json", "ground_truth_ground.csv", "topology.json", "identities.json", "README.md",
    }  # fmt: skip
    assert "seqLength=2" in (out / "gt" / "a.ini").read_text()


def film(tmp_path: Path, *more: str, out: str = "clips") -> BaseException | None:
    words = ["scene", "--preset", write(tmp_path, TINY), "--quiet", "--out", str(tmp_path / out), *more]
    return CliRunner().invoke(synth, words).exception


@pytest.mark.parametrize("name", ["a.mp4", "README.md", "identities.json", "gt/a.txt", "calibration.json"])
def test_files_of_somebody_else_stay(tmp_path: Path, name: str) -> None:
    path = tmp_path / "clips" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    error = film(tmp_path)
    assert isinstance(error, OutputError)
    assert str(path) in str(error)
    assert [p for p in (tmp_path / "clips").rglob("*") if p.is_file()] == [path]
    assert path.read_text() == "mine"


def test_the_same_command_again_and_another_one(tmp_path: Path) -> None:
    out = tmp_path / "clips"
    out.mkdir()
    (out / "notes.txt").write_text("mine")  # no file of a scene has that name
    assert film(tmp_path) is None
    made = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    (out / "gt" / "a.txt").write_text("")
    assert film(tmp_path) is None
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == made
    assert isinstance(film(tmp_path, "--seed", "8"), OutputError)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == made


def test_an_interrupted_scene_is_made_again_by_its_own_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mctrack.synth.truth.write_ground", full)
    assert isinstance(film(tmp_path), OutputError)
    assert (tmp_path / "clips" / "a.mp4").is_file()
    monkeypatch.undo()
    assert isinstance(film(tmp_path, "--seed", "8"), OutputError)
    assert film(tmp_path) is None
    assert not (tmp_path / "clips" / "scene.part").exists()


def test_command_refuses_nonsense(tmp_path: Path) -> None:
    out = str(tmp_path / "x")
    people = (["--people", "some"], ["--people", "3", "--people", "4"], ["--people", "makehuman:"])
    for wrong in (*people, ["--people", "0"], ["--cams", "9"], ["--seconds", "-1"], ["--preset", "laab"]):
        result = CliRunner().invoke(synth, ["scene", *wrong, "--out", out])
        assert isinstance(result.exception, ConfigError), wrong
    assert not Path(out).exists()


def test_people_are_a_number_and_what_they_are_made_of(tmp_path: Path) -> None:
    assert _people(()) == (None, "parametric")
    assert _people(("4",)) == (4, "parametric")
    assert _people(("makehuman:a:b", "12")) == (12, "makehuman:a:b")
    empty = ["--people", f"makehuman:{tmp_path}", "--out", str(tmp_path / "x")]
    result = CliRunner().invoke(synth, ["scene", "--preset", write(tmp_path, TINY), *empty])
    assert isinstance(result.exception, SourceError)
    assert "base.obj" in str(result.exception)
    assert not (tmp_path / "x").exists()


def test_rays_meet_shapes_where_they_should() -> None:
    box = Solid("box", np.array([2.0, -1, 0]), np.array([3.0, 1, 2]), np.ones(3))
    ball = Solid("ellipsoid", np.array([-3.0, -1, 0]), np.array([-1.0, 1, 2]), np.ones(3))
    pole = Solid("cylinder", np.array([-1.0, 3, 0]), np.array([1.0, 5, 1.5]), np.ones(3))
    rays = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, -1], [0, 0, 1.0], [0, 4, -0.01]])
    depth, hit, normal = cast(np.array([0.0, 0, 1]), rays, [box, ball, pole], 3.0)
    np.testing.assert_allclose(depth[:5], [2, 1, 3, 1, 2])
    np.testing.assert_array_equal(hit, [0, 1, 2, -1, -2, 2])
    np.testing.assert_allclose(normal[:5], [[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], atol=1e-8)


def test_walls_have_openings_at_the_doors() -> None:
    area = load_scene("pairs").areas[0]
    for door in area.doors:
        passage = door_points(area, door)[2]
        through = [s for s in solids(area) if (s.low[:2] < passage).all() and (passage < s.high[:2]).all()]
        assert all(s.low[2] >= 2.0 for s in through), "only the lintel is above the doorway"

"""The floor from above: what is drawn where, and how long the film is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from test_sinks_paths import Recorded

from mctrack.errors import ConfigError, OutputError
from mctrack.sinks.birdseye import FPS, BirdsEye, where
from mctrack.sinks.draw import color_of
from mctrack.sinks.floorplan import SEEN, UNSEEN, draw_plan
from mctrack.sinks.paths import GroundPath
from mctrack.sinks.schema import CameraInfo
from mctrack.types import FloatArray, Image, IntArray


@dataclass(frozen=True)
class Above:
    """A camera on the ceiling that sees a square of the floor, ``px_per_m`` pixels to the metre."""

    centre: tuple[float, float]
    side_m: float = 4.0
    px_per_m: float = 100.0
    known: bool = True

    @property
    def position(self) -> FloatArray | None:
        return np.array([*self.centre, 3.0]) if self.known else None

    def to_image(self, points: FloatArray) -> FloatArray:
        return (np.asarray(points)[:, :2] - self.centre + self.side_m / 2) * self.px_per_m

    def to_ground(self, pixels: FloatArray) -> FloatArray:
        return np.asarray(pixels) / self.px_per_m - self.side_m / 2 + np.array(self.centre)


@dataclass
class House:
    cameras: dict[str, Above] = field(default_factory=lambda: {"a": Above((2, 2)), "b": Above((4, 2))})
    areas: dict[str, FloatArray] = field(default_factory=dict)
    doors: dict[str, FloatArray] = field(default_factory=dict)


SIZES = {"a": (400, 400), "b": (400, 400)}
ROOM = np.array([[0.0, 0.0], [6.0, 0.0], [6.0, 4.0], [0.0, 4.0]])


class Encoded:
    """Keeps what it is given."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self.path, self.size, self.fps = path, size, fps
        self.pictures: list[Image] = []
        self.times_s: list[float] = []

    def write(self, image_bgr: Image, time_s: float) -> None:
        assert image_bgr.shape == (self.size[1], self.size[0], 3)
        self.pictures.append(image_bgr)
        self.times_s.append(time_s)

    def close(self) -> None:
        self.path.write_bytes(b"film")


def film(view: BirdsEye, folder: Path, speed: float | None = None) -> Encoded:
    made: list[Encoded] = []

    def encoder(path: Path, size: tuple[int, int], fps: float) -> Encoded:
        made.append(Encoded(path, size, fps))
        return made[-1]

    view.film(folder / "x.mp4", encoder, speed)
    assert (folder / "x.mp4").read_bytes() == b"film"
    return made[0]


def grey(picture: Image, spot: FloatArray) -> int:
    """Median brightness around a pixel: lines are thin."""
    x, y = np.rint(spot).astype(int)
    return int(np.median(picture[y - 9 : y + 10, x - 9 : x + 10]))


def test_the_plan_shows_who_sees_what() -> None:
    plan = draw_plan(House(), SIZES, ROOM)
    spots = plan.pixels(np.array([[0.5, 0.7], [3.3, 0.7], [5.5, 0.7], [3.3, 4.3]]))
    assert [grey(plan.picture, s) for s in spots] == [SEEN[0], SEEN[1], SEEN[0], UNSEEN]
    # x to the right, y up, and a metre is a metre
    a, b, c = plan.pixels(np.array([[1.0, 1.0], [2.0, 1.0], [1.0, 2.0]]))
    np.testing.assert_allclose(b - a, [plan.px_per_m, 0])
    np.testing.assert_allclose(c - a, [0, -plan.px_per_m])
    with pytest.raises(ValueError, match="read-only"):
        plan.picture[0, 0] = 0


def test_outside_the_areas_it_is_darker() -> None:
    plan = draw_plan(House(areas={"Küche": ROOM[[0, 1, 2]]}, doors={"north": np.array([3.0, 4.2])}), SIZES, ROOM)
    inside, outside = plan.pixels(np.array([[5.5, 0.7], [0.5, 3.3]]))
    assert grey(plan.picture, inside) == SEEN[0]
    assert grey(plan.picture, outside) < SEEN[0]
    diamond = plan.pixels(np.array([[3.0, 4.2]]))[0]
    x, y = np.rint(diamond).astype(int)
    assert plan.picture[y - 20 : y + 20, x - 20 : x + 20].max() > 200


@pytest.mark.parametrize("house", [
    House(cameras={}), House(cameras={"a": Above((2, 2), known=False)}), House(cameras={"a": Above((900.0, 2))}),
    House(doors={"d": np.array([0.0, 0.0])}),
], ids=["no camera", "no position", "camera far away", "one door"])  # fmt: skip
@pytest.mark.parametrize("walked", [np.zeros((0, 2)), ROOM[:1], ROOM, 4000 * ROOM])
def test_whatever_is_known_there_is_a_plan(house: House, walked: FloatArray) -> None:
    plan = draw_plan(house, SIZES, walked)
    height, width = plan.picture.shape[:2]
    assert height % 2 == width % 2 == 0
    assert 200 <= height <= 682
    assert 200 <= width <= 1122
    if len(walked) == 4:
        corner = plan.pixels(walked)
        assert ((corner >= 0) & (corner <= [width, height])).all()


def test_people_have_their_colours_where_they_are(tmp_path: Path) -> None:
    view = BirdsEye(Recorded(), House())
    shown = film(view, tmp_path)
    assert len(shown.pictures) == round(3.9 * FPS) + 1
    assert shown.fps == FPS
    strip_px = shown.size[1] - view.plan.picture.shape[0]
    for k in (5, 20, 39):
        here = where(view.paths[7], k / FPS)
        assert here is not None
        x, y = np.rint(view.plan.pixels(here)[0]).astype(int)
        assert shown.pictures[k][y + strip_px, x].tolist() == list(color_of(7))
    assert np.array_equal(shown.pictures[0][strip_px:], view.plan.picture)  # not located yet
    # the trail is behind, and fades
    spots = np.rint(view.plan.pixels(np.array([[1.0, 0.0], [2.6, 0.0]]))).astype(int)
    old, new = (shown.pictures[39][y + strip_px, x].astype(int) for x, y in spots)
    towards = np.abs(np.stack([old, new]) - np.array(color_of(7))).sum(axis=1)
    assert towards[1] < towards[0] < np.abs(np.full(3, SEEN[0]) - np.array(color_of(7))).sum()


def test_nobody_stays_where_he_is_not(tmp_path: Path) -> None:
    path = GroundPath(np.array([0.0, 0.1, 5.0, 5.1]), np.array([[0.0, 0], [1, 0], [2, 0], [3, 0]]))
    assert where(path, 0.05) == pytest.approx([0.5, 0.0])
    assert where(path, 5.1) == pytest.approx([3, 0])
    assert where(path, 2.0) is None
    assert where(path, -1.0) is None
    assert where(path, 9.0) is None


def test_the_film_goes_as_fast_as_it_is_told(tmp_path: Path) -> None:
    view = BirdsEye(Recorded(), House())
    assert len(film(view, tmp_path, 2).pictures) == 20
    assert len(film(view, tmp_path, 0.5).pictures) == 79
    for speed in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="speed"):
            film(view, tmp_path, speed)


def test_a_long_run_is_shown_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mctrack.sinks.birdseye.MOST_PICTURES", 15)
    view = BirdsEye(Recorded(), House())
    shown = film(view, tmp_path)
    assert len(shown.pictures) == 39 // 3 + 1
    np.testing.assert_allclose(np.diff(shown.times_s), 1 / FPS)


class Nobody(Recorded):
    """A run without a frame, one of whose cameras has a name that we would like."""

    def cameras(self) -> list[CameraInfo]:
        return [CameraInfo(name, name, 0, 0) for name in ("birdseye", "b")]

    def frame_times(self, camera: str) -> tuple[IntArray, FloatArray]:
        return np.zeros(0, np.int64), np.zeros(0)

    def boxes(self, camera: str, confirmed_only: bool = True, with_global: bool = True):  # type: ignore[no-untyped-def]
        return Recorded().boxes("b").take(np.zeros(0, np.int64))


def test_a_run_of_nobody(tmp_path: Path) -> None:
    view = BirdsEye(Nobody(), House())
    written = view.write(tmp_path, Encoded)
    assert [p.name for p in written] == ["birdseye-of-all.mp4", "birdseye-of-all.png"]
    assert all(p.stat().st_size for p in written)


def test_the_picture_has_everyones_way(tmp_path: Path) -> None:
    import cv2

    view = BirdsEye(Recorded(), House())
    for name in range(8, 60):
        view.paths[name] = GroundPath(view.paths[7].time_s, view.paths[7].xy_m + np.array([0, 0.06 * (name - 7)]))
    view.picture(tmp_path / "x.png")
    shown = cv2.imread(str(tmp_path / "x.png"))
    assert shown is not None
    strip_px = shown.shape[0] - view.plan.picture.shape[0]
    x, y = np.rint(view.plan.pixels(np.array([[2.0, 0.0]]))[0]).astype(int)
    near = shown[y + strip_px - 3 : y + strip_px + 4, x].reshape(-1, 3).astype(int)
    assert np.abs(near - np.array(color_of(7))).sum(axis=1).min() < 60
    assert shown.shape[1] > view.plan.picture.shape[1] + 100  # the table
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        view.picture(tmp_path / "file" / "x.png")

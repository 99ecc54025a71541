"""Annotated video: what is drawn, and that no picture gets lost."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mctrack.errors import OutputError
from mctrack.sinks.draw import DARK, GREY, Style, Trails, clock, color_of, draw_view, fit, printable
from mctrack.sinks.schema import CameraInfo
from mctrack.sinks.video import VideoSink
from mctrack.types import Frame, Image, Instant, InstantResult, Link, Tracks, TrackState

CAMERAS = [CameraInfo("a", "a", 320, 240, 10.0), CameraInfo("b", "b", 320, 240, 10.0), CameraInfo("c", "c", 320, 240)]


class Recorder:
    """A video writer that keeps what it is given and leaves a file with the times in it."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float, delay_s: float = 0) -> None:
        self.path, self.size, self.fps, self.delay_s = path, size, fps, delay_s
        self.pictures: list[Image] = []
        self.times: list[float] = []
        self.closed = False
        self.file = path.open("w")

    def write(self, image_bgr: Image, time_s: float) -> None:
        assert image_bgr.shape == (self.size[1], self.size[0], 3)
        assert image_bgr.dtype == np.uint8
        time.sleep(self.delay_s)
        self.pictures.append(image_bgr.copy())
        self.times.append(time_s)
        print(f"{time_s:.2f}", file=self.file, flush=True)

    def close(self) -> None:
        self.closed = True
        self.file.close()


class Factory:
    """Makes recorders and remembers them by file name."""

    def __init__(self, delay_s: float = 0) -> None:
        self.delay_s = delay_s
        self.made: dict[str, Recorder] = {}

    def __call__(self, path: Path, size: tuple[int, int], fps: float) -> Recorder:
        self.made[path.name] = Recorder(path, size, fps, self.delay_s)
        return self.made[path.name]


def people(boxes: list[list[float]], state: int = 1, seen: bool = True, since_s: float = 0.0) -> Tracks:
    n = len(boxes)
    return Tracks(
        np.arange(1, n + 1), np.array(boxes, float).reshape(-1, 4), np.ones(n), np.full(n, int(state)),
        np.full(n, since_s), np.arange(n) if seen else np.full(n, -1),
    )  # fmt: skip


def instant(
    time_s: float, cameras: str = "abc", boxes: list[list[float]] | None = None, names: list[int] | None = None,
    picture: bool = True, links: tuple[Link, ...] = (),
) -> InstantResult:  # fmt: skip
    image = np.full((240, 320, 3), 90, np.uint8) if picture else None
    frames = tuple(Frame(c, round(time_s * 10), time_s, image, (320, 240)) for c in cameras)
    tracks = tuple(people(boxes or []) for _ in frames)
    return InstantResult(Instant(time_s, frames), tracks, tuple(np.array(names or [], int) for _ in frames), links)


def test_every_picture_is_written_once_with_its_time(tmp_path: Path) -> None:
    factory = Factory(delay_s=0.005)  # slower than what comes
    sink = VideoSink(tmp_path / "video", CAMERAS, factory)
    for i in range(25):
        sink.write(instant(i / 10, "abc" if i % 2 == 0 else "a"))
    sink.close()
    sink.close()
    assert set(factory.made) == {"a.mp4", "b.mp4", "c.mp4", "mosaic.mp4"}
    assert factory.made["a.mp4"].times == [i / 10 for i in range(25)]
    assert factory.made["b.mp4"].times == [i / 10 for i in range(0, 25, 2)]
    assert factory.made["mosaic.mp4"].times == [i / 10 for i in range(25)]
    assert all(r.closed for r in factory.made.values())
    assert factory.made["a.mp4"].fps == 10
    assert 0 < sink.seconds["draw"] < 5
    assert sink.seconds["encode"] >= 0.005 * sum(len(r.times) for r in factory.made.values())
    assert {p.name for p in sink.paths} == set(factory.made)


def test_a_slow_encoder_holds_up_the_caller(tmp_path: Path) -> None:
    factory, go = Factory(), threading.Event()

    def encoder(path: Path, size: tuple[int, int], fps: float) -> Recorder:
        go.wait(10)
        return factory(path, size, fps)

    sink = VideoSink(tmp_path, CAMERAS[:1], encoder, mosaic=False)
    done: list[int] = []

    def feed() -> None:
        for i in range(20):
            sink.write(instant(i / 10, "a"))
            done.append(i)

    thread = threading.Thread(target=feed)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert len(done) <= 5  # bounded
    go.set()
    thread.join(10)
    sink.close()
    assert len(factory.made["a.mp4"].times) == 20


def test_nothing_is_made_up_for_missing_pictures(tmp_path: Path) -> None:
    factory = Factory()
    sink = VideoSink(tmp_path / "video", CAMERAS, factory)
    sink.write(instant(0, picture=False))
    sink.close()
    assert factory.made == {}
    assert not (tmp_path / "video").exists()


def test_sizes_are_even_and_fixed(tmp_path: Path) -> None:
    factory = Factory()
    cameras = [CameraInfo("odd", "", 333, 251, 25.0), CameraInfo("big", "", 1920, 1080, 25.0)]
    sink = VideoSink(tmp_path, cameras, factory, mosaic=True)
    shown = [("odd", (333, 251)), ("big", (1920, 1080)), ("odd", (640, 200)), ("big", (320, 240))]
    for i, (name, size) in enumerate(shown):
        frame = Frame(name, i, i / 10, np.zeros((size[1], size[0], 3), np.uint8), size)
        sink.write(InstantResult(Instant(i / 10, (frame,)), (people([]),), (np.zeros(0, int),), ()))
    sink.close()  # Recorder checks that each picture has the file's size
    for recorder in factory.made.values():
        assert recorder.size[0] % 2 == 0
        assert recorder.size[1] % 2 == 0
    assert factory.made["big.mp4"].size == (1280, 720 + Style.of(720).strip_px)
    assert factory.made["mosaic.mp4"].size[0] <= 1280


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 9, 17])
def test_mosaic_fits(tmp_path: Path, n: int) -> None:
    factory = Factory()
    cameras = [CameraInfo(f"c{i}", "", 1920, 1080, 25.0) for i in range(n)]
    sink = VideoSink(tmp_path, cameras, factory)
    frame = Frame(f"c{n - 1}", 0, 0.0, np.full((1080, 1920, 3), 200, np.uint8), (1920, 1080))
    sink.write(InstantResult(Instant(0.0, (frame,)), (people([]),), (np.zeros(0, int),), ()))
    sink.close()
    width, height = factory.made["mosaic.mp4"].size
    assert width <= 1280
    assert height <= 1280
    assert (factory.made["mosaic.mp4"].pictures[0] == 200).mean() > 0.5 / n / 4  # the last camera has a place


def test_mosaic_dims_a_silent_camera_and_takes_it_back(tmp_path: Path) -> None:
    factory = Factory()
    sink = VideoSink(tmp_path, CAMERAS[:2], factory)
    for i in range(40):
        sink.write(instant(i / 10, "ab" if i < 5 or i >= 30 else "b"))
    sink.close()
    mosaic = factory.made["mosaic.mp4"]
    left = [np.median(p[:, : p.shape[1] // 2]) for p in mosaic.pictures]
    right = [np.median(p[:, p.shape[1] // 2 :]) for p in mosaic.pictures]
    assert left[4] == left[12] == left[39] == 90
    assert left[20] < 40
    assert set(right) == {90}
    assert len(factory.made["a.mp4"].times) == 15  # display only: the camera's own video has no such picture


def test_a_camera_called_mosaic_keeps_its_file(tmp_path: Path) -> None:
    factory = Factory()
    sink = VideoSink(tmp_path, [CameraInfo("mosaic", "", 320, 240, 10.0)], factory)
    frame = Frame("mosaic", 0, 0.0, np.zeros((240, 320, 3), np.uint8), (320, 240))
    sink.write(InstantResult(Instant(0.0, (frame,)), (people([]),), (np.zeros(0, int),), ()))
    sink.close()
    assert len(factory.made) == 2


def test_resume_keeps_the_old_file_until_there_is_as_much_again(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("old")
    sink = VideoSink(tmp_path, CAMERAS[:1], Factory(), mosaic=False, resume_instant=5)
    for i in range(4):
        sink.write(instant(i / 10, "a"))
    time.sleep(0.1)
    assert (tmp_path / "a.mp4").read_text() == "old"
    sink.write(instant(0.4, "a"))
    begin = time.monotonic()
    while (tmp_path / "a.mp4").read_text() == "old" and time.monotonic() - begin < 5:
        time.sleep(0.01)
    assert (tmp_path / "a.mp4").read_text().split() == ["0.00", "0.10", "0.20", "0.30", "0.40"]
    sink.write(instant(0.5, "a"))
    sink.close()
    assert (tmp_path / "a.mp4").read_text().split()[-1] == "0.50"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_resume_interrupted_again_keeps_the_longer_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("old")
    sink = VideoSink(tmp_path, CAMERAS[:2], Factory(), mosaic=False, resume_instant=5)
    sink.write(instant(0.0, "ab"))
    sink.close()
    assert (tmp_path / "a.mp4").read_text() == "old"
    assert (tmp_path / "b.mp4").read_text() == "0.00\n"  # there was none
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_an_encoder_that_fails_is_one_line_and_ends_nothing_else(tmp_path: Path) -> None:
    class Full(Recorder):
        def write(self, image_bgr: Image, time_s: float) -> None:
            if time_s > 0.2:
                raise OSError(28, "No space left on device")
            super().write(image_bgr, time_s)

    made = []

    def encoder(path: Path, size: tuple[int, int], fps: float) -> Recorder:
        made.append((Full if path.name == "a.mp4" else Recorder)(path, size, fps))
        return made[-1]

    sink = VideoSink(tmp_path, CAMERAS[:2], encoder, mosaic=False)

    def feed() -> None:
        for i in range(200):
            sink.write(instant(i / 10, "ab"))

    with pytest.raises(OutputError, match=r"video cannot be written: .*No space left"):
        feed()
    sink.close()  # told already
    assert all(r.closed for r in made)


def test_an_error_found_last_comes_with_close(tmp_path: Path) -> None:
    class Bad(Recorder):
        def close(self) -> None:
            super().close()
            raise OutputError(f"{self.path}: no space left")

    sink = VideoSink(tmp_path, CAMERAS[:1], Bad, mosaic=False)
    sink.write(instant(0.0, "a"))
    with pytest.raises(OutputError, match=r"a\.mp4: no space left$"):
        sink.close()
    sink.close()


def view(tracks: Tracks, names: list[int], size: tuple[int, int] = (320, 240), scale: int = 2) -> np.ndarray:
    """The picture without its strip, ``scale`` times as large as the camera's."""
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    frame = Frame("a", 0, 0.0, image, size)
    shown = Trails().people(frame, tracks, np.array(names, int))
    drawn = draw_view(image, shown, (size[0] * scale, size[1] * scale), "a", 0.0, (1, 1))
    assert (image == 90).all()  # the camera's picture is still needed as it was
    strip = Style.of(size[1] * scale).strip_px
    assert drawn.shape == (size[1] * scale + strip, size[0] * scale, 3)
    assert (drawn[:strip] == DARK).all(axis=-1).mean() > 0.5
    return drawn[strip:]


def test_boxes_are_where_the_people_are_in_their_colour() -> None:
    picture = view(people([[50, 60, 90, 180]]), [7])
    red = (picture == color_of(7)).all(axis=-1)
    ys, xs = np.nonzero(red[130:])  # below the label
    assert abs(xs.min() - 100) <= 2
    assert abs(xs.max() - 180) <= 2
    assert abs(ys.max() + 130 - 360) <= 2
    assert (picture[200:340, 110:170] == 90).all()  # the person stays visible
    label = picture[90:119, 99:140]
    assert (label == color_of(7)).all(axis=-1).mean() > 0.4


def test_nameless_is_grey_and_coasting_is_dashed_for_a_moment() -> None:
    grey = view(people([[50, 60, 90, 180]]), [-1])
    changed = (grey != 90).any(axis=-1)
    assert changed.any()
    assert (grey[changed] == GREY).all(axis=-1).mean() > 0.6
    solid = view(people([[50, 60, 90, 180]]), [7])
    dashed = view(people([[50, 60, 90, 180]], seen=False, since_s=0.2), [7])
    count = [(p == color_of(7)).all(axis=-1).sum() for p in (solid, dashed)]
    assert 0 < count[1] < 0.5 * count[0]
    long_gone = people([[50, 60, 90, 180]], seen=False, since_s=2.0)
    removed = people([[50, 60, 90, 180]], TrackState.REMOVED, seen=False)
    for gone in (long_gone, removed):
        assert (view(gone, [7]) == 90).all()


EDGES = [[-30, -40, 20, 60], [300, 200, 400, 300], [0, 0, 320, 240], [310, 5, 319, 30], [-99, -99, -50, -50]]


@pytest.mark.parametrize("box", EDGES)
def test_labels_stay_inside(box: list[float]) -> None:
    for scale in (1, 4):
        picture = view(people([box]), [12345], scale=scale)
        if box[2] > 0:
            assert (picture == color_of(12345)).all(axis=-1).sum() > 30


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    picture = view(people([[100, 80, 140, 200], [104, 82, 144, 202], [108, 84, 148, 204]]), [1, 2, 3])
    tag = round(Style.of(480).text_px * 1.35)
    for name in (1, 2, 3):
        # somewhere a row of its tag's colour as wide as the tag: nothing lies on it
        mask = (picture == color_of(name)).all(axis=-1)
        assert mask.sum(axis=1).max() > 2 * tag


def test_trail_follows_the_feet_and_is_forgotten() -> None:
    trails, image = Trails(), np.full((240, 320, 3), 90, np.uint8)
    for i in range(11):
        frame = Frame("a", i, i / 10, image, (320, 240))
        shown = trails.people(frame, people([[10 + 20 * i, 50, 30 + 20 * i, 150]]), np.array([3]))
    np.testing.assert_allclose(shown[0].trail, [[20 + 20 * i, 150] for i in range(11)])
    drawn = draw_view(image, shown, (320, 240), "a", 1.0, (1, 1))[Style.of(240).strip_px :]
    assert (drawn[148:153, 60:200] != 90).any(axis=-1).any(axis=0).all()
    frame = Frame("a", 99, 9.9, image, (320, 240))
    assert len(trails.people(frame, people([[10, 50, 30, 150]]), np.array([3]))[0].trail) == 1
    trails.people(frame, people([]), np.zeros(0, int))
    assert not trails._points


def test_counts_in_the_strip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def spy(image: Image, people: object, size: tuple[int, int], *rest: object) -> Image:
        counts.append(rest[-1])
        return np.zeros((size[1], size[0], 3), np.uint8)

    monkeypatch.setattr("mctrack.sinks.video.draw_view", spy)
    sink = VideoSink(tmp_path, CAMERAS[:1], Factory(), mosaic=False)
    two = [[0, 0, 9, 9], [20, 0, 29, 9]]
    sink.write(instant(0.0, "a", two, [1, -1]))
    sink.write(instant(0.1, "a", two, [1, 2]))
    sink.write(instant(0.2, "a", [], []))
    sink.write(instant(0.3, "a", two, [1, 1], links=(Link(0.3, "a", 2, 1, "merge", 2),)))
    sink.close()
    assert counts == [(2, 1), (2, 2), (0, 2), (2, 1)]


def test_colours_are_stable_and_distinct() -> None:
    colors = np.array([color_of(i) for i in range(1, 25)], float)
    distance = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 999 * np.eye(24)
    assert distance.min() > 30
    assert distance[:8, :8].min() > 60
    # as seen without red or without green cones (Machado et al. 2009), blue green red
    for matrix in ([[1.052, -0.048, -0.004], [0.099, 0.786, 0.115], [-0.205, 1.053, 0.152]],
                   [[0.969, 0.043, -0.012], [0.047, 0.673, 0.280], [-0.228, 0.861, 0.367]]):  # fmt: skip
        linear = (colors[:8] / 255) ** 2.2 @ np.array(matrix).T
        seen = 255 * np.clip(linear, 0, 1) ** (1 / 2.2)
        assert (np.linalg.norm(seen[:, None] - seen[None], axis=-1) + 999 * np.eye(8)).min() > 30


def test_fit_keeps_the_shape() -> None:
    wide, scale, left, top = fit(np.full((100, 400, 3), 50, np.uint8), (200, 200))
    assert (scale, left, top) == (0.5, 0, 75)
    assert (wide[75:125] == 50).all()
    assert (wide[:75] == DARK).all()
    same, scale, left, top = fit(np.zeros((101, 201, 3), np.uint8), (200, 100))
    assert same.shape == (100, 200, 3)
    assert (left, top) == (0, 0)


CLOCKS = [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3600, "1:00:00"), (-5, "-0:05")]


@pytest.mark.parametrize(("time_s", "text"), CLOCKS)
def test_clock(time_s: float, text: str) -> None:
    assert clock(time_s) == text


def test_printable() -> None:
    assert printable("Süd-Eingang 入口") == "Sud-Eingang ??"
    for width in (40, 90, 200, 1280):  # long names and narrow pictures
        drawn = draw_view(np.zeros((30, width, 3), np.uint8), [], (width, 30), "a very long name " * 4, 3.0, (3, 99))
        assert drawn.shape[1] == width

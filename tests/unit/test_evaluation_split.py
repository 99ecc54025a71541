"""Cutting a clip with truth into cameras: every pixel and box of a camera must be where the clip has it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mctrack.commands.eval import RunRequest, make_eval_command
from mctrack.commands.split import Clip, Window, as_seen, cut, cut_truth, find_clip, view_of, windows_of
from mctrack.errors import ConfigError, MctrackError
from mctrack.evaluation.benchmark import NoDataError, load_benchmark
from mctrack.evaluation.motchallenge import read_ground_truth, read_seqinfo
from mctrack.evaluation.table import BoxTable
from mctrack.video.writer import VideoWriter

FPS, FRAMES, SIZE = 10.0, 30, (160, 120)


def clip_image(index: int) -> np.ndarray:
    """A bright square that walks to the right, 4 pixels a frame."""
    image = np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)
    image[40:80, 4 * index : 4 * index + 20] = (60, 150, 240)
    return image


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clip")
    writer = VideoWriter(root / "walk.mp4", SIZE, FPS, crf=5)
    for index in range(FRAMES):
        writer.write(clip_image(index), index / FPS)
    writer.close()
    # the truth is for a picture twice as large
    rows = [f"{i + 1},7,{8 * i},80,40,80,1,-1,-1,-1\n" for i in range(FRAMES)]
    (root / "gt.txt").write_text("".join(rows))
    return root


def truth() -> BoxTable:
    left = 4.0 * np.arange(FRAMES)
    full = np.full(FRAMES, 1.0)
    xyxy = np.column_stack([left, 40 * full, left + 20, 80 * full])
    return BoxTable.of(np.arange(FRAMES) + 1, np.full(FRAMES, 7), xyxy)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.5, 1.5])
def test_boxes_lie_on_what_the_camera_sees(mirror: bool, scale: float) -> None:
    view = view_of(Window(x=(0.25, 1.0), y=(0.1, 0.9), scale=scale, mirror=mirror), SIZE, FRAMES, FPS)
    table = cut_truth(truth(), view)
    for frame in range(12, 28, 3):
        picture = as_seen(clip_image(frame), view)
        assert picture.shape == (view.size[1], view.size[0], 3)
        [row] = np.flatnonzero(table.frame == frame + 1)
        x0, y0, x1, y1 = np.round(table.xyxy[row]).astype(int)
        bright = np.zeros(picture.shape[:2], bool)
        bright[y0:y1, x0:x1] = True
        np.testing.assert_array_equal(bright, picture[..., 2] > 140)


def test_colour_response() -> None:
    view = view_of(Window(gain=(0.5, 1.0, 2.0)), SIZE, FRAMES, FPS)
    assert as_seen(np.full((120, 160, 3), 100, np.uint8), view)[0, 0].tolist() == [50, 100, 200]
    darker = view_of(Window(gamma=2.0), SIZE, FRAMES, FPS)
    assert as_seen(np.full((120, 160, 3), 51, np.uint8), darker)[0, 0].tolist() == [10, 10, 10]


def test_delay_and_rate_choose_frames() -> None:
    view = view_of(Window(delay_s=0.5, rate=0.5), SIZE, FRAMES, FPS)
    assert view.source_frame == tuple(range(5, 30, 2))
    table = cut_truth(truth(), view)
    assert table.frame.tolist() == list(range(1, 14))
    np.testing.assert_allclose(table.xyxy[:, 0], 4.0 * np.arange(5, 30, 2))
    assert view_of(Window(rate=0.8), SIZE, 10, FPS).source_frame == (0, 1, 2, 3, 5, 6, 7, 8)
    with pytest.raises(ConfigError, match="nothing of a clip"):
        view_of(Window(delay_s=9), SIZE, FRAMES, FPS)


def test_people_cut_by_the_edge() -> None:
    """Less than 0.4 inside: neither hit nor miss; less than 0.05: not there."""
    view = view_of(Window(x=(0.5, 1.0)), SIZE, FRAMES, FPS)
    table = cut_truth(truth(), view)
    # the window begins at 80: of the square at 4 i, the part from 80 on is inside
    inside = {i: min(max(4 * i + 20 - 80, 0), 20) / 20 for i in range(FRAMES)}
    assert table.frame.tolist() == [i + 1 for i, s in inside.items() if s >= 0.05]
    assert table.score.tolist() == [float(inside[f - 1] >= 0.4) for f in table.frame.tolist()]
    np.testing.assert_allclose(table.visibility, [inside[f - 1] for f in table.frame.tolist()])


def test_one_space_of_identities_and_what_is_written(clip: Path, tmp_path: Path) -> None:
    windows = {"a": Window(x=(0, 0.6)), "b": Window(x=(0.4, 1), delay_s=0.4, rate=0.5, scale=2, mirror=True)}
    lines = cut(Clip(clip / "walk.mp4", clip / "gt.txt", 0.5), windows, tmp_path)
    assert len(lines) == 2
    found = {n: read_ground_truth(tmp_path / "gt" / f"{n}.txt") for n in windows}
    assert all(set(t.track_id.tolist()) == {7} for t in found.values())
    info = read_seqinfo(tmp_path / "gt" / "b.ini")
    assert (info.length, info.fps, info.size) == (13, 5.0, (192, 240))
    starts = json.loads((tmp_path / "calibration.json").read_text())["cameras"]
    assert (starts["a"]["start_s"], starts["b"]["start_s"]) == (0.0, 0.4)
    from mctrack.config import VideoConfig
    from mctrack.video.cameras import parse_cameras
    from mctrack.video.reader import open_source

    [spec] = parse_cameras([f"b={tmp_path / 'b.mp4'}"])
    source = open_source(spec, VideoConfig())
    frames = list(source)
    source.close()
    assert len(frames) == 13
    assert [round(f.time_s, 3) for f in frames] == [round(0.2 * k, 3) for k in range(13)]
    table = found["b"]
    whole = np.flatnonzero(table.visibility > 0.99)
    assert len(whole) > 5
    for row in whole[::2]:
        picture = frames[table.frame[row] - 1].image
        x0, y0, x1, y1 = np.round(table.xyxy[row]).astype(int)
        assert picture[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4, 2].min() > 180
        assert picture[y0 + 4 : y1 - 4, : max(x0 - 4, 0), 2].max(initial=0) < 90


def test_definitions() -> None:
    definition = load_benchmark("split")
    for layout, shared in (("halves", 0.2), ("gap", -0.2)):
        name, windows = windows_of(definition, layout)
        assert name == layout
        left, right = windows["left"], windows["right"]
        assert left.x[1] - right.x[0] == pytest.approx(shared)
    assert windows_of(definition, None)[0] == "halves"
    with pytest.raises(ConfigError, match=r"no split 'halvs' \(did you mean 'halves'"):
        windows_of(definition, "halvs")


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"x": [0.5, 0.2]}, "expected shares"), ({"rate": 0}, "rate"), ({"rate": 2}, "rate"), ({"x": 3}, "windows"),
        ({"z": [0, 1]}, "unknown key 'z'"), ({"gain": [1, 1]}, "three factors"), ({"scale": -1}, "positive"),
        ("left half", "expected keys"),
    ],
)  # fmt: skip
def test_bad_windows(keys: object, reason: str) -> None:
    definition = load_benchmark("split")
    definition.windows = {"own": {"cam": keys}}
    with pytest.raises(ConfigError, match=reason):
        windows_of(definition, "own")


def test_what_cannot_be_cut(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="needs one video, found none"):
        find_clip(tmp_path, None, 1)
    (tmp_path / "only.mp4").write_bytes(b"")
    with pytest.raises(NoDataError, match="no ground truth"):
        find_clip(tmp_path, None, 1)
    with pytest.raises(NoDataError, match="no such file"):
        find_clip(tmp_path / "none", None, 1)
    with pytest.raises(ConfigError, match="give --gt-scale"):
        cut(Clip(clip / "walk.mp4", clip / "gt.txt", 1.0), {"a": Window()}, tmp_path / "out")
    (tmp_path / "long.txt").write_text("99,1,1,1,9,9,1\n")
    with pytest.raises(ConfigError, match="has frame 99, but"):
        cut(Clip(clip / "walk.mp4", tmp_path / "long.txt", 1.0), {"a": Window()}, tmp_path / "out")


def test_the_command_cuts_runs_and_scores(clip: Path, tmp_path: Path) -> None:
    """The 'tracker' gives the truth back: everything is right, and both cameras know the person."""
    seen: list[RunRequest] = []

    def runner(request: RunRequest) -> Path:
        seen.append(request)
        tracks = request.out / "tracks"  # type: ignore[operator]
        tracks.mkdir(parents=True)
        assert request.benchmark.cameras
        for name in request.sequences:
            assert (request.root / f"{name}.mp4").is_file()
            (tracks / f"{name}.txt").write_text((request.root / "gt" / f"{name}.txt").read_text())
        return request.out  # type: ignore[return-value]

    def call(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(make_eval_command(runner), [
            "--benchmark", "split", "--root", str(clip), "--gt-scale", "0.5", "--engine", "fast", *map(str, arguments)])
        if isinstance(result.exception, MctrackError):
            return 2, str(result.exception)
        return result.exit_code, result.output

    code, text = call("--split", "gap", "--out", tmp_path / "gap")
    assert code == 0
    assert (seen[0].sequences, seen[0].root) == (("left", "right"), tmp_path / "gap" / "data")
    assert "cut into several cameras (gap)" in text
    assert "MC_IDF1 100.00" in text
    # the walker leaves the left window for the right one; a delay of 1.3 s must not hide it
    assert "left > right: 1 of 1 right" in text
    code, text = call("--split", "gap", "--results", tmp_path / "gap")
    assert (code, len(seen)) == (0, 1)
    assert "MC_IDF1 100.00" in text
    code, text = call("--compare", "reid.name=none,histogram", "--out", tmp_path / "both")
    assert code == 0
    assert [r.root for r in seen[1:]] == [tmp_path / "both" / "data"] * 2
    assert "no interval: the cameras of one scene" in text


def test_the_cameras_clocks_reach_the_tracker(clip: Path, tmp_path: Path) -> None:
    from mctrack.commands.benchmark_runner import _config

    cut(Clip(clip / "walk.mp4", clip / "gt.txt", 0.5), {"a": Window(), "b": Window(delay_s=0.4)}, tmp_path)
    request = RunRequest(load_benchmark("folder"), tmp_path, ("a", "b"), None, None, ("track.n_init=2",))
    config = _config(request, ["a=1", "b=2"], tmp_path)
    assert config.video.offset_s == {"a": 0.0, "b": 0.4}
    assert config.track.n_init == 2

"""Detections from MOTChallenge files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mctrack.config import DetectConfig
from mctrack.detect.file import FileDetector, find_detections
from mctrack.detect.motchallenge import map_scores, read_detections
from mctrack.errors import ConfigError, SourceError
from mctrack.types import Frame
from mctrack.video.spec import CameraSpec


def frame(index: int, camera: str = "a", size: tuple[int, int] = (640, 480)) -> Frame:
    return Frame(camera, index, index / 25, None, size)


def detector(folder: Path, *names: str, **config: object) -> FileDetector:
    cameras = [CameraSpec(name, f"{name}.mp4", "file") for name in names]
    return FileDetector(DetectConfig(weights=str(folder), **config), cameras, "auto")


def test_rows_of_each_frame(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("3,-1,10,20,30,60,0.9\n1,-1,1,2,30,60,0.8,-1,-1,-1\n3,-1,200,20,30,60,0.5\n")
    (tmp_path / "b.txt").write_text("2,-1,7,8,9,10,0.25\n")
    found = detector(tmp_path, "a", "b").detect([frame(2), frame(0), frame(1, "b"), frame(1), frame(99)])
    np.testing.assert_allclose(found[0].xyxy, [[10, 20, 40, 80], [200, 20, 230, 80]])
    np.testing.assert_allclose(found[0].score, [0.9, 0.5])
    np.testing.assert_allclose(found[1].xyxy, [[1, 2, 31, 62]])
    np.testing.assert_allclose(found[2].xyxy, [[7, 8, 16, 18]])
    assert [len(f) for f in found[3:]] == [0, 0]
    assert detector(tmp_path, "a").detect([]) == []


def test_boxes_beyond_the_picture_stay(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1,-1,-20,-10,100,600,0.9\n1,-1,700,20,30,60,0.8\n")
    found = detector(tmp_path, "a").detect([frame(0)])[0]
    np.testing.assert_allclose(found.xyxy, [[-20, -10, 80, 590], [700, 20, 730, 80]])


def test_thresholds_apply(tmp_path: Path) -> None:
    rows = ["1,-1,10,10,20,50,0.9", "1,-1,11,10,20,50,0.8", "1,-1,90,10,20,50,0.2", "1,-1,150,10,5,6,0.7"]
    (tmp_path / "a.txt").write_text("\n".join(rows))
    scores = {
        "all": {"score": 0.0, "nms_iou": 1.0, "min_height_px": 0.0},
        "twins": {"score": 0.0, "nms_iou": 0.6, "min_height_px": 0.0},
        "strong": {"score": 0.5, "nms_iou": 1.0, "min_height_px": 8.0},
        "few": {"score": 0.0, "nms_iou": 1.0, "min_height_px": 0.0, "max_detections": 1},
    }
    found = {k: detector(tmp_path, "a", **v).detect([frame(0)])[0].score.tolist() for k, v in scores.items()}
    assert found == {"all": [0.9, 0.8, 0.7, 0.2], "twins": [0.9, 0.7, 0.2], "strong": [0.9, 0.8], "few": [0.9]}


@pytest.mark.parametrize("text", [
    "1,-1,1,2,3,40,0.5\r\n\r\n2,-1,1,2,3,40,0.5,-1,-1,-1\r\n",
    "\ufeff1,-1,1,2,3,40,0.5\n2,-1,1,2,3,40,0.5",
    "  1 -1 1 2   3 40 0.5\n\n\n2\t-1\t1\t2\t3\t40\t0.5\n",
    "# frame,id,x,y,w,h,conf\n1, -1, 1, 2, 3, 40, 0.5,\n2.0, -1, 1e0, 2, 3, 40, 0.5\n",
    "2,-1,1,2,3,40\r1,-1,1,2,3,40\r",
])
def test_ways_to_write_the_same(tmp_path: Path, text: str) -> None:
    path = tmp_path / "det.txt"
    path.write_text(text, encoding="utf-8", newline="")
    table = read_detections(path)
    assert table.index.tolist() == [0, 1]
    np.testing.assert_allclose(table.xyxy, [[1, 2, 4, 42]] * 2)


@pytest.mark.parametrize(("line", "message"), [
    ("1,-1,nan,2,3,4,0.5", r"line 3: x is nan, not a finite number"),
    ("1,-1,1,2,3,inf,0.5", r"line 3: height is inf, not a finite number"),
    ("1,-1,1,2,-3,4,0.5", r"line 3: width is -3, it cannot be negative"),
    ("0,-1,1,2,3,4,0.5", r"line 3: frame is 0, frames are counted 1, 2, 3"),
    ("1.5,-1,1,2,3,4,0.5", r"line 3: frame is 1\.5"),
    ("1,-1,1,2,three,4,0.5", r"line 3: width is 'three', not a number"),
    ("1,-1,1,2,,4,0.5", r"line 3: width is '', not a number"),
    ("1,-1,1,2,3", r"line 3: 5 values, expected frame, id, x, y, width, height, confidence"),
])
def test_mistakes_name_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "det.txt"
    path.write_text(f"1,-1,1,2,3,4,0.5\r\n\r\n{line}\r\n", newline="")
    with pytest.raises(SourceError, match=rf"det\.txt {message}") as caught:
        read_detections(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "det.txt"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(SourceError, match=r"det\.txt: not a text file"):
        read_detections(path)
    with pytest.raises(SourceError, match="cannot be read"):
        read_detections(tmp_path)


def test_empty_file_has_no_detections(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    assert len(detector(tmp_path, "a").detect([frame(0)])[0]) == 0


@pytest.mark.parametrize(("confidence", "expected", "rule"), [
    ([-1, -1, -1], [1, 1, 1], "all -1, taken as 1"),
    ([1, 1], [1, 1], "all 1, taken as 1"),
    ([0.05, 0.5, 1.0], [0.05, 0.5, 1.0], "as in the file"),
    ([2.0, 50.0, 99.5], [0.02, 0.5, 0.995], "percent"),
    ([-1.0, 0.0, 1.0], [0.26894142, 0.5, 0.73105858], "logistic of width 1"),
    ([], [], "none"),
])
def test_confidences_become_scores(confidence: list[float], expected: list[float], rule: str) -> None:
    score, shown = map_scores(np.array(confidence, float))
    np.testing.assert_allclose(score, expected)
    assert rule in shown


def test_large_margins_do_not_saturate(rng: np.random.Generator) -> None:
    score, _ = map_scores(rng.normal(60, 40, 1000))
    assert (score > 0.999).mean() < 0.01
    assert score.min() >= 0


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_scores_keep_the_order(values: list[float]) -> None:
    confidence = np.array(values)
    score, _ = map_scores(confidence)
    assert ((score >= 0) & (score <= 1)).all()
    order = np.argsort(confidence, kind="stable")
    assert (np.diff(score[order]) >= 0).all()


def spec(path: Path, kind: str, name: str = "a") -> CameraSpec:
    return CameraSpec(name, str(path), kind)


@pytest.mark.parametrize("place", ["clip.txt", "clip.det.txt", "det/clip.txt", "det.txt"])
def test_found_beside_a_video(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert find_detections(None, spec(tmp_path / "clip.mp4", "file"), 1) == path
    if place == "det.txt":
        with pytest.raises(ConfigError, match="camera 'a': no detections found; looked for"):
            find_detections(None, spec(tmp_path / "clip.mp4", "file"), 2)
    else:
        assert find_detections(None, spec(tmp_path / "clip.mp4", "file"), 2) == path


@pytest.mark.parametrize("inside", ["", "img1"])
@pytest.mark.parametrize("kind", ["sequence", "folder"])
def test_found_in_a_sequence(tmp_path: Path, inside: str, kind: str) -> None:
    path = tmp_path / "MOT17-02" / "det" / "det.txt"
    path.parent.mkdir(parents=True)
    path.touch()
    assert find_detections(None, spec(tmp_path / "MOT17-02" / inside, kind), 3) == path


@pytest.mark.parametrize("place", ["a.txt", "a/det/det.txt", "a/det.txt"])
def test_found_in_the_given_folder(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert find_detections(str(tmp_path), spec(Path("elsewhere.mp4"), "file"), 4) == path


def test_where_nothing_is_found(tmp_path: Path) -> None:
    one = tmp_path / "one.txt"
    one.touch()
    camera = spec(Path("x.mp4"), "file")
    assert find_detections(str(one), camera, 1) == one
    with pytest.raises(ConfigError, match="one file for 2 cameras; give a folder"):
        find_detections(str(one), camera, 2)
    with pytest.raises(ConfigError, match="no such file or folder"):
        find_detections(str(tmp_path / "none"), camera, 1)
    with pytest.raises(ConfigError, match=r"camera 'a': no detections found; looked for .*a\.txt"):
        find_detections(str(tmp_path), camera, 2)
    with pytest.raises(ConfigError, match="camera 'a': a stream has no detection file") as caught:
        find_detections(None, CameraSpec("a", "rtsp://me:secret@host/1", "stream"), 1)
    assert "secret" not in str(caught.value)


def test_description_and_missing_camera(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1,-1,1,2,3,40,85\n1,-1,50,2,3,40,35\n")
    one = detector(tmp_path, "a")
    assert "scores percent" in one.description
    assert not one.needs_images
    with pytest.raises(ConfigError, match="no detections were read for camera 'z'"):
        one.detect([frame(0, "z")])

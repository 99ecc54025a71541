"""Detectors on real footage and real public detections, against the truth beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mctrack import boxes
from mctrack.config import DetectConfig
from mctrack.detect import Detector
from mctrack.detect.embedded import EmbeddedDetector
from mctrack.detect.file import FileDetector
from mctrack.detect.onnx import OnnxDetector
from mctrack.detect.subtraction import BackgroundDetector
from mctrack.types import Detections, Frame
from mctrack.video.spec import CameraSpec

pytestmark = pytest.mark.data
TO_VIDEO = 0.625  # the truth is for 768×576, the clip is 480×360


def pets_frames(data: Path, count: int, step: int = 1) -> Iterator[Frame]:
    import av

    with av.open(str(data / "pets09_s2l1" / "vtest.avi")) as container:
        for i, picture in enumerate(container.decode(video=0)):
            if i == count:
                return
            if i % step:
                continue
            image = picture.to_ndarray(format="bgr24")
            yield Frame("view1", i, i / 7, image, (image.shape[1], image.shape[0]))


def pets_truth(data: Path) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """0-based frame → boxes in the clip's pixels, and which of them count."""
    table = np.loadtxt(data / "pets09_s2l1" / "gt.txt", delimiter=",")
    result = {}
    for i in np.unique(table[:, 0]):
        rows = table[table[:, 0] == i]
        result[int(i) - 1] = (boxes.tlwh_to_xyxy(rows[:, 2:6] * TO_VIDEO), rows[:, 6] > 0)
    return result


def score_one(found: Detections, truth: np.ndarray, counts: np.ndarray) -> tuple[int, int]:
    """(hits, detections that count): best score first, IoU 0.5; what only fits a box to be ignored does not count."""
    overlap = boxes.iou(found.xyxy, truth)
    free, hits, ignored = counts.copy(), 0, 0
    for row in overlap[np.argsort(-found.score, kind="stable")]:
        open_row = np.where(free, row, 0)
        if open_row.max(initial=0) >= 0.5:
            free[open_row.argmax()] = False
            hits += 1
        elif row[~counts].max(initial=0) >= 0.5:
            ignored += 1
    return hits, len(found) - ignored


def recall_precision(detector: Detector, data: Path, count: int, step: int, score: float) -> tuple[float, float]:
    truth = pets_truth(data)
    hits = people = boxes_made = 0
    for frame in pets_frames(data, count, step):
        found = detector.detect([frame])[0]
        if frame.index >= 60 or step > 1:  # background subtraction has to get to know the place
            good, made = score_one(found.take(found.score >= score), *truth[frame.index])
            hits, boxes_made, people = hits + good, boxes_made + made, people + int(truth[frame.index][1].sum())
    return hits / people, hits / boxes_made


@pytest.mark.parametrize("engine", ["onnxruntime", "opencv"])
def test_yolox_on_pets(data_dir: Path, engine: str) -> None:
    weights = str(data_dir / "weights" / "yolox_nano.onnx")
    detector = OnnxDetector(DetectConfig(weights=weights, score=0.25), [], "cpu", engine=engine)
    assert detector.description.startswith("onnx: yolox yolox_nano.onnx, 416×416")
    recall, precision = recall_precision(detector, data_dir, 795, 20 if engine == "onnxruntime" else 100, 0.25)
    assert recall > 0.88
    assert precision > 0.7


def test_engines_agree(data_dir: Path) -> None:
    weights = str(data_dir / "weights" / "yolox_nano.onnx")
    made = [OnnxDetector(DetectConfig(weights=weights), [], "cpu", engine=e) for e in ("onnxruntime", "opencv")]
    frame = next(pets_frames(data_dir, 1))
    one, other = (detector.detect([frame])[0] for detector in made)
    np.testing.assert_allclose(one.xyxy, other.xyxy, atol=0.05)
    np.testing.assert_allclose(one.score, other.score, atol=1e-3)


def test_background_on_pets(data_dir: Path) -> None:
    recall, precision = recall_precision(BackgroundDetector(DetectConfig(), [], "cpu"), data_dir, 220, 1, 0.5)
    assert recall > 0.8
    assert precision > 0.75  # people beyond the annotated area count as wrong here


def test_embedded_on_pets(data_dir: Path) -> None:
    """None of its training pictures was real; a few of the boxes that count as wrong are people not annotated."""
    recall, precision = recall_precision(EmbeddedDetector(DetectConfig(), [], "cpu"), data_dir, 795, 20, 0.5)
    assert recall > 0.9
    assert precision > 0.86


def test_public_detections(data_dir: Path) -> None:
    sequence = data_dir / "mot17" / "MOT17-02-FRCNN"
    camera = CameraSpec("MOT17-02-FRCNN", str(sequence), "sequence")
    config = DetectConfig(score=0.0, nms_iou=1.0, min_height_px=0.0, max_detections=10**6)
    detector = FileDetector(config, [camera], "auto")
    assert "as in the file" in detector.description
    rows = np.loadtxt(sequence / "det" / "det.txt", delimiter=",")
    total = 0
    for i in range(600):
        found = detector.detect([Frame(camera.name, i, i / 30, None, (1920, 1080))])[0]
        mine = rows[rows[:, 0] == i + 1]
        mine = mine[np.argsort(-mine[:, 6], kind="stable")]
        np.testing.assert_allclose(found.xyxy, boxes.tlwh_to_xyxy(mine[:, 2:6]))
        np.testing.assert_allclose(found.score, mine[:, 6])
        total += len(found)
    assert total == len(rows)

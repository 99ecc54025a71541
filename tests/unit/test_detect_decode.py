"""Vectorised decoders against plain loops, and what every detector does last."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mctrack import boxes
from mctrack.config import DetectConfig
from mctrack.detect.decode import Layout, cells, decode, guess_family, looks_decoded
from mctrack.detect.postprocess import finish

SIZE = (96, 64)
COUNT = 12 * 8 + 6 * 4 + 3 * 2


def yolox_loop(output: np.ndarray, person: int, min_score: float) -> tuple[list[list[float]], list[float]]:
    """The YOLOX paper's decoding, cell by cell."""
    found, scores, row = [], [], 0
    for stride in (8, 16, 32):
        for y in range(SIZE[1] // stride):
            for x in range(SIZE[0] // stride):
                values = [float(v) for v in output[row]]
                row += 1
                score = values[4] * values[5 + person]
                if score < min_score or max(values[5:]) > values[5 + person]:
                    continue
                cx, cy = (values[0] + x) * stride, (values[1] + y) * stride
                w, h = math.exp(values[2]) * stride, math.exp(values[3]) * stride
                found.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                scores.append(score)
    return found, scores


@pytest.mark.parametrize("person", [0, 2])
def test_yolox_against_loop(rng: np.random.Generator, person: int) -> None:
    output = rng.random((COUNT, 9)).astype(np.float32)
    output[:, 2:4] = rng.normal(0, 1, (COUNT, 2))
    xyxy, score = decode(output, Layout("yolox", person, 4), SIZE, 0.3)
    expected, scores = yolox_loop(output, person, 0.3)
    assert 5 < len(score) < COUNT
    np.testing.assert_allclose(xyxy, expected, rtol=1e-5)
    np.testing.assert_allclose(score, scores, rtol=1e-6)


def test_yolox_decoded_export_gives_the_same(rng: np.random.Generator) -> None:
    raw = rng.random((COUNT, 7)).astype(np.float32)
    grid = cells(SIZE, COUNT)
    assert grid is not None
    pixels = raw.copy()
    pixels[:, :2] = (raw[:, :2] + grid[0]) * grid[1]
    pixels[:, 2:4] = np.exp(raw[:, 2:4]) * grid[1]
    from_raw = decode(raw, Layout("yolox", 0, 2), SIZE, 0.1)
    from_pixels = decode(pixels, Layout("yolox", 0, 2, decoded=True), SIZE, 0.1)
    np.testing.assert_allclose(from_raw[0], from_pixels[0], rtol=1e-4, atol=1e-3)
    assert not looks_decoded(raw[None], SIZE)
    assert looks_decoded(pixels[None], SIZE)


def test_yolov8_against_loop(rng: np.random.Generator) -> None:
    output = rng.random((4 + 3 + 32, COUNT)).astype(np.float32)
    output[:4] *= 60
    output[7:] *= 100  # mask coefficients: no classes
    xyxy, score = decode(output, Layout("yolov8", 1, 3), SIZE, 0.4)
    expected, scores = [], []
    for cx, cy, w, h, *rest in output.T.astype(float):
        best = max(rest[:3])
        if rest[1] >= 0.4 and rest[1] == best:
            expected.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
            scores.append(rest[1])
    assert 5 < len(score) < COUNT
    np.testing.assert_allclose(xyxy, expected, rtol=1e-5)
    np.testing.assert_allclose(score, scores, rtol=1e-6)


def test_end2end_takes_persons_only() -> None:
    output = np.array([[1, 2, 30, 40, 0.9, 0], [5, 6, 7, 8, 0.8, 16], [9, 9, 20, 30, 0.2, 0], [0, 0, 0, 0, 0, 0]])
    xyxy, score = decode(output.astype(np.float32), Layout("end2end"), SIZE, 0.25)
    np.testing.assert_allclose(xyxy, [[1, 2, 30, 40]])
    np.testing.assert_allclose(score, [0.9])


@pytest.mark.parametrize(("shape", "size", "family"), [
    ((1, 3549, 85), (416, 416), "yolox"),
    ((1, 3549, 6), (416, 416), "yolox"),
    ((2, 84, 8400), (640, 640), "yolov8"),
    ((1, 5, 8400), (640, 640), "yolov8"),
    ((1, 116, 5040), (640, 384), "yolov8"),
    ((1, 300, 6), (640, 640), "end2end"),
    ((1, 300, 57), (640, 640), "end2end"),
    ((1, 8500, 85), (640, 640), "yolox"),  # with a fourth stride of 64
    ((1, 25200, 85), (640, 640), None),  # YOLOv5: three anchors for a cell
    ((1, 1000), (224, 224), None),
    ((1, 32, 160, 160), (640, 640), None),
])
def test_family_by_shape(shape: tuple[int, ...], size: tuple[int, int], family: str | None) -> None:
    assert guess_family(shape, size) == family


def test_garbage_decodes_to_nothing_bad() -> None:
    output = np.full((COUNT, 7), np.nan, np.float32)
    output[:3] = np.inf
    output[3:6] = 1e30
    with np.errstate(all="ignore"):
        xyxy, score = decode(output, Layout("yolox", 0, 2), SIZE, 0.1)
        found = finish(xyxy, score, SIZE, DetectConfig())
    assert np.isfinite(found.xyxy).all()
    assert (found.xyxy >= 0).all()
    assert (found.xyxy <= [96, 64, 96, 64]).all()


numbers = st.floats(allow_nan=True, allow_infinity=True, width=32) | st.floats(-50, 250)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers), max_size=40), st.booleans())
def test_finish_keeps_its_promises(rows: list[tuple[float, ...]], clip: bool) -> None:
    table = np.array(rows, float).reshape(-1, 5)
    config = DetectConfig(score=0.2, nms_iou=0.5, max_detections=7, min_height_px=10)
    with np.errstate(all="ignore"):
        found = finish(table[:, :4], table[:, 4], (200, 100), config, clip)
    assert len(found) <= 7
    assert ((found.score >= 0.2) & (found.score <= 1)).all()
    assert (np.diff(found.score) <= 0).all()
    assert (found.xyxy[:, 3] - found.xyxy[:, 1] >= 10).all()
    assert (found.xyxy[:, 2] > found.xyxy[:, 0]).all()
    if clip:
        assert (found.xyxy >= 0).all()
        assert (found.xyxy <= [200, 100, 200, 100]).all()
    if len(found) and np.abs(found.xyxy).max() < 1e6:
        overlap = boxes.iou(found.xyxy, found.xyxy)
        assert (overlap[~np.eye(len(found), dtype=bool)] <= 0.5 + 1e-9).all()


def test_finish_with_very_many_candidates(rng: np.random.Generator) -> None:
    corner = rng.random((20000, 2)) * 1000
    xyxy = np.concatenate([corner, corner + np.array([20, 50])], axis=1)
    score = rng.random(20000)
    found = finish(xyxy, score, (1100, 1100), DetectConfig(nms_iou=1.0, max_detections=300))
    np.testing.assert_allclose(found.score, np.sort(score)[::-1][:300])


def test_finish_without_candidates() -> None:
    assert len(finish(np.zeros((0, 4)), np.zeros(0), (10, 10), DetectConfig())) == 0

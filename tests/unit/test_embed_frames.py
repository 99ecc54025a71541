"""Embeddings for the detections of all cameras at once."""

from __future__ import annotations

import numpy as np
import pytest

from mctrack.config import ReidConfig
from mctrack.embed import FrameEmbedder, load_embedder
from mctrack.errors import ConfigError, WeightsError
from mctrack.types import Detections, Frame
from reid_models import Calibration


class MeanColour:
    """Describes a crop by its mean colour, and counts the calls."""

    name, dim, description = "mean", 3, "mean colour"
    calibration = Calibration.shipped("generic")

    def __init__(self):
        self.batches = []

    def embed(self, crops):
        self.batches.append(len(crops))
        rows = np.array([crop.reshape(-1, 3).mean(0) for crop in crops]).reshape(-1, 3)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def frame(name, colour, size=(200, 160)):
    image = None if colour is None else np.full((size[1], size[0], 3), colour, np.uint8)
    return Frame(name, 0, 0.0, image, size)


def found(*rows):
    table = np.array(rows, float).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4])


def test_all_cameras_in_one_batch_and_rows_in_place():
    embedder = MeanColour()
    frames = [frame("a", (100, 0, 0)), frame("b", (0, 100, 0)), frame("c", (0, 0, 100))]
    detections = [found([10, 10, 40, 100, 0.9], [50, 10, 80, 100, 0.8]), found(), found([10, 10, 40, 100, 0.9])]
    described = FrameEmbedder(embedder, ReidConfig()).embed(frames, detections)
    assert embedder.batches == [3]
    assert [d.embedding.shape for d in described] == [(2, 3), (0, 3), (1, 3)]
    np.testing.assert_allclose(described[0].embedding, [[1, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(described[2].embedding, [[0, 0, 1]])
    for before, after in zip(detections, described, strict=True):
        np.testing.assert_array_equal(before.xyxy, after.xyxy)
        np.testing.assert_array_equal(before.score, after.score)
        assert after.embedding.dtype == np.float32


def test_what_cannot_be_described_has_a_row_of_zeros():
    config = ReidConfig(min_height_px=30, min_score=0.4)
    detections = [
        found([10, 10, 40, 100, 0.9],  # good
              [10, 10, 40, 35, 0.9],  # too low
              [10, 10, 40, 100, 0.3],  # not sure enough
              [300, 10, 340, 100, 0.9],  # outside
              [10, 140, 40, 300, 0.9]),  # only 20 px of it in the picture
        found([10, 10, 40, 100, 0.9]),
    ]
    described = FrameEmbedder(MeanColour(), config).embed([frame("a", (0, 50, 0)), frame("b", None)], detections)
    np.testing.assert_allclose(described[0].embedding, [[0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(described[1].embedding, [[0, 0, 0]])


def test_no_frames_and_no_detections():
    embedder = FrameEmbedder(MeanColour(), ReidConfig())
    assert embedder.embed([], []) == []
    (described,) = embedder.embed([frame("a", (9, 9, 9))], [found()])
    assert described.embedding.shape == (0, 3)


def test_the_default_embedder_works_here(rng):
    embedder = FrameEmbedder(load_embedder(ReidConfig()), ReidConfig())
    image = rng.integers(0, 256, (160, 200, 3), dtype=np.uint8)
    detections = found([10, 10, 40, 100, 0.9], [5, 5, 9, 9, 0.9])
    (described,) = embedder.embed([Frame("a", 0, 0.0, image, (200, 160))], [detections])
    np.testing.assert_allclose(np.linalg.norm(described.embedding, axis=1), [1, 0], atol=1e-5)


@pytest.mark.parametrize(("name", "kind", "message"), [
    ("histgram", ConfigError, "did you mean 'histogram'"), ("missing.onnx", WeightsError, "missing.onnx: no such file"),
])
def test_mistakes_are_mctrack_errors(name, kind, message):
    with pytest.raises(kind, match=message):
        load_embedder(ReidConfig(name=name))

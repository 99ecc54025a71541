"""Cutting out and judging crops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mctrack.embed import crop_quality, cut_crops, quality
from mctrack.types import Detections

SIZE = (640, 480)


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)


def test_crops_are_views_of_whole_pixels(image):
    (crop,) = cut_crops(image, np.array([[10.4, 20.6, 50.2, 99.9]]))
    np.testing.assert_array_equal(crop, image[21:100, 10:50])
    assert np.shares_memory(crop, image)


def test_crops_end_at_the_picture(image):
    boxes = np.array([[-30, -5, 40, 60.0], [600, 400, 700, 500], [-50, 10, -10, 80], [30, 30, 20, 90]])
    crops = cut_crops(image, boxes)
    assert [crop.shape[:2] for crop in crops] == [(60, 40), (80, 40), (70, 0), (60, 0)]
    assert cut_crops(image, np.zeros((0, 4))) == []


def test_a_clear_view_is_best():
    clear = quality(np.array([[100, 100, 160, 250.0]]), np.ones(1), SIZE)
    assert clear.tolist() == [1.0]


@pytest.mark.parametrize(("box", "score"), [
    ([100, 100, 112, 130], 1.0),  # small
    ([0, 100, 60, 250], 1.0),  # at the left edge
    ([100, 400, 160, 550], 1.0),  # half below the picture
    ([100, 100, 160, 250], 0.4),  # unsure
])
def test_doubts_lower_the_quality(box, score):
    worse = quality(np.array([box], float), np.array([score]), SIZE)
    assert 0 < worse[0] < 0.75


def test_who_stands_in_front_hides_who_is_behind():
    boxes = np.array([[100, 100, 160, 250], [120, 120, 190, 290.0]])
    behind, front = quality(boxes, np.ones(2), SIZE)
    assert front == 1
    assert behind == pytest.approx(1 - 40 * 130 / (60 * 150))


def test_height_counts_monotonically():
    heights = np.arange(10, 200, 10)
    values = [quality(np.array([[100, 100, 130, 100.0 + h]]), np.ones(1), SIZE)[0] for h in heights]
    assert (np.diff(values) >= 0).all()


def test_of_detections():
    found = Detections(np.array([[100, 100, 160, 250.0]]), np.array([0.5]))
    assert crop_quality(found, SIZE).tolist() == [0.5]
    assert crop_quality(Detections.empty(), SIZE).shape == (0,)


@given(arrays(np.float64, (5, 4), elements=st.floats(-1e4, 1e4)), arrays(np.float64, 5, elements=st.floats(0, 1)))
def test_always_between_nothing_and_one(boxes, score):
    values = quality(boxes, score, SIZE)
    assert values.shape == (5,)
    assert np.isfinite(values).all()
    assert ((values >= 0) & (values <= 1)).all()

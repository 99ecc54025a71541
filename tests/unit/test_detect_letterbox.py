"""Where a picture lies in a network's input, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mctrack.detect.letterbox import PAD, Letterbox, letterbox_batch
from mctrack.detect.network import check_input_size, rectangle
from mctrack.errors import ConfigError

sides = st.integers(1, 4000)
inputs = st.sampled_from([(32, 32), (416, 416), (640, 384), (384, 640), (640, 640)])


@given(sides, sides, inputs, st.booleans(), st.integers(0, 2**32 - 1))
def test_boxes_come_back(width: int, height: int, target: tuple[int, int], centred: bool, seed: int) -> None:
    box = Letterbox.fit((width, height), target, centred)
    corners = np.random.default_rng(seed).random((5, 4)) * [width, height, width, height]
    np.testing.assert_allclose(box.to_picture(box.to_input(corners)), corners, atol=1e-6 * max(width, height))


@given(sides, sides, inputs, st.booleans())
def test_picture_fills_the_input(width: int, height: int, target: tuple[int, int], centred: bool) -> None:
    box = Letterbox.fit((width, height), target, centred)
    assert min(box.left, box.top) >= 0
    assert box.left + box.width <= target[0]
    assert box.top + box.height <= target[1]
    assert box.width == target[0] or box.height == target[1]
    whole = box.to_input(np.array([[0.0, 0.0, width, height]]))[0]
    np.testing.assert_allclose(whole, [box.left, box.top, box.left + box.width, box.top + box.height])
    if centred:
        assert abs(target[0] - box.width - 2 * box.left) <= 1
        assert abs(target[1] - box.height - 2 * box.top) <= 1
    else:
        assert (box.left, box.top) == (0, 0)


def test_batch_of_different_sizes() -> None:
    wide = np.full((20, 40, 3), (10, 20, 30), np.uint8)
    tall = np.full((64, 32, 3), (200, 100, 50), np.uint8)
    batch, placed = letterbox_batch([wide, tall], (64, 64), centred=True, rgb=False, scale=1)
    assert batch.shape == (2, 3, 64, 64)
    assert batch.dtype == np.float32
    assert (batch[0, :, :16] == PAD).all()
    assert (batch[0, :, 48:] == PAD).all()
    np.testing.assert_array_equal(batch[0, :, 32, 5], [10, 20, 30])
    assert (batch[1, :, :, :16] == PAD).all()
    np.testing.assert_array_equal(batch[1, :, 0, 16], [200, 100, 50])
    assert [(p.left, p.top, p.width, p.height) for p in placed] == [(0, 16, 64, 32), (16, 0, 32, 64)]


def test_channels_scale_and_corner() -> None:
    image = np.full((10, 20, 3), (10, 20, 30), np.uint8)
    batch, _ = letterbox_batch([image], (32, 32), centred=False, rgb=True, scale=1 / 255)
    np.testing.assert_allclose(batch[0, :, 0, 0], np.array([30, 20, 10]) / 255, rtol=1e-6)
    np.testing.assert_allclose(batch[0, :, 31, 31], PAD / 255, rtol=1e-6)


@given(st.integers(16, 4000), st.integers(16, 4000))
def test_rectangle_holds_the_picture(width: int, height: int) -> None:
    target = rectangle((width, height), 640, 32)
    assert target[0] % 32 == 0
    assert target[1] % 32 == 0
    assert max(target) == 640
    box = Letterbox.fit((width, height), target, True)
    # nothing is gained by a larger input, and less than a stride (and rounding) is left empty
    assert abs(max(box.width, box.height) - 640) <= 1
    assert min(target[0] - box.width, target[1] - box.height) == 0
    assert max(target[0] - box.width, target[1] - box.height) <= 32


def test_rectangle_of_usual_pictures() -> None:
    assert rectangle((1920, 1080), 640, 32) == (640, 384)
    assert rectangle((640, 480), 640, 32) == (640, 480)
    assert rectangle((1080, 1920), 640, 32) == (384, 640)


@pytest.mark.parametrize("size", [0, 16, 417, -32])
def test_input_size_must_fit_the_stride(size: int) -> None:
    with pytest.raises(ConfigError, match=r"detect\.input_size is -?\d+: it must be a multiple of 32"):
        check_input_size(size, 32)

"""Decoding pictures into one array."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
from reid_scene import make_market

from reid_models import ReidError
from reid_models.data import load_images, read_dataset


def picture(path, hw=(12, 8), colour=(10, 120, 240)):
    image = np.empty((*hw, 3), np.uint8)
    image[:] = colour
    cv2.imwrite(str(path), image)
    return path


def test_rgb_channels_first(tmp_path):
    pixels = load_images([picture(tmp_path / "a.png")], (12, 8))
    assert pixels.shape == (1, 3, 12, 8)
    assert pixels.dtype == np.uint8
    assert pixels[0, :, 5, 5].tolist() == [240, 120, 10]


@pytest.mark.parametrize("hw", [(6, 4), (24, 20), (5, 30)])
def test_sizes(tmp_path, hw):
    pixels = load_images([picture(tmp_path / "a.png"), picture(tmp_path / "b.png", (40, 3))], hw, threads=2)
    assert pixels.shape == (2, 3, *hw)
    assert np.ptp(pixels, axis=(2, 3)).max() == 0


def test_threads_change_nothing(tmp_path):
    data = read_dataset("market1501", make_market(tmp_path, identities=6, cameras=2))
    one, many = (load_images(data.gallery, (32, 16), threads=n) for n in (1, 3))
    assert np.array_equal(one, many)
    assert one.std() > 20


def test_nothing_gives_an_empty_array(tmp_path):
    assert load_images([], (4, 2)).shape == (0, 3, 4, 2)
    assert load_images([], (4, 2), cache=tmp_path).shape == (0, 3, 4, 2)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0 header only", None])
def test_a_damaged_file_is_named(tmp_path, content):
    good = picture(tmp_path / "good.png")
    bad = tmp_path / "bad one.jpg"
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(ReidError, match=r"picture .*bad one\.jpg (cannot be|is cut off)"):
        load_images([good, bad], (12, 8), threads=2)


def test_a_file_that_was_cut_off_is_named(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "half.jpg"
    cv2.imwrite(str(path), rng.integers(0, 256, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ReidError, match=r"half\.jpg is cut off"):
        load_images([path], (64, 64))


def test_cache(tmp_path):
    paths = [picture(tmp_path / f"{i}.png", colour=(i, i, i)) for i in range(5)]
    cache = tmp_path / "cache"
    first = load_images(paths, (12, 8), cache=cache)
    assert isinstance(first, np.memmap)
    assert first[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    (file,) = cache.iterdir()
    before = file.stat().st_mtime_ns
    assert np.array_equal(load_images(paths, (12, 8), cache=cache), first)
    assert file.stat().st_mtime_ns == before
    picture(paths[0], colour=(99, 99, 99))
    os.utime(paths[0], ns=(1, 1))
    assert load_images(paths, (12, 8), cache=cache)[0, 0, 0, 0] == 99  # another picture, another file
    assert len(list(cache.iterdir())) == 2


def test_a_failed_cache_leaves_nothing(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"?")
    with pytest.raises(ReidError, match=r"bad\.jpg"):
        load_images([tmp_path / "bad.jpg"], (4, 4), cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []

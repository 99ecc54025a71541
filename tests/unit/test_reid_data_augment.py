"""Augmentation against what each step says it does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reid_models import ReidError
from reid_models.data import Augment, AugmentOptions, normalise

torch = pytest.importorskip("torch")

OFF = {"flip": 0.0}
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def batch(n=64, h=32, w=16, seed=0):
    return torch.randint(0, 256, (n, 3, h, w), dtype=torch.uint8, generator=generator(seed))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def apply(images, seed=0, **options):
    return Augment({**OFF, **PLAIN, **options})(images, generator(seed))


def test_without_anything_it_normalises():
    images = batch()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (images.double() / 255 - mean[:, None, None]) / std[:, None, None]
    for got in (normalise(images), Augment(OFF)(images, generator())):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, expected.float(), atol=1e-5, rtol=1e-5)


def test_flip():
    images = batch(400)
    got = apply(images, flip=0.5) * 255
    mirrored = (got == images.flip(3)).flatten(1).all(1)
    same = (got == images).flatten(1).all(1)
    assert (mirrored | same).all()
    assert 150 < mirrored.sum() < 250
    assert torch.equal(apply(images, flip=1.0) * 255, images.flip(3).float())


def test_pad_and_crop_moves_whole_pixels():
    images = batch(50) // 2 + 100  # never black, so that the border shows
    got = (apply(images, pad_px=4) * 255).round()
    seen = set()
    for before, after in zip(images.float(), got, strict=True):
        padded = torch.nn.functional.pad(before, (4, 4, 4, 4))
        places = [(y, x) for y in range(9) for x in range(9) if torch.equal(padded[:, y : y + 32, x : x + 16], after)]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) > 30
    assert {y for y, _ in seen} == set(range(9)) == {x for _, x in seen}


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_smaller_window(flip):
    images = batch(20)
    got = (apply(images, hw=(30, 13), flip=flip) * 255).round()
    assert got.shape == (20, 3, 30, 13)
    for before, after in zip(images.float(), got, strict=True):
        after = after.flip(2) if flip else after
        assert any(torch.equal(before[:, y : y + 30, x : x + 13], after) for y in range(3) for x in range(4))


def test_a_window_too_large():
    with pytest.raises(ReidError, match="32×16 padded by 1 are too small for the 40×16"):
        apply(batch(), hw=(40, 16), pad_px=1)


def test_enlarge_keeps_the_middle_part():
    ramp = torch.arange(64, dtype=torch.uint8).mul(4)[None, None, None].expand(30, 3, 64, 64).contiguous()
    got = apply(ramp, enlarge=1.0, enlarge_by=0.25)
    slope = (got[:, 0, 10, 50] - got[:, 0, 10, 10]) / (ramp[0, 0, 0, 50] - ramp[0, 0, 0, 10]) * 255
    torch.testing.assert_close(slope, torch.full((30,), 0.8), atol=1e-3, rtol=0)
    start = got[:, 0, 10, 0] * 255 / 4
    assert start.min() >= -0.01
    assert start.max() <= 64 * 0.2 + 0.01
    assert start.max() - start.min() > 8


def rectangle(changed):
    """(top, left, height, width) of the changed pixels, which must be one full rectangle; None if there are none."""
    where = changed.any(0)
    if not where.any():
        return None
    ys, xs = where.nonzero()[:, 0], where.nonzero()[:, 1]
    top, left, bottom, right = ys.min(), xs.min(), ys.max() + 1, xs.max() + 1
    assert where[top:bottom, left:right].all()
    assert where.sum() == (bottom - top) * (right - left)
    return [int(v) for v in (top, left, bottom - top, right - left)]


@pytest.mark.parametrize("fill", ["random", "mean", "zero"])
def test_erase(fill):
    images = torch.full((300, 3, 64, 32), 77, dtype=torch.uint8)
    got = apply(images, erase=0.5, erase_fill=fill) * 255
    holes = [rectangle((x - 77).abs() > 1e-3) for x in got]
    found = [hole for hole in holes if hole is not None]
    assert 110 < len(found) < 190
    areas = np.array([h * w / (64 * 32) for _, _, h, w in found])
    assert areas.min() > 0.015
    assert areas.max() < 0.43
    assert areas.max() > 0.3
    ratios = np.array([h / w for _, _, h, w in found if h * w > 100])
    assert ratios.min() > 0.2
    assert ratios.max() < 4
    assert min(t for t, *_ in found) <= 3
    assert max(t + h for t, _, h, _ in found) >= 61
    top, left, h, w = found[0]
    inside = got[holes.index(found[0])][:, top : top + h, left : left + w]
    if fill == "random":
        assert inside.std() > 50
    else:
        assert inside.flatten(1).std(1).max() < 1e-3
        assert inside.mean() == pytest.approx(0, abs=1e-3)  # PLAIN has a mean of 0


def test_erase_with_the_mean_is_zero_after_normalising():
    images = torch.full((40, 3, 64, 32), 255, dtype=torch.uint8)
    got = Augment({**OFF, "erase": 1.0, "erase_fill": "mean"})(images, generator())
    values = [np.unique(x[0].numpy().round(4)) for x in got]
    assert all(v[0] == 0.0 and len(v) == 2 for v in values)


def test_grey():
    got = apply(batch(), grey=1.0)
    torch.testing.assert_close(got[:, 0], got[:, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(got[:, 0], got[:, 2], atol=1e-5, rtol=0)
    luma = (batch().float() / 255 * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    torch.testing.assert_close(got[:, 0], luma, atol=1e-5, rtol=0)


def test_colours_step_by_step():
    """The one matrix equals brightness, contrast, saturation one after another (colours far from the ends)."""
    from reid_models.data.pixels import Chance, recolour

    images = (batch(16) // 4 + 96).float() / 255
    options = AugmentOptions(jitter=1.0, hue=0.0, brightness=0.2, contrast=0.3, saturation=0.4)
    got = recolour(images, options, Chance(generator(5), 16))
    chance = Chance(generator(5), 16)
    chance.happens(1.0), chance.happens(0.0)
    b, c, s = (chance.uniform(1 - x, 1 + x)[:, None, None, None] for x in (0.2, 0.3, 0.4))
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    x = images * b
    x = c * x + (1 - c) * (x * luma).sum(1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    x = s * x + (1 - s) * (x * luma).sum(1, keepdim=True)
    torch.testing.assert_close(got, x, atol=1e-5, rtol=0)
    assert (got - images).abs().max() > 0.05


def test_hue_keeps_brightness_and_turns_back():
    from reid_models.data.pixels import _turn

    turn = _turn(torch.tensor([0.7, -0.7, 2 * math.pi]))
    torch.testing.assert_close(turn[0] @ turn[1], torch.eye(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(turn[2], torch.eye(3), atol=1e-4, rtol=0)
    luma = torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(luma @ turn[0], luma, atol=1e-4, rtol=0)
    assert (turn[0] - torch.eye(3)).abs().max() > 0.3


def test_resolution_and_blur_smooth_some_pictures():
    images = batch(200)
    for name in ("resolution", "blur"):
        got = apply(images, **{name: 0.5})
        changed = (got - images.float() / 255).abs().flatten(1).amax(1) > 1e-4
        assert 70 < changed.sum() < 130
        assert got[changed].std() < 0.7 * got[~changed].std()
        torch.testing.assert_close(got[changed].mean(), got[~changed].mean(), atol=0.01, rtol=0)


def test_blur_is_a_gaussian():
    images = torch.zeros(1, 3, 33, 33, dtype=torch.uint8)
    images[:, :, 16, 16] = 255
    got = apply(images, blur=1.0, blur_sigma_px=(2.0, 2.0))[0, 0]
    offset = torch.arange(33) - 16
    bell = torch.exp(-(offset**2) / 8.0) * (offset.abs() <= 6)
    expected = torch.outer(bell, bell) / bell.sum() ** 2
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


ALL = {"flip": 0.5, "pad_px": 3, "enlarge": 0.5, "erase": 0.5, "jitter": 0.5, "grey": 0.2, "resolution": 0.5,
       "blur": 0.5}


def test_it_is_a_function_of_the_generator():
    images = batch()
    first, again, other = (apply(images, seed, **ALL) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    before = torch.get_rng_state()
    apply(images, **ALL)
    assert torch.equal(before, torch.get_rng_state())
    assert first.isfinite().all()
    assert first.min() >= 0
    assert first.max() <= 1 + 1e-5


def test_the_batch_is_left_alone_and_may_be_empty_or_tiny():
    images = batch()
    copy = images.clone()
    apply(images, **ALL)
    assert torch.equal(images, copy)
    assert apply(batch(0), **ALL).shape == (0, 3, 32, 16)
    assert apply(batch(1, 2, 1), **ALL).shape == (1, 3, 2, 1)


@pytest.mark.gpu
def test_cuda_makes_the_same_choices():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    images = batch()
    here, there = apply(images, **ALL), apply(images.cuda(), **ALL).cpu()
    torch.testing.assert_close(here, there, atol=1e-4, rtol=0)
    device = torch.Generator("cuda").manual_seed(0)
    assert Augment(ALL)(images.cuda(), device).is_cuda


@pytest.mark.parametrize(("options", "message"), [
    ({"erease": 0.5}, r"unknown option 'erease' \(did you mean 'erase'\?\)"),
    ({"erase": 1.5}, "erase is 1.5, expected a number from 0 to 1"),
    ({"flip": True}, "flip is True"),
    ({"erase_area": [0.4, 0.02]}, r"erase_area is \(0.4, 0.02\), expected two increasing"),
    ({"erase_fill": "noise"}, "erase_fill is 'noise'"),
    ({"hw": [0, 4]}, r"hw is \(0, 4\)"),
    ({"std": [0.1, 0.1, 0]}, "std above 0"),
])  # fmt: skip
def test_options_are_checked(options, message):
    with pytest.raises(ReidError, match=message):
        Augment(options)


def test_what_is_no_batch():
    for wrong in (torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.uint8)):
        with pytest.raises(ReidError, match=r"expected \(n, 3, h, w\) uint8"):
            Augment(OFF)(wrong, generator())

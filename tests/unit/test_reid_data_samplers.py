"""Samplers: what a batch holds, how many there are, and that chance comes from the generator alone."""

from __future__ import annotations

import numpy as np
import pytest

from reid_models import ReidError
from reid_models.data import PKSampler, RandomSampler
from reid_models.data.samplers import most_batches


@pytest.mark.parametrize(("last", "batches", "sizes"), [("drop", 3, {10}), ("keep", 4, {10, 5}), ("fill", 4, {10})])
def test_random(last, batches, sizes):
    sampler = RandomSampler(35, 10, last)
    epoch = list(sampler.epoch(np.random.default_rng(0)))
    assert len(epoch) == len(sampler) == batches
    assert {len(batch) for batch in epoch} == sizes
    drawn = np.concatenate(epoch)
    assert len(np.unique(drawn)) == (30 if last == "drop" else 35)
    assert not np.array_equal(drawn, np.concatenate(list(sampler.epoch(np.random.default_rng(1)))))
    assert np.array_equal(drawn, np.concatenate(list(sampler.epoch(np.random.default_rng(0)))))


def test_random_fills_a_batch_larger_than_everything():
    (batch,) = RandomSampler(3, 10, "fill").epoch(np.random.default_rng(0))
    assert len(batch) == 10
    assert set(batch) == {0, 1, 2}


def test_random_says_what_is_wrong():
    with pytest.raises(ReidError, match="3 pictures do not fill one batch of 10"):
        RandomSampler(3, 10)
    with pytest.raises(ReidError, match="last is 'cut'"):
        RandomSampler(3, 2, "cut")


def people(rng, count=30, most=13):
    pid = np.repeat(100 + np.arange(count), rng.integers(1, most, count))
    return rng.permutation(np.concatenate([pid, np.full(7, -1)]))


@pytest.mark.parametrize("per", ["images", "identities"])
@pytest.mark.parametrize(("p", "k"), [(8, 4), (1, 1), (30, 2), (7, 16)])
def test_pk(per, p, k):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        pid = people(rng)
        sampler = PKSampler(pid, p, k, per=per)
        epoch = list(sampler.epoch(rng))
        assert len(epoch) == len(sampler) > 0
        assert sampler.batch == p * k
        counts = {i: int((pid == i).sum()) for i in np.unique(pid)}
        for batch in epoch:
            table = batch.reshape(p, k)
            who = pid[table]
            assert (who == who[:, :1]).all()
            assert len(np.unique(who[:, 0])) == p
            assert who.min() >= 0
            for row, i in zip(table, who[:, 0], strict=True):
                assert len(np.unique(row)) == min(k, counts[i])  # again only where there are too few


def test_pk_uses_a_picture_once_an_epoch():
    rng = np.random.default_rng(3)
    pid = np.repeat(np.arange(20), 12)
    sampler = PKSampler(pid, 4, 4)
    drawn = np.concatenate(list(sampler.epoch(rng)))
    assert len(sampler) == 15
    assert sorted(drawn) == list(range(240))


def test_pk_deals_as_many_batches_as_there_can_be():
    """Against trying it: with one person far more frequent, batches of different people end early."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        hands = rng.integers(1, 9, rng.integers(2, 7))
        p = int(rng.integers(1, len(hands) + 1))
        left, batches = sorted(hands), 0
        while left[-p] > 0:
            left = sorted([*left[:-p], *(x - 1 for x in left[-p:])])
            batches += 1
        assert most_batches(hands, p) == batches
    sampler = PKSampler(np.repeat([0, 1, 2], [100, 2, 2]), 2, 1)
    assert len(list(sampler.epoch(rng))) == len(sampler) == 4


def test_pk_pairs_everybody_with_everybody():
    pid = np.repeat(np.arange(12), 8)
    sampler = PKSampler(pid, 4, 4)
    together = np.zeros((12, 12))
    rng = np.random.default_rng(0)
    for _ in range(100):
        for batch in sampler.epoch(rng):
            who = np.unique(pid[batch])
            together[np.ix_(who, who)] += 1
    pairs = together[np.triu_indices(12, 1)]
    assert pairs.min() > 0.6 * pairs.mean()
    assert pairs.max() < 1.4 * pairs.mean()


def test_pk_is_a_function_of_the_generator():
    pid = people(np.random.default_rng(1))
    sampler = PKSampler(pid, 5, 3)
    first, second, third = (np.concatenate(list(sampler.epoch(np.random.default_rng(seed)))) for seed in (4, 4, 5))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_half_of_a_batch_from_one_camera():
    rng = np.random.default_rng(2)
    pid = np.repeat(np.arange(16), 8)
    camid = np.tile(np.arange(4), 32)
    sampler = PKSampler(pid, 8, 2, camid=camid, one_camera_half=True)
    cameras = set()
    for batch in sampler.epoch(rng):
        half = camid[batch[:8]]
        assert len(set(half)) == 1
        assert len(np.unique(pid[batch])) == 8
        cameras.add(int(half[0]))
    assert len(cameras) > 1


def test_half_from_one_camera_where_it_shows_few():
    """Camera 1 shows three people only: the rest of the half is filled from elsewhere, and people stay different."""
    pid = np.repeat(np.arange(8), 4)
    camid = np.where((pid < 3) & (np.arange(32) % 2 == 0), 1, 0)
    sampler = PKSampler(pid, 6, 2, camid=camid, one_camera_half=True)
    for seed in range(20):
        for batch in sampler.epoch(np.random.default_rng(seed)):
            assert len(np.unique(pid[batch])) == 6


def test_pk_says_what_is_wrong():
    pid = np.repeat(np.arange(3), 4)
    with pytest.raises(ReidError, match="3 people, 4 are needed"):
        PKSampler(pid, 4, 2)
    with pytest.raises(ReidError, match="0 people, 1 are needed"):
        PKSampler([-1, -1], 1, 2)
    with pytest.raises(ReidError, match="per is 'picture'"):
        PKSampler(pid, 2, 2, per="picture")
    with pytest.raises(ReidError, match="needs camid of shape"):
        PKSampler(pid, 2, 2, one_camera_half=True)
    with pytest.raises(ReidError, match="both must be at least 1"):
        PKSampler(pid, 0, 2)

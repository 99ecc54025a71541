"""Single-gallery-shot, random galleries and halves, and pooled queries, against slow loops."""

from __future__ import annotations

import numpy as np
import pytest

from reid_models import ReidError
from reid_models.protocols import multi_query, random_gallery, random_halves, single_gallery_shot


def case(rng, q=30, g=60, people=8, cameras=3, ties=False):
    distmat = rng.random((q, g))
    if ties:
        distmat = np.round(distmat * 5) / 5
    return (distmat, rng.integers(0, people, q), rng.integers(-1, people, g), rng.integers(0, cameras, q),
            rng.integers(0, cameras, g))


def test_multi_query_against_a_loop(rng):
    features = rng.standard_normal((40, 5)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    pid, camid = rng.integers(0, 6, 40), rng.integers(0, 3, 40)
    pooled, pids, camids = multi_query(features, pid, camid)
    pairs = sorted(set(zip(pid.tolist(), camid.tolist(), strict=True)))
    assert list(zip(pids.tolist(), camids.tolist(), strict=True)) == pairs
    for row, (p, c) in zip(pooled, pairs, strict=True):
        mean = features[(pid == p) & (camid == c)].astype(float).mean(0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)
    assert pooled.dtype == np.float32


def slow_shot(distmat, query_pid, gallery_pid, query_camid, gallery_camid, separate):
    """Exact mean over all possible galleries, one query at a time: expected (rank-1, 1 / rank).

    Entries of a person are equally likely, independently of the others, so the number of people before the match
    is a sum of independent yes and no.
    """
    firsts, inverses = [], []
    for i in range(len(query_pid)):
        own = [j for j in range(len(gallery_pid)) if gallery_pid[j] == query_pid[i]
               and gallery_camid[j] != query_camid[i]]
        if not own:
            continue
        at_one, inverse = [], []
        for match in own:
            before = [1.0]  # distribution of how many others come before
            for person in {p for p in gallery_pid if p >= 0 and p != query_pid[i]}:
                entries = [j for j in range(len(gallery_pid)) if gallery_pid[j] == person
                           and not (separate and gallery_camid[j] == query_camid[i])]
                if not entries:
                    continue
                nearer = np.mean([(distmat[i, j], j) < (distmat[i, match], match) for j in entries])
                before = np.convolve(before, [1 - nearer, nearer])
            at_one.append(before[0])
            inverse.append((np.array(before) / np.arange(1, len(before) + 1)).sum())
        firsts.append(np.mean(at_one))
        inverses.append(np.mean(inverse))
    return np.mean(firsts), np.mean(inverses)


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("ties", [True, False])
def test_single_gallery_shot_has_the_right_mean(separate, ties):
    data = case(np.random.default_rng(3), ties=ties)
    rank1, inverse = slow_shot(*data, separate)
    got = single_gallery_shot(*data, np.random.default_rng(0), choices=1500, separate_cameras=separate)
    assert got.cmc[0] == pytest.approx(rank1, abs=0.015)
    assert got.mean_average_precision == pytest.approx(inverse, abs=0.015)
    assert got.cmc[-1] == 1


def test_single_gallery_shot_without_a_choice_is_exact(rng):
    """One picture a person and camera: nothing is left to chance, and the standard protocol says the same."""
    from reid_models.evaluation import evaluate

    pid = np.arange(20)
    distmat = rng.random((20, 20))
    query_camid, gallery_camid = np.zeros(20, int), np.ones(20, int)
    expected = evaluate(distmat, pid, pid, query_camid, gallery_camid)
    got = single_gallery_shot(distmat, pid, pid, query_camid, gallery_camid, rng, choices=2)
    np.testing.assert_allclose(got.cmc, expected.cmc(50), atol=1e-12)
    assert got.mean_average_precision == pytest.approx(expected.mean_average_precision, abs=1e-12)
    halves = random_halves(distmat[:2, :2], pid[:2], pid[:2], query_camid[:2], gallery_camid[:2], rng)
    assert halves.cmc[0] == 1  # a half of two people is one


def test_chance_comes_from_the_generator():
    data = case(np.random.default_rng(5))
    first, again, other = (single_gallery_shot(*data, np.random.default_rng(s), choices=5) for s in (1, 1, 2))
    assert first.mean_average_precision == again.mean_average_precision != other.mean_average_precision


def test_random_gallery(rng):
    pid = np.repeat(np.arange(12), 4)
    distmat = rng.random((48, 48)) + (pid[:, None] != pid)
    scores = random_gallery(distmat, pid, rng)
    assert scores.cmc[0] == scores.mean_average_precision == 1
    assert scores.choices == 10
    confused = random_gallery(rng.random((48, 48)), pid, rng, choices=400)
    assert confused.cmc[0] == pytest.approx(1 / 12, abs=0.02)
    assert confused.mean_average_precision == pytest.approx((1 / np.arange(1, 13)).mean(), abs=0.03)


def test_random_halves(rng):
    pid = np.arange(16)
    distmat = rng.random((16, 16))
    scores = random_halves(distmat, pid, pid, np.zeros(16, int), np.ones(16, int), rng, choices=300)
    # the expected rank among a random half grows with the rank among all
    whole = np.array([(distmat[i] < distmat[i, i]).sum() for i in range(16)])
    nobody = [np.prod([(8 - k) / (15 - k) for k in range(w)]) if w <= 8 else 0 for w in whole]
    assert scores.cmc[0] == pytest.approx(np.mean(nobody), abs=0.04)


def test_what_cannot_be_scored(rng):
    distmat = rng.random((2, 3))
    two, three = np.zeros(2, int), np.zeros(3, int)
    with pytest.raises(ReidError, match="nothing can be scored"):
        single_gallery_shot(distmat, two, three, two, three, rng)  # all in one camera
    with pytest.raises(ReidError, match="distmat has shape"):
        single_gallery_shot(distmat.T, two, three, two, three, rng)
    with pytest.raises(ReidError, match="not a finite number"):
        single_gallery_shot(distmat * np.nan, two, three, two, three + 1, rng)
    with pytest.raises(ReidError, match="choices must be at least 1"):
        random_gallery(rng.random((2, 2)), two, rng, choices=0)

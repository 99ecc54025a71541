"""CMC, mAP and mINP against a slow loop."""

from __future__ import annotations

import time

import numpy as np
import pytest

from reid_models import ReidError
from reid_models.evaluation import evaluate, evaluate_features, evaluate_masked


def slow(distmat, query_pid, gallery_pid, query_camid, gallery_camid):
    """The protocol, one comparison at a time: {query: (first rank, AP, INP)}."""
    scores = {}
    for i in range(len(query_pid)):
        ranked = sorted(range(len(gallery_pid)), key=lambda j: (distmat[i][j], j))
        position, hits, first, precisions, last = 0, 0, None, [], 0
        for j in ranked:
            if gallery_pid[j] < 0 or (gallery_pid[j] == query_pid[i] and gallery_camid[j] == query_camid[i]):
                continue
            position += 1
            if gallery_pid[j] == query_pid[i]:
                hits += 1
                precisions.append(hits / position)
                first, last = first or position, position
        if hits and query_pid[i] >= 0:
            scores[i] = (first, sum(precisions) / hits, hits / last)
    return scores


def random_case(rng, ties):
    q, g = int(rng.integers(1, 30)), int(rng.integers(1, 80))
    distmat = rng.random((q, g))
    if ties:
        distmat = np.round(distmat * 4) / 4
    people, cameras = int(rng.integers(1, 12)), int(rng.integers(1, 4))
    return (distmat, rng.integers(0, people, q), rng.integers(-1, people, g),
            rng.integers(0, cameras, q), rng.integers(0, cameras, g))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_a_slow_loop(ties, dtype):
    rng = np.random.default_rng(1)
    for _ in range(60):
        case = random_case(rng, ties)
        case = (case[0].astype(dtype), *case[1:])
        expected, got = slow(*case), evaluate(*case)
        assert got.query.tolist() == sorted(expected)
        table = np.array([expected[i] for i in sorted(expected)]).reshape(-1, 3)
        np.testing.assert_allclose(got.first_rank, table[:, 0], atol=1e-9)
        np.testing.assert_allclose(got.average_precision, table[:, 1], atol=1e-9)
        np.testing.assert_allclose(got.inverse_negative_penalty, table[:, 2], atol=1e-9)
        if len(table):
            np.testing.assert_allclose(got.cmc(5), [(table[:, 0] <= k).mean() for k in range(1, 6)], atol=1e-9)
            assert got.mean_average_precision == pytest.approx(table[:, 1].mean(), abs=1e-9)
            assert got.mean_inverse_negative_penalty == pytest.approx(table[:, 2].mean(), abs=1e-9)


def test_by_hand():
    # gallery in order of distance: other, match, same camera (junk), nobody (junk), other, match
    distmat = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
    gallery_pid, gallery_camid = np.array([3, 7, 7, -1, 4, 7]), np.array([1, 1, 0, 1, 0, 2])
    scores = evaluate(distmat, np.array([7]), gallery_pid, np.array([0]), gallery_camid)
    assert scores.first_rank.tolist() == [2]
    assert scores.mean_average_precision == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert scores.mean_inverse_negative_penalty == pytest.approx(2 / 4)
    assert scores.cmc(3).tolist() == [0, 1, 1]


def test_queries_without_a_match_do_not_count(rng):
    distmat = rng.random((3, 4))
    scores = evaluate(distmat, np.array([0, 5, 1]), np.array([0, 0, 1, 2]), np.array([0, 0, 0]), np.array([1, 1, 0, 1]))
    assert scores.query.tolist() == [0]  # 5 is not in the gallery, 1 only in the query's own camera


def test_no_query_with_a_match_is_an_error(rng):
    scores = evaluate(rng.random((2, 2)), np.array([0, 1]), np.array([2, 3]), np.zeros(2, int), np.ones(2, int))
    with pytest.raises(ReidError, match="no query has a true match"):
        _ = scores.rank1


@pytest.mark.parametrize("q", [0, 3])
def test_empty_sides(q):
    empty = np.zeros(0, int)
    scores = evaluate(np.zeros((q, 0)), np.arange(q), empty, np.arange(q), empty)
    assert len(scores.query) == 0


def test_features_in_chunks_equal_the_whole_matrix(rng):
    # eighths and dimension 16: every product is exact, whatever the chunk
    query, gallery = rng.integers(-8, 9, (50, 16)) / 8, rng.integers(-8, 9, (90, 16)) / 8
    labels = (rng.integers(0, 9, 50), rng.integers(-1, 9, 90), rng.integers(0, 3, 50), rng.integers(0, 3, 90))
    whole = evaluate(1 - query @ gallery.T, *labels)
    for chunk in (1, 7, 1000):
        part = evaluate_features(query, gallery, *labels, chunk=chunk)
        np.testing.assert_array_equal(part.query, whole.query)
        np.testing.assert_array_equal(part.average_precision, whole.average_precision)


def test_masked_equals_labels(rng):
    distmat = rng.random((20, 40))
    qp, gp, qc, gc = rng.integers(0, 5, 20), rng.integers(0, 5, 40), rng.integers(0, 2, 20), rng.integers(0, 2, 40)
    match = qp[:, None] == gp
    by_mask = evaluate_masked(distmat, match, ~(match & (qc[:, None] == gc)))
    by_label = evaluate(distmat, qp, gp, qc, gc)
    np.testing.assert_array_equal(by_mask.average_precision, by_label.average_precision)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_distances_must_be_numbers(bad):
    with pytest.raises(ReidError, match="finite"):
        evaluate(np.array([[bad, 1.0]]), np.array([0]), np.array([0, 1]), np.array([0]), np.array([1, 1]))


def test_shapes_must_fit(rng):
    with pytest.raises(ReidError, match=r"distmat has shape \(2, 3\), expected \(2, 4\)"):
        evaluate(rng.random((2, 3)), np.zeros(2, int), np.zeros(4, int), np.zeros(2, int), np.ones(4, int))
    with pytest.raises(ReidError, match="features"):
        evaluate_features(rng.random((2, 3)), rng.random((4, 5)), np.zeros(2, int), np.zeros(4, int),
                          np.zeros(2, int), np.ones(4, int))


def test_market_size_is_fast():
    rng = np.random.default_rng(0)
    q, g, people = 3368, 15913, 751
    query_pid, gallery_pid = rng.integers(0, people, q), rng.integers(-1, people, g)
    distmat = rng.random((q, g), dtype=np.float32)
    distmat -= 0.4 * (query_pid[:, None] == gallery_pid)
    start = time.process_time()
    scores = evaluate(distmat, query_pid, gallery_pid, rng.integers(0, 6, q), rng.integers(0, 6, g))
    spent = time.process_time() - start
    assert len(scores.query) > 3000
    assert spent < 4, f"{spent:.1f} s"  # about 0.7 s; the margin is for busy machines

"""Re-ranking against the papers' formulas, written out as slow loops."""

from __future__ import annotations

import numpy as np
import pytest

from reid_models import ReidError
from reid_models.evaluation import evaluate
from reid_models.rerank import RERANKERS, ecn, k_reciprocal, neighbours
from reid_models.rerank.neighbours import nearest


def unit(rng, n, d=6):
    rows = rng.standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_k_reciprocal(query, gallery, k1, k2, lam):
    x = np.concatenate([query, gallery])
    n = len(x)
    squared = ((x[:, None] - x) ** 2).sum(2)
    d = squared / squared.max(axis=1, keepdims=True)
    lists = [sorted(range(n), key=lambda j: (j != i, d[i, j], j)) for i in range(n)]

    def reciprocal(p, k):
        return {g for g in lists[p][: k + 1] if p in lists[g][: k + 1]}

    code = np.zeros((n, n))
    for p in range(n):
        members = set(reciprocal(p, k1))
        for other in reciprocal(p, k1):
            half = reciprocal(other, int(np.around(k1 / 2)))
            if 3 * len(half & reciprocal(p, k1)) >= 2 * len(half):
                members |= half
        for g in members:
            code[p, g] = np.exp(-d[p, g])
        code[p] /= code[p].sum()
    code = np.array([np.mean([code[g] for g in lists[p][:k2]], axis=0) for p in range(n)])
    result = np.zeros((len(query), len(gallery)))
    for i in range(len(query)):
        for j in range(len(gallery)):
            a, b = code[i], code[len(query) + j]
            jaccard = 1 - np.minimum(a, b).sum() / np.maximum(a, b).sum()
            result[i, j] = (1 - lam) * jaccard + lam * d[i, len(query) + j]
    return result


@pytest.mark.parametrize(("k1", "k2", "lam"), [(20, 6, 0.3), (4, 1, 0.3), (7, 3, 0.0), (5, 2, 1.0), (100, 200, 0.5)])
def test_k_reciprocal_against_a_loop(k1, k2, lam):
    rng = np.random.default_rng(k1)
    query, gallery = unit(rng, 12), unit(rng, 40)
    np.testing.assert_allclose(k_reciprocal(query, gallery, k1, k2, lam),
                               slow_k_reciprocal(query, gallery, k1, k2, lam), atol=1e-9)


def slow_ecn(query, gallery, t, q, k, distance):
    x = np.concatenate([query, gallery])
    nq, ng = len(query), len(gallery)
    cosine = 1 - x @ x.T
    lists = [sorted(range(nq, nq + ng), key=lambda j: (j != i, cosine[i, j], j)) for i in range(nq + ng)]

    def others(i, count):
        return [j for j in lists[i] if j != i][:count]

    def expanded(i):
        first = others(i, t)
        return first + [j for f in first for j in others(f, q)]

    def dist(a, b):
        if distance == "orig":
            return cosine[a, b]
        total = sum(max(k + 1 - (lists[a].index(i) + 1), 0) * max(k + 1 - (lists[b].index(i) + 1), 0)
                    for i in range(nq, nq + ng))
        return 1 - total / sum(v * v for v in range(1, k + 1))

    result = np.zeros((nq, ng))
    for i in range(nq):
        for j in range(ng):
            mine, theirs = expanded(i), expanded(nq + j)
            result[i, j] = (np.mean([dist(n, nq + j) for n in mine]) + np.mean([dist(n, i) for n in theirs])) / 2
    return result


@pytest.mark.parametrize("distance", ["orig", "rank"])
@pytest.mark.parametrize(("t", "q", "k"), [(3, 8, 25), (1, 1, 1), (2, 4, 7)])
def test_ecn_against_a_loop(distance, t, q, k):
    rng = np.random.default_rng(t)
    query, gallery = unit(rng, 5), unit(rng, 30)
    np.testing.assert_allclose(ecn(query, gallery, t, q, k, distance), slow_ecn(query, gallery, t, q, k, distance),
                               atol=1e-9)


@pytest.mark.parametrize("name", RERANKERS)
def test_chunks_change_nothing(name, monkeypatch):
    rng = np.random.default_rng(9)
    query, gallery = unit(rng, 17), unit(rng, 50)
    whole = np.concatenate([rows for _, rows in RERANKERS[name](query, gallery)])
    monkeypatch.setattr(neighbours, "_CHUNK_BYTES", 3000)
    pieces = list(RERANKERS[name](query, gallery))
    assert len(pieces) > 2
    assert [start for start, _ in pieces] == np.cumsum([0, *(len(rows) for _, rows in pieces)])[:-1].tolist()
    np.testing.assert_allclose(np.concatenate([rows for _, rows in pieces]), whole, atol=1e-12)


def crowd(rng, people=60, cameras=4):
    """People with a look of their own in each camera: neighbours of neighbours help."""
    look = rng.standard_normal((people, 1, 16)) + 0.75 * rng.standard_normal((people, cameras, 16))
    rows = look[:, :, None] + 0.4 * rng.standard_normal((people, cameras, 4, 16))
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    pid = np.broadcast_to(np.arange(people)[:, None, None], rows.shape[:3])
    camid = np.broadcast_to(np.arange(cameras)[None, :, None], rows.shape[:3])
    first, rest = [np.s_[:, :, :1], np.s_[:, :, 1:]]
    return [part[which].reshape(-1, *part.shape[3:]) for part in (rows, pid, camid) for which in (first, rest)]


@pytest.mark.parametrize("method", [k_reciprocal, ecn, lambda q, g: ecn(q, g, distance="orig")])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_helps_where_it_should(method, dtype):
    query, gallery, query_pid, gallery_pid, query_camid, gallery_camid = crowd(np.random.default_rng(0))
    query, gallery = query.astype(dtype), gallery.astype(dtype)
    labels = (query_pid, gallery_pid, query_camid, gallery_camid)
    before = evaluate(1 - query @ gallery.T, *labels).mean_average_precision
    distmat = method(query, gallery)
    assert distmat.dtype == dtype
    assert distmat.shape == (len(query), len(gallery))
    assert before < 0.97
    assert evaluate(distmat, *labels).mean_average_precision > before + 0.01


@pytest.mark.parametrize("name", RERANKERS)
def test_small_and_odd_inputs(name):
    rng = np.random.default_rng(1)
    one = unit(rng, 1)
    for query, gallery in ((unit(rng, 3), one), (one, one), (np.repeat(one, 4, 0), np.repeat(one, 9, 0))):
        rows = np.concatenate([rows for _, rows in RERANKERS[name](query, gallery)])
        assert rows.shape == (len(query), len(gallery))
        assert np.isfinite(rows).all()
    assert list(RERANKERS[name](unit(rng, 0), one)) == []
    assert k_reciprocal(one, unit(rng, 0)).shape == (1, 0)


def test_neighbours(rng):
    rows = unit(rng, 30)
    found, farthest = nearest(rows, rows, 5, same=True)
    squared = ((rows[:, None] - rows) ** 2).sum(2)
    assert np.array_equal(found, np.argsort(squared, axis=1)[:, :5])
    np.testing.assert_allclose(farthest, squared.max(1), atol=1e-12)
    twins = np.repeat(rows[:3], 2, axis=0)
    assert nearest(twins, twins, 1, same=True)[0][:, 0].tolist() == list(range(6))


@pytest.mark.parametrize("method", [k_reciprocal, ecn])
def test_what_is_wrong_is_told(method, rng):
    with pytest.raises(ReidError, match="not unit rows"):
        method(2 * unit(rng, 3), unit(rng, 4))
    with pytest.raises(ReidError, match="not unit rows"):
        method(unit(rng, 3), unit(rng, 4) * np.nan)
    with pytest.raises(ReidError, match=r"expected \(q, d\) and \(g, d\)"):
        method(unit(rng, 3, 5), unit(rng, 4, 6))
    with pytest.raises(ReidError, match="expected"):
        method(unit(rng, 3), unit(rng, 4), 0)


@pytest.mark.parametrize("method", [k_reciprocal, ecn])
def test_a_picture_of_which_the_network_says_nothing_is_nobody(method, rng):
    gallery = np.abs(unit(rng, 12))
    query = gallery[:3].copy()
    gallery[5] = query[1] = 0.0
    distance = method(query, gallery)
    assert np.isfinite(distance).all()
    assert (distance[[0, 2], 5] > np.median(distance[[0, 2]], axis=1)).all()

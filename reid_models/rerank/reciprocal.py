"""k-reciprocal encoding (Zhong et al. 2017, "Re-ranking Person Re-identification with k-reciprocal Encoding")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from reid_models.errors import ReidError
from reid_models.rerank.neighbours import Floats, Ints, checked, chunks, nearest


def k_reciprocal(query: Floats, gallery: Floats, k1: int = 20, k2: int = 6, lambda_value: float = 0.3) -> Floats:
    """(q, g) re-ranked distances; see :func:`k_reciprocal_rows`."""
    query, gallery = checked(query, gallery)
    result = np.empty((len(query), len(gallery)), query.dtype)
    for start, rows in k_reciprocal_rows(query, gallery, k1, k2, lambda_value):
        result[start : start + len(rows)] = rows
    return result


def k_reciprocal_rows(query: Floats, gallery: Floats, k1: int = 20, k2: int = 6,
                      lambda_value: float = 0.3) -> Iterator[tuple[int, Floats]]:
    """Re-ranked distances, some queries at a time: (number of the first, (c, g) distances).

    With R(p, k) the k-reciprocal neighbours of p among queries and gallery together (eq. 1–3, p itself counted in)
    and R*(p, k₁) their expansion by R(q, k₁/2) of those q whose set overlaps by two thirds (eq. 5), p is encoded by
    exp(−d) over R* (eq. 7), made to sum to 1, averaged over its k₂ nearest (local query expansion, eq. 11); the
    distance is (1 − λ) Jaccard + λ d (eq. 12). d is the squared Euclidean distance divided by the largest of the
    same row, as in the authors' experiments.

    Only the k₁ + 1 nearest and the sparse codes are kept: memory grows with q + g, not with its square.

    Args:
        query, gallery: (q, d) and (g, d) unit rows.
        k1, k2, lambda_value: of the paper.

    Raises:
        ReidError: no unit rows, or k1, k2 below 1, or λ outside 0…1.
    """
    query, gallery = checked(query, gallery)
    if k1 < 1 or k2 < 1 or not 0 <= lambda_value <= 1:
        raise ReidError(f"k_reciprocal: k1 {k1}, k2 {k2}, lambda_value {lambda_value}; expected k1, k2 from 1 and "
                        "lambda_value from 0 to 1")
    if not len(query) or not len(gallery):
        return
    features = np.concatenate([query, gallery])
    rank, farthest = nearest(features, features, min(k1 + 1, len(features)), same=True)
    farthest = np.maximum(farthest, 1e-12)
    code = _code(features, rank, farthest, k1)
    if k2 > 1:
        near = rank[:, :k2]
        code = _rows(near, np.ones(near.shape, bool), 1 / near.shape[1]) @ code
    ours, theirs = code[: len(query)].tocsr(), code[len(query) :].tocsc()
    del features, code, rank
    for part in chunks(len(query), len(gallery)):
        distance = 2 - 2 * (query[part] @ gallery.T)
        distance *= lambda_value / farthest[part, None]
        for i in range(part.start, part.stop):
            shared = _overlap(ours, theirs, i)
            distance[i - part.start] += (1 - lambda_value) * (1 - shared / (2 - shared))
        yield part.start, distance.astype(query.dtype, copy=False)


def _rows(columns: Ints, keep: Any, value: float = 1.0) -> csr_matrix:
    """(n, n) sparse rows with ``value`` at the kept ``columns`` (n, k)."""
    n = len(columns)
    pointer = np.concatenate([[0], np.cumsum(keep.sum(axis=1))])
    return csr_matrix((np.full(pointer[-1], value), columns[keep], pointer), shape=(n, n))


def _reciprocal(rank: Ints, k: int) -> csr_matrix:
    """R(p, k): the first k + 1 of every row (itself among them) that have it among their own."""
    near = rank[:, : k + 1]
    keep = np.empty(near.shape, bool)
    for part in chunks(len(near), near.shape[1] ** 2):
        keep[part] = (near[near[part]] == np.arange(part.start, part.stop)[:, None, None]).any(axis=2)
    return _rows(near, keep)


def _code(features: Floats, rank: Ints, farthest: Floats, k1: int) -> csr_matrix:
    """(n, n) sparse codes, each row with the sum 1."""
    wide, narrow = _reciprocal(rank, k1), _reciprocal(rank, int(np.around(k1 / 2)))
    size = np.asarray(narrow.sum(axis=1)).ravel()
    joined = wide.copy()
    # Of all q in R(p, k₁): those with |R(p, k₁) ∩ R(q, k₁/2)| at least 2/3 of |R(q, k₁/2)|
    overlap = wide.multiply(wide @ narrow.T).tocsr()
    overlap.data = (3 * overlap.data >= 2 * size[overlap.indices]).astype(float)
    overlap.eliminate_zeros()
    joined = (joined + overlap @ narrow).tocsr()
    joined.sort_indices()
    person = np.repeat(np.arange(len(rank)), np.diff(joined.indptr))
    weight = np.empty(len(person), float)
    for part in chunks(len(person), features.shape[1], features.itemsize):
        similar = np.einsum("nd,nd->n", features[person[part]], features[joined.indices[part]])
        weight[part] = np.exp(-(2 - 2 * similar) / farthest[person[part]])
    joined.data = weight / np.bincount(person, weight)[person]
    return joined


def _overlap(ours: csr_matrix, theirs: Any, i: int) -> Floats:
    """(g,) Σ min of the i-th code and each of the gallery's."""
    at = slice(ours.indptr[i], ours.indptr[i + 1])
    start, stop = theirs.indptr[ours.indices[at]], theirs.indptr[ours.indices[at] + 1]
    length = stop - start
    # all entries of these columns, one column after another
    place = np.arange(length.sum()) + np.repeat(start - np.concatenate([[0], np.cumsum(length)[:-1]]), length)
    smaller = np.minimum(np.repeat(ours.data[at], length), theirs.data[place])
    return np.bincount(theirs.indices[place], smaller, theirs.shape[0])

"""Expanded cross neighbourhood (Sarfraz et al. 2018, "A Pose-Sensitive Embedding … with ECN Re-Ranking")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from reid_models.errors import ReidError
from reid_models.rerank.neighbours import Floats, Ints, checked, chunks, nearest

_DISTANCES = ("orig", "rank")


def ecn(query: Floats, gallery: Floats, t: int = 3, q: int = 8, k: int = 25, distance: str = "rank") -> Floats:
    """(q, g) re-ranked distances; see :func:`ecn_rows`."""
    query, gallery = checked(query, gallery)
    result = np.empty((len(query), len(gallery)), query.dtype)
    for start, rows in ecn_rows(query, gallery, t, q, k, distance):
        result[start : start + len(rows)] = rows
    return result


def ecn_rows(query: Floats, gallery: Floats, t: int = 3, q: int = 8, k: int = 25,
             distance: str = "rank") -> Iterator[tuple[int, Floats]]:
    """Re-ranked distances, some queries at a time: (number of the first, (c, g) distances).

    The expanded neighbours of a picture are its ``t`` nearest in the gallery and the ``q`` nearest of each of those
    (itself never counted): M = t + t·q. Then ECN(p, g) = 1/2M Σⱼ d(pNⱼ, g) + d(gNⱼ, p) (eq. 4). d is

    - ``orig``: the cosine distance; or
    - ``rank``: 1 − R / R_max with R(a, b) = Σᵢ [k + 1 − posᵢ(a)]₊ [k + 1 − posᵢ(b)]₊ over the gallery's pictures
      (eq. 5), posᵢ(a) from 1 in a's list of the gallery, which for one of the gallery begins with itself.

    Both are linear in something that every picture has (its feature, or its list's weights), so the mean over the
    neighbours is taken of that, and no distances within the gallery are kept.

    Args:
        query, gallery: (q, d) and (g, d) unit rows.
        t, q, k: of the paper.
        distance: ``orig`` or ``rank``.

    Raises:
        ReidError: no unit rows, or options out of range.
    """
    query, gallery = checked(query, gallery)
    if t < 1 or q < 1 or k < 1 or distance not in _DISTANCES:
        raise ReidError(f"ecn: t {t}, q {q}, k {k}, distance '{distance}'; expected numbers from 1, and orig or rank")
    if not len(query) or not len(gallery):
        return
    size = len(gallery)
    depth = min(max(k, t, q) + 1, size)
    theirs, _ = nearest(gallery, gallery, depth, same=True)
    ours, _ = nearest(query, gallery, depth, same=False)
    expand = [_expanded(first, theirs, t, q) for first in (ours, theirs[:, 1:])]
    if distance == "orig":
        # gallery @ 0 where it has one picture only, which has no neighbours: similarity 0 to everything
        yield from _dense(query, gallery, expand[0] @ gallery, expand[1] @ gallery)
    else:
        asking, shown = _lists(ours, k, size), _lists(theirs, k, size)
        yield from _sparse(asking, shown, expand[0] @ shown, expand[1] @ shown, query.dtype)


def _expanded(first: Ints, theirs: Ints, t: int, q: int) -> csr_matrix:
    """(n, g) weights of the expanded neighbours, 1/M each; one that comes twice counts twice."""
    first = first[:, :t]
    second = theirs[first, 1 : q + 1].reshape(len(first), -1)
    members = np.concatenate([first, second], axis=1)
    m = members.shape[1]
    pointer = np.arange(len(members) + 1) * m
    return csr_matrix((np.full(members.size, 1 / max(m, 1)), members.ravel(), pointer), (len(members), len(theirs)))


def _lists(found: Ints, k: int, size: int) -> csr_matrix:
    """(n, g) weights k, k − 1, …, 1 of the first k in each list, such that R / R_max is their product."""
    depth = min(k, found.shape[1])
    weight = np.tile(np.arange(k, k - depth, -1, dtype=float), len(found)) / np.sqrt(k * (k + 1) * (2 * k + 1) / 6)
    return csr_matrix((weight, found[:, :depth].ravel(), np.arange(len(found) + 1) * depth), (len(found), size))


def _dense(query: Floats, gallery: Floats, query_mean: Floats, gallery_mean: Floats) -> Iterator[tuple[int, Floats]]:
    kind = query.dtype
    query_mean, gallery_mean = query_mean.astype(kind), gallery_mean.astype(kind)
    for part in chunks(len(query), len(gallery), query.itemsize):
        similar = query_mean[part] @ gallery.T
        similar += query[part] @ gallery_mean.T
        yield part.start, np.asarray(1 - similar / 2, kind)


def _sparse(query: Any, gallery: Any, query_mean: Any, gallery_mean: Any, kind: Any) -> Iterator[tuple[int, Floats]]:
    gallery, gallery_mean = gallery.T.tocsr(), gallery_mean.T.tocsr()
    for part in chunks(query.shape[0], gallery.shape[1]):
        similar = query_mean[part] @ gallery + query[part] @ gallery_mean
        yield part.start, (1 - similar.toarray() / 2).astype(kind)

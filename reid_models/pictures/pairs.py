"""Distances of pairs of the same and of different people."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_models.data.types import Ints

Floats = NDArray[np.float64]


def sample_distances(query: NDArray[Any], gallery: NDArray[Any], labels: tuple[Ints, Ints, Ints, Ints],
                     rng: np.random.Generator, most: int = 100_000) -> tuple[Floats, Floats]:
    """Cosine distances between queries and gallery, over different cameras only.

    Args:
        query, gallery: (q, d) and (g, d) unit rows.
        labels: query_pid, gallery_pid, query_camid, gallery_camid; negative pids are left out.
        rng: chooses pairs of different people.
        most: at most that many pairs of each kind.

    Returns:
        Those of the same person, and of different people.
    """
    query_pid, gallery_pid, query_camid, gallery_camid = labels
    matches = [np.flatnonzero((gallery_pid == pid) & (gallery_camid != camid) & (gallery_pid >= 0))
               for pid, camid in zip(query_pid, query_camid, strict=True)]
    pairs = [np.stack([np.full(len(found), i), found]) for i, found in enumerate(matches)]
    same = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), np.int64)
    same = same[:, rng.permutation(same.shape[1])[:most]]
    drawn = np.stack([rng.integers(0, max(n, 1), 2 * most) for n in (len(query), len(gallery))])
    if not len(query) or not len(gallery):
        drawn = drawn[:, :0]
    apart = (query_pid[drawn[0]] != gallery_pid[drawn[1]]) & (query_camid[drawn[0]] != gallery_camid[drawn[1]])
    apart &= (gallery_pid[drawn[1]] >= 0) & (query_pid[drawn[0]] >= 0)
    different = np.unique(drawn[:, apart], axis=1)
    different = different[:, rng.permutation(different.shape[1])[:most]]
    return _distances(query, gallery, same), _distances(query, gallery, different)


def _distances(query: NDArray[Any], gallery: NDArray[Any], pairs: Ints) -> Floats:
    parts = [1 - np.einsum("nd,nd->n", query[a], gallery[b], dtype=float)
             for a, b in zip(np.array_split(pairs[0], 20), np.array_split(pairs[1], 20), strict=True)]
    return np.concatenate(parts)

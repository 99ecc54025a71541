"""Retrieval scores by the field's standard protocol: CMC, mAP and mINP as pure functions of arrays.

Market-1501's protocol (Zheng et al. 2015): for a query, gallery entries of the same person in the same camera do
not count, nor do entries of nobody (a negative pid). Average precision is the mean, over the query's true matches,
of the precision at each of them; INP is the share of true matches among all entries down to the last (Ye et al.
2021, eq. 11). Ties in distance are broken by the gallery's order, as a stable sort does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_models.errors import ReidError

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RetrievalScores:
    """Scores of the queries that have a true match; every array has n rows.

    Attributes:
        query: (n,) their rows among all queries, increasing.
        first_rank: (n,) rank of the nearest true match, from 1.
        average_precision, inverse_negative_penalty: (n,) in 0…1.
    """

    query: Ints
    first_rank: Ints
    average_precision: Array
    inverse_negative_penalty: Array

    def cmc(self, ranks: int = 50) -> Array:
        """(ranks,) share of the queries with a true match among the first 1, 2, … entries."""
        self._check()
        return (self.first_rank[:, None] <= np.arange(1, ranks + 1)).mean(axis=0)

    @property
    def rank1(self) -> float:
        """Share of the queries whose nearest entry is a true match."""
        return float(self.cmc(1)[0])

    @property
    def mean_average_precision(self) -> float:
        """The mAP, 0…1."""
        self._check()
        return float(self.average_precision.mean())

    @property
    def mean_inverse_negative_penalty(self) -> float:
        """The mINP, 0…1."""
        self._check()
        return float(self.inverse_negative_penalty.mean())

    def _check(self) -> None:
        if not len(self.query):
            raise ReidError("no query has a true match in the gallery: nothing can be scored")


def evaluate(distmat: NDArray[Any], query_pid: Ints, gallery_pid: Ints, query_camid: Ints,
             gallery_camid: Ints) -> RetrievalScores:
    """Score a whole matrix of distances.

    Args:
        distmat: (q, g) distances, any float type; smaller is nearer.
        query_pid, gallery_pid: (q,) and (g,) persons; negative pids in the gallery are junk.
        query_camid, gallery_camid: (q,) and (g,) cameras.

    Raises:
        ReidError: shapes that do not fit, or distances that are not numbers.
    """
    labels = _Labels(query_pid, gallery_pid, query_camid, gallery_camid)
    if np.shape(distmat) != (len(labels.query_pid), len(labels.gallery_pid)):
        raise ReidError(f"distmat has shape {np.shape(distmat)}, expected "
                        f"{(len(labels.query_pid), len(labels.gallery_pid))}")
    return _collect(labels.score(np.asarray(distmat), 0))


def evaluate_features(query: NDArray[Any], gallery: NDArray[Any], query_pid: Ints, gallery_pid: Ints,
                      query_camid: Ints, gallery_camid: Ints, chunk: int = 256) -> RetrievalScores:
    """Score unit vectors by cosine distance, without ever holding the whole matrix of distances.

    Args:
        query, gallery: (q, d) and (g, d) unit rows.
        query_pid, gallery_pid, query_camid, gallery_camid: see :func:`evaluate`.
        chunk: queries taken at a time; memory is chunk × g numbers.

    Raises:
        ReidError: shapes that do not fit, or values that are not numbers.
    """
    labels = _Labels(query_pid, gallery_pid, query_camid, gallery_camid)
    query, gallery = np.asarray(query), np.asarray(gallery)
    if len(query) != len(labels.query_pid) or len(gallery) != len(labels.gallery_pid) or query.ndim != 2 \
            or query.shape[1:] != gallery.shape[1:]:
        raise ReidError(f"features have shapes {query.shape} and {gallery.shape} for {len(labels.query_pid)} "
                        f"queries and {len(labels.gallery_pid)} gallery entries")
    somebody = labels.gallery_pid >= 0
    if not somebody.all():  # junk would cost its share of the product, and ranks nowhere
        gallery = gallery[somebody]
        labels = _Labels(query_pid, labels.gallery_pid[somebody], query_camid, labels.gallery_camid[somebody])
    return _collect(row for start, distmat in _distances(query, gallery, chunk)
                    for row in labels.score(distmat, start, own=True))


def evaluate_rows(rows: Iterable[tuple[int, NDArray[Any]]], query_pid: Ints, gallery_pid: Ints, query_camid: Ints,
                  gallery_camid: Ints) -> RetrievalScores:
    """Score distances that come some queries at a time, as re-ranking gives them.

    Args:
        rows: (number of the first query, (c, g) distances).
        query_pid, gallery_pid, query_camid, gallery_camid: see :func:`evaluate`.
    """
    labels = _Labels(query_pid, gallery_pid, query_camid, gallery_camid)
    return _collect(row for start, distmat in rows for row in labels.score(distmat, start))


def _distances(query: NDArray[Any], gallery: NDArray[Any], chunk: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """(first query, −cosines of a chunk of queries), each in the same piece of memory: distances but for a constant."""
    kind = np.result_type(query, gallery)
    kind = kind if kind in (np.float32, np.float64) else np.dtype(np.float64)
    opposite, across = np.negative(query, dtype=kind), gallery.astype(kind, copy=False).T
    buffer = np.empty((min(chunk, len(query)), len(gallery)), kind)
    for start in range(0, len(query), chunk):
        rows = opposite[start : start + chunk]
        yield start, np.matmul(rows, across, out=buffer[: len(rows)])


def evaluate_masked(distmat: NDArray[Any], match: NDArray[np.bool_], valid: NDArray[np.bool_]) -> RetrievalScores:
    """Score a protocol of one's own.

    Args:
        distmat: (q, g) distances.
        match: (q, g) whether an entry is a true match of the query.
        valid: (q, g) whether it belongs to the query's gallery at all.
    """
    rows = []
    for i, distance in enumerate(np.asarray(distmat)):
        _finite(distance)
        inside = np.flatnonzero(valid[i])
        rows.append((i, _ranks(distance[inside], np.flatnonzero(match[i, inside]))))
    return _collect(iter(rows))


class _Labels:
    """Persons and cameras, with the gallery's entries grouped by person."""

    def __init__(self, query_pid: Ints, gallery_pid: Ints, query_camid: Ints, gallery_camid: Ints) -> None:
        self.query_pid, self.gallery_pid = np.asarray(query_pid), np.asarray(gallery_pid)
        self.query_camid, self.gallery_camid = np.asarray(query_camid), np.asarray(gallery_camid)
        for side in ("query", "gallery"):
            pid, camid = getattr(self, f"{side}_pid"), getattr(self, f"{side}_camid")
            if pid.ndim != 1 or pid.shape != camid.shape:
                raise ReidError(f"{side}_pid has shape {pid.shape} and {side}_camid {camid.shape}, expected (n,) both")
        order = np.argsort(self.gallery_pid, kind="stable")
        pids, first = np.unique(self.gallery_pid[order], return_index=True)
        self._entries = dict(zip(pids.tolist(), np.split(order, first[1:]), strict=True)) if len(order) else {}
        self._nobody = np.flatnonzero(self.gallery_pid < 0)

    def score(self, distmat: NDArray[Any], start: int, own: bool = False) -> Iterator[tuple[int, Ints]]:
        """For each row, which belongs to query ``start`` and on: (query, ranks of its true matches).

        ``own``: the rows may be written to.
        """
        for i, distance in enumerate(distmat, start):
            _finite(distance)
            entries = self._entries.get(int(self.query_pid[i]), np.zeros(0, np.int64))
            elsewhere = self.gallery_camid[entries] != self.query_camid[i]
            if self.query_pid[i] < 0 or not elsewhere.any():
                yield i, np.zeros(0, np.int64)
                continue
            row = distance if own else np.array(distance)
            row[entries[~elsewhere]] = np.inf
            row[self._nobody] = np.inf
            yield i, _ranks(row, entries[elsewhere])


def _finite(distance: NDArray[Any]) -> None:
    if not np.isfinite(distance).all():
        raise ReidError("a distance is not a finite number")


def _ranks(row: NDArray[Any], matches: Ints) -> Ints:
    """Ranks, from 1 and increasing, of the entries ``matches`` (increasing) in a stable sort of ``row``.

    Only what lies at most as far as the last match is sorted, and values rather than indices, which is several
    times faster; equal distances are rare and go the long way.
    """
    if not len(matches):
        return np.zeros(0, np.int64)
    wanted = np.sort(row[matches])
    near = row[row <= wanted[-1]]
    near.sort()
    before = np.searchsorted(near, wanted, side="left")
    if (np.searchsorted(near, wanted, side="right") - before > 1).any():
        place = np.empty(len(row), np.int64)
        place[np.argsort(row, kind="stable")] = np.arange(1, len(row) + 1)
        return np.sort(place[matches])
    return before + 1


def _collect(rows: Iterator[tuple[int, Ints]]) -> RetrievalScores:
    """From the ranks of every query's true matches to its scores."""
    query, first, precision, penalty = [], [], [], []
    for i, ranks in rows:
        if len(ranks):
            query.append(i)
            first.append(ranks[0])
            precision.append((np.arange(1, len(ranks) + 1) / ranks).mean())
            penalty.append(len(ranks) / ranks[-1])
    return RetrievalScores(np.array(query, np.int64), np.array(first, np.int64),
                           np.array(precision, float), np.array(penalty, float))

"""Protocols beyond the standard one: pooled queries, one gallery picture a person, random galleries and halves.

Every choice by chance comes from a ``numpy.random.Generator``. Figures that depend on such choices are means over
many of them; each of these functions returns the means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_models.errors import ReidError
from reid_models.evaluation import RetrievalScores, evaluate

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
PROTOCOLS = ("standard", "single_gallery_shot", "random_gallery", "random_halves")
"""``standard`` is :func:`reid_models.evaluation.evaluate`; the others are the functions of that name here."""


@dataclass(frozen=True, eq=False)
class MeanScores:
    """Means over random choices.

    Attributes:
        cmc: (ranks,) share of the queries with a true match among the first 1, 2, … entries.
        mean_average_precision, mean_inverse_negative_penalty: 0…1.
        choices: how many.
    """

    cmc: Array
    mean_average_precision: float
    mean_inverse_negative_penalty: float
    choices: int


def multi_query(features: NDArray[Any], pid: Ints, camid: Ints) -> tuple[NDArray[Any], Ints, Ints]:
    """One query out of all pictures of a person in a camera: the mean of their features (Zheng et al. 2015).

    Args:
        features: (n, d) unit rows.
        pid, camid: (n,) labels.

    Returns:
        (m, d) unit rows with (m,) labels, ordered by person and camera.
    """
    pairs, group = np.unique(np.stack([np.asarray(pid), np.asarray(camid)], 1), axis=0, return_inverse=True)
    pooled = np.zeros((len(pairs), np.shape(features)[1]))
    np.add.at(pooled, group.ravel(), np.asarray(features, float))
    length = np.linalg.norm(pooled, axis=1, keepdims=True)
    pooled = pooled / np.maximum(length, 1e-12)
    return pooled.astype(np.asarray(features).dtype), pairs[:, 0], pairs[:, 1]


def single_gallery_shot(distmat: NDArray[Any], query_pid: Ints, gallery_pid: Ints, query_camid: Ints,
                        gallery_camid: Ints, rng: np.random.Generator, *, choices: int = 100,
                        separate_cameras: bool = True, ranks: int = 50) -> MeanScores:
    """CUHK03's classic protocol (Li et al. 2014): the gallery has one random picture of each person.

    Args:
        distmat: (q, g) distances.
        query_pid, gallery_pid, query_camid, gallery_camid: labels; negative pids in the gallery are junk.
        rng: chooses the pictures, anew for every choice and every camera of the queries.
        choices: how many galleries.
        separate_cameras: the gallery has no picture from the query's camera; otherwise it has some, but none of the
            query's own person.
        ranks: length of the curve.

    Returns:
        Means over the queries with a true match, and the choices. With one match each, AP and INP are 1 / rank.
    """
    distmat, labels = _checked(distmat, query_pid, gallery_pid, query_camid, gallery_camid)
    query_pid, gallery_pid, query_camid, gallery_camid = labels
    counts = np.zeros((choices, len(distmat)), np.int64)  # rank of the match; 0: none
    for camera in np.unique(query_camid):
        rows = np.flatnonzero((query_camid == camera) & (query_pid >= 0))
        elsewhere = np.flatnonzero((gallery_camid != camera) & (gallery_pid >= 0))
        allowed = elsewhere if separate_cameras else np.flatnonzero(gallery_pid >= 0)
        rows = rows[np.isin(query_pid[rows], gallery_pid[elsewhere])]
        if not len(rows):
            continue
        for choice in range(choices):
            people, shown = _one_of_each(gallery_pid, allowed, rng)
            known, match = _one_of_each(gallery_pid, elsewhere, rng)
            own = match[np.searchsorted(known, query_pid[rows])]
            counts[choice, rows] = _rank(distmat, rows, shown, people != query_pid[rows, None], own)
    ranked = counts[:, counts[0] > 0] if choices else counts[:, :0]
    if not ranked.size:
        raise ReidError("no query has a true match in the gallery: nothing can be scored")
    cmc = (ranked[..., None] <= np.arange(1, ranks + 1)).mean(axis=(0, 1))
    precision = float((1 / ranked).mean())
    return MeanScores(cmc, precision, precision, choices)


def random_gallery(distmat: NDArray[Any], pid: Ints, rng: np.random.Generator, *, choices: int = 10,
                   ranks: int = 50) -> MeanScores:
    """VehicleID's protocol (Liu et al. 2016): one random picture of everybody is the gallery, all others ask.

    Args:
        distmat: (n, n) distances between all test pictures.
        pid: (n,) labels, not negative.
        rng: chooses the galleries.
        choices, ranks: see :func:`single_gallery_shot`.
    """
    pid = np.asarray(pid)
    if np.shape(distmat) != (len(pid), len(pid)):
        raise ReidError(f"distmat has shape {np.shape(distmat)}, expected {(len(pid), len(pid))}")
    scores = []
    for _ in range(choices):
        people, shown = _one_of_each(pid, np.arange(len(pid)), rng)
        asks = np.setdiff1d(np.arange(len(pid)), shown)
        scores.append(evaluate(np.asarray(distmat)[np.ix_(asks, shown)], pid[asks], people,
                               np.zeros(len(asks), np.int64), np.ones(len(shown), np.int64)))
    return _mean(scores, ranks)


def random_halves(distmat: NDArray[Any], query_pid: Ints, gallery_pid: Ints, query_camid: Ints, gallery_camid: Ints,
                  rng: np.random.Generator, *, choices: int = 10, ranks: int = 50) -> MeanScores:
    """VIPeR's protocol (Gray et al. 2007) for an embedder that learnt elsewhere: a random half of the people.

    Args:
        distmat: (q, g) distances.
        query_pid, gallery_pid, query_camid, gallery_camid: labels.
        rng: chooses the halves.
        choices, ranks: see :func:`single_gallery_shot`.
    """
    distmat, labels = _checked(distmat, query_pid, gallery_pid, query_camid, gallery_camid)
    people = np.unique(labels[0][labels[0] >= 0])
    scores = []
    for _ in range(choices):
        half = rng.permutation(people)[: max(1, len(people) // 2)]
        rows, columns = np.isin(labels[0], half), np.isin(labels[1], half)
        scores.append(evaluate(distmat[np.ix_(rows, columns)], labels[0][rows], labels[1][columns], labels[2][rows],
                               labels[3][columns]))
    return _mean(scores, ranks)


def _checked(distmat: NDArray[Any], *labels: Ints) -> tuple[NDArray[Any], list[Ints]]:
    distmat, values = np.asarray(distmat), [np.asarray(label) for label in labels]
    q, g = len(values[0]), len(values[1])
    if distmat.shape != (q, g) or [v.shape for v in values] != [(q,), (g,), (q,), (g,)]:
        raise ReidError(f"distmat has shape {distmat.shape} and the labels {[v.shape for v in values]}, expected "
                        "(q, g) and (q,), (g,), (q,), (g,)")
    if not np.isfinite(distmat).all():
        raise ReidError("a distance is not a finite number")
    return distmat, values


def _one_of_each(pid: Ints, allowed: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """One random entry, out of ``allowed``, of each person: their pids, increasing, and the entries."""
    order = rng.permutation(allowed)
    people, first = np.unique(pid[order], return_index=True)
    return people, order[first]


def _rank(distmat: NDArray[Any], rows: Ints, shown: Ints, others: NDArray[np.bool_], own: Ints) -> Ints:
    """(r,) rank of each query's own entry among itself and the others shown; ties by the gallery's order."""
    mine = distmat[rows, own][:, None]
    theirs = distmat[np.ix_(rows, shown)]
    before = (theirs < mine) | ((theirs == mine) & (shown[None] < own[:, None]))
    return 1 + (before & others).sum(axis=1)


def _mean(scores: Iterable[RetrievalScores], ranks: int) -> MeanScores:
    table = list(scores)
    if not table:
        raise ReidError("choices must be at least 1")
    return MeanScores(np.mean([s.cmc(ranks) for s in table], axis=0),
                      float(np.mean([s.mean_average_precision for s in table])),
                      float(np.mean([s.mean_inverse_negative_penalty for s in table])), len(table))

"""A calibration from pictures of people that were held out of training."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reid_models.calibration import Calibration
from reid_models.errors import ReidError

Ints = NDArray[np.int64]


def fit_held_out(embedding: ArrayLike, pid: ArrayLike, camid: ArrayLike, source: str, rng: np.random.Generator,
                 pairs: int = 200_000) -> Calibration:
    """Measure what an embedder's distances mean.

    Pairs of one person come from different cameras wherever any person was seen by two (pictures of one camera are
    too alike), and every person counts alike; of different people, both are drawn evenly among the people.

    Args:
        embedding: (n, d) rows, of people that the network was not trained with.
        pid: (n,) who they show; below 0: nobody known, not used.
        camid: (n,) cameras.
        source: what was measured, in a few words for the user.
        rng: draws the pairs.
        pairs: about how many of each kind at most.

    Raises:
        ReidError: shapes that do not fit, or fewer than 20 pairs of one person or than two people.
    """
    rows, person, camera = np.asarray(embedding, np.float32), np.asarray(pid), np.asarray(camid)
    if rows.ndim != 2 or person.shape != rows.shape[:1] or camera.shape != rows.shape[:1]:
        raise ReidError(f"calibration: embedding {rows.shape}, pid {person.shape} and camid {camera.shape}, expected "
                        "(n, d), (n,) and (n,)")
    kept = person >= 0
    rows, person, camera = rows[kept], person[kept], camera[kept]
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norm).all() or not (norm > 0).all():
        raise ReidError("calibration: an embedding of zeros or of values that are not finite")
    rows /= norm
    groups = [np.flatnonzero(person == who) for who in np.unique(person)]
    if len(groups) < 2:
        raise ReidError(f"calibration: pictures of {len(groups)} person, at least 2 are needed")
    same, weight = _same(groups, camera, rng, pairs)
    different = _different(groups, rng, pairs)
    return Calibration.fit(_distance(rows, same), _distance(rows, different), source, same_weight=weight)


def _same(groups: list[Ints], camera: Ints, rng: np.random.Generator, pairs: int) -> tuple[Ints, NDArray[np.float64]]:
    """(k, 2) rows that show one person, and weights that make the persons count alike."""
    across = any((camera[group] != camera[group[0]]).any() for group in groups)
    found, weight = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    most = max(1, pairs // len(groups))
    for group in groups:
        first, second = np.triu_indices(len(group), 1)
        couples = np.stack([group[first], group[second]], axis=1)
        if across:
            couples = couples[camera[couples[:, 0]] != camera[couples[:, 1]]]
        if len(couples) > most:
            couples = couples[rng.choice(len(couples), most, replace=False)]
        found.append(couples)
        weight.append(np.full(len(couples), 1 / max(len(couples), 1)))
    return np.concatenate(found), np.concatenate(weight)


def _different(groups: list[Ints], rng: np.random.Generator, pairs: int) -> Ints:
    """(k, 2) different pairs of rows that show two people."""
    size = np.array([len(group) for group in groups])
    one = rng.integers(len(groups), size=pairs)
    other = (one + rng.integers(1, len(groups), size=pairs)) % len(groups)
    order, start = np.concatenate(groups), np.cumsum(size) - size
    couples = np.stack([order[start[who] + rng.integers(size[who])] for who in (one, other)], axis=1)
    # The same pair drawn again would pretend to be further evidence.
    return np.unique(np.sort(couples, axis=1), axis=0)


def _distance(rows: NDArray[np.float32], couples: Ints) -> NDArray[np.float64]:
    steps = range(0, len(couples), 8192)
    parts = [np.einsum("nd,nd->n", rows[c[:, 0]], rows[c[:, 1]]) for c in (couples[i : i + 8192] for i in steps)]
    return 1 - np.concatenate([np.zeros(0), *parts]).astype(float)

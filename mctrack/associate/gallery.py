"""What is remembered of each tracklet's looks: few, good and different exemplars."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Embedding = NDArray[np.float32]
Array = NDArray[np.float64]
NEAREST = 3


@dataclass(eq=False)
class TrackletRecord:
    """One tracklet as the associator sees it.

    Attributes:
        camera, track_id: which. global_id: its identity, −1 while it waits.
        first_s, last_s: first and last time it was seen. ready_s: when it was first confirmed.
        first_box, last_box: (4,) ``xyxy`` there.
        embedding: (k, d) exemplars. quality: (k,) of each. sampled_s: time of the last sample.
    """

    camera: str
    track_id: int
    first_s: float
    last_s: float
    first_box: Array
    last_box: Array
    global_id: int = -1
    confirmed: bool = False
    sampled_s: float = -np.inf
    samples: int = 0
    embedding: Embedding = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    quality: Array = field(default_factory=lambda: np.zeros(0))

    def sample(self, embedding: Embedding, quality: float, time_s: float, capacity: int) -> None:
        """Take an exemplar; over capacity the most redundant one (near another and of low quality) goes."""
        stack = embedding[None] if not len(self.embedding) else np.concatenate([self.embedding, embedding[None]])
        self.embedding, self.quality = keep_diverse(stack, np.append(self.quality, quality), capacity)
        self.sampled_s = time_s
        self.samples += 1


def keep_diverse(embedding: Embedding, quality: Array, capacity: int) -> tuple[Embedding, Array]:
    """Drop the most redundant exemplars until ``capacity`` remain: (k, d) and (k,) in, at most capacity rows out."""
    excess = len(embedding) - capacity
    if excess <= 0:
        return embedding, quality
    distance = 1.0 - embedding @ embedding.T.astype(float)
    np.fill_diagonal(distance, np.inf)
    alive = np.ones(len(embedding), bool)
    for _ in range(excess):
        worth = distance.min(axis=1) + 0.1 * quality
        worth[~alive] = np.inf
        drop = int(worth.argmin())
        alive[drop] = False
        distance[drop], distance[:, drop] = np.inf, np.inf
    return embedding[alive], quality[alive]


def set_distance(a: Embedding, qa: Array, b: Embedding, qb: Array) -> float:
    """Cosine distance of two sets of exemplars, NaN if either is empty.

    Each exemplar is compared with its three nearest ones of the other set (people are seen from several sides, and
    only like sides compare), averaged with quality weights, both ways.
    """
    if not len(a) or not len(b):
        return float("nan")
    distance = 1.0 - (a @ b.T).astype(float)
    return 0.5 * (_one_way(distance, qa) + _one_way(distance.T, qb))


def _one_way(distance: Array, quality: Array) -> float:
    k = min(NEAREST, distance.shape[1])
    nearest = np.partition(distance, k - 1, axis=1)[:, :k].mean(axis=1)
    weight = quality + 1e-3
    return float((nearest * weight).sum() / weight.sum())

"""FIDI's fidelity counts: how often a feature space contradicts what it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_models.errors import ReidError

_CHUNK = 4_000_000
"""Distances held at a time."""


@dataclass(frozen=True)
class Fidelity:
    """Errors of a feature space, averaged over its anchors (FIDI paper, section V-C and table I).

    Attributes:
        error_1: pictures of others that are nearer to an anchor than its farthest picture of the same person.
        error_2: pictures of the same person that are farther from an anchor than its nearest picture of another.
        anchors: how many pictures were anchors: those with another picture of the same person, and one of another.
    """

    error_1: float
    error_2: float
    anchors: int


def fidelity(features: NDArray[Any], pid: NDArray[Any]) -> Fidelity:
    """Count Error-I and Error-II of (n, d) features of the people ``pid`` (n,), by Euclidean distance.

    Every picture is an anchor against all the others; rows with pid below 0 are left out. Equal distances are no
    error. Memory is bounded, whatever n is.

    Raises:
        ReidError: shapes that do not fit, features that are not finite, or no anchor at all.
    """
    rows, people = np.asarray(features, dtype=np.float64), np.asarray(pid)
    if rows.ndim != 2 or people.shape != (len(rows),):
        raise ReidError(f"fidelity: features {rows.shape} and pid {people.shape} do not fit")
    if not np.isfinite(rows).all():
        raise ReidError("fidelity: the features hold NaN or infinity")
    rows, people = rows[people >= 0], people[people >= 0]
    rows = rows - rows.mean(0) if len(rows) else rows  # distances stay, and less of them is lost to rounding
    step = max(1, _CHUNK // max(len(rows), 1))
    counts = [_count(rows, people, start, min(start + step, len(rows))) for start in range(0, len(rows), step)]
    first, second, anchors = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0, 0)
    if not anchors:
        raise ReidError("fidelity: no picture has both another picture of its person and one of somebody else")
    return Fidelity(first / anchors, second / anchors, anchors)


def _count(rows: NDArray[np.float64], people: NDArray[Any], start: int, stop: int) -> tuple[int, int, int]:
    """Both errors and the number of anchors among ``rows[start:stop]``."""
    squares = np.einsum("ij,ij->i", rows, rows)
    distance = squares[start:stop, None] - 2 * rows[start:stop] @ rows.T + squares[None, :]
    same = people[start:stop, None] == people[None, :]
    other = ~same
    same[np.arange(stop - start), np.arange(start, stop)] = False
    anchors = same.any(1) & other.any(1)
    farthest = np.where(same, distance, -np.inf).max(1)[:, None]
    nearest = np.where(other, distance, np.inf).min(1)[:, None]
    # what rounding makes of equal distances is no error
    slack = 1e-13 * squares.max()
    first = (other & (distance < farthest - slack))[anchors].sum()
    second = (same & (distance > nearest + slack))[anchors].sum()
    return int(first), int(second), int(anchors.sum())

"""Hindsight: every few seconds the tracklets of the last minute are grouped once more, all at once.

A person is named within a second or two, one tracklet at a time, and a name once given draws the next ones along. With
what has been seen since, the question of :mod:`mctrack.associate.refine` can be asked again of everybody still
remembered: which grouping of all these tracklets fits best? Names that speak against it are changed.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack import boxes
from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.identities import IdentityBook
from mctrack.associate.looks import FINISHED, unit
from mctrack.associate.paths import FloorEvidence
from mctrack.associate.refine import Pieces, RefineOptions, regroup, rename
from mctrack.associate.transitions import Transitions
from mctrack.types import IntArray

FULL = 8.0
"""Evidence beyond this makes no tracklet count for more."""
LIMIT = 200
"""Tracklets considered, those seen last."""
CROWD = 100
"""With more tracklets than this it happens the less often the more there are."""
ESTABLISHED_S = 1e6
"""Tracklets whose looks have become their identity's keep its number before all others, as if they had been so long."""


@dataclass(frozen=True)
class Move:
    """A tracklet's row and the identity it should have.

    ``fresh`` numbers an identity that is yet to be made (None: ``global_id`` exists). ``distance``: of its looks from
    those of its new company, ``rival``: of its old; NaN where there are none.
    """

    row: int
    global_id: int
    fresh: int | None
    distance: float
    rival: float


@dataclass(frozen=True)
class Hindsight:
    """What should change: identities to be merged (the one that stays first), then tracklets to be moved."""

    merges: tuple[tuple[int, int], ...] = ()
    moves: tuple[Move, ...] = ()


def look_back(book: IdentityBook, scene: SceneCalibration, transitions: Transitions,
              evidence: Callable[[IntArray], FloorEvidence | None]) -> Hindsight:  # fmt: skip
    """Group the remembered tracklets anew, and say how the names should change for it.

    Args:
        book: all tracklets and identities; nothing is changed.
        scene: what a distance of looks means here.
        transitions: times between cameras.
        evidence: what the floor says about tracklets (their rows), None where it says nothing.
    """
    rows = _remembered(book)
    if len(rows) < 2:
        return Hindsight()
    pieces, finished = _as_pieces(book, rows)
    label = regroup(pieces, scene, RefineOptions(), deepcopy(transitions), book.table.cameras, evidence(rows))
    label = _stays_whole(label, book.table.stay[rows], book.table.samples[rows])
    names = rename(pieces, label, np.where(finished, ESTABLISHED_S, 0.0))
    merges = _merges(pieces.name, names, finished)
    now, names = _after(pieces.name, merges), _after(names, merges)
    known = int(pieces.name.max())
    moves = []
    for i in np.flatnonzero((now != names) & ~finished).tolist():
        g = int(names[i])
        moves.append(Move(int(rows[i]), g, g if g > known else None, _from(pieces, names == g, i),
                          _from(pieces, now == now[i], i)))  # fmt: skip
    return Hindsight(merges, tuple(moves))


def _remembered(book: IdentityBook) -> IntArray:
    """(n,) rows of the named tracklets seen last of which looks are known, in order of arrival."""
    table = book.table
    book.gallery.refresh()
    rows = book.grouped().rows
    rows = rows[np.lexsort((table.serial[rows], -table.last_s[rows]))][:LIMIT]
    known = [bool(len(table.looks[row])) or FINISHED in book.gallery.prototypes[g].source
             for row, g in zip(rows.tolist(), table.global_id[rows].tolist(), strict=True)]  # fmt: skip
    rows = rows[known]
    return np.asarray(rows[np.argsort(table.serial[rows])])


def _as_pieces(book: IdentityBook, rows: IntArray) -> tuple[Pieces, NDArray[np.bool_]]:
    """Tracklets as pieces, and which of them have no looks of their own any more: theirs are their identity's."""
    table = book.table
    finished = np.array([not len(table.looks[row]) for row in rows.tolist()], bool)
    look, weight = [], np.zeros(len(rows))
    for i, (row, g) in enumerate(zip(rows.tolist(), table.global_id[rows].tolist(), strict=True)):
        if finished[i]:
            whole = book.gallery.look(g)
            old = whole.part(np.array(whole.source) == FINISHED)
            look.append(old.pooled)
            weight[i] = old.weight.sum() / (finished & (table.global_id[rows] == g)).sum()
        else:
            look.append(table.looks[row].mean())
            weight[i] = table.looks[row].weight.sum()
    none = np.zeros(len(rows), np.int64)
    return Pieces(
        table.camera[rows], table.track_id[rows], table.first_s[rows], table.last_s[rows], none, none,
        boxes.xyxy_to_xcycwh(table.first_box[rows]), boxes.xyxy_to_xcycwh(table.last_box[rows]),
        np.stack(look), np.minimum(weight, FULL), table.global_id[rows],
    ), finished  # fmt: skip


def _stays_whole(label: IntArray, stay: IntArray, samples: IntArray) -> IntArray:
    """The groups, each stay on the floor whole in the one that most of its crops are in."""
    out = label.copy()
    for p in np.unique(stay[stay >= 0]).tolist():
        mine = np.flatnonzero(stay == p)
        out[mine] = np.bincount(label[mine], samples[mine] + 1e-3).argmax()
    return out


def _merges(before: IntArray, names: IntArray, finished: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Identities of which everything finished goes to another one: both become the older one."""
    out: list[tuple[int, int]] = []
    for g in np.unique(before[finished]).tolist():
        target = np.unique(names[finished & (before == g)])
        if len(target) == 1 and target[0] != g and target[0] in before:
            keep, gone = sorted((g, int(target[0])))
            if not {keep, gone} & {x for pair in out for x in pair}:
                out.append((keep, gone))
    return tuple(out)


def _after(names: IntArray, merges: tuple[tuple[int, int], ...]) -> IntArray:
    out = names.copy()
    for keep, gone in merges:
        out[out == gone] = keep
    return out


def _from(pieces: Pieces, company: NDArray[np.bool_], i: int) -> float:
    """Cosine distance of a piece's look from the mean of its company's without it, NaN where it has none."""
    rest = np.flatnonzero(company & (np.arange(len(pieces)) != i))
    if not len(rest):
        return float("nan")
    mean = unit((pieces.look[rest] * pieces.weight[rest, None]).sum(axis=0))
    return round(1.0 - float(mean @ pieces.look[i]), 9)

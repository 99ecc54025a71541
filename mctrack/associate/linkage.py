"""Grouping pieces of tracklets into people: average linkage on looks, with what place and time add for whole groups.

Looks of one person vary together, so two groups are as likely one person as their pairs are *on average*. Places and
times are different: that two groups stood in one place, or that one begins where and when the other left off, is said
once, by the pairs that can know it, and must not be thinned by all the others. So the score of joining two groups is

    mean log-odds by looks + sum of log-odds by place + change of the log-odds of the way through the cameras.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mctrack.types import IntArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
PLACE_LIMIT = 6.0
"""Log-odds that the places of two groups may add or take."""
WAY_LIMIT = 3.0
"""Log-odds that the ways between the sights of two groups may add or take."""

FULL_WEIGHT = 4.0
"""A group of less weight says less about a single piece: a glimpse must not draw away what belongs to many."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known about n pieces being one person, pair by pair.

    Attributes:
        looks: (n, n) symmetric log-odds. weight: (n,) how much a piece counts in a mean.
        forbidden: (n, n) pairs that no group may hold.
        place: (n, n) symmetric log-odds of having been in one place at one time; 0 where nothing is known.
        way: (n, n) log-odds of piece j being the next sight of i's person; 0 where nothing is known.
        begin_s, end_s: (n,) when pieces begin and end.
    """

    looks: Array
    weight: Array
    forbidden: Mask
    place: Array
    way: Array
    begin_s: Array
    end_s: Array

    @staticmethod
    def of_looks(looks: Array, weight: Array, forbidden: Mask) -> Evidence:
        """Nothing but looks."""
        nothing = np.zeros_like(looks)
        return Evidence(looks, weight, forbidden, nothing, nothing, np.zeros(len(weight)), np.zeros(len(weight)))

    def __len__(self) -> int:
        return len(self.weight)

    @cached_property
    def timed(self) -> bool:
        """Whether times between cameras say anything."""
        return bool(self.way.any())

    @cached_property
    def heaviest(self) -> float:
        """The largest weight of a piece."""
        return float(self.weight.max(initial=0.0))

    def sights(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Pairs of pieces of a group that follow each other while nothing else of the group is in sight."""
        order = rows[np.argsort(self.begin_s[rows], kind="stable")]
        end = self.end_s[order]
        latest = np.maximum.accumulate(end)
        holder = np.maximum.accumulate(np.where(end == latest, np.arange(len(order)), 0))
        free = np.flatnonzero(latest[:-1] < self.begin_s[order[1:]])
        return order[holder[free]], order[free + 1]

    def way_of(self, rows: IntArray) -> float:
        """Log-odds of the whole way of a group through the cameras."""
        if len(rows) < 2:
            return 0.0
        key = rows.tobytes()
        if key not in self._known_ways:
            self._known_ways[key] = float(self.way[self.sights(rows)].sum())
        return self._known_ways[key]

    @cached_property
    def _known_ways(self) -> dict[bytes, float]:
        """Groups that were asked about: pieces move one at a time, so that most groups come again and again."""
        return {}


def agglomerate(e: Evidence, need: float, start: IntArray | None = None) -> IntArray:
    """(n,) labels 0 …: the two groups of the highest score are joined as long as that is above ``need``.

    Args:
        start: (n,) groups to begin with; default: every piece by itself.
    """
    place_of = np.arange(len(e)) if start is None else np.unique(start, return_inverse=True)[1].reshape(-1)
    label = _joined(e, need, [np.flatnonzero(place_of == g) for g in range(place_of.max(initial=-1) + 1)])
    return np.asarray(label[place_of])


def _joined(e: Evidence, need: float, groups: Sequence[IntArray]) -> IntArray:
    """(m,) labels of m groups after joining; see :func:`agglomerate`."""
    tables = _Tables(e, need, groups)
    label = np.arange(len(groups))
    while (pair := tables.best_pair()) is not None:
        label[label == pair[1]] = pair[0]
        tables.join(*pair)
    return label


class _Tables:
    """Scores of each two of m groups, kept up to date while groups are joined."""

    def __init__(self, e: Evidence, need: float, groups: Sequence[IntArray]) -> None:
        self._e, self._need, self._timed = e, need, e.timed
        self._members = dict(enumerate(groups))
        self._total = _sums(e.looks * e.weight[:, None] * e.weight, groups)
        self._mass, self._place = _sums(np.outer(e.weight, e.weight), groups), _sums(e.place, groups)
        self._barred = _sums(e.forbidden.astype(float), groups) > 0
        np.fill_diagonal(self._barred, True)
        self._ways = np.array([e.way_of(rows) for rows in groups])
        self._alive = np.ones(len(groups), bool)
        self.score = np.stack([self._row(a) for a in range(len(groups))]) if groups else np.zeros((0, 0))
        self._best = self.score.argmax(axis=1) if groups else np.zeros(0, np.int64)

    def best_pair(self) -> tuple[int, int] | None:
        """The two groups to join next, the one that stays first; None if no score is high enough."""
        if not len(self._best):
            return None
        value = np.where(self._alive, self.score[np.arange(len(self._best)), self._best], -np.inf)
        a = int(value.argmax())
        return (a, int(self._best[a])) if value[a] > self._need else None

    def join(self, a: int, b: int) -> None:
        """Give all of group b to group a."""
        self._alive[b] = False
        self._members[a] = np.concatenate([self._members[a], self._members.pop(b)])
        self._ways[a] = self._e.way_of(self._members[a])
        for table in (self._total, self._mass, self._place):
            table[a] += table[b]
            table[:, a] = table[a]
        self._barred[a] |= self._barred[b]
        self._barred[:, a] = self._barred[a]
        self._barred[b] = self._barred[:, b] = self._barred[a, a] = True
        self.score[a] = self.score[:, a] = self._row(a)
        self.score[b] = self.score[:, b] = -np.inf
        stale = self._alive & ((self._best == a) | (self._best == b))
        stale[a] = True
        self._best[stale] = self.score[stale].argmax(axis=1)
        better = self._alive & (self.score[:, a] > self.score[np.arange(len(self._best)), self._best])
        self._best[better] = a

    def _row(self, a: int) -> Array:
        """(m,) scores of one group with all others; where ways could not lift them above what is needed, without."""
        row = self._total[a] / np.maximum(self._mass[a], 1e-12) + _limited(self._place[a], PLACE_LIMIT)
        row[self._barred[a] | ~self._alive] = -np.inf
        if self._timed:
            e, mine = self._e, self._members[a]
            maybe = np.flatnonzero(row > self._need - WAY_LIMIT).tolist()
            for c in maybe:
                if len(mine) == len(self._members[c]) == 1:
                    i, j = int(mine[0]), int(self._members[c][0])
                    i, j = (i, j) if e.begin_s[i] <= e.begin_s[j] else (j, i)
                    row[c] += np.clip(e.way[i, j] if e.end_s[i] < e.begin_s[j] else 0.0, -WAY_LIMIT, WAY_LIMIT)
                else:
                    way = e.way_of(np.concatenate([mine, self._members[c]])) - self._ways[a] - self._ways[c]
                    row[c] += np.clip(way, -WAY_LIMIT, WAY_LIMIT)
        return np.asarray(row)


def move(label: IntArray, e: Evidence, need: float) -> bool:
    """Let each piece go where its score is highest, on its own if that is nowhere above ``need``; whether any went."""
    moved, room = False, int(label.max(initial=-1)) + 1
    for i in range(len(label)):
        score = scores(i, label, room, e, need)
        best, own = int(score.argmax()), int(label[i])
        if score[best] <= need:
            if score[own] > -np.inf or (label == own).sum() > 1:
                label[i], room = room, room + 1
                moved = True
        elif best != own and score[best] > score[own] + 1e-9:
            label[i] = best
            moved = True
    return moved


def scores(i: int, place: IntArray, n_groups: int, e: Evidence, need: float) -> Array:
    """(g,) score of piece i joining each of the groups, its own without itself; −∞ where it may not or nobody is.

    Args:
        place: (n,) number of each piece's group, from 0.
    """
    others = e.weight.copy()
    others[i] = 0.0
    mass = np.bincount(place, others, n_groups)
    sure = np.minimum(mass / min(FULL_WEIGHT, e.heaviest), 1.0)
    score = sure * np.bincount(place, others * e.looks[i], n_groups) / np.maximum(mass, 1e-12)
    score += _limited(np.bincount(place, e.place[i], n_groups).astype(float), PLACE_LIMIT)
    score[(np.bincount(place, e.forbidden[i], n_groups) > 0) | (mass <= 0)] = -np.inf
    if e.timed:
        for g in np.flatnonzero(score > need - WAY_LIMIT).tolist():
            company = np.flatnonzero(place == g)
            company = company[company != i]
            way = e.way_of(np.append(company, i)) - e.way_of(company)
            score[g] += np.clip(way, -WAY_LIMIT, WAY_LIMIT)
    return score


def worth(label: IntArray, e: Evidence, need: float) -> float:
    """How well all pieces fit their company, weighted: to compare two groupings of the same pieces.

    A piece's fit is its :func:`scores` for its own group, less ``need``; 0 where it has no company.
    """
    together = label[:, None] == label
    others = np.where(together & ~np.eye(len(label), dtype=bool), e.weight, 0.0)
    mass = others.sum(axis=1)
    score = np.minimum(mass / max(min(FULL_WEIGHT, e.heaviest), 1e-12), 1.0) * (others * e.looks).sum(axis=1)
    score = score / np.maximum(mass, 1e-12) + _limited(np.where(together, e.place, 0.0).sum(axis=1), PLACE_LIMIT)
    score[(e.forbidden & together).any(axis=1) | (mass <= 0)] = -np.inf
    if e.timed:
        way = {g: e.way_of(np.flatnonzero(label == g)) for g in np.unique(label).tolist()}
        for i in np.flatnonzero(score > need - WAY_LIMIT).tolist():
            company = np.flatnonzero(together[i])
            more = way[int(label[i])] - e.way_of(company[company != i])
            score[i] += np.clip(more, -WAY_LIMIT, WAY_LIMIT)
    fit = np.where(together.sum(axis=1) > 1, score - need, 0.0)
    return float(e.weight @ np.maximum(fit, -50.0))


def lawful(label: IntArray, forbidden: Mask) -> IntArray:
    """(n,) the same groups, split where they hold a forbidden pair: the earlier pieces stay together."""
    out = np.full(len(label), -1, np.int64)
    for i in range(len(label)):
        mates = np.flatnonzero((label == label[i]) & (out >= 0))
        allowed = [g for g in dict.fromkeys(out[mates].tolist()) if not forbidden[i, out == g].any()]
        out[i] = allowed[0] if allowed else out.max(initial=-1) + 1
    return out


def _sums(table: Array, groups: Sequence[IntArray]) -> Array:
    """(m, m) sums of an (n, n) table over each two groups."""
    if not len(groups):
        return np.zeros((0, 0))
    order, first = np.concatenate(groups), np.cumsum([0, *(len(g) for g in groups[:-1])])
    return np.asarray(np.add.reduceat(np.add.reduceat(table[np.ix_(order, order)], first, axis=0), first, axis=1))


def _limited(values: Array, limit: float) -> Array:
    return np.clip(values, -limit, limit)

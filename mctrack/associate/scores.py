"""Log-odds of tracklets and identities being one person, computed where they matter.

With many identities of several prototypes each, exact distances to all of them are what costs. The cosine of pooled
means bounds them (see :func:`mctrack.associate.looks.nearest_bound`), so candidates are taken best bound first until
no other can be among the best two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.identities import IdentityBook
from mctrack.associate.looks import Looks, looks_distance, nearest_bound, unit
from mctrack.associate.transitions import Transitions
from mctrack.associate.whereabouts import MAX_ODDS, Members, collide, whereabouts
from mctrack.types import IntArray

Array = NDArray[np.float64]
CHUNK = 8
LOOKS_LIMIT = 3.0
"""Looks say no more than this about where a track is at home."""
MERGE_SAMPLES = 10
"""Crops that each of two identities needs before they may become one."""


@dataclass(frozen=True, eq=False)
class Scores:
    """How n tracklets fit the m open identities.

    Attributes:
        ids: the m identities.
        odds: (n, m) log-odds: exact for every positive one and for the best two of each row, −∞ elsewhere.
        distance: (n, m) of looks, NaN where ``odds`` is −∞.
        timing: (n, m) the part of the log-odds that time and place make.
        last: (n, m) row of the identity's last sight before the tracklet began, or −1.
    """

    ids: list[int]
    odds: Array
    distance: Array
    timing: Array
    last: IntArray


@dataclass(frozen=True)
class Partner:
    """An identity compared with another: log-odds of being one person and distance of looks."""

    global_id: int
    odds: float
    distance: float


class Scorer:
    """Compares tracklets and identities by all that is known."""

    def __init__(self, book: IdentityBook, scene: SceneCalibration, transitions: Transitions) -> None:
        self._book, self._scene, self._transitions = book, scene, transitions
        self.impossible: Callable[[int, int], bool] = lambda g, h: False
        """Told two identities: whether something else than looks and cameras makes them different people."""

    def tracklets(
        self, rows: Sequence[int], company: Sequence[Sequence[int]] | None = None, floor_odds: Array | None = None
    ) -> Scores:
        """Score n waiting tracklets against all open identities.

        Args:
            rows: the tracklets.
            company: for each of them the tracklets, itself included, that are the same person; they are scored as one.
            floor_odds: (n, m) log-odds to be added for the m identities of ``open_ids``; −∞: impossible.
        """
        table, ids = self._book.table, self._book.open_ids()
        groups = [[row] for row in rows] if company is None else company
        odds, distance = np.full((len(rows), len(ids)), -np.inf), np.full((len(rows), len(ids)), np.nan)
        where = whereabouts(table, self._book.grouped(), np.array(rows, np.int64), self._transitions)
        if company is not None:
            self._shut(where.odds, groups)
        if floor_odds is not None:
            where.odds[:] += floor_odds
        full = [i for i, group in enumerate(groups) if any(len(table.looks[row]) for row in group)]
        if full and ids:
            queries = unit(np.stack([self._sum_of(groups[i]) for i in full]))
            cosine, spread = self._book.gallery.similarity(queries, ids)
            closest = nearest_bound(cosine, spread)
            bound = np.nan_to_num(self._scene.log_odds(closest), nan=-np.inf) + where.odds[full]
            for k, i in enumerate(full):
                exact = self._exact(queries[k], cosine[k], ids, where.odds[i])
                odds[i], distance[i] = _best_first(bound[k], closest[k], exact)
        return Scores(ids, odds, distance, where.odds, where.last)

    def _sum_of(self, rows: Sequence[int]) -> Array:
        """(d,) sum of the looks of tracklets."""
        looks = [self._book.table.looks[row] for row in rows]
        return np.asarray(sum(item.whole() for item in looks if len(item)))

    def _shut(self, odds: Array, groups: Sequence[Sequence[int]]) -> None:
        """Close identities (n, m) to groups of which any tracklet was beside one of theirs in one camera."""
        members = self._book.grouped()
        for i, group in enumerate(groups):
            if len(group) > 1 and len(members.rows):
                meets = collide(self._book.table, np.array(group)[:, None], members.rows).any(axis=0)
                odds[i, members.owner[meets]] = -np.inf

    def _exact(
        self, query: Array, cosine: Array, ids: list[int], timing: Array
    ) -> Callable[[IntArray], tuple[Array, Array]]:
        prototypes = self._book.gallery.prototypes

        def exact(j: IntArray) -> tuple[Array, Array]:
            nearest = np.array([prototypes[ids[k]].nearest(query) for k in j])
            distance = 1.0 - 0.5 * (nearest + cosine[j])
            return self._scene.log_odds(distance) + timing[j], distance

        return exact

    # ------------------------------------------------------------------ identities

    def merge_candidates(self, ids: Sequence[int], need: float) -> dict[int, list[tuple[float, int]]]:
        """For each of the identities those others that might reach log-odds of ``need``: (bound, identity), best first.

        Those met in one camera are left out, and those of which too little was seen.
        """
        gallery, everyone = self._book.gallery, self._book.open_ids()
        enough = self._enough()
        position = {g: k for k, g in enumerate(everyone)}
        mine = [g for g in ids if g in position and enough[position[g]] and len(gallery.look(g))]
        if not mine:
            return {}
        cosine, spread = gallery.similarity(np.stack([gallery.prototypes[g].pooled for g in mine]), everyone)
        at = np.array([position[g] for g in mine])
        cosine[np.arange(len(mine)), at] = np.nan
        reach = self._scene.reach(need - MAX_ODDS)
        i, j = np.nonzero((cosine >= 1.0 - 2.0 * reach) & enough)  # even if the nearest prototypes were equal
        closest = nearest_bound(cosine[i, j], spread[at[i]] + spread[j])
        i, j, closest = i[closest <= reach], j[closest <= reach], closest[closest <= reach]
        bound = self._scene.log_odds(closest) + MAX_ODDS
        out: dict[int, list[tuple[float, int]]] = {}
        for k in np.lexsort((j, closest, -bound)).tolist():
            out.setdefault(mine[i[k]], []).append((float(bound[k]), everyone[j[k]]))
        for g, pairs in out.items():
            met = self._book.met(g, [h for _, h in pairs])
            out[g] = [pair for pair, known in zip(pairs, met.tolist(), strict=True) if not known]
        return out

    def partners(self, g: int, candidates: Sequence[tuple[float, int]], need: float) -> tuple[list[Partner], int]:
        """The best two of the candidates, fewer where none may be, and how many had to be compared.

        Stops early once none can reach log-odds of ``need``.
        """
        best: list[Partner] = []
        for start in range(0, len(candidates), CHUNK):
            bound = candidates[start][0]
            if (len(best) > 1 and bound <= best[1].odds) or max(bound, best[0].odds if best else bound) < need:
                return best, start
            for _, h in candidates[start : start + CHUNK]:
                partner = self._compare(g, h)
                if partner.odds > -np.inf:
                    best.append(partner)
            best = sorted(best, key=lambda p: (-p.odds, p.global_id))[:2]
        return best, len(candidates)

    def _compare(self, g: int, h: int) -> Partner:
        table = self._book.table
        a, b = np.array(self._book.members(g)), np.array(self._book.members(h))
        if collide(table, a[:, None], b).any() or self.impossible(g, h):
            return Partner(h, -np.inf, np.nan)
        first, second = (a, b) if table.first_s[a].min() <= table.first_s[b].min() else (b, a)
        row = second[[table.first_s[second].argmin()]]
        timing = whereabouts(table, Members(first, np.zeros(1, np.int64)), row, self._transitions).odds[0, 0]
        distance = looks_distance(self._book.gallery.look(g), self._book.gallery.look(h))
        if np.isnan(distance) or timing == -np.inf:
            return Partner(h, -np.inf, np.nan)
        return Partner(h, float(self._scene.log_odds(np.array(distance)) + timing), distance)

    def _enough(self) -> NDArray[np.bool_]:
        """(m,) whether each open identity was sampled often enough to be merged."""
        members = self._book.grouped()
        if not len(members.rows):
            return np.zeros(0, bool)
        samples = np.add.reduceat(self._book.table.samples[members.rows], members.starts)
        return np.asarray(samples >= MERGE_SAMPLES)


def _best_first(
    bound: Array, closest: Array, exact: Callable[[IntArray], tuple[Array, Array]]
) -> tuple[Array, Array]:
    """(m,) exact odds and distances wherever odds are positive or among the best two; −∞ and NaN elsewhere.

    Args:
        bound: (m,) upper bounds of the odds.
        closest: (m,) lower bounds of the distances, to break ties.
        exact: odds and distances at some indices.
    """
    odds, distance = np.full(len(bound), -np.inf), np.full(len(bound), np.nan)
    order = np.lexsort((closest, -bound))
    second = best = -np.inf
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        chunk = chunk[bound[chunk] > min(second, 0.0)]
        if not len(chunk):
            break
        odds[chunk], distance[chunk] = exact(chunk)
        second, best = np.sort(np.append(odds[chunk], [second, best]))[-2:]
    return odds, distance


def company_odds(looks: Mapping[int, Looks], scene: SceneCalibration, rows: Sequence[int],
                 company: Sequence[Sequence[int]]) -> Array:  # fmt: skip
    """(n, m) log-odds that n tracklets look like the rest of m companies, 0 where one of them has no looks yet.

    Args:
        looks: of every tracklet, by row.
        scene: what a distance of looks means here.
        rows: the tracklets; below 0 where there is none.
        company: the rows of each company's tracklets, which may be among ``rows``.
    """
    out, sums = np.zeros((len(rows), len(company))), {}
    for j, members in enumerate(company):
        described = [r for r in members if r >= 0 and len(looks[r])]
        for i, row in enumerate(rows):
            others = [r for r in described if r != row]
            if row < 0 or not others or not len(looks[row]):
                continue
            for r in [row, *others]:
                if r not in sums:
                    sums[r] = looks[r].whole()
            theirs = unit(np.sum([sums[r] for r in others], axis=0))
            distance = 1.0 - float(np.round(unit(sums[row]) @ theirs, 9))
            out[i, j] = float(scene.log_odds(np.array(distance)))
    return np.clip(out, -LOOKS_LIMIT, LOOKS_LIMIT)

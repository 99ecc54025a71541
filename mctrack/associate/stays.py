"""Stays: where and how long each presence was on the floor, remembered for a while after it is over.

A presence (:mod:`mctrack.associate.floor`) joins tracklets of several cameras by geometry. What that says about people
outlives it: tracklets of one stay are one person, stays far from each other at one time are two, and from the end of
one to the beginning of the next somebody has to have walked.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mctrack.associate.doors import Entrances, through_doors
from mctrack.associate.paths import FloorEvidence
from mctrack.associate.whereabouts import NEAR_BONUS
from mctrack.types import IntArray, State

Array = NDArray[np.float64]
Visit = tuple[float, float, float, float, float, float]
"""When and where a stay on the floor began and ended: time, x, y, time, x, y."""
Walk = Callable[[Visit, Visit], float]
"""What the way from a stay to a later one says, as log-odds of one person; −∞: too far."""
MAX_SPEED_M_S = 3.0
"""Nobody who is followed moves faster; a run is believed, a leap is not."""
BODY_M = 0.6
"""Places of one standing person may differ by this."""
MEMORY_S = 180.0
TOGETHER = 6.0
"""Log-odds of two tracklets of one stay being one person."""
_SHIFT = 32


class Stays:
    """The stays of the last minutes by their presence's number."""

    def __init__(self) -> None:
        self.visit: dict[int, Visit] = {}
        self._apart: set[int] = set()
        self._once: set[int] = set()

    def note(self, presence: int, born_s: float, start: Array, time_s: float, here: Array) -> None:
        """A presence is somewhere now."""
        old = self.visit.get(presence)
        first = old[:3] if old else (born_s, float(start[0]), float(start[1]))
        self.visit[presence] = (*first, time_s, float(here[0]), float(here[1]))

    def note_apart(self, presences: IntArray, far: NDArray[np.bool_]) -> None:
        """Of n presences, which (n, n) are far from each other now; those twice so are apart for good."""
        i, j = np.nonzero(np.triu(far, 1))
        low, high = np.minimum(presences[i], presences[j]), np.maximum(presences[i], presences[j])
        codes = set(((low << _SHIFT) | high).tolist())
        self._apart |= codes & self._once
        self._once = codes

    def absorb(self, gone: int, kept: int) -> None:
        """A presence turned out to be another one."""
        a, b = self.visit.pop(gone, None), self.visit.get(kept)
        if a is not None:
            self.visit[kept] = a if b is None else (*min(a[:3], b[:3]), *max(a[3:], b[3:]))

    def cut(self, presence: int, time_s: float, x: float, y: float) -> None:
        """A stay was over before it seemed to be."""
        if presence in self.visit:
            self.visit[presence] = (*self.visit[presence][:3], time_s, x, y)

    def prune(self, now_s: float) -> None:
        """Forget what is long over."""
        self.visit = {p: v for p, v in self.visit.items() if now_s - v[3] <= MEMORY_S}
        self._apart = {c for c in self._apart if c >> _SHIFT in self.visit and c & ((1 << _SHIFT) - 1) in self.visit}

    def apart(self, a: int, b: int) -> bool:
        """Whether two presences were far from each other at one time."""
        return ((min(a, b) << _SHIFT) | max(a, b)) in self._apart

    def evidence(self, stay: IntArray, walk: Walk, entrances: Entrances | None) -> FloorEvidence:
        """What the floor says about n tracklets.

        Args:
            stay: (n,) presence of each, −1 or one not remembered: nothing is known.
            walk: see :data:`Walk`.
            entrances: where people come in and go out.
        """
        n = len(stay)
        odds, forbidden = np.zeros((n, n)), np.zeros((n, n), bool)
        known = sorted(p for p in set(stay.tolist()) if p in self.visit)
        rows = {p: np.flatnonzero(stay == p) for p in known}
        for p in known:
            odds[np.ix_(rows[p], rows[p])] = TOGETHER
        outside = self._outside(known, entrances)
        for i, p in enumerate(known):
            for q in known[i + 1 :]:
                at = np.ix_(rows[p], rows[q])
                first, then = (p, q) if self.visit[p][:3] <= self.visit[q][:3] else (q, p)
                value = 0.0
                if self.visit[first][3] <= self.visit[then][0]:
                    value = walk(self.visit[first], self.visit[then])
                    if outside:
                        value += through_doors(outside[then][0], outside[first][1])
                if self.apart(p, q) or value == -np.inf:
                    forbidden[at] = forbidden[at[1].T, at[0].T] = True
                else:  # said once of two stays, however many tracklets they have
                    odds[at] = odds[at[1].T, at[0].T] = value / (len(rows[p]) * len(rows[q]))
        np.fill_diagonal(odds, 0.0)
        return FloorEvidence(odds, forbidden, (stay[:, None] == stay) & np.isin(stay, known))

    def _outside(self, known: list[int], entrances: Entrances | None) -> dict[int, tuple[float, float]]:
        """How likely each came from, and went, out of sight."""
        if entrances is None or not known:
            return {}
        ends = np.array([self.visit[p] for p in known])
        came, went = entrances(ends[:, 1:3]).tolist(), entrances(ends[:, 4:6]).tolist()
        return dict(zip(known, zip(came, went, strict=True), strict=True))

    def state(self) -> State:
        """All stays."""
        return {"visits": [[p, *v] for p, v in self.visit.items()], "apart": sorted(self._apart),
                "once": sorted(self._once)}

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.visit = {int(p): (a, b, c, d, e, f) for p, a, b, c, d, e, f in state["visits"]}
        self._apart, self._once = set(state["apart"]), set(state["once"])


def on_foot(last: tuple[float, float, float, float], now: float, here: Array) -> float:
    """What the way from where an identity was last says: −∞ if too far, a bonus for short gaps near by."""
    time_s, x, y, var = last
    gap = max(now - time_s, 0.0)
    way = max(float(np.hypot(here[0] - x, here[1] - y)) - 2.0 * var**0.5, 0.0)
    reach = BODY_M + MAX_SPEED_M_S * gap
    if way > reach:
        return -np.inf
    return float(NEAR_BONUS * np.exp(-gap) * (1.0 - way / reach))

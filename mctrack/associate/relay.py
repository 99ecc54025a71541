"""Relays: one person goes out by a door as another comes in, and geometry follows the wrong one.

In a doorway two people are one place for a second, so a presence may go on with the newcomer, and tracks of single
cameras with it. No place tells; looks do, once the newcomer has been seen for a few seconds: what a presence has looked
like since then is as unlike what it looked like before as another person is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.floor import Floor
from mctrack.associate.identities import IdentityBook
from mctrack.associate.looks import Looks, Prototypes, Vectors, looks_distance, unit
from mctrack.types import State

LATE_S = 3.0
"""What was seen for so long is compared with everything before."""
BIN_S = 0.5
"""Recent crops are kept as sums over this time; it divides ``LATE_S``."""
ENOUGH_SAMPLES = 12
"""Crops needed on both sides."""
_KEPT = round(LATE_S / BIN_S)
UNLIKE = -2.0
"""Log-odds of being the same person from which a presence has changed people: nearly everybody's stay has no relay."""


class Recent:
    """The last seconds: what crops have added to tracklets' looks, to be taken out again, and where presences were."""

    def __init__(self) -> None:
        self._bins: dict[int, dict[int, tuple[Vectors, float, int]]] = {}
        self._trail: dict[int, dict[int, tuple[float, float]]] = {}

    def add(self, row: int, time_s: float, embedding: Vectors, quality: float) -> None:
        """Take one crop's unit embedding (d,), as :meth:`mctrack.associate.looks.Looks.add` does."""
        bins, now = self._bins.setdefault(row, {}), _bin(time_s)
        vector = np.asarray(embedding, np.float32) * np.float32(quality)
        if now in bins:
            old, weight, count = bins[now]
            bins[now] = (old + vector, weight + quality, count + 1)
        else:
            bins[now] = (vector, quality, 1)
            self._bins[row] = {k: v for k, v in bins.items() if k >= now - _KEPT}

    def since(self, row: int, time_s: float) -> tuple[Looks, int]:
        """What was added to a tracklet's looks from the bin of a time on, and by how many crops."""
        late = [v for k, v in self._bins.get(row, {}).items() if k >= _bin(time_s)]
        if not late:
            return Looks(), 0
        weight = sum(w for _, w, _ in late)
        return Looks(np.sum([v for v, _, _ in late], axis=0)[None], np.array([weight])), sum(n for _, _, n in late)

    def forget(self, row: int) -> None:
        """A tracklet's recent crops are no part of its looks any more."""
        self._bins.pop(row, None)

    def note(self, presence: int, time_s: float, x: float, y: float) -> None:
        """A presence is somewhere (metres) now."""
        trail, now = self._trail.setdefault(presence, {}), _bin(time_s)
        if now not in trail:
            trail[now] = (x, y)
            self._trail[presence] = {k: v for k, v in trail.items() if k >= now - _KEPT}

    def where(self, presence: int, time_s: float) -> tuple[float, float] | None:
        """Where a presence was, None where that is not remembered."""
        return self._trail.get(presence, {}).get(_bin(time_s))

    def prune(self, now_s: float) -> None:
        """Forget tracklets without a recent crop, and presences that are over."""
        oldest = _bin(now_s) - _KEPT
        self._bins = {row: bins for row, bins in self._bins.items() if max(bins) >= oldest}
        self._trail = {p: trail for p, trail in self._trail.items() if max(trail) >= oldest}

    def state(self) -> State:
        """All bins."""
        every = [(row, k, *v) for row, bins in self._bins.items() for k, v in bins.items()]
        return {
            "keys": [[row, k, weight, count] for row, k, _, weight, count in every],
            "sums": np.stack([v[2] for v in every]) if every else np.zeros((0, 0), np.float32),
            "trail": [[p, k, *xy] for p, trail in self._trail.items() for k, xy in trail.items()],
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self._bins, self._trail = {}, {}
        for (row, k, weight, count), total in zip(state["keys"], state["sums"], strict=True):
            self._bins.setdefault(int(row), {})[int(k)] = (total.copy(), float(weight), int(count))
        for p, k, x, y in state["trail"]:
            self._trail.setdefault(int(p), {})[int(k)] = (float(x), float(y))


@dataclass(frozen=True, eq=False)
class Relay:
    """A presence that goes on with another person since a time: what its tracklets were (by row), and have been since.

    Attributes:
        presence: its number.
        since_s: from when on it is another person.
        early, late: row → looks before and since; a row without the former begins with the newcomer.
        samples: row → crops since.
        odds: log-odds of both being one person.
    """

    presence: int
    since_s: float
    early: dict[int, Looks]
    late: dict[int, Looks]
    samples: dict[int, int]
    odds: float


def relays(
    book: IdentityBook, scene: SceneCalibration, floor: Floor, who: Mapping[int, int], recent: Recent
) -> list[Relay]:
    """Presences of which the looks of the last seconds are another person's than before.

    Args:
        book: all tracklets and identities; nothing is changed.
        scene: how likely looks are one person's.
        floor: the presences.
        who: presence → identity; those without are not asked.
        recent: the crops of the last seconds.
    """
    out, members, table, now_s = [], floor.members(), book.table, floor.time_s
    since_s = (_bin(now_s) + 1) * BIN_S - LATE_S
    for p, born_s in zip(floor.ids.tolist(), floor.born_s.tolist(), strict=True):
        if p not in who or now_s - born_s < LATE_S:
            continue
        live = [row for row in (table.row(c, t) for c, t in members.get(p, [])) if row >= 0]
        late, samples = {}, {}
        for row in live:
            looks, count = recent.since(row, since_s)
            if count:
                late[row], samples[row] = looks, count
        if not any(table.last_s[row] == now_s for row in late):
            continue
        stay = [row for row in np.flatnonzero(table.stay == p).tolist() if row in table.looks]
        before = sum(int(table.samples[row]) for row in stay) - sum(samples.values())
        if min(sum(samples.values()), before) < ENOUGH_SAMPLES:
            continue
        early = {row: rest for row in stay if len(rest := _without(table.looks[row], late.get(row)))}
        odds = _odds(scene, early, late)
        if odds <= UNLIKE:
            out.append(Relay(p, since_s, early, late, samples, odds))
    return out


def _odds(scene: SceneCalibration, early: Mapping[int, Looks], late: Mapping[int, Looks]) -> float:
    """Log-odds of one person by the means of everything, or by :func:`looks_distance` where these are higher."""
    if not early or not late:
        return np.inf
    means = [unit(np.sum([looks.whole() for looks in part.values()], axis=0)) for part in (early, late)]
    odds = float(scene.log_odds(np.array(round(1.0 - float(means[0] @ means[1]), 9))))
    if odds > UNLIKE:
        return odds  # which saves most of the work
    distance = looks_distance(*(Prototypes.of(list(part.values())) for part in (early, late)))
    return max(odds, float(scene.log_odds(np.array(distance))))


def _without(looks: Looks, part: Looks | None) -> Looks:
    """Looks less what a part of the crops has added to them; empty where hardly anything is left."""
    if part is None:
        return looks
    weight = looks.weight.sum() - part.weight.sum()
    if weight < 1e-6:
        return Looks()
    return Looks((looks.total.sum(axis=0) - part.total[0])[None], np.array([weight]), looks.span)


def _bin(time_s: float) -> int:
    return int(np.floor(time_s / BIN_S + 1e-9))

"""What time and place say about a tracklet and an identity: gates, and log-odds where they are open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.associate.tracklets import TrackletTable
from mctrack.associate.transitions import Transitions
from mctrack.types import FloatArray, IntArray

Array = NDArray[np.float64]
OVERLAP_S = 1.0
"""Two tracklets of one camera may share this much time and still be one person (the old box lingers)."""
REACH_SPEED = 2.0
"""Fastest way inside one camera's picture, heights per second."""
NEAR_BONUS, TWICE_MALUS = 1.5, -2.0
MAX_ODDS = 1.5
"""No time and place say more than this in favour."""


@dataclass(frozen=True, eq=False)
class Members:
    """Tracklets of m identities: (k,) rows, grouped by identity; (m,) where each group starts, none of them empty."""

    rows: IntArray
    starts: IntArray

    @property
    def owner(self) -> IntArray:
        """(k,) number of the identity that each row belongs to."""
        return np.repeat(np.arange(len(self.starts)), np.diff(np.append(self.starts, len(self.rows))))


@dataclass(frozen=True, eq=False)
class Whereabouts:
    """For n tracklets and m identities: (n, m) log-odds, −∞ where a gate is shut, and row of the last sight or −1."""

    odds: Array
    last: IntArray


def whereabouts(table: TrackletTable, members: Members, rows: IntArray, transitions: Transitions) -> Whereabouts:
    """What time and place say about tracklets being one of the identities.

    An identity that was in the camera at the same time is out. Else the identity's last sight before the tracklet
    began counts: how long ago it was in another camera, or how far away in this one.

    Args:
        table: all tracklets.
        members: those of the identities.
        rows: (n,) tracklets in question.
        transitions: times between cameras.
    """
    members = _relevant(table, members, float(table.first_s[rows].min(initial=np.inf)))
    owner, m = members.owner, members.rows
    odds, last = np.zeros((len(rows), len(members.starts))), np.full((len(rows), len(members.starts)), -1)
    if not odds.size:
        return Whereabouts(odds, last)
    before = table.first_s[m] <= table.first_s[rows, None]
    seen = np.where(before, table.last_s[m], -np.inf)
    latest = np.maximum.reduceat(seen, members.starts, axis=1)
    i, k = np.nonzero(before & (seen == latest[:, owner]))
    last[i[::-1], owner[k[::-1]]] = m[k[::-1]]  # of several the first stays
    i, j = np.nonzero(last >= 0)
    odds[i, j] = _since(table, last[i, j], rows[i], transitions)
    i, k = np.nonzero(collide(table, rows[:, None], m))
    odds[i, owner[k]] = -np.inf
    return Whereabouts(odds, last)


def collide(table: TrackletTable, a: IntArray, b: IntArray) -> NDArray[np.bool_]:
    """Whether tracklets (rows, broadcast) were in one camera at one time, so that they cannot be one person."""
    shared = np.minimum(table.last_s[a], table.last_s[b]) - np.maximum(table.first_s[a], table.first_s[b])
    return np.asarray((table.camera[a] == table.camera[b]) & (shared > OVERLAP_S))


def _relevant(table: TrackletTable, members: Members, since_s: float) -> Members:
    """Leave out tracklets that ended before ``since_s`` and before another one of their identity that did so too."""
    last = table.last_s[members.rows]
    old = np.where(last <= since_s, last, -np.inf)
    newest = np.maximum.reduceat(old, members.starts) if len(old) else old
    owner = members.owner
    keep = (last > since_s) | (last == newest[owner])
    return Members(members.rows[keep], np.searchsorted(owner[keep], np.arange(len(members.starts))))


def _since(table: TrackletTable, last: IntArray, rows: IntArray, transitions: Transitions) -> Array:
    """(k,) log-odds for pairs of a last sight and a tracklet that began after that one did."""
    elapsed = table.first_s[rows] - table.last_s[last]
    source, target = table.camera[last], table.camera[rows]
    odds = np.zeros(len(rows))
    same = source == target
    odds[same] = walk(table.last_box[last[same]], table.first_box[rows[same]], elapsed[same])
    pairs = source * len(table.cameras) + target
    for pair in np.unique(pairs[~same]).tolist():
        here = np.flatnonzero(pairs == pair)
        a, b = table.cameras[pair // len(table.cameras)], table.cameras[pair % len(table.cameras)]
        at_once = -elapsed[here] > OVERLAP_S
        odds[here[at_once]] = transitions.together(a, b)
        odds[here[~at_once]] = transitions.log_odds(a, b, elapsed[here[~at_once]])
    return odds


def walk(last_box: FloatArray, first_box: FloatArray, elapsed_s: FloatArray) -> Array:
    """(k,) what place says inside one camera: −∞ if nobody walks that fast, a bonus for short gaps near by.

    Args:
        last_box, first_box: (k, 4) ``xyxy`` at the last sight and where the tracklet began.
        elapsed_s: (k,) seconds between, negative where they overlap.
    """
    height = np.maximum(np.maximum(last_box[:, 3] - last_box[:, 1], first_box[:, 3] - first_box[:, 1]), 1.0)
    step = (last_box[:, :2] + last_box[:, 2:]) / 2 - (first_box[:, :2] + first_box[:, 2:]) / 2
    way = np.hypot(step[:, 0], step[:, 1]) / height
    gap_s = np.maximum(elapsed_s, 0.0)
    reach = 1.0 + REACH_SPEED * gap_s
    odds = NEAR_BONUS * np.exp(-gap_s / 3.0) * (1 - way / reach)
    odds = np.where(elapsed_s < -0.2, TWICE_MALUS, odds)  # seen at once in two places, if only for a moment
    return np.asarray(np.where(way > reach, -np.inf, odds))

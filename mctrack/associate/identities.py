"""The book of identities: which tracklets belong to whom, who met whom, and how each identity looks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from mctrack.associate.gallery import Gallery
from mctrack.associate.looks import Looks
from mctrack.associate.tracklets import TrackletTable
from mctrack.associate.whereabouts import Members, collide
from mctrack.types import IntArray, State

MET_FRAMES = 3
"""Identities seen together in one camera this often are different people (fewer may be a doubled box)."""
FOLD_S = 40.0
"""Tracklets unseen for this long keep the sum of their looks only."""
FORGET_S = 60.0
"""Tracklets unseen for this long are over; it should be longer than a tracker may bring a lost track back."""
MAX_MEMBERS = 64
"""Tracklets remembered one by one per identity; older ones are forgotten (their names are in the results)."""


class IdentityBook:
    """Tracklets (rows of ``table``) and identities, numbered from 1 and never reused.

    Args:
        cameras: the cameras' names.
        prototypes: looks kept per identity, besides those of tracklets not yet over.
        max_open: identities open for new tracklets; beyond, the longest unseen are closed (they keep their tracklets
            and their number). Those seen within the last minute stay open in any case.
    """

    def __init__(self, cameras: Sequence[str], prototypes: int, max_open: int) -> None:
        self.table = TrackletTable(cameras)
        self.gallery = Gallery(lambda row: self.table.looks[row], prototypes)
        self._max_open = max_open
        self._members: dict[int, list[int]] = {}
        self._met = np.zeros((0, 0), np.uint8)
        self._waiting: dict[int, None] = {}
        self._changed: set[int] = set()
        self._grouped: Members | None = None
        self._next_id = 1

    # ------------------------------------------------------------------ questions

    def identities_of(self, camera: str, track_id: IntArray) -> IntArray:
        """(n,) identities of a camera's tracklets, −1 while unnamed."""
        rows = self.table.find(camera, track_id)
        return np.where(rows < 0, -1, self.table.global_id[rows]) if len(self.table.global_id) else rows

    def waiting(self) -> list[int]:
        """Confirmed tracklets without an identity, oldest first."""
        return [row for row in self._waiting if self.table.confirmed[row]]

    def open_ids(self) -> list[int]:
        """Identities that may take tracklets, in ascending order."""
        return list(self._members)

    def is_open(self, global_id: int) -> bool:
        """Whether the identity may take tracklets."""
        return global_id in self._members

    def members(self, global_id: int) -> list[int]:
        """An open identity's tracklets."""
        return self._members[global_id]

    def grouped(self) -> Members:
        """The tracklets of all open identities, in the order of :meth:`open_ids`."""
        if self._grouped is None:
            sizes = [len(rows) for rows in self._members.values()]
            rows = np.array([row for rows in self._members.values() for row in rows], np.int64)
            self._grouped = Members(rows, np.cumsum([0, *sizes[:-1]]) if sizes else np.zeros(0, np.int64))
        return self._grouped

    def met(self, a: int, others: Sequence[int]) -> NDArray[np.bool_]:
        """(n,) whether an identity was seen together with others in one camera."""
        slot = self.gallery.slot
        return np.asarray(self._met[slot[a], [slot[b] for b in others]] >= MET_FRAMES)

    def met_each_other(self, ids: Sequence[int]) -> NDArray[np.bool_]:
        """(n, n) whether identities were seen together in one camera."""
        slots = [self.gallery.slot[g] for g in ids]
        return np.asarray(self._met[np.ix_(slots, slots)] >= MET_FRAMES)

    # ------------------------------------------------------------------ changes

    def see(self, camera: str, track_id: IntArray, time_s: float, xyxy: NDArray[np.float64]) -> IntArray:
        """(n,) rows of tracks seen at this moment; new ones wait for their name."""
        rows, new = self.table.see(camera, track_id, time_s, xyxy)
        self._waiting.update(dict.fromkeys(new.tolist()))
        return rows

    def create(self) -> int:
        """A new identity without tracklets; give it one at once."""
        g, self._next_id = self._next_id, self._next_id + 1
        self._members[g] = []
        slot = self.gallery.open(g)
        if slot >= len(self._met):
            grown = np.zeros((max(64, 2 * len(self._met)),) * 2, np.uint8)
            grown[: len(self._met), : len(self._met)] = self._met
            self._met = grown
        return g

    def assign(self, row: int, global_id: int) -> None:
        """Move a tracklet to an identity (−1: to none)."""
        old = int(self.table.global_id[row])
        if old in self._members:
            self._members[old].remove(row)
            self.gallery.drop(old, row)
        self.table.global_id[row] = global_id
        self._grouped = None
        if global_id < 0:
            self._waiting[row] = None
        else:
            self._waiting.pop(row, None)
            self._members[global_id].append(row)
            self.touch(row)

    def touch(self, row: int) -> None:
        """Note that a tracklet's looks changed."""
        g = int(self.table.global_id[row])
        if g in self._members:
            if len(self.table.looks[row]):
                self.gallery.touch(g, row)
            self._changed.add(g)

    def saw_together(self, ids: Sequence[int]) -> None:
        """Note identities seen in one picture."""
        slots = [self.gallery.slot[g] for g in set(ids)]
        if len(slots) > 1:
            at = np.ix_(slots, slots)
            self._met[at] = np.minimum(self._met[at] + (1 - np.eye(len(slots), dtype=np.uint8)), MET_FRAMES)

    def saw_apart(self, ids: Sequence[int], apart: NDArray[np.bool_]) -> None:
        """Note which of n identities (n, n) were seen in different places at one time."""
        slots = [self.gallery.slot[g] for g in ids]
        at = np.ix_(slots, slots)
        self._met[at] = np.minimum(self._met[at] + apart.astype(np.uint8), MET_FRAMES)

    def close(self, global_id: int) -> None:
        """Close an identity; its tracklets are forgotten, its number stays."""
        self._close(global_id)
        self._grouped = None

    def merge(self, keep: int, gone: int) -> None:
        """Give everything of one identity to another."""
        k, g = self.gallery.slot[keep], self.gallery.slot[gone]
        both = np.minimum(self._met[k] + self._met[g], MET_FRAMES)
        both[[k, g]] = 0
        self._met[k] = self._met[:, k] = both
        self._met[g] = self._met[:, g] = 0
        rows = self._members[keep] + self._members.pop(gone)
        self.table.global_id[rows] = keep
        t = self.table
        self._members[keep] = sorted(rows, key=lambda r: (t.first_s[r], t.cameras[t.camera[r]], t.track_id[r]))
        self.gallery.merge(keep, gone)
        self._grouped = None
        self._changed.discard(gone)
        self._changed.add(keep)

    def tidy(self, ids: Collection[int]) -> None:
        """After tracklets were moved: identities without any are closed, and who met whom is seen anew for the rest."""
        for g in sorted(ids):
            if not self._members[g]:
                self._close(g)
        self._grouped = None
        everybody, opened = self.grouped(), self.open_ids()
        for g in sorted(set(ids) & set(opened)):
            slot = self.gallery.slot[g]
            self._met[slot] = self._met[:, slot] = 0
            meets = collide(self.table, np.array(self._members[g])[:, None], everybody.rows).any(axis=0)
            others = [opened[k] for k in np.unique(everybody.owner[meets]).tolist() if opened[k] != g]
            slots = [self.gallery.slot[h] for h in others]
            self._met[slot, slots] = self._met[slots, slot] = MET_FRAMES

    def take_changed(self) -> list[int]:
        """Identities whose looks changed since the last call, oldest first."""
        changed, self._changed = sorted(self._changed), set()
        return changed

    def put_back(self, ids: Sequence[int]) -> None:
        """Leave changed identities for the next call."""
        self._changed.update(g for g in ids if g in self._members)

    # ------------------------------------------------------------------ forgetting

    def prune(self, now_s: float) -> None:
        """Forget what can no longer matter, so that memory stays bounded however long the run."""
        table = self.table
        for row in [r for r in self._waiting if not table.confirmed[r] and now_s - table.last_s[r] > FORGET_S]:
            del self._waiting[row]
            table.remove(row)
        unseen_s = now_s - table.last_s
        for row in np.flatnonzero((unseen_s > FOLD_S) & (unseen_s <= FORGET_S)).tolist():
            table.looks[row].fold()
        for g, rows in self._members.items():
            over = [r for r in rows if now_s - table.last_s[r] > FORGET_S]
            self._finish(g, [r for r in over if len(table.looks[r])])
            for row in [r for r in rows[:-MAX_MEMBERS] if r in over]:
                rows.remove(row)
                table.remove(row)
        last = {g: float(table.last_s[rows].max()) for g, rows in self._members.items()}
        excess = len(last) - self._max_open
        for g in sorted(last, key=lambda g: (last[g], g))[: max(excess, 0)]:
            if now_s - last[g] > FORGET_S:
                self._close(g)
        self._grouped = None

    def _finish(self, global_id: int, rows: list[int]) -> None:
        if rows:
            self.gallery.finish(global_id, rows)
            for row in rows:
                self.table.looks[row] = Looks()

    def _close(self, global_id: int) -> None:
        slot = self.gallery.slot[global_id]
        self._met[slot] = self._met[:, slot] = 0
        for row in self._members.pop(global_id):
            self.table.remove(row)
        self.gallery.close(global_id)
        self._changed.discard(global_id)

    # ------------------------------------------------------------------ state

    def state(self) -> State:
        """All tracklets and identities as arrays."""
        n = self.gallery.n_slots
        a, b = np.nonzero(np.triu(self._met[:n, :n]))
        return {
            "table": self.table.state(), "gallery": self.gallery.state(),
            "ids": np.array(list(self._members), np.int64),
            "n_members": np.array([len(rows) for rows in self._members.values()], np.int64),
            "members": self.grouped().rows.copy(), "waiting": np.array(list(self._waiting), np.int64),
            "met": np.stack([a, b, self._met[a, b]], axis=1).astype(np.int32), "changed": sorted(self._changed),
            "next_id": self._next_id,
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.table.restore(state["table"])
        self.gallery.restore(state["gallery"])
        rows = np.split(state["members"], np.cumsum(state["n_members"])[:-1]) if len(state["ids"]) else []
        self._members = {g: r.tolist() for g, r in zip(state["ids"].tolist(), rows, strict=True)}
        size = max(64, 1 << self.gallery.n_slots.bit_length())
        a, b, count = state["met"].T
        self._met = np.zeros((size, size), np.uint8)
        self._met[a, b] = self._met[b, a] = count
        self._waiting = dict.fromkeys(state["waiting"].tolist())
        self._changed, self._next_id, self._grouped = set(state["changed"]), state["next_id"], None

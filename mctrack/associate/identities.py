"""The book of identities: which tracklets belong to whom, who met whom, and how each identity looks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from mctrack.associate.gallery import Looks, Prototypes, TrackletRecord
from mctrack.types import State

MET_FRAMES = 3
"""Identities seen together in one camera this often are different people (fewer may be a doubled box)."""
FORGET_S = 60.0
MAX_MEMBERS = 64
"""Tracklets remembered one by one per identity; older ones are forgotten (their names are in the results)."""


class IdentityBook:
    """Tracklets and identities. Identities are numbered from 1 and never reused; a merged one points to its heir.

    Args:
        prototypes: looks kept per identity. max_open: identities open for new tracklets; beyond, the longest unseen
            are closed (they keep their tracklets and their number).
    """

    def __init__(self, prototypes: int, max_open: int) -> None:
        self.tracklets: dict[tuple[str, int], TrackletRecord] = {}
        self._prototypes, self._max_open = prototypes, max_open
        self._members: dict[int, list[TrackletRecord]] = {}
        self._heir: dict[int, int] = {}
        self._met: dict[int, dict[int, int]] = {}
        self._looks: dict[int, Prototypes] = {}
        self._waiting: dict[tuple[str, int], TrackletRecord] = {}
        self._changed: set[int] = set()
        self._next_id = 1

    # ------------------------------------------------------------------ questions

    def identity_of(self, camera: str, track_id: int) -> int:
        """The tracklet's identity, −1 while unnamed."""
        record = self.tracklets.get((camera, track_id))
        return -1 if record is None else record.global_id

    def waiting(self) -> list[TrackletRecord]:
        """Tracklets without an identity, oldest first."""
        return list(self._waiting.values())

    def open_ids(self) -> list[int]:
        """Identities that may take tracklets."""
        return list(self._members)

    def is_open(self, global_id: int) -> bool:
        """Whether the identity may take tracklets."""
        return global_id in self._members

    def members(self, global_id: int) -> list[TrackletRecord]:
        """An open identity's tracklets."""
        return self._members[global_id]

    def met(self, a: int, b: int) -> bool:
        """Whether two identities were seen together in one camera."""
        return self._met.get(a, {}).get(b, 0) >= MET_FRAMES

    def look(self, global_id: int) -> Prototypes:
        """How an open identity looks."""
        if global_id not in self._looks:
            self._looks[global_id] = Prototypes.of([r.looks for r in self._members[global_id]], self._prototypes)
        return self._looks[global_id]

    def recent_named(self, now_s: float) -> list[TrackletRecord]:
        """Named tracklets with looks that were seen within the last second."""
        return [
            r for r in self.tracklets.values() if r.global_id >= 0 and len(r.looks) and now_s - r.last_s <= 1.0
        ]

    def take_changed(self) -> list[int]:
        """Identities whose looks changed since the last call, oldest first."""
        changed, self._changed = sorted(self._changed), set()
        return changed

    # ------------------------------------------------------------------ changes

    def add(self, record: TrackletRecord) -> None:
        """Take up a new tracklet; it waits for its name."""
        key = (record.camera, record.track_id)
        self.tracklets[key] = self._waiting[key] = record

    def create(self) -> int:
        """A new identity without tracklets."""
        self._next_id += 1
        self._members[self._next_id - 1] = []
        return self._next_id - 1

    def assign(self, record: TrackletRecord, global_id: int) -> None:
        """Move a tracklet to an identity (−1: to none)."""
        old = record.global_id
        if old in self._members:
            self._members[old].remove(record)
            self._looks.pop(old, None)
        record.global_id = global_id
        key = (record.camera, record.track_id)
        if global_id < 0:
            self._waiting[key] = record
        else:
            self._waiting.pop(key, None)
            self._members[global_id].append(record)
            self.touch(record)

    def touch(self, record: TrackletRecord) -> None:
        """Note that a tracklet's looks changed."""
        if record.global_id in self._members:
            self._looks.pop(record.global_id, None)
            self._changed.add(record.global_id)

    def saw_together(self, ids: Sequence[int]) -> None:
        """Note identities seen in one picture."""
        for a, b in combinations(sorted(set(ids)), 2):
            row = self._met.setdefault(a, {})
            row[b] = row.get(b, 0) + 1
            back = self._met.setdefault(b, {})
            back[a] = back.get(a, 0) + 1

    def merge(self, keep: int, gone: int) -> None:
        """Give everything of one identity to another."""
        for record in self._members.pop(gone):
            record.global_id = keep
            self._members[keep].append(record)
        self._members[keep].sort(key=lambda r: (r.first_s, r.camera, r.track_id))
        self._heir[gone] = keep
        for other, count in self._met.pop(gone, {}).items():
            row = self._met.setdefault(other, {})
            row[keep] = row.get(keep, 0) + row.pop(gone, 0)
            self._met.setdefault(keep, {})[other] = self._met.get(keep, {}).get(other, 0) + count
        for g in (keep, gone):
            self._looks.pop(g, None)
        self._changed.discard(gone)
        self._changed.add(keep)

    def prune(self, now_s: float) -> None:
        """Forget what can no longer matter, so that memory stays bounded however long the run."""
        for key, record in list(self._waiting.items()):
            if not record.confirmed and now_s - record.last_s > FORGET_S:
                del self._waiting[key], self.tracklets[key]
        for members in self._members.values():
            for record in members[:-MAX_MEMBERS]:
                if now_s - record.last_s > FORGET_S:
                    members.remove(record)
                    self.tracklets.pop((record.camera, record.track_id), None)
        excess = len(self._members) - self._max_open
        if excess > 0:
            last = {g: max((r.last_s for r in m), default=-np.inf) for g, m in self._members.items()}
            for g in sorted(last, key=lambda g: (last[g], g))[:excess]:
                self._close(g)

    def _close(self, global_id: int) -> None:
        for record in self._members.pop(global_id):
            record.looks = Looks()
            self.tracklets.pop((record.camera, record.track_id), None)
        self._looks.pop(global_id, None)
        self._changed.discard(global_id)
        for other in self._met.pop(global_id, {}):
            self._met.get(other, {}).pop(global_id, None)

    # ------------------------------------------------------------------ state

    def state(self) -> State:
        """All tracklets and identities as plain values and arrays."""
        rows = [
            [r.camera, r.track_id, r.first_s, r.last_s, r.first_box, r.last_box, r.global_id, r.confirmed,
             r.sampled_s, r.samples, r.looks.total, r.looks.weight, r.looks.span]
            for r in self.tracklets.values()
        ]
        members = [[g, [[r.camera, r.track_id] for r in m]] for g, m in self._members.items()]
        met = [[a, [[b, n] for b, n in row.items()]] for a, row in self._met.items()]
        return {
            "tracklets": rows, "members": members, "met": met,
            "waiting": [[c, t] for c, t in self._waiting], "heir": [[a, b] for a, b in self._heir.items()],
            "changed": sorted(self._changed), "next_id": self._next_id,
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.tracklets = {(row[0], row[1]): _record(row) for row in state["tracklets"]}
        self._waiting = {(c, t): self.tracklets[c, t] for c, t in state["waiting"]}
        self._members = {g: [self.tracklets[c, t] for c, t in keys] for g, keys in state["members"]}
        self._met = {a: {b: n for b, n in row} for a, row in state["met"]}  # noqa: C416
        self._heir = {a: b for a, b in state["heir"]}  # noqa: C416
        self._changed, self._next_id = set(state["changed"]), state["next_id"]
        self._looks = {}


def _record(row: list[Any]) -> TrackletRecord:
    """A tracklet from its saved row."""
    values = [*row[:10], Looks(*row[10:])]
    return TrackletRecord(*values)

"""The book of identities: which tracklets belong to whom, who met whom, and how each identity looks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mctrack.associate.gallery import Embedding, TrackletRecord, keep_diverse
from mctrack.types import State

Array = NDArray[np.float64]
MET_FRAMES = 3
"""Identities seen together in one camera this often are different people (fewer may be a doubled box)."""


class IdentityBook:
    """Tracklets and identities. Identities are numbered from 1 and never reused; a merged one points to its heir.

    Args:
        exemplars: looks kept per identity. max_open: identities open for new tracklets; beyond, the longest unseen
            are closed (they keep their tracklets and their number).
    """

    def __init__(self, exemplars: int, max_open: int) -> None:
        self.tracklets: dict[tuple[str, int], TrackletRecord] = {}
        self._exemplars, self._max_open = exemplars, max_open
        self._members: dict[int, list[TrackletRecord]] = {}
        self._heir: dict[int, int] = {}
        self._met: dict[int, dict[int, int]] = {}
        self._looks: dict[int, tuple[Embedding, Array]] = {}
        self._changed: set[int] = set()
        self._next_id = 1

    # ------------------------------------------------------------------ questions

    def identity_of(self, camera: str, track_id: int) -> int:
        """The tracklet's identity, −1 while unnamed."""
        record = self.tracklets.get((camera, track_id))
        return -1 if record is None else record.global_id

    def waiting(self) -> list[TrackletRecord]:
        """Tracklets without an identity, oldest first."""
        return [r for r in self.tracklets.values() if r.global_id < 0]

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

    def look(self, global_id: int) -> tuple[Embedding, Array]:
        """(k, d) exemplars of an identity and their (k,) quality."""
        if global_id not in self._looks:
            parts = [r for r in self._members[global_id] if len(r.embedding)]
            if not parts:
                return np.zeros((0, 0), np.float32), np.zeros(0)
            self._looks[global_id] = keep_diverse(
                np.concatenate([r.embedding for r in parts]), np.concatenate([r.quality for r in parts]),
                self._exemplars,
            )
        return self._looks[global_id]

    def recent_named(self) -> list[TrackletRecord]:
        """Named tracklets with looks that were seen within the last second."""
        now = max((r.last_s for r in self.tracklets.values()), default=0.0)
        return [r for r in self.tracklets.values() if r.global_id >= 0 and len(r.embedding) and now - r.last_s <= 1.0]

    def take_changed(self) -> list[int]:
        """Identities whose looks changed since the last call, oldest first."""
        changed, self._changed = sorted(self._changed), set()
        return changed

    # ------------------------------------------------------------------ changes

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
        if global_id >= 0:
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

    def close_oldest(self) -> None:
        """Close identities beyond the bound and forget their looks and tracklets."""
        excess = len(self._members) - self._max_open
        if excess <= 0:
            return
        last = {g: max((r.last_s for r in m), default=-np.inf) for g, m in self._members.items()}
        for g in sorted(last, key=lambda g: (last[g], g))[:excess]:
            for record in self._members.pop(g):
                record.embedding, record.quality = record.embedding[:0], record.quality[:0]
            self._looks.pop(g, None)
            self._changed.discard(g)
            for other in self._met.pop(g, {}):
                self._met.get(other, {}).pop(g, None)

    # ------------------------------------------------------------------ state

    def state(self) -> State:
        """All tracklets and identities as plain values and arrays."""
        rows = [
            [r.camera, r.track_id, r.first_s, r.last_s, r.first_box, r.last_box, r.global_id, r.confirmed,
             r.sampled_s, r.samples, r.embedding, r.quality]
            for r in self.tracklets.values()
        ]
        members = [[g, [[r.camera, r.track_id] for r in m]] for g, m in self._members.items()]
        met = [[a, [[b, n] for b, n in row.items()]] for a, row in self._met.items()]
        return {
            "tracklets": rows, "members": members, "met": met, "heir": [[a, b] for a, b in self._heir.items()],
            "changed": sorted(self._changed), "next_id": self._next_id,
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.tracklets = {(row[0], row[1]): TrackletRecord(*row) for row in state["tracklets"]}
        self._members = {g: [self.tracklets[c, t] for c, t in keys] for g, keys in state["members"]}
        self._met = {a: {b: n for b, n in row} for a, row in state["met"]}
        self._heir = {a: b for a, b in state["heir"]}
        self._changed, self._next_id = set(state["changed"]), state["next_id"]
        self._looks = {}

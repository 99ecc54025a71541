"""The looks of all identities, laid out to be compared at once."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mctrack.associate.looks import FINISHED, Looks, Prototypes
from mctrack.types import State

Array = NDArray[np.float64]
Vectors = NDArray[np.float32]


class Gallery:
    """The looks of all identities, each with a slot; pooled means lie in one array, to be compared at once.

    Args:
        looks_of: a tracklet's looks, by its row.
        capacity: finished looks kept per identity.
    """

    def __init__(self, looks_of: Callable[[int], Looks], capacity: int) -> None:
        self._looks_of, self.capacity = looks_of, capacity
        self.prototypes: dict[int, Prototypes] = {}
        self.slot: dict[int, int] = {}
        self._free: list[int] = []
        self._stale: dict[int, set[int]] = {}
        self._pooled = np.zeros((0, 0))
        self._spread = np.zeros(0)

    def open(self, global_id: int) -> int:
        """Make room for an identity; returns its slot."""
        slot = heapq.heappop(self._free) if self._free else len(self.slot)
        self.slot[global_id], self.prototypes[global_id] = slot, Prototypes()
        return slot

    def close(self, global_id: int) -> Prototypes:
        """Give up an identity; its slot will be used again."""
        slot = self.slot.pop(global_id)
        heapq.heappush(self._free, slot)
        self._pooled[slot : slot + 1] = 0.0
        self._spread[slot : slot + 1] = 0.0
        self._stale.pop(global_id, None)
        return self.prototypes.pop(global_id)

    @property
    def n_slots(self) -> int:
        """Slots ever used."""
        return len(self.slot) + len(self._free)

    def touch(self, global_id: int, row: int = FINISHED) -> None:
        """Note that the looks of one of the identity's tracklets changed."""
        rows = self._stale.setdefault(global_id, set())
        if row != FINISHED:
            rows.add(row)

    def drop(self, global_id: int, row: int) -> None:
        """Take a tracklet's looks away from an identity."""
        self._stale.setdefault(global_id, set()).discard(row)
        self.prototypes[global_id].drop(row)

    def finish(self, global_id: int, rows: Sequence[int]) -> None:
        """Note that tracklets of an identity are long over: their looks live on without them."""
        self.refresh([global_id])
        self.prototypes[global_id].finish(rows, self.capacity)
        self.touch(global_id)

    def merge(self, keep: int, gone: int) -> None:
        """Give one identity's looks to another."""
        self.refresh([keep, gone])
        self.prototypes[keep].absorb(self.close(gone), self.capacity)
        self.touch(keep)

    def look(self, global_id: int) -> Prototypes:
        """How an identity looks now."""
        self.refresh([global_id])
        return self.prototypes[global_id]

    def refresh(self, ids: Sequence[int] | None = None) -> None:
        """Bring identities up to date, by default all."""
        for g in sorted(self._stale) if ids is None else ids:
            rows = self._stale.pop(g, None)
            if rows is None:
                continue
            prototypes = self.prototypes[g]
            for row in sorted(rows):
                prototypes.put(row, self._looks_of(row))
            prototypes.settle()
            if len(prototypes):
                self._room(prototypes.pooled)
                self._pooled[self.slot[g]], self._spread[self.slot[g]] = prototypes.pooled, prototypes.spread_rad

    def similarity(self, queries: Array, ids: Sequence[int]) -> tuple[Array, Array]:
        """(n, m) cosines of unit vectors (n, d) with the identities' pooled means, and the (m,) spreads of those.

        NaN where an identity has no looks.
        """
        self.refresh()
        slots = [self.slot[g] for g in ids]
        if not self._pooled.size:
            return np.full((len(queries), len(ids)), np.nan), np.zeros(len(ids))
        # rounded like looks.exact()
        cosine = np.take(queries @ self._pooled[: self.n_slots].T, slots, axis=1).astype(np.float64).round(9)
        cosine[:, [not len(self.prototypes[g]) for g in ids]] = np.nan
        return cosine, self._spread[slots]

    def _room(self, like: Array) -> None:
        size = len(self._pooled)
        if size < self.n_slots or not self._pooled.size:
            grown = np.zeros((max(2 * size, self.n_slots, 64), len(like)))
            if self._pooled.size:
                grown[:size] = self._pooled
            self._spread = np.concatenate([self._spread, np.zeros(len(grown) - len(self._spread))])
            self._pooled = grown

    def state(self) -> State:
        """All looks in a few arrays."""
        self.refresh()
        parts = list(self.prototypes.values())
        full = [p for p in parts if len(p)]
        return {
            "ids": np.array(list(self.prototypes), np.int64), "count": np.array([len(p) for p in parts], np.int64),
            "slot": np.array([self.slot[g] for g in self.prototypes], np.int64),
            "free": np.array(sorted(self._free), np.int64),
            "vectors": np.concatenate([p.vectors for p in full]) if full else np.zeros((0, 0), np.float32),
            "weight": np.concatenate([p.weight for p in parts] or [np.zeros(0)]),
            "length": np.concatenate([p.length for p in parts] or [np.zeros(0)]),
            "source": np.array([row for p in parts for row in p.source], np.int64),
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.slot = dict(zip(state["ids"].tolist(), state["slot"].tolist(), strict=True))
        self._free = state["free"].tolist()
        self._pooled, self._spread = np.zeros((0, 0)), np.zeros(0)
        self.prototypes, self._stale, end = {}, {}, 0
        for g, count in zip(self.slot, state["count"].tolist(), strict=True):
            part = slice(end, end := end + count)
            self.prototypes[g] = Prototypes(
                state["vectors"][part].copy(), state["weight"][part].copy(), state["length"][part].copy(),
                state["source"][part].tolist(),
            )
            self._stale[g] = set()

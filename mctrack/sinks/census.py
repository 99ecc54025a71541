"""How many people there are so far, by the decisions about them."""

from __future__ import annotations

from collections import Counter

from mctrack.types import InstantResult


class Census:
    """Counts identities that hold a tracklet: merged ones once, those that lost all their tracklets not at all."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._gone: set[int] = set()
        self._tracklets: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._known - self._gone)

    def learn(self, result: InstantResult) -> None:
        """Take one instant."""
        for link in result.links:
            g, old = link.global_id, link.previous_id
            if link.kind == "merge":
                if old != g:
                    self._tracklets[g] += self._tracklets.pop(old, 0)
                    self._gone.add(old)
                continue
            if g >= 0:
                self._known.add(g)
                self._gone.discard(g)
                self._tracklets[g] += 1
            if old >= 0 and old != g:
                self._tracklets[old] -= 1
                if self._tracklets[old] <= 0:
                    del self._tracklets[old]
                    self._gone.add(old)
        for global_ids in result.global_ids:
            seen = {g for g in global_ids.tolist() if g >= 0}
            self._known |= seen
            self._gone -= seen

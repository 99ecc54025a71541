"""A finished run under a refined identity map: everything else is read from the run's own database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mctrack.sinks.reader import StoreReader
from mctrack.sinks.schema import Boxes
from mctrack.types import IntArray, Link


@dataclass(frozen=True)
class Stretch:
    """A part of a tracklet and its refined identity: frames from ``first`` to ``last``, both included, 0-based."""

    first: int
    last: int
    global_id: int


class RefinedReader(StoreReader):
    """A run database whose tracklets have other names, by stretch; gaps of an identity are bridged.

    Args:
        path: the database.
        names: (camera, track_id) → its stretches in order.
        bridge_s: sightings of one identity in one camera, by different tracklets, are joined by a straight line when
            no further apart than this; 0: never.
        links: what replaces the online pass's evidence.
    """

    def __init__(self, path: Path, names: Mapping[tuple[str, int], Sequence[Stretch]], bridge_s: float = 2.0,
                 links: Sequence[Link] = ()) -> None:  # fmt: skip
        super().__init__(path)
        self._names = names
        self._bridge_s = bridge_s
        self._new_links = list(links)

    def boxes(self, camera: str, confirmed_only: bool = True, with_global: bool = True) -> Boxes:
        """See :meth:`StoreReader.boxes`; bridging boxes have ``filled`` set and a ``track_id`` of the two they join."""
        found = super().boxes(camera, confirmed_only, False)
        if not with_global:
            return found
        name = np.full(len(found), -1, np.int64)
        for track_id in np.unique(found.track_id).tolist():
            rows = found.track_id == track_id
            for part in self._names.get((camera, track_id), ()):
                name[rows & (found.frame_index >= part.first) & (found.frame_index <= part.last)] = part.global_id
        return bridge(replace(found, global_id=name), *self.frame_times(camera), self._bridge_s)

    def identity_map(self) -> dict[tuple[str, int], int]:
        """(camera, track_id) → the identity of its longest stretch."""
        longest = {}
        for key, parts in self._names.items():
            named = [p for p in parts if p.global_id >= 0]
            if named:
                longest[key] = max(named, key=lambda p: p.last - p.first).global_id
        return longest

    def identities(self) -> dict[int, list[int]]:
        """Every refined identity; none is merged into another."""
        found = {p.global_id for parts in self._names.values() for p in parts if p.global_id >= 0}
        return {g: [] for g in sorted(found)}

    def links(self) -> list[Link]:
        """The refined decisions."""
        return self._new_links


def bridge(boxes: Boxes, frame_index: IntArray, time_s: np.ndarray, bridge_s: float) -> Boxes:
    """Add boxes between two tracklets of one identity, where nothing of it is seen and the gap is short.

    Args:
        boxes: one camera's rows. frame_index, time_s: (f,) its frames. bridge_s: longest gap.
    """
    if bridge_s <= 0 or not len(boxes):
        return boxes
    order = np.lexsort((boxes.frame_index, boxes.global_id))
    parts = [boxes]
    for a, b in zip(order[:-1].tolist(), order[1:].tolist(), strict=True):
        if boxes.global_id[a] != boxes.global_id[b] or boxes.global_id[a] < 0 or boxes.track_id[a] == boxes.track_id[b]:
            continue
        i, j = np.searchsorted(frame_index, [boxes.frame_index[a], boxes.frame_index[b]])
        if j - i < 2 or time_s[j] - time_s[i] > bridge_s:
            continue
        at = np.arange(i + 1, j)
        # a tracklet that was cut goes on as somebody else: its number is taken in these frames
        free = [t for t in (boxes.track_id[a], boxes.track_id[b])
                if not np.isin(boxes.frame_index[boxes.track_id == t], frame_index[at]).any()]
        if not free:
            continue
        share = ((time_s[at] - time_s[i]) / (time_s[j] - time_s[i]))[:, None]
        n = len(at)
        parts.append(Boxes(
            frame_index[at], np.full(n, free[0]), np.full(n, boxes.global_id[a]),
            boxes.xyxy[a] + share * (boxes.xyxy[b] - boxes.xyxy[a]),
            boxes.score[a] + share[:, 0] * (boxes.score[b] - boxes.score[a]),
            np.full(n, boxes.state[a]), np.ones(n, bool),
            boxes.ground[a] + share * (boxes.ground[b] - boxes.ground[a]),
        ))  # fmt: skip
    names = ("frame_index", "track_id", "global_id", "xyxy", "score", "state", "filled")
    ground = None if boxes.ground_m is None else np.concatenate([p.ground for p in parts])
    joined = Boxes(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names}, ground_m=ground)
    return joined.take(np.lexsort((joined.track_id, joined.frame_index)))

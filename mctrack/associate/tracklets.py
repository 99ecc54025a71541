"""The tracklets that the associator remembers, as columns: one row each."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mctrack.associate.looks import Looks
from mctrack.types import FloatArray, IntArray, State

_COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    "camera": ("i8", ()), "track_id": ("i8", ()), "serial": ("i8", ()), "global_id": ("i8", ()),
    "first_s": ("f8", ()), "last_s": ("f8", ()), "sampled_s": ("f8", ()), "samples": ("i8", ()),
    "first_box": ("f8", (4,)), "last_box": ("f8", (4,)), "confirmed": ("?", ()), "stay": ("i8", ()),
}  # fmt: skip


class TrackletTable:
    """Columns of n rows. Rows of forgotten tracklets are used again; a row number means one tracklet while it lives.

    Attributes:
        camera: (n,) index into ``cameras``. track_id: (n,) as the tracker calls it. serial: (n,) order of arrival.
        global_id: (n,) identity, −1 while it waits.
        first_s, last_s: (n,) first and last time it was seen. first_box, last_box: (n, 4) ``xyxy`` there.
        confirmed: (n,) whether the tracker ever confirmed it.
        sampled_s, samples: (n,) time of the last crop taken and number of crops.
        stay: (n,) the presence on the floor that it was last at home in, −1: none.
        looks: by row.
    """

    camera: IntArray
    track_id: IntArray
    serial: IntArray
    global_id: IntArray
    first_s: FloatArray
    last_s: FloatArray
    first_box: FloatArray
    last_box: FloatArray
    confirmed: NDArray[np.bool_]
    sampled_s: FloatArray
    samples: IntArray
    stay: IntArray

    def __init__(self, cameras: Sequence[str]) -> None:
        self.cameras = list(cameras)
        self._row: list[dict[int, int]] = [{} for _ in self.cameras]
        self._free: list[int] = []
        self._next_serial = 0
        self.looks: dict[int, Looks] = {}
        for name, (dtype, shape) in _COLUMNS.items():
            setattr(self, name, np.zeros((0, *shape), dtype))

    def __len__(self) -> int:
        return len(self.looks)

    def camera_index(self, camera: str) -> int:
        """Number of a camera; names not heard of before are taken up."""
        if camera not in self.cameras:
            self.cameras.append(camera)
            self._row.append({})
        return self.cameras.index(camera)

    def find(self, camera: str, track_id: IntArray) -> IntArray:
        """(n,) rows of a camera's tracklets, −1 where unknown."""
        known = self._row[self.camera_index(camera)]
        return np.array([known.get(t, -1) for t in track_id.tolist()], np.int64).reshape(-1)

    def row(self, camera: int, track_id: int) -> int:
        """Row of one tracklet by its camera's number, −1 where unknown."""
        return self._row[camera].get(track_id, -1)

    def see(self, camera: str, track_id: IntArray, time_s: float, xyxy: FloatArray) -> tuple[IntArray, IntArray]:
        """(n,) rows of tracks seen at this moment, made where they are new, and which of them are."""
        index, rows = self.camera_index(camera), self.find(camera, track_id)
        new = np.flatnonzero(rows < 0)
        for i in new.tolist():
            rows[i] = self._add(index, int(track_id[i]), time_s, xyxy[i])
        self.last_s[rows], self.last_box[rows] = time_s, xyxy
        return rows, rows[new]

    def remove(self, row: int) -> None:
        """Forget a tracklet."""
        del self._row[self.camera[row]][int(self.track_id[row])], self.looks[row]
        self.last_s[row] = -np.inf
        heapq.heappush(self._free, row)

    def seen_since(self, time_s: float) -> IntArray:
        """Rows of the tracklets seen at this time or later, in order of arrival."""
        rows = np.flatnonzero(self.last_s >= time_s)
        return rows[np.argsort(self.serial[rows])]

    def _add(self, camera: int, track_id: int, time_s: float, box: FloatArray) -> int:
        if not self._free:
            self._grow()
        row = heapq.heappop(self._free)
        self.camera[row], self.track_id[row], self.serial[row] = camera, track_id, self._next_serial
        self.global_id[row], self.confirmed[row], self.stay[row] = -1, False, -1
        self.first_s[row], self.first_box[row] = time_s, box
        self.sampled_s[row], self.samples[row] = -np.inf, 0
        self._row[camera][track_id] = row
        self.looks[row] = Looks()
        self._next_serial += 1
        return row

    def _grow(self) -> None:
        old = len(self.camera)
        new = max(256, 2 * old)
        for name, (dtype, shape) in _COLUMNS.items():
            column = np.zeros((new, *shape), dtype)
            column[:old] = getattr(self, name)
            setattr(self, name, column)
        self.last_s[old:] = -np.inf
        self._free = list(range(old, new))

    # ------------------------------------------------------------------ state

    def state(self) -> State:
        """All columns and looks in a few arrays."""
        rows = np.array(sorted(self.looks), np.int64)
        full = [self.looks[row] for row in rows.tolist() if len(self.looks[row])]
        return {
            "cameras": list(self.cameras), "size": len(self.camera), "rows": rows, "next_serial": self._next_serial,
            "columns": {name: getattr(self, name)[rows] for name in _COLUMNS},
            "blocks": np.array([len(self.looks[row]) for row in rows.tolist()], np.int64),
            "span": np.array([self.looks[row].span for row in rows.tolist()]),
            "total": np.concatenate([x.total for x in full]) if full else np.zeros((0, 0), np.float32),
            "weight": np.concatenate([x.weight for x in full]) if full else np.zeros(0),
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        rows, size = state["rows"], state["size"]
        self.cameras, self._next_serial = list(state["cameras"]), state["next_serial"]
        for name, (dtype, shape) in _COLUMNS.items():
            column = np.zeros((size, *shape), dtype)
            column[rows] = state["columns"][name]
            setattr(self, name, column)
        free = np.setdiff1d(np.arange(size), rows)
        self.last_s[free] = -np.inf
        self._free = free.tolist()
        self._row = [{} for _ in self.cameras]
        self.looks, end = {}, 0
        for row, blocks, span in zip(rows.tolist(), state["blocks"].tolist(), state["span"].tolist(), strict=True):
            self._row[self.camera[row]][int(self.track_id[row])] = row
            part = slice(end, end := end + blocks)
            if blocks:
                self.looks[row] = Looks(state["total"][part].copy(), state["weight"][part].copy(), span)
            else:
                self.looks[row] = Looks(span=span)

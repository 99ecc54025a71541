"""Tracks of one camera as a struct of arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mctrack import boxes
from mctrack.types import State, Tracks

Array = NDArray[np.float64]


@dataclass(eq=False)
class TrackTable:
    """n tracks; every array has n rows.

    Attributes:
        track_id: (n,) IDs. state: (n,) values of ``TrackState``. hits: (n,) detections so far.
        mean, cov: motion state now. mean_seen, cov_seen: the same right after the last detection.
        box_seen: (n, 4) last detection, ``xcycwh``. score: (n,) its score.
        born_s, seen_s: (n,) time of the first and the last detection.
        detection: (n,) row of this frame's detections, −1 where coasting.
        embedding: (n, d) unit rows, running appearance; zeros where none was seen. d is 0 without ReID.
        weight: (n,) evidence behind the embedding, 0 where none.
        sure_s: (n,) time of the last detection with a high score.
    """

    track_id: NDArray[np.int64]
    state: NDArray[np.int64]
    hits: NDArray[np.int64]
    mean: Array
    cov: Array
    mean_seen: Array
    cov_seen: Array
    box_seen: Array
    score: Array
    born_s: Array
    seen_s: Array
    detection: NDArray[np.int64]
    embedding: NDArray[np.float32]
    weight: Array
    sure_s: Array

    def __len__(self) -> int:
        return len(self.track_id)

    @staticmethod
    def empty(mean: Array, cov: Array, dim: int = 0) -> TrackTable:
        """No tracks; ``mean`` and ``cov`` are the motion model's empty arrays."""
        none, integers = np.zeros(0), np.zeros(0, np.int64)
        return TrackTable(
            integers, integers, integers, mean, cov, mean, cov, np.zeros((0, 4)), none, none, none, integers,
            np.zeros((0, dim), np.float32), none, none,
        )

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> TrackTable:
        """The tracks at the given indices or under a mask (copied)."""
        if index.dtype == bool:
            index = np.flatnonzero(index)
        # ndarray.take is several times faster than indexing by an array
        return TrackTable(*[getattr(self, name).take(index, axis=0) for name in _NAMES])

    def join(self, other: TrackTable) -> TrackTable:
        """These tracks followed by the others."""
        if not len(other):
            return self
        if not len(self):
            return other
        return TrackTable(*[np.concatenate([getattr(self, name), getattr(other, name)]) for name in _NAMES])

    def tracks(self, time_s: float, embedding: NDArray[np.float32] | None) -> Tracks:
        """What a tracker reports at ``time_s``: all tracks, with the embeddings (m, d) of this frame's detections."""
        seen = self.detection >= 0
        look = None
        if embedding is not None:
            look = np.zeros((len(self), embedding.shape[1]), np.float32)
            look[seen] = embedding[self.detection[seen]]
        return Tracks(
            track_id=self.track_id.copy(), xyxy=boxes.xcycwh_to_xyxy(self.mean[:, :4]), score=self.score.copy(),
            state=self.state.copy(), time_since_update=np.where(seen, 0.0, time_s - self.seen_s),
            detection_index=self.detection.copy(), embedding=look,
        )

    def dump(self) -> State:
        """All arrays by name."""
        return {name: getattr(self, name).copy() for name in _NAMES}

    @staticmethod
    def load(state: State) -> TrackTable:
        """Take back what :meth:`dump` gave."""
        return TrackTable(**{name: np.array(value) for name, value in state.items()})


_NAMES = tuple(field.name for field in fields(TrackTable))

"""The values that flow through the pipeline: frozen, struct of arrays, checked once at construction."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Image = NDArray[np.uint8]
State = dict[str, Any]
"""What saves and restores an object: nested dicts with arrays, numbers, strings and lists of those as leaves."""


class TrackState(IntEnum):
    """Life of a track in one camera."""

    TENTATIVE = 0
    CONFIRMED = 1
    LOST = 2
    REMOVED = 3


def _check(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds {int((~np.isfinite(array)).sum())} values that are not finite")


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of one camera.

    Attributes:
        camera: the camera's name.
        index: 0-based number of the frame in its source.
        time_s: time on the clock shared by all cameras, in seconds.
        image: (h, w, 3) uint8 BGR, or None where the source has timing but no picture (a MOTChallenge
            sequence without its images): nothing is ever made up in its place.
        size: (width, height) in pixels.
    """

    camera: str
    index: int
    time_s: float
    image: Image | None
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if self.image is not None:
            width, height = self.size
            if self.image.shape != (height, width, 3) or self.image.dtype != np.uint8:
                raise ValueError(
                    f"image has shape {self.image.shape} and type {self.image.dtype}, "
                    f"expected {(height, width, 3)} uint8"
                )


@dataclass(frozen=True, eq=False)
class Instant:
    """The frames that belong to one moment: at most one per camera, in the cameras' order."""

    time_s: float
    frames: tuple[Frame, ...]


@dataclass(frozen=True, eq=False)
class Detections:
    """People in one frame: ``xyxy`` (n, 4) pixels, ``score`` (n,) in 0…1, ``embedding`` (n, d) unit rows or None."""

    xyxy: FloatArray
    score: FloatArray
    embedding: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "xyxy", np.asarray(self.xyxy, np.float64).reshape(-1, 4))
        object.__setattr__(self, "score", np.asarray(self.score, np.float64).reshape(-1))
        n = len(self.xyxy)
        _check("xyxy", self.xyxy, (n, 4))
        _check("score", self.score, (n,))
        if self.embedding is not None:
            _check("embedding", self.embedding, (n, self.embedding.shape[-1]))

    def __len__(self) -> int:
        return len(self.score)

    def take(self, index: NDArray[Any]) -> Detections:
        """The detections at the given indices (or under a boolean mask)."""
        return Detections(
            self.xyxy[index], self.score[index], None if self.embedding is None else self.embedding[index]
        )

    @staticmethod
    def empty() -> Detections:
        """No detections."""
        return Detections(np.zeros((0, 4)), np.zeros(0))


@dataclass(frozen=True, eq=False)
class Tracks:
    """One camera's tracks after a frame; every array has n rows.

    Attributes:
        track_id: (n,) per-camera IDs, never reused.
        xyxy: (n, 4) pixels: the filtered box where seen in this frame, the predicted one where not.
        score: (n,) score of the last detection.
        state: (n,) values of :class:`TrackState`.
        time_since_update: (n,) seconds since the last detection; 0 where seen in this frame.
        detection_index: (n,) row of this frame's detections, −1 where coasting.
        embedding: (n, d) unit rows of this frame's detections (zeros where coasting), or None.
    """

    track_id: IntArray
    xyxy: FloatArray
    score: FloatArray
    state: IntArray
    time_since_update: FloatArray
    detection_index: IntArray
    embedding: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.track_id)
        _check("xyxy", self.xyxy, (n, 4))
        for name in ("track_id", "score", "state", "time_since_update", "detection_index"):
            _check(name, getattr(self, name), (n,))
        if self.embedding is not None:
            _check("embedding", self.embedding, (n, self.embedding.shape[-1]))

    def __len__(self) -> int:
        return len(self.track_id)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(n,) whether the track has a detection in this frame."""
        return self.detection_index >= 0


@dataclass(frozen=True, eq=False)
class Matches:
    """Result of an assignment: ``pairs`` (k, 2) of (row, column), sorted by row, and what stayed alone, sorted."""

    pairs: IntArray
    unmatched_rows: IntArray
    unmatched_cols: IntArray


@dataclass(frozen=True)
class Link:
    """One decision about an identity, with its reason.

    Attributes:
        time_s: when it was made.
        camera, track_id: the tracklet it is about.
        global_id: the identity the tracklet has from now on.
        kind: ``new`` (a new identity), ``link`` (an old identity returns or is seen by another camera),
            ``merge`` (evidence made two identities one), ``unlink`` (evidence against took it away, or gave it to
            another).
        previous_id: the identity the tracklet had before, or −1.
        distance: cosine distance to the chosen identity, or NaN where appearance had no say.
        runner_up: distance to the second-best identity, or NaN where there was none; where ``gates`` say ``hindsight``,
            to what else is of the identity that it had.
        probability: probability of being the same person by the embedder's calibration, or NaN.
        gates: what each gate said, e.g. ``{"transition": 0.8, "free_in_camera": True}``.
    """

    time_s: float
    camera: str
    track_id: int
    global_id: int
    kind: str
    previous_id: int = -1
    distance: float = float("nan")
    runner_up: float = float("nan")
    probability: float = float("nan")
    gates: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class InstantResult:
    """Everything known after one instant, handed to every sink.

    Attributes:
        instant: the frames.
        tracks: one :class:`Tracks` per frame, in the frames' order.
        global_ids: one (n,) int64 array per frame: the identity of each track, −1 while not yet named.
        links: identity decisions made at this instant; apply them to the map in order.
        ground: one (n, 2) array per frame: where each track's person stands on the floor by all calibrated cameras,
            metres, NaN where unknown; empty in a run without calibration.
    """

    instant: Instant
    tracks: tuple[Tracks, ...]
    global_ids: tuple[IntArray, ...]
    links: tuple[Link, ...]
    ground: tuple[FloatArray, ...] = ()

"""The tracker of Long et al. ("Real-time multiple people tracking with deeply learned candidate selection and person
re-identification", ICME 2018), which the Robust-ReID paper uses for its Table 6.

Detections and the predictions of known tracks compete as candidates for every person; what survives is matched first
by appearance, then by overlap. Written from the paper. Three things stand in for what it does not give or we lack:

- its candidates are scored by an R-FCN classifier on the picture; here the detection score takes that place, and for
  a prediction the score of the track's last detection;
- motion is our batched Kalman filter;
- a track that a prediction carries on is reported as coasting in that frame, as everywhere in this house. Whether the
  gap is written is up to ``output.fill_gap_s``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack import boxes
from mctrack.config import TrackConfig
from mctrack.config_checks import SHARE, Range, check_mapping, check_number
from mctrack.errors import ConfigError, suggest
from mctrack.registry import resolve
from mctrack.track.assign import assign
from mctrack.track.camera_tracker import CONFIRMED, LOST, MOTION_MODELS, TENTATIVE
from mctrack.track.cost import Pairs, overlapping_pairs, squared_mahalanobis
from mctrack.track.kalman import Array, MotionModel, MotionNoise, warp
from mctrack.track.rebirth import Probability
from mctrack.track.table import TrackTable
from mctrack.types import Detections, State, Tracks

IntArray = NDArray[np.int64]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class MotdtOptions:
    """Numbers of the paper and of its published configuration; keys of ``track.options``.

    Attributes:
        alpha: how fast a tracklet loses confidence without detections (eq. 3).
        min_hits: detections a tracklet needs before its predictions become candidates.
        nms_iou: of two candidates that overlap more, the weaker one goes.
        min_score: candidates below this score go.
        new_score: a detection without a track starts one from this score on.
        appearance: largest Euclidean distance of unit vectors, 0…2.
        gate: largest squared Mahalanobis distance (95 % of χ² with 4 degrees of freedom).
        max_iou_distance: largest 1 − IoU in the passes by overlap.
        max_lost: frames after which a track that is not seen is removed.
        gallery: looks kept per track; the nearest one counts.
    """

    alpha: float = 0.05
    min_hits: int = 2
    nms_iou: float = 0.3
    min_score: float = 0.4
    new_score: float = 0.6
    appearance: float = 0.64
    gate: float = 9.4877
    max_iou_distance: float = 0.7
    max_lost: int = 30
    gallery: int = 100


OPTION_RANGES = {
    "alpha": Range(0, 1e6), "min_hits": Range(0, 1e9, whole=True), "nms_iou": SHARE, "min_score": SHARE,
    "new_score": SHARE, "appearance": Range(0, 2), "gate": Range(0, 1e9, above=True), "max_iou_distance": SHARE,
    "max_lost": Range(0, 1e9, whole=True), "gallery": Range(1, 1e6, whole=True),
}  # fmt: skip


def tracklet_confidence(predictions: IntArray, hits: IntArray, alpha: float, min_hits: int) -> Array:
    """(n,) confidence of tracklets: max(0, 1 − log(1 + α·L_trk)) where L_det ≥ ``min_hits``, else 0 (eq. 3).

    Args:
        predictions: (n,) L_trk, predictions since the last detection. hits: (n,) L_det, detections so far.
    """
    return np.maximum(1 - np.log1p(alpha * predictions), 0.0) * (hits >= min_hits)


def suppress(xyxy: Array, score: Array, iou: float) -> IntArray:
    """Indices, increasing, of the candidates that greedy non-maximum suppression keeps; the first wins a tie."""
    crowd = overlapping_pairs(xyxy, xyxy, 0.0)
    crowd = crowd.take(np.flatnonzero(crowd.overlap > iou))
    rivals: dict[int, list[int]] = {}
    for row, col in zip(crowd.row.tolist(), crowd.col.tolist(), strict=True):
        rivals.setdefault(row, []).append(col)
    gone = np.zeros(len(score), bool)
    for i in np.argsort(-score, kind="stable").tolist():
        if not gone[i]:
            others = [j for j in rivals.get(i, []) if j != i]
            gone[others] = True
    return np.flatnonzero(~gone)


class MotdtTracker:
    """Follows people in one camera; the same interface as :class:`mctrack.track.camera_tracker.CameraTracker`."""

    def __init__(self, config: TrackConfig | None = None, probability: Probability | None = None) -> None:
        """``config.options`` holds keys of :class:`MotdtOptions`; the embedder's calibration is not used.

        Raises:
            ConfigError: an unknown key, or a number that cannot be meant.
        """
        self.config = config or TrackConfig()
        self.options = _options(self.config.options)
        check_mapping("track.noise", self.config.noise)
        noise = MotionNoise(**self.config.noise)
        self.motion: MotionModel = resolve("motion model", self.config.motion, MOTION_MODELS)(noise)
        self.active = TrackTable.empty(*self.motion.empty())
        self.predictions: dict[int, int] = {}
        """L_trk of every track: frames since its last detection."""
        self.gallery: dict[int, Rows] = {}
        self.time_s: float | None = None
        self.next_id = 1

    # ------------------------------------------------------------------ one frame

    def update(self, detections: Detections, time_s: float, camera_warp: Array | None = None) -> Tracks:
        """Take one frame's detections; see :meth:`mctrack.track.camera_tracker.CameraTracker.update`."""
        self._advance(time_s, camera_warp)
        found, carried = self._candidates(detections)
        t = self.active
        known = np.flatnonzero(t.state != TENTATIVE)
        rows, cols = self._by_appearance(known, found, detections)
        self._apply(rows, cols, detections)
        # Only tracks seen lately go on by overlap: a lost one has to be recognised.
        left = np.setdiff1d(np.flatnonzero(t.state == CONFIRMED), rows)
        free = np.setdiff1d(found, cols)
        more_rows, more_cols = self._by_overlap(left, free, detections)
        self._apply(more_rows, more_cols, detections)
        free = np.setdiff1d(free, more_cols)
        new_rows, new_cols = self._by_overlap(np.flatnonzero(t.state == TENTATIVE), free, detections)
        self._apply(new_rows, new_cols, detections)
        self._age(carried)
        free = np.setdiff1d(free, new_cols)
        self._start(free[detections.score[free] >= self.options.new_score], detections)
        return self.active.tracks(time_s, detections.embedding)

    def _advance(self, time_s: float, camera_warp: Array | None) -> None:
        t = self.active
        if self.time_s is not None:
            t.mean, t.cov = self.motion.predict(t.mean, t.cov, round(max(time_s - self.time_s, 1e-6), 9))
            if camera_warp is not None:
                t.mean, t.cov = warp(t.mean, t.cov, camera_warp)
        self.time_s = time_s
        t.detection = np.full(len(t), -1)
        for track_id in self.predictions:
            self.predictions[track_id] += 1

    def _candidates(self, detections: Detections) -> tuple[IntArray, IntArray]:
        """Detections and predictions that survive their common suppression (section 3.2).

        Returns:
            Rows of the detections, and rows of the tracks whose own prediction stays.
        """
        o, t = self.options, self.active
        seen = np.flatnonzero(t.state == CONFIRMED)
        count = np.array([self.predictions[i] for i in t.track_id[seen].tolist()], np.int64)
        confidence = tracklet_confidence(count, t.hits[seen], o.alpha, o.min_hits) * t.score[seen]
        xyxy = np.concatenate([detections.xyxy, boxes.xcycwh_to_xyxy(t.mean[seen, :4])])
        score = np.concatenate([detections.score, confidence])
        good = np.flatnonzero(score >= o.min_score)
        kept = good[suppress(xyxy[good], score[good], o.nms_iou)]
        n = len(detections)
        return kept[kept < n], seen[kept[kept >= n] - n]

    # ------------------------------------------------------------------ assignment

    def _by_appearance(self, rows: IntArray, cols: IntArray, detections: Detections) -> tuple[IntArray, IntArray]:
        """Tracks to detections by the nearest look of the gallery, where motion allows it (section 3.4)."""
        look = detections.embedding
        if look is None or not len(rows) or not len(cols):
            return _none()
        o, t = self.options, self.active
        r, c = (side.ravel() for side in np.meshgrid(rows, cols, indexing="ij"))
        pairs = Pairs(r, c, np.zeros(len(r)))
        variance = self.motion.innovation_variance(t.mean, t.cov, 1.0)
        xcycwh = boxes.xyxy_to_xcycwh(detections.xyxy)
        pairs = pairs.take(np.flatnonzero(squared_mahalanobis(pairs, t.mean, variance, xcycwh) <= o.gate))
        distance = self._look_distance(pairs, look)
        near = np.flatnonzero(distance <= o.appearance)
        return _split(assign(pairs.row[near], pairs.col[near], distance[near], (len(t), len(look)),
                             o.appearance + 1e-9).pairs)  # fmt: skip

    def _look_distance(self, pairs: Pairs, look: Rows) -> Array:
        """(k,) smallest Euclidean distance of each pair's detection to the track's gallery; ∞ where that is empty."""
        out = np.full(len(pairs.row), np.inf)
        for row in np.unique(pairs.row).tolist():
            mine = np.flatnonzero(pairs.row == row)
            kept = self.gallery.get(int(self.active.track_id[row]))
            if kept is not None:
                cosine = (look[pairs.col[mine]] @ kept.T).max(axis=1)
                out[mine] = np.sqrt(np.maximum(2 - 2 * cosine.astype(float), 0))
        out[~look.take(pairs.col, axis=0).any(axis=1)] = np.inf
        return out

    def _by_overlap(self, rows: IntArray, cols: IntArray, detections: Detections) -> tuple[IntArray, IntArray]:
        t, limit = self.active, self.options.max_iou_distance
        pairs = overlapping_pairs(boxes.xcycwh_to_xyxy(t.mean[rows, :4]), detections.xyxy[cols], 0.0)
        found = assign(pairs.row, pairs.col, 1 - pairs.overlap, (len(rows), len(cols)), limit + 1e-9)
        r, c = _split(found.pairs)
        return rows[r], cols[c]

    # ------------------------------------------------------------------ life of a track

    def _apply(self, rows: IntArray, cols: IntArray, detections: Detections) -> None:
        if not len(rows):
            return
        t, o = self.active, self.options
        box, score = boxes.xyxy_to_xcycwh(detections.xyxy[cols]), detections.score[cols]
        t.mean[rows], t.cov[rows] = self.motion.update(t.mean[rows], t.cov[rows], box, score)
        t.box_seen[rows], t.score[rows], t.seen_s[rows], t.detection[rows] = box, score, self.time_s, cols
        t.hits[rows] += 1
        t.state[rows] = CONFIRMED
        for row, col in zip(rows.tolist(), cols.tolist(), strict=True):
            track_id = int(t.track_id[row])
            self.predictions[track_id] = 0
            if detections.embedding is not None and detections.embedding[col].any():
                kept = self.gallery.get(track_id, detections.embedding[:0])
                self.gallery[track_id] = np.concatenate([kept, detections.embedding[col : col + 1]])[-o.gallery :]

    def _age(self, carried: IntArray) -> None:
        """Without a detection: a prediction among the candidates carries a track on, or it is lost."""
        t, o = self.active, self.options
        missed = t.detection < 0
        lost = missed & (t.state == CONFIRMED)
        lost[carried] = False
        gone = missed & (t.state == TENTATIVE)
        t.state[lost] = LOST
        count = np.array([self.predictions[i] for i in t.track_id.tolist()], np.int64)
        gone |= missed & (count > o.max_lost)
        if gone.any():
            for track_id in t.track_id[gone].tolist():
                del self.predictions[track_id]
                self.gallery.pop(track_id, None)
            self.active = t.take(~gone)

    def _start(self, free: IntArray, detections: Detections) -> None:
        free = free[: max(self.config.max_tracks - len(self.active), 0)]
        n = len(free)
        if not n:
            return
        box, score = boxes.xyxy_to_xcycwh(detections.xyxy[free]), detections.score[free]
        mean, cov = self.motion.initiate(box, score)
        ids = np.arange(self.next_id, self.next_id + n)
        self.next_id += n
        now = np.full(n, self.time_s)
        self.active = self.active.join(TrackTable(
            ids, np.full(n, TENTATIVE), np.ones(n, np.int64), mean, cov, mean.copy(), cov.copy(), box, score,
            now, now.copy(), free, np.zeros((n, 0), np.float32), np.zeros(n), now.copy(),
        ))  # fmt: skip
        look = detections.embedding
        for track_id, col in zip(ids.tolist(), free.tolist(), strict=True):
            self.predictions[track_id] = 0
            if look is not None and look[col].any():
                self.gallery[track_id] = look[col : col + 1].copy()

    # ------------------------------------------------------------------ results and state

    def state(self) -> State:
        """Everything :meth:`restore` needs to go on with identical results."""
        return {
            "active": self.active.dump(), "time_s": self.time_s, "next_id": self.next_id,
            "predictions": {str(k): v for k, v in self.predictions.items()},
            "gallery": {str(k): v.copy() for k, v in self.gallery.items()},
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.active = TrackTable.load(state["active"])
        self.time_s, self.next_id = state["time_s"], state["next_id"]
        self.predictions = {int(k): int(v) for k, v in state["predictions"].items()}
        self.gallery = {int(k): np.array(v, np.float32) for k, v in state["gallery"].items()}


def _options(given: dict[str, float]) -> MotdtOptions:
    defaults = MotdtOptions()
    for key, value in given.items():
        if key not in OPTION_RANGES:
            raise ConfigError(f"track.options: unknown key '{key}'{suggest(key, OPTION_RANGES)}; "
                              f"known: {', '.join(OPTION_RANGES)}")
        check_number(f"track.options.{key}", value, OPTION_RANGES[key])
    return MotdtOptions(**{k: type(getattr(defaults, k))(v) for k, v in given.items()})


def _split(pairs: IntArray) -> tuple[IntArray, IntArray]:
    return pairs[:, 0], pairs[:, 1]


def _none() -> tuple[IntArray, IntArray]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64)

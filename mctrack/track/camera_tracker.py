"""One camera's tracker: batched motion, one gated Hungarian problem, a pass for low scores, re-birth after long gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mctrack import boxes
from mctrack.config import TrackConfig
from mctrack.registry import resolve
from mctrack.track.assign import assign
from mctrack.track.consensus import consensus_shift
from mctrack.track.cost import cosine_distance, crowded_score, distinctiveness, overlapping_pairs, squared_mahalanobis
from mctrack.track.kalman import Array, MotionModel, MotionNoise, warp
from mctrack.track.rebirth import Probability, Rebirth, generic_probability
from mctrack.track.reupdate import reupdate
from mctrack.track.table import TrackTable
from mctrack.types import Detections, Matches, State, Tracks, TrackState

MOTION_MODELS = {
    "kalman": "mctrack.track.kalman:KalmanMotion",
    "filterpy": "mctrack.track.filterpy_model:FilterpyMotion",
}
IntArray = NDArray[np.int64]
TENTATIVE, CONFIRMED, LOST = int(TrackState.TENTATIVE), int(TrackState.CONFIRMED), int(TrackState.LOST)


class CameraTracker:
    """Follows people in one camera.

    A track is tentative until it has ``n_init`` detections, lost while it is not seen, dormant after ``max_age_s``
    (only :class:`Rebirth` may wake it) and removed after ``rebirth_s``. Memory is bounded by ``max_tracks`` and
    ``max_dormant``. IDs start at 1, are never reused and belong to this instance.
    """

    def __init__(self, config: TrackConfig | None = None, probability: Probability | None = None) -> None:
        """Probability is the embedder's calibration: cosine distance → probability of the same person."""
        self.config = config or TrackConfig()
        noise = MotionNoise(**self.config.noise)
        self.motion: MotionModel = resolve("motion model", self.config.motion, MOTION_MODELS)(noise)
        self.rebirth = Rebirth(self.config, probability or generic_probability)
        self.active = TrackTable.empty(*self.motion.empty())
        self.dormant = TrackTable.empty(*self.motion.empty())
        self.time_s: float | None = None
        self.frame_s = 0.0
        """Running frame interval, to tell a gap from a slow camera."""
        self.next_id = 1

    # ------------------------------------------------------------------ one frame

    def update(self, detections: Detections, time_s: float, camera_warp: Array | None = None) -> Tracks:
        """Take one frame's detections.

        Args:
            detections: (n,) people, with embeddings or without.
            time_s: the frame's time, later than the previous one's.
            camera_warp: (2, 3) map of the previous picture to this one where the camera moved.

        Returns:
            All active tracks, seen in this frame or coasting.
        """
        self._advance(time_s, camera_warp)
        xcycwh = boxes.xyxy_to_xcycwh(detections.xyxy)
        score = crowded_score(detections.xyxy, detections.score, self.config.crowd_sigma)
        detections = Detections(detections.xyxy, score, detections.embedding)
        self._fit_dimension(detections)
        high = np.flatnonzero(detections.score >= self.config.high_score)
        matches = self._steady(detections, xcycwh, high)
        self._apply(matches, detections, xcycwh)
        free_tracks, free = matches.unmatched_rows, matches.unmatched_cols
        low = np.flatnonzero(
            (detections.score < self.config.high_score) & (detections.score >= self.config.low_score)
        )
        self._apply(self._second_pass(detections, xcycwh, free_tracks, low), detections, xcycwh)
        free = self._wake(detections, xcycwh, free)
        self._start(detections, xcycwh, free)
        self._age()
        return self._tracks(detections)

    def _advance(self, time_s: float, camera_warp: Array | None) -> None:
        """Predict all tracks to the frame's time."""
        if self.time_s is not None:
            dt = max(time_s - self.time_s, 1e-6)
            self.frame_s = dt if not self.frame_s else min(dt, 0.9 * self.frame_s + 0.1 * dt)
            a = self.active
            a.mean, a.cov = self.motion.predict(a.mean, a.cov, dt)
            if camera_warp is not None:
                a.mean, a.cov = warp(a.mean, a.cov, camera_warp)
                a.mean_seen, a.cov_seen = warp(a.mean_seen, a.cov_seen, camera_warp)
                a.box_seen = warp(np.pad(a.box_seen, ((0, 0), (0, 4))), a.cov, camera_warp)[0][:, :4]
        self.time_s = time_s
        self.active.detection = np.full(len(self.active), -1)

    def _fit_dimension(self, detections: Detections) -> None:
        """Give the tracks room for embeddings as soon as the first ones come."""
        dim = 0 if detections.embedding is None else detections.embedding.shape[1]
        for table in (self.active, self.dormant):
            if dim and table.embedding.shape[1] != dim:
                table.embedding = np.zeros((len(table), dim), np.float32)
                table.weight = np.zeros(len(table))

    # ------------------------------------------------------------------ assignment

    def _steady(self, detections: Detections, xcycwh: Array, high: IntArray) -> Matches:
        """The first pass, done again after moving all tracks along where they agree that the camera moved."""
        matches = self._first_pass(detections, xcycwh, high)
        for _ in range(2 if self.config.consensus_motion else 0):
            pairs = matches.pairs[self.active.state[matches.pairs[:, 0]] == CONFIRMED]
            mean = self.active.mean[pairs[:, 0]]
            shift = consensus_shift(xcycwh[pairs[:, 1], :2] - mean[:, :2], mean[:, 3])
            if shift is None:
                break
            for name in ("mean", "mean_seen", "box_seen"):
                moved = getattr(self.active, name).copy()
                moved[:, :2] += shift
                setattr(self.active, name, moved)
            matches = self._first_pass(detections, xcycwh, high)
        return matches

    def _first_pass(self, detections: Detections, xcycwh: Array, high: IntArray) -> Matches:
        """One gated Hungarian problem of all active tracks and the confident detections."""
        c, t = self.config, self.active
        gap = self._gap()
        buffer = np.minimum(c.buffer + c.buffer_growth * gap, 1.0)
        pairs = overlapping_pairs(boxes.xcycwh_to_xyxy(t.mean[:, :4]), detections.xyxy[high], buffer)
        variance = self.motion.innovation_variance(t.mean, t.cov, np.ones(len(t)))
        maha = squared_mahalanobis(pairs, t.mean, variance, xcycwh[high])
        inside = maha < c.gate
        pairs, maha = pairs.take(inside), maha[inside]
        total = c.weight_overlap + c.weight_motion + c.weight_score
        cost = c.weight_overlap * (1 - pairs.overlap) + c.weight_motion * (maha / c.gate)
        cost += c.weight_score * (1 - detections.score[high][pairs.col])
        cost /= total
        if detections.embedding is not None and t.embedding.shape[1]:
            distance = cosine_distance(pairs, t.embedding, detections.embedding[high])
            weight = c.weight_appearance * distinctiveness(pairs, distance, (len(t), len(high)))
            weight = np.where(np.isnan(distance), 0.0, weight)
            unlike = 1.0 - self.rebirth.probability(np.nan_to_num(distance))
            cost = (cost + weight * unlike) / (1 + weight)
        cost += c.tentative_cost * (t.state[pairs.row] == TENTATIVE)
        found = assign(pairs.row, pairs.col, cost, (len(t), len(high)), c.max_cost)
        return _to_columns(found, high)

    def _second_pass(self, detections: Detections, xcycwh: Array, rows: IntArray, low: IntArray) -> Matches:
        """Low-score detections may continue tracks that were seen just now (ByteTrack, Zhang et al. 2022)."""
        c, t = self.config, self.active
        rows = rows[(self._gap()[rows] <= c.low_gap_s + self.frame_s) & (t.state[rows] != TENTATIVE)]
        pairs = overlapping_pairs(boxes.xcycwh_to_xyxy(t.mean[rows, :4]), detections.xyxy[low], 0.0)
        found = assign(pairs.row, pairs.col, 1 - pairs.overlap, (len(rows), len(low)), 1 - c.low_iou)
        return _to_columns(found, low, rows)

    def _gap(self) -> Array:
        """(n,) seconds without a detection before this frame."""
        assert self.time_s is not None
        return np.maximum(self.time_s - self.active.seen_s - self.frame_s, 0.0)

    # ------------------------------------------------------------------ life of a track

    def _apply(self, matches: Matches, detections: Detections, xcycwh: Array) -> None:
        """Correct the matched tracks by their detections."""
        if not len(matches.pairs):
            return
        rows, cols = matches.pairs[:, 0], matches.pairs[:, 1]
        t, time_s = self.active, float(self.time_s or 0.0)
        box, score = xcycwh[cols], detections.score[cols]
        again = self._gap()[rows] > 0.5 * self.frame_s
        if again.any():
            part = t.take(rows[again])
            reupdate(self.motion, part, box[again], time_s, self.frame_s)
            t.mean[rows[again]], t.cov[rows[again]] = part.mean, part.cov
        mean, cov = self.motion.update(t.mean[rows], t.cov[rows], box, score)
        t.mean[rows] = t.mean_seen[rows] = mean
        t.cov[rows] = t.cov_seen[rows] = cov
        t.box_seen[rows], t.score[rows], t.seen_s[rows], t.detection[rows] = box, score, time_s, cols
        t.hits[rows] += 1
        t.state[rows] = np.where(
            (t.state[rows] != TENTATIVE) | (t.hits[rows] >= self.config.n_init), CONFIRMED, TENTATIVE
        )
        if detections.embedding is not None:
            self._remember(rows, detections.embedding[cols], score)

    def _remember(self, rows: IntArray, embedding: NDArray[np.float32], score: Array) -> None:
        """Blend the running appearance with what was just seen; better detections count more."""
        t = self.active
        gain = np.where(embedding.any(axis=1), score / (np.minimum(t.weight[rows], 8.0) + score + 1e-9), 0.0)
        mixed = (1 - gain)[:, None] * t.embedding[rows] + gain[:, None] * embedding
        norm = np.linalg.norm(mixed, axis=1, keepdims=True)
        t.embedding[rows] = (mixed / np.maximum(norm, 1e-12)).astype(np.float32)
        t.weight[rows] += np.where(gain > 0, score, 0.0)

    def _wake(self, detections: Detections, xcycwh: Array, free: IntArray) -> IntArray:
        """Continue dormant tracks by appearance; returns the detections still free."""
        strong = free[detections.score[free] >= self.config.new_score]
        found = self.rebirth.match(self.dormant, detections, xcycwh, strong, float(self.time_s or 0.0))
        if not len(found.pairs):
            return free
        rows, cols = found.pairs[:, 0], strong[found.pairs[:, 1]]
        woken = self.dormant.take(rows)
        woken.mean, woken.cov = self.motion.initiate(xcycwh[cols], detections.score[cols])
        woken.seen_s = np.full(len(rows), self.time_s)
        first = len(self.active)
        self.active = self.active.join(woken)
        self.dormant = self.dormant.take(found.unmatched_rows)
        pairs = np.stack([np.arange(first, first + len(rows)), cols], axis=1)
        self._apply(Matches(pairs, free[:0], free[:0]), detections, xcycwh)
        return np.setdiff1d(free, cols)

    def _start(self, detections: Detections, xcycwh: Array, free: IntArray) -> None:
        """Start tentative tracks from confident detections that nothing explains."""
        free = free[detections.score[free] >= self.config.new_score]
        free = free[: max(self.config.max_tracks - len(self.active), 0)]
        taken = self.active.detection[self.active.detection >= 0]
        if len(free) and len(taken):
            overlap = boxes.iou(detections.xyxy[free], detections.xyxy[taken]).max(axis=1)
            free = free[overlap < self.config.duplicate_iou]
        if not len(free):
            return
        n, score = len(free), detections.score[free]
        mean, cov = self.motion.initiate(xcycwh[free], score)
        now = np.full(n, self.time_s)
        dim = self.active.embedding.shape[1]
        look = np.zeros((n, dim), np.float32) if detections.embedding is None else detections.embedding[free]
        state = np.full(n, TENTATIVE if self.config.n_init > 1 else CONFIRMED)
        ids = np.arange(self.next_id, self.next_id + n)
        self.next_id += n
        born = TrackTable(
            ids, state, np.ones(n, np.int64), mean, cov, mean, cov, xcycwh[free], score, now, now, free, look,
            np.where(look.any(axis=1), score, 0.0),
        )
        self.active = self.active.join(born)

    def _age(self) -> None:
        """Tentative tracks that were missed go, confirmed ones become lost, lost ones dormant."""
        t, c = self.active, self.config
        assert self.time_s is not None
        missed = t.detection < 0
        t.state[missed & (t.state == CONFIRMED)] = LOST
        gone = (missed & (t.state == TENTATIVE)) | (self.time_s - t.seen_s > c.max_age_s)
        if gone.any():
            leaving = t.take(gone & (t.state == LOST))
            self.active = t.take(~gone)
            if c.rebirth_s > 0 and leaving.embedding.shape[1]:
                self.dormant = self.dormant.join(leaving)
        if len(self.dormant):
            fresh = self.time_s - self.dormant.seen_s <= c.rebirth_s
            fresh[: max(len(fresh) - c.max_dormant, 0)] = False
            if not fresh.all():
                self.dormant = self.dormant.take(fresh)

    # ------------------------------------------------------------------ results and state

    def _tracks(self, detections: Detections) -> Tracks:
        t = self.active
        seen = t.detection >= 0
        embedding = None
        if detections.embedding is not None:
            embedding = np.zeros((len(t), detections.embedding.shape[1]), np.float32)
            embedding[seen] = detections.embedding[t.detection[seen]]
        return Tracks(
            track_id=t.track_id.copy(), xyxy=boxes.xcycwh_to_xyxy(t.mean[:, :4]), score=t.score.copy(),
            state=t.state.copy(), time_since_update=np.where(seen, 0.0, float(self.time_s or 0.0) - t.seen_s),
            detection_index=t.detection.copy(), embedding=embedding,
        )

    def state(self) -> State:
        """Everything :meth:`restore` needs to go on with identical results."""
        return {
            "active": self.active.dump(), "dormant": self.dormant.dump(), "time_s": self.time_s,
            "frame_s": self.frame_s, "next_id": self.next_id,
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.active, self.dormant = TrackTable.load(state["active"]), TrackTable.load(state["dormant"])
        self.time_s, self.frame_s, self.next_id = state["time_s"], state["frame_s"], state["next_id"]


def _to_columns(matches: Matches, cols: IntArray, rows: IntArray | None = None) -> Matches:
    """Translate positions in index lists back to the rows and columns they stand for."""
    pairs = matches.pairs.copy()
    pairs[:, 1] = cols[pairs[:, 1]]
    left_rows = matches.unmatched_rows
    if rows is not None:
        pairs[:, 0], left_rows = rows[pairs[:, 0]], rows[left_rows]
    return Matches(pairs, left_rows, cols[matches.unmatched_cols])

"""One camera's tracker: batched motion, one gated Hungarian problem, a pass for low scores, re-birth after gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack import boxes
from mctrack.config import REBIRTH_S, TrackConfig
from mctrack.config_checks import check_mapping
from mctrack.errors import ConfigError
from mctrack.registry import resolve
from mctrack.track.assign import assign
from mctrack.track.consensus import consensus_shift
from mctrack.track.cost import (
    Pairs,
    cosine_distance,
    crowded_score,
    distinctiveness,
    overlapping_pairs,
    squared_mahalanobis,
)
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
ROUNDING_S = 1e-6
"""Times are sums and differences of rounded numbers: a limit of 1.5 s is reached by 45 frames of 1/30 s."""
TENTATIVE, CONFIRMED, LOST = int(TrackState.TENTATIVE), int(TrackState.CONFIRMED), int(TrackState.LOST)


@dataclass(frozen=True, eq=False)
class _Sight:
    """One frame's detections as the tracker weighs them.

    Attributes:
        xyxy, xcycwh: (n, 4) boxes. score: (n,) lowered where crowded. embedding: (n, d) or None.
        crowd: pairs of detections that overlap.
    """

    xyxy: Array
    xcycwh: Array
    score: Array
    embedding: NDArray[np.float32] | None
    crowd: Pairs


class CameraTracker:
    """Follows people in one camera.

    A track is tentative until it has ``n_init`` detections, lost while it is not seen, dormant after ``max_age_s``
    (only :class:`Rebirth` may wake it) and removed after ``rebirth_s``. Memory is bounded by ``max_tracks`` and
    ``max_dormant``. IDs start at 1, are never reused and belong to this instance.
    """

    def __init__(self, config: TrackConfig | None = None, probability: Probability | None = None) -> None:
        """Probability is the embedder's calibration: cosine distance → probability of the same person.

        Raises:
            ConfigError: options, of which this method has none, or noise that does not exist or cannot be meant.
        """
        self.config = config or TrackConfig()
        if self.config.options:
            raise ConfigError(f"track.options: '{next(iter(self.config.options))}' is for other methods than 'fused'")
        check_mapping("track.noise", self.config.noise)
        noise = MotionNoise(**self.config.noise)
        self.motion: MotionModel = resolve("motion model", self.config.motion, MOTION_MODELS)(noise)
        self.rebirth = Rebirth(self.config, probability or generic_probability)
        self.rebirth_s = REBIRTH_S if self.config.rebirth_s is None else self.config.rebirth_s
        self.active = TrackTable.empty(*self.motion.empty())
        self.dormant = TrackTable.empty(*self.motion.empty())
        self.time_s: float | None = None
        self.frame_s = 0.0
        """Running frame interval: how finely a gap is walked through again."""
        self._before_s = -np.inf
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
        sight = self._look(detections)
        pairs, matches = self._steady(sight)
        rows, cols = matches.pairs.T
        more_rows, more_cols = self._second_pass(sight, pairs, matches.unmatched_rows)
        self._apply(np.concatenate([rows, more_rows]), np.concatenate([cols, more_cols]), sight)
        free = matches.unmatched_cols
        free = free[sight.score.take(free) >= max(self.config.new_score, self.config.high_score)]
        self._start(sight, self._wake(sight, free))
        self._age()
        return self.active.tracks(time_s, sight.embedding)

    def _advance(self, time_s: float, camera_warp: Array | None) -> None:
        """Predict all tracks to the frame's time."""
        if self.time_s is not None:
            self._before_s = self.time_s
            # to the nanosecond, so that equal intervals are equal numbers
            dt = round(max(time_s - self.time_s, 1e-6), 9)
            if time_s > self.time_s:
                self.frame_s = dt if not self.frame_s else min(dt, 0.9 * self.frame_s + 0.1 * dt)
            a = self.active
            a.mean, a.cov = self.motion.predict(a.mean, a.cov, dt)
            if camera_warp is not None:
                a.mean, a.cov = warp(a.mean, a.cov, camera_warp)
                a.mean_seen, a.cov_seen = warp(a.mean_seen, a.cov_seen, camera_warp)
                for table in (self.active, self.dormant):
                    still = np.pad(table.box_seen, ((0, 0), (0, 4)))
                    table.box_seen = warp(still, table.cov, camera_warp)[0][:, :4]
        self.time_s = time_s
        self.active.detection = np.full(len(self.active), -1)

    def _look(self, detections: Detections) -> _Sight:
        """Weigh the detections; the tracks get room for embeddings as soon as the first ones come."""
        embedding = detections.embedding
        dim = 0 if embedding is None else embedding.shape[1]
        for table in (self.active, self.dormant):
            if dim and table.embedding.shape[1] != dim:
                table.embedding = np.zeros((len(table), dim), np.float32)
                table.weight = np.zeros(len(table))
        crowd = overlapping_pairs(detections.xyxy, detections.xyxy, 0.0)
        score = crowded_score(crowd, detections.score, self.config.crowd_sigma)
        return _Sight(
            detections.xyxy, boxes.xyxy_to_xcycwh(detections.xyxy), score, embedding if dim else None, crowd
        )

    # ------------------------------------------------------------------ assignment

    def _steady(self, sight: _Sight) -> tuple[Pairs, Matches]:
        """The first pass, done again after moving all tracks along where they agree that the camera moved.

        Returns:
            All pairs of tracks and detections that overlap, and the matches.
        """
        pairs, matches = self._first_pass(sight)
        for _ in range(2 if self.config.consensus_motion else 0):
            rows, cols = matches.pairs[self.active.state.take(matches.pairs[:, 0]) == CONFIRMED].T
            mean, seen = self.active.mean.take(rows, axis=0), sight.xcycwh.take(cols, axis=0)
            shift = consensus_shift(seen[:, :2] - mean[:, :2], mean[:, 3])
            if shift is None:
                break
            a = self.active
            for centres in (a.mean, a.mean_seen, a.box_seen, self.dormant.box_seen):
                centres[:, :2] += shift
            pairs, matches = self._first_pass(sight)
        return pairs, matches

    def _first_pass(self, sight: _Sight) -> tuple[Pairs, Matches]:
        """One gated Hungarian problem of all active tracks and the confident detections."""
        c, t = self.config, self.active
        xyxy = boxes.xcycwh_to_xyxy(t.mean[:, :4])
        overlapping = near = overlapping_pairs(xyxy, sight.xyxy, 0.0)
        if c.buffer or c.buffer_growth:
            near = overlapping_pairs(xyxy, sight.xyxy, np.minimum(c.buffer + c.buffer_growth * self._gap(), 1.0))
        variance = self.motion.innovation_variance(t.mean, t.cov, 1.0)
        maha = squared_mahalanobis(near, t.mean, variance, sight.xcycwh)
        score = sight.score.take(near.col)
        inside = np.flatnonzero((maha < c.gate) & (score >= c.high_score))
        pairs = near.take(inside)
        total = c.weight_overlap + c.weight_motion + c.weight_score
        cost = c.weight_overlap / total * (1 - pairs.overlap)
        cost += c.weight_motion / total / c.gate * maha.take(inside)
        cost += c.weight_score / total * (1 - score.take(inside))
        shape = (len(t), len(sight.score))
        if sight.embedding is not None:
            cost = self._with_appearance(cost, pairs, sight.embedding, shape)
        cost += c.tentative_cost * (t.state.take(pairs.row) == TENTATIVE)
        return overlapping, assign(pairs.row, pairs.col, cost, shape, c.max_cost)

    def _with_appearance(
        self, cost: Array, pairs: Pairs, embedding: NDArray[np.float32], shape: tuple[int, int]
    ) -> Array:
        """(k,) cost of each pair mixed with how unlike the two look, where both looks are known."""
        distance = cosine_distance(pairs, self.active.embedding, embedding)
        weight = self.config.weight_appearance * distinctiveness(pairs, distance, shape)
        weight = np.where(np.isnan(distance), 0.0, weight)
        unlike = 1.0 - self.rebirth.probability(np.nan_to_num(distance))
        return (cost + weight * unlike) / (1 + weight)

    def _second_pass(self, sight: _Sight, pairs: Pairs, free_rows: IntArray) -> tuple[IntArray, IntArray]:
        """Low-score detections may continue tracks that were seen just now (ByteTrack, Zhang et al. 2022)."""
        c, t = self.config, self.active
        eligible = np.zeros(len(t), bool)
        eligible[free_rows] = True
        eligible &= (self._gap() <= c.low_gap_s + ROUNDING_S) & (t.state != TENTATIVE)
        eligible &= float(self.time_s or 0.0) - t.sure_s <= c.low_s + ROUNDING_S
        low = (sight.score < c.high_score) & (sight.score >= c.low_score)
        pairs = pairs.take(np.flatnonzero(eligible.take(pairs.row) & low.take(pairs.col)))
        found = assign(pairs.row, pairs.col, 1 - pairs.overlap, (len(t), len(low)), 1 - c.low_iou)
        rows, cols = found.pairs.T
        return rows, cols

    def _gap(self) -> Array:
        """(n,) seconds without a detection up to the frame before this one: exactly 0 where it was seen there."""
        return np.maximum(self._before_s - self.active.seen_s, 0.0)

    # ------------------------------------------------------------------ life of a track

    def _apply(self, rows: IntArray, cols: IntArray, sight: _Sight) -> None:
        """Correct the tracks in ``rows`` by the detections in ``cols``."""
        if not len(rows):
            return
        t, time_s = self.active, float(self.time_s or 0.0)
        box, score = sight.xcycwh.take(cols, axis=0), sight.score.take(cols)
        mean, cov = t.mean.take(rows, axis=0), t.cov.take(rows, axis=0)
        again = np.flatnonzero(self._gap().take(rows) > 0)
        if len(again):
            lost = t.take(rows.take(again))
            mean[again], cov[again] = reupdate(self.motion, lost, box.take(again, axis=0), time_s, self.frame_s)
        mean, cov = self.motion.update(mean, cov, box, score)
        t.mean[rows] = t.mean_seen[rows] = mean
        t.cov[rows] = t.cov_seen[rows] = cov
        t.box_seen[rows], t.score[rows], t.seen_s[rows], t.detection[rows] = box, score, time_s, cols
        t.sure_s[rows[score >= self.config.high_score]] = time_s
        hits = t.hits.take(rows) + 1
        t.hits[rows] = hits
        known = (t.state.take(rows) != TENTATIVE) | (hits >= self.config.n_init)
        t.state[rows] = np.where(known, CONFIRMED, TENTATIVE)
        if sight.embedding is not None:
            self._remember(rows, sight.embedding.take(cols, axis=0), score)

    def _remember(self, rows: IntArray, embedding: NDArray[np.float32], score: Array) -> None:
        """Blend the running appearance with what was just seen; better detections count more."""
        t = self.active
        gain = np.where(embedding.any(axis=1), score / (np.minimum(t.weight[rows], 8.0) + score + 1e-9), 0.0)
        mixed = (1 - gain)[:, None] * t.embedding[rows] + gain[:, None] * embedding
        norm = np.linalg.norm(mixed, axis=1, keepdims=True)
        t.embedding[rows] = (mixed / np.maximum(norm, 1e-12)).astype(np.float32)
        t.weight[rows] += np.where(gain > 0, score, 0.0)

    def _wake(self, sight: _Sight, free: IntArray) -> IntArray:
        """Continue dormant tracks by appearance; returns the detections still free."""
        if sight.embedding is None or not len(self.dormant) or not len(free):
            return free
        found = self.rebirth.match(self.dormant, sight.embedding, sight.xcycwh, free, float(self.time_s or 0.0))
        rows, cols = found.pairs[: max(self.config.max_tracks - len(self.active), 0)].T
        if not len(rows):
            return free
        cols = free[cols]
        woken = self.dormant.take(rows)
        woken.mean, woken.cov = self.motion.initiate(sight.xcycwh[cols], sight.score[cols])
        woken.seen_s = np.full(len(rows), self.time_s)
        first = len(self.active)
        self.active = self.active.join(woken)
        self.dormant = self.dormant.take(np.delete(np.arange(len(self.dormant)), rows))
        self._apply(np.arange(first, first + len(rows)), cols, sight)
        return np.setdiff1d(free, cols)

    def _start(self, sight: _Sight, free: IntArray) -> None:
        """Start tentative tracks from confident detections that nothing explains."""
        free = free[: max(self.config.max_tracks - len(self.active), 0)]
        free = free[~self._explained(sight).take(free)]
        n = len(free)
        if not n:
            return
        box, score = sight.xcycwh.take(free, axis=0), sight.score.take(free)
        mean, cov = self.motion.initiate(box, score)
        look = np.zeros((n, self.active.embedding.shape[1]), np.float32)
        if sight.embedding is not None:
            look = sight.embedding.take(free, axis=0)
        state = np.full(n, TENTATIVE if self.config.n_init > 1 else CONFIRMED)
        ids = np.arange(self.next_id, self.next_id + n)
        self.next_id += n
        now = np.full(n, self.time_s)
        # copies: tables are written in place, and an array under two names would be written twice
        self.active = self.active.join(TrackTable(
            ids, state, np.ones(n, np.int64), mean, cov, mean.copy(), cov.copy(), box, score,
            now, now.copy(), free, look, np.where(look.any(axis=1), score, 0.0), now.copy(),
        ))  # fmt: skip

    def _explained(self, sight: _Sight) -> NDArray[np.bool_]:
        """(n,) whether a detection lies on another one that a track has taken."""
        taken = np.zeros(len(sight.score), bool)
        taken[self.active.detection[self.active.detection >= 0]] = True
        crowd, explained = sight.crowd, np.zeros(len(taken), bool)
        explained[crowd.row[(crowd.overlap >= self.config.duplicate_iou) & taken.take(crowd.col)]] = True
        return explained

    def _age(self) -> None:
        """Tentative tracks that were missed go, confirmed ones become lost, lost ones dormant."""
        t, c = self.active, self.config
        assert self.time_s is not None
        missed = t.detection < 0
        t.state[missed & (t.state == CONFIRMED)] = LOST
        gone = (missed & (t.state == TENTATIVE)) | (self.time_s - t.seen_s > c.max_age_s + ROUNDING_S)
        if gone.any():
            leaving = t.take(gone & (t.state == LOST))
            self.active = t.take(~gone)
            if self.rebirth_s > 0 and leaving.embedding.shape[1]:
                self.dormant = self.dormant.join(leaving)
        if len(self.dormant):
            fresh = self.time_s - self.dormant.seen_s <= self.rebirth_s + ROUNDING_S
            fresh[: max(len(fresh) - c.max_dormant, 0)] = False
            if not fresh.all():
                self.dormant = self.dormant.take(fresh)

    # ------------------------------------------------------------------ results and state

    def split(self, track_id: int) -> int:
        """Give a live track a new ID from now on, since it goes on with another person; returns the new ID.

        What it remembers of the looks was the other person's, so it goes.
        """
        row = int(np.flatnonzero(self.active.track_id == track_id)[0])
        self.active.track_id[row], self.next_id = self.next_id, self.next_id + 1
        self.active.embedding[row], self.active.weight[row] = 0.0, 0.0
        return int(self.active.track_id[row])

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

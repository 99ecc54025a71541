"""Online identities: new and lost tracklets against a gallery, by Hungarian assignment on calibrated log-odds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mctrack import boxes
from mctrack.associate import CameraView
from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.gallery import Prototypes, TrackletRecord, looks_distance
from mctrack.associate.identities import IdentityBook
from mctrack.associate.transitions import Transitions
from mctrack.config import AssociateConfig
from mctrack.types import IntArray, Link, State, TrackState

Array = NDArray[np.float64]
OVERLAP_S = 1.0
"""Two tracklets of one camera may share this much time and still be one person (the old box lingers)."""
PRUNE_S = 10.0
MERGE_SAMPLES = 10
"""Crops that each of two identities needs before they may become one."""
REACH_SPEED = 2.0
"""Fastest way inside one camera's picture, heights per second."""


def sigmoid(x: float) -> float:
    """Probability from log-odds."""
    return float(1.0 / (1.0 + np.exp(-np.clip(x, -50, 50))))


class OnlineAssociator:
    """Names tracklets, once, as soon as the evidence allows; later evidence may merge identities.

    A confirmed tracklet waits until it was sampled ``samples`` times, then competes with the other waiting ones for
    the identities of the gallery. The score of a pair is a sum of log-odds: appearance (:class:`SceneCalibration`),
    the time between the cameras (:class:`Transitions`) and, inside one camera, place. An identity that was in the
    camera at the same time is out. The tracklet joins the best identity if its probability reaches
    ``link_probability`` and it leads the runner-up by ``margin``; it founds a new identity if nobody is above
    ``new_probability``; in between it waits, ``wait_s`` at most.

    Args:
        config: thresholds.
        cameras: the cameras' names.
        probability: the embedder's calibration, cosine distance → probability of the same person; None for motion
            only, where every confirmed tracklet is an identity of its own.
    """

    def __init__(
        self,
        config: AssociateConfig,
        cameras: Sequence[str],
        probability: Callable[[Array], Array] | None = None,
    ) -> None:
        self.config = config
        self.book = IdentityBook(config.prototypes, config.max_identities)
        self.transitions = Transitions(config.transitions, cameras, config.learn_transitions)
        self.scene = None if probability is None else SceneCalibration(probability)
        self._next_merge_s = self._next_prune_s = -np.inf
        self._next_met_s: dict[str, float] = {}
        self._twice_since: dict[str, dict[int, float]] = {}
        self._links: list[Link] = []

    # ------------------------------------------------------------------ protocol

    def update(self, time_s: float, views: Sequence[CameraView]) -> tuple[Link, ...]:
        """Take one instant; see :class:`mctrack.associate.Associator`."""
        self._links = []
        for view in views:
            self._observe(time_s, view)
        for view in views:
            self._keep_apart(time_s, view)
        self._name(time_s, [r for r in self.book.waiting() if r.confirmed])
        if self.scene is not None and time_s >= self._next_merge_s:
            self._next_merge_s = time_s + self.config.merge_s
            self._learn_scene(time_s)
            self._merge(time_s)
        if time_s >= self._next_prune_s:
            self._next_prune_s = time_s + PRUNE_S
            self.book.prune(time_s)
        return tuple(self._links)

    def finish(self) -> tuple[Link, ...]:
        """Name what still waits."""
        self._links = []
        waiting = [r for r in self.book.waiting() if r.confirmed]
        if waiting:
            self._name(max(r.last_s for r in waiting), waiting, final=True)
        return tuple(self._links)

    def global_ids(self, camera: str, track_id: IntArray) -> IntArray:
        """(n,) identities, −1 where not yet named."""
        return np.array([self.book.identity_of(camera, int(i)) for i in track_id], np.int64).reshape(-1)

    # ------------------------------------------------------------------ evidence

    def _observe(self, time_s: float, view: CameraView) -> None:
        """Update the records of the tracks seen in one camera, and sample their looks."""
        tracks, c = view.tracks, self.config
        for i in np.flatnonzero(tracks.seen):
            key = (view.camera, int(tracks.track_id[i]))
            record = self.book.tracklets.get(key)
            if record is None:
                record = TrackletRecord(*key, time_s, time_s, tracks.xyxy[i].copy(), tracks.xyxy[i].copy())
                self.book.add(record)
            record.last_s, record.last_box = time_s, tracks.xyxy[i].copy()
            record.confirmed = record.confirmed or tracks.state[i] == TrackState.CONFIRMED
            due = time_s - record.sampled_s >= c.sample_s or record.samples < c.samples
            if tracks.embedding is not None and due and view.quality[i] >= c.min_quality:
                look = tracks.embedding[i]
                if look.any():
                    record.sample(look, float(view.quality[i]), time_s)
                    self.book.touch(record)
        if time_s < self._next_met_s.get(view.camera, -np.inf):
            return
        self._next_met_s[view.camera] = time_s + c.sample_s
        named = [self.book.identity_of(view.camera, int(t)) for t in tracks.track_id[tracks.seen]]
        self.book.saw_together([g for g in named if g >= 0])

    def _keep_apart(self, time_s: float, view: CameraView) -> None:
        """If an identity stays twice in one camera (a lost track came back), the younger tracklet loses it."""
        holders: dict[int, list[TrackletRecord]] = {}
        for track_id in view.tracks.track_id[view.tracks.seen]:
            record = self.book.tracklets[view.camera, int(track_id)]
            if record.global_id >= 0:
                holders.setdefault(record.global_id, []).append(record)
        since = self._twice_since.setdefault(view.camera, {})
        twice = {g: since.get(g, time_s) for g, records in holders.items() if len(records) > 1 and _apart(records)}
        self._twice_since[view.camera] = twice
        for g in [g for g, first_s in twice.items() if time_s - first_s > OVERLAP_S]:
            del twice[g]
            for record in self._misfits(holders[g]):
                self.book.assign(record, -1)
                self._decide(time_s, [record], final=True, previous=g)

    def _misfits(self, holders: list[TrackletRecord]) -> list[TrackletRecord]:
        """All but one of the tracklets: the one stays that looks most like the identity's other tracklets."""
        others = [m.looks for m in self.book.members(holders[0].global_id) if m not in holders]
        rest = Prototypes.of(others, self.config.prototypes)
        fit = [looks_distance(Prototypes.of([r.looks], 1), rest) for r in holders]
        order = sorted(range(len(holders)), key=lambda i: (np.nan_to_num(fit[i], nan=9.0), holders[i].first_s))
        return [holders[i] for i in order[1:]]

    def _learn_scene(self, time_s: float) -> None:
        """Collect pairs that are certain: people met together are different, one tracklet is one person."""
        assert self.scene is not None
        live = self.book.recent_named(time_s)
        means = {id(r): Prototypes.of([r.looks], 1) for r in live}
        for i, a in enumerate(live):
            for b in live[i + 1 :]:
                if a.camera == b.camera and self.book.met(a.global_id, b.global_id):
                    key = (a.camera, *sorted((a.track_id, b.track_id)))
                    self.scene.add("different", key, looks_distance(means[id(a)], means[id(b)]))
        for r in live:
            if len(r.looks) >= 4:
                early, late = r.looks.halves()
                self.scene.add("same", (r.camera, r.track_id), 1.0 - float(early @ late))
        self._learn_overlap(live)

    def _learn_overlap(self, live: list[TrackletRecord]) -> None:
        """For each two cameras: how many people in view of one have a clear match in the other right now?"""
        assert self.scene is not None
        groups: dict[str, list[TrackletRecord]] = {}
        for r in live:
            if r.looks.weight.sum() >= 1.0:
                groups.setdefault(r.camera, []).append(r)
        names = sorted(groups)
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                mean_a = np.stack([r.looks.mean() for r in groups[a]])
                mean_b = np.stack([r.looks.mean() for r in groups[b]])
                odds = self.scene.log_odds(1.0 - mean_a @ mean_b.T)
                mutual = (odds == odds.max(axis=1, keepdims=True)) & (odds == odds.max(axis=0))
                self.transitions.learn_overlap(a, b, float((mutual & (odds > 0)).sum()), float(min(odds.shape)))

    # ------------------------------------------------------------------ naming

    def _name(self, time_s: float, waiting: list[TrackletRecord], final: bool = False) -> None:
        """Decide about the waiting tracklets that have enough evidence."""
        c = self.config
        if self.scene is None:
            for record in waiting:
                self._found(time_s, record, "new")
            return
        ready = []
        for r in waiting:
            age_s = time_s - r.first_s
            overdue = final or age_s >= c.wait_s
            if len(r.looks) and ((r.samples >= c.samples and age_s >= c.name_s) or overdue):
                ready.append(r)
            elif overdue:
                self._found(time_s, r, "new", gates={"no_usable_crop": True})
        if ready:
            self._decide(time_s, ready, final)

    def _decide(self, time_s: float, ready: list[TrackletRecord], final: bool, previous: int = -1) -> None:
        """Link, found or leave waiting; ``previous`` is the identity that the tracklets were just taken from."""
        if self.scene is None:
            for record in ready:
                self._found(time_s, record, "unlink" if previous >= 0 else "new", previous)
            return
        c, ids = self.config, self.book.open_ids()
        score = np.full((len(ready), len(ids)), -np.inf)
        distance = np.full_like(score, np.nan)
        for i, record in enumerate(ready):
            for j, g in enumerate(ids):
                score[i, j], distance[i, j] = self._pair(record, g)
        choice = self._assign(score)
        for i, record in enumerate(ready):
            j = choice[i]
            best, runner, runner_j = _best_two(score[i], j)
            overdue = final or time_s - record.first_s >= c.wait_s
            if j >= 0 and sigmoid(best) >= c.link_probability and (best - runner >= c.margin):
                rival = distance[i, runner_j] if runner_j >= 0 else np.nan
                self._link(time_s, record, ids[j], distance[i, j], rival, best, runner, previous)
            elif overdue or sigmoid(score[i].max(initial=-np.inf)) < c.new_probability:
                kind = "unlink" if previous >= 0 else "new"
                self._found(time_s, record, kind, previous, _nearest(score[i], ids))

    def _assign(self, score: Array) -> list[int]:
        """Hungarian assignment of tracklets to identities; −1 where alone is better."""
        n, m = score.shape
        cost = np.concatenate([np.where(np.isfinite(score), -score, 1e3), np.full((n, n), 0.0)], axis=1)
        rows, cols = linear_sum_assignment(cost)
        out = [-1] * n
        for r, col in zip(rows, cols, strict=True):
            if col < m and np.isfinite(score[r, col]):
                out[r] = int(col)
        return out

    def _pair(self, record: TrackletRecord, global_id: int) -> tuple[float, float]:
        """Log-odds that the tracklet is the identity (−∞ where a gate is shut), and the distance of their looks."""
        assert self.scene is not None
        members = self.book.members(global_id)
        for other in members:
            if other.camera == record.camera and min(other.last_s, record.last_s) - max(
                other.first_s, record.first_s
            ) > OVERLAP_S:
                return -np.inf, np.nan
        timing = self._timing(record, members)
        if timing == -np.inf:
            return -np.inf, np.nan
        distance = looks_distance(Prototypes.of([record.looks], 1), self.book.look(global_id))
        if np.isnan(distance):
            return -np.inf, np.nan
        return float(self.scene.log_odds(np.array(distance))) + timing, distance

    def _timing(self, record: TrackletRecord, members: Sequence[TrackletRecord]) -> float:
        """What time and place say: the identity's last sight before the tracklet began."""
        before = [m for m in members if m.first_s <= record.first_s]
        if not before:
            return 0.0
        last = max(before, key=lambda m: m.last_s)
        if last.camera != record.camera:
            if last.last_s - record.first_s > OVERLAP_S:
                return self.transitions.together(last.camera, record.camera)
            return self.transitions.log_odds(last.camera, record.camera, record.first_s - last.last_s)
        return _walk(last.last_box, record.first_box, record.first_s - last.last_s)

    def _link(
        self, time_s: float, record: TrackletRecord, g: int, distance: float, rival: float, best: float, runner: float,
        previous: int,
    ) -> None:
        members = self.book.members(g)
        before = [m for m in members if m.first_s <= record.first_s]
        gates: dict[str, object] = {"free_in_camera": True, "margin": round(min(best - runner, 99.0), 3)}
        if before:
            last = max(before, key=lambda m: m.last_s)
            elapsed = record.first_s - last.last_s
            gates |= {"from_camera": last.camera, "elapsed_s": round(elapsed, 3)}
            gates["time_and_place"] = round(self._timing(record, members), 3)
            if sigmoid(best) >= 0.9:
                self.transitions.learn(last.camera, record.camera, elapsed)
        self.book.assign(record, g)
        self._links.append(
            Link(time_s, record.camera, record.track_id, g, "unlink" if previous >= 0 else "link", previous, distance,
                 rival, sigmoid(best), gates)
        )

    def _found(
        self, time_s: float, record: TrackletRecord, kind: str, previous: int = -1,
        gates: dict[str, object] | None = None,
    ) -> None:
        """Give a tracklet an identity of its own."""
        g = self.book.create()
        self.book.assign(record, g)
        self._links.append(Link(time_s, record.camera, record.track_id, g, kind, previous, gates=gates or {}))

    # ------------------------------------------------------------------ merging

    def _merge(self, time_s: float) -> None:
        """Make one of two identities that never met and look the same beyond doubt."""
        c, changed = self.config, self.book.take_changed()
        for g in changed:
            if not self.book.is_open(g):
                continue
            others = [h for h in self.book.open_ids() if h != g and not self.book.met(g, h)]
            scores = [self._identity_pair(g, h) for h in others]
            if not scores:
                continue
            odds = np.array([s for s, _ in scores])
            best, runner, runner_j = _best_two(odds, int(odds.argmax()))
            if sigmoid(best) < c.merge_probability or best - runner < c.merge_margin:
                continue
            j = int(odds.argmax())
            keep, gone = sorted((g, others[j]))
            rival = scores[runner_j][1] if runner_j >= 0 else np.nan
            first = min(self.book.members(gone), key=lambda m: (m.first_s, m.camera, m.track_id))
            self.book.merge(keep, gone)
            self._links.append(
                Link(time_s, first.camera, first.track_id, keep, "merge", gone, scores[j][1], rival, sigmoid(best),
                     {"never_met": True, "margin": round(min(best - runner, 99.0), 3)})
            )

    def _identity_pair(self, g: int, h: int) -> tuple[float, float]:
        assert self.scene is not None
        a, b = self.book.members(g), self.book.members(h)
        for p in a:
            for q in b:
                if p.camera == q.camera and min(p.last_s, q.last_s) - max(p.first_s, q.first_s) > OVERLAP_S:
                    return -np.inf, np.nan
        if min(sum(r.samples for r in a), sum(r.samples for r in b)) < MERGE_SAMPLES:
            return -np.inf, np.nan
        first, second = (a, b) if min(r.first_s for r in a) <= min(r.first_s for r in b) else (b, a)
        timing = self._timing(min(second, key=lambda r: r.first_s), first)
        distance = looks_distance(self.book.look(g), self.book.look(h))
        if np.isnan(distance) or timing == -np.inf:
            return -np.inf, np.nan
        return float(self.scene.log_odds(np.array(distance))) + timing, distance

    # ------------------------------------------------------------------ state

    def state(self) -> State:
        """Everything needed to go on with identical decisions."""
        return {
            "book": self.book.state(), "transitions": self.transitions.state(),
            "scene": None if self.scene is None else self.scene.state(),
            "next_met_s": dict(self._next_met_s), "next_s": [self._next_merge_s, self._next_prune_s],
            "twice_since": [[camera, [[g, t] for g, t in row.items()]] for camera, row in self._twice_since.items()],
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.book.restore(state["book"])
        self.transitions.restore(state["transitions"])
        if self.scene is not None and state["scene"] is not None:
            self.scene.restore(state["scene"])
        self._next_met_s = dict(state["next_met_s"])
        self._twice_since = {camera: {g: t for g, t in row} for camera, row in state["twice_since"]}  # noqa: C416
        self._next_merge_s, self._next_prune_s = state["next_s"]


def _best_two(score: Array, chosen: int) -> tuple[float, float, int]:
    """Score of the chosen entry, of the best other one, and that one's index (−1 where there is none)."""
    if chosen < 0:
        return -np.inf, -np.inf, -1
    others = score.copy()
    others[chosen] = -np.inf
    j = int(others.argmax())
    return float(score[chosen]), float(others[j]), j if others[j] > -np.inf else -1


def _apart(records: list[TrackletRecord]) -> bool:
    """Whether tracklets stand at different places (two boxes on one person do not)."""
    xyxy = np.stack([r.last_box for r in records])
    overlap = np.triu(boxes.iou(xyxy, xyxy), 1)
    return bool(overlap.max() < 0.4)


def _nearest(score: Array, ids: Sequence[int]) -> dict[str, object]:
    """Which identity came nearest, for the record of a new one."""
    if not len(ids) or not np.isfinite(score.max()):
        return {}
    k = int(score.argmax())
    return {"nearest": ids[k], "probability": sigmoid(float(score[k]))}


def _walk(last_box: Array, first_box: Array, elapsed_s: float) -> float:
    """What place says inside one camera: −∞ if nobody walks that fast, a bonus for short gaps near by."""
    height = max(last_box[3] - last_box[1], first_box[3] - first_box[1], 1.0)
    way = np.hypot(*((last_box[:2] + last_box[2:]) / 2 - (first_box[:2] + first_box[2:]) / 2)) / height
    reach = 1.0 + REACH_SPEED * max(elapsed_s, 0.0)
    if way > reach:
        return -np.inf
    if elapsed_s < -0.2:
        return -2.0  # seen at once in two places, if only for a moment
    return float(1.5 * np.exp(-max(elapsed_s, 0.0) / 3.0) * (1 - way / reach))

"""Online identities: new and lost tracklets against a gallery, by Hungarian assignment on calibrated log-odds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mctrack import boxes
from mctrack.associate import CameraView
from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.doors import Entrances
from mctrack.associate.hindsight import CROWD, LIMIT, look_back
from mctrack.associate.identities import IdentityBook
from mctrack.associate.lessons import learn
from mctrack.associate.looks import Prototypes, looks_distance
from mctrack.associate.scores import Partner, Scorer, Scores
from mctrack.associate.together import Together
from mctrack.associate.transitions import Transitions
from mctrack.associate.whereabouts import OVERLAP_S
from mctrack.config import AssociateConfig
from mctrack.types import IntArray, Link, State, TrackState

Array = NDArray[np.float64]
PRUNE_S = 10.0
MERGE_COMPARISONS = 500
"""Pairs of identities compared exactly at a time; in a crowd the rest waits for the next turn."""


def sigmoid(x: float) -> float:
    """Probability from log-odds."""
    return float(1.0 / (1.0 + np.exp(-np.clip(x, -50, 50))))


def logit(p: float) -> float:
    """Log-odds from probability."""
    return float(np.log(p / (1.0 - p)))


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
        self.book = IdentityBook(cameras, config.prototypes, config.max_identities)
        self.transitions = Transitions(config.transitions, cameras, config.learn_transitions)
        self.scene = None if probability is None else SceneCalibration(probability)
        self._scorer = None if self.scene is None else Scorer(self.book, self.scene, self.transitions)
        self.together = Together(self.book, self.scene, self._unite)
        if self._scorer is not None:
            self._scorer.impossible = self.together.impossible
        self._next_merge_s = self._next_prune_s = self._next_look_s = -np.inf
        self._merge_from = 0
        self._next_met_s: dict[str, float] = {}
        self._twice: dict[str, dict[int, tuple[float, float]]] = {}
        self._links: list[Link] = []

    # ------------------------------------------------------------------ protocol

    def update(self, time_s: float, views: Sequence[CameraView]) -> tuple[Link, ...]:
        """Take one instant; see :class:`mctrack.associate.Associator`."""
        self._links = []
        for view in views:
            self._observe(time_s, view)
        self._links += self.together.observe(time_s, views)
        for view in views:
            self._keep_apart(time_s, view)
        self._name(time_s, self.book.waiting())
        if self.scene is not None and time_s >= self._next_merge_s:
            self._next_merge_s = time_s + self.config.merge_s
            learn(self.book, self.scene, self.transitions, time_s)
            self._reconsider(time_s)
            self._merge(time_s)
        if self.config.hindsight_s > 0 and time_s >= self._next_look_s:
            self._next_look_s = time_s + self.config.hindsight_s * max(1.0, min(len(self.book.table), LIMIT) / CROWD)
            self._look_back(time_s)
        if time_s >= self._next_prune_s:
            self._next_prune_s = time_s + PRUNE_S
            self.book.prune(time_s)
            self.together.stays.prune(time_s)
            self.together.recent.prune(time_s)
        return tuple(self._links)

    def finish(self) -> tuple[Link, ...]:
        """Name what still waits."""
        self._links = []
        self.together.close()
        waiting = self.book.waiting()
        if waiting:
            self._name(float(self.book.table.last_s[waiting].max()), waiting, final=True)
        if self.config.hindsight_s > 0:
            self._look_back(float(self.book.table.last_s.max(initial=0.0)))
        return tuple(self._links)

    def global_ids(self, camera: str, track_id: IntArray) -> IntArray:
        """(n,) identities, −1 where not yet named."""
        return self.book.identities_of(camera, track_id)

    def ground(self, camera: str, track_id: IntArray) -> Array:
        """(n, 2) metres, where the people of a camera's tracks are by all cameras together; NaN where unknown."""
        return self.together.places(camera, track_id)

    def take_entrances(self, entrances: Entrances | None) -> None:
        """Learn where people come in and go out; see :mod:`mctrack.associate.doors`."""
        self.together.entrances = entrances

    # ------------------------------------------------------------------ evidence

    def _observe(self, time_s: float, view: CameraView) -> None:
        """Update the tracklets seen in one camera, and sample their looks."""
        tracks, table, c = view.tracks, self.book.table, self.config
        seen = np.flatnonzero(tracks.seen)
        rows = self.book.see(view.camera, tracks.track_id[seen], time_s, tracks.xyxy[seen])
        table.confirmed[rows] |= tracks.state[seen] == TrackState.CONFIRMED
        if tracks.embedding is not None:
            due = (time_s - table.sampled_s[rows] >= c.sample_s) | (table.samples[rows] < c.samples)
            due &= (view.quality[seen] >= c.min_quality) & tracks.embedding[seen].any(axis=1)
            for row, i in zip(rows[due].tolist(), seen[due].tolist(), strict=True):
                table.looks[row].add(tracks.embedding[i], float(view.quality[i]))
                self.together.recent.add(row, time_s, tracks.embedding[i], float(view.quality[i]))
                self.book.touch(row)
            table.sampled_s[rows[due]] = time_s
            table.samples[rows[due]] += 1
        if time_s >= self._next_met_s.get(view.camera, -np.inf):
            self._next_met_s[view.camera] = time_s + c.sample_s
            self.book.saw_together([g for g in table.global_id[rows].tolist() if g >= 0])

    def _keep_apart(self, time_s: float, view: CameraView) -> None:
        """If an identity stays twice in one camera (a lost track came back), the younger tracklet loses it."""
        table = self.book.table
        rows = table.find(view.camera, view.tracks.track_id[view.tracks.seen])
        ids, count = np.unique(table.global_id[rows], return_counts=True)
        holders = {g: rows[table.global_id[rows] == g].tolist() for g in ids[(count > 1) & (ids >= 0)].tolist()}
        # one that is missed now and then is twice all the same
        old = self._twice.get(view.camera, {})
        twice = {g: (first_s, last_s) for g, (first_s, last_s) in old.items() if time_s - last_s <= OVERLAP_S}
        for g, same in holders.items():
            if _apart(table.last_box[same]):
                twice[g] = (twice.get(g, (time_s, 0.0))[0], time_s)
        self._twice[view.camera] = twice
        for g in [g for g in sorted(twice) if g in holders and time_s - twice[g][0] > OVERLAP_S]:
            del twice[g]
            for row in self._misfits(holders[g]):
                self.book.assign(row, -1)
                self._decide(time_s, [row], final=True, previous=g)

    def _misfits(self, holders: list[int]) -> list[int]:
        """All but one of the tracklets: the one stays that looks most like the identity's other tracklets."""
        table = self.book.table
        others = [m for m in self.book.members(int(table.global_id[holders[0]])) if m not in holders]
        rest = Prototypes.of([table.looks[m] for m in others], self.config.prototypes)
        fit = [looks_distance(Prototypes.of([table.looks[r]]), rest) for r in holders]
        order = sorted(range(len(holders)), key=lambda i: (np.nan_to_num(fit[i], nan=9.0), table.first_s[holders[i]]))
        return [holders[i] for i in order[1:]]

    # ------------------------------------------------------------------ naming

    def _name(self, time_s: float, waiting: list[int], final: bool = False) -> None:
        """Decide about the waiting tracklets that have enough evidence."""
        c, table = self.config, self.book.table
        if self.scene is None:
            for row in self.together.collapse(waiting)[0] if self.together.active else waiting:
                self._found(time_s, row, "new")
            self._links += self.together.follow(time_s)
            return
        ready, faceless = [], []
        for row in waiting:
            age_s = time_s - table.first_s[row]
            overdue = final or age_s >= c.wait_s
            if len(table.looks[row]) and ((table.samples[row] >= c.samples and age_s >= c.name_s) or overdue):
                ready.append(row)
            elif overdue:
                faceless.append(row)
        if self.together.active:
            faceless = self._without_company(ready, faceless)
        for row in faceless:
            self._found(time_s, row, "new", gates={"no_usable_crop": True})
        if ready:
            self._decide(time_s, ready, final)
        self._links += self.together.follow(time_s)

    def _without_company(self, ready: Sequence[int], faceless: Sequence[int]) -> list[int]:
        """Of tracklets without a crop those to be named by themselves: nobody of their presence has looks."""
        heads, company = self.together.collapse(faceless)
        described = self.book.table.looks
        return [head for head, rows in zip(heads, company, strict=True)
                if not any(row in ready or len(described[row]) for row in rows)]

    def _decide(self, time_s: float, ready: list[int], final: bool, previous: int = -1, **why: object) -> None:
        """Link, found or leave waiting; ``previous`` is the identity that the tracklets were just taken from.

        ``why`` goes into the record of the decision.
        """
        kind = "unlink" if previous >= 0 else "new"
        if self._scorer is None:
            for row in ready:
                self._found(time_s, row, kind, previous)
            return
        c, scores, ready = self.config, *self._score(ready)
        for i, (row, j) in enumerate(zip(ready, _assign(scores.odds), strict=True)):
            best, runner, runner_j = _best_two(scores.odds[i], j)
            overdue = final or time_s - self.book.table.first_s[row] >= c.wait_s
            if j >= 0 and sigmoid(best) >= c.link_probability and best - runner >= c.margin:
                self._link(time_s, row, scores, i, j, runner_j, previous, why)
            elif overdue or sigmoid(scores.odds[i].max(initial=-np.inf)) < c.new_probability:
                self._found(time_s, row, kind, previous, _nearest(scores.odds[i], scores.ids) | why)

    def _score(self, ready: list[int]) -> tuple[Scores, list[int]]:
        """Scores of the tracklets; of those that are together on the floor one speaks for all."""
        assert self._scorer is not None
        if not self.together.active:
            return self._scorer.tracklets(ready), ready
        heads, company = self.together.collapse(ready)
        return self._scorer.tracklets(heads, company, self.together.odds(heads, self.book.open_ids())), heads

    def _link(self, time_s: float, row: int, scores: Scores, i: int, j: int, runner_j: int, previous: int,
              why: Mapping[str, object]) -> None:
        """Give the i-th of the scored tracklets the j-th identity."""
        table, g, best = self.book.table, scores.ids[j], float(scores.odds[i, j])
        runner, rival = (scores.odds[i, runner_j], scores.distance[i, runner_j]) if runner_j >= 0 else (-np.inf, np.nan)
        gates: dict[str, object] = {"free_in_camera": True, "margin": round(min(best - float(runner), 99.0), 3), **why}
        camera, last = table.cameras[table.camera[row]], int(scores.last[i, j])
        if last >= 0:
            source = table.cameras[table.camera[last]]
            elapsed = float(table.first_s[row] - table.last_s[last])
            gates |= {"from_camera": source, "elapsed_s": round(elapsed, 3)}
            gates["time_and_place"] = round(float(scores.timing[i, j]), 3)
            if sigmoid(best) >= 0.9 and elapsed >= -OVERLAP_S:  # how long somebody stood in both views is no way
                self.transitions.learn(source, camera, elapsed)
        self.book.assign(row, g)
        self._links.append(
            Link(time_s, camera, int(table.track_id[row]), g, "unlink" if previous >= 0 else "link", previous,
                 float(scores.distance[i, j]), float(rival), sigmoid(best), gates)
        )  # fmt: skip

    def _found(
        self, time_s: float, row: int, kind: str, previous: int = -1, gates: dict[str, object] | None = None
    ) -> None:
        """Give a tracklet an identity of its own."""
        table, g = self.book.table, self.book.create()
        self.book.assign(row, g)
        camera, track_id = table.cameras[table.camera[row]], int(table.track_id[row])
        self._links.append(Link(time_s, camera, track_id, g, kind, previous, gates=gates or {}))

    def _reconsider(self, time_s: float) -> None:
        """Break links of people who came back, where later looks speak against it (:mod:`mctrack.associate.doubt`)."""
        for doubt in self.together.doubts(-logit(self.config.link_probability)):
            self.together.renounce(doubt.presence)
            if any(self.book.table.global_id[row] != doubt.global_id for row in doubt.rows):
                continue  # another presence of this name has taken them along just now
            for row in doubt.rows:
                self.book.assign(row, -1)
            head, *others = sorted(doubt.rows, key=lambda row: -int(self.book.table.samples[row]))
            self._found(time_s, head, "unlink", doubt.global_id, {"looks_turned": True})
            g = int(self.book.table.global_id[head])
            for row in others:
                self._take_along(time_s, row, g, doubt.global_id)

        for relay in self.together.relays():
            previous = self.together.who(relay.presence)
            rows = [row for row in self.together.pass_on(time_s, relay) if len(self.book.table.looks[row])]
            if rows:
                self._decide(time_s, rows, final=True, previous=previous, relay_s=round(relay.since_s, 3))
            self._links += self.together.follow(time_s)

    def _take_along(self, time_s: float, row: int, global_id: int, previous: int) -> None:
        """Give a tracklet the identity of another one that it belongs to."""
        table = self.book.table
        self.book.assign(row, global_id)
        camera, track_id = table.cameras[table.camera[row]], int(table.track_id[row])
        self._links.append(Link(time_s, camera, track_id, global_id, "unlink", previous, gates={"same_stay": True}))

    # ------------------------------------------------------------------ merging

    def _merge(self, time_s: float) -> None:
        """Make one of two identities that never met and look the same beyond doubt."""
        assert self._scorer is not None
        need, margin = logit(self.config.merge_probability), self.config.merge_margin
        changed, left = self.book.take_changed(), MERGE_COMPARISONS
        changed.sort(key=lambda g: g < self._merge_from)  # whoever had to wait comes first
        self._merge_from = 0
        candidates: dict[int, list[tuple[float, int]]] | None = None
        for n, g in enumerate(changed):
            if candidates is None:
                candidates = self._scorer.merge_candidates(changed[n:], need - margin)
            if left <= 0:
                self.book.put_back(changed[n:])
                self._merge_from = g
                return
            best, compared = self._scorer.partners(g, candidates.get(g, []), need)
            left -= compared
            if not best or best[0].odds < need or (len(best) > 1 and best[0].odds - best[1].odds < margin):
                continue
            # once more against everybody: the runner-up to be told may be one that could not matter
            best, _ = self._scorer.partners(g, self._scorer.merge_candidates([g], -np.inf)[g], -np.inf)
            self._join(time_s, g, best)
            candidates = None

    def _join(self, time_s: float, g: int, best: list[Partner]) -> None:
        """Merge an identity with the best of its partners; the older number stays."""
        table, chosen = self.book.table, best[0]
        margin, rival = (chosen.odds - best[1].odds, best[1].distance) if len(best) > 1 else (np.inf, np.nan)
        keep, gone = sorted((g, chosen.global_id))
        first = min(
            self.book.members(gone), key=lambda r: (table.first_s[r], table.cameras[table.camera[r]], table.track_id[r])
        )
        self.book.merge(keep, gone)
        self.together.renamed(keep, gone)
        self._links.append(
            Link(time_s, table.cameras[table.camera[first]], int(table.track_id[first]), keep, "merge", gone,
                 chosen.distance, float(rival), sigmoid(chosen.odds),
                 {"never_met": True, "margin": round(float(min(margin, 99.0)), 3)})
        )  # fmt: skip

    def _unite(self, time_s: float, keep: int, gone: int, gates: dict[str, object]) -> None:
        """Merge identities for a reason other than looks."""
        table = self.book.table
        first = min(
            self.book.members(gone), key=lambda r: (table.first_s[r], table.cameras[table.camera[r]], table.track_id[r])
        )
        self.book.merge(keep, gone)
        self.together.renamed(keep, gone)
        camera, track_id = table.cameras[table.camera[first]], int(table.track_id[first])
        self._links.append(Link(time_s, camera, track_id, keep, "merge", gone, gates=gates))

    def _look_back(self, time_s: float) -> None:
        """Change the names that everything remembered speaks against (:mod:`mctrack.associate.hindsight`)."""
        if self.scene is None:
            return
        found = look_back(self.book, self.scene, self.transitions, self.together.evidence)
        for keep, gone in found.merges:
            self._unite(time_s, keep, gone, {"hindsight": True})
        table, fresh, touched = self.book.table, {}, set()
        for move in found.moves:
            if move.fresh is not None and move.fresh not in fresh:
                fresh[move.fresh] = self.book.create()
            g = move.global_id if move.fresh is None else fresh[move.fresh]
            old = int(table.global_id[move.row])
            self.book.assign(move.row, g)
            touched |= {old, g}
            odds = float(self.scene.log_odds(np.array(move.distance)))
            self._links.append(
                Link(time_s, table.cameras[table.camera[move.row]], int(table.track_id[move.row]), g, "unlink", old,
                     move.distance, move.rival, sigmoid(odds), {"hindsight": True})
            )  # fmt: skip
        self.book.tidy(touched)
        if touched and self.together.active:
            self.together.renamed_all()

    # ------------------------------------------------------------------ state

    def state(self) -> State:
        """Everything needed to go on with identical decisions."""
        return {
            "book": self.book.state(), "transitions": self.transitions.state(),
            "scene": None if self.scene is None else self.scene.state(),
            "next_met_s": dict(self._next_met_s),
            "next_s": [self._next_merge_s, self._next_prune_s, self._next_look_s], "merge_from": self._merge_from,
            "together": self.together.state(),
            "twice": [[camera, [[g, *times] for g, times in row.items()]] for camera, row in self._twice.items()],
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.book.restore(state["book"])
        self.transitions.restore(state["transitions"])
        if self.scene is not None and state["scene"] is not None:
            self.scene.restore(state["scene"])
        self._next_met_s = dict(state["next_met_s"])
        self._twice = {camera: {g: (first_s, last_s) for g, first_s, last_s in row} for camera, row in state["twice"]}
        self._next_merge_s, self._next_prune_s, self._next_look_s = state["next_s"]
        self._merge_from = state.get("merge_from", 0)  # runs begun before it was kept
        self.together.restore(state["together"])


def _assign(odds: Array) -> list[int]:
    """Hungarian assignment of n tracklets to m identities by log-odds (n, m); −1 where alone is better."""
    n, out = len(odds), [-1] * len(odds)
    useful = np.flatnonzero((odds > 0).any(axis=0))
    cost = np.concatenate([np.where(odds[:, useful] > 0, -odds[:, useful], 1e3), np.zeros((n, n))], axis=1)
    for i, j in zip(*linear_sum_assignment(cost), strict=True):
        if j < len(useful) and odds[i, useful[j]] > 0:
            out[i] = int(useful[j])
    return out


def _best_two(score: Array, chosen: int) -> tuple[float, float, int]:
    """Score of the chosen entry, of the best other one, and that one's index (−1 where there is none)."""
    if chosen < 0:
        return -np.inf, -np.inf, -1
    others = score.copy()
    others[chosen] = -np.inf
    j = int(others.argmax())
    return float(score[chosen]), float(others[j]), j if others[j] > -np.inf else -1


def _apart(xyxy: Array) -> bool:
    """Whether two of the boxes (n, 4) stand at different places (two boxes on one person do not)."""
    return bool(boxes.iou(xyxy, xyxy).min() < 0.4)


def _nearest(score: Array, ids: Sequence[int]) -> dict[str, object]:
    """Which identity came nearest, for the record of a new one."""
    if not len(ids) or not np.isfinite(score.max()):
        return {}
    k = int(score.argmax())
    return {"nearest": ids[k], "probability": sigmoid(float(score[k]))}

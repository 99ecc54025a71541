"""Who is where on the floor, remembered from instant to instant: one Kalman state per present person.

A *presence* is a person who is in sight of calibrated cameras without a break. Each camera's track is at home in one
presence, each presence holds at most one seen track per camera. The evidence for a home is a running mean of log-odds
(see :mod:`mctrack.associate.ground`), so a home is not left for one bad box, and it is left, and the right one taken,
when the evidence turns: then two tracks that exchanged people exchange homes.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.associate.alignment import Alignment, differences
from mctrack.associate.ground import Places, best_assignment, fused, group, log_density, pair_odds
from mctrack.types import FloatArray, IntArray, State

Array = NDArray[np.float64]
TAU_S = 0.8
"""Memory of the evidence for a home."""
HOLD = 2.0
"""Log-odds by which another home must be better before a track moves."""
WORST = -10.0
"""No single instant says more than this against a home."""
SLACK_M = 0.1
"""Errors that all sightings of a person share, and that averaging does not mend."""
WALK_M_S, TURN_M2_S3 = 1.2, 1.0
"""Spread of speeds of people, and how fast they change (spectral density of acceleration)."""
COAST_S = 1.5
"""A presence that nobody sees is followed for this long."""
CURRENT_S = 0.5
LEARN_S = 0.2
FORGET_TRACK_S = 5.0
Differ = Callable[[int, int], bool]
"""Called with two presences; whether something else is known that makes them different people."""
Alike = Callable[[IntArray, IntArray], Array]
"""Called with n sightings' numbers and m presences' numbers; (n, m) log-odds of looking alike, 0 where unknown."""


@dataclass(frozen=True, eq=False)
class Sightings:
    """Tracks seen at one instant: (n,) camera numbers and track IDs, and their places by their own calibration."""

    camera: IntArray
    track_id: IntArray
    places: Places


class Floor:
    """All presences.

    Args:
        cameras: how many cameras there are.
        unseen_density: people per m² that a camera misses where it looks.
    """

    def __init__(self, cameras: int, unseen_density: float = 0.05) -> None:
        self.alignment = Alignment(cameras)
        self.unseen_density = unseen_density
        self.time_s = -np.inf
        self._next_learn_s = -np.inf
        self._next_id = 1
        self._slot: dict[tuple[int, int], int] = {}
        self._free: list[int] = []
        self._home: IntArray = np.zeros(0, np.int64)  # presence number of each track slot, −1: none
        self._seen_s: FloatArray = np.zeros(0)
        self._evidence: dict[tuple[int, int], float] = {}  # (track slot, presence) → running mean of log-odds
        self.ids: IntArray = np.zeros(0, np.int64)  # presences, in order of birth
        self.mean: FloatArray = np.zeros((0, 4))
        self.cov: FloatArray = np.zeros((0, 4, 4))
        self.born_s: FloatArray = np.zeros(0)
        self.last_s: FloatArray = np.zeros(0)
        self.start: FloatArray = np.zeros((0, 2))
        self._pairs: dict[tuple[int, int], float] = {}
        self.merged: list[tuple[int, int]] = []
        self.moved: list[tuple[int, int]] = []

    # ------------------------------------------------------------------ questions

    def home(self, camera: int, track_id: int) -> int:
        """The presence that a track is at home in, −1: none."""
        slot = self._slot.get((camera, track_id), -1)
        return -1 if slot < 0 else int(self._home[slot])

    def places(self) -> Places:
        """Where the presences are."""
        return Places(self.mean[:, :2], self.cov[:, :2, :2])

    def members(self) -> dict[int, list[tuple[int, int]]]:
        """Presence → the (camera, track_id) at home there and seen of late."""
        out: dict[int, list[tuple[int, int]]] = {int(p): [] for p in self.ids}
        for key, slot in self._slot.items():
            if self._home[slot] >= 0:
                out.setdefault(int(self._home[slot]), []).append(key)
        return out

    # ------------------------------------------------------------------ one instant

    def update(
        self, time_s: float, seen: Sightings, alike: Alike | None = None, differ: Differ | None = None
    ) -> None:
        """Take one instant.

        ``merged`` then lists presences (gone, kept) that became one, and ``moved`` the tracks (camera, track_id) that
        left a home for another: they have gone on with another person.

        Args:
            time_s: now.
            seen: the tracks.
            alike: asked where geometry leaves more than one home possible.
            differ: asked before two presences become one.
        """
        dt = time_s - self.time_s if np.isfinite(self.time_s) else 0.0
        self.time_s, self.merged, self.moved = time_s, [], []
        self._predict(max(dt, 0.0))
        self._bury(time_s)
        self.alignment.make_room(int(seen.camera.max(initial=-1)) + 1)
        places = Places(seen.places.xy + self.alignment.offset[seen.camera], seen.places.cov)
        slots = self._slots(seen, time_s)
        if len(slots):
            before = self._home[slots]
            self._rehome(places, seen.camera, slots, max(dt, 0.0), alike)
            self._settle(places, seen.camera, slots)
            self._correct(places, slots, time_s)
            left = (before >= 0) & (before != self._home[slots])
            self.moved = list(zip(seen.camera[left].tolist(), seen.track_id[left].tolist(), strict=True))
            self._unite(places, slots, max(dt, 0.0), differ)
            if time_s >= self._next_learn_s:
                self._next_learn_s = time_s + LEARN_S
                self._learn(seen, places, slots)
        self._forget(time_s)

    def _slots(self, seen: Sightings, time_s: float) -> IntArray:
        keys = list(zip(seen.camera.tolist(), seen.track_id.tolist(), strict=True))
        for key in keys:
            if key not in self._slot:
                if not self._free:
                    size = len(self._home)
                    self._free = list(range(size, max(64, 2 * size)))
                    self._home = np.append(self._home, np.full(len(self._free), -1))
                    self._seen_s = np.append(self._seen_s, np.full(len(self._free), -np.inf))
                self._slot[key] = heapq.heappop(self._free)
        slots = np.array([self._slot[key] for key in keys], np.int64)
        self._seen_s[slots] = time_s
        return slots

    def _predict(self, dt: float) -> None:
        """Constant velocity with white acceleration (Bar-Shalom et al. 2001, 6.2.2), forgetting speed while unseen."""
        if dt <= 0 or not len(self.ids):
            return
        F = np.eye(4)
        F[0, 2] = F[1, 3] = dt
        q = TURN_M2_S3 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        self.mean = self.mean @ F.T
        self.cov = F @ self.cov @ F.T + np.kron(q, np.eye(2))

    def _rehome(self, places: Places, camera: IntArray, slots: IntArray, dt: float, alike: Alike | None) -> None:
        """Assign the sightings to presences, camera by camera, by the evidence up to now."""
        if not len(self.ids):
            return
        now = np.maximum(pair_odds(places, _slackened(self.places()), self.unseen_density), WORST)
        near = now > WORST
        score = self._remember(now, near, slots, dt)
        column = {int(p): k for k, p in enumerate(self.ids)}
        home = np.array([column.get(int(h), -1) for h in self._home[slots]], np.int64)
        count = np.bincount(home[home >= 0], minlength=len(self.ids))
        for i in np.flatnonzero(home >= 0).tolist():
            if count[home[i]] > 1:
                score[i, home[i]] += HOLD
            elif score[i, home[i]] > 0:  # alone and at home; whether another lives there, too, :meth:`_unite` will say
                score[i], score[i, home[i]] = WORST, HOLD
            else:  # it appears where its person cannot be: a tracker may take up a lost track with somebody else
                score[i, home[i]] += HOLD
        if alike is not None:
            self._ask(score, near, slots, alike)
        for c in np.unique(camera).tolist():
            mine = np.flatnonzero(camera == c)
            chosen = best_assignment(score[mine])
            self._home[slots[mine]] = np.where(chosen >= 0, self.ids[chosen], -1)

    def _remember(self, now: Array, near: NDArray[np.bool_], slots: IntArray, dt: float) -> Array:
        """(n, k) running means of the log-odds, ``WORST`` where a presence is out of reach and was."""
        keep = float(np.exp(-dt / TAU_S))
        score, ids, old = np.full(now.shape, WORST), self.ids.tolist(), self._evidence
        fresh: dict[tuple[int, int], float] = {}
        for i, k in zip(*np.nonzero(near), strict=True):
            key = (int(slots[i]), ids[k])
            before = old.get(key)
            value = float(now[i, k])
            fresh[key] = score[i, k] = value if before is None else keep * before + (1 - keep) * value
        at, column = {int(s): i for i, s in enumerate(slots)}, {p: k for k, p in enumerate(ids)}
        for (slot, p), before in old.items():
            k, row = column.get(p), at.get(slot)
            if k is None or (slot, p) in fresh:
                continue
            value = before if row is None else keep * before + (1 - keep) * WORST
            if value > WORST + 0.1:
                fresh[slot, p] = value
                if row is not None:
                    score[row, k] = value
        self._evidence = fresh
        return score

    def _ask(self, score: Array, near: NDArray[np.bool_], slots: IntArray, alike: Alike) -> None:
        """Let looks speak where geometry leaves several homes possible; they never open one that it has closed."""
        possible = near & (score > -HOLD)
        rows = np.flatnonzero(possible.sum(axis=1) > 1)
        if len(rows):
            cols = np.flatnonzero(possible[rows].any(axis=0))
            odds = alike(rows, self.ids[cols])
            at = np.ix_(rows, cols)
            score[at] = np.where(possible[at], score[at] + odds, score[at])

    def _settle(self, places: Places, camera: IntArray, slots: IntArray) -> None:
        """Found presences of the sightings that have no home."""
        lone = np.flatnonzero(self._home[slots] < 0)
        if not len(lone):
            return
        theirs = Places(places.xy[lone], places.cov[lone])
        label = group(theirs, camera[lone], self.unseen_density)
        found = fused(theirs, label)
        ids = self._next_id + np.arange(len(found))
        self._next_id += len(found)
        self._home[slots[lone]] = ids[label]
        cov = np.zeros((len(found), 4, 4))
        cov[:, :2, :2], cov[:, 2:, 2:] = found.cov + SLACK_M**2 * np.eye(2), WALK_M_S**2 * np.eye(2)
        self.ids = np.append(self.ids, ids)
        self.mean = np.concatenate([self.mean, np.column_stack([found.xy, np.zeros((len(found), 2))])])
        self.cov = np.concatenate([self.cov, cov])
        self.start = np.concatenate([self.start, found.xy])
        self.born_s = np.append(self.born_s, np.full(len(found), self.time_s))
        self.last_s = np.append(self.last_s, np.full(len(found), self.time_s))

    def _correct(self, places: Places, slots: IntArray, time_s: float) -> None:
        """Kalman update of every presence that was not founded just now by the mean of its sightings."""
        column = {int(p): k for k, p in enumerate(self.ids)}
        home = np.array([column[int(h)] for h in self._home[slots]], np.int64)
        old = (self.born_s[home] < time_s) & self._sound(places, home)
        if not old.any():
            return
        here, label = np.unique(home[old], return_inverse=True)
        z = fused(Places(places.xy[old], places.cov[old]), label.astype(np.int64))
        R = z.cov + SLACK_M**2 * np.eye(2)
        P = self.cov[here]
        S = P[:, :2, :2] + R
        gain = np.linalg.solve(S, P[:, :2, :]).transpose(0, 2, 1)
        step = z.xy - self.mean[here, :2]
        self.mean[here] += (gain @ step[:, :, None])[:, :, 0]
        P = P - gain @ P[:, :2, :]
        self.cov[here] = (P + P.transpose(0, 2, 1)) / 2
        self.last_s[here] = time_s

    def _sound(self, places: Places, home: IntArray) -> NDArray[np.bool_]:
        """(n,) whether a sighting fits where its presence is expected, or fits best of those near by.

        A track that goes off with somebody else must not drag the presence along until its evidence has turned.
        """
        expected = _slackened(self.places())
        step = places.xy - expected.xy[home]
        p = places.cov + expected.cov[home]
        fit = log_density(step, np.stack([p[:, 0, 0], p[:, 0, 1], p[:, 1, 1]], axis=1)) - np.log(self.unseen_density)
        best = np.full(len(self.ids), -np.inf)
        np.maximum.at(best, home, fit)
        return np.asarray((fit > 0) | ((fit >= best[home]) & (fit > WORST)))

    def _unite(self, places: Places, slots: IntArray, dt: float, differ: Differ | None) -> None:
        """Make one of two presences that no camera tells apart and that stay in one place."""
        column = {int(p): k for k, p in enumerate(self.ids)}
        home = np.array([column[int(h)] for h in self._home[slots]], np.int64)
        here, label = np.unique(home, return_inverse=True)
        now = _slackened(fused(places, label.astype(np.int64)))
        seen_by = self._cameras_of(here)
        odds = np.maximum(pair_odds(now, now, self.unseen_density), WORST)
        apart: NDArray[np.bool_] = np.any(seen_by[:, None] & seen_by[None], axis=2)
        keep = float(np.exp(-dt / TAU_S))
        fresh: dict[tuple[int, int], float] = {}
        for a, b in zip(*np.nonzero(np.triu(odds > WORST, 1)), strict=True):
            key = (int(self.ids[here[a]]), int(self.ids[here[b]]))
            value = float(WORST if apart[a, b] else odds[a, b])
            value = keep * self._pairs.get(key, WORST / 4) + (1 - keep) * value
            if value > WORST + 0.1:
                fresh[key] = value
        self._pairs = fresh
        gone: set[int] = set()
        united: list[int] = []
        for (older, younger), value in sorted(fresh.items(), key=lambda item: (-item[1], item[0])):
            if value <= HOLD or older in gone or younger in gone:
                continue
            if differ is not None and differ(older, younger):
                # two people are never in one place: the tracks of one of them have gone on with the other
                row = {int(self.ids[k]): i for i, k in enumerate(here)}
                few, many = sorted((younger, older), key=lambda p: int(seen_by[row[p]].sum()))
                self._move(few, many)
                self._pairs.pop((older, younger))
                gone |= {few, many}  # for this instant
                continue
            gone.add(younger)
            united.append(younger)
            self.merged.append((younger, older))
            self._home[self._home == younger] = older
        if united:
            self._drop(~np.isin(self.ids, united))

    def _move(self, source: int, target: int) -> None:
        """Give the tracks of a presence that are seen now another home; it was nobody's, and is followed no longer."""
        self.last_s[self.ids == source] = -np.inf
        for key, slot in self._slot.items():
            if self._home[slot] == source and self._seen_s[slot] == self.time_s:
                self._home[slot] = target
                self.moved.append(key)

    def _cameras_of(self, here: IntArray) -> NDArray[np.bool_]:
        """(k, cameras) which cameras have seen presences (by their rows) of late."""
        out = np.zeros((len(here), len(self.alignment.offset)), bool)
        row = {int(self.ids[k]): i for i, k in enumerate(here)}
        for (camera, _), slot in self._slot.items():
            i = row.get(int(self._home[slot]))
            if i is not None and self.time_s - self._seen_s[slot] <= COAST_S:
                out[i, camera] = True
        return out

    def _learn(self, seen: Sightings, places: Places, slots: IntArray) -> None:
        """Learn how far the cameras' floors are off."""
        label = np.unique(self._home[slots], return_inverse=True)[1].astype(np.int64)
        row, others, var = differences(places, label, seen.camera)
        if len(row):
            self.alignment.observe(seen.camera[row], seen.places.xy[row], others, var)
            turn = int(self.time_s / LEARN_S) % len(self.alignment.offset)
            self.alignment.update(turn if self.alignment.settled else None)

    def rename(self, camera: int, old: int, new: int) -> None:
        """Note that a track goes on under another ID."""
        self._slot[camera, new] = self._slot.pop((camera, old))

    # ------------------------------------------------------------------ forgetting

    def _bury(self, time_s: float) -> None:
        alive = time_s - self.last_s <= COAST_S
        if not alive.all():
            self._drop(alive)

    def _drop(self, keep: NDArray[np.bool_]) -> None:
        self._home[np.isin(self._home, self.ids[~keep])] = -1
        gone = set(self.ids[~keep].tolist())
        self._evidence = {key: v for key, v in self._evidence.items() if key[1] not in gone}
        for name in ("ids", "mean", "cov", "born_s", "last_s", "start"):
            setattr(self, name, getattr(self, name)[keep])

    def _forget(self, time_s: float) -> None:
        over = [key for key, slot in self._slot.items() if time_s - self._seen_s[slot] > FORGET_TRACK_S]
        slots = {self._slot.pop(key) for key in over}
        for slot in sorted(slots):
            heapq.heappush(self._free, slot)
        if slots:
            self._home[list(slots)] = -1
            self._evidence = {key: v for key, v in self._evidence.items() if key[0] not in slots}

    # ------------------------------------------------------------------ state

    def state(self) -> State:
        """Everything needed to go on alike."""
        return {
            "alignment": self.alignment.state(), "clock": [self.time_s, self._next_learn_s], "next_id": self._next_id,
            "slots": [[*key, slot] for key, slot in self._slot.items()],
            "home": self._home.copy(), "seen_s": self._seen_s.copy(),
            "evidence": [[*key, v] for key, v in self._evidence.items()],
            "pairs": [[*key, v] for key, v in self._pairs.items()],
            **{name: getattr(self, name).copy() for name in ("ids", "mean", "cov", "born_s", "last_s", "start")},
        }  # fmt: skip

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.alignment.restore(state["alignment"])
        self.time_s, self._next_learn_s = state["clock"]
        self._next_id, self.merged = state["next_id"], []
        self._slot = {(c, t): s for c, t, s in state["slots"]}
        self._home, self._seen_s = state["home"].copy(), state["seen_s"].copy()
        self._free = sorted(set(range(len(self._home))) - set(self._slot.values()))
        self._evidence = {(s, p): v for s, p, v in state["evidence"]}
        self._pairs = {(a, b): v for a, b, v in state["pairs"]}
        for name in ("ids", "mean", "cov", "born_s", "last_s", "start"):
            setattr(self, name, state[name].copy())


def _slackened(places: Places) -> Places:
    return Places(places.xy, places.cov + SLACK_M**2 * np.eye(2))

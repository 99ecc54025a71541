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
from mctrack.associate.ground import (
    Information,
    Places,
    best_assignment,
    fused,
    group,
    log_density,
    pair_odds,
    squared,
)
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
DISSENT = 11.8
"""Squared Mahalanobis distance from the other cameras (99.7 % are nearer) at which a sighting does not count."""
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
        self._camera: IntArray = np.zeros(0, np.int64)
        self._seen_s: FloatArray = np.zeros(0)  # ∞ where the slot is free
        self._evidence: Array = np.zeros((0, 0))  # (slots, presences) running means of log-odds, NaN: out of reach
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

    def distance(self, a: int, b: int) -> float:
        """Metres between two presences, infinite where one of them is over."""
        at = [np.flatnonzero(self.ids == p) for p in (a, b)]
        if not (len(at[0]) and len(at[1])):
            return np.inf
        return float(np.linalg.norm(self.mean[at[0][0], :2] - self.mean[at[1][0], :2]))

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
                    self._grow()
                self._slot[key] = heapq.heappop(self._free)
        slots = np.array([self._slot[key] for key in keys], np.int64)
        self._seen_s[slots], self._camera[slots] = time_s, seen.camera
        return slots

    def _grow(self) -> None:
        size = len(self._home)
        self._free = list(range(size, max(64, 2 * size)))
        more = len(self._free)
        self._home = np.append(self._home, np.full(more, -1))
        self._camera = np.append(self._camera, np.full(more, -1))
        self._seen_s = np.append(self._seen_s, np.full(more, np.inf))
        self._evidence = np.concatenate([self._evidence, np.full((more, len(self.ids)), np.nan)])

    def _column(self, presence: IntArray) -> IntArray:
        """(n,) rows of presences by their numbers, −1 where there is none (any more)."""
        if not len(self.ids):
            return np.full(len(presence), -1)
        at = np.searchsorted(self.ids, presence).clip(max=len(self.ids) - 1)
        return np.where(self.ids[at] == presence, at, -1)

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
        home = self._column(self._home[slots])
        housed = np.flatnonzero(home >= 0)
        at = home[housed]
        # alone and at home; whether another lives there, too, :meth:`_unite` will say. One that is alone and appears
        # where its person cannot be may leave: a tracker may take up a lost track with somebody else
        settled = (np.bincount(at, minlength=len(self.ids))[at] == 1) & (score[housed, at] > 0)
        score[housed[~settled], at[~settled]] += HOLD
        score[housed[settled]] = WORST
        score[housed[settled], at[settled]] = HOLD
        if alike is not None:
            self._ask(score, near, slots, alike)
        for c in np.unique(camera).tolist():
            mine = np.flatnonzero(camera == c)
            chosen = best_assignment(score[mine])
            self._home[slots[mine]] = np.where(chosen >= 0, self.ids[chosen], -1)

    def _remember(self, now: Array, near: NDArray[np.bool_], slots: IntArray, dt: float) -> Array:
        """(n, k) running means of the log-odds, ``WORST`` where a presence is out of reach and was."""
        keep = float(np.exp(-dt / TAU_S))
        before = self._evidence[slots]
        value = keep * before + (1 - keep) * now  # where a presence is out of reach ``now`` is ``WORST``
        value[near & np.isnan(before)] = now[near & np.isnan(before)]
        value[~(near | (value > WORST + 0.1))] = np.nan
        self._evidence[self._evidence <= WORST + 0.1] = np.nan
        self._evidence[slots] = value
        return np.where(np.isnan(value), WORST, value)

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
        self._evidence = np.concatenate([self._evidence, np.full((len(self._home), len(found)), np.nan)], axis=1)
        self.born_s = np.append(self.born_s, np.full(len(found), self.time_s))
        self.last_s = np.append(self.last_s, np.full(len(found), self.time_s))

    def _correct(self, places: Places, slots: IntArray, time_s: float) -> None:
        """Kalman update of every presence that was not founded just now by the mean of its sightings."""
        home = self._column(self._home[slots])
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

        A track that goes off with somebody else must not drag the presence along until its evidence has turned; where
        two others at least say where the presence is, it has to agree with them.
        """
        expected = _slackened(self.places())
        step = places.xy - expected.xy[home]
        p = places.cov + expected.cov[home]
        fit = log_density(step, np.stack([p[:, 0, 0], p[:, 0, 1], p[:, 1, 1]], axis=1)) - np.log(self.unseen_density)
        best = np.full(len(self.ids), -np.inf)
        np.maximum.at(best, home, fit)
        fits = (fit > 0) | ((fit >= best[home]) & (fit > WORST))
        return np.asarray(fits & ~_dissenting(places, home, len(self.ids)))

    def _unite(self, places: Places, slots: IntArray, dt: float, differ: Differ | None) -> None:
        """Make one of two presences that no camera tells apart and that stay in one place."""
        home = self._column(self._home[slots])
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
                if key not in self.moved:  # it may have just left another home for this one
                    self.moved.append(key)

    def _cameras_of(self, here: IntArray) -> NDArray[np.bool_]:
        """(k, cameras) which cameras have seen presences (by their rows) of late."""
        out = np.zeros((len(self.ids) + 1, len(self.alignment.offset)), bool)  # the last row: of those without a home
        recent = np.flatnonzero((self._home >= 0) & (self.time_s - self._seen_s <= COAST_S))
        out[self._column(self._home[recent]), self._camera[recent]] = True
        return out[here]

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

    def succeed(self, presence: int, born_s: float, start: Array) -> int:
        """End a presence that has gone on with another person; returns the one that takes its place and its tracks.

        Args:
            presence: the one that ends.
            born_s, start: when and where (2,) the other person was first there.
        """
        k, heir = int(np.flatnonzero(self.ids == presence)[0]), self._next_id
        self._next_id += 1
        self._home[self._home == presence] = heir
        order = np.append(np.delete(np.arange(len(self.ids)), k), k)  # numbers ascend in order of birth
        self.ids[k], self.born_s[k], self.start[k] = heir, born_s, start
        for name in ("ids", "mean", "cov", "born_s", "last_s", "start"):
            setattr(self, name, getattr(self, name)[order])
        self._evidence = self._evidence[:, order]
        self._pairs = {pair: v for pair, v in self._pairs.items() if presence not in pair}
        return heir

    def evict(self, camera: int, track_id: int) -> None:
        """Leave open where a track is at home until it is seen again."""
        self._home[self._slot[camera, track_id]] = -1

    # ------------------------------------------------------------------ forgetting

    def _bury(self, time_s: float) -> None:
        alive = time_s - self.last_s <= COAST_S
        if not alive.all():
            self._drop(alive)

    def _drop(self, keep: NDArray[np.bool_]) -> None:
        self._home[np.isin(self._home, self.ids[~keep])] = -1
        self._evidence = self._evidence[:, keep]
        for name in ("ids", "mean", "cov", "born_s", "last_s", "start"):
            setattr(self, name, getattr(self, name)[keep])

    def _forget(self, time_s: float) -> None:
        old = np.flatnonzero(time_s - self._seen_s > FORGET_TRACK_S)
        if not len(old):
            return
        slots = set(old.tolist())
        self._slot = {key: slot for key, slot in self._slot.items() if slot not in slots}
        for slot in old.tolist():
            heapq.heappush(self._free, slot)
        self._home[old], self._camera[old], self._seen_s[old], self._evidence[old] = -1, -1, np.inf, np.nan

    # ------------------------------------------------------------------ state

    def state(self) -> State:
        """Everything needed to go on alike."""
        known = ~np.isnan(self._evidence)
        return {
            "alignment": self.alignment.state(), "clock": [self.time_s, self._next_learn_s], "next_id": self._next_id,
            "slots": [[*key, slot] for key, slot in self._slot.items()],
            "home": self._home.copy(), "seen_s": self._seen_s.copy(), "camera": self._camera.copy(),
            "evidence": np.column_stack([*np.nonzero(known), self._evidence[known]]),
            "pairs": [[*key, v] for key, v in self._pairs.items()],
            **{name: getattr(self, name).copy() for name in ("ids", "mean", "cov", "born_s", "last_s", "start")},
        }  # fmt: skip

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.alignment.restore(state["alignment"])
        self.time_s, self._next_learn_s = state["clock"]
        self._next_id, self.merged = state["next_id"], []
        self._slot = {(c, t): s for c, t, s in state["slots"]}
        self._home, self._seen_s, self._camera = state["home"].copy(), state["seen_s"].copy(), state["camera"].copy()
        self._free = sorted(set(range(len(self._home))) - set(self._slot.values()))
        self._evidence = np.full((len(self._home), len(state["ids"])), np.nan)
        slot, column, value = np.array(state["evidence"], float).reshape(-1, 3).T
        self._evidence[slot.astype(np.int64), column.astype(np.int64)] = value
        self._pairs = {(a, b): v for a, b, v in state["pairs"]}
        for name in ("ids", "mean", "cov", "born_s", "last_s", "start"):
            setattr(self, name, state[name].copy())


def _slackened(places: Places) -> Places:
    return Places(places.xy, places.cov + SLACK_M**2 * np.eye(2))


def _dissenting(places: Places, home: IntArray, n: int) -> NDArray[np.bool_]:
    """(k,) which of k sightings are too far from what the others, two at least, of the same of n presences say."""
    each = Information.of(Places(places.xy, places.cov + SLACK_M**2 * np.eye(2)))
    all_of = each.summed(home, n).take(home)
    out = np.bincount(home, minlength=n)[home] >= 3
    if out.any():
        rest = Information(all_of.w[out] - each.w[out], all_of.y[out] - each.y[out])
        away, spread = places.xy[out] - rest.moments()[0], rest.moments()[1] + each.take(out).moments()[1]
        out[out] = squared(away, spread) > DISSENT
    return out

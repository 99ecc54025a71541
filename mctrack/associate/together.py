"""Presences on the floor and identities: who is seen by several cameras at once has one name in all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mctrack.associate import CameraView
from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.doors import Entrances, through_doors
from mctrack.associate.doubt import Doubt, doubts
from mctrack.associate.floor import COAST_S, CURRENT_S, Floor, Sightings
from mctrack.associate.ground import Places
from mctrack.associate.identities import IdentityBook
from mctrack.associate.looks import Looks
from mctrack.associate.paths import FloorEvidence
from mctrack.associate.relay import Recent, Relay, relays
from mctrack.associate.scores import company_odds
from mctrack.associate.stays import Stays, Visit, on_foot
from mctrack.associate.whereabouts import collide
from mctrack.types import IntArray, Link, State, TrackState

Array = NDArray[np.float64]
APART_M, APART_S = 1.5, 1.0
"""Presences this far from each other, and this old, are different people."""
YOUNG_S = 1.0
"""A tracklet that changes its home before this was never at home there: it changes its name, too."""
MAX_VISITS = 16


class Together:
    """Keeps one identity per presence.

    Args:
        book: all tracklets and identities.
        scene: tells how likely looks are one person's; None without looks.
        merge: makes one identity of two, given (time, older, younger, gates), and records why.
    """

    def __init__(
        self, book: IdentityBook, scene: SceneCalibration | None,
        merge: Callable[[float, int, int, dict[str, object]], None],
    ) -> None:  # fmt: skip
        self._book, self._scene, self._merge = book, scene, merge
        self.floor = Floor(len(book.table.cameras))
        self.stays = Stays()
        self.recent = Recent()
        self.active = False
        self.entrances: Entrances | None = None
        self._who: dict[int, int] = {}
        self._last: dict[int, tuple[float, float, float, float]] = {}
        self._visits: dict[int, list[Visit]] = {}
        self._next_apart_s = -np.inf
        self._views: dict[int, CameraView] = {}

    # ------------------------------------------------------------------ questions

    def presence(self, row: int) -> int:
        """The presence of a tracklet, −1: none."""
        table = self._book.table
        return self.floor.home(int(table.camera[row]), int(table.track_id[row])) if self.active else -1

    def who(self, presence: int) -> int:
        """The identity of a presence, −1: none yet."""
        return self._who.get(presence, -1)

    def places(self, camera: str, track_id: IntArray) -> Array:
        """(n, 2) metres, where tracks of a camera are by all cameras together; NaN where unknown.

        The first frames of a track, before it is confirmed, are by that camera alone.
        """
        out = np.full((len(track_id), 2), np.nan)
        if self.active:
            c, at = self._book.table.camera_index(camera), {int(p): k for k, p in enumerate(self.floor.ids)}
            for i, track in enumerate(track_id.tolist()):
                k = at.get(self.floor.home(c, track))
                if k is not None:
                    out[i] = self.floor.mean[k, :2]
            view = self._views.get(c)
            if view is not None and view.ground_xy is not None:
                young = view.tracks.seen & (view.tracks.state == TrackState.TENTATIVE)
                for k in np.flatnonzero(young).tolist():
                    out[track_id == view.tracks.track_id[k]] = view.ground_xy[k] + self.floor.alignment.offset[c]
        return out

    def collapse(self, rows: Sequence[int]) -> tuple[list[int], list[list[int]]]:
        """Of tracklets that are together one each, the most often sampled; and each one's company, unnamed like it."""
        groups: dict[tuple[int, int], list[int]] = {}
        for row in self._book.waiting():
            p = self.presence(row)
            groups.setdefault((p, row if p < 0 else -1), []).append(row)
        of_row = {row: group for group in groups.values() for row in group}
        heads, company, samples = [], [], self._book.table.samples
        done: set[int] = set()
        for row in rows:
            group = of_row.get(row, [row])
            if row not in done:
                done.update(group)
                heads.append(max((r for r in group if r in rows), key=lambda r: int(samples[r])))
                company.append(group)
        return heads, company

    def odds(self, rows: Sequence[int], ids: Sequence[int]) -> Array:
        """(n, m) what the floor says about tracklets being identities: −∞ where nobody can be.

        An identity that stands elsewhere right now is out, and so is one that would have had to run faster than people
        do. Where it was near by a moment ago, that speaks for it.
        """
        out = np.zeros((len(rows), len(ids)))
        now = self.floor.time_s
        held = self._held()
        index = {int(p): k for k, p in enumerate(self.floor.ids)}
        for i, row in enumerate(rows):
            p = self.presence(row)
            if p < 0:
                continue
            here, start = self.floor.mean[index[p], :2], self.floor.start[index[p]]
            born_s = float(self.floor.born_s[index[p]])
            for j, g in enumerate(ids):
                last = self._last.get(g)
                if held.get(g, p) != p:
                    out[i, j] = -np.inf
                elif last is not None:
                    out[i, j] = on_foot(last, born_s, start) if last[0] <= born_s else on_foot(last, now, here)
            if self.entrances is not None:
                out[i] += self._through_doors(start, ids)
        return out

    def _through_doors(self, start: Array, ids: Sequence[int]) -> Array:
        """(m,) what the doors say about identities being who appeared at ``start`` (2,)."""
        assert self.entrances is not None
        known = [j for j, g in enumerate(ids) if g in self._last]
        places = np.array([start, *(self._last[ids[j]][1:3] for j in known)])
        came, *went = self.entrances(places).tolist()
        out = np.zeros(len(ids))
        out[known] = [through_doors(came, w) for w in went]
        return out

    def impossible(self, a: int, b: int) -> bool:
        """Whether two identities cannot be one person: from one's place to the other's nobody gets in that time."""
        held = self._held()
        if a in held and b in held and held[a] != held[b] and self.floor.distance(held[a], held[b]) > APART_M:
            return True
        visits = sorted([*self._visits.get(a, ()), *self._visits.get(b, ())])
        return any(on_foot((*end[3:], 0.0), begin[0], np.array(begin[1:3])) == -np.inf
                   for end, begin in pairwise(visits) if end[3] <= begin[0])

    def _held(self, first: bool = False) -> dict[int, int]:
        """Identity → the presence seen right now that has it; of several the youngest, or the first."""
        recent = self.floor.time_s - self.floor.last_s <= CURRENT_S
        ids = self.floor.ids[recent].tolist()
        return {self._who[p]: p for p in (reversed(ids) if first else ids) if p in self._who}

    # ------------------------------------------------------------------ one instant

    def observe(self, time_s: float, views: Sequence[CameraView]) -> list[Link]:
        """Take one instant: who is where, and which names follow from it."""
        seen = self._sightings(views)
        if not self.active and not len(seen.camera):
            return []
        self.active = True
        keys = zip(seen.camera.tolist(), seen.track_id.tolist(), strict=True)
        rows = np.array([self._book.table.row(c, t) for c, t in keys])

        def alike(which: IntArray, presences: IntArray) -> Array:
            assert self._scene is not None
            members = self.floor.members()
            company = [[self._book.table.row(c, t) for c, t in members.get(p, [])] for p in presences.tolist()]
            return company_odds(self._book.table.looks, self._scene, rows[which].tolist(), company)

        def differ(a: int, b: int) -> bool:
            mine, theirs = self._who.get(a), self._who.get(b)
            return mine is not None and theirs is not None and mine != theirs and not self._compatible(mine, theirs)

        self.floor.update(time_s, seen, None if self._scene is None else alike, differ)
        self._views = {self._book.table.camera_index(view.camera): view for view in views}
        for camera, track_id in self.floor.moved:
            self._split(time_s, camera, track_id)
        self._inherit(time_s)
        links = self._name(time_s)
        self._remember(time_s)
        return links

    def _sightings(self, views: Sequence[CameraView]) -> Sightings:
        """Confirmed tracks seen now whose place is known."""
        camera, track, xy, cov = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros((0, 2))], []
        cov.append(np.zeros((0, 2, 2)))
        for view in views:
            if view.ground_xy is None or view.ground_cov is None:
                continue
            good = view.tracks.seen & (view.tracks.state == TrackState.CONFIRMED)
            good &= np.isfinite(view.ground_xy).all(axis=1)
            camera.append(np.full(int(good.sum()), self._book.table.camera_index(view.camera)))
            track.append(view.tracks.track_id[good])
            xy.append(view.ground_xy[good])
            cov.append(view.ground_cov[good])
        return Sightings(np.concatenate(camera), np.concatenate(track), Places(np.concatenate(xy), np.concatenate(cov)))

    def _split(self, time_s: float, camera: int, track_id: int) -> int:
        """End a tracklet that has gone on with another person; what it was until now keeps its name.

        Returns:
            The row of the tracklet that goes on, or −1 where there was nothing to split: too young, or not seen now.
        """
        table, row = self._book.table, self._book.table.row(camera, track_id)
        split = self._splitter(time_s, row)
        if split is None:
            return -1
        new = split(track_id)
        self.floor.rename(camera, track_id, new)
        heir = self._book.see(table.cameras[camera], np.array([new]), time_s, table.last_box[[row]])
        table.confirmed[heir] = True
        return int(heir[0])

    def close(self) -> None:
        """There are no more pictures: no track can be ended any more."""
        self._views = {}

    def _splitter(self, time_s: float, row: int) -> Callable[[int], int] | None:
        """What ends a tracklet's track; None where it is too young or not seen now, or its tracker cannot."""
        table = self._book.table
        view = self._views.get(int(table.camera[row]))
        old_enough = time_s - table.first_s[row] >= YOUNG_S and table.last_s[row] == time_s
        return view.split if view is not None and old_enough else None

    def _inherit(self, time_s: float) -> None:
        """Presences that became one share a name, if their identities can be one."""
        for gone, kept in self.floor.merged:
            self._book.table.stay[self._book.table.stay == gone] = kept
            self.stays.absorb(gone, kept)
            mine, theirs = self._who.get(kept), self._who.pop(gone, None)
            if mine is None and theirs is not None:
                self._who[kept] = theirs
            elif mine is not None and theirs is not None and mine != theirs and self._compatible(mine, theirs):
                self._unite(time_s, mine, theirs)
        alive = set(self.floor.ids.tolist())
        self._who = {p: g for p, g in self._who.items() if p in alive and self._book.is_open(g)}
        self._part()

    def _part(self) -> None:
        """Take the name from a presence that stands elsewhere than another one that has had it for longer."""
        held = self._held(first=True)
        for p, g in list(self._who.items()):
            if held.get(g, p) == p or self.floor.distance(p, held[g]) <= APART_M:
                continue
            del self._who[p]
            for c, t in self.floor.members().get(p, []):
                row = self._book.table.row(c, t)
                if row >= 0 and int(self._book.table.global_id[row]) == g:
                    self._book.assign(row, -1)

    def _name(self, time_s: float) -> list[Link]:
        """Give presences the names of their tracklets, and tracklets those of their presences."""
        links: list[Link] = []
        held = self._held()
        for p, keys in self.floor.members().items():
            rows = [row for row in (self._book.table.row(c, t) for c, t in keys) if row >= 0]
            self._book.table.stay[rows] = p
            if p not in self._who:
                rows = self._believed(time_s, rows, p)
                ids = [g for g in self._book.table.global_id[rows].tolist() if self._book.is_open(g)]
                free = sorted({g for g in ids if held.get(g, p) == p}, key=lambda g: (-ids.count(g), g))
                if not free:
                    continue
                self._who[p], held[free[0]] = free[0], p
            links += [link for row in rows if (link := self._call(time_s, row, p)) is not None]
        return links

    def _believed(self, time_s: float, rows: list[int], presence: int) -> list[int]:
        """The tracklets of a new presence, those split whose name is not to be believed.

        Either their identity cannot have come here, or it was away: then one camera's tracker has taken up a lost track
        by looks, and the looks in all cameras are to decide anew.
        """
        table, k = self._book.table, int(np.flatnonzero(self.floor.ids == presence)[0])
        here, born_s = self.floor.mean[k, :2], self.floor.born_s[k]
        out = []
        for row in rows:
            last = self._last.get(int(table.global_id[row]))
            away = last is not None and self._scene is not None and time_s - last[0] > COAST_S
            # every track is a little older than its presence, which begins when it is confirmed
            lost = born_s - table.first_s[row] > COAST_S
            if last is not None and lost and (away or on_foot(last, time_s, here) == -np.inf):
                row = self._split(time_s, int(table.camera[row]), int(table.track_id[row]))
            if row >= 0:
                out.append(row)
        return out

    def follow(self, time_s: float) -> list[Link]:
        """Spread names just given to the company of those who got them."""
        return self._name(time_s) if self.active else []

    def _call(self, time_s: float, row: int, presence: int) -> Link | None:
        """Give a tracklet its presence's name."""
        table, g = self._book.table, self._who[presence]
        old = int(table.global_id[row])
        if old == g or not table.confirmed[row]:
            return None
        if old >= 0 and self._book.is_open(old) and self._book.members(old) == [row] and self._compatible(g, old):
            self._unite(time_s, g, old)
            return None
        heir = self._split(time_s, int(table.camera[row]), int(table.track_id[row])) if old >= 0 else -1
        if heir >= 0:  # it came back, or was named, as somebody else
            row, old = heir, -1
        self._book.assign(row, g)
        if old >= 0 and self._book.is_open(old) and not self._book.members(old):
            self._book.close(old)
            self._forget(old)
        k = int(np.flatnonzero(self.floor.ids == presence)[0])
        return Link(time_s, table.cameras[table.camera[row]], int(table.track_id[row]), g,
                    "link" if old < 0 else "unlink", old,
                    gates={"ground_m": self.floor.mean[k, :2].round(2).tolist()})  # fmt: skip

    def _compatible(self, a: int, b: int) -> bool:
        """Whether two identities may be one person by what was seen of them in single cameras."""
        rows_a, rows_b = np.array(self._book.members(a)), np.array(self._book.members(b))
        return not self._book.met(a, [b])[0] and not collide(self._book.table, rows_a[:, None], rows_b).any()

    def _unite(self, time_s: float, a: int, b: int) -> None:
        keep, gone = sorted((a, b))
        self._merge(time_s, keep, gone, {"ground": True})

    def renamed(self, keep: int, gone: int) -> None:
        """Note that an identity was merged into another."""
        self._who = {p: keep if g == gone else g for p, g in self._who.items()}
        if gone in self._last:
            self._last[keep] = max(self._last[gone], self._last.get(keep, self._last[gone]))
        self._last.pop(gone, None)
        if gone in self._visits:
            both = sorted([*self._visits.pop(gone), *self._visits.get(keep, ())])
            self._visits[keep] = both[-MAX_VISITS:]

    def doubts(self, at_most: float) -> list[Doubt]:
        """Presences whose later looks speak against the name they were given when they came back."""
        if self._scene is None or not self.active:
            return []
        return doubts(self._book, self._scene, self.floor, self._who, at_most)

    def renounce(self, presence: int) -> None:
        """Take its name from a presence, as if the identity had never come back."""
        g, born_s = self._who.pop(presence), float(self.floor.born_s[self.floor.ids == presence][0])
        visits = [visit for visit in self._visits.pop(g, ()) if visit[0] < born_s]
        self._last.pop(g, None)
        if visits:
            self._visits[g], self._last[g] = visits, (*visits[-1][3:], 0.0)

    def relays(self) -> list[Relay]:
        """Presences that have gone on with another person."""
        if self._scene is None or not self.active:
            return []
        found = relays(self._book, self._scene, self.floor, self._who, self.recent)
        return [relay for relay in found if self._somebody_stays(relay)]

    def _somebody_stays(self, relay: Relay) -> bool:
        """Whether a tracklet is left to the one who went; without a tracker that splits there may be none."""
        time_s, taken = self.floor.time_s, set()
        for camera, track in self.floor.members()[relay.presence]:
            row = self._book.table.row(camera, track)
            gone = row in relay.early and self._book.table.last_s[row] != time_s
            if not gone and not (row in relay.early and self._splitter(time_s, row)):
                taken.add(row)
        g = self._who[relay.presence]
        return self._book.is_open(g) and any(row not in taken for row in self._book.members(g))

    def pass_on(self, time_s: float, relay: Relay) -> list[int]:
        """End a presence that has gone on with another person; returns the rows of the tracklets that are the other's.

        They have no name, and their looks are those since then. What they were before keeps its name and its looks.
        """
        p, since_s, table = relay.presence, relay.since_s, self._book.table
        g, (x, y) = self._who.pop(p), self.recent.where(p, since_s) or self.floor.places().xy[self.floor.ids == p][0]
        heir = self.floor.succeed(p, since_s, np.array([x, y]))
        self.stays.cut(p, since_s, float(x), float(y))
        self._last[g] = (since_s, float(x), float(y), 0.0)
        if self._visits.get(g):
            self._visits[g][-1] = (*self._visits[g][-1][:3], *self._last[g][:3])
        out = []
        for camera, track in self.floor.members()[heir]:
            row = table.row(camera, track)
            if row in relay.early and table.last_s[row] != time_s:  # when it is seen again it may be split
                self.floor.evict(camera, track)
                self._keep_early(row, relay)
            else:
                out.append(self._hand_over(time_s, row, relay))
                table.stay[out[-1]] = heir
        return out

    def _keep_early(self, row: int, relay: Relay) -> None:
        """Take what a tracklet looked like since a relay out of its looks."""
        self._book.table.looks[row] = relay.early[row]
        self._book.table.samples[row] -= relay.samples.get(row, 0)
        self.recent.forget(row)
        self._book.touch(row)

    def _hand_over(self, time_s: float, row: int, relay: Relay) -> int:
        """Take the newcomer's part from a tracklet that is seen now; returns the row of that part."""
        table, late = self._book.table, relay.late.get(row, Looks())
        other = self._split(time_s, int(table.camera[row]), int(table.track_id[row])) if row in relay.early else -1
        if other < 0:  # all of it is the newcomer's, or its tracker cannot part with anything
            self._book.assign(row, -1)
            table.looks[row] = late if len(late) else table.looks[row]
            return row
        table.looks[other], table.samples[other] = late, relay.samples.get(row, 0)
        table.sampled_s[other] = table.sampled_s[row]
        self._keep_early(row, relay)
        return other

    # ------------------------------------------------------------------ hindsight

    def evidence(self, rows: IntArray) -> FloorEvidence | None:
        """What the floor says about n tracklets; None where no camera is calibrated."""
        if not self.active:
            return None
        stay = self._book.table.stay[rows]
        return self.stays.evidence(stay, lambda a, b: on_foot((*a[3:], 0.25), b[0], np.array(b[1:3])), self.entrances)

    def renamed_all(self) -> None:
        """Tracklets were given other identities: presences and the memory of where everyone was follow them."""
        table = self._book.table
        whose: dict[int, int] = {}
        for g in self._book.open_ids():
            for row in self._book.members(g):
                whose.setdefault(int(table.stay[row]), g)
        self._who = {p: whose.get(p, g) for p, g in self._who.items() if self._book.is_open(whose.get(p, g))}
        oldest = min((v[0] for v in self.stays.visit.values()), default=np.inf)
        self._visits = {g: [v for v in visits if v[0] < oldest] for g, visits in self._visits.items()
                        if self._book.is_open(g)}  # fmt: skip
        for p, visit in self.stays.visit.items():
            if p in whose:
                self._visits.setdefault(whose[p], []).append(visit)
        for g, visits in self._visits.items():
            visits.sort()
            del visits[:-MAX_VISITS]
            if visits and (g not in self._last or visits[-1][3:] != self._last[g][:3]):
                self._last[g] = (*visits[-1][3:], 0.0)
        self._last = {g: v for g, v in self._last.items() if self._visits.get(g)}

    def _forget(self, g: int) -> None:
        self._who = {p: h for p, h in self._who.items() if h != g}
        self._last.pop(g, None)
        self._visits.pop(g, None)

    def _remember(self, time_s: float) -> None:
        """Note where everyone is, and that people far from each other at one time are different."""
        floor = self.floor
        fresh = np.flatnonzero(floor.last_s == time_s)
        named = [(k, self._who[p]) for k, p in zip(fresh.tolist(), floor.ids[fresh].tolist(), strict=True)
                 if p in self._who]
        for k, g in named:
            x, y = floor.mean[k, :2].tolist()
            self._last[g] = (time_s, x, y, float(np.trace(floor.cov[k, :2, :2])) / 2)
            self.stays.note(int(floor.ids[k]), float(floor.born_s[k]), floor.start[k], time_s, floor.mean[k, :2])
            self.recent.note(int(floor.ids[k]), time_s, x, y)
            visits = self._visits.setdefault(g, [])
            if not visits or visits[-1][3] < floor.born_s[k]:
                x0, y0 = floor.start[k].tolist()
                visits.append((float(floor.born_s[k]), x0, y0, time_s, x, y))
                del visits[:-MAX_VISITS]
            else:
                visits[-1] = (*visits[-1][:3], time_s, x, y)
        if time_s < self._next_apart_s:
            return
        self._next_apart_s = time_s + 0.2
        old = [(k, g) for k, g in named if time_s - floor.born_s[k] >= APART_S]
        if len(old) > 1:
            xy = floor.mean[[k for k, _ in old], :2]
            far = np.linalg.norm(xy[:, None] - xy, axis=2) > APART_M
            self._book.saw_apart([g for _, g in old], far)
            self.stays.note_apart(floor.ids[[k for k, _ in old]], far)
        self._last = {g: v for g, v in self._last.items() if self._book.is_open(g)}
        self._visits = {g: v for g, v in self._visits.items() if self._book.is_open(g)}

    # ------------------------------------------------------------------ state

    def state(self) -> State:
        """Everything needed to go on alike."""
        return {
            "floor": self.floor.state(), "active": self.active, "next_apart_s": self._next_apart_s,
            "who": [[p, g] for p, g in self._who.items()], "last": [[g, *v] for g, v in self._last.items()],
            "stays": self.stays.state(), "recent": self.recent.state(),
            "visits": [[g, [list(visit) for visit in v]] for g, v in self._visits.items()],
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.floor.restore(state["floor"])
        self.stays.restore(state["stays"])
        self.recent.restore(state["recent"])
        self.active, self._next_apart_s = state["active"], state["next_apart_s"]
        self._who = {int(p): int(g) for p, g in state["who"]}
        self._last = {g: (t, x, y, v) for g, t, x, y, v in state["last"]}
        self._visits = {g: [(v[0], v[1], v[2], v[3], v[4], v[5]) for v in visits] for g, visits in state["visits"]}

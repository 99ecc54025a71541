"""What each person is up to: come in, stop or sit here and there, leave through a door, be away, come back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.layout import door_points
from mctrack.synth.navigation import Grid
from mctrack.synth.scene import Area, Door, Habits, SceneConfig
from mctrack.synth.seats import DOWN_S, UP_S, Seat, seats

Array = NDArray[np.float64]


BESIDE_M = 0.8
"""How far apart people who are together stand."""
PATIENCE_S = 6.0


@dataclass(eq=False)
class Walker:
    """One person on the way.

    Attributes:
        area: where they are, None while away; position, velocity: (2,) m and m/s; heading: radians.
        path: corners still to reach; wait_s: time left to stand; face: heading wanted while standing.
        plan: stops still to visit; exit: door they will leave by; entry: (area, door) they come back through.
        return_s: when they come back while away.
        mate: who they are out with; follows: whether they do what the mate does (the other one decides).
        seat: where they sit or are going to; seated: progress of sitting down, 0…1.
        stop: number of the place they last stayed at; still: how settled they are there, 0…1.
    """

    pace_mps: float
    height_m: float
    freedom: float = 1.0
    area: str | None = None
    position: Array = field(default_factory=lambda: np.zeros(2))
    velocity: Array = field(default_factory=lambda: np.zeros(2))
    heading: float = 0.0
    phase: float = 0.0
    path: list[Array] = field(default_factory=list)
    wait_s: float = 0.0
    face: float | None = None
    plan: list[Array] = field(default_factory=list)
    exit: str = ""
    leaving: bool = False
    entry: tuple[str, str] = ("", "")
    return_s: float = 0.0
    stuck_s: float = 0.0
    mate: Walker | None = field(default=None, repr=False)
    follows: bool = False
    seat: Seat | None = None
    seated: float = 0.0
    stop: int = 0
    still: float = 0.0

    @property
    def sit(self) -> float:
        """How far the hips have gone down and back, 0…1; slow at both ends."""
        return round(self.seated * self.seated * (3 - 2 * self.seated), 7)

    @property
    def at_seat(self) -> bool:
        """Whether they have come to their seat and have not left it."""
        return self.seat is not None and (self.wait_s > 0 or self.seated > 0)

    @property
    def stand(self) -> Array:
        """(2,) what others walk around: the feet of someone seated."""
        return self.position if self.seat is None or self.seated <= 0 else self.seat.feet


class Planner:
    """Draws every person's decisions from one generator, in a fixed order."""

    def __init__(self, scene: SceneConfig, grids: dict[str, Grid], rng: np.random.Generator) -> None:
        self.areas = {a.name: a for a in scene.areas}
        self.habits: Habits = scene.habits
        self._grids = grids
        self._rng = rng
        self._outside = [(a.name, d.name) for a in scene.areas for d in a.doors if d.to is None]
        self._all = [(a.name, d.name) for a in scene.areas for d in a.doors]
        self._seats = {a.name: seats(a, grids[a.name]) if scene.habits.sit > 0 else [] for a in scene.areas}
        self._taken: set[tuple[str, tuple[int, int]]] = set()

    def door(self, area: str, name: str) -> Door:
        """A door by name."""
        return next(d for d in self.areas[area].doors if d.name == name)

    def _pick(self, options: list[tuple[str, str]]) -> tuple[str, str]:
        return options[int(self._rng.integers(len(options)))]

    def start(self, walkers: list[Walker]) -> None:
        """Place those who are inside at the start; the others arrive later."""
        self._pair(walkers)
        inside = round(self.habits.inside_at_start * len(walkers))
        names = list(self.areas)
        for k, walker in enumerate(walkers):
            if k < inside:
                area = names[k % len(names)]
                grid = self._grids[area]
                others = [w.position for w in walkers[:k] if w.area == area]
                walker.area = area
                while True:
                    walker.position = grid.free_point(self._rng, 0.5)
                    if all(np.linalg.norm(walker.position - o) > 1.0 for o in others):
                        break
                walker.heading = float(self._rng.uniform(-np.pi, np.pi))
                self.plan_stay(walker)
            else:
                walker.entry = self._pick(self._outside or self._all)
                walker.return_s = float(self._rng.uniform(*self.habits.arrive_s))
                self._join(walker)

    def _pair(self, walkers: list[Walker]) -> None:
        """Couples among the walkers, from the last one on: the first ones may be look-alikes, who are strangers."""
        for k in range(round(self.habits.groups * len(walkers) / 2)):
            follower, leader = walkers[-1 - 2 * k], walkers[-2 - 2 * k]
            follower.mate, leader.mate, follower.follows = leader, follower, True
            follower.pace_mps = leader.pace_mps = min(follower.pace_mps, leader.pace_mps)

    @staticmethod
    def _join(walker: Walker) -> None:
        """Come back where and when the mate does, who is away already."""
        if walker.mate is not None and walker.mate.area is None and walker.mate.entry[0]:
            walker.entry, walker.return_s = walker.mate.entry, walker.mate.return_s + 0.3

    def _beside(self, walker: Walker, mate: Walker) -> list[Array]:
        """The stops that a mate has still to visit, a step aside each."""
        ahead = [*(mate.path[-1:] if not mate.leaving and mate.wait_s <= 0 else []), *mate.plan]
        grid = self._grids[walker.area or ""]
        stops = []
        for stop in ahead:
            aside = [stop + BESIDE_M * np.array(d) for d in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))]
            near = [p for p in aside if grid.inside(p) and float(grid.room(p)) > 0.4]
            stops.append(near[0] if near else stop)
        return stops

    def plan_stay(self, walker: Walker) -> None:
        """Choose the stops of a stay and the door it ends at, and set off."""
        assert walker.area is not None
        grid, area = self._grids[walker.area], self.areas[walker.area]
        low, high = self.habits.stops
        walker.plan = [grid.free_point(self._rng) for _ in range(int(self._rng.integers(low, high + 1)))]
        linked = [d.name for d in area.doors if d.to is not None]
        outside = [d.name for d in area.doors if d.to is None]
        change = self._rng.random() < self.habits.change_area
        doors = (linked if change else outside) or linked or outside
        walker.exit = doors[int(self._rng.integers(len(doors)))]
        mate = walker.mate
        if walker.follows and mate is not None and mate.area == walker.area:
            walker.plan, walker.exit = self._beside(walker, mate), mate.exit
        walker.leaving = False
        self.next_leg(walker)

    def next_leg(self, walker: Walker) -> None:
        """Head for the next stop, or for the door."""
        assert walker.area is not None
        grid = self._grids[walker.area]
        if walker.plan:
            goal = walker.plan.pop(0)
            walker.seat = self._seat(walker)
            walker.path = list(grid.path(walker.position, goal if walker.seat is None else walker.seat.before)[1:])
            return
        way = door_points(self.areas[walker.area], self.door(walker.area, walker.exit))[::-1]
        walker.path = [*grid.path(walker.position, way[0])[1:], *way[1:]]
        walker.leaving = True

    def _seat(self, walker: Walker) -> Seat | None:
        """A free seat for the next stop, kept for them from now on; None to stand. Companions sit side by side."""
        area, mate = walker.area or "", walker.mate
        if not self._seats[area]:
            return None
        free = [s for s in self._seats[area] if (area, s.key) not in self._taken]
        if walker.follows and mate is not None and mate.area == area:
            if mate.seat is None:
                return None
            beside = mate.seat.place
            free = sorted((s for s in free if float(np.linalg.norm(s.place - beside)) < 1.5),
                          key=lambda s: float(np.linalg.norm(s.feet - beside)))[:1]  # fmt: skip
        elif self._rng.random() >= self.habits.sit:
            return None
        if not free:
            return None
        seat = free[int(self._rng.integers(len(free)))]
        self._taken.add((area, seat.key))
        return seat

    def rise(self, walker: Walker) -> None:
        """They are up again: the seat is free, and they go on."""
        if walker.seat is not None:
            self._taken.discard((walker.area or "", walker.seat.key))
        walker.seat, walker.wait_s, walker.face = None, 0.0, None
        self.next_leg(walker)

    def arrive(self, walker: Walker, time_s: float) -> None:
        """The path is walked: stand a while, or be gone."""
        if walker.leaving:
            self._leave(walker, time_s)
            return
        walker.stop += 1
        span = self.habits.stop_s if walker.seat is None else self.habits.sit_s
        walker.wait_s = float(self._rng.uniform(*span))
        walker.face = walker.heading + float(self._rng.normal(0, 0.8))
        if walker.seat is not None:
            walker.wait_s += DOWN_S + UP_S
        mate = walker.mate
        if mate is None or mate.area != walker.area:
            return
        if walker.follows:
            # Whoever is there first waits for the other; then they go on at the same time.
            walker.wait_s = mate.wait_s + 0.15 if mate.wait_s > 0 else PATIENCE_S
        elif mate.wait_s > 0:
            mate.wait_s = walker.wait_s + 0.15
        between = mate.position - walker.position
        walker.face = float(np.arctan2(between[1], between[0]))

    def _leave(self, walker: Walker, time_s: float) -> None:
        assert walker.area is not None
        door = self.door(walker.area, walker.exit)
        if door.to is not None:
            area, _, name = door.to.partition(".")
            walker.entry, span = (area, name), self.habits.change_s
        else:
            walker.entry, span = self._pick(self._outside or self._all), self.habits.outside_s
        walker.return_s = time_s + float(self._rng.uniform(*span))
        left, walker.area, walker.velocity = walker.area, None, np.zeros(2)
        self._join(walker)
        if self.habits.behind_mps > 0:
            way_s = self._apart((left, walker.exit), walker.entry) / self.habits.behind_mps
            walker.return_s = max(walker.return_s, time_s + way_s)

    def _apart(self, one: tuple[str, str], other: tuple[str, str]) -> float:
        """Metres between the hidden ends behind two doors, given as (area, door)."""
        ends = [door_points(self.areas[area], self.door(area, name))[0] for area, name in (one, other)]
        return float(np.linalg.norm(ends[0] - ends[1]))

    def may_enter(self, walker: Walker, walkers: list[Walker]) -> bool:
        """Whether the area has room, nobody stands in the corridor, and nobody is about to leave by this door."""
        area: Area = self.areas[walker.entry[0]]
        inside = [w for w in walkers if w.area == area.name]
        if len(inside) >= area.max_people:
            return False
        spot = door_points(area, self.door(*walker.entry))[:2]
        door = door_points(area, self.door(*walker.entry))[2]
        if any(w.leaving and w.exit == walker.entry[1] and np.linalg.norm(w.position - door) < 3.0 for w in inside):
            return False
        return all(min(np.linalg.norm(w.position - p) for p in spot) > 1.2 for w in inside)

    def enter(self, walker: Walker) -> None:
        """Appear at the corridor's hidden end, on the way in."""
        area = self.areas[walker.entry[0]]
        way = door_points(area, self.door(*walker.entry))
        walker.area, walker.position = area.name, way[0].copy()
        step = way[1] - way[0]
        walker.heading = float(np.arctan2(step[1], step[0]))
        walker.velocity = step / np.linalg.norm(step) * walker.pace_mps
        self.plan_stay(walker)
        first = walker.path[-1]
        walker.path = [way[1], way[2], *self._grids[area.name].path(way[3], first)]

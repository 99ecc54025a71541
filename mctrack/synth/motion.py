"""Moving the people: each step everyone takes the velocity that best serves the goal and runs into nobody.

Velocities are sampled and judged by the time to collision with others and with walls (in the spirit of the
reciprocal velocity obstacles of van den Berg et al., 2008), then approached with bounded acceleration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.synth import gait, seats
from mctrack.synth.gait import Pose
from mctrack.synth.identity import Somebody
from mctrack.synth.itinerary import Planner, Walker
from mctrack.synth.navigation import BODY_M, Grid
from mctrack.synth.scene import SceneConfig

Array = NDArray[np.float64]

STEP_S = 1 / 30
_ANGLES = np.radians([0, 10, -10, 22, -22, 36, -36, 54, -54, 78, -78, 110, -110])
_SPEEDS = np.array([1.15, 1.0, 0.75, 0.5, 0.25])
HORIZON_S = 2.2
ACCELERATION = 2.6
SETTLE_S = 0.4
"""Time constant of coming to rest after a walk."""


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Where everyone is at every step of ``STEP_S`` seconds.

    Attributes:
        area: (t, p) index of the area, −1 while away.
        xy: (t, p, 2) metres; heading, phase, speed_mps, head_yaw, sit, seat_m, still, stop: (t, p), see
            :class:`~mctrack.synth.gait.Pose`.
    """

    area: NDArray[np.int64]
    xy: Array
    heading: Array
    phase: Array
    speed_mps: Array
    head_yaw: Array
    sit: Array
    seat_m: Array
    still: Array
    stop: NDArray[np.int64]

    def pose(self, person: int, time_s: float) -> tuple[int, Pose] | None:
        """Area and pose between two steps; None while away."""
        step = min(int(time_s / STEP_S + 1e-6), len(self.area) - 1)
        after = min(step + 1, len(self.area) - 1)
        area = int(self.area[step, person])
        if area < 0:
            return None
        f = min(max(time_s / STEP_S - step, 0.0), 1.0) if self.area[after, person] == area else 0.0

        def mix(a: Array) -> float:
            return float(a[step, person] * (1 - f) + a[after, person] * f)

        turn = (self.heading[after, person] - self.heading[step, person] + np.pi) % (2 * np.pi) - np.pi
        x, y = self.xy[step, person] * (1 - f) + self.xy[after, person] * f
        return area, Pose(
            float(x),
            float(y),
            float(self.heading[step, person] + f * turn),
            mix(self.phase),
            mix(self.speed_mps),
            mix(self.head_yaw),
            time_s,
            mix(self.sit),
            float(self.seat_m[step, person]),
            mix(self.still),
            int(self.stop[step, person]),
        )


def simulate(
    scene: SceneConfig, people: Sequence[Somebody], seconds: float, rng: np.random.Generator
) -> Trajectories:
    """Walk everyone for the given time; the same generator state gives the same trajectories."""
    grids = {a.name: Grid(a) for a in scene.areas}
    index = {a.name: k for k, a in enumerate(scene.areas)}
    planner = Planner(scene, grids, rng)
    walkers = [Walker(p.pace_mps, p.height_m, p.freedom, phase=float(rng.uniform())) for p in people]
    planner.start(walkers)
    steps, n = int(np.ceil(seconds / STEP_S)) + 2, len(people)
    area = np.full((steps, n), -1, np.int64)
    stop = np.zeros((steps, n), np.int64)
    columns = np.zeros((7, steps, n))
    xy = np.zeros((steps, n, 2))
    for step in range(steps):
        time_s = step * STEP_S
        for walker in walkers:
            if walker.area is None and time_s >= walker.return_s and planner.may_enter(walker, walkers):
                planner.enter(walker)
        _move(walkers, grids, planner, time_s)
        for k, w in enumerate(walkers):
            if w.area is not None:
                area[step, k] = index[w.area]
            xy[step, k] = w.position
            speed = float(np.linalg.norm(w.velocity))
            look = 0.45 * np.sin(0.37 * time_s + k) * np.sin(0.83 * time_s + 2.1 * k)
            stop[step, k] = w.stop
            columns[:, step, k] = w.heading, w.phase, speed, look, w.sit, w.seat.height_m if w.seat else 0.0, w.still
    heading, phase, speeds, yaw, sit, seat_m, still = columns
    return Trajectories(area, xy, heading, phase, speeds, yaw, sit, seat_m, still, stop)


def _move(walkers: list[Walker], grids: dict[str, Grid], planner: Planner, time_s: float) -> None:
    """One step for all: everyone decides on the same state, then all move."""
    present = [w for w in walkers if w.area is not None]
    wishes = [_wish(w, grids, planner, time_s) for w in present]
    chosen = [
        _steer(w, wish, [o for o in present if o is not w and o.area == w.area], grids[w.area or ""])
        if w.area is not None
        else np.zeros(2)
        for w, wish in zip(present, wishes, strict=True)
    ]
    for walker, target in zip(present, chosen, strict=True):
        if walker.at_seat:
            if seats.step(walker, STEP_S):
                planner.rise(walker)
            _step(walker)
        elif walker.area is not None:
            _advance(walker, target, grids[walker.area])
            _step(walker)


def _wish(walker: Walker, grids: dict[str, Grid], planner: Planner, time_s: float) -> Array:
    """(2,) velocity wanted if nobody were in the way; takes the decisions that fall due."""
    if walker.at_seat:
        return np.zeros(2)
    if walker.wait_s > 0:
        walker.wait_s -= STEP_S
        if walker.wait_s <= 0:
            walker.face = None
            planner.next_leg(walker)
        return np.zeros(2)
    assert walker.area is not None
    grid = grids[walker.area]
    while walker.path and np.linalg.norm(walker.path[0] - walker.position) < (0.25 if len(walker.path) > 1 else 0.2):
        walker.path.pop(0)
    while len(walker.path) > 1 and not walker.leaving and grid.visible(walker.position, walker.path[1]):
        walker.path.pop(0)
    if not walker.path:
        planner.arrive(walker, time_s)
        return np.zeros(2)
    if walker.stuck_s > 2.5:
        walker.stuck_s = 0.0
        rest = grid.path(walker.position, walker.path[0])[1:]
        walker.path = [*rest, *walker.path[1:]]
    way = walker.path[0] - walker.position
    distance = float(np.linalg.norm(way))
    slow = min(1.0, 0.35 + distance / 0.8) if len(walker.path) == 1 and not walker.leaving else 1.0
    return way / max(distance, 1e-9) * walker.pace_mps * slow


def _steer(walker: Walker, wish: Array, others: list[Walker], grid: Grid) -> Array:
    """(2,) the best of the sampled velocities."""
    speed = float(np.linalg.norm(wish))
    if speed < 1e-6:
        return np.zeros(2)
    base = np.arctan2(wish[1], wish[0])
    angle = (base + _ANGLES)[:, None] + np.zeros(len(_SPEEDS))
    pace = speed * _SPEEDS + np.zeros((len(_ANGLES), 1))
    options = np.stack([pace * np.cos(angle), pace * np.sin(angle)], axis=-1).reshape(-1, 2)
    options = np.concatenate([options, np.zeros((1, 2))])
    cost = np.linalg.norm(options - wish, axis=1) + 0.25 * np.linalg.norm(options - walker.velocity, axis=1)
    if others:
        place = np.stack([o.stand for o in others]) - walker.position
        moving = np.stack([o.velocity for o in others])
        # Whoever is stuck (two in a doorway) gets bolder until they squeeze past each other.
        cost += _collision_cost(options, place, moving) / (1 + 3 * max(walker.stuck_s - 0.8, 0.0))
    ahead = walker.position + options[:, None, :] * np.array([0.15, 0.35, 0.6])[:, None]
    tight = np.clip(BODY_M + 0.05 - grid.room(ahead), 0, None)
    cost += (tight * np.array([14.0, 8.0, 4.0])).sum(axis=1)
    best: Array = options[int(np.argmin(cost))]
    return best


def _collision_cost(options: Array, place: Array, moving: Array) -> Array:
    """(k,) penalty growing as the time to the first contact shrinks."""
    relative = options[:, None, :] - moving
    reach = 2 * BODY_M + 0.12
    a = (relative**2).sum(axis=2)
    b = (relative * place).sum(axis=2)
    c = (place**2).sum(axis=1) - reach**2
    root = b * b - a * c
    hit = (root > 0) & (b > 0)
    time = np.where(hit, (b - np.sqrt(np.maximum(root, 0))) / np.maximum(a, 1e-9), np.inf)
    time = np.where((c < 0) & (b > 0), 0.0, np.where(c < 0, np.inf, time))
    return np.where(time < HORIZON_S, 1.6 / (time + 0.25) - 1.6 / (HORIZON_S + 0.25), 0.0).sum(axis=1)


def _advance(walker: Walker, target: Array, grid: Grid) -> None:
    """Approach the chosen velocity, move, turn and step; rounded so that truth is the same on every machine."""
    change = target - walker.velocity
    limit = ACCELERATION * STEP_S
    walker.velocity = np.round(walker.velocity + change * min(1.0, limit / max(float(np.linalg.norm(change)), 1e-9)), 7)
    moved = walker.position + walker.velocity * STEP_S
    if grid.room(moved) < 0.12 and grid.room(moved) < grid.room(walker.position):
        walker.velocity = walker.velocity * 0.3
        moved = walker.position + walker.velocity * STEP_S
    walker.position = np.round(moved, 7)
    speed = float(np.linalg.norm(walker.velocity))
    wanted = np.arctan2(walker.velocity[1], walker.velocity[0]) if speed > 0.15 else walker.face
    if wanted is not None:
        turn = (wanted - walker.heading + np.pi) % (2 * np.pi) - np.pi
        fastest = 3.6 * STEP_S
        walker.heading = round(float(walker.heading + np.clip(turn * 0.25, -fastest, fastest)), 7)


def _step(walker: Walker) -> None:
    """Legs follow what the body did."""
    speed = float(np.linalg.norm(walker.velocity))
    ahead = walker.velocity[0] * np.cos(walker.heading) + walker.velocity[1] * np.sin(walker.heading)
    sense = -1 if walker.at_seat and ahead < 0 else 1  # a step back to the seat
    strides = speed * STEP_S / gait.stride_m(speed, walker.height_m, walker.freedom)
    walker.phase = round(walker.phase + sense * strides, 7)
    walker.stuck_s = walker.stuck_s + STEP_S if speed < 0.15 and walker.wait_s <= 0 else 0.0
    walker.still = round(walker.still + ((speed < 0.2) - walker.still) * STEP_S / SETTLE_S, 7)

"""Where people can sit, and the steps of sitting down and getting up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.gait import FEET_AHEAD_M
from mctrack.synth.navigation import BODY_M, Grid
from mctrack.synth.scene import Area, Item

if TYPE_CHECKING:
    from mctrack.synth.itinerary import Walker

Array = NDArray[np.float64]

PLACE_M = 0.6
"""Width of a place on a bench or sofa."""
HEIGHT_M = {"chair": 0.47, "sofa": 0.42}
ARM_M = 0.18
DEEP_M = 0.20
"""How far behind the front edge the hips come to rest."""
DOWN_S, UP_S = 1.1, 1.2
FACING = {"south": (0.0, -1.0), "east": (1.0, 0.0), "north": (0.0, 1.0), "west": (-1.0, 0.0)}


@dataclass(frozen=True, eq=False)
class Seat:
    """A place for one, looked at from one side: a bench has two seats for every place, one to each side.

    Attributes:
        key: (item, place): seats with the same key are the same place.
        place, feet, before: (2,) world metres: the floor below the hips; where the feet stand; where one comes first.
        heading: radians, the way a sitter looks; height_m: of the surface.
    """

    key: tuple[int, int]
    place: Array
    feet: Array
    before: Array
    heading: float
    height_m: float


def seats(area: Area, grid: Grid) -> list[Seat]:
    """All seats that can be reached."""
    found = [s for k, item in enumerate(area.items) for s in _of(area, k, item)]
    reach = BODY_M + 0.05
    return [s for s in found if grid.inside(s.before) and grid.room(s.before) > reach and grid.room(s.feet) > 0.1]


def _of(area: Area, number: int, item: Item) -> list[Seat]:
    """The seats of one piece of furniture, also those that something stands in front of."""
    if item.kind not in ("chair", "sofa", "bench"):
        return []
    sides = _sides(item)
    out = []
    for side in sides:
        front = np.array(FACING[side])
        along = np.array([-front[1], front[0]])
        wide, deep = (float(abs(v @ np.array(item.size[:2]))) for v in (along, front))
        usable = wide - 2 * ARM_M if item.kind == "sofa" else wide
        count = 1 if item.kind == "chair" else max(int(usable / PLACE_M + 1e-6), 1)
        # Places are numbered from the same end whichever way people look.
        ends = along if along.sum() > 0 else -along
        for k in range(count):
            edge = np.array(area.origin) + item.at + ends * usable * ((k + 0.5) / count - 0.5) + front * deep / 2
            out.append(
                Seat(
                    (number, k),
                    edge - front * DEEP_M,
                    edge + front * (FEET_AHEAD_M - DEEP_M),
                    edge + front * (FEET_AHEAD_M - DEEP_M + 0.2),
                    float(np.arctan2(front[1], front[0])),
                    HEIGHT_M.get(item.kind, item.size[2]),
                )
            )
    return out


def _sides(item: Item) -> Sequence[str]:
    """The ways that people on it look."""
    if item.facing is not None:
        return (item.facing,)
    if item.kind != "bench":
        return ("south",)
    return ("south", "north") if item.size[0] >= item.size[1] else ("east", "west")


def step(walker: Walker, step_s: float) -> bool:
    """One step of someone at their seat (turn, step back, sit, stay, rise); whether they are done.

    Feet stay where they are from the moment the hips go down; all is rounded so that truth is the same everywhere.
    """
    seat = walker.seat
    assert seat is not None
    turn = (seat.heading - walker.heading + np.pi) % (2 * np.pi) - np.pi
    walker.heading = round(float(walker.heading + np.clip(turn * 0.25, -3.2 * step_s, 3.2 * step_s)), 7)
    way = seat.feet - walker.position
    if walker.seated <= 0 and walker.wait_s > UP_S and (np.abs(way).max() > 0.004 or abs(turn) > 0.1):
        walker.velocity = np.round(way * min(2.5, 0.4 / max(float(np.linalg.norm(way)), 1e-9)), 7)
        walker.position = np.round(walker.position + walker.velocity * step_s, 7)
        return False
    walker.velocity = np.zeros(2)
    walker.wait_s -= step_s
    before = walker.seated
    down = step_s / DOWN_S if walker.wait_s > UP_S else -step_s / UP_S
    walker.seated = min(max(round(before + down, 7), 0.0), 1.0)
    if before > 0 or walker.seated > 0:
        walker.position = np.round(seat.feet + (seat.place - seat.feet) * walker.sit, 7)
    return walker.wait_s <= 0 and walker.seated <= 0

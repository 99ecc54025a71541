"""Several cameras calibrated from people together: poses on one floor, refined until all agree."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from mctrack.geometry.calibrate_people import (
    AGREE_M,
    FOCAL,
    FOCAL_SD,
    K1_SD,
    Alignment,
    PeopleBoxes,
    Pose,
    SelfCalibration,
    _moments,
    _partners,
    _residuals,
    align_floors,
    calibrate_one,
    grid,
    places,
    walks,
)

Array = NDArray[np.float64]
LEAST_SUPPORT = 0.5
"""Share of the people who could be seen by both that must agree before two floors are joined."""
STEP_S = 0.5


@dataclass(frozen=True, eq=False)
class Together:
    """Cameras on common floors.

    Attributes:
        cameras: name → its calibration; the first of each floor looks along y from above (0, 0).
        floors: the names that share a floor, for every floor.
        support: name → share of people that agree with the cameras joined before; 1 for the first.
        disagreement_m: name → median distance between its places and the others'; NaN where it is alone.
    """

    cameras: dict[str, SelfCalibration]
    floors: list[list[str]]
    support: dict[str, float]
    disagreement_m: dict[str, float]


def calibrate_people(boxes: dict[str, PeopleBoxes]) -> Together:
    """Calibrate every camera by itself, join those that see the same people, and refine all of a floor at once.

    Raises:
        ConfigError: a camera cannot be calibrated; the message names it.
    """
    alone = {name: calibrate_one(b, f"camera '{name}'") for name, b in boxes.items()}
    whole = {name: b.whole() for name, b in boxes.items()}
    poses = {name: c.pose for name, c in alone.items()}
    floors, support = _join(poses, whole)
    far: dict[str, float] = dict.fromkeys(boxes, float("nan"))
    for floor in floors:
        if len(floor) > 1:
            for _ in range(2):  # better poses find more pairs
                poses |= _refine({n: poses[n] for n in floor}, whole)
            far |= _disagreement({n: poses[n] for n in floor}, whole)
    cameras = {name: replace(alone[name], pose=poses[name]) for name in boxes}
    return Together(cameras, floors, support, far)


def _join(poses: dict[str, Pose], boxes: dict[str, PeopleBoxes]) -> tuple[list[list[str]], dict[str, float]]:
    """Set every camera on the floor of one it shares people with, the clearest pair first; changes ``poses``."""
    own = {name: walks(poses[name], b) for name, b in boxes.items()}
    names = list(boxes)
    pairs: dict[tuple[str, str], Alignment] = {}
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            found = align_floors(own[a], own[b], STEP_S)
            if found is not None and found.support >= LEAST_SUPPORT:
                pairs[a, b] = found
    floors, support = [], dict.fromkeys(names, 1.0)
    left = list(names)
    while left:
        floor = [left.pop(0)]
        while True:
            links = [(m.support, a, b) for (a, b), m in pairs.items() if (a in floor) != (b in floor)]
            if not links:
                break
            strength, a, b = max(links)
            known, new = (a, b) if a in floor else (b, a)
            motion = pairs[a, b] if known == a else _inverse(pairs[a, b])
            poses[new] = _placed(poses[new], motion, poses[known])
            support[new] = strength
            floor.append(new)
            left.remove(new)
        floors.append(floor)
    return floors, support


def _inverse(motion: Alignment) -> Alignment:
    back = Alignment(-motion.yaw, (0.0, 0.0), motion.support)
    shift = -back.apply(np.array([motion.shift]))[0]
    return Alignment(-motion.yaw, (float(shift[0]), float(shift[1])), motion.support)


def _placed(pose: Pose, motion: Alignment, host: Pose) -> Pose:
    """A camera's pose on the common floor, from its motion onto the own floor of a host that is placed already."""
    placed = Alignment(host.yaw, (host.x_m, host.y_m), 0.0)
    x, y = placed.apply(motion.apply(np.zeros((1, 2))))[0]
    return replace(pose, yaw=host.yaw + motion.yaw, x_m=float(x), y_m=float(y))


def _refine(poses: dict[str, Pose], boxes: dict[str, PeopleBoxes]) -> dict[str, Pose]:
    """All cameras of a floor at once: people's heights in each, and the same places in those that see them.

    Which sightings are one person is taken from the poses so far. The first camera stays where it is.
    """
    names = list(poses)
    used = {n: boxes[n].thinned(STEP_S, 400) for n in names}
    pairs = _same(poses, used)

    def unpack(v: Array) -> dict[str, Pose]:
        rows = [np.append(v[:5], poses[names[0]].vector()[5:]), *v[5:].reshape(-1, 8)]
        return {n: Pose.of(row) for n, row in zip(names, rows, strict=True)}

    def misfit(v: Array) -> Array:
        now = unpack(v)
        where = {n: places(now[n], used[n]) for n in names}
        parts = [_residuals(now[n], used[n]) for n in names]
        # in a smaller world all would agree better: what counts is the distance as a share of the world's size
        size = np.exp(np.mean([np.log(now[n].height_m / poses[n].height_m) for n in names]))
        parts += [np.nan_to_num(where[a][i] - where[b][j], nan=50.0).ravel() / (AGREE_M * size) for a, b, i, j in pairs]
        rows = np.stack([p.vector() for p in now.values()])
        return np.concatenate([*parts, rows[:, 2] / 0.1, rows[:, 4] / K1_SD,
                               (rows[:, 0] - np.log(FOCAL)) / FOCAL_SD])

    start = np.concatenate([poses[names[0]].vector()[:5], *(poses[n].vector() for n in names[1:])])
    return unpack(least_squares(misfit, start, loss="soft_l1", max_nfev=30).x)


Pairs = list[tuple[str, str, NDArray[np.int64], NDArray[np.int64]]]


def _same(poses: dict[str, Pose], used: dict[str, PeopleBoxes]) -> Pairs:
    """For every two cameras the boxes that are one person at one moment by the poses so far."""
    names, nobody = list(poses), Alignment(0.0, (0.0, 0.0), 0.0)
    moments = {n: (np.floor(used[n].time_s / STEP_S), np.nan_to_num(places(poses[n], used[n]), nan=1e4)) for n in names}
    out: Pairs = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            rows, cols = _partners(nobody, moments[a], moments[b], 0.8)
            near = np.abs(used[a].time_s[rows] - used[b].time_s[cols]) < 0.2 if len(rows) else np.zeros(0, bool)
            if near.any():
                out.append((a, b, rows[near], cols[near]))
    return out


def _disagreement(poses: dict[str, Pose], boxes: dict[str, PeopleBoxes]) -> dict[str, float]:
    """Median distance in metres between each camera's places and the nearest of the others at the same moments."""
    nobody = Alignment(0.0, (0.0, 0.0), 0.0)
    moments = {n: _moments(grid(walks(p, boxes[n]), STEP_S)) for n, p in poses.items()}
    out = {}
    for name in poses:
        steps = [np.zeros(0)]
        for other in poses:
            if other != name:
                i, j = _partners(nobody, moments[name], moments[other], 1.0)
                steps.append(np.linalg.norm(moments[name][1][i] - moments[other][1][j], axis=1))
        every = np.concatenate(steps)
        out[name] = float(np.median(every)) if len(every) else float("nan")
    return out

"""Poses of people in view: a walk as joint angles over the gait cycle, standing at ease, arms busy with things."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from mctrack.synth.makehuman.person import Person
from mctrack.synth.makehuman.rig import Pose

# Sagittal angles in degrees over the gait cycle from heel strike, as in textbooks of gait analysis.
_PHASE = np.linspace(0, 1, 11)
_HIP = np.array([28, 25, 16, 5, -5, -12, -4, 14, 27, 31, 28.0])
_KNEE = np.array([4, 16, 15, 7, 4, 10, 36, 60, 42, 10, 4.0])
_ANKLE = np.array([0, -5, 3, 8, 11, 4, -17, -4, 1, 1, 0.0])


def _cycle(curve: np.ndarray, phase: float) -> float:
    return float(np.interp(phase % 1.0, _PHASE, curve))


def _two(values: Iterable[Any]) -> tuple[float, float]:
    left, right = (float(v) for v in values)
    return left, right


def walking(person: Person, phase: float, stride: float = 1.0) -> Pose:
    """A moment of a walk; ``phase`` 0…1 from the left heel strike."""
    legs = phase, phase + 0.5
    k = stride * (0.75 if person.bottom.kind == "skirt" or person.top_length > 0.9 else 1.0)
    swing = person.swing * (0.45 if person.shape.age > 0.6 else 1.0)
    arms = _two(-20 * swing * k * np.cos(2 * np.pi * (p - 0.02)) + 2 for p in legs)
    twist = 5 * k * np.cos(2 * np.pi * phase)
    return Pose(
        thigh=_two(k * _cycle(_HIP, p) for p in legs),
        knee=_two(2 + k * _cycle(_KNEE, p) for p in legs),
        ankle=_two(k * _cycle(_ANKLE, p) for p in legs),
        spread=(1.0, 1.0),
        arm=arms,
        lift=(9.0, 9.0),
        elbow=_two(14 + 12 * swing + 0.5 * max(a, 0) for a in arms),
        inward=(12.0, 12.0),
        lean=person.stoop * 0.6 + 2,
        twist=twist,
        pelvis_twist=-0.7 * twist,
        nod=person.stoop * 0.5,
        curl=45.0,
    )


def standing(person: Person, rng: np.random.Generator) -> Pose:
    """At ease, weight on one leg."""
    side = rng.choice([-1, 1])
    lean = float(rng.uniform(0, 8))
    knees = (2 + lean * 1.5, 2.0) if side > 0 else (2.0, 2 + lean * 1.5)
    return Pose(
        thigh=_two(0.5 * k for k in knees),
        knee=knees,
        spread=_two(rng.uniform(2, 9, 2)),
        arm=_two(rng.uniform(-6, 10, 2)),
        lift=_two(rng.uniform(6, 14, 2)),
        elbow=_two(rng.uniform(8, 30, 2)),
        inward=(10.0, 10.0),
        lean=person.stoop * 0.6,
        twist=float(rng.normal(0, 6)),
        tilt=float(side * rng.uniform(0, 3)),
        turn=float(rng.normal(0, 18)),
        nod=float(rng.normal(4, 7)),
        extra={"toes_out": float(rng.uniform(3, 14))},
    )


_BUSY = (
    # arm forward, lift, elbow, inward: phone at the ear, looking at a phone, in the pocket, crossed, on the hip,
    # carrying
    ((35.0, 25.0, 140.0, 15.0), None),
    ((22.0, 8.0, 85.0, 35.0), None),
    ((-8.0, 14.0, 38.0, 5.0), None),
    ((25.0, 8.0, 95.0, 70.0), (22.0, 8.0, 92.0, 70.0)),
    ((-12.0, 42.0, 70.0, 60.0), None),
    ((20.0, 6.0, 70.0, 30.0), (20.0, 6.0, 70.0, 30.0)),
    ((-8.0, 14.0, 38.0, 5.0), (-8.0, 14.0, 38.0, 5.0)),
    ((10.0, 5.0, 110.0, 40.0), None),
)


def busy(pose: Pose, rng: np.random.Generator) -> Pose:
    """The same with one or both arms doing something."""
    first, both = _BUSY[int(rng.integers(len(_BUSY)))]
    left = rng.random() < 0.5
    names = ("arm", "lift", "elbow", "inward")
    now: list[Any] = [list(getattr(pose, n)) for n in names]
    for k, value in enumerate(first):
        now[k][0 if left else 1] = value + float(rng.normal(0, 3))
    if both is not None:
        for k, value in enumerate(both):
            now[k][1 if left else 0] = value + float(rng.normal(0, 3))
    arm, lift, elbow, inward = (_two(v) for v in now)
    return replace(pose, arm=arm, lift=lift, elbow=elbow, inward=inward)


def sample_pose(person: Person, rng: np.random.Generator, moving: bool) -> Pose:
    """A pose at random for someone walking or standing."""
    pose = walking(person, float(rng.random()), float(rng.uniform(0.7, 1.15))) if moving else standing(person, rng)
    if rng.random() < (0.22 if moving else 0.5):
        pose = busy(pose, rng)
    return pose

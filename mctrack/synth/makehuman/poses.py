"""Poses of people in view: a walk as joint angles over the gait cycle, standing at ease, arms busy with things."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
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


def leg(phase: float, swing: float, tilt: float = 0.0) -> tuple[float, float, float]:
    """Degrees of hip, knee and ankle of a leg at a phase from its heel strike; for ``tilt`` see `walking`."""
    return swing * (_cycle(_HIP, phase) - tilt), 2 + swing * _cycle(_KNEE, phase), swing * _cycle(_ANKLE, phase)


def walking(person: Person, phase: float, stride: float = 1.0, tilt: float = 0.0) -> Pose:
    """A moment of a walk; ``phase`` 0…1 from the left heel strike.

    The textbook measures the hip against a pelvis that is tilted forward: less ``tilt`` degrees, thighs swing as far
    back as forward, and the front foot meets the floor while the hind one is still on it.
    """
    legs = phase, phase + 0.5
    k = stride * person.freedom
    swing = person.swing * (0.45 if person.shape.age > 0.6 else 1.0)
    arms = _two(-20 * swing * k * np.cos(2 * np.pi * (p - 0.02)) + 2 for p in legs)
    twist = 5 * k * np.cos(2 * np.pi * phase)
    thigh, knee, ankle = (_two(v) for v in zip(*(leg(p, k, tilt) for p in legs), strict=True))
    return Pose(
        thigh=thigh,
        knee=knee,
        ankle=ankle,
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


def seated(person: Person, rng: np.random.Generator) -> Pose:
    """At ease on a chair, hands on the thighs; the legs are folded by `lower`."""
    apart = float(rng.uniform(1, 5) if person.female or person.freedom < 1 else rng.uniform(4, 10))
    return Pose(
        spread=(apart, apart),
        arm=_two(rng.uniform(22, 34, 2)),
        lift=_two(rng.uniform(7, 14, 2)),
        elbow=_two(rng.uniform(48, 66, 2)),
        inward=_two(rng.uniform(4, 22, 2)),
        lean=person.stoop * 0.6 + float(rng.uniform(-8, 8)),
        twist=float(rng.normal(0, 5)),
        turn=float(rng.normal(0, 18)),
        nod=float(rng.normal(5, 7)),
        extra={"toes_out": float(rng.uniform(3, 10))},
    )


def lower(pose: Pose, hip: float, knee: float, share: float) -> Pose:
    """Legs folded by these degrees with flat feet, the chest forward halfway down; ``share`` 0 standing … 1 seated."""
    lean = pose.lean * share + 36 * float(np.sin(np.pi * share))
    return replace(pose, thigh=(hip, hip), knee=(knee, knee), ankle=(knee - hip, knee - hip), lean=lean)


_ARMS = ("arm", "lift", "elbow", "inward", "turn", "nod", "curl")


def mix(a: Pose, b: Pose, legs: float, arms: float) -> Pose:
    """Between two poses: 0 all ``a``, 1 all ``b``, for legs and trunk and for arms and head."""
    out: dict[str, Any] = {}
    for f in fields(Pose):
        share, u, v = arms if f.name in _ARMS else legs, getattr(a, f.name), getattr(b, f.name)
        if isinstance(u, dict):
            out[f.name] = {k: (1 - share) * u.get(k, _TOES) + share * v.get(k, _TOES) for k in {**u, **v}}
        elif isinstance(u, tuple):
            out[f.name] = tuple((1 - share) * x + share * y for x, y in zip(u, v, strict=True))
        else:
            out[f.name] = (1 - share) * u + share * v
    return Pose(**out)


_TOES = 4.0
"""Degrees that feet point outwards where a pose says nothing."""
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

"""The skeleton, and the pose of someone who walks, stands, looks around or sits, as functions of a gait phase.

Joint angles follow the usual curves of normal gait (hip ±22°, knee flexion peaks of about 12° in stance and 58° in
swing), written as cosines and periodic bumps of the phase; 0 is the left heel's strike, 0.5 the right one's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PELVIS, SPINE, CHEST, NECK, HEAD = range(5)
L_ARM, L_FOREARM, L_HAND, R_ARM, R_FOREARM, R_HAND = range(5, 11)
L_THIGH, L_SHIN, L_FOOT, R_THIGH, R_SHIN, R_FOOT = range(11, 17)
BONES = 17
PARENT = (
    -1,
    PELVIS,
    SPINE,
    CHEST,
    NECK,
    CHEST,
    L_ARM,
    L_FOREARM,
    CHEST,
    R_ARM,
    R_FOREARM,
    PELVIS,
    L_THIGH,
    L_SHIN,
    PELVIS,
    R_THIGH,
    R_SHIN,
)

HIP_SWING_DEG = 22.0
FEET_AHEAD_M = 0.42
"""How far before the hips the feet of someone seated stand: where they stood before sitting down."""
HIP_ABOVE_SEAT = 0.055
"""Height of the hip joints over the seat, as a part of the body height."""


def joints(height_m: float, shoulders: float) -> Array:
    """(17, 3) where each bone turns, in the rest pose, metres; proportions after Drillis & Contini (1966)."""
    y = 0.104 * shoulders
    table = [
        (0, 0, 0.53),
        (0, 0, 0.58),
        (-0.005, 0, 0.68),
        (-0.012, 0, 0.835),
        (-0.004, 0, 0.875),
        (-0.006, y, 0.808),
        (-0.006, y, 0.632),
        (-0.002, y, 0.488),
        (-0.006, -y, 0.808),
        (-0.006, -y, 0.632),
        (-0.002, -y, 0.488),
        (0, 0.052, 0.52),
        (0.004, 0.052, 0.285),
        (-0.004, 0.052, 0.045),
        (0, -0.052, 0.52),
        (0.004, -0.052, 0.285),
        (-0.004, -0.052, 0.045),
    ]
    return np.array(table, float) * height_m


@dataclass(frozen=True)
class Pose:
    """What a person does at one moment.

    Attributes:
        x_m, y_m: where, on the floor; heading: direction of the body in radians, 0 along +x.
        phase: of the gait, in strides; speed_mps: how fast.
        head_yaw: of the head against the body, radians; time_s: for the small movements of standing.
        sit: 0 standing … 1 seated; the hips are ``sit · FEET_AHEAD_M`` behind the feet; seat_m: height of the seat.
        still: how settled someone is who has stopped, 0…1; stop: number of the last place where they stayed.
    """

    x_m: float
    y_m: float
    heading: float
    phase: float
    speed_mps: float
    head_yaw: float = 0.0
    time_s: float = 0.0
    sit: float = 0.0
    seat_m: float = 0.45
    still: float = 0.0
    stop: int = 0


def amplitude(speed_mps: float, freedom: float = 1.0) -> float:
    """How far the legs swing, relative to walking at 1.3 m/s; ``freedom`` below 1 for tight clothes."""
    return freedom * min(1.15, max(speed_mps, 0.0) / 1.3) ** 0.7


def stride_m(speed_mps: float, height_m: float, freedom: float = 1.0) -> float:
    """Length of a stride (two steps) at which the feet do not slide."""
    return 4 * 0.5 * height_m * math.sin(math.radians(HIP_SWING_DEG * max(amplitude(speed_mps, freedom), 0.2)))


def fold(thigh_m: float, shin_m: float, ankle_m: float, height_m: float, pose: Pose) -> tuple[float, float]:
    """Flexion of hip and knee in degrees of someone sitting down, by the law of cosines between hip and ankle.

    Args:
        thigh_m, shin_m: lengths; ankle_m: height of the ankle over the floor; height_m: of the body.
    """
    upright = thigh_m + shin_m
    seated = pose.seat_m + HIP_ABOVE_SEAT * height_m - ankle_m
    ahead, down = FEET_AHEAD_M * pose.sit, upright + (min(seated, upright) - upright) * pose.sit
    reach = min(math.hypot(ahead, down), upright - 1e-6)
    lift = math.acos((thigh_m**2 + reach**2 - shin_m**2) / (2 * thigh_m * reach))
    knee = math.pi - math.acos((thigh_m**2 + shin_m**2 - reach**2) / (2 * thigh_m * shin_m))
    return math.degrees(math.atan2(ahead, down) + lift), math.degrees(knee)


def _bump(phase: float, centre: float, width: float) -> float:
    d = (phase - centre + 0.5) % 1.0 - 0.5
    return math.exp(-0.5 * (d / width) ** 2)


def _rx(deg: float) -> Array:
    c, s = math.cos(math.radians(deg)), math.sin(math.radians(deg))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _ry(deg: float) -> Array:
    c, s = math.cos(math.radians(deg)), math.sin(math.radians(deg))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _rz(deg: float) -> Array:
    c, s = math.cos(math.radians(deg)), math.sin(math.radians(deg))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _leg(phase: float, a: float) -> tuple[Array, Array, Array]:
    """Rotations of thigh, shin and foot; flexing turns about +y (left), negative forward."""
    hip = a * (HIP_SWING_DEG * math.cos(2 * math.pi * phase) + 3.0)
    knee = a * (12 * _bump(phase, 0.13, 0.07) + 58 * _bump(phase, 0.73, 0.10)) + 3.0
    foot = a * (-16 * _bump(phase, 0.0, 0.05) + 48 * _bump(phase, 0.62, 0.08) + 12 * _bump(phase, 0.76, 0.08))
    return _ry(-hip), _ry(knee), _ry(foot + hip - knee)


def _arm(phase: float, a: float, side: float, carry: float) -> tuple[Array, Array]:
    """Rotations of upper arm and forearm; ``side`` +1 left, ``carry`` damps the swing of an arm that holds a bag."""
    swing = carry * a * 20 * math.cos(2 * math.pi * phase)
    elbow = 10 + carry * a * (12 + 10 * math.cos(2 * math.pi * phase))
    return _rx(side * 6.5) @ _ry(-swing + 2), _ry(-elbow)


def bone_transforms(
    pose: Pose, rest: Array, carry: tuple[float, float] = (1.0, 1.0), sway: float = 0.0, freedom: float = 1.0
) -> Array:
    """(17, 3, 4) from the rest pose to the world.

    The pelvis is not yet lifted: the caller puts the lowest point of the feet on the floor.

    Args:
        rest: (17, 3) from :func:`joints`; carry: swing of the left and right arm; sway: a person's own offset (rad);
            freedom: of the legs.
    """
    a = amplitude(pose.speed_mps, freedom)
    left, right = pose.phase % 1.0, (pose.phase + 0.5) % 1.0
    wave = math.sin(2 * math.pi * left)
    idle = (1 - min(a, 1.0)) * math.sin(0.9 * pose.time_s + sway)
    turn = 5 * a * math.cos(2 * math.pi * left)
    local = np.tile(np.eye(3), (BONES, 1, 1))
    local[PELVIS] = _rz(math.degrees(pose.heading) - turn) @ _rx(1.5 * a * wave + 1.2 * idle)
    local[SPINE] = _rz(turn) @ _ry(1.5 + 2.0 * a) @ _rx(-1.5 * a * wave - 1.2 * idle)
    local[CHEST] = _rz(turn)
    local[NECK] = _rz(-turn + 0.35 * math.degrees(pose.head_yaw)) @ _ry(4)
    local[HEAD] = _rz(0.65 * math.degrees(pose.head_yaw)) @ _ry(-5 - 2.0 * a)
    local[L_ARM], local[L_FOREARM] = _arm(right, a, 1.0, carry[0])
    local[R_ARM], local[R_FOREARM] = _arm(left, a, -1.0, carry[1])
    local[L_THIGH], local[L_SHIN], local[L_FOOT] = _leg(left, a)
    local[R_THIGH], local[R_SHIN], local[R_FOOT] = _leg(right, a)
    if pose.sit > 0:
        _sit(local, pose, rest)
    return _chain(local, rest, np.array([pose.x_m, pose.y_m, 0.0]))


def _sit(local: Array, pose: Pose, rest: Array) -> None:
    """Fold the legs, lean forward on the way, lay the hands on the thighs; in place."""
    thigh, shin = (float(rest[a, 2] - rest[b, 2]) for a, b in ((L_THIGH, L_SHIN), (L_SHIN, L_FOOT)))
    tall = float(rest[L_THIGH, 2]) / 0.52
    hip, knee = fold(thigh, shin, float(rest[L_FOOT, 2]), tall, pose)
    for side, bones in ((1.0, (L_THIGH, L_SHIN, L_FOOT)), (-1.0, (R_THIGH, R_SHIN, R_FOOT))):
        spread = _rx(side * 5.0 * pose.sit)
        for bone, turn in zip(bones, (spread @ _ry(-hip), _ry(knee), _ry(hip - knee) @ spread.T), strict=True):
            local[bone] = turn
    local[SPINE] = local[SPINE] @ _ry(34 * math.sin(math.pi * pose.sit) - 3 * pose.sit)
    for side, arm, forearm in ((1.0, L_ARM, L_FOREARM), (-1.0, R_ARM, R_FOREARM)):
        local[arm] = local[arm] @ _ry(-15 * pose.sit)
        local[forearm] = _rz(-18 * side * pose.sit) @ local[forearm] @ _ry(-34 * pose.sit)


def _chain(local: Array, rest: Array, place: Array) -> Array:
    """Forward kinematics: each bone turns about its joint, carried by its parent."""
    world = np.empty((BONES, 3, 4))
    for bone, parent in enumerate(PARENT):
        if parent < 0:
            rotation, origin = local[bone], place + rest[bone] * [0, 0, 1]
        else:
            rotation = world[parent, :, :3] @ local[bone]
            origin = world[parent, :, :3] @ rest[bone] + world[parent, :, 3]
        world[bone, :, :3] = rotation
        world[bone, :, 3] = origin - rotation @ rest[bone]
    return world


def skin(
    points: Array,
    normals: Array,
    bones: NDArray[np.int64],
    weight: Array,
    transforms: Array,
    soles: NDArray[np.bool_] | None = None,
) -> tuple[Array, Array]:
    """Linear blend skinning: (v, 3) points and unit normals in the world, standing on the floor.

    ``soles``: (v,) what may touch the floor; anything where None.
    """
    w = weight[:, None, None]
    blend = transforms[bones[:, 0]] * w + transforms[bones[:, 1]] * (1 - w)
    moved = np.einsum("vij,vj->vi", blend[:, :, :3], points) + blend[:, :, 3]
    moved[:, 2] -= moved[:, 2].min() if soles is None else moved[soles, 2].min()
    turned = np.einsum("vij,vj->vi", blend[:, :, :3], normals)
    return moved, turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)

"""The skeleton, and the pose of someone who walks, stands or looks around, as functions of a gait phase.

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
    """

    x_m: float
    y_m: float
    heading: float
    phase: float
    speed_mps: float
    head_yaw: float = 0.0
    time_s: float = 0.0


def amplitude(speed_mps: float, freedom: float = 1.0) -> float:
    """How far the legs swing, relative to walking at 1.3 m/s; ``freedom`` below 1 for tight clothes."""
    return freedom * min(1.15, max(speed_mps, 0.0) / 1.3) ** 0.7


def stride_m(speed_mps: float, height_m: float, freedom: float = 1.0) -> float:
    """Length of a stride (two steps) at which the feet do not slide."""
    return 4 * 0.5 * height_m * math.sin(math.radians(HIP_SWING_DEG * max(amplitude(speed_mps, freedom), 0.2)))


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
    return _chain(local, rest, np.array([pose.x_m, pose.y_m, 0.0]))


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
    points: Array, normals: Array, bones: NDArray[np.int64], weight: Array, transforms: Array
) -> tuple[Array, Array]:
    """Linear blend skinning: (v, 3) points and unit normals in the world, standing on the floor."""
    w = weight[:, None, None]
    blend = transforms[bones[:, 0]] * w + transforms[bones[:, 1]] * (1 - w)
    moved = np.einsum("vij,vj->vi", blend[:, :, :3], points) + blend[:, :, 3]
    moved[:, 2] -= moved[:, 2].min()
    turned = np.einsum("vij,vj->vi", blend[:, :, :3], normals)
    return moved, turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)

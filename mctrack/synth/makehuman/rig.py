"""A skeleton of two dozen bones joined from MakeHuman's 163: joints on a given body, poses, skinning."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.makehuman.assets import Assets
from mctrack.synth.zbuffer import compiled

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

# Bone, parent, bone of MakeHuman's rig at whose head it begins (and which it takes the weights of, with all below
# it; `held` has no weights but those of bags).
_CHAIN = (
    ("pelvis", "", "root"),
    ("spine", "pelvis", "spine04"),
    ("chest", "spine", "spine02"),
    ("neck", "chest", "neck01"),
    ("head", "neck", "head"),
)
_SIDE = (
    ("clavicle", "chest", "clavicle"),
    ("arm", "clavicle", "upperarm01"),
    ("forearm", "arm", "lowerarm01"),
    ("hand", "forearm", "wrist"),
    ("fingers", "hand", "finger3-1"),
    ("held", "hand", "finger3-1"),
    ("thigh", "pelvis", "upperleg01"),
    ("shin", "thigh", "lowerleg01"),
    ("foot", "shin", "foot"),
)
BONES = tuple(name for name, _, _ in _CHAIN) + tuple(f"{n}.{s}" for s in "LR" for n, _, _ in _SIDE)
INDEX = {name: k for k, name in enumerate(BONES)}
SOURCE = {f"{n}.{s}": f"{m}.{s}" for s in "LR" for n, _, m in _SIDE} | {n: m for n, _, m in _CHAIN}
"""Bone → the bone of MakeHuman's rig at whose head it begins."""


def _parents() -> tuple[int, ...]:
    up = {n: p for n, p, _ in _CHAIN}
    for s in "LR":
        up |= {f"{n}.{s}": f"{p}.{s}" if f"{p}.{s}" in INDEX else p for n, p, _ in _SIDE}
    return tuple(INDEX.get(up[b], -1) for b in BONES)


PARENT = _parents()


@dataclass(frozen=True)
class Pose:
    """Joint angles in degrees; forward and outward are positive, right and left as (left, right) pairs.

    Attributes:
        thigh: forward swing; spread: outward; knee: flexion; ankle: toes up.
        arm: forward swing; lift: outward; elbow: flexion; inward: forearm towards the middle.
        lean, twist, tilt: of the chest against the pelvis (forward, to the left, to the side); turn: of the head.
    """

    thigh: tuple[float, float] = (0.0, 0.0)
    spread: tuple[float, float] = (3.0, 3.0)
    knee: tuple[float, float] = (2.0, 2.0)
    ankle: tuple[float, float] = (0.0, 0.0)
    arm: tuple[float, float] = (0.0, 0.0)
    lift: tuple[float, float] = (8.0, 8.0)
    elbow: tuple[float, float] = (12.0, 12.0)
    inward: tuple[float, float] = (0.0, 0.0)
    lean: float = 0.0
    twist: float = 0.0
    tilt: float = 0.0
    pelvis_twist: float = 0.0
    turn: float = 0.0
    nod: float = 0.0
    curl: float = 40.0
    extra: dict[str, float] = field(default_factory=dict)


STRAIGHT = Pose(spread=(0.0, 0.0), knee=(0.0, 0.0), lift=(0.0, 0.0), elbow=(0.0, 0.0), curl=0.0)
"""Arms hanging straight down: textures are measured in this pose."""


def about(axis: int, degrees: float) -> Array:
    """(3, 3) rotation about x (0), y (1) or z (2)."""
    a = np.radians(degrees)
    c, s = np.cos(a), np.sin(a)
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    out = np.eye(3)
    out[i, i], out[i, j], out[j, i], out[j, j] = c, -s, s, c
    return out


def between(a: Array, b: Array) -> Array:
    """(3, 3) least rotation that takes direction ``a`` to direction ``b``."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    v, c = np.cross(a, b), float(a @ b)
    if c < -0.9999:
        return -np.eye(3)
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.asarray(np.eye(3) + k + k @ k / (1 + c))


class Rig:
    """Bones and skin weights of the base mesh, for all bodies."""

    def __init__(self, assets: Assets) -> None:
        parents, self._heads = assets.skeleton()
        names = {m: n for n, _, m in _CHAIN}
        for s in "LR":
            names |= {f"{m}.{s}": f"{n}.{s}" for n, _, m in _SIDE if n != "held"}
            names |= {f"finger{f}-1.{s}": f"fingers.{s}" for f in (2, 3, 4, 5)}
        total = np.zeros((len(assets.base.points), len(BONES)), np.float32)
        for bone, rows in assets.weights().items():
            owner: str | None = bone
            while owner is not None and owner not in names:
                owner = parents[owner]
            index = rows[:, 0].astype(np.int64)
            np.add.at(total[:, INDEX[names[owner or "root"]]], index, rows[:, 1])
        none = total.sum(axis=1) <= 0
        total[none, INDEX["pelvis"]] = 1
        self.weights: Float32 = total / total.sum(axis=1, keepdims=True)

    def joints(self, points: Float32) -> Array:
        """(b, 3) heads of the bones on a body of (v, 3) points."""
        return np.stack([points[self._heads[SOURCE[b]]].mean(axis=0) for b in BONES]).astype(float)

    def knuckles(self, points: Float32, side: str) -> Array:
        """(3,) direction along the knuckles of a hand, forefinger to little finger."""
        first, last = (points[self._heads[f"finger{f}-1.{side}"]].mean(axis=0) for f in (2, 5))
        return np.asarray((last - first) / np.linalg.norm(last - first), float)


def rotations(pose: Pose, rest: Array, knuckles: tuple[Array, Array]) -> Array:
    """(b, 3, 3) rotation of every bone against the rest pose, in the body's frame.

    Limbs turn by the least rotation from where they point at rest (an A-pose) to where the pose wants them, so that
    the angles mean the same on every body.
    """
    out = np.tile(np.eye(3), (len(BONES), 1, 1))
    chest = about(1, pose.twist) @ about(0, pose.lean) @ about(2, pose.tilt)
    out[INDEX["pelvis"]] = about(1, pose.pelvis_twist)
    out[INDEX["spine"]] = about(1, 0.5 * (pose.twist + pose.pelvis_twist)) @ about(0, 0.5 * pose.lean)
    out[INDEX["chest"]] = chest
    out[INDEX["neck"]] = chest @ about(1, 0.4 * pose.turn) @ about(0, -0.4 * pose.lean + 0.4 * pose.nod)
    out[INDEX["head"]] = about(1, pose.turn + 0.3 * pose.twist) @ about(0, pose.nod)
    for k, s in enumerate("LR"):
        side = 1.0 if s == "L" else -1.0
        arm, forearm, hand = (INDEX[f"{n}.{s}"] for n in ("arm", "forearm", "hand"))
        thigh, shin, foot = (INDEX[f"{n}.{s}"] for n in ("thigh", "shin", "foot"))
        raise_ = max(pose.arm[k], pose.lift[k]) - 60
        out[INDEX[f"clavicle.{s}"]] = chest @ about(2, side * max(raise_, 0) * 0.2) @ about(2, -side * 6)
        upper = about(0, -pose.arm[k]) @ about(2, side * pose.lift[k]) @ np.array([0, -1.0, 0])
        lower = (
            about(0, -pose.arm[k]) @ about(2, side * pose.lift[k]) @ about(0, -pose.elbow[k]) @ np.array([0, -1.0, 0])
        )
        lower = about(1, -side * pose.inward[k]) @ lower
        out[arm] = chest @ between(rest[forearm] - rest[arm], upper)
        out[forearm] = chest @ between(rest[hand] - rest[forearm], lower)
        out[hand] = out[forearm]
        axis = knuckles[k]
        # What a hand holds hangs straight down, whatever the arm does.
        out[INDEX[f"held.{s}"]] = about(0, -0.3 * min(pose.arm[k], 30.0))
        out[INDEX[f"fingers.{s}"]] = out[hand] @ _around(axis, side * pose.curl)
        leg = (
            about(1, side * pose.extra.get("toes_out", 4.0))
            @ about(0, -pose.thigh[k])
            @ about(2, side * pose.spread[k])
        )
        straight = between(rest[shin] - rest[thigh], np.array([0, -1.0, 0]))
        pelvis = out[INDEX["pelvis"]]
        out[thigh] = pelvis @ leg @ straight
        out[shin] = pelvis @ leg @ about(0, pose.knee[k]) @ between(rest[foot] - rest[shin], np.array([0, -1.0, 0]))
        out[foot] = pelvis @ about(1, side * 6) @ about(0, -pose.thigh[k] + pose.knee[k] - pose.ankle[k])
    return out


def _around(axis: Array, degrees: float) -> Array:
    a = np.radians(degrees)
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * k @ k)


def transforms(rotation: Array, rest: Array) -> tuple[Float32, Float32]:
    """(b, 3, 3) and (b, 3): a rest point p of bone b goes to ``R[b] @ p + t[b]``."""
    head = np.zeros_like(rest)
    for b, p in enumerate(PARENT):
        head[b] = rest[b] if p < 0 else head[p] + rotation[p] @ (rest[b] - rest[p])
    shift = head - np.einsum("bij,bj->bi", rotation, rest)
    return rotation.astype(np.float32), shift.astype(np.float32)


@compiled
def _skin(points: Float32, weights: Float32, rotation: Float32, shift: Float32, out: Float32) -> None:
    for v in range(points.shape[0]):
        for b in range(weights.shape[1]):
            w = weights[v, b]
            if w > 0:
                for i in range(3):
                    out[v, i] += w * (
                        rotation[b, i, 0] * points[v, 0]
                        + rotation[b, i, 1] * points[v, 1]
                        + rotation[b, i, 2] * points[v, 2]
                        + shift[b, i]
                    )


def skin(points: Float32, weights: Float32, rotation: Float32, shift: Float32) -> Float32:
    """(v, 3) posed points (linear blend skinning) by (v, b) weights."""
    out = np.zeros((len(points), 3), np.float32)
    _skin(*(np.ascontiguousarray(a, np.float32) for a in (points, weights, rotation, shift)), out)
    return out

"""Captured poses: reading Biovision hierarchies of MakeHuman's skeleton, and taking them over onto ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mctrack.errors import SourceError
from mctrack.synth.makehuman.rig import BONES, INDEX, SOURCE, about

Array = NDArray[np.float64]

# The files have z up and the person facing −y; here y is up and the person faces +z.
_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
_AXES = {"Xrotation": 0, "Yrotation": 1, "Zrotation": 2}


@dataclass(frozen=True, eq=False)
class Capture:
    """A captured motion.

    Attributes:
        joint: name → column of ``turn``; turn: (t, j, 3, 3) rotation of every joint against the rest pose, in the
            file's axes, all turns of its parents included.
    """

    joint: dict[str, int]
    turn: Array

    def rotations(self, frame: int = 0) -> Array:
        """(b, 3, 3) of our bones as `rig.rotations` gives them, facing +z.

        Raises:
            KeyError: the skeleton is not MakeHuman's.
        """
        out = np.stack([_UP @ self.turn[frame, self.joint[SOURCE[bone]]] @ _UP.T for bone in BONES])
        ahead = out[INDEX["pelvis"]][:, 2]
        out = about(1, -float(np.degrees(np.arctan2(ahead[0], ahead[2])))) @ out
        for side in "LR":  # what a hand holds hangs down, whatever the arm does
            out[INDEX[f"held.{side}"]] = np.eye(3)
        return np.asarray(out)


def read_bvh(path: Path) -> Capture:
    """Read a ``.bvh``: joints with rotations about x, y and z in the order that each one's channels tell.

    Raises:
        SourceError: it cannot be read or is no such file.
    """
    try:
        words = path.read_text(encoding="utf-8", errors="replace").split()
    except OSError as error:
        raise SourceError(f"MakeHuman assets: {path} cannot be read: {error.strerror or error}") from error
    try:
        start = words.index("MOTION")
        names, parents, channels = _hierarchy(words[:start])
        frames = int(words[start + 2])
        values = np.array(words[start + 6 :], float).reshape(frames, sum(len(c) for c in channels))
    except (ValueError, IndexError) as error:
        raise SourceError(f"MakeHuman assets: {path} is no BVH file ({error})") from error
    turn = np.empty((frames, len(names), 3, 3))
    for t, row in enumerate(values):
        at = 0
        for j, (parent, order) in enumerate(zip(parents, channels, strict=True)):
            turn[t, j] = np.eye(3) if parent < 0 else turn[t, parent]
            for k, channel in enumerate(order):
                if channel in _AXES:
                    turn[t, j] = turn[t, j] @ about(_AXES[channel], float(row[at + k]))
            at += len(order)
    return Capture({n: k for k, n in enumerate(names)}, turn)


def at_ease(rotation: Array, rest: Array) -> bool:
    """Whether (b, 3, 3) rotations are those of somebody standing upright with the hands below the elbows.

    ``rest``: (b, 3) joints at rest.
    """

    def down(a: str, b: str) -> float:
        way = rotation[INDEX[a]] @ (rest[INDEX[b]] - rest[INDEX[a]])
        return float(-way[1] / np.linalg.norm(way))

    arms = min(down(f"forearm.{s}", f"hand.{s}") for s in "LR")
    legs = min(down(f"{a}.{s}", f"{b}.{s}") for s in "LR" for a, b in (("thigh", "shin"), ("shin", "foot")))
    return arms > 0.3 and legs > 0.85


def blend(a: Array, b: Array, legs: float, arms: float) -> Array:
    """(b, 3, 3) rotations between two poses, nearest to the weighted mean of their matrices; 0 is all ``a``."""
    share = np.array([arms if _upper(n) else legs for n in BONES])[:, None, None]
    u, _, v = np.linalg.svd((1 - share) * a + share * b)
    u[..., -1] *= np.linalg.det(u @ v)[:, None]
    return np.asarray(u @ v)


def _upper(bone: str) -> bool:
    return bone.split(".")[0] in ("neck", "head", "clavicle", "arm", "forearm", "hand", "fingers", "held")


def _hierarchy(words: list[str]) -> tuple[list[str], list[int], list[list[str]]]:
    """Names, parents (−1 for the root) and channels of the joints, parents first."""
    names: list[str] = []
    parents: list[int] = []
    channels: list[list[str]] = []
    open_: list[int] = []
    current = -1
    for k, word in enumerate(words):
        if word in ("ROOT", "JOINT"):
            names.append(words[k + 1])
            parents.append(open_[-1] if open_ else -1)
            channels.append([])
            current = len(names) - 1
        elif word == "End":
            current = -1
        elif word == "{":
            open_.append(current)
        elif word == "}":
            open_.pop()
        elif word == "CHANNELS":
            count = int(words[k + 1])
            channels[open_[-1]] = words[k + 2 : k + 2 + count]
    if not names:
        raise ValueError("no joints")
    return names, parents, channels

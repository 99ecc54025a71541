"""A body from MakeHuman's macro targets, with its joints, canonical coordinates and landmarks, all in metres."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.makehuman.assets import METRE, Assets
from mctrack.synth.makehuman.rig import INDEX, STRAIGHT, Rig, rotations, skin, transforms

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

BODY = 13380
"""The first so many base vertices are the body's, those after it are helpers."""


@dataclass(frozen=True)
class Shape:
    """Macro parameters 0…1 as MakeHuman has them (0.5 is average; gender 1 is male; age 0 young, 1 old)."""

    gender: float = 0.5
    age: float = 0.2
    muscle: float = 0.5
    weight: float = 0.5
    tall: float = 0.5
    proportions: float = 0.5
    african: float = 0.0
    asian: float = 0.0
    height_m: float = 1.72


@dataclass(frozen=True, eq=False)
class Body:
    """All base vertices on one person at rest.

    Attributes:
        points: (v, 3) metres, feet at y = 0; joints: (b, 3) heads of the bones.
        canonical: (v, 3) the same with arms hanging and legs straight: what textures are measured in.
        arm: (v,) share of arm, forearm and hand in a vertex's skin weights.
        along: (v,) 0 at the shoulder, 1 at the wrist, beyond on the hand; meaningful where ``arm`` is.
        marks: heights of landmarks in the canonical pose; straight: the bones' transforms into that pose.
    """

    shape: Shape
    points: Float32
    joints: Array
    knuckles: tuple[Array, Array]
    canonical: Float32
    arm: Float32
    along: Float32
    marks: dict[str, float]
    straight: tuple[Float32, Float32]

    def unposed(self, bone: int, points: Float32) -> Float32:
        """(v, 3) canonical points that hang on one bone, at rest."""
        turn, shift = self.straight
        return (points - shift[bone]) @ turn[bone]


def _blend(value: float, low: str, mid: str, high: str) -> list[tuple[str, float]]:
    """Triangles over 0…1 with corners at 0, ½ and 1."""
    side = 2 * abs(value - 0.5)
    ends = [(mid, 1 - side), (high if value > 0.5 else low, side)]
    return [(n, w) for n, w in ends if w > 1e-3]


def _named(value: float, low: str, high: str) -> list[tuple[str, float]]:
    return [(n, w) for n, w in ((low, 1 - value), (high, value)) if w > 1e-3]


def morph(assets: Assets, shape: Shape) -> Float32:
    """(v, 3) base points in file units after all macro targets, each with the product of its parts' weights."""
    points = assets.base.points.copy()
    gender, age = _named(shape.gender, "female", "male"), _named(shape.age, "young", "old")
    race = [("african", shape.african), ("asian", shape.asian), ("caucasian", 1 - shape.african - shape.asian)]
    muscle = _blend(shape.muscle, "minmuscle", "averagemuscle", "maxmuscle")
    weight = _blend(shape.weight, "minweight", "averageweight", "maxweight")
    for (r, wr), (g, wg), (a, wa) in product(race, gender, age):
        if wr > 1e-3:
            points += np.float32(wr * wg * wa) * assets.target(f"{r}-{g}-{a}")
    tall = abs(shape.tall - 0.5) * 2
    ideal = abs(shape.proportions - 0.5) * 2
    for (g, wg), (a, wa), (m, wm), (f, wf) in product(gender, age, muscle, weight):
        factor = np.float32(wg * wa * wm * wf)
        build = f"{g}-{a}-{m}-{f}"
        points += factor * assets.target(f"universal-{build}")
        if tall > 0.02:
            end = "maxheight" if shape.tall > 0.5 else "minheight"
            points += factor * np.float32(tall) * assets.target(f"height/{build}-{end}")
        if ideal > 0.02:
            end = "idealproportions" if shape.proportions > 0.5 else "uncommonproportions"
            points += factor * np.float32(ideal) * assets.target(f"proportions/{build}-{end}")
    return points


def build(assets: Assets, rig: Rig, shape: Shape) -> Body:
    """Morph, scale to the height wanted, and measure the body."""
    points = morph(assets, shape) * np.float32(METRE)
    skinned = points[:BODY]
    low, high = float(skinned[:, 1].min()), float(skinned[:, 1].max())
    points = (points - np.array([0, low, 0], np.float32)) * np.float32(shape.height_m / (high - low))
    joints = rig.joints(points)
    knuckles = (rig.knuckles(points, "L"), rig.knuckles(points, "R"))
    turn, shift = transforms(rotations(STRAIGHT, joints, knuckles), joints)
    canonical = skin(points, rig.weights, turn, shift)
    arms = [INDEX[f"{n}.{s}"] for n in ("arm", "forearm", "hand", "fingers") for s in "LR"]
    share = rig.weights[:, arms].sum(axis=1)
    marks = _landmarks(canonical, joints, turn, shift)
    along = (marks["shoulder"] - canonical[:, 1]) / (marks["shoulder"] - marks["wrist"])
    return Body(shape, points, joints, knuckles, canonical, share, along.astype(np.float32), marks, (turn, shift))


def _landmarks(canonical: Float32, joints: Array, turn: Float32, shift: Float32) -> dict[str, float]:
    """Heights (and a few widths) in the canonical pose, metres."""
    moved = np.einsum("bij,bj->bi", turn, joints) + shift
    y = {
        n: float(moved[INDEX[f"{b}.L"], 1])
        for n, b in (
            ("shoulder", "arm"),
            ("elbow", "forearm"),
            ("wrist", "hand"),
            ("hip", "thigh"),
            ("knee", "shin"),
            ("ankle", "foot"),
        )
    }
    skinned = canonical[:BODY]
    middle = np.abs(skinned[:, 0]) < 0.02
    legs = skinned[middle & (skinned[:, 1] < y["hip"] + 0.02)]
    y["crotch"] = float(legs[:, 1].min()) if len(legs) else y["hip"] - 0.08
    y["waist"] = y["hip"] + 0.36 * (y["shoulder"] - y["hip"])
    y["chest"] = y["hip"] + 0.72 * (y["shoulder"] - y["hip"])
    y["neck"] = float(moved[INDEX["neck"], 1])
    y["head"] = float(moved[INDEX["head"], 1])
    y["top"] = float(skinned[:, 1].max())
    eye = canonical[14598:14742]
    y["eye"], y["eye_x"], y["eye_z"] = float(eye[:, 1].mean()), float(np.abs(eye[:, 0]).mean()), float(eye[:, 2].max())
    y["shoulder_x"] = float(moved[INDEX["arm.L"], 0])
    y["hip_x"] = float(moved[INDEX["thigh.L"], 0])
    head = skinned[skinned[:, 1] > y["eye"] - 0.02]
    y["head_z"], y["head_w"] = float(head[:, 2].mean()), float(np.abs(head[:, 0]).max())
    y["head_front"], y["head_back"] = float(head[:, 2].max()), float(head[:, 2].min())
    return y

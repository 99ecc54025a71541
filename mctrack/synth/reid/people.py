"""Where the people of a data set come from: MakeHuman's meshes or the built-in parametric bodies, behind one face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.bodies import assets_folder
from mctrack.synth.zbuffer import Float32, Int32, Samples

Array = NDArray[np.float64]
TWINS = 10
"""Every so manieth identity wears the outfit of the one before it, one detail apart."""


class Drawable(Protocol):
    """A person made drawable; coordinates are metres, y up, standing at the origin on y = 0."""

    height_m: float
    triangles: Int32
    cut: Float32

    def pose(self, rng: np.random.Generator, moving: bool) -> Any:
        """A pose at random."""
        ...

    def posed(self, pose: Any, heading_deg: float) -> Float32:
        """(v, ≥ 6) posed points and unit normals, and what `colours` needs besides."""
        ...

    def colours(
        self, corner: Float32, seen: Samples, light: Float32, shadow: Float32, frame: Float32, eye: Array
    ) -> Float32:
        """(h, w, 4) linear RGB and coverage."""
        ...


class People(Protocol):
    """A numbered crowd: the same seed and number give the same person."""

    def figure(self, number: int) -> Drawable:
        """Person ``number``, 0-based."""
        ...

    def describe(self, number: int) -> tuple[dict[str, Any], dict[str, int]]:
        """All that is known about a person, and Market-1501's 27 attributes."""
        ...


class MakeHumanPeople:
    """People from MakeHuman's assets."""

    def __init__(self, folder: Path, seed: int) -> None:
        from mctrack.synth.makehuman.figure import MakeHuman

        self._assets, self._seed = MakeHuman(folder), seed

    def person(self, number: int) -> Any:
        """The description of a person."""
        from mctrack.synth.makehuman.person import sample_person, twin

        rng = np.random.default_rng([self._seed, 1, number])
        person = sample_person(rng)
        if number % TWINS == TWINS - 1:
            return twin(self.person(number - 1), person, rng, number - 1)
        return person

    def figure(self, number: int) -> Drawable:
        """Person ``number``, dressed."""
        from mctrack.synth.makehuman.figure import HumanFigure

        return HumanFigure(self._assets, self.person(number))

    def describe(self, number: int) -> tuple[dict[str, Any], dict[str, int]]:
        """The person's fields and attributes."""
        from mctrack.synth.makehuman.person import market_attributes

        person = self.person(number)
        return {"description": person.describe(), **person.to_dict()}, market_attributes(person)


class ParametricPeople:
    """The built-in bodies of lofted sections with a painted atlas."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def person(self, number: int) -> Any:
        """The description of a person."""
        from mctrack.synth.identity import sample_identity

        rng = np.random.default_rng([self._seed, 1, number])
        person = sample_identity(rng)
        if number % TWINS == TWINS - 1:
            before = self.person(number - 1)
            bag = "none" if before.bag == "backpack" else "backpack"
            return replace(before, bag=bag, height_m=person.height_m, pace_mps=person.pace_mps, seed=person.seed)
        return person

    def figure(self, number: int) -> Drawable:
        """Person ``number``, drawable."""
        return ParametricFigure(self.person(number))

    def describe(self, number: int) -> tuple[dict[str, Any], dict[str, int]]:
        """The person's fields and attributes."""
        person = self.person(number)
        return {"description": person.describe(), **person.to_dict()}, _parametric_attributes(person)


class ParametricFigure:
    """A parametric body seen by the compiled rasteriser: its atlas is looked up per sample."""

    def __init__(self, person: Any) -> None:
        from mctrack.synth.figure import Figure

        self._figure = Figure(person)
        mesh = self._figure.mesh
        self.height_m = float(person.height_m)
        self.triangles: Int32 = mesh.triangles.astype(np.int32)
        self.cut: Float32 = np.ones((len(mesh.points), 1), np.float32)
        self._atlas = self._figure.atlas[0][..., ::-1] ** np.float32(2.2)

    def pose(self, rng: np.random.Generator, moving: bool) -> Any:
        """A moment of the gait, or standing."""
        from mctrack.synth.gait import Pose

        speed = float(rng.uniform(0.9, 1.5)) if moving else 0.0
        return Pose(0.0, 0.0, 0.0, float(rng.random()), speed, float(rng.normal(0, 0.25)), float(rng.uniform(0, 60)))

    def posed(self, pose: Any, heading_deg: float) -> Float32:
        """(v, 8): points, normals, texture coordinates; from z up, x front to y up, z front."""
        points, normals = (a[:, [1, 2, 0]] for a in self._figure.posed(pose))
        a = np.radians(heading_deg)
        turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        points[:, 1] -= points[:, 1].min()
        return np.concatenate([points @ turn.T, normals @ turn.T, self._figure.mesh.uv], axis=1).astype(np.float32)

    def colours(
        self, corner: Float32, seen: Samples, light: Float32, shadow: Float32, frame: Float32, eye: Array
    ) -> Float32:
        """(h, w, 4) linear RGB and coverage; lit like the others but without self-shadowing."""
        del shadow, frame, eye
        out = np.zeros((*seen.triangle.shape, 4), np.float32)
        drawn = seen.triangle >= 0
        corners = corner[self.triangles[seen.triangle[drawn]]]
        w = seen.weight[drawn]
        mixed = corners[:, 0] * (1 - w.sum(axis=1))[:, None] + corners[:, 1] * w[:, :1] + corners[:, 2] * w[:, 1:]
        normal = mixed[:, 3:6] / np.maximum(np.linalg.norm(mixed[:, 3:6], axis=1, keepdims=True), 1e-6)
        texel = (mixed[:, 6:8] * len(self._atlas)).astype(np.int64).clip(0, len(self._atlas) - 1)
        key = np.clip((normal @ light[:3] + light[12]) / (1 + light[12]), 0, None)[:, None]
        up = 0.5 + 0.5 * normal[:, 1:2]
        out[drawn, :3] = self._atlas[texel[:, 1], texel[:, 0]] * (
            key * light[3:6] + light[6:9] * up + light[9:12] * (1 - up)
        )
        out[drawn, 3] = 1
        return out


def _parametric_attributes(person: Any) -> dict[str, int]:
    """Market-1501's 27 attributes of a parametric person."""
    groups = {
        "charcoal": "black",
        "navy": "blue",
        "sky": "blue",
        "teal": "green",
        "olive": "green",
        "orange": "red",
        "wine": "red",
        "denim": "blue",
        "pink": "purple",
        "grey": "gray",
        "beige": "yellow",
    }
    up, down = (groups.get(c, c) for c in (person.top_colour, person.bottom_colour))
    down = "brown" if person.bottom_colour == "beige" else down
    long_hair = person.hair_style in ("long", "ponytail", "bob")
    out = {
        "age": 3,
        "backpack": 1 + (person.bag == "backpack"),
        "bag": 1 + (person.bag == "shoulder bag"),
        "handbag": 1 + (person.bag == "handbag"),
        "clothes": 1 if person.bottom == "skirt" else 2,
        "down": 2 if person.bottom in ("shorts", "skirt") else 1,
        "up": 2 if person.top == "t-shirt" else 1,
        "hair": 1 + long_hair,
        "hat": 1 + (person.hat != "none"),
        "gender": 1 + (long_hair or person.bottom == "skirt"),
    }
    ups = ("black", "white", "red", "purple", "yellow", "gray", "blue", "green")
    downs = ("black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown")
    return out | {f"up{c}": 1 + (up == c) for c in ups} | {f"down{c}": 1 + (down == c) for c in downs}


def open_people(spec: str, seed: int) -> People:
    """``parametric`` or ``makehuman:FOLDER``.

    Raises:
        ConfigError: neither of them.
    """
    folder = assets_folder(spec)
    return ParametricPeople(seed) if folder is None else MakeHumanPeople(folder, seed)

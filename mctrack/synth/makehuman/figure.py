"""A dressed person made drawable: posed points and normals, and their picture through any pinhole camera."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mctrack.synth import shading, zbuffer
from mctrack.synth.makehuman.assets import Assets
from mctrack.synth.makehuman.bvh import at_ease, read_bvh
from mctrack.synth.makehuman.dress import Wardrobe
from mctrack.synth.makehuman.person import Person
from mctrack.synth.makehuman.poses import sample_pose
from mctrack.synth.makehuman.rig import INDEX, Pose, Rig, about, rotations, skin, transforms

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]


class MakeHuman:
    """The assets and what all people share."""

    def __init__(self, root: Path) -> None:
        self.assets = Assets(root)
        self.rig = Rig(self.assets)
        self.rest = self.rig.joints(self.assets.base.points)
        self.volume = shading.noise_volume()

    @cached_property
    def stances(self) -> list[NDArray[np.float64]]:
        """(b, 3, 3) each: rotations of captured poses of people who just stand there; none where there are no files."""
        return [r for path in sorted((self.assets.root / "bvh").glob("standing*.bvh"))
                if at_ease(r := read_bvh(path).rotations(), self.rest)]  # fmt: skip


class HumanFigure:
    """One dressed person."""

    def __init__(self, people: MakeHuman, person: Person) -> None:
        wardrobe = Wardrobe(people.assets, people.rig, person)
        self.person, self.body = person, wardrobe.body
        mesh, material, self.table = wardrobe.dress()
        self._people = people
        self._points, self.weights = mesh.points, mesh.weights
        self.triangles, self.material = np.ascontiguousarray(mesh.triangles), material
        self.cut = mesh.cut
        self._texture = np.column_stack([mesh.canonical, mesh.arm, mesh.along]).astype(np.float32)
        self.height_m = person.shape.height_m
        feet = mesh.weights[:, [INDEX["foot.L"], INDEX["foot.R"]]].sum(axis=1)
        self.soles = np.flatnonzero(feet > 0.5)

    def pose(self, rng: np.random.Generator, moving: bool) -> Pose:
        """A pose at random."""
        return sample_pose(self.person, rng, moving)

    def posed(self, pose: Pose, heading_deg: float) -> Float32:
        """(v, 11) of `shading.shade`: standing at the origin on y = 0, facing +z turned by the heading about +y."""
        turn, shift = transforms(rotations(pose, self.body.joints, self.body.knuckles), self.body.joints)
        points = skin(self._points, self.weights, turn, shift)
        points[:, [0, 2]] -= (turn[INDEX["pelvis"]] @ self.body.joints[INDEX["pelvis"]] + shift[INDEX["pelvis"]])[
            [0, 2]
        ]
        points[:, 1] -= np.partition(points[:, 1], 20)[20]
        points = points @ about(1, heading_deg).T.astype(np.float32)
        normals = zbuffer.vertex_normals(points, self.triangles)
        return np.concatenate([points, normals, self._texture], axis=1)

    def skinned(self, turn: Float32, shift: Float32, soles: NDArray[np.int64]) -> Float32:
        """(v, 11) of `shading.shade` with the given transforms of the bones, these vertices' lowest on y = 0."""
        points = skin(self._points, self.weights, turn, shift)
        points[:, 1] -= np.partition(points[soles, 1], 20)[20]
        return np.concatenate([points, zbuffer.vertex_normals(points, self.triangles), self._texture], axis=1)

    def colours(
        self, corner: Float32, seen: zbuffer.Samples, light: Float32, shadow: Float32, frame: Float32, eye: Array
    ) -> Float32:
        """(h, w, 4) linear RGB and coverage of the samples."""
        return shading.shade(
            self.triangles,
            self.material,
            corner,
            self.table,
            seen.triangle,
            seen.weight,
            light,
            shadow,
            frame,
            eye.astype(np.float32),
            self._people.volume,
        )

"""A dressed person in a scene: walking without sliding, standing, sitting; seen by the scene's cameras."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mctrack.synth import gait, zbuffer
from mctrack.synth.camera import NEAR_M, Camera
from mctrack.synth.figure import SAMPLES, Drawn, Light, Window
from mctrack.synth.gait import Pose
from mctrack.synth.makehuman import bvh, rig
from mctrack.synth.makehuman.figure import HumanFigure, MakeHuman
from mctrack.synth.makehuman.person import Person
from mctrack.synth.makehuman.poses import busy, lower, mix, seated, standing, walking
from mctrack.synth.makehuman.rig import INDEX
from mctrack.synth.makehuman.stride import PELVIS_DEG, Stride
from mctrack.synth.raster import Fragments

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
IntArray = NDArray[np.int64]

WORLD = [2, 0, 1]
"""Columns that turn (y up: left, up, front) coordinates into the world's (x, y, z up); `BACK` turns them back."""
BACK = [1, 2, 0]
GAMMA = 2.2
CAPTURED = 0.4
"""Share of stops at which people stand as somebody was captured, where the assets have such poses."""
TEXEL_M = 0.025
"""Of the map of what the light sees first."""
_SKELETON = ("pelvis", "spine", "chest", "neck", "head", "arm.L", "forearm.L", "hand.L", "arm.R", "forearm.R", "hand.R",
             "thigh.L", "shin.L", "foot.L", "thigh.R", "shin.R", "foot.R")  # fmt: skip
_ROWS = [INDEX[n] for n in _SKELETON]


class HumanActor:
    """One person of MakeHuman's meshes; an `mctrack.synth.figure.Actor`."""

    def __init__(self, people: MakeHuman, person: Person) -> None:
        self.person = person
        self.figure = HumanFigure(people, person)
        self._rest = self.figure.body.joints
        thigh, shin, foot = (self._rest[INDEX[f"{n}.L"]] for n in ("thigh", "shin", "foot"))
        self._thigh_m, self._shin_m = (float(np.linalg.norm(a - b)) for a, b in ((thigh, shin), (shin, foot)))
        self._ankle_m = float(foot[1])
        self._stride = Stride(self._thigh_m, self._shin_m, self._ankle_m)
        self._soles, self._stances = self.figure.soles, people.stances
        self._moved = lru_cache(maxsize=2)(self._transforms)
        self._rest_poses = lru_cache(maxsize=16)(self._resting)

    # ------------------------------------------------------------------------------------------ the pose

    def _resting(self, stop: int) -> tuple[rig.Pose, rig.Pose, Array | None]:
        """How they stand and how they sit at their n-th stop; some stand as somebody was captured."""
        rng = np.random.default_rng([self.person.seed, stop])
        stand, sit = standing(self.person, rng), seated(self.person, rng)
        if rng.random() < 0.5:
            stand = busy(stand, rng)
        if rng.random() < 0.35:
            sit = busy(sit, rng)
        captured = self._stances[int(rng.integers(len(self._stances)))] if self._stances else None
        return stand, sit, captured if rng.random() < CAPTURED else None

    def joint_angles(self, pose: Pose) -> rig.Pose:
        """The angles of a moment in a scene; a walk swings as far as the strides that `gait.stride_m` counts need."""
        stride = gait.stride_m(pose.speed_mps, self.person.height_m, self.person.freedom)
        swing = self._stride.swing(stride)
        phase = self._stride.phase(pose.phase, swing)
        angles = walking(self.person, phase, swing / self.person.freedom, PELVIS_DEG)
        # Hips that turn with every step, and legs that swing outwards, would drag the planted foot sideways.
        angles = replace(angles, pelvis_twist=0.0, extra={"toes_out": 0.0})
        if self.person.seed % 6 == 0:
            angles = busy(angles, np.random.default_rng(self.person.seed))
        stand, sit, _ = self._rest_poses(pose.stop)
        angles = mix(angles, stand, _halt(pose), pose.still)
        if pose.sit > 0:
            hip, knee = gait.fold(self._thigh_m, self._shin_m, self._ankle_m, self.person.height_m, pose)
            angles = mix(angles, lower(sit, hip, knee, pose.sit), min(pose.sit / 0.12, 1.0), min(2 * pose.sit, 1.0))
        return replace(angles, turn=angles.turn + float(np.degrees(pose.head_yaw)))

    def _transforms(self, pose: Pose) -> tuple[Float32, Float32]:
        """(b, 3, 3) and (b, 3) of the bones, in the room (y up); not yet lifted onto the floor."""
        turns = rig.rotations(self.joint_angles(pose), self._rest, self.figure.body.knuckles)
        captured = self._rest_poses(pose.stop)[2]
        if captured is not None and _halt(pose) > 0 and pose.sit < 0.5:
            up = 1 - min(2 * pose.sit, 1.0)
            turns = bvh.blend(turns, captured, _halt(pose) * up, pose.still * up)
        turn, shift = rig.transforms(turns, self._rest)
        hips = INDEX["pelvis"]
        shift = shift - (turn[hips] @ self._rest[hips] + shift[hips]) * np.array([1, 0, 1], np.float32)
        face = rig.about(1, float(np.degrees(pose.heading))).astype(np.float32)
        place = np.array([pose.y_m, 0.0, pose.x_m], np.float32)
        return face @ turn, (shift @ face.T + place).astype(np.float32)

    def posed(self, pose: Pose) -> Float32:
        """(v, 11) of `shading.shade`, in the room: metres, y up, the soles on the floor."""
        return self.figure.skinned(*self._moved(pose), self._soles)

    def skeleton(self, pose: Pose) -> Array:
        """See `mctrack.synth.figure.Actor`."""
        turn, shift = self._moved(pose)
        joints = (np.einsum("bij,bj->bi", turn[_ROWS], self._rest[_ROWS]) + shift[_ROWS]).astype(float)
        joints[:, 1] += self._ankle_m - joints[[gait.L_FOOT, gait.R_FOOT], 1].min()
        return joints[:, WORLD]

    # ------------------------------------------------------------------------------------------ the picture

    def draw(self, camera: Camera, pose: Pose) -> Drawn | None:
        """See `mctrack.synth.figure.Actor`."""
        ahead = camera.to_camera(np.array([[pose.x_m, pose.y_m, 1.0]]))[0, 2]
        if ahead < -2.5:  # behind the camera: spare the skinning
            return None
        corner = self.posed(pose)
        pixels, depth = camera.project(corner[:, WORLD].astype(float))
        window = Window.around(pixels, depth, camera.size)
        if window is None:
            return None
        front = depth > NEAR_M
        near = np.where(front, 1 / np.where(front, depth, 1.0), 0.0).astype(np.float32)
        grid = ((pixels - window.origin) * SAMPLES).astype(np.float32)
        seen = zbuffer.draw(grid, near, self.figure.cut, self.figure.triangles, window.width, window.height)
        sample = np.flatnonzero(seen.triangle.ravel() >= 0)
        fragments = Fragments(
            sample,
            seen.triangle.ravel()[sample].astype(np.int64),
            seen.weight.reshape(-1, 2)[sample].astype(float),
            seen.nearness.ravel()[sample].astype(float),
        )
        return window.drawn(self, fragments, corner, camera)

    def shade(self, drawn: Drawn, rows: IntArray, light: Light) -> NDArray[np.float32]:
        """See `mctrack.synth.figure.Actor`. Shaded in linear light, handed back as the room's pictures have it."""
        if len(rows) == 0:
            return np.zeros((0, 3), np.float32)
        corner, towards = drawn.corners, light.direction[BACK]
        near, frame = zbuffer.light_map(corner, self.figure.cut, self.figure.triangles, towards, TEXEL_M)
        triangle = drawn.fragments.triangle[rows].astype(np.int32)[None]
        weight = drawn.fragments.weights[rows].astype(np.float32)[None]
        seen = zbuffer.Samples(triangle, weight, weight[..., 0])
        linear = self.figure.colours(corner, seen, _linear(light, towards), near, frame, drawn.eye[BACK])
        return np.asarray(np.clip(linear[0, :, 2::-1], 0, None) ** np.float32(1 / GAMMA), np.float32)


def _halt(pose: Pose) -> float:
    """How far the legs have come to a stop, 0…1."""
    halt = min(max(1 - pose.speed_mps / 0.3, 0.0), 1.0)
    return halt * halt * (3 - 2 * halt)


def _linear(light: Light, towards: Array) -> Float32:
    """The (13,) light of `shading.shade` that makes a surface turned to the light as bright as in `figure.shade`."""
    sky, below = (np.maximum(share * light.ambient[::-1], 0) ** GAMMA for share in (0.92, 0.62))
    key = np.maximum(light.key + light.ambient, 0)[::-1] ** GAMMA - sky
    return np.array([*towards, *np.maximum(key, 0), *sky, *below, 0.25], np.float32)

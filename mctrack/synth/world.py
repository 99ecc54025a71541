"""Making a scene: people, their ways, every camera's clip, and the truth about all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mctrack.errors import ConfigError, OutputError
from mctrack.synth import motion, truth
from mctrack.synth.encode import ClipWriter
from mctrack.synth.figure import Figure
from mctrack.synth.gait import Pose
from mctrack.synth.identity import Identity, sample_people
from mctrack.synth.motion import Trajectories
from mctrack.synth.readme import readme
from mctrack.synth.scene import SceneConfig
from mctrack.synth.truth import CameraTruth
from mctrack.synth.view import View

Progress = Callable[[str, int, int], None]
"""Called with the camera, the frames done and the frames in all."""


@dataclass(frozen=True, eq=False)
class World:
    """A scene with its people and where they are at every moment."""

    scene: SceneConfig
    people: list[Identity]
    look_alikes: list[dict[str, Any]]
    moves: Trajectories
    seconds: float
    seed: int

    def poses(self, area: str, time_s: float) -> dict[int, Pose]:
        """Person index → pose of everyone in an area."""
        index = [a.name for a in self.scene.areas].index(area)
        there = ((k, self.moves.pose(k, time_s)) for k in range(len(self.people)))
        return {k: found[1] for k, found in there if found is not None and found[0] == index}


def frame_count(seconds: float, fps: float) -> int:
    """Frames of a clip."""
    return max(round(seconds * fps), 1)


def create(
    scene: SceneConfig, seed: int, people: int | None = None, seconds: float | None = None, cameras: int | None = None
) -> World:
    """Draw the people and walk them; the same arguments give the same world.

    Raises:
        ConfigError: a number out of range.
    """
    count = scene.people if people is None else people
    span = scene.seconds if seconds is None else seconds
    if not 1 <= count <= 200:
        raise ConfigError(f"people: {count} is not in 1…200")
    if not 0.1 <= span <= 7200:
        raise ConfigError(f"seconds: {span:g} is not in 0.1…7200")
    if seed < 0:
        raise ConfigError(f"seed: {seed} is negative")
    if cameras is not None and not 1 <= cameras <= len(scene.cameras):
        raise ConfigError(f"cams: {cameras} is not in 1…{len(scene.cameras)}, the cameras of this scene")
    scene = replace(scene, cameras=scene.cameras[:cameras])
    looks, walks = np.random.default_rng(seed).spawn(2)
    crowd, twins = sample_people(count, looks, scene.look_alikes)
    return World(scene, crowd, twins, motion.simulate(scene, crowd, span, walks), span, seed)


def film(
    world: World, out: Path, crf: int = 23, video: bool = True, progress: Progress | None = None
) -> list[CameraTruth]:
    """Render every camera into ``out/<camera>.mp4`` (or only measure, without ``video``)."""
    figures = [Figure(p) for p in world.people]
    areas = {a.name: a for a in world.scene.areas}
    truths = []
    for number, config in enumerate(world.scene.cameras):
        view = View(config, areas[config.area], world.seed * 1000 + number)
        record = CameraTruth(view.camera, config.area)
        total = frame_count(world.seconds, config.fps)
        writer = ClipWriter(out / f"{config.name}.mp4", config.size, config.fps, crf) if video else None
        try:
            for index in range(total):
                poses = world.poses(config.area, record.time_s(index))
                picture, seen = view.picture(figures, poses, render=video, time_s=record.time_s(index))
                record.frames.append(seen)
                if writer is not None and picture is not None:
                    writer.write(picture)
                if progress is not None:
                    progress(config.name, index + 1, total)
        finally:
            if writer is not None:
                writer.close()
        truths.append(record)
    return truths


def write_truth(world: World, truths: list[CameraTruth], out: Path, command: str) -> None:
    """Boxes, ground plane, calibration, topology, identities and a README beside the clips."""
    folder = out / "gt"
    folder.mkdir(parents=True, exist_ok=True)
    for record in truths:
        truth.write_boxes(folder, record)
    found = truth.stays(truths)
    gaps = truth.absences(found)
    truth.write_ground(out / "ground_truth_ground.csv", world.moves, world.seconds)
    truth.write_json(out / "calibration.json", truth.calibration(truths))
    truth.write_json(out / "topology.json", truth.topology(world.scene, truths, gaps))
    truth.write_json(out / "identities.json", truth.identities(world.people, world.look_alikes, found, gaps))
    (out / "README.md").write_text(readme(world, truths, gaps, command), encoding="utf-8")


def generate(
    world: World, out: Path, command: str = "", crf: int = 23, progress: Progress | None = None
) -> list[CameraTruth]:
    """Film a world and write its truth into the folder ``out``.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        truths = film(world, out, crf, progress=progress)
        write_truth(world, truths, out, command)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error
    return truths

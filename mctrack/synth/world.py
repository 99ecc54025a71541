"""Making a scene: people, their ways, every camera's clip, and the truth about all of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mctrack.errors import ConfigError, OutputError
from mctrack.synth import bodies, motion, truth
from mctrack.synth.clock import Shots, exposure_times, shots
from mctrack.synth.encode import ClipWriter
from mctrack.synth.gait import Pose
from mctrack.synth.identity import Somebody
from mctrack.synth.motion import Trajectories
from mctrack.synth.readme import readme
from mctrack.synth.scene import SceneConfig
from mctrack.synth.truth import CameraTruth
from mctrack.synth.view import View

Progress = Callable[[str, int, int], None]
"""Called with the camera, the frames done and the frames in all."""


@dataclass(frozen=True, eq=False)
class World:
    """A scene with its people and where they are at every moment; ``bodies``: see :mod:`mctrack.synth.bodies`."""

    scene: SceneConfig
    people: Sequence[Somebody]
    look_alikes: list[dict[str, Any]]
    moves: Trajectories
    seconds: float
    seed: int
    bodies: str = bodies.PARAMETRIC

    def poses(self, area: str, time_s: float) -> dict[int, Pose]:
        """Person index → pose of everyone in an area."""
        index = [a.name for a in self.scene.areas].index(area)
        there = ((k, self.moves.pose(k, time_s)) for k in range(len(self.people)))
        return {k: found[1] for k, found in there if found is not None and found[0] == index}


def plan(scene: SceneConfig, seconds: float, seed: int) -> list[Shots]:
    """When each camera takes its frames.

    Raises:
        ConfigError: a camera has no frame at all.
    """
    return [shots(c, seconds, seed * 1000 + number) for number, c in enumerate(scene.cameras)]


def create(
    scene: SceneConfig, seed: int, people: int | None = None, seconds: float | None = None, cameras: int | None = None,
    fps: float | None = None, made_of: str = bodies.PARAMETRIC,
) -> World:
    """Draw the people and walk them; the same arguments give the same world.

    Args:
        fps: of every camera; made_of: ``parametric`` or ``makehuman:FOLDER``.

    Raises:
        ConfigError: a number out of range.
        SourceError: the folder does not hold MakeHuman's assets.
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
    if fps is not None and not 0.05 <= fps <= 240:
        raise ConfigError(f"fps: {fps:g} is not in 0.05…240")
    kept = scene.cameras[:cameras]
    scene = replace(scene, cameras=kept if fps is None else [replace(c, fps=fps) for c in kept])
    plan(scene, span, seed)
    looks, walks = np.random.default_rng(seed).spawn(2)
    crowd, twins = bodies.sample(made_of, count, looks, scene.look_alikes)
    return World(scene, crowd, twins, motion.simulate(scene, crowd, span, walks), span, seed, made_of)


def film(
    world: World, out: Path, crf: int = 23, video: bool = True, progress: Progress | None = None
) -> list[CameraTruth]:
    """Render every camera into ``out/<camera>.mp4`` (or only measure, without ``video``).

    A camera's own ``crf`` counts before the one given.
    """
    figures = bodies.actors(world.bodies, world.people)
    areas = {a.name: a for a in world.scene.areas}
    truths = []
    for number, (config, taken) in enumerate(zip(world.scene.cameras, plan(world.scene, world.seconds, world.seed),
                                                 strict=True)):  # fmt: skip
        view = View(config, areas[config.area], world.seed * 1000 + number)
        record = CameraTruth(replace(view.camera, start_s=float(taken.time_s[0])), config.area, taken)
        quality = crf if config.crf is None else config.crf
        writer = ClipWriter(out / f"{config.name}.mp4", config.size, config.fps, quality) if video else None
        try:
            for index in range(len(taken)):
                time_s = record.time_s(index)
                poses = world.poses(config.area, time_s)
                others = [world.poses(config.area, t) for t in exposure_times(config, time_s)] if video else []
                picture, seen = view.picture(figures, poses, video, time_s, others)
                record.frames.append(seen)
                if writer is not None and picture is not None:
                    writer.write(picture, int(taken.tick[index]))
                if progress is not None:
                    progress(config.name, index + 1, len(taken))
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
    truth.write_ground(out / "ground_truth_ground.csv", world.moves, world.seconds, world.scene.areas, truths)
    truth.write_json(out / "calibration.json", truth.calibration(truths, world.scene))
    truth.write_json(out / "topology.json", truth.topology(world.scene, truths, gaps))
    known = truth.identities(world.people, world.look_alikes, found, gaps)
    for number, person in enumerate(world.people, 1):
        marks = bodies.market_attributes(person)
        known["people"][str(number)] |= {} if marks is None else {"market_1501": marks}
    truth.write_json(out / "identities.json", known)
    (out / "README.md").write_text(readme(world, truths, gaps, command), encoding="utf-8")


def generate(
    world: World, out: Path, command: str = "", crf: int = 23, progress: Progress | None = None
) -> list[CameraTruth]:
    """Film a world and write its truth into the folder ``out``, or once more over what the same command made there.

    Raises:
        OutputError: the folder cannot be written, or holds other files of these names.
    """
    try:
        note = _claim(world, out, command)
        truths = film(world, out, crf, progress=progress)
        write_truth(world, truths, out, command)
        note.unlink()
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error
    return truths


def _claim(world: World, out: Path, command: str) -> Path:
    """Make the folder, with a note of who fills it that goes when it is complete; refuse one of somebody else."""
    note, whole = out / "scene.part", out / "README.md"
    cameras = [c.name for c in world.scene.cameras]
    names = [
        "README.md", "calibration.json", "topology.json", "identities.json", "ground_truth_ground.csv",
        *(f"{c}.mp4" for c in cameras), *(f"gt/{c}{end}" for c in cameras for end in (".txt", ".ini", "_times.csv")),
    ]  # fmt: skip
    taken = next((out / name for name in names if (out / name).exists()), None)
    if taken is not None and command not in (_text(note), _maker(_text(whole))):
        raise OutputError(f"{taken} is there already, and not of this very command: it would be lost; "
                          "choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    note.write_text(command, encoding="utf-8")
    return note


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _maker(text: str | None) -> str | None:
    """The command that a scene's README names, empty where it names none; None for any other text."""
    if text is None or not text.startswith("# Generated clips with exact ground truth\n"):
        return None
    found = re.search(r"^Made by\n\n    (.*)$", text, re.MULTILINE)
    return found[1] if found else ""

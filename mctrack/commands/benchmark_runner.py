"""Running our own tracker on a benchmark's sequences, for ``mctrack eval`` without ``--results``."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mctrack.commands.eval import RunRequest
    from mctrack.config import RunConfig

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".ts", ".webm")


def run_benchmark(request: RunRequest) -> Path:
    """Track every sequence and return the folder whose ``tracks/<sequence>.txt`` hold the results.

    Cameras of one scene are tracked together, with one space of identities. Sequences on their own are tracked one
    by one, by default on their public detections and by motion alone, as their leaderboards expect; ``--config`` says
    otherwise.

    Raises:
        NoDataError: a sequence has neither pictures nor detections.
    """
    from mctrack.run import run

    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    out = request.out or Path("runs") / f"{request.benchmark.name}_{stamp}"
    if request.benchmark.cameras:
        sources = [f"{name}={_video(request, name)}" for name in request.sequences]
        run(_config(request, sources, out), say=_say)
        return out
    for name in request.sequences:
        click.echo(f"{name}:", err=True)
        folder = out / "runs" / name
        run(_config(request, [f"{name}={_sequence(request, name)}"], folder), say=_say)
        (out / "tracks").mkdir(exist_ok=True)
        shutil.copyfile(folder / "tracks" / f"{name}.txt", out / "tracks" / f"{name}.txt")
    return out


def _config(request: RunRequest, cams: list[str], out: Path) -> RunConfig:
    from mctrack.config import RunConfig, load_config

    overrides: dict[str, object] = {"cams": cams, "output.dir": str(out), "output.video": False}
    if request.config is None and not request.benchmark.cameras:
        overrides |= {"detect.name": "file", "reid.name": "none"}
    return load_config(RunConfig, [request.config] if request.config else [], overrides)


def _sequence(request: RunRequest, name: str) -> Path:
    """The folder of a MOTChallenge sequence."""
    from mctrack.evaluation.benchmark import NoDataError

    for folder in (request.root / "train" / name, request.root / "test" / name, request.root / name):
        if (folder / "seqinfo.ini").is_file():
            return folder
    raise NoDataError(f"{request.root}: no folder {name} with a seqinfo.ini to track")


def _video(request: RunRequest, name: str) -> Path:
    """A camera's video or folder of pictures."""
    from mctrack.evaluation.benchmark import NoDataError

    for folder in (request.root, request.root / "videos"):
        for suffix in VIDEO_SUFFIXES:
            if (folder / (name + suffix)).is_file():
                return folder / (name + suffix)
    for folder in (request.root / name / "img1", request.root / name):
        if folder.is_dir() and any(p.suffix.lower() in (".jpg", ".png") for p in folder.iterdir()):
            return folder
    raise NoDataError(f"{request.root}: no video {name}.mp4 (or folder of pictures) for camera '{name}'")


def _say(line: str) -> None:
    click.echo(line, err=True)

"""Running our own tracker on a benchmark's sequences, for ``mctrack eval`` without ``--results``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mctrack.commands.split import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from mctrack.commands.eval_job import RunRequest
    from mctrack.config import RunConfig



def run_benchmark(request: RunRequest) -> Path:
    """Track every sequence and return the folder whose ``tracks/<sequence>.txt`` hold the results.

    Cameras of one scene are tracked together, with one space of identities. Sequences on their own are tracked one
    by one, by default on their public detections and by motion alone, as their leaderboards expect; ``--config`` says
    otherwise.

    Raises:
        NoDataError: a sequence has neither pictures nor detections.
    """
    from mctrack.commands.eval_job import fresh
    from mctrack.run import run

    out = request.out or fresh(request.benchmark.name)
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
    """Defaults of the benchmark's kind, the configuration, ``--set``; and the cameras' clocks, where they are known."""
    from mctrack.config import RunConfig, load_config
    from mctrack.evaluation.evaluate import camera_starts

    usual: dict[str, object] = {}
    if request.config is None and not request.benchmark.cameras:
        usual = {"detect.name": "file", "reid.name": "none"}
    elif request.benchmark.cameras:
        starts = {k: v for k, v in camera_starts(request.root).items() if k in request.sequences}
        usual = {"video.offset_s": starts} if any(starts.values()) else {}
    base = load_config(RunConfig, [], usual)
    overrides: dict[str, object] = {"cams": cams, "output.dir": str(out), "output.video": False}
    return load_config(RunConfig, [request.config] if request.config else [], overrides, request.settings, base=base)


def _sequence(request: RunRequest, name: str) -> Path:
    """The folder of a MOTChallenge sequence."""
    from mctrack.evaluation.benchmark import NoDataError

    for folder in (request.root / "train" / name, request.root / "test" / name, request.root / name):
        if (folder / "seqinfo.ini").is_file():
            return folder
    raise NoDataError(f"{request.root}: no folder {name} with a seqinfo.ini to track")


def _video(request: RunRequest, name: str) -> Path:
    """A camera's video or folder of pictures."""
    return find_pictures(request.root, name)


def find_pictures(root: Path | None, name: str) -> Path:
    """A sequence's video or folder of pictures below the root of its benchmark.

    Raises:
        NoDataError: there is none.
    """
    from mctrack.evaluation.benchmark import NoDataError

    if root is None:
        raise NoDataError(f"no video of '{name}': give the folder it lies in with --root")
    if root.is_file():
        return root
    for folder in (root, root / "videos"):
        for suffix in VIDEO_SUFFIXES:
            if (folder / (name + suffix)).is_file():
                return folder / (name + suffix)
    for folder in (root / "train" / name, root / "test" / name, root / name):
        for inner in (folder / "img1", folder):
            if inner.is_dir() and any(p.suffix.lower() in (".jpg", ".png") for p in inner.iterdir()):
                return inner
    raise NoDataError(f"{root}: no video {name}.mp4 (or folder of pictures) for camera '{name}'")


def _say(line: str) -> None:
    click.echo(line, err=True)

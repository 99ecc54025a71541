"""``mctrack run``: cameras in, identities out."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mctrack.run import RunSummary

# command-line option → key of the configuration
KEYS = {
    "cams": "cams", "detector": "detect.name", "weights": "detect.weights", "reid": "reid.name", "calib": "calib",
    "out": "output.dir", "device": "device", "start": "video.start", "max_frames": "video.max_frames",
    "video": "output.video", "quiet": "quiet",
}  # fmt: skip


class CamerasCommand(click.Command):
    """Lets ``--cams`` take several words: the shell makes them of ``--cams cam*.mp4``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat ``--cams`` before every bare word that follows it."""
        out: list[str] = []
        after_cams = False
        for arg in args:
            if arg.startswith("-") and len(arg) > 1:
                after_cams = arg == "--cams" or arg.startswith("--cams=")
                out.append(arg)
            elif after_cams and out[-1] != "--cams":
                out += ["--cams", arg]
            else:
                out.append(arg)
        return super().parse_args(ctx, out)


@click.command("run", cls=CamerasCommand)
@click.option("--cams", multiple=True, metavar="SOURCE…",
              help="Videos, a glob, image folders, MOTChallenge sequences, rtsp:// URLs, webcam numbers, or "
                   "name=source; several after one --cams or each with its own.")
@click.option("--config", "configs", multiple=True, metavar="FILE", help="YAML file, or a preset of configs/run.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
              help="Set any key of the configuration, e.g. track.high_score=0.5.")
@click.option("--detector", metavar="NAME", help="auto, yolo, onnx, torchvision, embedded, or file (detections in "
                                                 "MOTChallenge text).  [default: auto]")
@click.option("--weights", metavar="PATH", help="The detector's weights; for 'file': the detections.")
@click.option("--reid", metavar="NAME|none", help="Embedder: histogram, a path to an ONNX file, or none.  "
                                                  "[default: histogram]")
@click.option("--calib", metavar="FILE", help="Calibration of the cameras.")
@click.option("--out", metavar="DIR", help="Folder for the results.  [default: runs/<time>]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where networks run.  [default: auto]")
@click.option("--start", type=click.IntRange(0), metavar="N", help="First frame of every camera, from 0.")
@click.option("--max-frames", type=click.IntRange(1), metavar="N", help="Frames to take of every camera.")
@click.option("--video/--no-video", default=None, help="Write annotated videos.  [default: yes]")
@click.option("--resume", is_flag=True, help="Go on with the interrupted run in --out.")
@click.option("--quiet", is_flag=True, default=None, help="Print nothing but errors.")
def run_command(configs: tuple[str, ...], assignments: tuple[str, ...], resume: bool, **options: Any) -> None:
    r"""Track people in recordings or live cameras and give each one ID across all of them.

    \b
    mctrack run --cams videos/cam*.mp4
    mctrack run --cams door=rtsp://user:password@10.0.0.7/main yard=rtsp://10.0.0.8/main
    mctrack run --cams clip.mp4 --detector onnx --weights yolox_nano.onnx --reid none
    """
    from mctrack.config import RunConfig, load_config
    from mctrack.errors import ConfigError
    from mctrack.run import run

    overrides = {KEYS[name]: list(value) or None if name == "cams" else value for name, value in options.items()}
    config = load_config(RunConfig, configs, overrides, assignments)
    if not config.cams and not resume:
        raise ConfigError("no cameras: give --cams, e.g. mctrack run --cams videos/cam*.mp4")
    quiet = config.quiet
    with _signals(quiet) as stop:
        summary = run(config, resume=resume, stop=stop, say=None if quiet else _say)
    if not quiet:
        _tell(summary)
    if summary.failed:
        sys.exit(2)


def _say(line: str) -> None:
    click.echo(line, err=True)


@contextmanager
def _signals(quiet: bool) -> Iterator[threading.Event]:
    """The first SIGINT or SIGTERM asks the run to end with complete outputs, the second ends the process at once."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        if not quiet:
            os.write(2, b"\nstopping: writing the results; once more ends at once\n")

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(summary: RunSummary) -> None:
    """Say where the results are and how to look at them."""
    c, out = summary.counts, summary.out
    done = "done" if summary.status == "complete" else "stopped early, results are complete up to here"
    click.echo(f"{done}: {c['identities']} people in {c['tracklets']} tracks, {c['frames']} frames, "
               f"{summary.wall_s:.1f} s")
    here = shlex.quote(str(out))
    click.echo(f"results in {here}:")
    if (out / "video" / "mosaic.mp4").exists():
        click.echo("  video/mosaic.mp4   all cameras, with IDs: open it in a browser or player; one file per camera beside it")
    click.echo("  identities.json    who was in which camera when, and why each link was made")
    click.echo("  tracks.csv         every box; tracks/<camera>.txt holds the same as MOTChallenge text")
    click.echo("  run.db             everything, as SQLite; run.json: configuration, timing, warnings")
    click.echo(f"other formats: mctrack export {here} --format coco|cvat|parquet|csv|mot")
    if summary.status != "complete":
        click.echo(f"go on with it: mctrack run --resume --out {here}")

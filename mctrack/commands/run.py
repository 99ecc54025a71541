"""``mctrack run``: cameras in, identities out."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mctrack.config import RunConfig
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
@click.option("--detector", metavar="NAME", help="auto, embedded, background, yolo, onnx, torchvision, or file "
                                                 "(detections in MOTChallenge text).  [default: auto]")
@click.option("--weights", metavar="PATH", help="The detector's weights; for 'file': the detections.")
@click.option("--reid", metavar="NAME|none", help="Embedder: robust_reid_compact, histogram, a path to an ONNX file, "
                                                  "or none.  [default: robust_reid_compact]")
@click.option("--calib", metavar="FILE", help="Calibration of the cameras: a site file (YAML) or calibration.json.")
@click.option("--out", metavar="DIR", help="Folder for the results.  [default: runs/<time>]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where networks run.  [default: auto]")
@click.option("--start", type=click.IntRange(0), metavar="N", help="First frame of every camera, from 0.")
@click.option("--max-frames", type=click.IntRange(1), metavar="N", help="Frames to take of every camera.")
@click.option("--video/--no-video", default=None, help="Write annotated videos.  [default: yes]")
@click.option("--resume", is_flag=True, help="Go on with the interrupted run in --out.")
@click.option("--quiet", is_flag=True, default=None, help="Print nothing but errors.")
def run_command(configs: tuple[str, ...], assignments: tuple[str, ...], resume: bool, **options: Any) -> None:
    """Track people in recordings or live cameras and give each one ID across all of them.

    \b
    mctrack run --cams videos/cam*.mp4
    mctrack run --cams door=rtsp://user:password@10.0.0.7/main yard=rtsp://10.0.0.8/main
    mctrack run --cams clip.mp4 --detector onnx --weights yolox_nano.onnx --reid none
    """  # noqa: D301
    overrides = {KEYS[name]: list(value) or None if name == "cams" else value for name, value in options.items()}
    config = _configuration(configs, overrides, assignments, resume)
    from mctrack.run import run

    quiet = config.quiet
    try:
        with _signals(quiet) as signals:
            summary = run(config, resume=resume, stop=signals.stop, say=None if quiet else _say,
                          on_start=signals.running.set)
    except _Stopped as stopped:
        _say("stopped before the first frame")
        sys.exit(128 + stopped.number)
    _tell(summary, quiet)
    if summary.status == "interrupted":
        sys.exit(128 + signals.number)
    sys.exit(0 if summary.flawless else 2)


def _configuration(
    files: tuple[str, ...], overrides: dict[str, Any], assignments: tuple[str, ...], resume: bool
) -> RunConfig:
    """What was asked for; with ``--resume`` on top of what the interrupted run was told."""
    from mctrack.config import RunConfig, load_config
    from mctrack.errors import ConfigError

    config = load_config(RunConfig, files, overrides, assignments)
    if not resume:
        return config
    from mctrack.resume import stored_config

    if config.output.dir is None:
        raise ConfigError("--resume needs --out DIR, the folder of the run to go on with")
    return load_config(RunConfig, files, overrides, assignments, base=stored_config(config.output.dir))


def _say(line: str) -> None:
    """A line on stderr; a run goes on where nobody reads it any more."""
    from mctrack.errors import fall_silent, redact

    try:
        click.echo(redact(line), err=True)
    except OSError:
        fall_silent(sys.stderr)


class _Stopped(BaseException):
    """A signal came before there was anything to finish."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass
class _Signals:
    """What the handler and the run tell each other; ``number`` of the first signal, 0 without."""

    stop: threading.Event = field(default_factory=threading.Event)
    running: threading.Event = field(default_factory=threading.Event)
    number: int = 0


@contextmanager
def _signals(quiet: bool) -> Iterator[_Signals]:
    """The first signal asks the run to end with complete outputs, the second ends the process at once.

    While models are loading there is nothing to complete: then the first one ends it.
    """
    signals = _Signals()

    def handle(number: int, frame: FrameType | None) -> None:
        if signals.stop.is_set():
            os._exit(128 + number)
        signals.number = number
        signals.stop.set()
        if not signals.running.is_set():
            raise _Stopped(number)
        if not quiet:
            with suppress(OSError):
                os.write(2, b"\nstopping: writing the results; once more ends at once\n")

    numbers = [signal.SIGINT, signal.SIGTERM]
    # A closed terminal; not where nohup told us to live on.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(summary: RunSummary, quiet: bool) -> None:
    """Say where the results are and how to look at them, and what is missing."""
    from mctrack.errors import fall_silent

    if not quiet:
        try:
            _tell_results(summary)
        except BrokenPipeError:
            fall_silent(sys.stdout)
    for camera in summary.failed:
        _say(f"error: camera '{camera}' could not be read and is missing in the results"
             + (f": {summary.failed[camera]}" if quiet else ""))
    for camera in summary.incomplete:
        why = next((w for w in summary.warnings if w.startswith(f"{camera}: ")), "it is damaged or cut off")
        _say(f"error: camera '{camera}' was not read to its end" + (f": {why}" if quiet else ""))
    for what in summary.lost:
        _say(f"error: {what} could not be written; everything else is complete")


def _tell_results(summary: RunSummary) -> None:
    c, out = summary.counts, summary.out
    done = "done" if summary.status == "complete" else "stopped early, results are complete up to here"
    click.echo(f"{done}: {c['identities']} people in {c['tracklets']} tracks, {c['frames']} frames, "
               f"{summary.wall_s:.1f} s")
    here = shlex.quote(str(out))
    click.echo(f"results in {here}:")
    if (out / "video" / "mosaic.mp4").exists():
        click.echo("  video/mosaic.mp4   all cameras, with IDs: open it in a browser or player; "
                   "one file per camera beside it")
    elif videos := sorted(p for p in (out / "video").glob("*.mp4") if p.stem != "birdseye"):
        click.echo(f"  video/{videos[0].name}   the camera, with IDs: open it in a browser or player")
    if (out / "video" / "birdseye.mp4").exists():
        click.echo("  video/birdseye.mp4 the floor from above, with everybody's ways; birdseye.png: the whole run")
    click.echo("  identities.json    who was in which camera when, and why each link was made")
    click.echo("  tracks.csv         every box; tracks/<camera>.txt holds the same as MOTChallenge text")
    click.echo("  run.db             everything, as SQLite; run.json: configuration, timing, warnings")
    click.echo(f"other formats: mctrack export {here} --format coco|cvat|parquet|csv|mot")
    if summary.resumable:
        click.echo(f"go on with it: mctrack run --resume --out {here}")

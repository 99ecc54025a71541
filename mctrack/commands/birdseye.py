"""``mctrack birdseye``: a run from above."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mctrack.geometry.site import Site
    from mctrack.sinks.reader import StoreReader

KINDS = (".mp4", ".png")


@click.command("birdseye")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="A film (.mp4) or a picture (.png).  "
              "[default: both, in RUN/video]")
@click.option("--calib", metavar="FILE", help="Site file or calibration.json to draw.  [default: the run's]")
@click.option("--speed", type=float, metavar="X", help="How much faster than it was.  [default: 1; for runs of more "
              "than five minutes as much as they need to fit in five]")
def birdseye_command(run: Path, out: Path | None, calib: str | None, speed: float | None) -> None:
    """Draw the people of RUN from above, on the plan of its floor.

    RUN is a folder that mctrack run --calib made. The plan has a metre grid, the cameras and the floor they see, and
    the areas and doors of the site file.
    """
    from mctrack.errors import ConfigError
    from mctrack.folder import STORE_FILE
    from mctrack.sinks.birdseye import BirdsEye
    from mctrack.sinks.reader import StoreReader
    from mctrack.video.writer import VideoWriter

    if out is not None and out.suffix.lower() not in KINDS:
        raise ConfigError(f"--out {out}: its name must end in {' or '.join(KINDS)}")
    store = StoreReader(run if run.is_file() else run / STORE_FILE)
    view = BirdsEye(store, _site(store, run, calib))
    store.close()
    folder = (run.parent if run.is_file() else run) / "video"
    paths = [out] if out is not None else [folder / f"{view.name}{kind}" for kind in KINDS]
    for path in paths:
        if path.suffix.lower() == ".mp4":
            view.film(path, VideoWriter, speed)
        else:
            view.picture(path)
        click.echo(str(path))


def _site(store: StoreReader, run: Path, calib: str | None) -> Site:
    """What the run was calibrated with, or what is given instead."""
    from mctrack.config import RunConfig, parse_config
    from mctrack.errors import ConfigError
    from mctrack.geometry.site import load_site

    cameras = store.cameras()
    told = parse_config(RunConfig, store.meta["config_yaml"], str(store.path)).calib
    if told is None and calib is None:
        raise ConfigError(f"{run} was run without --calib: nobody knows where people stood; run it again with --calib")
    if calib is None and not Path(str(told)).is_file():
        raise ConfigError(f"{run}: its calibration {told} is not there any more: give it with --calib")
    return load_site(str(calib or told), {c.name: (c.width, c.height) for c in cameras})

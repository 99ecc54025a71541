"""``mctrack redraw``: a run's videos with its final names."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("redraw")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where to write.  [default: RUN/video, in "
              "place of the run's own videos]")
@click.option("--height", "height_px", type=click.IntRange(64, 4320), metavar="PX",
              help="Height of the cameras' pictures.  [default: as the run's]")
@click.option("--no-mosaic", is_flag=True, help="Only a video per camera.")
@click.option("--quiet", is_flag=True, help="Only errors.")
def redraw_command(run: Path, out: Path | None, height_px: int | None, no_mosaic: bool, quiet: bool) -> None:
    """Draw the videos of RUN again, with the names that everyone ended with.

    \b
    mctrack redraw runs/latest
    mctrack redraw runs/latest/refined

    A run's own videos show the names as they were known at the time. RUN is a folder that mctrack run or mctrack refine
    wrote; the recordings must still be where they were.
    """  # noqa: D301
    from mctrack.redrawing import redraw

    def say(line: str) -> None:
        click.echo(line, err=True)

    for path in redraw(run, out, height_px=height_px, mosaic=not no_mosaic, quiet=quiet, say=say):
        click.echo(str(path))

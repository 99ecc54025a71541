"""``mctrack synth``: a multi-camera world with exact ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mctrack.commands.cutouts import cutouts, people_option
from mctrack.commands.expect import expect
from mctrack.commands.stills import stills

if TYPE_CHECKING:
    from pathlib import Path

    from mctrack.synth.world import World


@click.group(commands=[expect, cutouts, stills])
def synth() -> None:
    """Generate multi-camera clips with exact ground truth."""


@synth.command()
@click.option(
    "--preset",
    default="pairs",
    show_default=True,
    metavar="NAME|FILE",
    help="A scene of configs/synth (pairs, lab, hall, street, corridor) or your own YAML.",
)
@click.option("--cams", type=int, default=None, help="Only the scene's first N cameras.")
@click.option("--people", multiple=True, metavar="N|parametric|makehuman:DIR",
              help="How many people (default: the scene's), or what they are made of: built-in bodies or "
              "MakeHuman's CC0 assets in a folder. May be given twice.")  # fmt: skip
@click.option("--seconds", type=float, default=None, help="Length; default: the scene's.")
@click.option("--fps", type=float, default=None, help="Frames per second of every camera; default: the scene's.")
@click.option("--seed", type=int, default=7, show_default=True, help="Same seed, same truth.")
@click.option(
    "--crf", type=click.IntRange(0, 51), default=23, show_default=True, help="H.264 quality, lower is better."
)
@click.option("--out", "out_dir", required=True, metavar="DIR", help="Folder for clips and truth.")
@click.option("--quiet", is_flag=True, help="No progress.")
def scene(
    preset: str,
    cams: int | None,
    people: tuple[str, ...],
    seconds: float | None,
    fps: float | None,
    seed: int,
    crf: int,
    out_dir: str,
    quiet: bool,
) -> None:
    """Film one scene: a clip per camera, boxes, calibration, ground plane, topology, identities."""
    from pathlib import Path

    from mctrack.synth.scene import load_scene
    from mctrack.synth.world import create, generate

    config = load_scene(preset)
    count, made_of = _people(people)
    world = create(config, seed, count, seconds, cams, fps, made_of)
    made = "" if made_of == "parametric" else f" --people {made_of.partition(':')[0]}:DIR"
    command = (
        f"mctrack synth scene --preset {preset} --cams {len(world.scene.cameras)} --people {len(world.people)}{made} "
        f"--seconds {world.seconds:g} --seed {seed}" + (f" --fps {fps:g}" if fps is not None else "")
        + (f" --crf {crf}" if crf != 23 else "") + " --out DIR"
    )
    out = Path(out_dir)
    if quiet:
        generate(world, out, command, crf)
    else:
        _generate_with_progress(world, out, command, crf)
    click.echo(f"{len(world.scene.cameras)} clips and their ground truth are in {out} (see {out / 'README.md'})")


def _people(values: tuple[str, ...]) -> tuple[int | None, str]:
    """How many people, if that is told, and what they are made of."""
    from mctrack.errors import ConfigError

    counts = [v for v in values if v.lstrip("+-").isdecimal()]
    specs = [v for v in values if v not in counts]
    if len(counts) > 1 or len(specs) > 1:
        told = ", ".join(values)
        raise ConfigError(f"--people: give one number and one of 'parametric' and 'makehuman:DIR', not {told}")
    return int(counts[0]) if counts else None, specs[0] if specs else "parametric"


def _generate_with_progress(world: World, out: Path, command: str, crf: int) -> None:
    """Film with one bar over all cameras' frames, and the time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from mctrack.synth.world import generate, plan

    total = sum(len(taken) for taken in plan(world.scene, world.seconds, world.seed))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("rooms", total=total)
        generate(world, out, command, crf, lambda camera, done, of: bar.update(task, description=camera, advance=1))


@synth.command()
@click.option("--identities", type=int, default=1000, show_default=True, help="How many people.")
@click.option("--cameras", type=int, default=120, show_default=True, help="How many camera styles.")
@click.option("--images", type=int, default=12, show_default=True, help="Pictures of each person.")
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same files.")
@click.option("--test", type=float, default=0.1, show_default=True, help="Share of people kept for query and gallery.")
@click.option("--new-cameras", type=int, default=0, help="More cameras in places of training, for test people only.")
@people_option
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.option("--out", "out_dir", required=True, metavar="DIR", help="Folder; an interrupted one is completed.")
@click.option("--quiet", is_flag=True, help="No progress.")
def reid(
    identities: int,
    cameras: int,
    images: int,
    seed: int,
    test: float,
    new_cameras: int,
    people: str,
    workers: int,
    out_dir: str,
    quiet: bool,
) -> None:
    """Render a re-identification data set in Market-1501's layout, with attributes."""
    from pathlib import Path

    from mctrack.synth.reid.dataset import Recipe, generate

    recipe = Recipe(identities, cameras, images, seed, people, test, new_cameras)
    recipe.check()
    out = Path(out_dir)
    if quiet:
        generate(recipe, out, workers)
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("pictures"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=identities * images)
            generate(recipe, out, workers, lambda done, of: bar.update(task, completed=done, total=of))
    made = f"{identities * images} pictures of {identities} people by {cameras + new_cameras} cameras"
    click.echo(f"{made} are in {out} (see {out / 'README.md'})")


@synth.command()
@click.option("--identities", type=click.IntRange(1, 1000), default=64, show_default=True, help="How many people.")
@click.option("--cameras", type=click.IntRange(1, 50), default=4, show_default=True, help="Cameras for each.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Same seed, same picture.")
@people_option
@click.option("--out", "out_file", required=True, metavar="FILE.png", help="The picture to write.")
def sheet(identities: int, cameras: int, seed: int, people: str, out_file: str) -> None:
    """Draw a contact sheet of a data set's people: what `synth reid` renders, side by side."""
    from pathlib import Path

    from mctrack.synth.reid.sheet import contact_sheet

    contact_sheet(people, identities, cameras, seed, Path(out_file))
    click.echo(f"{identities} people by {cameras} cameras each: {out_file}")

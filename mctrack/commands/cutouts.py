"""``mctrack synth cutouts``: people and places to train a detector on."""

from __future__ import annotations

import click

people_option = click.option("--people", default="parametric", show_default=True, metavar="parametric|makehuman:DIR",
                             help="Built-in bodies, or MakeHuman's CC0 assets in a folder.")


@click.command()
@people_option
@click.option("--count", type=click.IntRange(1), default=2400, show_default=True, help="Cut-out people.")
@click.option("--backgrounds", type=click.IntRange(1), default=180, show_default=True, help="Empty places.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Same seed, same files.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.option("--out", "out_dir", required=True, metavar="DIR", help="Folder; an interrupted one is completed.")
@click.option("--quiet", is_flag=True, help="No progress.")
def cutouts(people: str, count: int, backgrounds: int, seed: int, workers: int, out_dir: str, quiet: bool) -> None:
    """Render cut-out people and empty places for 'mctrack train-detector'."""
    from pathlib import Path

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mctrack.synth.cutouts import write_bank

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("people and places  ETA"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True, quiet=quiet)) as bar:
        task = bar.add_task("", total=None)
        write_bank(Path(out_dir), people, count, backgrounds, seed, workers,
                   lambda done, of: bar.update(task, completed=done, total=of))  # fmt: skip
    click.echo(f"{count} cut-outs and {backgrounds} backgrounds are in {out_dir}")

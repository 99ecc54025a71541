"""``mctrack synth stills``: frames of filmed scenes for the detector's training."""

from __future__ import annotations

import click


@click.command()
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE…")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Every n-th frame of a clip.")
@click.option("--out", "out_dir", required=True, metavar="BANK", help="The bank; they go to BANK/scenes.")
def stills(scenes: tuple[str, ...], every: int, out_dir: str) -> None:
    """Add frames of filmed scenes, with their boxes, to a bank for 'mctrack train-detector'.

    \b
    mctrack synth scene --preset lab --fps 1 --seconds 130 --seed 911 --out scenes/lab-911
    mctrack synth stills scenes/* --out bank

    SCENE is a folder with *.mp4 and gt/*.txt, as 'mctrack synth scene' writes it.
    """  # noqa: D301
    from pathlib import Path

    from mctrack.synth.stills import write_stills

    count = sum(write_stills(Path(scene), Path(out_dir) / "scenes", every) for scene in scenes)
    click.echo(f"{count} frames of {len(scenes)} scenes are in {Path(out_dir) / 'scenes'}")

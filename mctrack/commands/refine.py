"""``mctrack refine``: a second pass over a finished run."""

from __future__ import annotations

import click


@click.command()
@click.argument("run_dir", metavar="RUN")
@click.option("--out", "out_dir", default=None, metavar="DIR", help="Where to write; default: RUN/refined.")
@click.option("--reid", default=None, metavar="NAME", help="Embedder; default: the run's own.")
@click.option("--samples", type=click.IntRange(1), default=16, show_default=True, help="Looks taken of each track.")
@click.option("--bridge-s", type=click.FloatRange(0), default=2.0, show_default=True,
              help="Gaps of one identity in one camera up to this long are filled.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
              help="Where the embedder runs.")
@click.option("--quiet", is_flag=True, help="Only errors.")
def refine_command(run_dir: str, out_dir: str | None, reid: str | None, samples: int, bridge_s: float, device: str,
                   quiet: bool) -> None:
    """Decide again who is who, with the whole run at hand.

    The run stays as it is; tracks, identities and a list of what changed and why are written beside it.
    """
    from pathlib import Path

    from mctrack.refinement import refine_run

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    done = refine_run(Path(run_dir), Path(out_dir) if out_dir else None, samples=samples, bridge_s=bridge_s,
                      reid=reid, device=device, say=say)
    if not quiet:
        click.echo(f"{done.before} identities became {done.after}, {len(done.changes)} tracks changed theirs; see "
                   f"{done.folder}/changes.json, identities.json and tracks/")

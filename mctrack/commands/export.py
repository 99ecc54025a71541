"""``mctrack export``: a run's results in other formats."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "kind", required=True, metavar="mot|csv|parquet|coco|cvat", help="What to write.")
@click.option("--out", type=click.Path(path_type=Path), help="File or folder to write.  [default: inside RUN]")
def export_command(run: Path, kind: str, out: Path | None) -> None:
    """Write the results of RUN (a folder that mctrack run made) in another format."""
    from mctrack.sinks.export import export

    written = export(run, kind, out)
    for line in written.warnings:
        click.echo(f"warning: {line}", err=True)
    for path in written.paths:
        click.echo(str(path))

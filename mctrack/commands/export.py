"""``mctrack export``: a run's results in other formats."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "kind", required=True, metavar="mot|csv|parquet|coco|cvat", help="What to write.")
@click.option("--out", metavar="PATH", help="File or folder to write.  [default: inside RUN]")
def export_command(run: Path, kind: str, out: str | None) -> None:
    """Write the results of RUN (a folder that mctrack run made) in another format."""
    from mctrack.errors import ConfigError
    from mctrack.sinks.export import export

    if out == "":
        raise ConfigError("--out is empty: name a file or folder, or leave it out")
    written = export(run, kind, Path(out) if out else None)
    for line in written.warnings:
        click.echo(f"warning: {line}", err=True)
    for path in written.paths:
        click.echo(str(path))

"""``mctrack models``: the re-identification networks, their size, their work and their speed."""

from __future__ import annotations

import json
from typing import Any

import click

SPEED_NAMES = (
    "robust_reid_1x", "robust_reid_2x", "robust_reid_0.5x", "robust_reid_compact", "ha_cnn",
    "osnet_x0_25", "osnet_x1_0", "resnet50",
)
BASELINE = "osnet_x1_0"


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print [{name, params, macs, dim, input}].")
@click.option("--speed", is_flag=True, help="Also time them on one core through ONNX Runtime, all in one run.")
def models_command(as_json: bool, speed: bool) -> None:
    """List the re-identification networks: parameters and multiply-adds without classifiers, descriptor, input."""
    rows = _table()
    if speed:
        _add_speed(rows)
    if as_json:
        click.echo(json.dumps(rows))
        return
    click.echo(f"{'name':<22}{'params':>9}{'macs':>9}{'dim':>6}  input" + ("    crops/s  median" if speed else ""))
    for row in rows:
        line = f"{row['name']:<22}{row['params'] / 1e6:>7.2f} M{row['macs'] / 1e9:>7.2f} G{row['dim']:>6}"
        line += f"  {row['input'][0]}x{row['input'][1]:<4}"
        if "crops_per_s" in row:
            line += f"{row['crops_per_s']:>8.1f}{row['crops_per_s_median']:>8.1f}"
        click.echo(line)
    if speed:
        click.echo("crops/s: one thread, batches of 8, ONNX Runtime, random weights; the best and the median run")


def _table() -> list[dict[str, Any]]:
    from mctrack.errors import MctrackError

    try:
        from reid_models.count import model_table
        from reid_models.errors import ReidError
    except ImportError as error:
        raise MctrackError(f"mctrack models needs torch, which cannot be imported ({error}); "
                           "pip install 'mctrack[reid]'") from error
    try:
        return model_table()
    except ReidError as error:
        raise MctrackError(str(error)) from error


def _add_speed(rows: list[dict[str, Any]]) -> None:
    from mctrack.errors import MctrackError
    from reid_models.errors import ReidError
    from reid_models.speed import measure

    known = {row["name"]: row for row in rows}
    try:
        for speed in measure([name for name in SPEED_NAMES if name in known]):
            known[speed.name] |= {"crops_per_s": round(speed.best, 1), "crops_per_s_median": round(speed.median, 1)}
    except (ReidError, ImportError) as error:
        raise MctrackError(f"the networks cannot be timed: {error}") from error

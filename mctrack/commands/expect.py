"""``mctrack synth expect``: how well a layout of cameras will hold identities, before a hole is drilled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mctrack.config import RunConfig
    from mctrack.synth.world import World

KEYS = ("MC_IDF1", "IDF1", "MOTA")
"""Across cameras; per camera; per camera."""


@click.command()
@click.option("--preset", "--layout", default="pairs", show_default=True, metavar="NAME|FILE",
              help="Your rooms and cameras as YAML, or a scene of configs/synth.")
@click.option("--cams", type=int, default=None, help="Only the layout's first N cameras.")
@click.option("--people", type=int, default=None, help="How many people; default: the layout's.")
@click.option("--seconds", type=float, default=60.0, show_default=True, help="Length of a day's sample.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Different people and ways.")
@click.option("--config", default=None, metavar="NAME|FILE", help="Configuration of the tracker.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One key of it.")
@click.option("--out", "out_dir", required=True, metavar="DIR", help="Scenes, runs and expected.json; reused if there.")
def expect(preset: str, cams: int | None, people: int | None, seconds: float, seeds: int, config: str | None,
           settings: Sequence[str], out_dir: str) -> None:
    """Film a layout several times with different people, track them, and say what to expect of it.

    \b
    mctrack synth expect --layout my_shop.yaml --people 12 --out shop
    """  # noqa: D301
    import json
    from pathlib import Path

    from mctrack.config import RunConfig, load_config
    from mctrack.synth.scene import load_scene
    from mctrack.synth.world import create

    base = load_config(RunConfig, [config] if config else [], {"output.video": False}, settings)
    scene = load_scene(preset)
    rows: dict[str, dict[str, float]] = {}
    for seed in range(1, seeds + 1):
        world = create(scene, seed, people, seconds, cams)
        size = f"{len(world.people)} people, {len(world.scene.cameras)} cameras, {seconds:g} s"
        click.echo(f"seed {seed}: {size}", err=True)
        rows[f"seed {seed}"] = _one(world, base, Path(out_dir) / f"seed-{seed}")
    summary = summarise(list(rows.values()))
    click.echo(_table(rows, summary))
    path = Path(out_dir) / "expected.json"
    found = {"layout": preset, "seconds": seconds, "seeds": rows, "expected": summary}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    click.echo(f"written to {path}; people are rendered, so real ones may do worse or better: compare layouts by it")


def _one(world: World, base: RunConfig, folder: Path) -> dict[str, float]:
    """Film, track and score one world; what is there already is not done again."""
    import json

    from mctrack import config
    from mctrack.evaluation.benchmark import load_benchmark
    from mctrack.evaluation.evaluate import camera_starts, evaluate
    from mctrack.run import run
    from mctrack.synth.world import generate

    film, out = folder / "scene", folder / "run"
    asked = {"seed": world.seed, "seconds": world.seconds, "people": len(world.people),
             "cameras": [c.name for c in world.scene.cameras], "scene": repr(world.scene)}
    marker = folder / "asked.json"
    if not marker.is_file() or json.loads(marker.read_text()) != asked:
        generate(world, film, "mctrack synth expect")
        marker.write_text(json.dumps(asked))
    names = [c.name for c in world.scene.cameras]
    starts = {k: v for k, v in camera_starts(film).items() if v}
    overrides: dict[str, Any] = {"cams": [f"{n}={film / n}.mp4" for n in names], "output.dir": str(_fresh(out))}
    if starts:
        overrides["video.offset_s"] = starts
    summary = run(config.load_config(config.RunConfig, [], overrides, base=base), say=lambda _: None)
    report = evaluate(load_benchmark("folder"), film, summary.out, engine="fast")
    return {key: float(report.combined[key]) for key in KEYS}


def _fresh(out: Path) -> Path:
    """A folder for a run that does not exist yet: a layout may be tried with several configurations."""
    number = 1
    while (found := out.with_name(f"{out.name}-{number}")).exists():
        number += 1
    return found


def summarise(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """Mean over the seeds of each figure, and half the width of its 95 % interval (Student's t; None for one seed)."""
    import numpy as np
    from scipy import stats

    out: dict[str, dict[str, float | None]] = {}
    for key in KEYS:
        values = np.array([row[key] for row in rows])
        half = None
        if len(values) > 1:
            half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        out[key] = {"mean": float(values.mean()), "half_interval": half}
    return out


def _table(rows: Mapping[str, Mapping[str, float]], summary: Mapping[str, Mapping[str, float | None]]) -> str:
    lines = [f"{'':10}" + "".join(f"{key:>16}" for key in KEYS)]
    lines += [f"{name:10}" + "".join(f"{100 * row[key]:16.1f}" for key in KEYS) for name, row in rows.items()]
    cells = []
    for key in KEYS:
        half = summary[key]["half_interval"]
        more = "" if half is None else f" ± {100 * half:.1f}"
        cells.append(f"{100 * (summary[key]['mean'] or 0.0):.1f}{more}".rjust(16))
    return "\n".join([*lines, f"{'expected':10}" + "".join(cells)])

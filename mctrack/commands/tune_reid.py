"""``mctrack tune-reid``: search learning rate, α and β of a recipe."""

from __future__ import annotations

from pathlib import Path

import click

from mctrack.errors import MctrackError

_RANGE = (float, float)


@click.command("tune-reid")
@click.option("--recipe", "name", required=True, metavar="NAME|FILE", help="A recipe of configs/train-reid, or a file.")
@click.option("--data", "root", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option("--dataset", "names", multiple=True, metavar="NAME[=ROOT]", help="As for train-reid.")
@click.option("--out", "out_dir", required=True, type=click.Path(path_type=Path),
              help="Folder of the study; the same command goes on with it.")
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True, help="Trainings in all.")
@click.option("--held-out", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.2, show_default=True,
              help="Share of the training people that candidates are scored on.")
@click.option("--lr", type=_RANGE, default=(1e-5, 1e-2), show_default=True, help="Lowest and highest learning rate.")
@click.option("--alpha", type=_RANGE, default=(0.5, 10.0), show_default=True, help="Weight of the classification loss.")
@click.option("--beta", type=_RANGE, default=(1e-3, 1.0), show_default=True, help="Weight of the other terms.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the search and the trainings.")
@click.option("--set", "assignments", multiple=True, metavar="K=V", help="Change the recipe, e.g. epoch_scale=0.1")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the CPU.  [default: all cores]")
@click.option("--quiet", is_flag=True, help="Print only the result.")
def tune_reid_command(name: str, root: Path | None, names: tuple[str, ...], out_dir: Path, trials: int,
                      held_out: float, lr: tuple[float, float], alpha: tuple[float, float],
                      beta: tuple[float, float], seed: int, assignments: tuple[str, ...], device: str,
                      threads: int | None, quiet: bool) -> None:
    """Search learning rate, alpha and beta on a logarithmic scale, scored on people held out of the training set."""
    from mctrack.commands.train_reid import _need_torch, read_datasets

    _need_torch()
    import torch

    from reid_models.errors import ReidError
    from reid_models.recipe import load_recipe
    from reid_models.train import TrainOptions
    from reid_models.tune import TuneOptions, tune

    if threads:
        torch.set_num_threads(threads)
    try:
        recipe = load_recipe(name, assignments)
        best = tune(recipe, read_datasets(root, names, recipe), out_dir,
                    TuneOptions(trials, held_out, lr, alpha, beta, seed),
                    TrainOptions(device=device, threads=threads or 0, quiet=quiet))
    except ReidError as error:
        raise MctrackError(str(error)) from error
    if best is None:
        click.echo("interrupted; go on with the same command", err=True)
        raise click.exceptions.Exit(130)
    keys = " ".join(f"--set {key}={value:.4g}" for key, value in best["set"].items())
    click.echo(f"best of {best['trials']}: mAP {best['mAP']:.2f} on held-out people with {keys}")

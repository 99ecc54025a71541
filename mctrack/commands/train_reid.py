"""``mctrack train-reid``: train a ReID network by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mctrack.errors import MctrackError, suggest

if TYPE_CHECKING:
    from reid_models.data import ReidDataset
    from reid_models.recipe import Recipe


@click.command("train-reid")
@click.option("--recipe", "name", metavar="NAME|FILE", help="A recipe of configs/train-reid, or a YAML file.")
@click.option("--list", "list_them", is_flag=True, help="List the recipes, with the papers' rows, and end.")
@click.option("--data", "root", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option("--dataset", "names", multiple=True, metavar="NAME[=ROOT]",
              help="How to read it: market1501, dukemtmc, msmt17, cuhk03, viper, veri776, vehicleid, folder. Several "
                   "are trained on jointly, each with its own ROOT.  [default: what --data looks like]")
@click.option("--out", "out_dir", type=click.Path(path_type=Path), help="Folder for weights, figures, logs and plots.")
@click.option("--resume", is_flag=True, help="Go on from the last good checkpoint in --out; start where there is none.")
@click.option("--init", type=click.Path(path_type=Path), help="Weights of ours (.safetensors) to fine-tune.")
@click.option("--set", "assignments", multiple=True, metavar="K=V", help="Change the recipe: --set optimiser.lr=0.01")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the CPU.  [default: all cores]")
@click.option("--checkpoint-s", type=click.FloatRange(0), default=60.0, show_default=True,
              help="Seconds between checkpoints.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def train_reid_command(name: str | None, list_them: bool, root: Path | None, names: tuple[str, ...],
                       out_dir: Path | None, resume: bool, init: Path | None, assignments: tuple[str, ...],
                       device: str, threads: int | None, checkpoint_s: float, quiet: bool) -> None:
    """Train a ReID network; several GPUs through ``torchrun -m mctrack train-reid …``."""
    if list_them:
        _list()
        return
    if name is None or out_dir is None or not (root or names):
        raise MctrackError("train-reid needs --recipe, --data and --out; --list shows the recipes")
    metrics = run_training(name, root, names, out_dir, assignments, resume=resume, init=init, device=device,
                           threads=threads, checkpoint_s=checkpoint_s, quiet=quiet)
    if metrics is None:
        click.echo(f"interrupted; go on with the same command and --resume ({out_dir})", err=True)
        raise click.exceptions.Exit(130)
    if metrics and not quiet:
        _report(metrics, out_dir)


def run_training(name: str, root: Path | None, names: tuple[str, ...], out: Path, assignments: tuple[str, ...], *,
                 resume: bool, init: Path | None, device: str, threads: int | None, checkpoint_s: float,
                 quiet: bool) -> dict[str, Any] | None:
    """Train; None where it was interrupted.

    Raises:
        MctrackError: anything that the user can mend.
    """
    _need_torch()
    import torch

    from reid_models.checkpoint import has_checkpoint
    from reid_models.errors import ReidError
    from reid_models.recipe import load_recipe
    from reid_models.train import CHECKPOINTS, TrainOptions, train
    from reid_models.train_generated import FEATURES

    if threads:
        torch.set_num_threads(threads)
    try:
        recipe = load_recipe(name, assignments)
        datasets = read_datasets(root, names, recipe)
        begun = any(has_checkpoint(folder / CHECKPOINTS) for folder in (out, out / FEATURES))
        if begun and not resume:
            raise MctrackError(f"{out} holds a training already; go on with --resume, or choose another --out")
        if resume and not quiet and not begun:
            click.echo(f"no checkpoint in {out}: starting from the beginning", err=True)
        options = TrainOptions(resume, init, device, checkpoint_s, threads or 0, quiet)
        return train(recipe, datasets, out, options)
    except ReidError as error:
        raise MctrackError(str(error)) from error


def read_datasets(root: Path | None, names: tuple[str, ...], recipe: Recipe) -> list[ReidDataset]:
    """What ``--data`` and ``--dataset`` name.

    Raises:
        MctrackError: they do not go together.
        ReidError: a dataset cannot be read.
    """
    from reid_models.data import DATASETS, read_dataset

    read = []
    for text in names or (_looks_like(root, recipe.data.dataset),):
        name, equals, folder = text.partition("=")
        if name not in DATASETS and ":" not in name:
            raise MctrackError(f"unknown dataset '{name}'{suggest(name, DATASETS)}; known: {', '.join(DATASETS)}")
        if not equals and root is None:
            raise MctrackError(f"--dataset {name} needs its folder: --data ROOT, or --dataset {name}=ROOT")
        if not equals and len(names) > 1:
            raise MctrackError(f"of several datasets each needs its own folder: --dataset {name}=ROOT")
        read.append(read_dataset(name, Path(folder) if equals else Path(str(root)), **recipe.data.options))
    return read


def _looks_like(root: Path | None, official: str) -> str:
    """The dataset's name by its folders: the recipe's own, Market-1501's layout, or a folder per identity."""
    if root is None:
        return official
    if not root.is_dir():
        raise MctrackError(f"--data {root}: there is no such folder")
    if (root / "bounding_box_train").is_dir():
        return official if official in ("market1501", "dukemtmc", "veri776") else "market1501"
    return "folder" if official in ("market1501", "dukemtmc") else official


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MctrackError(f"training needs torch, which cannot be imported ({error}); pip install 'mctrack[reid]'") \
            from error


def _list() -> None:
    from reid_models.errors import ReidError
    from reid_models.recipe import load_recipe, recipe_names

    try:
        for name in recipe_names():
            click.echo(f"{name:22} {load_recipe(name).paper}")
    except ReidError as error:
        raise MctrackError(str(error)) from error


def _report(metrics: dict[str, Any], out: Path) -> None:
    for dataset, figures in metrics["scores"].items():
        reranked = metrics["reranked"].get(dataset)
        more = f"; re-ranked {reranked['rank1']:.1f}, {reranked['mAP']:.1f}" if reranked else ""
        click.echo(f"{dataset}: rank-1 {figures['rank1']:.1f}, mAP {figures['mAP']:.1f}, "
                   f"mINP {figures['mINP']:.1f}{more}")
    click.echo(f"weights, figures and plots are in {out}")

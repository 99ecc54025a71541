"""Train all ReID recipes on one dataset and write one table; beside it, the papers' figures and what became of them.

    python eval/reid_recipes.py --data ROOT --out runs/recipes --markdown eval/results/reid_recipes.md
    python eval/reid_recipes.py --data ROOT --out runs/recipes --epochs 4 --scale 0.5 --threads 2    # on a CPU

Stop it at any time; the same command goes on where it was, in the middle of a training too. The full schedules of
the papers take GPU-days: ``--epochs`` squeezes every schedule into so many epochs with its shape kept, ``--scale``
shrinks the input of the networks that allow it. A figure measured on generated data is never put beside a paper's:
the second table has figures of ours only from training sets whose counts are the official ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mctrack.errors import MctrackError, suggest
from reid_models.errors import ReidError
from reid_models.recipe import Recipe, load_recipe, recipe_names

OFFICIAL = {
    "market1501": (12936, 751), "dukemtmc": (16522, 702), "msmt17": (32621, 1041),
    "cuhk03-detected": (7365, 767), "cuhk03-labelled": (7368, 767),
}  # fmt: skip
"""Training pictures and identities of the published datasets (CUHK03 by its new protocol)."""
FIXED = ("robust_reid", "ha_cnn")
"""Networks that read pictures of one size only."""
FIGURES = ("rank1", "mAP", "mINP")


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, write the tables; 130 where it was interrupted."""
    options = _parser().parse_args(arguments)
    try:
        names = _chosen(options.recipes)
        finished = options.tables_only or _train_all(names, options)
        text = tables(options.out, names, _command(options))
    except (MctrackError, ReidError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.markdown:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0 if finished else 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder of the dataset")
    add("--dataset", action="append", default=[], metavar="NAME[=ROOT]", help="as for mctrack train-reid")
    add("--out", type=Path, required=True, help="a folder per recipe; the same folder again goes on")
    add("--recipes", default="", metavar="A,B,…", help="only these (default: all)")
    add("--epochs", type=float, help="squeeze every schedule into so many epochs (default: the papers')")
    add("--scale", type=float, default=1.0, help="factor on the side of the input, where the network allows it")
    add("--pretrained", help="imagenet, or a file, for the recipes that start from ImageNet (default: from scratch)")
    add("--generated", type=int, help="pictures that the SLSR recipes generate (default: one per training picture)")
    add("--gan-steps", type=int, help="mini-batches that each GAN learns from (default: the paper's)")
    add("--set", action="append", default=[], dest="sets", metavar="K=V", help="change every recipe")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    add("--threads", type=int, default=0, help="threads of the CPU (default: all cores)")
    add("--markdown", type=Path, help="where the tables go (default: to the terminal)")
    add("--tables-only", action="store_true", help="train nothing, only write the tables")
    return parser


def _chosen(text: str) -> list[str]:
    names = recipe_names()
    wanted = [n for n in text.split(",") if n]
    for name in wanted:
        if name not in names:
            raise MctrackError(f"no recipe '{name}'{suggest(name, names)}; recipes: {', '.join(names)}")
    return wanted or names


def _train_all(names: list[str], options: argparse.Namespace) -> bool:
    """Train every recipe that has no figures yet; False where one was interrupted."""
    import torch

    from mctrack.commands.train_reid import read_datasets
    from reid_models.checkpoint import has_checkpoint
    from reid_models.train import CHECKPOINTS, METRICS, TrainOptions, train

    if options.data is None and not options.dataset:
        raise MctrackError("nothing to train on: give --data ROOT, or --tables-only")
    if options.threads:
        torch.set_num_threads(options.threads)
    for number, name in enumerate(names, 1):
        folder = options.out / name
        if (folder / METRICS).exists():
            continue
        datasets = read_datasets(options.data, tuple(options.dataset), load_recipe(name))
        recipe = load_recipe(name, assignments(load_recipe(name), options, len(datasets[0].train)))
        if recipe.model.attributes and not any(d.attribute_names for d in datasets):
            _write_skipped(folder, "the dataset has no attributes")
            continue
        print(f"{number} of {len(names)}: {name}, {time.strftime('%H:%M:%S')}", file=sys.stderr, flush=True)
        going_on = has_checkpoint(folder / CHECKPOINTS)
        how = TrainOptions(going_on, device=options.device, threads=options.threads)
        if train(recipe, datasets, folder, how) is None:
            return False
    return True


def assignments(recipe: Recipe, options: argparse.Namespace, pictures: int) -> list[str]:
    """What the command line changes in a recipe."""
    sets = [f"model.pretrained={options.pretrained or 'null'}"] if recipe.model.pretrained else []
    if options.epochs:
        sets.append(f"epoch_scale={options.epochs / sum(p.epochs for p in recipe.schedule)!r}")
        sets.append("eval_epochs=1000000")  # at the end only
    if options.scale != 1.0 and not recipe.model.name.startswith(FIXED):
        for key, hw in (("input_hw", recipe.input_hw), ("data.store_hw", recipe.data.store_hw)):
            if hw is not None:
                sets.append(f"{key}=[{', '.join(str(_side(s * options.scale)) for s in hw)}]")
        pad = recipe.data.augment.get("pad_px")
        if pad:
            sets.append(f"data.augment.pad_px={max(1, round(pad * options.scale))}")
    if recipe.generated is not None:
        clusters = recipe.generated.clusters
        sets.append(f"generated.images={options.generated or pictures // clusters * clusters}")
        if options.gan_steps:
            sets.append(f"generated.gan_steps={options.gan_steps}")
    return [*sets, *options.sets]


def _side(pixels: float) -> int:
    """The nearest multiple of 16, at least 32: what ResNet's strides divide evenly."""
    return max(32, round(pixels / 16) * 16)


def _write_skipped(folder: Path, why: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "skipped.txt").write_text(why + "\n", encoding="utf-8")


def _command(options: argparse.Namespace) -> str:
    given = [f"--epochs {options.epochs:g}" if options.epochs else "", f"--scale {options.scale:g}"
             if options.scale != 1 else "", f"--pretrained {options.pretrained}" if options.pretrained else "",
             f"--gan-steps {options.gan_steps}" if options.gan_steps else "",
             f"--generated {options.generated}" if options.generated else "", *(f"--set {s}" for s in options.sets)]
    return " ".join(["python eval/reid_recipes.py --data ROOT --out DIR", *filter(None, given)])


def tables(out: Path, names: list[str], command: str) -> str:
    """Both tables as Markdown, from the ``metrics.json`` of every recipe's folder.

    Args:
        out: the folder.
        names: recipes, in the order of the rows.
        command: what made them.
    """
    found = {name: json.loads((out / name / "metrics.json").read_text(encoding="utf-8"))
             for name in names if (out / name / "metrics.json").is_file()}
    lines = ["# ReID recipes, measured", "", f"`{command}`", ""]
    sets = sorted({_dataset(m) for m in found.values()})
    lines += [f"Trained and scored on {'; '.join(sets)}. Percent; higher is better. What wins on such data, after so "
              "few epochs, says nothing of the papers.", ""] if sets else ["Nothing has been trained yet.", ""]
    lines += ["| recipe | epochs | rank-1 | mAP | mINP | re-ranked rank-1 | mAP | mINP | images/s |",
              "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for name in names:
        lines.append(_row(name, found.get(name), out))
    lines += ["", "# The papers' figures and ours", "",
              "Market-1501, DukeMTMC-reID, MSMT17 and CUHK03 are not in this repository. With one of them in place, "
              "`mctrack train-reid --recipe NAME --data ROOT --out DIR` is the whole training.", "",
              "| recipe | row | dataset | paper rank-1 | paper mAP | our rank-1 | our mAP |",
              "|---|---|---|---:|---:|---:|---:|"]
    for name in names:
        recipe = load_recipe(name)
        for dataset, figures in recipe.expected.items():
            ours = _official(found.get(name), dataset)
            cells = f"{ours['rank1']:.1f} | {ours['mAP']:.1f}" if ours else "not run: no data here | "
            row = recipe.paper.rpartition(": ")[2]
            lines.append(f"| {name} | {row} | {dataset} | {figures['rank1']} | {figures['mAP']} | {cells} |")
    return "\n".join(lines) + "\n"


def _dataset(metrics: dict[str, Any]) -> str:
    return f"{'+'.join(metrics['data'])} ({metrics['identities']} training identities)"


def _row(name: str, metrics: dict[str, Any] | None, out: Path) -> str:
    if metrics is None:
        skipped = out / name / "skipped.txt"
        why = skipped.read_text(encoding="utf-8").strip() if skipped.is_file() else "not run"
        return f"| {name} | {why} | | | | | | | |"
    cells = [f"{metrics['epochs']:g}"]
    for kind in ("scores", "reranked"):
        figures = next(iter(metrics[kind].values()), None)
        cells += [f"{figures[f]:.1f}" if figures else "" for f in FIGURES]
    return f"| {name} | {' | '.join(cells)} | {metrics['images_per_s']:g} |"


def _official(metrics: dict[str, Any] | None, dataset: str) -> dict[str, float] | None:
    """Our figures, if the training set was the published one by its counts."""
    if metrics is None or len(metrics["data"]) != 1 or dataset not in OFFICIAL:
        return None
    name, figures = metrics["data"][0], next(iter(metrics["scores"].values()), None)
    same = name == dataset.partition("-")[0] and (metrics["real_images"], metrics["identities"]) == OFFICIAL[dataset]
    return figures if same else None


if __name__ == "__main__":
    sys.exit(main())

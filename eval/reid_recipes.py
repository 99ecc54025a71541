"""Train all ReID recipes on one dataset and write one table; beside it, the papers' figures and what became of them.

    python eval/reid_recipes.py --data ROOT --out runs/recipes --markdown eval/results/reid_recipes.md
    python eval/reid_recipes.py --data ROOT --out runs/recipes --epochs 2 --taught 2 --height 64 --network NAME   # CPU

Stop it at any time; the same command goes on where it was, in the middle of a training too. The full schedules of
the papers take GPU-days. ``--epochs`` squeezes every schedule into so many epochs with its shape kept, ``--height``
shrinks the pictures. Nearly all of the papers' networks start from ImageNet, and in a few epochs none learns to see
from nothing: with ``--taught`` each kind of network first learns from the shipped compact embedder (recipe ``distil``,
itself from shipped weights where there are some of that kind), once, and every recipe on it starts there; the first
rows say where that is. ``--network`` compares what recipes do with one and the same network, a quick one, in the place
of their own; those that need heads or branches of their own keep theirs.

A figure measured on generated data is never put beside a paper's: the second table has figures of ours only from
training sets whose counts are the official ones, and of the recipe's own network.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mctrack.errors import MctrackError, suggest
from reid_models.errors import ReidError
from reid_models.recipe import Recipe, load_recipe, recipe_names

if TYPE_CHECKING:
    from reid_models.data import ReidDataset

OFFICIAL = {
    "market1501": (12936, 751), "dukemtmc": (16522, 702), "msmt17": (32621, 1041),
    "cuhk03-detected": (7365, 767), "cuhk03-labelled": (7368, 767),
}  # fmt: skip
"""Training pictures and identities of the published datasets (CUHK03 by its new protocol)."""
POOLING = {"ha_cnn": "average"}
NORMALISED = {"ha_cnn": False, "resnet50": False}
"""What networks do where a recipe says nothing (others: GeM, unit vectors), for one that stands in for them."""
STARTS = ("blocks", "pool")
"""Options of a network that decide which weights it can start from."""
OWN = ("mgn", "bdb")
"""Networks that nothing stands in for."""
TAUGHT = "taught"
"""Folder of the networks that recipes start from, one each."""
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
    add("--epochs", type=_above_0, help="squeeze every schedule into so many epochs (default: the papers')")
    add("--height", type=_above_0, help="of the pictures, in pixels; the width keeps its share (default: the papers')")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--pretrained", help="imagenet, or a file, for the recipes that start from ImageNet "
                       "(default: from scratch)")
    start.add_argument("--taught", type=_above_0, help="first teach each kind of network for so many epochs")
    add("--network", metavar="NAME", help="train recipes on this one, in the place of their own, where that can be")
    add("--generated", type=int, help="pictures that the SLSR recipes generate (default: one per training picture)")
    add("--gan-steps", type=int, help="mini-batches that each GAN learns from (default: the paper's)")
    add("--swag-samples", type=int, help="weights drawn for SWAG's Bayesian averaging; 0: only the mean is scored")
    add("--set", action="append", default=[], dest="sets", metavar="K=V", help="change every recipe")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    add("--threads", type=int, default=0, help="threads of the CPU (default: all cores)")
    add("--markdown", type=Path, help="where the tables go (default: to the terminal)")
    add("--tables-only", action="store_true", help="train nothing, only write the tables")
    return parser


def _above_0(text: str) -> float:
    """A number above 0, as argparse wants it."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


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

    if options.data is None and not options.dataset:
        raise MctrackError("nothing to train on: give --data ROOT, or --tables-only")
    if options.threads:
        torch.set_num_threads(options.threads)
    done: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        folder = options.out / name
        if (folder / "metrics.json").exists() and not options.network:  # there others may be the same as this one
            continue
        datasets = read_datasets(options.data, tuple(options.dataset), load_recipe(name))
        recipe = load_recipe(name, assignments(load_recipe(name), options, len(datasets[0].train)))
        if recipe.model.attributes and not any(d.attribute_names for d in datasets):
            _write_skipped(folder, "the dataset has no attributes")
            continue
        first = done.setdefault(_substance(recipe), name)
        if options.network and first != name:
            _write_skipped(folder, f"as {first}: it differs by its network only")
            continue
        if (folder / "metrics.json").exists():
            continue
        print(f"{number} of {len(names)}: {name}, {time.strftime('%H:%M:%S')}", file=sys.stderr, flush=True)
        init = None
        if options.taught:
            taught = options.out / TAUGHT / network(recipe)
            first_lesson = load_recipe("distil", lesson(recipe, options))
            if not _train(first_lesson, datasets, taught, options, _shipped(first_lesson)):
                return False
            init = taught / "weights.safetensors"
        if not _train(recipe, datasets, folder, options, init):
            return False
    return True


def _train(recipe: Recipe, datasets: list[ReidDataset], folder: Path, options: argparse.Namespace,
           init: Path | None = None) -> bool:
    """Train, or go on, or find it done; False where it was interrupted."""
    from reid_models.checkpoint import has_checkpoint
    from reid_models.train import CHECKPOINTS, TrainOptions, train

    if init is not None and recipe.model.pretrained:  # a trunk: other layers than its own follow it
        recipe.model.pretrained, init = str(init), None
    going_on = has_checkpoint(folder / CHECKPOINTS)
    how = TrainOptions(going_on, init, options.device, threads=options.threads, plots=False)
    return train(recipe, datasets, folder, how) is not None


def _substance(recipe: Recipe) -> str:
    """Everything that decides what comes out, but no names."""
    values = recipe.to_dict()
    for key in ("name", "paper", "expected"):
        del values[key]
    return json.dumps(values, sort_keys=True)


def _shipped(recipe: Recipe) -> Path | None:
    """Shipped weights of the recipe's network."""
    from reid_models.shipped import FOLDER, shipped_names

    name = recipe.model.name
    return FOLDER / f"{name}.safetensors" if name in shipped_names() and "blocks" not in recipe.model.options else None


def network(recipe: Recipe) -> str:
    """The kind of network, as far as recipes on it can start from the same weights."""
    name = "resnet50" if recipe.model.pretrained else recipe.model.name
    options = recipe.model.options
    return "-".join([name, *(str(options[key]) for key in STARTS if key in options)])


def replaced(recipe: Recipe, options: argparse.Namespace) -> bool:
    """Whether ``--network`` stands in for the recipe's own."""
    model = recipe.model
    own = model.name in OWN or model.attributes or model.options.get("neck") == "vib" or model.name == options.network
    return bool(options.network) and not own


def lesson(recipe: Recipe, options: argparse.Namespace) -> list[str]:
    """What makes recipe ``distil`` teach the recipe's kind of network."""
    distil, model = load_recipe("distil"), recipe.model
    sets = [f"name=start of {network(recipe)}", f"model.name={'resnet50' if model.pretrained else model.name}",
            f"epoch_scale={options.taught / sum(p.epochs for p in distil.schedule)!r}", "eval_epochs=1000000"]
    sets += [f"model.options.{key}={model.options[key]}" for key in STARTS if key in model.options]
    return [*sets, *_smaller(distil, options), *options.sets]


def assignments(recipe: Recipe, options: argparse.Namespace, pictures: int) -> list[str]:
    """What the command line changes in a recipe."""
    from_nothing = not (options.pretrained or options.taught)
    sets = []
    if replaced(recipe, options):
        name, own = recipe.model.name, recipe.model.options
        pool = own.get("pool", POOLING.get(name, "gem"))
        normalised = str(own.get("normalised", NORMALISED.get(name, True))).lower()
        sets += [f"model.name={options.network}", "model.pretrained=null", f"model.options={{normalised: {normalised}"
                 + (f", pool: {pool}" if pool != "gem" else "") + "}"]
    elif recipe.model.pretrained and (options.pretrained or from_nothing):
        sets.append(f"model.pretrained={options.pretrained or 'null'}")
    if options.epochs:
        sets.append(f"epoch_scale={options.epochs / sum(p.epochs for p in recipe.schedule)!r}")
        sets.append("eval_epochs=1000000")  # at the end only
    sets += _smaller(recipe, options)
    if recipe.swag is not None and options.swag_samples is not None:
        sets.append(f"swag.samples={options.swag_samples}")
    if recipe.generated is not None:
        clusters = recipe.generated.clusters
        sets.append(f"generated.images={options.generated or pictures // clusters * clusters}")
        if options.gan_steps:
            sets.append(f"generated.gan_steps={options.gan_steps}")
        if options.height:
            sets.append(f"generated.gan={{size: {max(16, 2 ** math.floor(math.log2(options.height)))}}}")
    return [*sets, *options.sets]


def _smaller(recipe: Recipe, options: argparse.Namespace) -> list[str]:
    """Pictures of ``--height``, and what is counted in their pixels."""
    if not options.height:
        return []
    scale = options.height / recipe.input_hw[0]
    sets = [f"{key}=[{', '.join(str(_side(s * scale)) for s in hw)}]"
            for key, hw in (("input_hw", recipe.input_hw), ("data.store_hw", recipe.data.store_hw)) if hw is not None]
    pad = recipe.data.augment.get("pad_px")
    return [*sets, f"data.augment.pad_px={max(1, round(pad * scale))}"] if pad else sets


def _side(pixels: float) -> int:
    """The nearest multiple of 16, at least 32: what all the networks' strides divide evenly."""
    return max(32, round(pixels / 16) * 16)


def _write_skipped(folder: Path, why: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "skipped.txt").write_text(why + "\n", encoding="utf-8")


def _command(options: argparse.Namespace) -> str:
    keys = ("epochs", "taught", "height", "network", "pretrained", "gan_steps", "generated", "swag_samples")
    given = [f"--{key.replace('_', '-')} {value}" for key in keys if (value := _shown(getattr(options, key)))]
    given += [f"--dataset {name.partition('=')[0]}" for name in options.dataset]
    given += [f"--set {s}" for s in options.sets]
    return " ".join(["python eval/reid_recipes.py --data ROOT --out DIR", *given])


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


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
    starts = sorted((out / TAUGHT).glob("*/metrics.json"))
    if starts:
        lines += ["Every recipe on a kind of network started from the same weights, taught by robust_reid_compact: the "
                  "rows in italics.", ""]
    lines += ["| recipe | network | epochs | rank-1 | mAP | mINP | re-ranked rank-1 | mAP | mINP | images/s |",
              "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for path in starts:
        lines.append(_row(f"*start of {path.parent.name}*", json.loads(path.read_text(encoding="utf-8")), out))
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
            ours = _official(found.get(name), dataset, recipe.model.name)
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
        return f"| {name} | {why} | | | | | | | | |"
    cells = [metrics["model"], f"{metrics['epochs']:.3g}"]
    for kind in ("scores", "reranked"):
        figures = next(iter(metrics[kind].values()), None)
        cells += [f"{figures[f]:.1f}" if figures else "" for f in FIGURES]
    return f"| {name} | {' | '.join(cells)} | {metrics['images_per_s']:g} |"


def _official(metrics: dict[str, Any] | None, dataset: str, model: str) -> dict[str, float] | None:
    """Our figures, if the training set was the published one by its counts, and the network the recipe's own."""
    if metrics is None or metrics["model"] != model or len(metrics["data"]) != 1 or dataset not in OFFICIAL:
        return None
    name, figures = metrics["data"][0].replace("labeled", "labelled"), next(iter(metrics["scores"].values()), None)
    same = name == dataset and (metrics["real_images"], metrics["identities"]) == OFFICIAL[dataset]
    return figures if same else None


if __name__ == "__main__":
    sys.exit(main())

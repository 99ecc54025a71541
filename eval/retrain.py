"""Train what ships from nothing: the compact Robust-ReID embedder, the 1x that learns from it, and the person detector.

    python eval/retrain.py embedder --people makehuman:DIR --out work/embedder
    python eval/retrain.py embedder-1x --people makehuman:DIR --out work/embedder
    python eval/retrain.py detector --people makehuman:DIR --out work/detector

Each step is a command of mctrack that is printed before it runs; what an interrupted call left is gone on with. DIR
holds MakeHuman's CC0 assets (``parametric`` in its place takes the built-in bodies: less varied, worse transfer). On a
GPU add ``--device cuda --scale 1``: the whole schedule. The default is what made the weights that ship on a CPU: about
seven hours for the compact embedder, most of them on two cores, three hours of one core for 1x and for the detector.
``--set K=V`` goes on to ``mctrack train-reid``.

Afterwards ``eval/calibrate_reid.py --reid OUT/robust_reid_compact.onnx …`` measures what its distances mean in real
scenes.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path


def step(words: Sequence[object], **environment: str) -> None:
    """Run one command of mctrack, and end with it where it fails."""
    line = [str(w) for w in words]
    print(f"+ mctrack {shlex.join(line)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "mctrack", *line], check=False, env={**os.environ, **environment})
    if done.returncode:
        raise SystemExit(done.returncode)


IMPRINTED = ("loss=[{name: angular_margin, on: features, margin: 0.1, scale: 20, imprint: true}, {name: triplet, on: "
             "features, mining: hard, margin: 0.3, weight: 0.5}]")  # fmt: skip
"""The recipe's losses; the classes' weights start where the network puts the people already."""
STEADY = ("optimiser.lr_factors={^criterion: 0.1}", "optimiser.weight_decay=0")
"""So they stay there. With Adam and weight decay at the full rate, classes that are not in the batch shrink within
fifty steps and then turn with every one: the loss went from 4.5 to 6.5 in 350 steps, with this to 5."""
HALF = "precision=bfloat16-cpu"
CALM = ("jitter=0.25", "hue=0.015")
LIGHT = ("jitter=0.5", "hue=0.015", "brightness=0.25", "contrast=0.3", "resolution=0.3", "blur=0.1")


@dataclass(frozen=True)
class Branch:
    """One training: epochs at the default --scale, learning rate, seed, augmentation."""

    epochs: float
    lr: float
    seed: int
    augment: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """What one or two trainings learn from the same sets and the same start; of two, the average goes on."""

    sets: tuple[str, ...]
    branches: tuple[Branch, ...]
    settings: tuple[str, ...] = ()


FRESH = {"fresh": 70, "fresh-2": 80, "fresh-3": 90, "fresh-4": 100, "fresh-5": 110}
"""Sets of new people by new cameras in new places → what their seed is above --seed."""
BLURRED = (*CALM, "resolution=0.3", "blur=0.1")
COARSE = (*CALM, "resolution=0.4", "blur=0.15")
STAGES = {
    "first": Stage(("varied",), (Branch(7, 0.002, 1),), (HALF,)),
    "second": Stage(("varied", "built-in"), (Branch(5, 0.0014, 1, CALM),), (HALF,)),
    "third": Stage(("many", "more-built-in"), (Branch(5, 0.001, 11, CALM), Branch(5, 0.001, 12, (*CALM, "blur=0.1"))),
                   (IMPRINTED,)),
    "fourth": Stage(("many", "more-built-in"), (Branch(2.2, 0.0006, 21, LIGHT),), (IMPRINTED,)),
    "fifth": Stage(("many", "fresh"), (Branch(1.6, 0.001, 31, LIGHT), Branch(1.6, 0.001, 32, BLURRED)),
                   (IMPRINTED, *STEADY)),
    "sixth": Stage(("many", "fresh"), (Branch(1.2, 0.0006, 41, LIGHT), Branch(0.84, 0.0006, 42, BLURRED)),
                   (IMPRINTED, *STEADY)),
    "seventh": Stage(("fresh-2", "fresh-3"), (Branch(2.1, 0.001, 51, LIGHT), Branch(2.1, 0.001, 52, COARSE)),
                     (IMPRINTED, *STEADY)),
    "eighth": Stage(("fresh-4", "fresh-5"), (Branch(2.1, 0.0008, 61, LIGHT), Branch(2.1, 0.0008, 62, COARSE)),
                    (IMPRINTED, *STEADY)),
}  # fmt: skip


def embedder(args: argparse.Namespace) -> None:
    """Rendered people → weights → 8 bits → ONNX."""
    sets = {"varied": (args.people, args.identities, 240, 12, 0.1, args.seed),
            "built-in": ("parametric", 900, 160, 12, 0.1, args.seed + 4),
            "many": (args.people, round(args.identities * 1.6), 480, 10, 0.05, args.seed + 60),
            "more-built-in": ("parametric", 800, 160, 10, 0.1, args.seed + 64),
            **{name: (args.people, round(args.identities * 1.6), 480, 10, 0.01, args.seed + more)
               for name, more in FRESH.items()}}  # fmt: skip
    for name, (people, identities, cameras, images, test, seed) in sets.items():
        step(["synth", "reid", "--people", people, "--identities", identities, "--cameras", cameras, "--images", images,
              "--test", test, "--seed", seed, "--workers", args.workers, "--out", args.out / name])
    best: Path | None = None
    for name, stage in STAGES.items():
        best = learn(args, name, stage, best)
    small = args.out / "robust_reid_compact.safetensors"
    step(["export-reid", best, "--quarter", "--out", small])
    step(["export-reid", small, "--quarter", "--graph-only", "--out", small.with_suffix(".onnx")])


def learn(args: argparse.Namespace, name: str, stage: Stage, start: Path | None) -> Path:
    """The weights after a stage; two trainings at once where there is a processor for each."""
    names = [f"{name}-{k}" for k in range(1, len(stage.branches) + 1)]
    lines = [training(args, part, stage, branch, start) for part, branch in zip(names, stage.branches, strict=True)]
    if len(lines) > 1 and args.device == "cpu" and (os.cpu_count() or 1) > 1:
        with ThreadPoolExecutor(len(lines)) as pool:
            list(pool.map(lambda line: step(line, OMP_NUM_THREADS="1"), lines))
    else:
        for line in lines:
            step(line)
    found = [args.out / part / "weights.safetensors" for part in names]
    if len(found) == 1:
        return found[0]
    from reid_models.soup import average_weights

    average_weights(found, args.out / f"{name}.safetensors")
    return args.out / f"{name}.safetensors"


def training(args: argparse.Namespace, name: str, stage: Stage, branch: Branch, start: Path | None) -> list[object]:
    """The command of one training of the compact network, or of what an interrupted call left of it."""
    settings = [f"epoch_scale={args.scale * branch.epochs / 7:.6g}", f"optimiser.lr={branch.lr}", f"seed={branch.seed}",
                *(f"data.augment.{word}" for word in branch.augment), *stage.settings, *args.set]
    return ["train-reid", "--recipe", "compact", "--data", args.out / stage.sets[0],
            *(word for s in stage.sets for word in ("--dataset", f"market1501={args.out / s}")), "--out",
            args.out / name, "--device", args.device, *([] if start is None else ["--init", start]),
            *(["--resume"] if (args.out / name / "checkpoints").is_dir() else []),
            *(word for s in settings for word in ("--set", s))]


LONGER = ("schedule=[{kind: cyclic, epochs: 40, cycle_epochs: 40, floor: 0.005, warmup_epochs: 2.9, warmup_from: 0.05},"
          " {kind: cyclic, epochs: 22.25, cycle_epochs: 65, floor: 0.005, scale: 0.7},"
          " {kind: cyclic, epochs: 26, cycle_epochs: 26, floor: 0.005, scale: 0.517}]")  # fmt: skip
"""1x annealed twice (SGDR), the second time more steeply from a third of the way on: what the shipped weights saw."""


def embedder_1x(args: argparse.Namespace) -> None:
    """Rendered people and the shipped compact network's descriptors of them → weights of 1x, kept at 16 bits → ONNX."""
    data, trained = args.out / "varied", args.out / f"trained-{args.model}"
    step(["synth", "reid", "--people", args.people, "--identities", args.identities, "--cameras", 240, "--images", 12,
          "--seed", args.seed, "--workers", args.workers, "--out", data])
    settings = [f"model.name={args.model}", f"epoch_scale={args.scale}",
                *(["precision=bfloat16-cpu"] if args.device == "cpu" else []),
                *([LONGER] if args.model == "robust_reid_1x" else []), *args.set]
    resume = ["--resume"] if (trained / "checkpoints").is_dir() else []
    step(["train-reid", "--recipe", "distil", "--data", data, "--dataset", "market1501", "--out", trained, "--device",
          args.device, *resume, *(word for s in settings for word in ("--set", s))])
    for suffix in ("safetensors", "onnx"):
        step(["export-reid", trained / "weights.safetensors", "--half", "--out", args.out / f"{args.model}.{suffix}"])


SCENES = (("pairs", 901, 150), ("pairs", 902, 150), ("lab", 911, 130), ("lab", 912, 130), ("lab", 913, 130),
          ("lab", 914, 130), ("corridor", 921, 100), ("street", 931, 70))  # fmt: skip
"""(preset, seed, seconds) filmed once a second for the detector. Hall is left out: a place it has never seen."""


def detector(args: argparse.Namespace) -> None:
    """Cut-outs, backgrounds and frames of scenes → detector."""
    bank, trained = args.out / "bank", args.out / "trained"
    step(["synth", "cutouts", "--people", args.people, "--seed", args.seed, "--workers", args.workers, "--out", bank])
    for preset, seed, seconds in SCENES:
        scene = args.out / "scenes" / f"{preset}-{seed}"
        if not (scene / "README.md").is_file():  # written last
            step(["synth", "scene", "--preset", preset, "--cams", 4, "--seconds", seconds, "--fps", 1, "--seed", seed,
                  "--crf", 20, "--quiet", "--out", scene])
        step(["synth", "stills", scene, "--out", bank])
    resume = ["--resume"] if (trained / "checkpoint.pt").is_file() else []
    step(["train-detector", "--data", bank, "--out", trained, "--device", args.device, "--threads", args.threads,
          "--steps", max(round(40_000 * args.scale), 1), "--lr", 0.003, *resume])


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["embedder", "embedder-1x", "detector"])
    parser.add_argument("--model", default="robust_reid_1x", help="embedder-1x: which network, e.g. ha_cnn")
    parser.add_argument("--people", default="parametric", help="parametric, or makehuman:DIR")
    parser.add_argument("--identities", type=int, default=2500)
    parser.add_argument("--scale", type=float, help="share of the whole schedule; default 0.175, 0.04 and 0.5")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of the detector's training on a CPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.scale is None:
        args.scale = {"embedder": 0.175, "embedder-1x": 0.04, "detector": 0.5}[args.what]
    {"embedder": embedder, "embedder-1x": embedder_1x, "detector": detector}[args.what](args)


if __name__ == "__main__":
    main()

"""Train what ships from nothing: the compact Robust-ReID embedder, and the person detector.

    python eval/retrain.py embedder --people makehuman:DIR --out work/embedder
    python eval/retrain.py detector --people makehuman:DIR --out work/detector

Each step is a command of mctrack that is printed before it runs; what an interrupted call left is gone on with. DIR
holds MakeHuman's CC0 assets (``parametric`` in its place takes the built-in bodies: less varied, worse transfer). On a
GPU add ``--device cuda --scale 1``: the whole schedule; the default is what one core of a CPU does in half an hour
(the embedder; the detector needs several hours on a CPU, and none ships yet). ``--set KEY=VALUE`` goes on to
``mctrack train-reid``.

Afterwards ``eval/calibrate_reid.py --reid OUT/robust_reid_compact.onnx …`` measures what its distances mean in real
scenes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def step(words: Sequence[object]) -> None:
    """Run one command of mctrack, and end with it where it fails."""
    line = [str(w) for w in words]
    print("+ mctrack", *line, flush=True)
    done = subprocess.run([sys.executable, "-m", "mctrack", *line], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def embedder(args: argparse.Namespace) -> None:
    """Rendered people → weights → ONNX."""
    data, trained = args.out / "data", args.out / "trained"
    step(["synth", "reid", "--people", args.people, "--identities", args.identities, "--cameras", 240, "--images", 12,
          "--seed", args.seed, "--workers", args.workers, "--out", data])
    settings = [f"epoch_scale={args.scale}", *args.set]
    if args.device == "cpu":
        settings.insert(0, "precision=bfloat16-cpu")
    resume = ["--resume"] if (trained / "checkpoints").is_dir() else []
    step(["train-reid", "--recipe", "compact", "--data", data, "--dataset", "market1501", "--out", trained,
          "--device", args.device, *resume, *(word for s in settings for word in ("--set", s))])
    step(["export-reid", trained / "weights.safetensors", "--out", args.out / "robust_reid_compact.onnx"])


def detector(args: argparse.Namespace) -> None:
    """Cut-outs and backgrounds → detector."""
    bank, trained = args.out / "bank", args.out / "trained"
    step(["synth", "cutouts", "--people", args.people, "--seed", args.seed, "--workers", args.workers, "--out", bank])
    resume = ["--resume"] if (trained / "checkpoint.pt").is_file() else []
    step(["train-detector", "--data", bank, "--out", trained, "--device", args.device,
          "--steps", max(round(40_000 * args.scale), 1), "--lr", 0.003, *resume])


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["embedder", "detector"])
    parser.add_argument("--people", default="parametric", help="parametric, or makehuman:DIR")
    parser.add_argument("--identities", type=int, default=2500)
    parser.add_argument("--scale", type=float, default=0.175, help="share of the whole schedule")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    {"embedder": embedder, "detector": detector}[args.what](args)


if __name__ == "__main__":
    main()

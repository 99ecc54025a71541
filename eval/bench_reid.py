"""Speed of the re-identification networks on one core, as ratios against OSNet x1.0 in the same run.

    python eval/bench_reid.py [--batch 8] [--rounds 12] [--models NAME ...] [--json FILE]

Random weights with settled batch normalisation, exported as ``mctrack export-reid`` does, one thread of ONNX Runtime,
in turns; CPU time of the thread (``time.thread_time``), so that other work on the machine counts as little as it can.
``best`` is what a quiet core gives.
Goals: 1x at least 60 crops/s, the compact width at least 250; both are printed with what was reached.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before NumPy is imported, or it has no effect

import argparse
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from reid_models.speed import measure

BASELINE = "osnet_x1_0"
MODELS = ("robust_reid_1x", "robust_reid_0.5x", "robust_reid_compact", "ha_cnn", "osnet_x0_25", "resnet50")
GOALS = {"robust_reid_1x": 60.0, "robust_reid_compact": 250.0}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    speeds = list(measure([BASELINE, *options.models], options.batch, options.rounds))
    base = speeds[0]
    print(f"{'model':<22}{'best':>8}{'median':>8}{'ratio':>7}  goal   (crops/s, one core, batch {options.batch})")
    for speed in speeds:
        goal = GOALS.get(speed.name)
        verdict = "" if goal is None else f"{goal:>5.0f} {'reached' if speed.best >= goal else 'missed'}"
        print(f"{speed.name:<22}{speed.best:>8.1f}{speed.median:>8.1f}{speed.best / base.best:>7.2f}  {verdict}")
    if options.json is not None:
        machine = {"processor": platform.processor() or platform.machine(), "onnxruntime": version("onnxruntime")}
        options.json.write_text(json.dumps({"machine": machine, "baseline": BASELINE, "batch": options.batch,
                                            "rows": [asdict(speed) for speed in speeds]}, indent=1))


if __name__ == "__main__":
    main()

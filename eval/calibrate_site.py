"""How far the cameras that ``mctrack calibrate people`` finds are off, on scenes whose true calibration is known.

    python eval/calibrate_site.py SCENE [SCENE …]              # from the scenes' true boxes
    python eval/calibrate_site.py SCENE --run RUN              # from what a run of it found

SCENE is a folder that ``mctrack synth scene`` wrote. Every floor spot within 0.3 m of where somebody walked, on a grid
of 0.25 m, that a camera sees is projected into its picture by the true camera and back onto the floor by the one found.
A calibration made from people has a floor of its own: it is laid on the true one by the best turn and shift (no scale),
all cameras of a floor together. Printed are the distances, in metres, per floor and per camera.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mctrack.geometry.site import Site, load_site

ROOT = Path(__file__).resolve().parents[1]
Array = NDArray[np.float64]
GRID_M, NEAR_M = 0.25, 0.3


def spots(scene: Path) -> Array:
    """(n, 2) places on the floor where people walked."""
    with (scene / "ground_truth_ground.csv").open(encoding="utf-8") as file:
        walked = np.array([[float(row["x_m"]), float(row["y_m"])] for row in csv.DictReader(file)])
    low, high = walked.min(axis=0), walked.max(axis=0)
    axes = (np.arange(low[k], high[k] + GRID_M, GRID_M) for k in (0, 1))
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    return grid[[bool((np.linalg.norm(walked - spot, axis=1) < NEAR_M).any()) for spot in grid]]


def errors(true: Site, found: Site, floor: Array) -> dict[str, Array]:
    """Camera → (n,) metres between the true places and those found, after laying the found floor on the true one."""
    there, here, camera = [], [], []
    for name, one in found.cameras.items():
        width, height = true.sizes[name]
        pixels = true.cameras[name].to_image(np.column_stack([floor, np.zeros(len(floor))]))
        seen = ((pixels >= 0) & (pixels < [width, height])).all(axis=1)
        seen[seen] &= np.linalg.norm(true.cameras[name].to_ground(pixels[seen]) - floor[seen], axis=1) < 0.01
        back = one.to_ground(pixels[seen])
        good = np.isfinite(back).all(axis=1)
        there.append(floor[seen][good])
        here.append(back[good])
        camera += [name] * int(good.sum())
    target, source, names = np.concatenate(there), np.concatenate(here), np.array(camera)
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    u, _, v = np.linalg.svd(a.T @ b)
    off = np.linalg.norm(a @ u @ np.diag([1.0, float(np.sign(np.linalg.det(u @ v)))]) @ v - b, axis=1)
    return {name: off[names == name] for name in found.cameras}


def main() -> None:
    """Calibrate and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", nargs="+", type=Path)
    parser.add_argument("--run", type=Path, help="a run of the (one) scene; default: the true boxes")
    args = parser.parse_args()
    for scene in args.scene:
        stored = json.loads((scene / "calibration.json").read_text(encoding="utf-8"))["cameras"]
        sizes = {name: (int(c["image_size"][0]), int(c["image_size"][1])) for name, c in stored.items()}
        true, floor = load_site(scene / "calibration.json", sizes), spots(scene)
        with tempfile.TemporaryDirectory() as folder:
            source = [str(args.run)] if args.run else [str(scene), "--truth"]
            command = [sys.executable, "-m", "mctrack", "calibrate", "people", *source, "--out", folder]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr.strip())
            for file in sorted(Path(folder).glob("*.json")):
                off = errors(true, load_site(file, sizes), floor)
                whole = np.concatenate(list(off.values()))
                each = ", ".join(f"{name} {np.median(one):.3f}" for name, one in off.items())
                print(f"{scene.name}: median {np.median(whole):.3f} m, 90 % within "
                      f"{np.percentile(whole, 90):.3f} m ({each})")


if __name__ == "__main__":
    main()

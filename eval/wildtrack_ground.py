"""Fusion of 7 real cameras on WILDTRACK's detections: MODA and MODP at 0.5 m, also with a camera off by 30 cm.

    python eval/wildtrack_ground.py --data DIR [--shift 0.3] [--json FILE]

DIR holds ``detections_7cams_40frames.json``, ``metainfo_homographies.json`` and ``gt_positions_last40.txt``. Frames are
taken in order, each once; what is learned about the cameras' alignment comes from earlier frames and the frame itself.
``naive`` is average linkage (SciPy) of foot points cut at 0.5 m and clusters of two sightings or more, without cameras.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment

from mctrack.associate.alignment import Alignment, differences
from mctrack.associate.ground import Places, existence, fused, group
from mctrack.geometry.cameras import FloorMap
from mctrack.geometry.checks import floor_map
from mctrack.geometry.foot import stand

Array = NDArray[np.float64]
SIZE = (1920, 1080)
AREA_M = ((-3.0, 9.0), (-9.0, 27.0))
UNSEEN_DENSITY = 0.05
RADIUS_M = 0.5
FIRST_ROUNDS = 3
"""Times that a frame is gone through again while nothing is known of the cameras yet."""


@dataclass(frozen=True, eq=False)
class Moment:
    """One frame: boxes (n, 4), their cameras (n,), and the true places (m, 2) in metres."""

    xyxy: Array
    camera: NDArray[np.int64]
    truth: Array


def load(folder: Path) -> tuple[list[Moment], list[Array]]:
    """All frames, and the homographies ground (cm) → image."""
    found = json.loads((folder / "detections_7cams_40frames.json").read_text())
    homographies = json.loads((folder / "metainfo_homographies.json").read_text())["sequence1"]["homography"]
    truth = np.loadtxt(folder / "gt_positions_last40.txt")
    moments = []
    for key in sorted(found, key=int):
        table = np.array(found[key], float)
        at = truth[truth[:, 0] == int(key) * 5]
        moments.append(Moment(
            np.column_stack([table[:, :2], table[:, :2] + table[:, 2:4]]), table[:, 5].astype(np.int64),
            np.column_stack([-3.0 + 0.025 * at[:, 1], -9.0 + 0.025 * at[:, 2]]),
        ))  # fmt: skip
    return moments, [np.array(h) for h in homographies]


def cameras(homographies: list[Array], off: int = -1, shift_m: tuple[float, float] = (0.0, 0.0)) -> list[FloorMap]:
    """The cameras, one of them (``off``) with its floor shifted by (x, y) metres."""
    out = []
    for k, h in enumerate(homographies):
        move = np.eye(3)
        move[:2, 2] = np.array(shift_m) * 100 if k == off else 0.0
        out.append(floor_map(h @ np.linalg.inv(move), "ground_to_image", SIZE, 0.01))
    return out


def inside(xy: Array) -> NDArray[np.bool_]:
    """(n,) whether places lie in the annotated area."""
    (x0, x1), (y0, y1) = AREA_M
    return (xy[:, 0] >= x0) & (xy[:, 0] <= x1) & (xy[:, 1] >= y0) & (xy[:, 1] <= y1)


def sightings(moment: Moment, cams: list[FloorMap]) -> tuple[Places, NDArray[np.int64]]:
    """Where the boxes stand."""
    xy, cov = np.full((len(moment.camera), 2), np.nan), np.zeros((len(moment.camera), 2, 2))
    for c, camera in enumerate(cams):
        mine = moment.camera == c
        found = stand(camera, moment.xyxy[mine], SIZE)
        xy[mine], cov[mine] = found.xy, found.cov
    good = np.isfinite(xy).all(axis=1) & inside(np.nan_to_num(xy, nan=1e9))
    return Places(xy[good], cov[good]), moment.camera[good]


def watchers(xy: Array, cams: list[FloorMap]) -> NDArray[np.int64]:
    """(n,) how many cameras have each place in their picture."""
    points = np.column_stack([xy, np.zeros(len(xy))])
    seen = [camera.to_image(points) for camera in cams]
    return np.sum([(np.nan_to_num(p, nan=-1.0) >= 0).all(axis=1) & (np.nan_to_num(p) < SIZE).all(axis=1)
                   for p in seen], axis=0)  # fmt: skip


def ours(moments: list[Moment], cams: list[FloorMap], align: bool = True) -> Iterator[Array]:
    """People's places in every frame."""
    alignment = Alignment(len(cams))
    for moment in moments:
        raw, camera = sightings(moment, cams)
        for turn in range(FIRST_ROUNDS if align and not alignment.settled else 1):
            places = Places(raw.xy + alignment.offset[camera], raw.cov)
            label = group(places, camera, UNSEEN_DENSITY)
            if align:
                row, others, var = differences(places, label, camera)
                if turn == 0:
                    alignment.observe(camera[row], raw.xy[row], others, var)
                alignment.update()
        people = fused(places, label)
        real = existence(np.bincount(label), watchers(people.xy, cams)) > 0
        yield people.xy[real & inside(people.xy)]


def naive(moments: list[Moment], cams: list[FloorMap]) -> Iterator[Array]:
    """Average linkage of foot points."""
    for moment in moments:
        places, _ = sightings(moment, cams)
        label = fcluster(linkage(places.xy, "average"), RADIUS_M, "distance")
        yield np.array([places.xy[label == k].mean(axis=0) for k in np.unique(label) if (label == k).sum() > 1])


def score(moments: list[Moment], results: Iterator[Array]) -> dict[str, float]:
    """MODA and MODP (Kasturi et al. 2009) with distances: most pairs within the radius, then the nearest."""
    hits = missed = false = 0
    distances: list[float] = []
    for moment, found in zip(moments, results, strict=True):
        way = np.linalg.norm(moment.truth[:, None] - found.reshape(-1, 2)[None], axis=2)
        rows, cols = linear_sum_assignment(np.where(way < RADIUS_M, way, 1e3))
        good = way[rows, cols] < RADIUS_M
        hits += int(good.sum())
        missed += len(moment.truth) - int(good.sum())
        false += len(found) - int(good.sum())
        distances += way[rows, cols][good].tolist()
    total = hits + missed
    return {"MODA": 1 - (missed + false) / total, "MODP": float(np.mean(1 - np.array(distances) / RADIUS_M)),
            "precision": hits / (hits + false), "recall": hits / total, "people": float(total)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--shift", type=float, default=0.3, help="metres that one camera's floor is off")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    moments, homographies = load(arguments.data)
    right = cameras(homographies)
    report = {"naive": score(moments, naive(moments, right)), "ours": score(moments, ours(moments, right)),
              "ours, nothing learned": score(moments, ours(moments, right, align=False))}
    for name, figures in report.items():
        print(f"{name}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))
    worst = {"MODA": 1.0, "MODP": 1.0, "MODA, nothing learned": 1.0}
    for camera in range(len(homographies)):
        for x, y in ((1, 0), (0, 1), (-1, 0), (0, -1)):
            cams = cameras(homographies, camera, (x * arguments.shift, y * arguments.shift))
            figures = score(moments, ours(moments, cams))
            blind = score(moments, ours(moments, cams, align=False))
            for key in ("MODA", "MODP"):
                worst[key] = min(worst[key], figures[key])
            worst["MODA, nothing learned"] = min(worst["MODA, nothing learned"], blind["MODA"])
    print(f"worst with one camera {arguments.shift:g} m off, 7 cameras × 4 directions: "
          + ", ".join(f"{k} {v:.3f}" for k, v in worst.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(report | {"off": worst}, indent=1) + "\n")


if __name__ == "__main__":
    main()

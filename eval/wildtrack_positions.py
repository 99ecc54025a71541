"""Positions on WILDTRACK's ground from the boxes of its seven cameras: the plainest fusion, frame by frame.

    python eval/wildtrack_positions.py --data DATA/wildtrack --out DIR
    mctrack eval --benchmark wildtrack --root DATA/wildtrack --results DIR --sequences last40

The foot of every box goes to the ground through its camera's homography; feet of different cameras closer than
``RADIUS_M`` are joined, the nearest groups first, each camera at most once in a group; a group seen by at least
``LEAST_CAMERAS`` is a person. No tracking, nothing learned, and nothing was chosen on these frames: the radius
is that of the protocol, and two cameras are the fewest that can confirm each other.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from mctrack.evaluation.ground import NO_ID, GroundTable
from mctrack.evaluation.positions import write_positions

RADIUS_M = 0.5
LEAST_CAMERAS = 2
AREA_M = ((-3.0, 9.0), (-9.0, 27.0))
FRAME_STEP = 5


def feet_on_ground(boxes: np.ndarray, ground_to_image: np.ndarray) -> np.ndarray:
    """(n, 2) metres of the feet (middle of the lower edge) of (n, 4) ``x, y, w, h`` boxes; the homography maps cm."""
    feet = np.column_stack([boxes[:, 0] + boxes[:, 2] / 2, boxes[:, 1] + boxes[:, 3], np.ones(len(boxes))])
    ground = feet @ np.linalg.inv(ground_to_image).T
    return ground[:, :2] / ground[:, 2:] / 100


def fuse(xy_m: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """(k, 2) positions of people from the (n, 2) feet of (n,) cameras in one frame."""
    groups = [[i] for i in range(len(xy_m))]
    while True:
        centres = np.array([xy_m[g].mean(axis=0) for g in groups]).reshape(-1, 2)
        distance = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1))
        seen = [set(camera[g].tolist()) for g in groups]
        for a in range(len(groups)):
            for b in range(len(groups)):
                if a >= b or seen[a] & seen[b]:
                    distance[a, b] = np.inf
        if not distance.size or distance.min() > RADIUS_M:
            break
        a, b = np.unravel_index(np.argmin(distance), distance.shape)
        groups[a] += groups.pop(int(b))
    found = [xy_m[g].mean(axis=0) for g in groups if len(g) >= LEAST_CAMERAS]
    return np.array(found).reshape(-1, 2)


def main() -> None:
    """Read boxes and homographies, write ``last40.txt``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    homographies = json.loads((args.data / "metainfo_homographies.json").read_text())["sequence1"]["homography"]
    frames = json.loads((args.data / "detections_7cams_40frames.json").read_text())
    rows: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    for key, boxes in sorted(frames.items(), key=lambda item: int(item[0])):
        table = np.array(boxes, float).reshape(-1, 6)
        camera = table[:, 5].astype(int)
        xy_m = np.zeros((len(table), 2))
        for c in np.unique(camera):
            xy_m[camera == c] = feet_on_ground(table[camera == c], np.array(homographies[c], float))
        inside = np.all([(xy_m[:, k] >= low) & (xy_m[:, k] <= high) for k, (low, high) in enumerate(AREA_M)], axis=0)
        found = fuse(xy_m[inside], camera[inside])
        rows.append(np.full(len(found), int(key) * FRAME_STEP))
        positions.append(found)
    frame, xy = np.concatenate(rows), np.concatenate(positions)
    write_positions(args.out / "last40.txt", GroundTable(frame, np.full(len(frame), NO_ID), xy))
    print(f"{args.out / 'last40.txt'}: {len(frame)} positions in {len(frames)} frames")


if __name__ == "__main__":
    main()

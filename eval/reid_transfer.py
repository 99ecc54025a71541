"""How embedders do on people who leave and return in the PETS 2009 S2.L1 clip, none of whom they were trained on.

    python eval/reid_transfer.py --data DIR --reid histogram path/to/osnet.onnx

Every 10th frame; scored ground-truth boxes that lie inside the frame and overlap no other. A query's gallery are
the crops at least 50 frames away. "returns" leaves out the query's own stay, so that only other stays of the same
person can be found; "all" keeps it. The interval is the 95% bootstrap over persons, of whom there are only ten.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_models import ReidError, load
from reid_models.evaluation import RetrievalScores, evaluate_masked

VIDEO_SCALE = 0.625
EVERY = 10
APART = 50


@dataclass(frozen=True)
class Crops:
    """n crops: pictures, frame (n,), stay (n,) as the original truth numbers people, person (n,) across stays."""

    images: list[NDArray[np.uint8]]
    frame: NDArray[np.int64]
    stay: NDArray[np.int64]
    person: NDArray[np.int64]


def read_frames(video: Path, every: int, first: int = 1) -> dict[int, NDArray[np.uint8]]:
    """1-based number → (h, w, 3) BGR of every ``every``-th frame."""
    import av

    with av.open(str(video)) as container:
        return {i: frame.to_ndarray(format="bgr24") for i, frame in enumerate(container.decode(video=0), 1)
                if i >= first and (i - first) % every == 0}


def alone(xyxy: NDArray[Any], width: int, height: int) -> NDArray[np.bool_]:
    """(n,) whether a box lies inside the picture and overlaps none of the others."""
    low, high = np.maximum(xyxy[:, None, :2], xyxy[None, :, :2]), np.minimum(xyxy[:, None, 2:], xyxy[None, :, 2:])
    overlap = (high > low).all(axis=2)
    inside = (xyxy[:, :2] >= 0).all(axis=1) & (xyxy[:, 2] <= width) & (xyxy[:, 3] <= height)
    return inside & (overlap.sum(axis=1) == 1)


def pets_crops(folder: Path) -> Crops:
    """The crops of the protocol."""
    truth = np.loadtxt(folder / "gt.txt", delimiter=",")
    person = np.loadtxt(folder / "gt_reentry.txt", delimiter=",")[:, 1]
    images, rows = [], []
    for number, image in read_frames(folder / "vtest.avi", EVERY, EVERY).items():
        here = np.flatnonzero((truth[:, 0] == number) & (truth[:, 6] != 0))
        tlwh = truth[here, 2:6] - [1, 1, 0, 0]  # MOTChallenge counts pixels from 1
        xyxy = np.concatenate([tlwh[:, :2], tlwh[:, :2] + tlwh[:, 2:]], axis=1) * VIDEO_SCALE
        for k in np.flatnonzero(alone(xyxy, image.shape[1], image.shape[0])):
            x1, y1, x2, y2 = np.rint(xyxy[k]).astype(int)
            images.append(np.ascontiguousarray(image[y1:y2, x1:x2]))
            rows.append((number, truth[here[k], 1], person[here[k]]))
    frame, stay, who = np.array(rows, np.int64).T
    return Crops(images, frame, stay, who)


def score(features: NDArray[np.float32], crops: Crops) -> tuple[RetrievalScores, RetrievalScores]:
    """Scores on returns, and on all crops far enough away."""
    distmat = 1 - features @ features.T
    far = np.abs(crops.frame[:, None] - crops.frame) >= APART
    match = crops.person[:, None] == crops.person
    other_stay = crops.stay[:, None] != crops.stay
    return evaluate_masked(distmat, match, far & other_stay), evaluate_masked(distmat, match, far)


def interval(scores: RetrievalScores, person: NDArray[np.int64], draws: int = 2000) -> tuple[float, float]:
    """95% interval of rank-1 when the persons among the queries are drawn anew, with replacement."""
    hit, group = scores.first_rank == 1, person[scores.query]
    people = np.unique(group)
    hits, counts = np.array([(hit[group == p].sum(), (group == p).sum()) for p in people]).T
    drawn = np.random.default_rng(0).integers(0, len(people), (draws, len(people)))
    low, high = np.quantile(hits[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def crops_per_second(embedder: Any, images: list[NDArray[np.uint8]]) -> float:
    """Crops embedded per second of CPU time of this process, all its threads counted."""
    batch = (images * 8)[: 1500 if embedder.name == "histogram" else 100]
    embedder.embed(batch[:32])
    start = time.process_time()
    embedder.embed(batch)
    return len(batch) / (time.process_time() - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds pets09_s2l1/")
    parser.add_argument("--reid", nargs="+", default=["histogram"], help="names or .onnx files")
    args = parser.parse_args()
    folder = args.data / "pets09_s2l1" if (args.data / "pets09_s2l1").is_dir() else args.data
    crops = pets_crops(folder)
    print("| embedder | dim | returns: rank-1 [95%] | mAP | all: rank-1 | mAP | crops/s (1 core) |")
    print("|---|---|---|---|---|---|---|")
    for name in args.reid:
        embedder = load(name, "cpu")
        features = embedder.embed(crops.images)
        returns, everything = score(features, crops)
        low, high = interval(returns, crops.person)
        print(f"| {embedder.name} | {embedder.dim} | {returns.rank1:.3f} [{low:.2f}, {high:.2f}] "
              f"| {returns.mean_average_precision:.3f} | {everything.rank1:.3f} "
              f"| {everything.mean_average_precision:.3f} | {crops_per_second(embedder, crops.images):,.0f} |")
    print(f"{len(crops.images)} crops of {len(np.unique(crops.person))} people; "
          f"{len(returns.query)} queries on returns, {len(everything.query)} on all")


if __name__ == "__main__":
    try:
        main()
    except (ReidError, OSError) as error:
        raise SystemExit(f"reid_transfer: {error}") from None

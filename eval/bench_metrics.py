"""Speed of the fast engine beside trackeval and motmetrics, on the same boxes, in one run.

    python eval/bench_metrics.py [--boxes 50000] [--people 50] [--repeat 3]

``fast`` starts from boxes (overlaps included) and computes CLEAR, ID and HOTA; ``trackeval`` gets its similarity
matrices ready-made; ``motmetrics`` gets the overlaps and computes CLEAR and ID only. All run on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from mctrack.evaluation.preprocess import scored_overlaps
from mctrack.evaluation.score import figures, sequence_counts
from mctrack.evaluation.table import BoxTable, Overlaps
from mctrack.evaluation.through_motmetrics import motmetrics_counts


def scene(boxes: int, people: int, rng: np.random.Generator) -> tuple[BoxTable, BoxTable]:
    """Walkers in a 1920×1080 picture, new ones every 400 frames; results with noise, 10% misses, 5% false boxes."""
    frames = boxes // people
    height = rng.uniform(80, 250, people)
    start, speed = rng.uniform((0, 300), (1920, 1080), (people, 2)), rng.normal(0, 3, (people, 2))
    time_ = np.arange(frames)[:, None, None]
    foot = (start + speed * time_) % (1920, 1080)
    half = height * 0.2
    sides = [foot[..., 0] - half, foot[..., 1] - height, foot[..., 0] + half, foot[..., 1]]
    xyxy = np.stack(sides, axis=2).reshape(-1, 4)
    frame = np.repeat(np.arange(frames), people) + 1
    identity = np.tile(np.arange(people), frames) + people * (frame // 400)
    seen = rng.random(len(frame)) > 0.1
    named = identity + 100_000 * (rng.random(len(frame)) < 0.01)
    false = rng.choice(len(frame), len(frame) // 20, replace=False)
    stray = xyxy[false] + rng.normal(0, 300, (len(false), 2))[:, [0, 1, 0, 1]]
    return BoxTable.of(frame, identity, xyxy), BoxTable.of(
        np.concatenate([frame[seen], frame[false]]),
        np.concatenate([named[seen], identity[false] + 200_000]),
        np.concatenate([xyxy[seen] + rng.normal(0, 6, (int(seen.sum()), 4)), stray]),
    )


def trackeval_data(overlaps: Overlaps) -> dict[str, Any]:
    """What trackeval's metrics take: identities and dense similarity matrices per frame."""
    gt_id = np.unique(overlaps.gt_id, return_inverse=True)[1]
    result_id = np.unique(overlaps.result_id, return_inverse=True)[1]
    frames = range(len(overlaps.frames))
    starts = (overlaps.gt_start, overlaps.result_start, overlaps.pair_start)
    gt, result, pair = ([slice(*ends) for ends in pairwise(start)] for start in starts)
    similarity = []
    for f in frames:
        matrix = np.zeros((gt[f].stop - gt[f].start, result[f].stop - result[f].start))
        rows, cols = overlaps.row[pair[f]] - gt[f].start, overlaps.col[pair[f]] - result[f].start
        matrix[rows, cols] = overlaps.iou[pair[f]]
        similarity.append(matrix)
    return {
        "gt_ids": [gt_id[gt[f]] for f in frames],
        "tracker_ids": [result_id[result[f]] for f in frames],
        "similarity_scores": similarity,
        "num_gt_dets": len(gt_id),
        "num_tracker_dets": len(result_id),
        "num_gt_ids": int(gt_id.max()) + 1,
        "num_tracker_ids": int(result_id.max()) + 1,
        "num_timesteps": len(overlaps.frames),
        "seq": "bench",
    }


def best_of(repeat: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """Shortest time in seconds, and the last result."""
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begin)
    return min(times), result


def main() -> None:
    """Run all three and print times, ratios and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--boxes", type=int, default=50_000)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    import trackeval

    gt, result = scene(options.boxes, options.people, np.random.default_rng(0))
    overlaps = scored_overlaps(gt, result)
    data = trackeval_data(overlaps)
    quiet = {"PRINT_CONFIG": False}
    metrics = [trackeval.metrics.CLEAR(quiet), trackeval.metrics.Identity(quiet), trackeval.metrics.HOTA()]
    fast, mine = best_of(options.repeat, lambda: figures(sequence_counts(scored_overlaps(gt, result))))
    kit, theirs = best_of(options.repeat, lambda: [m.eval_sequence(data) for m in metrics])
    plain, _ = best_of(1, lambda: motmetrics_counts(overlaps, rules="motmetrics"))
    print(f"{len(gt)} ground-truth and {len(result)} result boxes, {options.people} people a frame")
    print(f"fast engine (from boxes, CLEAR + ID + HOTA)     {fast:6.3f} s")
    print(f"trackeval (matrices given, CLEAR + ID + HOTA)   {kit:6.3f} s   {kit / fast:5.1f} x")
    print(f"motmetrics (overlaps given, CLEAR + ID)         {plain:6.3f} s   {plain / fast:5.1f} x")
    flat = {k: float(np.mean(v)) for part in theirs for k, v in part.items()}
    worst = max(abs(mine[k] - flat[k]) for k in ("HOTA", "AssA", "DetA", "LocA", "MOTA", "MOTP", "IDF1", "IDSW"))
    print(f"largest difference between the first two        {worst:.1e}")


if __name__ == "__main__":
    main()

"""The motmetrics engine equals the fast one, without a warning; and where motmetrics' own rules differ."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from mctrack.evaluation.benchmark import load_benchmark
from mctrack.evaluation.evaluate import evaluate
from mctrack.evaluation.preprocess import scored_overlaps
from mctrack.evaluation.score import sequence_counts
from mctrack.evaluation.table import BoxTable, Overlaps
from mctrack.evaluation.through_motmetrics import motmetrics_counts


def crowd(rng: np.random.Generator, frames: int = 50, n: int = 10) -> Overlaps:
    """Crossing walkers with misses, false boxes, changed names and pauses."""
    start, speed = rng.uniform(0, 200, (n, 2)), rng.normal(0, 4, (n, 2))
    gt, found, names = [], [], np.arange(n)
    for frame in range(1, frames + 1):
        if frame % 11 == 0:
            rng.shuffle(names)
        for i in range(n):
            corner = start[i] + speed[i] * frame
            box = np.concatenate([corner, corner + np.array([40, 80])])
            if rng.random() < 0.9 and frame % 13:
                gt.append((frame, i, *box))
            if rng.random() < 0.8 and frame % 17:
                found.append((frame, names[i], *(box + rng.normal(0, 5, 4))))
    a, b = np.array(gt), np.array(found)
    return scored_overlaps(BoxTable.of(a[:, 0], a[:, 1], a[:, 2:]), BoxTable.of(b[:, 0], b[:, 1], b[:, 2:]))


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_fast_engine(seed: int) -> None:
    overlaps = crowd(np.random.default_rng(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theirs = motmetrics_counts(overlaps)
    mine = sequence_counts(overlaps)
    assert mine["IDSW"] > 0
    assert mine["Frag"] > 0
    assert theirs == pytest.approx({key: mine[key] for key in theirs}, abs=1e-6)


@pytest.mark.parametrize("empty", ["truth", "results", "both"])
@pytest.mark.parametrize("rules", ["official", "motmetrics"])
def test_empty_sides(empty: str, rules: str) -> None:
    some = BoxTable.of([1, 2], [1, 1], np.array([[0, 0, 9, 9]] * 2, float))
    gt = BoxTable.empty() if empty != "results" else some
    result = BoxTable.empty() if empty != "truth" else some
    overlaps = scored_overlaps(gt, result)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theirs = motmetrics_counts(overlaps, rules=rules)
    mine = sequence_counts(overlaps)
    assert theirs == {key: mine[key] for key in theirs}


def test_own_rules_carry_pairs_over_gaps() -> None:
    """Missed in one frame: motmetrics keeps the old pair, the kit takes the better box and counts a switch."""
    box, worse, far = [0, 0, 10, 10], [0, 0, 10, 6], [90, 0, 99, 9]
    gt = BoxTable.of([1, 2, 3], [1, 1, 1], np.array([box] * 3, float))
    result = BoxTable.of([1, 2, 3, 3], [5, 9, 5, 6], np.array([box, far, worse, box], float))
    overlaps = scored_overlaps(gt, result)
    assert motmetrics_counts(overlaps)["IDSW"] == 1
    assert motmetrics_counts(overlaps, rules="motmetrics")["IDSW"] == 0


@pytest.mark.data
def test_engines_agree_on_real_results(data_dir: Path) -> None:
    benchmark = load_benchmark("mot15")
    folders = data_dir / "mot15", data_dir / "mot15_results_cem"
    names = ("ETH-Bahnhof", "ETH-Sunnyday", "KITTI-17")
    through, fast = (evaluate(benchmark, *folders, sequences=names, engine=e) for e in ("motmetrics", "fast"))
    assert through.complete
    assert through.combined.pop("curves") == fast.combined.pop("curves")
    assert through.combined == pytest.approx(fast.combined, abs=1e-9)

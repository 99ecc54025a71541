"""Cost of one look back: grouping all remembered tracklets anew while a run goes on.

    python eval/bench_hindsight.py [--tracklets 50 100 200] [--dim 512] [--json FILE]

Tracklets of 4 cameras, four a person, a minute in all, with 4 % of wrong names; nothing is known of the floor. Times
are this thread's CPU time per call, median of ``--rounds``. The baseline, on the same mean looks, is average linkage
alone (SciPy), which knows neither who met whom nor how long people take between cameras, and moves nobody.
``accuracy`` is the share of tracklets with their person's name (one name a person, one person a name): before, after,
and by the baseline.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before NumPy is imported, or it has no effect

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment

from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.hindsight import Hindsight, look_back
from mctrack.associate.identities import IdentityBook
from mctrack.associate.transitions import Transitions

CAMERAS = ("a", "b", "c", "d")
VIEW, NOISE, CROPS, WRONG = 0.6, 0.6, 6, 0.04
"""How much a camera's view and each single crop add to a look, in lengths of what is the person's own."""
EVEN = 0.6
"""Cosine distance of means at which two tracklets are as likely of one person as of two."""


def probability(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a distance says before the scene has taught anything."""
    return 1 / (1 + np.exp((np.asarray(distance, float) - EVEN) * 20))


def crowded(tracklets: int, dim: int, seed: int) -> tuple[IdentityBook, NDArray[np.int64]]:
    """A book of that many named tracklets, and (n,) who each of them is."""
    rng = np.random.default_rng(seed)
    people = max(tracklets // len(CAMERAS), 1)
    person = np.arange(tracklets) % people
    face = rng.normal(size=(people, dim)) / dim**0.5
    book = IdentityBook(CAMERAS, 16, 100)
    for _ in range(people):
        book.create()
    box = np.array([[0.0, 0.0, 40.0, 100.0]])
    for i in range(tracklets):
        camera, begin_s = CAMERAS[i // people % len(CAMERAS)], 15.0 * (i // people % len(CAMERAS)) + rng.uniform(0, 2)
        track = np.array([i + 1])
        (row,) = book.see(camera, track, begin_s, box).tolist()
        book.see(camera, track, begin_s + 10, box)
        book.table.confirmed[row] = True
        view = face[person[i]] + VIEW * rng.normal(size=dim) / dim**0.5
        for _ in range(CROPS):
            look = view + NOISE * rng.normal(size=dim) / dim**0.5
            book.table.looks[row].add((look / np.linalg.norm(look)).astype(np.float32), 1.0)
        book.table.samples[row] = CROPS
        name = int(rng.integers(people)) if rng.random() < WRONG else int(person[i])
        book.assign(row, name + 1)
    return book, person


def accuracy(names: NDArray[np.int64], person: NDArray[np.int64]) -> float:
    """Share of tracklets with their person's name, where each person has one name and each name one person."""
    together = np.zeros((person.max() + 1, names.max() + 1))
    np.add.at(together, (person, names), 1)
    return float(together[linear_sum_assignment(together, maximize=True)].sum() / len(person))


def milliseconds(job: Callable[[], Any], rounds: int) -> float:
    """Median CPU time of a call, in milliseconds; the first one is not counted."""
    spent = []
    for _ in range(rounds + 1):
        begin = time.thread_time()
        job()
        spent.append(1000 * (time.thread_time() - begin))
    return float(np.median(spent[1:]))


def measure(tracklets: int, dim: int, rounds: int) -> dict[str, float]:
    """One row of the table."""
    book, person = crowded(tracklets, dim, tracklets)
    looks = np.stack([book.table.looks[row].mean() for row in range(tracklets)])

    def back() -> Hindsight:
        return look_back(book, SceneCalibration(probability), Transitions({}, CAMERAS), lambda rows: None)

    def naive() -> NDArray[np.int64]:
        return fcluster(linkage(looks, "average", "cosine"), EVEN, "distance").astype(np.int64)

    before = book.table.global_id[:tracklets].copy()
    after = before.copy()
    for move in back().moves:
        after[move.row] = move.global_id
    ours, theirs = milliseconds(back, rounds), milliseconds(naive, rounds)
    return {"ms": ours, "baseline ms": theirs, "x baseline": ours / theirs, "accuracy before": accuracy(before, person),
            "accuracy": accuracy(after, person), "baseline accuracy": accuracy(naive(), person)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracklets", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report = {str(n): measure(n, options.dim, options.rounds) for n in options.tracklets}
    for n, row in report.items():
        print(f"{n} tracklets: " + ", ".join(f"{key} {value:.3g}" for key, value in row.items()))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

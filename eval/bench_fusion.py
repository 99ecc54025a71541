"""Cost of fusing many cameras' sightings on the floor, per instant.

    python eval/bench_fusion.py [--cameras 8] [--people 50] [--seconds 30] [--hour] [--json FILE]

People walk about in 20 × 20 m at 10 Hz; each is seen by every camera with probability 0.8 and 10 cm of noise. Times are
this thread's CPU time; the first second is not timed. ``memory`` is :class:`Floor`, everything it remembers included;
``group`` is the joint solution of single instants without memory. The baseline, on the same sightings, is what the
name says: average linkage of all sightings (SciPy) and, to keep two sightings of one camera apart, a plain loop that
splits clusters. ``--hour`` follows 20 people by 4 cameras for an hour and prints how much memory is held at the end.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before NumPy is imported, or it has no effect

import argparse
import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from mctrack.associate.floor import Floor, Sightings
from mctrack.associate.ground import Places, group

Array = NDArray[np.float64]
STEP_S, ROOM_M, NOISE_M, SEEN = 0.1, 20.0, 0.1, 0.8


class Crowd:
    """People who walk straight on and turn at the walls; they are seen under a new track ID every 20 s or so."""

    def __init__(self, cameras: int, people: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.cameras, self.people = cameras, people
        self.xy = self.rng.uniform(0, ROOM_M, (people, 2))
        self.speed = self.rng.normal(0, 1.0, (people, 2))
        self.track = np.arange(cameras * people).reshape(cameras, people)

    def step(self) -> Sightings:
        """One instant."""
        self.xy = self.xy + self.speed * STEP_S
        self.speed = np.where((self.xy < 0) | (self.xy > ROOM_M), -self.speed, self.speed)
        change = self.rng.random(self.track.shape) < STEP_S / 20
        self.track = np.where(change, self.track + self.cameras * self.people, self.track)
        camera, person = np.nonzero(self.rng.random(self.track.shape) < SEEN)
        xy = self.xy[person] + self.rng.normal(0, NOISE_M, (len(person), 2))
        cov = np.broadcast_to(NOISE_M**2 * np.eye(2), (len(person), 2, 2)).copy()
        return Sightings(camera.astype(np.int64), self.track[camera, person], Places(xy, cov))


def average_linkage(seen: Sightings) -> NDArray[np.int64]:
    """The naive baseline."""
    label = fcluster(linkage(seen.places.xy, "average"), 0.5, "distance").astype(np.int64)
    following = int(label.max()) + 1
    for k in np.unique(label).tolist():
        taken: set[int] = set()
        for i in np.flatnonzero(label == k).tolist():
            if int(seen.camera[i]) in taken:
                label[i] = following
                following += 1
            taken.add(int(seen.camera[i]))
    return label


def milliseconds(jobs: dict[str, Callable[[Sightings], Any]], crowd: Crowd, steps: int) -> dict[str, dict[str, float]]:
    """CPU milliseconds per instant of every job on the same sightings."""
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    for k in range(steps):
        seen = crowd.step()
        for name, job in jobs.items():
            begin = time.thread_time()
            job(seen)
            if k >= 10:
                spent[name].append(1000 * (time.thread_time() - begin))
    return {name: {"quartile": float(np.percentile(v, 25)), "median": float(np.median(v)),
                   "p99": float(np.percentile(v, 99))} for name, v in spent.items()}  # fmt: skip


def hour() -> dict[str, float]:
    """What is held after ten minutes and after an hour: size of the pickled state in kB, tracks and presences."""
    crowd, floor, out = Crowd(4, 20, 1), Floor(4), {}
    for k in range(36_000):
        floor.update(k * STEP_S, crowd.step())
        if k + 1 in (6_000, 36_000):
            out[f"kB after {(k + 1) // 600} min"] = len(pickle.dumps(floor.state())) / 1e3
    return out | {"presences": float(len(floor.ids)), "tracks": float(sum(map(len, floor.members().values())))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--hour", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    floor, clock = Floor(arguments.cameras), iter(range(10**9))
    jobs: dict[str, Callable[[Sightings], Any]] = {
        "memory": lambda seen: floor.update(next(clock) * STEP_S, seen),
        "group": lambda seen: group(seen.places, seen.camera, floor.unseen_density),
        "average linkage": average_linkage,
    }
    crowd = Crowd(arguments.cameras, arguments.people)
    report: dict[str, Any] = milliseconds(jobs, crowd, round(arguments.seconds / STEP_S))
    for name, figures in report.items():
        ratio = report["average linkage"]["median"] / figures["median"]
        print(f"{name}: " + ", ".join(f"{k} {v:.2f} ms" for k, v in figures.items()) + f"; baseline × {ratio:.2f}")
    print(f"{len(floor.ids)} presences for {arguments.people} people")
    if arguments.hour:
        report["hour"] = hour()
        print(report["hour"])
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

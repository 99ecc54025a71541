"""Speed of one camera's tracker per frame, and how much faster it is than one filterpy object per track.

    python eval/bench_association.py [--objects 10 50 100 200 500] [--steps 300] [--json FILE]

Motion only. Boxes 50 to 110 px high walk through a 1920 × 1080 picture at 30 frames per second and turn at its edges;
of every frame's boxes 5% are missing, 10% have a low score (0.1 to 0.5), and 2% more are false. The first 30 steps are
not timed. One thread; times are this thread's CPU time (``time.thread_time``), so that other work on the machine
counts as little as it can: the first quartile is what a quiet core gives, the median includes what it suffers here.

The baselines are the same ``CameraTracker``, with the same batched gates, costs, passes and assignment, on one
``filterpy.kalman.KalmanFilter`` (8 states, 4 measurements) per track, made once and kept, on which ``predict()`` and
``update()`` are called (:class:`PerTrackFilterpy`):

- "per track": every track computes its own F and Q for the time that passed, as self-contained objects do.
- "shared F" (``motion="filterpy"``): F and the unit Q are computed once per step for all, the fastest use of filterpy.

All see the same frames in the same run, in turns of ``TURN`` frames.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before NumPy is imported, or it has no effect

import argparse
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mctrack.config import TrackConfig
from mctrack.track.camera_tracker import CameraTracker
from mctrack.track.filterpy_model import FilterpyMotion
from mctrack.track.kalman import transition
from mctrack.types import Detections

Array = NDArray[np.float64]
WIDTH_PX, HEIGHT_PX, FPS = 1920.0, 1080.0, 30.0
WARM_UP, TURN = 30, 10
TARGET_MS = {100: 1.0, 500: 6.0}
TARGET_RATIO = {100: 10.0}


@dataclass(frozen=True)
class Timing:
    """Milliseconds of CPU time per step for one number of objects.

    Attributes:
        objects: people in the picture. tracks: tracks followed, on average.
        minimum_ms, quartile_ms, median_ms: over all timed steps of the tracker.
        baselines: the same three of each baseline by name, and ``ratio``: its median over the tracker's.
    """

    objects: int
    tracks: float
    minimum_ms: float
    quartile_ms: float
    median_ms: float
    baselines: dict[str, dict[str, float]]


class PerTrackFilterpy(FilterpyMotion):
    """One kept filterpy object per track that fills its own F and Q in every step."""

    def predict(self, mean: Array, cov: Array, dt_s: float | Array) -> tuple[Array, Array]:
        """Move every track ahead by its own ``dt_s`` seconds, one after another."""
        low, high, model = range(4), range(4, 8), self._batched
        mean, cov = mean.copy(), cov.copy()
        for i, dt in enumerate(np.broadcast_to(np.asarray(dt_s, float), (len(mean),))):
            kalman = self._filter(i)
            kalman.x, kalman.P = mean[i], cov[i]
            reach, keep, noise = transition(dt, model.tau_s)
            kalman.F[low, high], kalman.F[high, high] = reach, keep
            height2 = max(mean[i, 3], 1.0) ** 2
            position, cross, velocity = height2 * model.accel * noise
            kalman.Q[low, low], kalman.Q[high, high] = position + height2 * model.walk * dt, velocity
            kalman.Q[low, high] = kalman.Q[high, low] = cross
            kalman.predict()
            mean[i], cov[i] = kalman.x, kalman.P
        np.maximum(mean[:, 2:4], 1.0, out=mean[:, 2:4])
        return mean, cov


BASELINES = {"per track": f"{__name__}:PerTrackFilterpy", "shared F": "filterpy"}


def moving_boxes(objects: int, steps: int, rng: np.random.Generator) -> Iterator[Detections]:
    """Detections of ``steps`` frames, as the module's text describes them."""
    height = rng.uniform(50, 110, objects)
    size = np.stack([0.4 * height, height], axis=1)
    limit = np.array([WIDTH_PX, HEIGHT_PX]) - size
    corner = rng.uniform(0, 1, (objects, 2)) * limit
    speed = rng.normal(0, 0.5, (objects, 2)) * height[:, None] / FPS
    for _ in range(steps):
        corner = corner + speed
        speed = np.where((corner < 0) | (corner > limit), -speed, speed)
        corner = np.clip(corner, 0, limit)
        jitter = rng.normal(0, 0.02, (objects, 4)) * height[:, None]
        xyxy = np.concatenate([corner, corner + size], axis=1) + jitter
        score = np.where(rng.random(objects) < 0.1, rng.uniform(0.1, 0.5, objects), rng.uniform(0.8, 1, objects))
        seen = rng.random(objects) >= 0.05
        false = rng.binomial(objects, 0.02)
        stray = rng.uniform(0, 1, (false, 2)) * (WIDTH_PX - 50, HEIGHT_PX - 110)
        tall = rng.uniform(50, 110, (false, 1))
        yield Detections(
            np.concatenate([xyxy[seen], np.concatenate([stray, stray + tall * (0.4, 1.0)], axis=1)]),
            np.concatenate([score[seen], rng.uniform(0.1, 1, false)]),
        )


def _turn(tracker: CameraTracker, frames: list[Detections], first: int, milliseconds: list[float]) -> int:
    """Run the tracker over some frames, adding each step's time; returns the number of tracks after them."""
    tracks = 0
    for i, detections in enumerate(frames, first):
        begin = time.thread_time()
        result = tracker.update(detections, i / FPS)
        milliseconds.append(1e3 * (time.thread_time() - begin))
        tracks = len(result)
    return tracks


def measure(objects: int, steps: int, baseline: bool, seed: int = 0) -> Timing:
    """Time the tracker and, if asked, the baselines (on a third of the frames)."""
    frames = list(moving_boxes(objects, WARM_UP + steps, np.random.default_rng(seed)))
    ours = CameraTracker(TrackConfig())
    others = {name: CameraTracker(TrackConfig(motion=model)) for name, model in BASELINES.items()} if baseline else {}
    times: dict[str, list[float]] = {name: [] for name in ["ours", *others]}
    followed: list[int] = []
    for first in range(0, len(frames), TURN):
        part = frames[first : first + TURN]
        followed.append(_turn(ours, part, first, times["ours"]))
        if first < WARM_UP + max(steps // 3, 2 * TURN):
            for name, tracker in others.items():
                _turn(tracker, part, first, times[name])
    mine = _summary(times.pop("ours"))
    baselines = {}
    for name, milliseconds in times.items():
        baselines[name] = _summary(milliseconds)
        baselines[name]["ratio"] = baselines[name]["median_ms"] / mine["median_ms"]
    return Timing(objects, float(np.mean(followed[WARM_UP // TURN :])), **mine, baselines=baselines)


def _summary(milliseconds: list[float]) -> dict[str, float]:
    times: Array = np.array(milliseconds[WARM_UP:])
    quartile = float(np.quantile(times, 0.25))
    return {"minimum_ms": float(times.min()), "quartile_ms": quartile, "median_ms": float(np.median(times))}


def _line(t: Timing) -> str:
    text = f"{t.objects:7d} {t.tracks:7.0f} {t.minimum_ms:9.3f} {t.quartile_ms:9.3f} {t.median_ms:9.3f}"
    for base in t.baselines.values():
        text += f" {base['median_ms']:11.2f} {base['ratio']:6.1f} x"
    limit, ratio = TARGET_MS.get(t.objects), TARGET_RATIO.get(t.objects)
    wanted = [f"median ≤ {limit:g} ms"] if limit else []
    wanted += [f"per track ≥ {ratio:g} x"] if ratio and t.baselines else []
    return text + ("   wanted: " + ", ".join(wanted) if wanted else "")


def main() -> None:
    """Measure, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objects", type=int, nargs="+", default=[10, 50, 100, 200, 500])
    parser.add_argument("--steps", type=int, default=300, help="timed steps of the tracker; the baselines get a third")
    parser.add_argument("--no-baseline", action="store_true", help="time the tracker only")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well ('-': to the terminal)")
    options = parser.parse_args()
    results = []
    if options.json != "-":
        heads = "" if options.no_baseline else "".join(f"  {name + ' ms':>10}  ratio" for name in BASELINES)
        print(f"objects  tracks    min ms quart. ms median ms{heads}")
    for objects in options.objects:
        results.append(measure(objects, options.steps, not options.no_baseline))
        if options.json != "-":
            print(_line(results[-1]), flush=True)
    if options.json:
        text = json.dumps(
            {
                "what": "CPU ms per step, motion only, one thread",
                "baselines": "the same tracker on one filterpy KalmanFilter per track; see the text of this file",
                "machine": f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, "
                f"SciPy {version('scipy')}, filterpy {version('filterpy')}",
                "results": [asdict(r) for r in results],
            },
            indent=2,
        )
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

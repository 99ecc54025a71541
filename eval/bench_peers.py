"""Public trackers beside ours on the same detections: quality and time per frame in one table.

    python eval/bench_peers.py --root DATA/mot17 [--benchmark mot17] [--sequences A,B] [--markdown FILE]

Every tracker gets the same public detections (``det/det.txt`` of each sequence), boxes and scores only: motion, no
appearance, no pictures. Packages that are not installed are left out and named. Their code is run as it is installed;
nothing of it is part of mctrack, and nothing here depends on it (ultralytics and boxmot are AGPL-3.0, trackers is
Apache-2.0). "defaults" are a package's own settings; "0.5/0.1" sets the high and low thresholds that are usual on
MOT17, with new tracks from 0.6. Time is the tracker's own CPU time per frame on one thread; reading, writing and
scoring are not in it. Results of others score the same way: ``mctrack eval --results``.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before NumPy is imported, or it has no effect

os.environ["YOLO_AUTOINSTALL"] = "false"  # ultralytics would install what it misses

import argparse
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mctrack.config import DetectConfig, OutputConfig, TrackConfig
from mctrack.detect.file import FileDetector
from mctrack.evaluation.benchmark import Benchmark, find_sequences, load_benchmark
from mctrack.evaluation.motchallenge import read_ground_truth, read_seqinfo
from mctrack.evaluation.preprocess import scored_overlaps
from mctrack.evaluation.score import Counts, figures, pooled, sequence_counts
from mctrack.evaluation.table import BoxTable
from mctrack.sinks.schema import Boxes
from mctrack.sinks.tables import fill_gaps
from mctrack.track.camera_tracker import CameraTracker
from mctrack.types import Detections, Frame, TrackState
from mctrack.video.spec import CameraSpec

Step = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(n, 4) ``xyxy`` and (n,) scores of one frame → (m, 4) boxes and (m,) identities to report for it."""
SHOWN = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "FP", "FN")
HIGH, LOW, NEW = 0.5, 0.1, 0.6


@dataclass(frozen=True)
class Peer:
    """A public tracker: its name, the package it comes with, and what makes a fresh one for a sequence's fps."""

    name: str
    package: str
    make: Callable[[float], Step]


@dataclass(frozen=True)
class Sequence:
    """One sequence: detections per frame, ground truth, frame rate."""

    name: str
    detections: list[Detections]
    truth: BoxTable
    fps: float


def peers() -> list[Peer]:
    """Every tracker that is compared; those whose package is missing are left out later."""
    found = []
    kinds = {"ByteTrack": "bytetrack", "OC-SORT": "ocsort", "BoT-SORT without camera motion": "botsort",
             "FastTrack": "fasttrack"}
    for title, kind in kinds.items():
        found.append(Peer(f"{title}, defaults", "ultralytics", lambda fps, k=kind: _ultralytics(k, {})))
        usual = {"track_high_thresh": HIGH, "track_low_thresh": LOW, "new_track_thresh": NEW}
        found.append(Peer(f"{title}, {HIGH}/{LOW}", "ultralytics", lambda fps, k=kind, u=usual: _ultralytics(k, u)))
    names = ("SORTTracker", "ByteTrackTracker", "OCSORTTracker", "CBIoUTracker")
    found += [Peer(f"{name}, defaults", "trackers", lambda fps, n=name: _trackers(n, fps)) for name in names]
    classes = {"ByteTrack": "bytetrack", "OcSort": "ocsort", "SFSORT": "sfsort"}
    found += [Peer(f"{n}, defaults", "boxmot", lambda fps, n=n, m=m: _boxmot(n, m)) for n, m in classes.items()]
    return found


def _ultralytics(kind: str, settings: dict[str, Any]) -> Step:
    from ultralytics.engine.results import Boxes as UltralyticsBoxes
    from ultralytics.trackers.track import TRACKER_MAP
    from ultralytics.utils import YAML
    from ultralytics.utils.checks import check_yaml

    keys = {**YAML.load(check_yaml(f"{kind}.yaml")), **settings}
    if "gmc_method" in keys:
        keys["gmc_method"] = "none"
    tracker = TRACKER_MAP[kind](SimpleNamespace(**keys))
    picture = np.zeros((32, 32, 3), np.uint8)

    def step(xyxy: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.column_stack([xyxy, score, np.zeros(len(xyxy))]).astype(np.float32)
        out = np.asarray(tracker.update(UltralyticsBoxes(rows, (1080, 1920)), picture), float).reshape(-1, 8)
        return out[:, :4], out[:, 4].astype(int)

    return step


def _trackers(name: str, fps: float) -> Step:
    import supervision
    import trackers

    tracker = getattr(trackers, name)(frame_rate=fps)

    def step(xyxy: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        zeros = np.zeros(len(xyxy), int)
        out = tracker.update(supervision.Detections(xyxy=xyxy, confidence=score, class_id=zeros))
        named = np.zeros(0, int) if out.tracker_id is None else np.asarray(out.tracker_id, int)
        kept = named >= 0
        return np.asarray(out.xyxy, float).reshape(-1, 4)[kept], named[kept]

    return step


def _boxmot(name: str, module: str) -> Step:
    found = importlib.import_module(f"boxmot.trackers.box.{module}.tracker")
    tracker = getattr(found, name)()
    picture = np.zeros((1080, 1920, 3), np.uint8)

    def step(xyxy: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.column_stack([xyxy, score, np.zeros(len(xyxy))])
        out = np.asarray(tracker.update(rows, picture), float).reshape(-1, 8)
        return out[:, :4], out[:, 4].astype(int)

    return step


def read_sequences(benchmark: Benchmark, root: Path, names: tuple[str, ...]) -> list[Sequence]:
    """Detections and truth of every sequence below the root that has both."""
    found = []
    for item in find_sequences(benchmark, root, sequences=names):
        if item.truth is None or item.info is None:
            raise SystemExit(f"{item.name}: no ground truth or no seqinfo.ini in {root}")
        info = read_seqinfo(item.info)
        folder = item.info.parent
        detector = FileDetector(DetectConfig(name="file"), [CameraSpec(item.name, str(folder), "sequence")], "cpu")
        size = info.size or (1920, 1080)
        frames = [Frame(item.name, i, i / (info.fps or 25), None, size) for i in range(info.length)]
        detections = [detector.detect([frame])[0] for frame in frames]
        found.append(Sequence(item.name, detections, read_ground_truth(item.truth, info.length), info.fps or 25.0))
    return found


def run_peer(peer: Peer, sequence: Sequence) -> tuple[BoxTable, float]:
    """Results and CPU seconds of one tracker on one sequence."""
    step, spent_s = peer.make(sequence.fps), 0.0
    frames, names, boxes = [], [], []
    for index, found in enumerate(sequence.detections):
        xyxy, score = found.xyxy.copy(), found.score.copy()
        begin = time.thread_time()
        out, identity = step(xyxy, score)
        spent_s += time.thread_time() - begin
        frames.append(np.full(len(out), index + 1))
        names.append(identity)
        boxes.append(out)
    return BoxTable.of(np.concatenate(frames), np.concatenate(names), np.concatenate(boxes)), spent_s


def run_ours(sequence: Sequence, fill_gap_s: float) -> tuple[BoxTable, float]:
    """The same for mctrack: boxes of confirmed tracks, as ``mctrack run`` exports them."""
    tracker, spent_s, rows, confirmed = CameraTracker(TrackConfig()), 0.0, [], set()
    times = np.arange(len(sequence.detections)) / sequence.fps
    for index, found in enumerate(sequence.detections):
        begin = time.thread_time()
        t = tracker.update(found, float(times[index]))
        spent_s += time.thread_time() - begin
        confirmed |= set(t.track_id[t.state == TrackState.CONFIRMED].tolist())
        k = np.flatnonzero(t.seen)
        rows.append(np.column_stack([np.full(len(k), index), t.track_id[k], t.state[k], t.score[k], t.xyxy[k]]))
    table = np.concatenate(rows)
    table = table[np.isin(table[:, 1], list(confirmed))]
    frame, track, state = table[:, :3].astype(np.int64).T
    nobody, original = np.full(len(table), -1), np.zeros(len(table), bool)
    boxes = Boxes(frame, track, nobody, table[:, 4:], table[:, 3], state, original)
    begin = time.thread_time()
    filled = fill_gaps(boxes, np.arange(len(times)), times, fill_gap_s)
    spent_s += time.thread_time() - begin
    return BoxTable.of(filled.frame_index + 1, filled.track_id, filled.xyxy), spent_s


def measure(name: str, package: str, run: Callable[[Sequence], tuple[BoxTable, float]], sequences: list[Sequence],
            benchmark: Benchmark) -> list[str]:
    """A row of the table: who, combined figures, milliseconds per frame."""
    counts: list[Counts] = []
    spent_s, frames = 0.0, 0
    for sequence in sequences:
        result, seconds = run(sequence)
        overlaps = scored_overlaps(sequence.truth.scaled(benchmark.scale), result, benchmark.distractors, benchmark.iou)
        counts.append(sequence_counts(overlaps, benchmark.iou))
        spent_s += seconds
        frames += len(sequence.detections)
    total = figures(pooled(counts))
    cells = [f"{total[k]:.0f}" if k in ("IDSW", "FP", "FN") else f"{100 * total[k]:.1f}" for k in SHOWN]
    return [name, package, *cells, f"{1000 * spent_s / frames:.2f}"]


def table(rows: list[list[str]]) -> str:
    """The rows as Markdown."""
    head = ["tracker", "package", *SHOWN, "ms/frame"]
    rule = [":--", ":--", *["--:"] * (len(head) - 2)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows]) + "\n"


def main() -> None:
    """Read the arguments, run everything that is installed, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--benchmark", default="mot17")
    parser.add_argument("--sequences", default="", help="comma-separated; default: all")
    parser.add_argument("--markdown", type=Path, default=None)
    args = parser.parse_args()
    benchmark = load_benchmark(args.benchmark)
    sequences = read_sequences(benchmark, args.root, tuple(n for n in args.sequences.split(",") if n))
    rows = []
    for name, gap_s in (("mctrack, gaps filled", OutputConfig().fill_gap_s), ("mctrack, gaps left", 0.0)):
        rows.append(measure(name, "mctrack", lambda s, g=gap_s: run_ours(s, g), sequences, benchmark))
        print(*rows[-1], sep="  ", flush=True)
    missing = {p.package for p in peers() if importlib.util.find_spec(p.package) is None}
    for peer in peers():
        if peer.package in missing:
            continue
        label = f"{peer.package} {version(peer.package)}"
        try:
            rows.append(measure(peer.name, label, lambda s, p=peer: run_peer(p, s), sequences, benchmark))
        except (ImportError, AttributeError, TypeError, ValueError, KeyError) as error:
            # other versions of a package have other interfaces: the rest of the table is still worth having
            rows.append([peer.name, label, f"failed: {type(error).__name__}: {error}"[:80], *[""] * len(SHOWN)])
        print(*rows[-1], sep="  ", flush=True)
    said = [f"{len(sequences)} sequences ({', '.join(s.name for s in sequences)}), "
            f"{sum(len(s.detections) for s in sequences)} frames, the same public detections for all, motion only."]
    said += [f"Not installed, so not run: {', '.join(sorted(missing))}."] if missing else []
    text = table(rows) + "\n" + " ".join(said) + "\n"
    print("\n" + text)
    if args.markdown:
        args.markdown.parent.mkdir(parents=True, exist_ok=True)
        head = "Written by `python eval/bench_peers.py`; ratios in %, time is CPU time of the tracker alone."
        args.markdown.write_text(f"# Public trackers beside ours\n\n{head}\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()

"""How well detectors find people in pictures none of them was trained on.

    python eval/detector_transfer.py --detector embedded background --scene videos --pets DIR

``--scene`` takes folders as ``mctrack synth scene`` writes them (several), ``--pets`` the folder of the PETS 2009 S2.L1
clip (``vtest.avi``, ``gt.txt`` at 1.6 times its scale). Every clip is played through once, since background subtraction
needs all its frames; every 10th is scored: from the best score down, a detection hits the free person that it fits
best, at IoU 0.5 or more. People of whom less than a tenth shows, and boxes that the truth marks 0, count neither as
found nor as missed. AP is the area under precision (made monotone) over recall; recall and precision are given where
their harmonic mean is best, with the score at which that is, and the milliseconds per frame on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mctrack.boxes import iou as pairwise_iou
from mctrack.config import DetectConfig
from mctrack.detect.build import build_detector
from mctrack.errors import MctrackError
from mctrack.types import Frame

PETS_SCALE = 0.625
EVERY = 10
IOU = 0.5
Array = NDArray[Any]


@dataclass
class Tally:
    """What was found in the frames so far."""

    people: int = 0
    score: list[float] = field(default_factory=list)
    hit: list[bool] = field(default_factory=list)

    def add(self, xyxy: Array, score: Array, truth: Array, counts: NDArray[np.bool_]) -> None:
        """One frame: (n, 4) and (n,) detections, (m, 4) people, (m,) whether they count."""
        self.people += int(counts.sum())
        iou = pairwise_iou(xyxy, truth) if len(xyxy) and len(truth) else np.zeros((len(xyxy), len(truth)))
        free = counts.copy()
        for i in np.argsort(-score, kind="stable").tolist():
            fit = np.where(free, iou[i], 0.0)
            hit = bool(fit.max(initial=0.0) >= IOU)
            if hit:
                free[int(fit.argmax())] = False
            elif iou[i][~counts].max(initial=0.0) >= IOU:
                continue  # somebody who neither counts as found nor as missed
            self.score.append(float(score[i]))
            self.hit.append(hit)

    def curve(self) -> tuple[Array, Array, Array]:
        """Scores from high to low, precision and recall down to each."""
        order = np.argsort(-np.array(self.score), kind="stable")
        hits = np.cumsum(np.array(self.hit, bool)[order])
        return np.array(self.score)[order], hits / np.arange(1, len(hits) + 1), hits / max(self.people, 1)


@dataclass(frozen=True)
class Summary:
    """AP, and the best working point."""

    ap: float
    recall: float
    precision: float
    at: float


def summary(tally: Tally) -> Summary:
    """The figures of a clip (all 0 where nothing was found)."""
    if not tally.score:
        return Summary(0.0, 0.0, 0.0, 0.0)
    score, precision, recall = tally.curve()
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    ap = float(np.sum(np.diff(np.concatenate([[0.0], recall])) * monotone))
    best = int(np.argmax(2 * precision * recall / np.maximum(precision + recall, 1e-9)))
    return Summary(ap, float(recall[best]), float(precision[best]), float(score[best]))


def read_truth(path: Path, scale: float) -> dict[int, Array]:
    """Frame from 1 → (k, 5): ``xyxy`` in pixels of the video, and whether the box counts."""
    rows: dict[int, list[list[float]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        v = [float(x) for x in line.split(",")]
        x, y, w, h = (scale * value for value in v[2:6])
        rows.setdefault(int(v[0]), []).append([x, y, x + w, y + h, v[6]])
    return {frame: np.array(people) for frame, people in rows.items()}


def frames_of(clip: Path) -> Iterator[Frame]:
    """All frames of a clip."""
    with av.open(str(clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            image = np.ascontiguousarray(frame.to_ndarray(format="bgr24"))
            yield Frame(clip.stem, index, float(frame.time or 0.0), image, (image.shape[1], image.shape[0]))


def score_clip(detector: Any, clip: Path, truth: dict[int, Array], memory: bool) -> tuple[Tally, float, int]:
    """Tally, seconds spent in the detector, and the frames it saw."""
    tally, spent, seen = Tally(), 0.0, 0
    for frame in frames_of(clip):
        scored = frame.index % EVERY == 0
        if not scored and not memory:
            continue
        start = time.perf_counter()
        found = detector.detect([frame])[0]
        spent, seen = spent + time.perf_counter() - start, seen + 1
        if scored:
            people = truth.get(frame.index + 1, np.zeros((0, 5)))
            boxes = np.clip(people[:, :4], 0, [frame.size[0], frame.size[1]] * 2)
            tally.add(found.xyxy, found.score, boxes, people[:, 4] > 0)
    return tally, spent, seen


def clips_of(args: argparse.Namespace) -> list[tuple[str, Path, dict[int, Array]]]:
    """(name of the group, clip, truth) of everything that was asked for."""
    found = []
    if args.pets:
        found.append(("PETS S2.L1", args.pets / "vtest.avi", read_truth(args.pets / "gt.txt", PETS_SCALE)))
    for scene in args.scene:
        found += [(scene.name, clip, read_truth(scene / "gt" / f"{clip.stem}.txt", 1.0))
                  for clip in sorted(scene.glob("*.mp4"))]  # fmt: skip
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", nargs="+", default=["embedded", "background"], help="names or weights")
    parser.add_argument("--scene", nargs="*", type=Path, default=[], help="folders of scenes, such as videos")
    parser.add_argument("--pets", type=Path, help="folder of the PETS clip")
    parser.add_argument("--input-size", type=int, help="longer side for the networks")
    args = parser.parse_args()
    clips = clips_of(args)
    print("| detector | clips | AP | recall | precision | at score | ms/frame |\n|---|---|---|---|---|---|---|")
    for name in args.detector:
        memory = name == "background"
        options = {} if memory else {"threads": 1}
        groups: dict[str, list[tuple[Tally, float, int]]] = {}
        for group, clip, truth in clips:
            config = DetectConfig(name=name, score=0.02, options=options,
                                  input_size=None if memory else args.input_size)  # fmt: skip
            detector = build_detector(config, [], "cpu")
            groups.setdefault(group, []).append(score_clip(detector, clip, truth, memory))
        for group, parts in groups.items():
            whole = Tally(sum(t.people for t, _, _ in parts), [s for t, _, _ in parts for s in t.score],
                          [h for t, _, _ in parts for h in t.hit])  # fmt: skip
            s, pace = summary(whole), 1000 * sum(p[1] for p in parts) / max(sum(p[2] for p in parts), 1)
            print(f"| {Path(name).name} | {group} | {s.ap:.3f} | {s.recall:.3f} | {s.precision:.3f} | {s.at:.2f} "
                  f"| {pace:.0f} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (MctrackError, OSError) as error:
        raise SystemExit(f"detector_transfer: {error}") from None

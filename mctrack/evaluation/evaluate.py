"""Scoring a folder of results, or one file, by a benchmark's protocol."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mctrack.errors import ConfigError, MctrackError, suggest
from mctrack.evaluation.benchmark import Benchmark, Found, find_seqinfo, find_sequences, unknown_results, with_layout
from mctrack.evaluation.evaluate_ground import evaluate_ground, ground_beside, results_file
from mctrack.evaluation.hota import hota_counts
from mctrack.evaluation.layout import read_layout
from mctrack.evaluation.motchallenge import ReadError, SequenceInfo, read_ground_truth, read_results, read_seqinfo
from mctrack.evaluation.multicamera import CameraView, cross_camera_figures
from mctrack.evaluation.preprocess import scored_tables
from mctrack.evaluation.report import Details, Report
from mctrack.evaluation.score import Counts, figures, hota_curves, pooled, sequence_counts, size_counts
from mctrack.evaluation.table import BoxTable, Overlaps
from mctrack.types import FloatArray, IntArray

ENGINES = ("motmetrics", "fast", "motmetrics-plain")


def evaluate(
    benchmark: Benchmark,
    root: Path,
    results: Path,
    split: str | None = None,
    sequences: Sequence[str] = (),
    engine: str = "motmetrics",
    progress: Callable[[str], None] | None = None,
    details: bool = False,
) -> Report:
    """Score the results files of a folder.

    A sequence whose truth or results are missing or broken becomes a gap of the report; the others are scored.

    Args:
        benchmark: the definition.
        root: folder of the ground truth.
        results: folder of the results.
        split: one of the benchmark's splits.
        sequences: only these; none: see :func:`~mctrack.evaluation.benchmark.find_sequences`.
        engine: ``motmetrics`` (official rules through motmetrics), ``fast`` (the same figures from our own
            engine), or ``motmetrics-plain`` (motmetrics' own rules). HOTA is ours in all of them.
        progress: called with a line per sequence.
        details: keep the boxes in the report's ``details``, for pictures.
    """
    if engine not in ENGINES:
        raise ConfigError(f"unknown engine '{engine}'{suggest(engine, ENGINES)}; known: {', '.join(ENGINES)}")
    if not results.is_dir():
        raise ConfigError(f"--results {results}: no such folder")
    benchmark = with_layout(benchmark, root)
    if benchmark.plane == "ground":
        return evaluate_ground(benchmark, root, results, split, sequences)
    report = Report(benchmark.name, benchmark.title, benchmark.protocol, engine, root=root)
    start_s = camera_starts(root) if benchmark.cameras else {}
    views: dict[str, CameraView] = {}
    for item in find_sequences(benchmark, root, split, sequences, results):
        try:
            view = _score_sequence(report, benchmark, item, results, details)
        except MctrackError as error:
            report.gaps[item.name] = str(error)
        else:
            views[item.name] = replace(view, time_s=view.time_s + start_s.get(item.name, 0.0))
        if progress:
            progress(item.name)
    if report.counts:
        report.combined = _figures(pooled(report.counts.values()))
    if benchmark.cameras and views:
        report.combined |= cross_camera_figures(views, benchmark.iou, benchmark.gap_s)
        report.one_scene = True
    ground_beside(benchmark, root, results, report)
    stray = [n for n in unknown_results(benchmark, root, results) if n not in report.gaps]
    if stray:
        report.notes.append(f"results for unknown sequences, not looked at: {', '.join(stray)}")
    _note_incomplete(report, benchmark, split)
    return report


def _score_sequence(report: Report, benchmark: Benchmark, item: Found, results: Path, details: bool) -> CameraView:
    """Add one sequence's figures to the report; returns its overlaps with their times since its first frame."""
    gt, result, info = _read(benchmark, item, results)
    gt, result, overlaps = _scored(benchmark, gt, result)
    report.counts[item.name] = count(overlaps, report.engine, benchmark.iou)
    report.sequences[item.name] = _figures(report.counts[item.name])
    fps = info.fps if info and info.fps else benchmark.fps
    if details:
        report.details[item.name] = Details(gt, result, overlaps, benchmark.iou, fps)
    return CameraView(overlaps, _frame_times(item.truth, overlaps.frames, fps))


def _frame_times(truth: Path | None, frames: IntArray, fps: float) -> FloatArray:
    """(f,) true seconds since a camera's first frame; ``gt/<camera>_times.csv`` says them where frames are lost.

    Raises:
        ReadError: that file lacks one of the frames (counted from 1).
    """
    path = truth.with_name(f"{truth.stem}_times.csv") if truth is not None else None
    if path is None or not path.is_file():
        return np.asarray((frames - 1) / fps)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            time_s = {int(row["frame"]): float(row["time_s"]) for row in csv.DictReader(file)}
        return np.array([time_s[k] for k in frames.tolist()]) - time_s[1]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReadError(f"{path}: expected frame,stamp_s,time_s for every frame of {path.parent.name}/"
                        f"{truth.name if truth else ''} ({error!r})") from error


def camera_starts(root: Path) -> dict[str, float]:
    """Seconds at which each camera's first frame was taken, from ``calibration.json``; {} where there is none.

    Raises:
        ConfigError: the file is there but cannot be used.
    """
    path = root / "calibration.json"
    if not path.is_file():
        return {}
    try:
        cameras = json.loads(path.read_text(encoding="utf-8"))["cameras"]
        return {str(name): float(camera.get("start_s", 0.0)) for name, camera in cameras.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: expected cameras: {{name: {{start_s: seconds}}}} ({error})") from error


def count(overlaps: Overlaps, engine: str = "motmetrics", threshold: float = 0.5) -> Counts:
    """Additive counts of one sequence by one of :data:`ENGINES`."""
    if engine == "fast":
        return sequence_counts(overlaps, threshold)
    from mctrack.evaluation.through_motmetrics import motmetrics_counts

    rules = "motmetrics" if engine == "motmetrics-plain" else "official"
    return {**size_counts(overlaps), **hota_counts(overlaps), **motmetrics_counts(overlaps, threshold, rules)}


def score_files(truth: Path, result: Path, benchmark: Benchmark, engine: str = "motmetrics",
                details: bool = False) -> Report:
    """Score one results file against one ground-truth file by the benchmark's protocol.

    Raises:
        ReadError: one of them cannot be read.
    """
    report = Report(benchmark.name, benchmark.title, benchmark.protocol, engine)
    item = Found(result.stem, truth, find_seqinfo(truth))
    gt, boxes, info = _tables(benchmark, item, result)
    gt, boxes, overlaps = _scored(benchmark, gt, boxes)
    report.counts[item.name] = count(overlaps, engine, benchmark.iou)
    report.sequences[item.name] = report.combined = _figures(report.counts[item.name])
    if details:
        fps = info.fps if info and info.fps else benchmark.fps
        report.details[item.name] = Details(gt, boxes, overlaps, benchmark.iou, fps)
    return report


def _figures(counts: Counts) -> dict[str, Any]:
    curves = {name: [round(float(v), 9) for v in curve] for name, curve in hota_curves(counts).items()}
    return {**figures(counts), "curves": curves}


def _scored(benchmark: Benchmark, gt: BoxTable, result: BoxTable) -> tuple[BoxTable, BoxTable, Overlaps]:
    b = benchmark
    return scored_tables(gt, result, b.distractors, b.iou, b.min_visibility, b.zero_is_neutral)


def _read(benchmark: Benchmark, item: Found, results: Path) -> tuple[BoxTable, BoxTable, SequenceInfo | None]:
    if item.truth is None:
        raise ReadError(f"no ground truth under --root (looked for {', '.join(benchmark.truth)})")
    return _tables(benchmark, item, results_file(benchmark, item.name, results))


def _tables(benchmark: Benchmark, item: Found, result: Path) -> tuple[BoxTable, BoxTable, SequenceInfo | None]:
    """Ground truth in the results' coordinates, results, and what ``seqinfo.ini`` says."""
    info = read_seqinfo(item.info) if item.info else None
    length = info.length if info else None
    gt = _truth(benchmark, item, length, info.fps if info and info.fps else benchmark.fps).scaled(benchmark.scale)
    truth = item.truth
    if benchmark.distractors is not None and len(gt) and (gt.category == -1).all():
        raise ReadError(f"{truth}: no classes in column 8, which {benchmark.name} needs")
    return gt, read_results(result, length, benchmark.distractors is not None), info


def _truth(benchmark: Benchmark, item: Found, length: int | None, fps: float) -> BoxTable:
    assert item.truth is not None
    if not benchmark.layout.columns:
        return read_ground_truth(item.truth, length)
    cameras = read_layout(item.truth, benchmark.layout, fps, length)
    return cameras[""] if "" in cameras else cameras.get(item.name, BoxTable.empty())


def _note_incomplete(report: Report, benchmark: Benchmark, split: str | None) -> None:
    """Say how much of the benchmark the totals cover, where that is not a whole split."""
    scored = set(report.sequences)
    if report.gaps:
        report.notes.append(f"incomplete: {len(report.gaps)} of {len(report.gaps) + len(scored)} sequences not scored")
    whole = [name for name, names in benchmark.splits.items() if set(names) == scored]
    if benchmark.splits and not whole and not split:
        sizes = ", ".join(f"{name}: {len(names)}" for name, names in benchmark.splits.items())
        report.notes.append(
            f"sequences scored: {len(scored)}, no whole split of {benchmark.name} ({sizes}): totals do not compare "
            "with published ones"
        )

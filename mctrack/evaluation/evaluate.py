"""Scoring a folder of results, or one file, by a benchmark's protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mctrack.errors import ConfigError, MctrackError, suggest
from mctrack.evaluation.benchmark import Benchmark, Found, find_seqinfo, find_sequences
from mctrack.evaluation.hota import hota_counts
from mctrack.evaluation.motchallenge import ReadError, SequenceInfo, read_ground_truth, read_results, read_seqinfo
from mctrack.evaluation.multicamera import CameraView, cross_camera_figures
from mctrack.evaluation.preprocess import scored_overlaps
from mctrack.evaluation.report import Report
from mctrack.evaluation.score import Counts, figures, hota_curves, pooled, sequence_counts, size_counts
from mctrack.evaluation.table import BoxTable, Overlaps

ENGINES = ("motmetrics", "fast", "motmetrics-plain")


def evaluate(
    benchmark: Benchmark,
    root: Path,
    results: Path,
    split: str | None = None,
    sequences: Sequence[str] = (),
    engine: str = "motmetrics",
    progress: Callable[[str], None] | None = None,
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
    """
    if engine not in ENGINES:
        raise ConfigError(f"unknown engine '{engine}'{suggest(engine, ENGINES)}; known: {', '.join(ENGINES)}")
    if not results.is_dir():
        raise ConfigError(f"--results {results}: no such folder")
    found = find_sequences(benchmark, root, split, sequences, results)
    report = Report(benchmark.name, benchmark.title, benchmark.protocol, engine)
    start_s = camera_starts(root) if benchmark.cameras else {}
    counts: list[Counts] = []
    views: dict[str, CameraView] = {}
    for item in found:
        try:
            gt, result, info = _read(benchmark, item, results)
            overlaps = _overlaps(benchmark, gt, result)
        except MctrackError as error:
            report.gaps[item.name] = str(error)
        else:
            counts.append(count(overlaps, engine, benchmark.iou))
            report.sequences[item.name] = _figures(counts[-1])
            fps = info.fps if info and info.fps else benchmark.fps
            views[item.name] = CameraView(overlaps, start_s.get(item.name, 0.0) + (overlaps.frames - 1) / fps)
        if progress:
            progress(item.name)
    if counts:
        report.combined = _figures(pooled(counts))
    if benchmark.cameras and views:
        report.combined |= cross_camera_figures(views, benchmark.iou, benchmark.gap_s)
    _note_incomplete(report, benchmark, split)
    return report


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


def score_files(truth: Path, result: Path, benchmark: Benchmark, engine: str = "motmetrics") -> Report:
    """Score one results file against one ground-truth file by the benchmark's protocol.

    Raises:
        ReadError: one of them cannot be read.
    """
    report = Report(benchmark.name, benchmark.title, benchmark.protocol, engine)
    gt, boxes, _ = _tables(benchmark, truth, find_seqinfo(truth), result)
    overlaps = _overlaps(benchmark, gt, boxes)
    report.sequences[result.stem] = report.combined = _figures(count(overlaps, engine, benchmark.iou))
    return report


def _figures(counts: Counts) -> dict[str, Any]:
    curves = {name: [round(float(v), 9) for v in curve] for name, curve in hota_curves(counts).items()}
    return {**figures(counts), "curves": curves}


def _overlaps(benchmark: Benchmark, gt: BoxTable, result: BoxTable) -> Overlaps:
    b = benchmark
    return scored_overlaps(gt, result, b.distractors, b.iou, b.min_visibility, b.zero_is_neutral)


def _read(benchmark: Benchmark, item: Found, results: Path) -> tuple[BoxTable, BoxTable, SequenceInfo | None]:
    if item.truth is None:
        raise ReadError(f"no ground truth under --root (looked for {', '.join(benchmark.truth)})")
    files = [results / pattern.replace("{sequence}", item.name) for pattern in benchmark.results]
    file = next((f for f in files if f.is_file()), None)
    if file is None:
        raise ReadError(f"no results (looked for {', '.join(str(f) for f in files)})")
    return _tables(benchmark, item.truth, item.info, file)


def _tables(
    benchmark: Benchmark, truth: Path, info_file: Path | None, result: Path
) -> tuple[BoxTable, BoxTable, SequenceInfo | None]:
    """Ground truth in the results' coordinates, results, and what ``seqinfo.ini`` says."""
    info = read_seqinfo(info_file) if info_file else None
    length = info.length if info else None
    gt = read_ground_truth(truth, length).scaled(benchmark.scale)
    if benchmark.distractors is not None and len(gt) and (gt.category == -1).all():
        raise ReadError(f"{truth}: no classes in column 8, which {benchmark.name} needs")
    return gt, read_results(result, length, benchmark.distractors is not None), info


def _note_incomplete(report: Report, benchmark: Benchmark, split: str | None) -> None:
    """Say how much of the benchmark the totals cover, where that is not a whole split."""
    scored = set(report.sequences)
    if report.gaps:
        report.notes.append(f"incomplete: {len(report.gaps)} of {len(report.gaps) + len(scored)} sequences not scored")
    whole = [name for name, names in benchmark.splits.items() if set(names) == scored]
    if benchmark.splits and not whole and not split:
        sizes = ", ".join(f"{name}: {len(names)}" for name, names in benchmark.splits.items())
        report.notes.append(
            f"{len(scored)} sequences are no whole split of {benchmark.name} ({sizes}): totals do not compare with "
            "published ones"
        )

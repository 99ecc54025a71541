"""Scoring positions on the ground: benchmarks of their own, and beside the boxes of an image benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mctrack.errors import ConfigError, MctrackError
from mctrack.evaluation.benchmark import Benchmark, Found, find_sequences
from mctrack.evaluation.ground import GroundTable, ground_counts, ground_figures
from mctrack.evaluation.motchallenge import read_seqinfo
from mctrack.evaluation.positions import read_positions
from mctrack.evaluation.report import Report
from mctrack.evaluation.run_positions import RUN_TABLE, read_run_positions
from mctrack.evaluation.score import Counts, pooled
from mctrack.evaluation.text import ReadError

GROUND_ENGINE = "ground"
PREFIX = "GP_"
"""Of figures on the ground plane that stand beside those of the image plane."""


def evaluate_ground(
    benchmark: Benchmark, root: Path, results: Path, split: str | None = None, sequences: Sequence[str] = ()
) -> Report:
    """Score positions; arguments, gaps and errors as :func:`~mctrack.evaluation.evaluate.evaluate`."""
    report = Report(benchmark.name, benchmark.title, benchmark.protocol, GROUND_ENGINE, plane="ground")
    for item in find_sequences(benchmark, root, split, sequences, results):
        try:
            gt, result, unseen = _read(benchmark, item, results)
        except MctrackError as error:
            report.gaps[item.name] = str(error)
            continue
        report.counts[item.name] = ground_counts(gt, result, benchmark.ground)
        report.sequences[item.name] = ground_figures(report.counts[item.name], benchmark.ground)
        if unseen:
            report.notes.append(f"{item.name}: {unseen} results lie in frames that are not annotated: not looked at")
        if _neutral_line(gt):
            report.notes.append(f"{item.name}{_neutral_line(gt)}")
        if not gt.has_ids or not result.has_ids:
            side = "results" if gt.has_ids else "ground truth"
            report.notes.append(f"{item.name}: {side} without identities: no MOTA, no IDF1")
    if report.counts:
        report.combined = ground_figures(pooled_ground(report.counts.values()), benchmark.ground)
    if report.gaps:
        asked = len(report.gaps) + len(report.counts)
        report.notes.append(f"incomplete: {len(report.gaps)} of {asked} sequences not scored")
    return report


def pooled_ground(parts: Iterable[Counts]) -> Counts:
    """The sum of several sequences' counts; those about identities only if all have them."""
    counts = list(parts)
    common = set.intersection(*(set(c) for c in counts)) if counts else set()
    return pooled({k: v for k, v in c.items() if k in common} for c in counts)


def ground_beside(benchmark: Benchmark, root: Path, results: Path, report: Report) -> None:
    """Add ``GP_*`` to the totals of an image benchmark that has truth on the ground plane too.

    Without results there it says so; results that cannot be read are a gap. A run's ``tracks.csv`` will do.
    """
    truth = next((root / p for p in benchmark.ground_truth if (root / p).is_file()), None)
    if truth is None or not report.combined:
        return
    try:
        gt = read_positions(truth, benchmark.grid, benchmark.ground_fps)
        result = _positions_beside(benchmark, results, report)
    except MctrackError as error:
        report.gaps["ground plane"] = str(error)
        return
    if result is None:
        report.notes.append("no results on the ground plane: all figures are of the image plane "
                            f"(looked for {', '.join([*benchmark.ground_results, RUN_TABLE])} with positions)")
        return
    found = ground_figures(ground_counts(gt, result, benchmark.ground), benchmark.ground)
    report.combined |= {PREFIX + key: value for key, value in found.items()}
    report.notes.append(f"{PREFIX}*: {benchmark.ground.line}{_neutral_line(gt)}")


def _neutral_line(gt: GroundTable) -> str:
    marked = 0 if gt.neutral is None else int(gt.neutral.sum())
    return f"; {marked} of {len(gt)} true positions, marked 0, neither hit nor miss" if marked else ""


def _positions_beside(benchmark: Benchmark, results: Path, report: Report) -> GroundTable | None:
    """Positions of a results folder: a file of them, else a run's table; None where there is neither."""
    for name in benchmark.ground_results:
        if (results / name).is_file():
            return read_positions(results / name, benchmark.grid, benchmark.ground_fps)
    if not (results / RUN_TABLE).is_file():
        return None
    found = read_run_positions(results / RUN_TABLE, benchmark.ground_fps or benchmark.fps)
    if found is not None and found.nameless:
        report.notes.append(f"{found.nameless} positions without identity are left out of {PREFIX}*")
    return None if found is None else found.table


def results_file(benchmark: Benchmark, name: str, results: Path) -> Path:
    """The file of a sequence's results.

    Raises:
        ReadError: there is none; the message says what was looked for.
    """
    files = [results / pattern.replace("{sequence}", name) for pattern in benchmark.results]
    file = next((f for f in files if f.is_file()), None)
    if file is None:
        raise ReadError(f"no results (looked for {', '.join(str(f) for f in files)})")
    return file


def _read(benchmark: Benchmark, item: Found, results: Path) -> tuple[GroundTable, GroundTable, int]:
    """Truth and results of one sequence, and how many results lie in frames that are not annotated."""
    if item.truth is None:
        raise ReadError(f"no ground truth under --root (looked for {', '.join(benchmark.truth)})")
    length = read_seqinfo(item.info).length if item.info else None
    span = benchmark.frames.get(item.name)
    if span is not None and (len(span) != 2 or span[0] > span[1]):
        raise ConfigError(f"frames: {item.name}: {span}: expected [first, last]")
    gt = read_positions(item.truth, benchmark.grid, benchmark.ground_fps, length)
    if span is not None:
        gt = gt.take((gt.frame >= span[0]) & (gt.frame <= span[1]))
    last = length if span is None else span[1]
    result = read_positions(results_file(benchmark, item.name, results), benchmark.grid, benchmark.ground_fps, last)
    if not benchmark.annotated_only:
        return gt, result, 0
    annotated = np.isin(result.frame, gt.frame)
    return gt, result.take(annotated), int((~annotated).sum())

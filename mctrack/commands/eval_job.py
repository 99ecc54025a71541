"""What one call of ``mctrack eval`` has to do: cut a clip, run the tracker, score, compare."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mctrack.errors import ConfigError, MctrackError

if TYPE_CHECKING:
    from mctrack.evaluation.benchmark import Benchmark
    from mctrack.evaluation.compare import Comparison
    from mctrack.evaluation.report import Report

DEFAULT_AXIS = "reid.name"
RESULTS_AXIS = "results"


@dataclass(frozen=True)
class RunRequest:
    """What a tracker is asked to do before its results are scored.

    Attributes:
        benchmark: the definition (``cameras`` says whether the sequences are cameras of one scene).
        root: folder of the benchmark's data.
        sequences: what to run on; each has its ground truth and seqinfo.ini as ``find_sequences`` gives them.
        config: file or preset of ``--config``.
        out: folder of ``--out``.
        settings: ``key=value`` of ``--set``, and of the axis of a comparison.
    """

    benchmark: Benchmark
    root: Path
    sequences: tuple[str, ...]
    config: str | None
    out: Path | None
    settings: tuple[str, ...] = ()


Runner = Callable[[RunRequest], Path]
"""Runs a tracker and returns the folder that holds its results."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """The options of one evaluation; see ``mctrack eval --help``."""

    definition: Benchmark
    root: Path | None
    results: Path | None = None
    split: str | None = None
    sequences: tuple[str, ...] = ()
    engine: str = "motmetrics"
    config: str | None = None
    settings: tuple[str, ...] = ()
    out: Path | None = None
    gt: Path | None = None
    details: bool = False


def score(job: Job, runner: Runner | None, say: Say) -> Report:
    """Run the tracker where there are no results, and score.

    Raises:
        NoDataError: the data, or results that nobody is there to make, are missing.
    """
    if job.definition.windows:
        return _score_split(job, runner, say)
    return _score_folder(job, runner)


def _score_folder(job: Job, runner: Runner | None) -> Report:
    from mctrack.evaluation.benchmark import NoDataError, find_sequences, with_layout
    from mctrack.evaluation.evaluate import evaluate

    definition, results = job.definition, job.results
    if job.root is None:
        raise NoDataError(f"--benchmark {definition.name} needs its data: --root DIR")
    if results is None:
        definition = with_layout(definition, job.root)
        found = find_sequences(definition, job.root, job.split, job.sequences)
        if runner is None or definition.plane == "ground":
            raise NoDataError(f"--benchmark {definition.name} needs --results DIR")
        runnable = tuple(item.name for item in found if item.truth is not None)
        results = runner(RunRequest(definition, job.root, runnable, job.config, job.out, job.settings))
    return evaluate(definition, job.root, results, job.split, job.sequences, job.engine, details=job.details)


def _score_split(job: Job, runner: Runner | None, say: Say) -> Report:
    """Cut the clip, into ``OUT/data``, and go on with its cameras; given results need the truth only."""
    from mctrack.commands.split import cut, find_clip, windows_of
    from mctrack.evaluation.benchmark import NoDataError

    if job.root is None:
        raise NoDataError(f"--benchmark {job.definition.name} needs a clip: --root DIR")
    name, windows = windows_of(job.definition, job.split)
    clip = find_clip(job.root, job.gt, job.definition.scale)
    cameras = replace(job.definition, windows={}, scale=1.0, title=f"{job.definition.title} ({name})")
    if job.results is not None:
        with TemporaryDirectory() as folder:
            cut(clip, windows, Path(folder), with_video=False)
            return _score_folder(replace(job, definition=cameras, root=Path(folder), split=None), runner)
    out = job.out or fresh(job.definition.name)
    for line in cut(clip, windows, out / "data"):
        say(line)
    return _score_folder(replace(job, definition=cameras, root=out / "data", split=None, out=out), runner)


def fresh(name: str) -> Path:
    """A folder for results nobody named."""
    return Path("runs") / f"{name}_{datetime.now():%Y-%m-%d_%H-%M-%S}"


def compare_runs(job: Job, axis: str, runner: Runner | None, say: Say) -> Comparison:
    """Score one run per value of an axis; the first is what the others are compared with.

    Args:
        job: what they have in common.
        axis: ``A,B,…`` (values of ``reid.name``), ``key=A,B,…`` for any key of the configuration, or
            ``results=DIR,DIR,…`` for results that are there already.
        runner: the tracker.
        say: gets a line per step.

    Raises:
        ConfigError: the axis has fewer than two values, or none of the runs could be scored.
    """
    from mctrack.evaluation.compare import compare
    from mctrack.evaluation.report import Report

    key, values = parse_axis(axis)
    base = job.out or fresh(f"{job.definition.name}_compare")
    reports: dict[str, Report] = {}
    errors: list[MctrackError] = []
    if key != RESULTS_AXIS:
        job = _cut_once(job, base, say)
    paths = {v for v in values if key == RESULTS_AXIS or Path(v).is_file()}
    short = len({Path(v).name if v in paths else v for v in values}) == len(values)
    for value in values:
        say(f"{key} = {value}:")
        own = {"results": Path(value)} if key == RESULTS_AXIS else {
            "settings": (*job.settings, f"{key}={value}"), "out": base / slug(value)}
        label = Path(value).name if short and value in paths else value
        try:
            reports[label] = score(replace(job, **own), runner, say)
        except MctrackError as error:
            errors.append(error)
            say(f"{key} = {value}: {error}")
            d = job.definition
            gap = {"the whole run": str(error)}
            reports[label] = Report(d.name, d.title, d.protocol, job.engine, gaps=gap, plane=d.plane)
    if len(errors) == len(values):
        raise errors[0]
    return compare(key, reports)


def _cut_once(job: Job, base: Path, say: Say) -> Job:
    """For a clip that is to be cut: the job on its cameras, cut for all runs together."""
    if not job.definition.windows or job.root is None:
        return job
    from mctrack.commands.split import cut, find_clip, windows_of

    name, windows = windows_of(job.definition, job.split)
    for line in cut(find_clip(job.root, job.gt, job.definition.scale), windows, base / "data"):
        say(line)
    cameras = replace(job.definition, windows={}, scale=1.0, title=f"{job.definition.title} ({name})")
    return replace(job, definition=cameras, root=base / "data", split=None)


def parse_axis(axis: str) -> tuple[str, list[str]]:
    """Key and values of ``--compare``.

    Raises:
        ConfigError: there are fewer than two values, or one comes twice.
    """
    key, equals, rest = axis.partition("=")
    if not equals:
        key, rest = DEFAULT_AXIS, axis
    values = [v.strip() for v in _outer_commas(rest) if v.strip()]
    if len(values) < 2 or len(set(values)) < len(values) or not key.strip():
        raise ConfigError(f"--compare {axis}: expected at least two different values, e.g. none,histogram or "
                          "track.max_age_s=0.5,1.5")
    return key.strip(), values


def _outer_commas(text: str) -> list[str]:
    """Parts between commas that stand in no brackets: a value may be a YAML list or map."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def slug(value: str) -> str:
    """A value as a folder's name."""
    return re.sub(r"[^\w.+-]+", "_", value).strip("._") or "value"

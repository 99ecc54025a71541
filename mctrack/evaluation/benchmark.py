"""Benchmarks: what is scored, how, and where it lies; each is one YAML file in ``eval/benchmarks``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mctrack.config import load_config
from mctrack.errors import ConfigError, suggest
from mctrack.evaluation.ground import GroundProtocol
from mctrack.evaluation.layout import TruthLayout, camera_names, check_layout
from mctrack.evaluation.positions import Grid
from mctrack.resources import resource

PLANES = ("image", "ground")
LAYOUT_FILE = "layout.yaml"


@dataclass
class Benchmark:
    """The definition of a benchmark; the keys of its YAML file."""

    name: str = "custom"
    title: str = "own ground truth"
    cameras: bool = False
    """Whether the sequences are cameras of one scene: then identities are also scored across them."""
    truth: list[str] = field(default_factory=lambda: ["{sequence}/gt/gt.txt"])
    """Where ground truth lies under the root; {sequence} is filled in, the first file that exists is taken."""
    results: list[str] = field(default_factory=lambda: ["{sequence}.txt"])
    """The same for results under the results folder."""
    distractors: list[int] | None = None
    """Classes on which results are neither right nor wrong; null: the ground truth has no classes."""
    min_visibility: float = 0.0
    """Persons less visible than this are treated like distractors; 0: everybody counts."""
    zero_is_neutral: bool = False
    """Whether boxes marked 0 are treated like distractors (MOTChallenge: left out, a result on one is false)."""
    iou: float = 0.5
    """Boxes match from this intersection over union on (CLEAR, ID, distractors)."""
    scale: float = 1.0
    """Ground-truth coordinates × scale = coordinates of the results."""
    fps: float = 25.0
    """Frames per second of cameras without a seqinfo.ini."""
    gap_s: float = 1.0
    """Out of a camera's sight for longer than this: the person has left it (hand-overs)."""
    layout: TruthLayout = field(default_factory=TruthLayout)
    """Other column orders and units of the ground truth; also by a layout.yaml beside the data."""
    plane: str = "image"
    """Where distances count: boxes in the image, or positions on the ground."""
    ground: GroundProtocol = field(default_factory=GroundProtocol)
    """What is counted on the ground plane."""
    grid: Grid = field(default_factory=Grid)
    """What cells mean where positions are given as cells."""
    ground_fps: float | None = None
    """Frames per second of positions that are given with times."""
    ground_truth: list[str] = field(default_factory=list)
    """Where an image benchmark keeps the truth on the ground plane, if it has one."""
    ground_results: list[str] = field(default_factory=list)
    """The same for results on the ground plane; they need not be there."""
    frames: dict[str, list[int]] = field(default_factory=dict)
    """Ground plane: first and last frame of each sequence, where one annotation holds several."""
    annotated_only: bool = False
    """Ground plane: results in frames without any truth are not looked at (only some frames are annotated)."""
    windows: dict[str, Any] = field(default_factory=dict)
    """Split: layout → camera → window of the picture and how that camera sees."""
    splits: dict[str, list[str]] = field(default_factory=dict)
    """Name → sequences."""
    fetch: str = ""
    """What to fetch and how the folder must look."""

    @property
    def protocol(self) -> str:
        """What is counted, in a line."""
        if self.plane == "ground":
            only = "; results in frames without truth not looked at" if self.annotated_only else ""
            return f"{self.ground.line}{only}; totals from added counts"
        parts = [f"IoU ≥ {self.iou:g}"]
        if self.distractors is None:
            parts.append("no distractor classes")
        else:
            parts.append(f"results matched to classes {', '.join(map(str, self.distractors))} removed")
        parts.append("ground truth marked 0 " + ("neither hit nor miss" if self.zero_is_neutral else "ignored"))
        if self.min_visibility > 0:
            parts.append(f"persons less than {self.min_visibility:g} visible not scored")
        if self.scale != 1:
            parts.append(f"ground truth × {self.scale:g}")
        parts.append("HOTA over α 0.05…0.95")
        parts.append("totals from added counts")
        if self.cameras:
            parts.append("MC_* with one identity space over all cameras (image plane)")
        return "; ".join(parts)


@dataclass(frozen=True)
class Found:
    """A sequence to score: its ground truth (None: missing) and what ``seqinfo.ini`` says (None: no such file)."""

    name: str
    truth: Path | None
    info: Path | None = None


def benchmark_names() -> list[str]:
    """All benchmarks that come with the package."""
    return sorted(p.stem for p in resource("eval", "benchmarks").glob("*.yaml"))


def load_benchmark(name: str | Path) -> Benchmark:
    """A benchmark by name, or from a YAML file of one's own.

    Raises:
        ConfigError: it is unknown, or its file holds an unknown key or a value that does not fit.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = resource("eval", "benchmarks") / f"{name}.yaml"
        if not path.is_file():
            known = benchmark_names()
            raise ConfigError(f"unknown benchmark '{name}'{suggest(str(name), known)}; known: {', '.join(known)}")
    return _checked(load_config(Benchmark, [path]), str(path))


def with_layout(benchmark: Benchmark, root: Path | None) -> Benchmark:
    """The benchmark as the data's own ``layout.yaml`` has it: any key of a definition, e.g. column orders and units.

    Raises:
        ConfigError: that file holds an unknown key or a value that does not fit.
    """
    file = root / LAYOUT_FILE if root is not None else None
    if file is None or not file.is_file():
        return benchmark
    return _checked(load_config(Benchmark, [file], base=benchmark), str(file))


def _checked(benchmark: Benchmark, origin: str) -> Benchmark:
    if benchmark.plane not in PLANES:
        raise ConfigError(f"{origin}: plane: {benchmark.plane}{suggest(benchmark.plane, PLANES)}; known: image, ground")
    if benchmark.layout.columns:
        check_layout(benchmark.layout, origin)
    if not (benchmark.scale > 0 and 0 < benchmark.iou <= 1 and benchmark.fps > 0):
        raise ConfigError(f"{origin}: scale and fps must be positive, iou between 0 and 1")
    return benchmark


class NoDataError(ConfigError):
    """There is no ground truth where it was looked for; the benchmark's ``fetch`` says what is needed."""


def find_sequences(
    benchmark: Benchmark,
    root: Path,
    split: str | None = None,
    sequences: Sequence[str] = (),
    results: Path | None = None,
) -> list[Found]:
    """What to score: the named sequences, else those of the split, else all that have truth or results.

    Raises:
        NoDataError: the root does not exist, or holds no ground truth of this layout.
        ConfigError: the benchmark has no such split.
    """
    if split is not None and split not in benchmark.splits:
        known = ", ".join(benchmark.splits) or "none"
        raise ConfigError(f"{benchmark.name} has no split '{split}'{suggest(split, benchmark.splits)}; known: {known}")
    if not root.is_dir():
        raise NoDataError(f"--root {root}: no such folder")
    present = _present(benchmark, root)
    if not present:
        raise NoDataError(f"--root {root}: no ground truth found (looked for {', '.join(benchmark.truth)})")
    names = list(sequences) or (benchmark.splits[split] if split else present + _result_names(benchmark, results))
    return [_locate(benchmark, root, name) for name in dict.fromkeys(names)]


def _present(benchmark: Benchmark, root: Path) -> list[str]:
    """Sequences that have truth; those of a file for all are its cameras, or the parts it is divided in."""
    named = _names([p for p in benchmark.truth if "{sequence}" in p], root)
    shared = next((root / p for p in benchmark.truth if "{sequence}" not in p and (root / p).exists()), None)
    if named or shared is None:
        return named
    if "camera" in benchmark.layout.columns:
        return camera_names(shared, benchmark.layout)
    return list(benchmark.frames) or [shared.stem]


def _names(patterns: Iterable[str], folder: Path) -> list[str]:
    """Sequences that have a file of one of the patterns in the folder."""
    names = set()
    for pattern in patterns:
        before, _, after = pattern.partition("{sequence}")
        for path in folder.glob(f"{before}*{after}"):
            names.add(path.relative_to(folder).as_posix()[len(before) :].removesuffix(after))
    return sorted(names)


def unknown_results(benchmark: Benchmark, root: Path, results: Path) -> list[str]:
    """Results for sequences that are in no split and have no truth: mostly a misnamed file."""
    known = {name for names in benchmark.splits.values() for name in names} | set(_present(benchmark, root))
    return [name for name in _result_names(benchmark, results) if name not in known]


def _result_names(benchmark: Benchmark, results: Path | None) -> list[str]:
    """Sequences that have results, by the first pattern that fits any file."""
    if results is None:
        return []
    for pattern in benchmark.results:
        if names := _names([pattern], results):
            return [n for n in names if pattern.replace("{sequence}", n) not in benchmark.ground_results]
    return []


def _locate(benchmark: Benchmark, root: Path, name: str) -> Found:
    for pattern in benchmark.truth:
        path = root / pattern.replace("{sequence}", name)
        if path.is_file() or (benchmark.plane == "ground" and path.is_dir()):
            return Found(name, path, find_seqinfo(path))
    return Found(name, None)


def find_seqinfo(truth: Path) -> Path | None:
    """The ``seqinfo.ini`` (or ``<camera>.ini``) that belongs to a ground-truth file, or None."""
    near = [truth.with_suffix(".ini"), truth.parent / "seqinfo.ini"]
    if truth.name == "gt.txt":  # beside others, gt/cam1.txt, the folder above belongs to no single camera
        near.append(truth.parent.parent / "seqinfo.ini")
    return next((p for p in near if p.is_file()), None)

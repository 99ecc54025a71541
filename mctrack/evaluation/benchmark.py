"""Benchmarks: what is scored, how, and where it lies; each is one YAML file in ``eval/benchmarks``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mctrack.config import load_config
from mctrack.errors import ConfigError, suggest
from mctrack.resources import resource


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
    splits: dict[str, list[str]] = field(default_factory=dict)
    """Name → sequences."""
    fetch: str = ""
    """What to fetch and how the folder must look."""

    @property
    def protocol(self) -> str:
        """What is counted, in a line."""
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
            parts.append("MC_* with one identity space over all cameras")
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
    return load_config(Benchmark, [path])


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
    present = _names(benchmark.truth, root)
    if not present:
        raise NoDataError(f"--root {root}: no ground truth found (looked for {', '.join(benchmark.truth)})")
    names = list(sequences) or (benchmark.splits[split] if split else present + _result_names(benchmark, results))
    return [_locate(benchmark, root, name) for name in dict.fromkeys(names)]


def _names(patterns: Iterable[str], folder: Path) -> list[str]:
    """Sequences that have a file of one of the patterns in the folder."""
    names = set()
    for pattern in patterns:
        before, _, after = pattern.partition("{sequence}")
        for path in folder.glob(f"{before}*{after}"):
            names.add(path.relative_to(folder).as_posix()[len(before) :].removesuffix(after))
    return sorted(names)


def _result_names(benchmark: Benchmark, results: Path | None) -> list[str]:
    """Sequences that have results, by the first pattern that fits any file."""
    if results is None:
        return []
    for pattern in benchmark.results:
        if names := _names([pattern], results):
            return names
    return []


def _locate(benchmark: Benchmark, root: Path, name: str) -> Found:
    for pattern in benchmark.truth:
        path = root / pattern.replace("{sequence}", name)
        if path.is_file():
            return Found(name, path, find_seqinfo(path))
    return Found(name, None)


def find_seqinfo(truth: Path) -> Path | None:
    """The ``seqinfo.ini`` (or ``<camera>.ini``) that belongs to a ground-truth file, or None."""
    near = [truth.with_suffix(".ini"), truth.parent / "seqinfo.ini"]
    if truth.name == "gt.txt":  # beside others, gt/cam1.txt, the folder above belongs to no single camera
        near.append(truth.parent.parent / "seqinfo.ini")
    return next((p for p in near if p.is_file()), None)

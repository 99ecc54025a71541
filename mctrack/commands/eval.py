"""``mctrack eval``: score results by a benchmark's protocol."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mctrack.evaluation.benchmark import Benchmark
    from mctrack.evaluation.report import Report


@dataclass(frozen=True)
class RunRequest:
    """What a tracker is asked to do before its results are scored.

    Attributes:
        benchmark: the definition (``cameras`` says whether the sequences are cameras of one scene).
        root: folder of the benchmark's data.
        sequences: what to run on; each has its ground truth and seqinfo.ini as ``find_sequences`` gives them.
        config: file or preset of ``--config``.
        out: folder of ``--out``.
    """

    benchmark: Benchmark
    root: Path
    sequences: tuple[str, ...]
    config: str | None
    out: Path | None


Runner = Callable[[RunRequest], Path]
"""Runs a tracker and returns the folder that holds its results."""


def make_eval_command(runner: Runner | None = None) -> click.Command:
    """The command; with a runner it can produce results itself where ``--results`` is not given."""

    @click.command("eval")
    @click.option("--benchmark", metavar="NAME|FILE", help="mot15, mot16, mot17, mot20, folder, or a YAML file.")
    @click.option("--root", type=click.Path(path_type=Path), help="Folder of the benchmark's data.")
    @click.option("--results", type=click.Path(path_type=Path), help="Results to score: a folder (a file with --gt).")
    @click.option("--split", help="Only the sequences of this split; all of them have to be there.")
    @click.option("--sequences", multiple=True, metavar="A,B,…", help="Only these sequences.")
    @click.option("--gt", type=click.Path(path_type=Path), help="Score one file against this ground truth.")
    @click.option("--gt-scale", type=float, help="Ground-truth coordinates × this = those of the results.")
    @click.option("--engine", type=click.Choice(["motmetrics", "fast", "motmetrics-plain"]), default="motmetrics",
                  show_default=True, help="Who counts CLEAR and ID; HOTA is always our own.")
    @click.option("--json", "json_file", metavar="FILE", help="Write all figures as JSON ('-': to the terminal).")
    @click.option("--markdown", "markdown_file", metavar="FILE", help="Write the tables as Markdown ('-': likewise).")
    @click.option("--config", help="Without --results: configuration or preset of the tracker to run.")
    @click.option("--out", type=click.Path(path_type=Path), help="Without --results: where the run is kept.")
    def eval_command(**options: Any) -> None:
        r"""Score results: CLEAR, ID and HOTA, also across cameras.

        \b
        mctrack eval --benchmark mot17 --root MOT17 --results my_results
        mctrack eval --benchmark folder --root videos --results runs/latest
        mctrack eval --gt gt.txt --results tracks.txt --gt-scale 0.625

        Exit code 1 if a sequence could not be scored; the others are.
        """
        sys.exit(run_eval(runner=runner, **options))

    return eval_command


def run_eval(
    benchmark: str | None,
    root: Path | None,
    results: Path | None,
    split: str | None,
    sequences: tuple[str, ...],
    gt: Path | None,
    gt_scale: float | None,
    engine: str,
    json_file: str | None,
    markdown_file: str | None,
    config: str | None = None,
    out: Path | None = None,
    runner: Runner | None = None,
) -> int:
    """Do what the options say and print the report; returns the exit code (0, or 1 where something is missing)."""
    from mctrack.errors import ConfigError
    from mctrack.evaluation.benchmark import Benchmark, NoDataError, load_benchmark

    if benchmark is None and gt is None:
        raise ConfigError("eval needs --benchmark NAME, or --gt FILE with --results FILE; see mctrack eval --help")
    if gt_scale is not None and not gt_scale > 0:
        raise ConfigError(f"--gt-scale {gt_scale}: must be positive")
    definition = load_benchmark(benchmark) if benchmark else Benchmark()
    if gt_scale is not None:
        definition = replace(definition, scale=gt_scale)
    if gt is not None:
        report = _score_file(definition, gt, results, engine)
    else:
        names = tuple(name for part in sequences for name in part.split(",") if name)
        try:
            report = _score_folder(definition, root, results, split, names, engine, config, out, runner)
        except NoDataError as error:
            raise NoDataError(f"{error}\n\n{definition.fetch}".rstrip()) from error
    _show(report, json_file, markdown_file)
    return 0 if report.complete else 1


def _score_file(definition: Benchmark, gt: Path, results: Path | None, engine: str) -> Report:
    from mctrack.errors import ConfigError
    from mctrack.evaluation.evaluate import score_files

    if results is None:
        raise ConfigError("--gt needs --results FILE")
    if results.is_dir():
        raise ConfigError(f"--results {results}: is a folder; with --gt it is one file")
    return score_files(gt, results, definition, engine)


def _score_folder(
    definition: Benchmark,
    root: Path | None,
    results: Path | None,
    split: str | None,
    names: tuple[str, ...],
    engine: str,
    config: str | None,
    out: Path | None,
    runner: Runner | None,
) -> Report:
    from mctrack.evaluation.benchmark import NoDataError, find_sequences
    from mctrack.evaluation.evaluate import evaluate

    if root is None:
        raise NoDataError(f"--benchmark {definition.name} needs its data: --root DIR")
    if results is None:
        found = find_sequences(definition, root, split, names)
        if runner is None:
            raise NoDataError(f"--benchmark {definition.name} needs --results DIR")
        runnable = tuple(item.name for item in found if item.truth is not None)
        results = runner(RunRequest(definition, root, runnable, config, out))
    return evaluate(definition, root, results, split, names, engine)


def _show(report: Report, json_file: str | None, markdown_file: str | None) -> None:
    """Write what was asked for; the table goes to the terminal unless something else does."""
    texts = [(json_file, report.to_json), (markdown_file, report.to_markdown)]
    for name, render in texts:
        if name == "-":
            click.echo(render(), nl=False)
        elif name:
            _write(Path(name), render())
    if "-" not in (json_file, markdown_file):
        click.echo(report.to_text(), nl=False)


def _write(path: Path, text: str) -> None:
    from mctrack.errors import OutputError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def _track(request: RunRequest) -> Path:
    """Run our own tracker; imported only when results are not given."""
    from mctrack.commands.benchmark_runner import run_benchmark

    return run_benchmark(request)


eval_command = make_eval_command(_track)

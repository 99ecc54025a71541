"""``mctrack eval``: score results by a benchmark's protocol."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mctrack.commands.eval_job import Job, Runner, RunRequest

if TYPE_CHECKING:
    from mctrack.evaluation.benchmark import Benchmark
    from mctrack.evaluation.compare import Comparison
    from mctrack.evaluation.report import Report


def make_eval_command(runner: Runner | None = None) -> click.Command:
    """The command; with a runner it can produce results itself where ``--results`` is not given."""

    @click.command("eval")
    @click.option("--benchmark", metavar="NAME|FILE",
                  help="mot15, mot16, mot17, mot20, lab, wildtrack, split, folder, or a YAML file.")
    @click.option("--root", type=click.Path(path_type=Path), help="Folder of the benchmark's data.")
    @click.option("--results", type=click.Path(path_type=Path), help="Results to score: a folder (a file with --gt).")
    @click.option("--split", help="Only the sequences of this split; all of them have to be there. "
                  "Benchmark split: how the clip is cut (halves, gap).")
    @click.option("--sequences", multiple=True, metavar="A,B,…", help="Only these sequences.")
    @click.option("--gt", type=click.Path(path_type=Path), help="Score one file against this ground truth. "
                  "Benchmark split: the clip's ground truth.")
    @click.option("--gt-scale", type=float, help="Ground-truth coordinates × this = those of the results.")
    @click.option("--engine", type=click.Choice(["motmetrics", "fast", "motmetrics-plain"]), default="motmetrics",
                  show_default=True, help="Who counts CLEAR and ID; HOTA is always our own.")
    @click.option("--json", "json_file", metavar="FILE", help="Write all figures as JSON ('-': to the terminal).")
    @click.option("--markdown", "markdown_file", metavar="FILE", help="Write the tables as Markdown ('-': likewise).")
    @click.option("--html", "html_file", metavar="FILE", help="Write a page with tables and pictures.")
    @click.option("--pictures", "pictures_dir", metavar="DIR",
                  help="Draw HOTA over α and the identities' timelines of every sequence.")
    @click.option("--mistakes", "mistakes_dir", metavar="DIR",
                  help="Film the mistakes of every sequence: switches, misses, false boxes.")
    @click.option("--compare", metavar="A,B,…|KEY=A,B,…",
                  help="Run once per value (of reid.name, or of any key; results=DIR,DIR: of these) and compare.")
    @click.option("--config", help="Without --results: configuration or preset of the tracker to run.")
    @click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
                  help="Without --results: one key of the tracker's configuration.")
    @click.option("--out", type=click.Path(path_type=Path), help="Without --results: where the run is kept.")
    @click.option("--reid", metavar="NAME", help="Score this embedder on a ReID benchmark: market1501, dukemtmc, "
                  "msmt17, cuhk03, viper, veri776, vehicleid, folder. --set: options of its reader.")
    @click.option("--rerank", type=click.Choice(["k_reciprocal", "ecn"]), help="With --reid: re-rank before scoring.")
    def eval_command(**options: Any) -> None:
        """Score results: CLEAR, ID and HOTA, also across cameras.

        \b
        mctrack eval --benchmark mot17 --root MOT17 --results my_results
        mctrack eval --benchmark folder --root videos --results runs/latest
        mctrack eval --gt gt.txt --results tracks.txt --gt-scale 0.625
        mctrack eval --benchmark lab --root LAB --compare none,histogram
        mctrack eval --benchmark split --split gap --root CLIP --out runs/gap
        mctrack eval --benchmark market1501 --root MARKET --reid histogram --rerank ecn

        Exit code 1 if a sequence could not be scored; the others are.
        """  # noqa: D301
        from mctrack.commands.eval_reid import asks_for_reid, evaluate_reid

        if asks_for_reid(options):
            sys.exit(evaluate_reid(**options))
        del options["reid"], options["rerank"]
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
    json_file: str | None = None,
    markdown_file: str | None = None,
    config: str | None = None,
    out: Path | None = None,
    runner: Runner | None = None,
    settings: tuple[str, ...] = (),
    compare: str | None = None,
    html_file: str | None = None,
    pictures_dir: str | None = None,
    mistakes_dir: str | None = None,
) -> int:
    """Do what the options say and print the report; returns the exit code (0, or 1 where something is missing)."""
    from mctrack.errors import ConfigError

    if benchmark is None and gt is None:
        raise ConfigError("eval needs --benchmark NAME, or --gt FILE with --results FILE; see mctrack eval --help")
    if gt_scale is not None and not 0 < gt_scale < math.inf:
        raise ConfigError(f"--gt-scale {gt_scale}: must be positive and finite")
    names = tuple(name for part in sequences for name in part.split(",") if name)
    drawn = bool(html_file or pictures_dir or mistakes_dir)
    job = Job(_definition(benchmark, gt_scale), root, results, split, names, engine, config, settings, out, gt, drawn)
    report = _do(job, compare, runner)
    if drawn:
        _draw(report, job, html_file, pictures_dir, mistakes_dir)
    _show(report, json_file, markdown_file)
    return 0 if report.complete else 1


def _definition(benchmark: str | None, gt_scale: float | None) -> Benchmark:
    from mctrack.evaluation.benchmark import Benchmark, load_benchmark

    definition = load_benchmark(benchmark) if benchmark else Benchmark()
    return definition if gt_scale is None else replace(definition, scale=gt_scale)


def _do(job: Job, compare: str | None, runner: Runner | None) -> Report | Comparison:
    from mctrack.commands.eval_job import compare_runs, score
    from mctrack.errors import ConfigError
    from mctrack.evaluation.benchmark import NoDataError

    def say(line: str) -> None:
        click.echo(line, err=True)

    if job.gt is not None and not job.definition.windows:
        if compare:
            raise ConfigError("--compare needs --benchmark; --gt scores one file")
        _refuse("--gt scores one file", job, "config", "settings", "out", "split", "sequences")
        return _score_file(job)
    if compare and job.results is not None:
        raise ConfigError("--compare runs the tracker itself; for results that are there use --compare results=DIR,DIR")
    if job.results is not None:
        _refuse("--results are there already", job, "config", "settings", "out")
    try:
        return compare_runs(job, compare, runner, say) if compare else score(job, runner, say)
    except NoDataError as error:
        raise NoDataError(f"{error}\n\n{job.definition.fetch}".rstrip()) from error


def _refuse(why: str, job: Job, *names: str) -> None:
    """Raise where an option was given that would do nothing."""
    from mctrack.errors import ConfigError

    for name in names:
        if getattr(job, name):
            raise ConfigError(f"{why}: --{'set' if name == 'settings' else name} has no meaning")


def _score_file(job: Job) -> Report:
    from mctrack.errors import ConfigError
    from mctrack.evaluation.evaluate import score_files

    assert job.gt is not None
    if job.results is None:
        raise ConfigError("--gt needs --results FILE")
    if job.results.is_dir():
        raise ConfigError(f"--results {job.results}: is a folder; with --gt it is one file")
    return score_files(job.gt, job.results, job.definition, job.engine, job.details)


def _draw(report: Report | Comparison, job: Job, html_file: str | None, pictures_dir: str | None,
          mistakes_dir: str | None) -> None:
    from mctrack.commands.eval_pictures import draw_report

    for line in draw_report(report, job.root, html_file, pictures_dir, mistakes_dir):
        click.echo(line, err=True)


def _show(report: Report | Comparison, json_file: str | None, markdown_file: str | None) -> None:
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

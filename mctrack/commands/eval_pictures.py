"""Looking instead of reading: plots, films of mistakes and a page for a report or a comparison."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from mctrack.errors import MctrackError, OutputError

if TYPE_CHECKING:
    from mctrack.evaluation.compare import Comparison
    from mctrack.evaluation.report import Report

MOST_TIMELINES = 24
"""On a page; all of them come with --pictures."""

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1b1b1b }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } th { border-bottom: 2px solid #888 }
img { max-width: 100%; height: auto; margin: .4rem .8rem .4rem 0 } .scroll { overflow-x: auto }
.gap { color: #b00020 } .sure { font-weight: 600 } .pale { color: #666 }
"""


def draw_report(report: Report | Comparison, root: Path | None, html_file: str | None, pictures_dir: str | None,
                mistakes_dir: str | None) -> Iterator[str]:
    """Write what is asked for; yields a line per file, and one for each sequence that has no pictures to film.

    Args:
        report: with ``details``; of a comparison every run's pictures go into a folder of their own.
        root: the benchmark's data, for films.
        html_file, pictures_dir, mistakes_dir: what to write; None: nothing.

    Raises:
        OutputError: a file cannot be written.
    """
    runs = _runs(report)
    for name, run in runs.items():
        if pictures_dir:
            yield from write_pictures(run, Path(pictures_dir) / name)
        if mistakes_dir:
            yield from _films(run, run.root or root, Path(mistakes_dir) / name)
    if html_file:
        _store(Path(html_file), page(report).encode())
        yield f"{html_file}: the page"


def _runs(report: Report | Comparison) -> Mapping[str, Report]:
    """Runs by the folder their pictures go to."""
    from mctrack.commands.eval_job import slug
    from mctrack.evaluation.report import Report

    if isinstance(report, Report):
        return {"": report}
    return {slug(name): run for name, run in report.reports.items()}


def write_pictures(report: Report, folder: Path) -> Iterator[str]:
    """``<sequence>_hota.png`` and ``<sequence>_identities.png`` for every sequence; yields a line per file."""
    from mctrack.commands.eval_plots import hota_plot, timeline_plot

    for name, details in report.details.items():
        plots = {"hota": hota_plot(report.sequences[name]["curves"], f"{name}: HOTA over α"),
                 "identities": timeline_plot(details, f"{name}: truth (rows) and result identities (colours)")}
        for kind, png in plots.items():
            path = folder / f"{name}_{kind}.png"
            _store(path, png)
            yield f"{path}"
    if report.plane == "ground":
        yield "--pictures: there are no pictures of the ground plane"


def _films(report: Report, root: Path | None, folder: Path) -> Iterator[str]:
    from mctrack.commands.benchmark_runner import find_pictures
    from mctrack.commands.eval_film import film

    for name, details in report.details.items():
        try:
            yield film(details, find_pictures(root, name), name, folder / f"{name}.mp4")
        except OutputError:
            raise
        except MctrackError as error:  # sequences often come without their pictures: the others are filmed
            yield f"{name}: no film: {error}"


def page(report: Report | Comparison) -> str:
    """One HTML page with everything in it: tables, plots, notes; it asks the network for nothing."""
    from mctrack.evaluation.report import Report

    body = _report_body(report) if isinstance(report, Report) else _comparison_body(report)
    title = report.title if isinstance(report, Report) else f"{report.first.title}: {report.axis}"
    return (f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
            f"<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>\n{body}\n</html>\n")


def _report_body(report: Report) -> str:
    from mctrack.commands.eval_plots import hota_plot

    head, rows = report.table()
    parts = [_paragraph(report.protocol), _table([head, *rows])]
    across = report.across()
    if across:
        parts.append(_table([[k for k, _ in across], [v for _, v in across]]))
    parts += [_list(report)]
    if "curves" in report.combined:
        parts.append(_image(hota_plot(report.combined["curves"], "HOTA over α, all sequences together"), "HOTA over α"))
    return "\n".join([*parts, *_timelines({"": report})])


def _comparison_body(comparison: Comparison) -> str:
    from mctrack.commands.eval_plots import hota_of_runs, sequences_plot

    reports = comparison.reports
    parts = [_paragraph(comparison.first.protocol), *(_table(t) for t in comparison.tables())]
    parts += [_paragraph(note) for note in comparison.notes]
    if comparison.first.plane == "image":
        parts.append(_image(hota_of_runs(reports, "HOTA over α, all sequences together"), "HOTA over α"))
        parts += [_image(sequences_plot(reports, key), f"{key} by sequence") for key in ("HOTA", "IDF1")]
    for name, report in reports.items():
        head, rows = report.table()
        parts += [f"<h2>{escape(name)}</h2>", _table([head, *rows]), _list(report)]
    return "\n".join([*parts, *_timelines(reports)])


def _timelines(reports: Mapping[str, Report]) -> Iterator[str]:
    from mctrack.commands.eval_plots import timeline_plot

    every = [(run, name, d) for run, report in reports.items() for name, d in report.details.items()]
    if every:
        yield "<h2>Who bore which name when</h2>"
        yield _paragraph("One row per person in the truth: pale where they are, coloured by the identity they were "
                         "given, a black tick where it changes; below, in orange, boxes on nobody.")
    for run, name, details in every[:MOST_TIMELINES]:
        title = f"{run}: {name}" if run else name
        yield _image(timeline_plot(details, title), f"identities of {title}")
    if len(every) > MOST_TIMELINES:
        yield _paragraph(f"{len(every) - MOST_TIMELINES} more: --pictures DIR draws them all.")


def _paragraph(text: str) -> str:
    return f'<p class="pale">{escape(text)}</p>'


def _table(rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows[1:])
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _cell(text: str) -> str:
    kind = ' class="sure"' if text.endswith("*") else ' class="gap"' if text == "not scored" else ""
    return f"<td{kind}>{escape(text)}</td>"


def _list(report: Report) -> str:
    lines = [f'<li class="gap">not scored: {escape(n)}: {escape(why)}</li>' for n, why in report.gaps.items()]
    lines += [f"<li>{escape(note)}</li>" for note in report.notes]
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def _image(png: bytes, alt: str) -> str:
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{b64encode(png).decode()}">'


def _store(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error

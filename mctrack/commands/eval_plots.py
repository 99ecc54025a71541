"""Plots of an evaluation as PNG: HOTA over α, identity timelines, runs side by side. No pyplot: no global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mctrack.evaluation.report import Details, Report

MOST_PEOPLE = 40
"""Timelines of more people are no longer readable; the longest are shown, and the title says so."""
CURVES = {"HOTA": "#111111", "DetA": "#1f77b4", "AssA": "#d62728", "LocA": "#2ca02c"}
RUNS = ("#111111", "#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf")


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _png(figure: Any) -> bytes:
    out = BytesIO()
    figure.savefig(out, format="png", dpi=100, metadata={"Software": None})
    return out.getvalue()


def hota_plot(curves: Mapping[str, Sequence[float]], title: str) -> bytes:
    """HOTA, DetA, AssA and LocA of one sequence over the localisation threshold α, as PNG."""
    from mctrack.evaluation.hota import ALPHAS

    figure, axes = _figure(6.4, 4.0)
    for name, colour in CURVES.items():
        mean = sum(curves[name]) / len(curves[name])
        axes.plot(ALPHAS, [100 * v for v in curves[name]], color=colour, lw=2.4 if name == "HOTA" else 1.4,
                  label=f"{name} {100 * mean:.1f}")
    _alpha_axes(axes, title)
    return _png(figure)


def hota_of_runs(reports: Mapping[str, Report], title: str) -> bytes:
    """Combined HOTA of several runs over α, as PNG."""
    from mctrack.evaluation.hota import ALPHAS

    figure, axes = _figure(6.4, 4.0)
    for (name, report), colour in zip(reports.items(), _cycle(len(reports)), strict=True):
        curve = report.combined.get("curves", {}).get("HOTA")
        if curve is not None:
            axes.plot(ALPHAS, [100 * v for v in curve], color=colour, lw=1.8,
                      label=f"{name}: HOTA {100 * sum(curve) / len(curve):.1f}")
    _alpha_axes(axes, title)
    return _png(figure)


def _alpha_axes(axes: Any, title: str) -> None:
    axes.set(xlim=(0.05, 0.95), ylim=(0, 101), xlabel="α: least IoU of a match", ylabel="%", title=title)
    axes.grid(color="#dddddd")
    axes.legend(loc="lower left", frameon=False)


def _cycle(count: int) -> list[str]:
    return [RUNS[i % len(RUNS)] for i in range(count)]


def sequences_plot(reports: Mapping[str, Report], key: str) -> bytes:
    """One figure of every sequence in every run: one row per sequence, one dot per run, as PNG."""
    names = list(dict.fromkeys(n for r in reports.values() for n in r.sequences))
    figure, axes = _figure(6.4, 1.2 + 0.32 * len(names))
    for (run, report), colour in zip(reports.items(), _cycle(len(reports)), strict=True):
        there = [(100 * report.sequences[n][key], y) for y, n in enumerate(names)
                 if n in report.sequences and report.sequences[n][key] is not None]
        axes.scatter([x for x, _ in there], [y for _, y in there], color=colour, label=run, s=30, zorder=3)
    axes.set(yticks=range(len(names)), xlabel=f"{key}, %", title=f"{key} by sequence", ylim=(len(names) - 0.5, -0.5))
    axes.set_yticklabels(names)
    axes.grid(color="#dddddd")
    figure.legend(loc="outside lower center", frameon=False, ncols=4)
    return _png(figure)


def timeline_plot(details: Details, title: str) -> bytes:
    """Who bore which name when, as PNG.

    One row per true person: pale where they are in the truth, coloured by the result identity where they are found, a
    black tick at every switch. Below, one row of false boxes.
    """
    import numpy as np

    from mctrack.evaluation.mistakes import find_mistakes

    overlaps = details.overlaps
    mistakes = find_mistakes(overlaps, details.iou)
    people, lengths = np.unique(overlaps.gt_id, return_counts=True)
    shown = np.sort(people[np.argsort(-lengths, kind="stable")[:MOST_PEOPLE]])
    if len(shown) < len(people):
        title += f" (the {len(shown)} longest of {len(people)} people)"
    figure, axes = _figure(11.0, 1.4 + 0.22 * (len(shown) + 1))
    frame_of_gt = overlaps.frames[overlaps.frame_of_gt()]
    width = 1 / details.fps
    for y, person in enumerate(shown):
        rows = np.flatnonzero(overlaps.gt_id == person)
        at = (frame_of_gt[rows] - 1) / details.fps
        axes.broken_barh(_spans(at, width), (y - 0.42, 0.84), color="#e4e4e4", lw=0)
        names = np.where(mistakes.result_of_gt[rows] >= 0, overlaps.result_id[mistakes.result_of_gt[rows]], -1) \
            if len(overlaps.result_id) else np.full(len(rows), -1)
        for name in np.unique(names[names >= 0]):
            axes.broken_barh(_spans(at[names == name], width), (y - 0.3, 0.6), color=_colour(int(name)), lw=0)
        switches = at[mistakes.switched[rows]]
        axes.vlines(switches, y - 0.48, y + 0.48, color="black", lw=1.6, zorder=4)
    false = (overlaps.frames[overlaps.frame_of_result()][mistakes.false] - 1) / details.fps
    axes.broken_barh(_spans(np.unique(false), width), (len(shown) - 0.3, 0.6), color="#ff8c00", lw=0)
    axes.set(ylim=(len(shown) + 0.5, -0.5), xlabel="s", title=title, yticks=range(len(shown) + 1))
    axes.set_yticklabels([*(str(p) for p in shown.tolist()), "false"], fontsize=7)
    axes.set_xlim(0, max(float(overlaps.frames[-1]) / details.fps if len(overlaps.frames) else 1, width))
    return _png(figure)


def _spans(at: Any, width: float) -> list[tuple[float, float]]:
    """(start, length) of runs of moments no further apart than 1.5 widths."""
    import numpy as np

    if not len(at):
        return []
    cuts = np.flatnonzero(np.diff(at) > 1.5 * width)
    starts, ends = at[np.r_[0, cuts + 1]], at[np.r_[cuts, len(at) - 1]]
    return [(float(a), float(b - a + width)) for a, b in zip(starts, ends, strict=True)]


def _colour(identity: int) -> tuple[float, float, float]:
    """Red, green, blue in 0…1, the same colour as in the annotated videos."""
    from mctrack.sinks.draw import color_of

    blue, green, red = color_of(identity)
    return red / 255, green / 255, blue / 255

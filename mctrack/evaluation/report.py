"""A report of figures: as JSON, as Markdown, as plain text. Every gap is a row of its own, never a smaller total."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mctrack.evaluation.score import Counts
from mctrack.evaluation.table import BoxTable, Overlaps

RATIOS = ("HOTA", "DetA", "AssA", "MOTA", "MOTP", "IDF1")
COUNTS = ("FP", "FN", "IDSW", "Frag", "MT", "PT", "ML", "IDs")
GROUND_RATIOS = ("MODA", "MODP", "Rcll", "Prcn", "MOTA", "MOTP", "IDF1")
GROUND_COUNTS = ("FP", "FN", "IDSW", "MT", "ML")
METRES = ("GOSPA", "GOSPA_loc", "GOSPA_missed", "GOSPA_false")
SHOWN = {"image": (*RATIOS, *COUNTS), "ground": (*GROUND_RATIOS, *GROUND_COUNTS, *METRES)}
ACROSS = ("MC_IDF1", "MC_IDP", "MC_IDR", "CVMA", "CVIDF1", "ID_purity", "ID_completeness", "HandOver", "Return")


@dataclass(frozen=True, eq=False)
class Details:
    """The boxes of a sequence that count, in frame order, their overlaps, from which IoU they match, and its fps."""

    gt: BoxTable
    result: BoxTable
    overlaps: Overlaps
    iou: float
    fps: float


@dataclass
class Report:
    """What an evaluation found.

    Attributes:
        benchmark, title, protocol, engine: what was scored and how.
        sequences: sequence → figures (ratios as fractions of 1).
        combined: figures of all scored sequences together.
        gaps: sequence → why it could not be scored.
        notes: what a reader of the totals has to know.
        plane: ``image`` or ``ground``: which figures there are.
        one_scene: whether the sequences are cameras of one scene.
        root: folder of the data that was scored, where it is one.
        counts: sequence → additive counts that the figures come from.
        details: sequence → its boxes, if they were asked for.
    """

    benchmark: str
    title: str
    protocol: str
    engine: str
    sequences: dict[str, dict[str, Any]] = field(default_factory=dict)
    combined: dict[str, Any] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    plane: str = "image"
    one_scene: bool = False
    root: Path | None = None
    counts: dict[str, Counts] = field(default_factory=dict, repr=False)
    details: dict[str, Details] = field(default_factory=dict, repr=False)

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for has been scored."""
        return bool(self.sequences) and not self.gaps

    def to_dict(self) -> dict[str, Any]:
        """The report for ``--json``."""
        return {
            "benchmark": self.benchmark,
            "protocol": self.protocol,
            "engine": self.engine,
            "complete": self.complete,
            "sequences": self.sequences,
            "combined": self.combined,
            "gaps": self.gaps,
            "notes": self.notes,
        }

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """Tables for a README, ratios in per cent."""
        head, rows = self.table()
        lines = [f"**{self.title}**: {self.protocol}; {_engine(self.engine)}.", "", _pipe(head)]
        lines.append(_pipe([":--", *["--:"] * (len(head) - 1)]))
        lines += [_pipe(row) for row in rows]
        gaps = [f"- not scored: `{name}`: {reason}" for name, reason in self.gaps.items()]
        lines += ["", *gaps] if gaps else []
        across = self.across()
        if across:
            lines += ["", _pipe([k for k, _ in across]), _pipe(["--:"] * len(across)), _pipe([v for _, v in across])]
        pairs = self.combined.get("pairs")
        if pairs:
            lines += ["", "| from > to | right | hand-overs |", "|:--|--:|--:|"]
            lines += [_pipe([pair, str(t["right"]), str(t["total"])]) for pair, t in pairs.items()]
        lines += ["", *[f"- {note}" for note in self.notes]] if self.notes else []
        return "\n".join(lines) + "\n"

    def to_text(self) -> str:
        """The same for a terminal."""
        head, rows = self.table()
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        lines = [f"{self.title}: {self.protocol}; {_engine(self.engine)}", ""]
        for row in [head, *rows]:
            cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
            lines.append("  ".join(cells).rstrip())
        across = self.across()
        if across:
            lines += ["", "across cameras: " + ", ".join(f"{k} {v}" for k, v in across)]
        for pair, tally in self.combined.get("pairs", {}).items():
            lines.append(f"  {pair}: {tally['right']} of {tally['total']} right")
        lines += [f"not scored: {name}: {reason}" for name, reason in self.gaps.items()]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows: sequences, gaps, and the total with the number of sequences in it."""
        keys = list(SHOWN[self.plane])
        rows = [[name, *_cells(f, keys)] for name, f in self.sequences.items()]
        rows += [[name, "not scored", *[""] * (len(keys) - 1)] for name in self.gaps]
        if self.combined:
            asked = len(self.sequences) + len(self.gaps)
            label = "combined" if not self.gaps else f"combined ({len(self.sequences)} of {asked})"
            rows.append([label, *_cells(self.combined, keys)])
        return [self.benchmark, *keys], rows

    def across(self) -> list[tuple[str, str]]:
        """Names and values of the figures across cameras and on the ground plane, as they are printed."""
        keys = [*ACROSS, *(f"GP_{k}" for k in SHOWN["ground"])]
        return [(k, shown(k.removeprefix("GP_"), self.combined[k])) for k in keys if k in self.combined]


def _cells(figures: dict[str, Any], keys: list[str]) -> list[str]:
    return [shown(k, figures[k]) for k in keys]


def shown(key: str, value: float | None) -> str:
    """A figure as it is printed: ratios in per cent, lengths in metres, counts as they are; "none" for None."""
    if value is None:
        return "none"
    if key in METRES:
        return f"{value:.3f}"
    return str(value) if key in COUNTS or key in GROUND_COUNTS else f"{100 * value:.2f}"


def _pipe(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _engine(name: str) -> str:
    return {
        "motmetrics": "CLEAR and ID through motmetrics with the official kit's rules, ratios in %",
        "motmetrics-plain": "CLEAR and ID by motmetrics' own rules, ratios in %",
        "fast": "own engine with the official kit's rules, ratios in %",
        "ground": "ratios in %, GOSPA in m",
    }[name]

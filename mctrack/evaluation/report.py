"""A report of figures: as JSON, as Markdown, as plain text. Every gap is a row of its own, never a smaller total."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

RATIOS = ("HOTA", "DetA", "AssA", "MOTA", "MOTP", "IDF1")
COUNTS = ("FP", "FN", "IDSW", "Frag", "MT", "PT", "ML", "IDs")
ACROSS = ("MC_IDF1", "MC_IDP", "MC_IDR", "CVMA", "CVIDF1", "ID_purity", "ID_completeness", "HandOver", "Return")


@dataclass
class Report:
    """What an evaluation found.

    Attributes:
        benchmark, title, protocol, engine: what was scored and how.
        sequences: sequence → figures (ratios as fractions of 1).
        combined: figures of all scored sequences together.
        gaps: sequence → why it could not be scored.
        notes: what a reader of the totals has to know.
    """

    benchmark: str
    title: str
    protocol: str
    engine: str
    sequences: dict[str, dict[str, Any]] = field(default_factory=dict)
    combined: dict[str, Any] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

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
        head, rows = self._table()
        lines = [f"**{self.title}**: {self.protocol}; {_engine(self.engine)}.", "", _pipe(head)]
        lines.append(_pipe([":--", *["--:"] * (len(head) - 1)]))
        lines += [_pipe(row) for row in rows]
        gaps = [f"- not scored: `{name}`: {reason}" for name, reason in self.gaps.items()]
        lines += ["", *gaps] if gaps else []
        across = self._across()
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
        head, rows = self._table()
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        lines = [f"{self.title}: {self.protocol}; {_engine(self.engine)}", ""]
        for row in [head, *rows]:
            cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
            lines.append("  ".join(cells).rstrip())
        across = self._across()
        if across:
            lines += ["", "across cameras: " + ", ".join(f"{k} {v}" for k, v in across)]
        for pair, tally in self.combined.get("pairs", {}).items():
            lines.append(f"  {pair}: {tally['right']} of {tally['total']} right")
        lines += [f"not scored: {name}: {reason}" for name, reason in self.gaps.items()]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows: sequences, gaps, and the total with the number of sequences in it."""
        keys = [*RATIOS, *COUNTS]
        rows = [[name, *_cells(f, keys)] for name, f in self.sequences.items()]
        rows += [[name, "not scored", *[""] * (len(keys) - 1)] for name in self.gaps]
        if self.combined:
            asked = len(self.sequences) + len(self.gaps)
            label = "combined" if not self.gaps else f"combined ({len(self.sequences)} of {asked})"
            rows.append([label, *_cells(self.combined, keys)])
        return [self.benchmark, *keys], rows

    def _across(self) -> list[tuple[str, str]]:
        return [(k, _percent(self.combined[k])) for k in ACROSS if k in self.combined]


def _cells(figures: dict[str, Any], keys: list[str]) -> list[str]:
    return [_percent(figures[k]) if k in RATIOS else str(figures[k]) for k in keys]


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.2f}"


def _pipe(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _engine(name: str) -> str:
    return {
        "motmetrics": "CLEAR and ID through motmetrics with the official kit's rules, ratios in %",
        "motmetrics-plain": "CLEAR and ID by motmetrics' own rules, ratios in %",
        "fast": "own engine with the official kit's rules, ratios in %",
    }[name]

"""Several runs of one benchmark side by side: differences, and how far chance alone would carry them.

The interval of a difference is a paired bootstrap over sequences: the same sequences are drawn for both runs, their
counts are added, and the figures of the sums are compared. Where there is nothing to draw from (one sequence, or
cameras of one scene, which all see the same people at the same time), there is no interval, and the comparison says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mctrack.errors import ConfigError
from mctrack.evaluation.evaluate_ground import pooled_ground
from mctrack.evaluation.ground import ground_figures
from mctrack.evaluation.report import ACROSS, SHOWN, Report, shown
from mctrack.evaluation.score import Counts, figures, pooled

SAMPLES = 1000
LEVEL = 0.95
BOOTSTRAPPED = {"image": ("HOTA", "DetA", "AssA", "MOTA", "IDF1"), "ground": ("MODA", "MODP", "MOTA", "IDF1")}
SCENE = (*ACROSS, *(f"GP_{k}" for k in ("MODA", "MODP", "MOTA", "IDF1")))
"""Figures of a scene as a whole: across cameras, and on the floor where there is truth."""


@dataclass(frozen=True)
class Difference:
    """Of a figure to the first run's: ``value``, and the interval ``low`` to ``high`` (None: there is none)."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def certain(self) -> bool:
        """Whether the interval is on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass
class Comparison:
    """Runs by name, the first being the one the others are compared with.

    Attributes:
        axis: what differs between the runs.
        reports: run → its report.
        differences: run → figure → difference to the first run; not of the first itself.
        notes: what a reader has to know.
    """

    axis: str
    reports: dict[str, Report]
    differences: dict[str, dict[str, Difference]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every run was scored on everything that was asked for."""
        return all(r.complete for r in self.reports.values())

    @property
    def first(self) -> Report:
        """The report the others are compared with."""
        return next(iter(self.reports.values()))

    def to_dict(self) -> dict[str, Any]:
        """The comparison for ``--json``."""
        return {
            "benchmark": self.first.benchmark,
            "protocol": self.first.protocol,
            "axis": self.axis,
            "complete": self.complete,
            "runs": {name: report.to_dict() for name, report in self.reports.items()},
            "differences": {
                run: {k: {"value": d.value, "low": d.low, "high": d.high} for k, d in found.items()}
                for run, found in self.differences.items()
            },
            "notes": self.notes,
        }

    def to_json(self) -> str:
        """The comparison as JSON text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def tables(self) -> list[list[list[str]]]:
        """Rows of cells, the head first: the figures of all runs, and the differences to the first."""
        keys = self._keys()
        totals = [[self.axis, *keys]]
        for name, report in self.reports.items():
            label = name if report.complete else f"{name} (incomplete)"
            totals.append([label, *(shown(k.removeprefix("GP_"), report.combined.get(k)) for k in keys)])
        if not self.differences:
            return [totals]
        compared = list(dict.fromkeys(k for found in self.differences.values() for k in found))
        rows = [[f"against {next(iter(self.reports))}", *compared]]
        for name, found in self.differences.items():
            rows.append([name, *(_difference(k, found.get(k)) for k in compared)])
        return [totals, rows]

    def _keys(self) -> list[str]:
        keys = [k for k in SCENE if any(k in r.combined for r in self.reports.values())]
        return [*SHOWN[self.first.plane], *keys]

    def to_text(self) -> str:
        """For a terminal."""
        lines = [f"{self.first.title}: {self.first.protocol}", ""]
        for table in self.tables():
            widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
            for row in table:
                cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
                lines.append("  ".join(cells).rstrip())
            lines.append("")
        return "\n".join([*lines, *self._remarks("")]) + "\n"

    def to_markdown(self) -> str:
        """For a README."""
        lines = [f"**{self.first.title}**: {self.first.protocol}.", ""]
        for table in self.tables():
            rule = [":--", *["--:"] * (len(table[0]) - 1)]
            lines += ["| " + " | ".join(row) + " |" for row in [table[0], rule, *table[1:]]] + [""]
        return "\n".join([*lines, *self._remarks("- ")]) + "\n"

    def _remarks(self, bullet: str) -> list[str]:
        shared = [n for n in self.first.notes if all(n in r.notes for r in self.reports.values())]
        lines = []
        for name, report in self.reports.items():
            lines += [f"{bullet}not scored: {name}: {key}: {reason}" for key, reason in report.gaps.items()]
            lines += [f"{bullet}note: {name}: {note}" for note in report.notes if note not in shared]
        return lines + [f"{bullet}note: {note}" for note in [*shared, *self.notes]]


def compare(axis: str, reports: Mapping[str, Report], seed: int = 0, samples: int = SAMPLES) -> Comparison:
    """Differences of all runs to the first, with intervals where there are sequences to draw from.

    Args:
        axis: what differs, for the table's head.
        reports: run → report of the same benchmark, at least one.
        seed: of the bootstrap.
        samples: how often sequences are drawn.

    Raises:
        ConfigError: the runs were scored by different protocols.
    """
    found = Comparison(axis, dict(reports))
    first = found.first
    for name, report in reports.items():
        if report.protocol != first.protocol:
            raise ConfigError(f"--compare: '{name}' was scored by another protocol ({report.protocol})")
    reason = _why_no_interval(found)
    if reason and len(reports) > 1:
        found.notes.append(reason)
    for name, report in list(reports.items())[1:]:
        found.differences[name] = _differences(first, report, np.random.default_rng(seed), 0 if reason else samples)
        left_out = set(report.counts) ^ set(first.counts)
        if left_out:
            found.notes.append(f"{name}: differences over {len(set(report.counts) & set(first.counts))} sequences; "
                               f"not scored in both: {', '.join(sorted(left_out))}")
    if found.differences and not reason:
        found.notes.append(f"in brackets: {LEVEL:.0%} interval, paired bootstrap over {len(first.counts)} sequences, "
                           f"{samples} draws, seed {seed}; * means that it excludes 0")
    return found


def _why_no_interval(found: Comparison) -> str:
    if found.first.one_scene:
        return "no interval: the cameras of one scene are one sample, not several"
    if len(found.first.counts) < 2:
        return "no interval: there is one sequence only, so nothing tells a difference from chance"
    return ""


def _differences(first: Report, other: Report, rng: np.random.Generator, samples: int) -> dict[str, Difference]:
    keys = BOOTSTRAPPED[first.plane]
    names = [n for n in first.counts if n in other.counts]
    if not names:
        return {}
    pair = [[r.counts[n] for n in names] for r in (first, other)]
    values = _gap(pair, np.ones(len(names)), first.plane, keys)
    draws = np.zeros((0, len(keys)))
    if samples and len(names) > 1:
        weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), samples)
        draws = np.array([_gap(pair, w, first.plane, keys) for w in weights])
    found = {}
    for i, key in enumerate(keys):
        if np.isnan(values[i]):
            continue
        tail = (1 - LEVEL) / 2
        ends = np.quantile(draws[:, i], [tail, 1 - tail]).tolist() if len(draws) else [None, None]
        found[key] = Difference(float(values[i]), *ends)
    if first.one_scene:
        for key in SCENE:
            a, b = first.combined.get(key), other.combined.get(key)
            if a is not None and b is not None:
                found[key] = Difference(b - a)
    return found


def _gap(pair: Sequence[Sequence[Counts]], weight: np.ndarray, plane: str, keys: Sequence[str]) -> np.ndarray:
    """(k,) second minus first run's figures, each sequence taken ``weight`` times; NaN where one has none."""
    values = []
    for counts in pair:
        drawn = [{k: w * v for k, v in c.items()} for c, w in zip(counts, weight.tolist(), strict=True) if w]
        total = figures(pooled(drawn)) if plane == "image" else ground_figures(pooled_ground(drawn))
        values.append([np.nan if total[k] is None else total[k] for k in keys])
    return np.array(values[1], float) - np.array(values[0], float)


def _difference(key: str, found: Difference | None) -> str:
    if found is None:
        return ""
    text = f"{100 * found.value:+.2f}"
    if found.low is not None and found.high is not None:
        text += f" [{100 * found.low:+.2f}, {100 * found.high:+.2f}]" + ("*" if found.certain else "")
    return text

"""Positions on the ground from a run's ``tracks.csv``: one per person and moment, from all cameras that see them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mctrack.evaluation.ground import GroundTable
from mctrack.evaluation.text import ReadError

RUN_TABLE = "tracks.csv"
_NEEDED = ("time_s", "global_id", "ground_x_m", "ground_y_m")


@dataclass(frozen=True, eq=False)
class RunPositions:
    """``table``, and how many rows had a position but no name (left out: nobody knows whose they are)."""

    table: GroundTable
    nameless: int


def read_run_positions(path: Path, fps: float) -> RunPositions | None:
    """Read ``tracks.csv`` of ``mctrack run``; None where it holds no positions (the cameras were not calibrated).

    A person seen by several cameras within one frame of the truth stands at the median of what they say.

    Args:
        path: the file.
        fps: of the truth on the ground: times become frames, counted from 1.

    Raises:
        ReadError: the file cannot be read, or a value is no finite number; with file and line.
    """
    rows: list[tuple[int, int, float, float]] = []
    nameless = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if not set(_NEEDED) <= set(table.fieldnames or ()):
                return None
            for row in table:
                if not row["ground_x_m"]:
                    continue
                if not row["global_id"] or int(row["global_id"]) < 0:
                    nameless += 1
                    continue
                time_s, x, y = (float(row[k]) for k in ("time_s", "ground_x_m", "ground_y_m"))
                if not np.isfinite([time_s, x, y]).all():
                    raise ValueError("not a finite number")
                rows.append((round(time_s * fps) + 1, int(row["global_id"]), x, y))
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise ReadError(f"{path} line {table.line_num}: not a table of mctrack run: {error}") from error
    if not rows and not nameless:
        return None
    return RunPositions(_medians(np.array(rows, float).reshape(-1, 4)), nameless)


def _medians(rows: np.ndarray) -> GroundTable:
    """One row per frame and identity of (n, 4) frame, identity, x, y."""
    keys, group = np.unique(rows[:, :2].astype(np.int64), axis=0, return_inverse=True)
    order = np.argsort(group.reshape(-1), kind="stable")
    cuts = np.flatnonzero(np.diff(group.reshape(-1)[order])) + 1
    parts = np.split(rows[order, 2:], cuts) if len(rows) else []
    xy_m = np.array([np.median(part, axis=0) for part in parts]).reshape(-1, 2)
    return GroundTable(keys[:, 0], keys[:, 1], xy_m)

"""Positions on the ground as text: ``frame id x_m y_m``, cells of a grid, and WILDTRACK's annotation.

Which it is follows from the file: a first line of names says it; else four columns are ``frame id x_m y_m`` and three
``frame gx gy`` (cells of the benchmark's grid, no identities). Truth whose column ``counts`` is 0
is neither hit nor miss.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mctrack.errors import OutputError
from mctrack.evaluation.ground import NO_ID, GroundTable
from mctrack.evaluation.text import NamedColumns, ReadError, read_columns

COLUMNS = ("frame", "time_s", "id", "x_m", "y_m", "gx", "gy", "counts")


@dataclass
class Grid:
    """A grid of cells on the ground: position = origin + cell × size, in metres; ``width`` cells in x.

    The defaults are WILDTRACK's: 480 × 1440 cells of 2.5 cm from (−3, −9) m on.
    """

    origin_m: list[float] = field(default_factory=lambda: [-3.0, -9.0])
    cell_m: float = 0.025
    width: int = 480

    def to_metres(self, cells: np.ndarray) -> np.ndarray:
        """(n, 2) positions in metres of (n, 2) cells."""
        return np.asarray(self.origin_m, float) + self.cell_m * np.asarray(cells, float)


def read_positions(path: Path, grid: Grid | None = None, fps: float | None = None,
                   length: int | None = None) -> GroundTable:
    """Read a text file of positions, or the folder ``annotations_positions`` of WILDTRACK.

    Args:
        path: the file or folder.
        grid: what cells mean.
        fps: turns ``time_s`` into frames, counted from 1.
        length: last frame that exists, where it is known.

    Raises:
        ReadError: a value that is not a finite number, a frame or ID that is not whole, an ID twice in a frame, a frame
            beyond the sequence; with file and line.
    """
    if path.is_dir():
        return read_wildtrack(path, grid)
    table = read_columns(path, COLUMNS, {4: ("frame", "id", "x_m", "y_m"), 3: ("frame", "gx", "gy")})
    table.refuse_common()
    frame = _frames(table, fps)
    values = table.values
    if {"x_m", "y_m"} <= values.keys():
        xy_m = np.column_stack([values["x_m"], values["y_m"]])
    elif {"gx", "gy"} <= values.keys():
        xy_m = (grid or Grid()).to_metres(np.column_stack([values["gx"], values["gy"]]))
    else:
        raise ReadError(f"{path}: no positions; expected columns x_m, y_m (or gx, gy), found {', '.join(values)}")
    identity = values["id"].astype(np.int64) if "id" in values else np.full(len(table), NO_ID)
    table.refuse(identity < NO_ID, "the ID is negative (−1: no identity)")
    if length is not None:
        table.refuse(frame > length, f"the frame lies beyond the sequence, which ends with frame {length}")
    _refuse_twice(table, frame, identity)
    neutral = values["counts"] == 0 if "counts" in values else None
    return GroundTable(frame, identity, xy_m, neutral)


def _frames(table: NamedColumns, fps: float | None) -> np.ndarray:
    if "frame" in table.values:
        return table.values["frame"].astype(np.int64)
    if "time_s" not in table.values:
        raise ReadError(f"{table.path}: neither frame nor time_s among its columns {', '.join(table.values)}")
    if fps is None:
        raise ReadError(f"{table.path}: has times; the benchmark needs ground_fps to turn them into frames")
    table.refuse(table.values["time_s"] < 0, "the time is negative")
    return np.round(table.values["time_s"] * fps).astype(np.int64) + 1


def _refuse_twice(table: NamedColumns, frame: np.ndarray, identity: np.ndarray) -> None:
    order = np.lexsort((identity, frame))
    same = (np.diff(frame[order]) == 0) & (np.diff(identity[order]) == 0) & (identity[order][1:] != NO_ID)
    twice = np.zeros(len(frame), bool)
    twice[order[1:][same]] = True
    table.refuse(twice, "this ID appears twice in this frame")


def write_positions(path: Path, table: GroundTable) -> None:
    """Write ``frame id x_m y_m`` rows by frame and identity, in tenths of millimetres.

    Raises:
        OutputError: the file cannot be written.
    """
    order = np.lexsort((table.track_id, table.frame))
    rows = zip(table.frame[order].tolist(), table.track_id[order].tolist(), table.xy_m[order].tolist(), strict=True)
    text = "".join(f"{frame} {identity} {x:.4f} {y:.4f}\n" for frame, identity, (x, y) in rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def read_wildtrack(folder: Path, grid: Grid | None = None) -> GroundTable:
    """WILDTRACK's own annotation: ``annotations_positions/00000000.json``, a list of personID and positionID each.

    Raises:
        ReadError: a file is no such list, names no frame, or has a person twice.
    """
    grid = grid or Grid()
    frames: list[int] = []
    people: list[int] = []
    cells: list[tuple[int, int]] = []
    for path in sorted(folder.glob("*.json")):
        try:
            number = int(path.stem)
            entries = [(int(e["personID"]), int(e["positionID"])) for e in json.loads(path.read_text(encoding="utf-8"))]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ReadError(f"{path}: expected a list of personID and positionID in a file named by its frame ({error})"
                            ) from error
        if len({person for person, _ in entries}) < len(entries):
            raise ReadError(f"{path}: a personID appears twice")
        frames += [number] * len(entries)
        people += [person for person, _ in entries]
        cells += [(position % grid.width, position // grid.width) for _, position in entries]
    if not frames:
        raise ReadError(f"{folder}: no annotation (*.json) in it")
    return GroundTable(np.array(frames), np.array(people), grid.to_metres(np.array(cells).reshape(-1, 2)))

"""MOTChallenge text in and nothing else: ground truth, results and seqinfo, read strictly and in blocks.

A table of 10⁷ rows is parsed in bulk; only a block that the bulk parser refuses is looked at line by line, to say
which line is wrong and why.
"""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from mctrack.evaluation.table import BoxTable
from mctrack.evaluation.text import ReadError, blocks, parse_bulk
from mctrack.types import FloatArray

_MIN_COLUMNS = {"results": 6, "ground truth": 7}
_KEPT_COLUMNS = 9  # frame, id, x, y, w, h, score, class, visibility
_LARGEST_ID = 2**53  # beyond this a float no longer tells neighbours apart


@dataclass(frozen=True)
class SequenceInfo:
    """What ``seqinfo.ini`` says: name, number of frames, frames per second, picture size in pixels (or None)."""

    name: str
    length: int
    fps: float | None = None
    size: tuple[int, int] | None = None


def read_seqinfo(path: Path) -> SequenceInfo:
    """Read a ``seqinfo.ini``.

    Raises:
        ReadError: the file is missing, is no ini file, or has no usable ``seqLength``.
    """
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
        section = parser["Sequence"]
        length = int(section["seqLength"])
        fps = float(section["frameRate"]) if "frameRate" in section else None
        wide = "imWidth" in section and "imHeight" in section
        size = (int(section["imWidth"]), int(section["imHeight"])) if wide else None
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ReadError(f"{path}: not a seqinfo.ini: {str(error).splitlines()[0]}") from error
    except KeyError as error:
        raise ReadError(f"{path}: {error.args[0]} is missing; expected [Sequence] with seqLength") from error
    except ValueError as error:
        raise ReadError(f"{path}: {error}; seqLength, frameRate, imWidth and imHeight are numbers") from error
    if length < 1 or (fps is not None and not fps > 0):
        raise ReadError(f"{path}: seqLength and frameRate must be positive")
    return SequenceInfo(section.get("name", path.parent.name), length, fps, size)


def read_results(path: Path, length: int | None = None, has_class: bool = False) -> BoxTable:
    """A tracker's boxes, ``frame, id, x, y, w, h[, score, …]``.

    Args:
        path: the file.
        length: the sequence's number of frames, where it is known.
        has_class: whether column 8 is a class (MOT16 and later) or a coordinate (MOT15).

    Raises:
        ReadError: a value that is not a finite number, a frame below 1, beyond the sequence or not whole, an ID
            that is negative or not whole, a negative size, an ID twice in a frame, or a class other than
            "pedestrian"; with file and line.
    """
    table = _read(path, "results", length)
    other = np.flatnonzero(table.category > 1)
    if has_class and len(other):
        row = int(other[0])
        raise _at(path, row, f"class {table.category[row]} in column 8: only pedestrians (1, or -1) are scored")
    return table


def read_ground_truth(path: Path, length: int | None = None) -> BoxTable:
    """Truth, ``frame, id, x, y, w, h, flag[, class, visibility]``; same errors as :func:`read_results`."""
    return _read(path, "ground truth", length)


def _read(path: Path, kind: str, length: int | None) -> BoxTable:
    parts = [_keep(path, kind, *block) for block in blocks(path)]
    data = np.concatenate(parts) if parts else np.zeros((0, _KEPT_COLUMNS))
    _check_values(path, data, length)
    category = np.nan_to_num(data[:, 7], nan=-1, posinf=-1, neginf=-1).astype(np.int64)
    table = BoxTable(
        data[:, 0].astype(np.int64), data[:, 1].astype(np.int64), _corners(data[:, 2:6]),
        data[:, 6].copy(), category, data[:, 8].copy(),
    )  # fmt: skip
    _check_unique(path, table)
    return table


def _corners(tlwh: FloatArray) -> FloatArray:
    xyxy = tlwh.copy()
    xyxy[:, 2:] += tlwh[:, :2]
    return xyxy


def _keep(path: Path, kind: str, block: bytes, line: int) -> FloatArray:
    """(n, 9) values of a block; columns that the file does not have are −1 (score: 1)."""
    values = parse_bulk(block)
    if values is None:
        values = _parse_lines(path, kind, block, line)
    n, columns = values.shape
    if n and columns < _MIN_COLUMNS[kind]:
        raise ReadError(
            f"{path} line {line + 1}: {columns} columns, {kind} need at least {_MIN_COLUMNS[kind]} "
            "(frame, id, left, top, width, height, …)"
        )
    kept = np.full((n, _KEPT_COLUMNS), -1.0)
    kept[:, 6] = 1.0
    kept[:, : min(columns, _KEPT_COLUMNS)] = values[:, :_KEPT_COLUMNS]
    return kept


def _parse_lines(path: Path, kind: str, block: bytes, line: int) -> FloatArray:
    """(n, c) values of a block line by line: blank lines, blanks as separators, a comma at the end.

    Raises:
        ReadError: a value is no number, or a line is too short.
    """
    rows: list[list[float]] = []
    for offset, raw in enumerate(block.split(b"\n")):
        text = raw.decode("utf-8", "replace").strip().rstrip(",")
        if not text:
            continue
        parts = text.split(",") if "," in text else text.split()
        if len(parts) < _MIN_COLUMNS[kind]:
            raise ReadError(
                f"{path} line {line + offset + 1}: {len(parts)} columns, {kind} need at least "
                f"{_MIN_COLUMNS[kind]} (frame, id, left, top, width, height, …): {text[:60]!r}"
            )
        try:
            row = [float(part.replace("_", "x")) for part in parts[:_KEPT_COLUMNS]]  # Python reads 1_0 as 10
        except ValueError as error:
            raise ReadError(f"{path} line {line + offset + 1}: not a number in {text[:60]!r}") from error
        rows.append(row + [1.0, -1.0, -1.0][len(row) - 6 :])
    return np.array(rows, float).reshape(-1, _KEPT_COLUMNS)


def _check_values(path: Path, data: FloatArray, length: int | None) -> None:
    """Raise for the first row that cannot be scored, in the order of the checks."""
    with np.errstate(invalid="ignore"):
        frame, identity = data[:, 0], data[:, 1]
        last = np.inf if length is None else length
        checks = [
            (~np.isfinite(data[:, :7]).all(axis=1), "a value is not a finite number"),
            (frame != np.floor(frame), "the frame number is not a whole number"),
            (frame < 1, "the frame number is below 1 (frames count from 1)"),
            (frame > last, f"the frame lies beyond the sequence, which has {length} frames"),
            (identity != np.floor(identity), "the ID is not a whole number"),
            (identity < 0, "the ID is negative (boxes without an identity cannot be scored)"),
            (identity > _LARGEST_ID, "the ID is too large to be told apart from its neighbours"),
            ((data[:, 4:6] < 0).any(axis=1), "width or height is negative"),
        ]
    for wrong, reason in checks:
        if wrong.any():
            row = int(np.argmax(wrong))
            more = int(wrong.sum()) - 1
            values = ", ".join(f"{v:g}" for v in data[row, :6])
            raise _at(path, row, f"{reason} ({values}{f'; {more} more such lines' if more else ''})")


def _check_unique(path: Path, table: BoxTable) -> None:
    order = np.lexsort((table.track_id, table.frame))
    frame, identity = table.frame[order], table.track_id[order]
    twice = np.flatnonzero((frame[1:] == frame[:-1]) & (identity[1:] == identity[:-1]))
    if len(twice):
        row = int(order[twice + 1].min())
        more = f"; {len(twice) - 1} more such lines" if len(twice) > 1 else ""
        reason = f"ID {table.track_id[row]} appears twice in frame {table.frame[row]}{more}"
        raise _at(path, row, reason)


def _at(path: Path, row: int, reason: str) -> ReadError:
    """An error about the (0-based) row of the table, with its line in the file (blank lines count there)."""
    with path.open("rb") as file:
        filled = (n for n, line in enumerate(file, 1) if line.strip(b"\xef\xbb\xbf \t\r\n,"))
        number = next(islice(filled, row, None), "?")
    return ReadError(f"{path} line {number}: {reason}")


__all__ = ["ReadError", "SequenceInfo", "read_ground_truth", "read_results", "read_seqinfo"]

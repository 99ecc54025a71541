"""Reading detections in the MOTChallenge text format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mctrack.errors import SourceError
from mctrack.types import FloatArray, IntArray

_COLUMNS = ("frame", "id", "x", "y", "width", "height", "confidence")


@dataclass(frozen=True, eq=False)
class DetectionTable:
    """All detections of one camera, sorted by frame.

    Attributes:
        index: (n,) 0-based frame of each row.
        xyxy: (n, 4) pixels, not clipped.
        score: (n,) in 0…1.
        mapping: how the file's confidences became scores, for people.
    """

    index: IntArray
    xyxy: FloatArray
    score: FloatArray
    mapping: str

    def at(self, index: int) -> tuple[FloatArray, FloatArray]:
        """Boxes and scores of one 0-based frame, in the file's order."""
        start, end = np.searchsorted(self.index, [index, index + 1])
        return self.xyxy[start:end], self.score[start:end]


def read_detections(path: Path) -> DetectionTable:
    """Read ``frame, id, x, y, width, height[, confidence, …]``, frames counted from 1.

    Commas or blanks separate; rows may come in any order; further columns are ignored. A missing confidence is 1.

    Raises:
        SourceError: the file cannot be read or a line is wrong; the message has the file and the line's number.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SourceError(f"detections {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"detections {path}: not a text file") from error
    # not splitlines(): it also breaks at form feeds and the like, and line numbers would differ from an editor's
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    rows = [_parse(line, f"detections {path} line {n}") for n, line in enumerate(lines, 1) if _counts(line)]
    table = np.array(rows, float).reshape(-1, 7)
    table = table[np.argsort(table[:, 0], kind="stable")]
    xyxy = np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1)
    score, mapping = map_scores(table[:, 6])
    return DetectionTable(table[:, 0].astype(np.int64) - 1, xyxy, score, mapping)


def map_scores(confidence: FloatArray) -> tuple[FloatArray, str]:
    """Confidences of one file to scores in 0…1, never changing their order.

    - All the same (files that carry no confidence say 1 or −1 everywhere): 1.
    - Within 0…1: as they are.
    - Within 0…100 and some above 10: percent.
    - Anything else (the margins of DPM, ACF): logistic, 1 / (1 + exp(−c / s)), with s = 1 for margins of the usual
      size and s = (95 % quantile of |c|) / 4 where they are larger, so that few of them saturate.

    Args:
        confidence: (n,) all of the file, since the rule depends on their range.

    Returns:
        (n,) scores, and the rule in words.
    """
    if len(confidence) == 0:
        return confidence, "none"
    low, high = float(confidence.min()), float(confidence.max())
    if low == high:
        return np.ones_like(confidence), f"all {low:g}, taken as 1"
    if low >= 0 and high <= 1:
        return confidence, "as in the file"
    if low >= 0 and 10 < high <= 100:
        return confidence / 100, "percent"
    spread = max(1.0, float(np.quantile(np.abs(confidence), 0.95)) / 4)
    score = 1 / (1 + np.exp(-np.clip(confidence / spread, -700, 700)))
    return score, f"{low:g}…{high:g} through a logistic of width {spread:.3g}"


def _counts(line: str) -> bool:
    text = line.strip()
    return bool(text) and not text.startswith("#")


def _parse(line: str, where: str) -> list[float]:
    parts = line.strip().rstrip(",").split(",") if "," in line else line.split()
    if len(parts) < 6:
        raise SourceError(f"{where}: {len(parts)} values, expected {', '.join(_COLUMNS)}")
    values = []
    for name, part in zip(_COLUMNS, parts, strict=False):
        try:
            value = float(part)
        except ValueError:
            raise SourceError(f"{where}: {name} is '{part.strip()[:40]}', not a number") from None
        if not np.isfinite(value):
            raise SourceError(f"{where}: {name} is {part.strip()}, not a finite number")
        values.append(value)
    if values[0] < 1 or values[0] != int(values[0]) or values[0] > 2**53:
        raise SourceError(f"{where}: frame is {parts[0].strip()}, frames are counted 1, 2, 3, …")
    for name, value in zip(_COLUMNS[4:6], values[4:6], strict=True):
        if value < 0:
            raise SourceError(f"{where}: {name} is {value:g}, it cannot be negative")
    return values if len(values) == 7 else [*values, 1.0]

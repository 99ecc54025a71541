"""Ground truth in other column orders and units than MOTChallenge's, as a benchmark's ``layout`` describes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from mctrack.errors import ConfigError, suggest
from mctrack.evaluation.table import BoxTable
from mctrack.evaluation.text import NamedColumns, ReadError, read_columns
from mctrack.types import FloatArray

BOX_COLUMNS = ("left", "top", "right", "bottom", "width", "height", "centre_x", "centre_y")
COLUMNS = ("frame", "time_s", "camera", "id", *BOX_COLUMNS, "flag", "class", "visibility", "-")


@dataclass
class TruthLayout:
    """What the columns of a ground-truth file mean; the keys of ``layout`` in a benchmark's YAML."""

    columns: list[str] = field(default_factory=list)
    """Names in the file's order: frame or time_s, id, two of left/right/width/centre_x, two of top/bottom/height/
    centre_y, and optionally camera, flag (0: ignored), class, visibility; "-": not read. Empty: MOTChallenge."""
    first_frame: int = 1
    """Number of the first frame."""
    frame_step: int = 1
    """What frame numbers grow by from one frame of the video to the next."""
    unit_px: list[float] = field(default_factory=lambda: [1.0, 1.0])
    """Pixels per unit in x and y; [640, 480] where the file gives shares of a 640 × 480 picture."""
    cameras: dict[int, str] = field(default_factory=dict)
    """Number in the column ``camera`` → name; default: cam<number>."""

    def camera_name(self, number: int) -> str:
        """Name of a camera by its number in the file."""
        return self.cameras.get(number, f"cam{number}")


def check_layout(layout: TruthLayout, origin: str) -> None:
    """Raise ConfigError where the columns cannot give boxes with frames and identities."""
    for name in layout.columns:
        if name not in COLUMNS:
            raise ConfigError(f"{origin}: layout.columns: unknown '{name}'{suggest(name, COLUMNS)}; "
                              f"known: {', '.join(COLUMNS)}")
    named = set(layout.columns) - {"-"}
    missing = [k for k in ("id",) if k not in named] + ([] if named & {"frame", "time_s"} else ["frame (or time_s)"])
    axes = (("left", "right", "width", "centre_x"), ("top", "bottom", "height", "centre_y"))
    missing += [f"two of {', '.join(axis)}" for axis in axes if len(named & set(axis)) < 2]
    if missing:
        raise ConfigError(f"{origin}: layout.columns lacks {'; '.join(missing)}")
    if len(layout.unit_px) != 2 or layout.frame_step < 1:
        raise ConfigError(f"{origin}: layout.unit_px needs two numbers, layout.frame_step at least 1")


def read_layout(path: Path, layout: TruthLayout, fps: float, length: int | None = None) -> dict[str, BoxTable]:
    """Boxes per camera; the key is "" where the file has no column ``camera``.

    Raises:
        ReadError: a value that cannot be scored, with file and line.
    """
    table = read_columns(path, COLUMNS, layout.columns)
    table.refuse_common()
    frame = _frames(table, layout, fps)
    table.refuse(frame < 1, f"the frame lies before the first ({layout.first_frame})")
    if length is not None:
        table.refuse(frame > length, f"the frame lies beyond the sequence, which has {length} frames")
    xyxy = _corners(table.values) * np.tile(layout.unit_px, 2)
    table.refuse((xyxy[:, 2:] < xyxy[:, :2]).any(axis=1), "width or height is negative")
    camera = table.values.get("camera", np.zeros(len(table))).astype(np.int64)
    identity = table.values["id"].astype(np.int64)
    order = np.lexsort((identity, frame, camera))
    same = np.ones(max(len(table) - 1, 0), bool)
    for column in (identity, frame, camera):
        same &= np.diff(column[order]) == 0
    twice = np.zeros(len(table), bool)
    twice[order[1:][same]] = True
    table.refuse(twice, "this ID appears twice in this frame")
    boxes = _table(table.values, frame, identity, xyxy)
    if "camera" not in table.values:
        return {"": boxes}
    return {layout.camera_name(int(c)): boxes.take(camera == c) for c in np.unique(camera)}


def camera_names(path: Path, layout: TruthLayout) -> list[str]:
    """Cameras that occur in a file with a column ``camera``."""
    numbers = read_columns(path, COLUMNS, layout.columns).values["camera"]
    if not np.isfinite(numbers).all():
        raise ReadError(f"{path}: the column 'camera' holds values that are no numbers")
    return [layout.camera_name(int(n)) for n in np.unique(numbers)]


def _frames(table: NamedColumns, layout: TruthLayout, fps: float) -> np.ndarray:
    if "frame" in table.values:
        frame = (table.values["frame"] - layout.first_frame) / layout.frame_step
        table.refuse(frame != np.floor(frame), f"the frame number is no multiple of layout.frame_step "
                     f"({layout.frame_step}) from {layout.first_frame} on")
        return frame.astype(np.int64) + 1
    return np.round(table.values["time_s"] * fps).astype(np.int64) + 1


def _corners(values: dict[str, FloatArray]) -> FloatArray:
    """(n, 4) ``xyxy`` in the file's unit from whichever two columns of each axis are there."""
    sides: list[tuple[Any, Any]] = []
    for first, last, size, centre in (("left", "right", "width", "centre_x"), ("top", "bottom", "height", "centre_y")):
        a, b, s, c = (cast("FloatArray", values.get(k)) for k in (first, last, size, centre))
        if a is not None:
            sides.append((a, b if b is not None else a + s if s is not None else 2 * c - a))
        elif b is not None:
            sides.append((b - s if s is not None else 2 * c - b, b))
        else:
            sides.append((c - s / 2, c + s / 2))
    (x0, x1), (y0, y1) = sides
    return np.column_stack([x0, y0, x1, y1])


def _table(values: dict[str, FloatArray], frame: np.ndarray, identity: np.ndarray, xyxy: FloatArray) -> BoxTable:
    n = len(frame)
    category = values.get("class", np.full(n, -1.0)).astype(np.int64)
    flag, visibility = values.get("flag", np.ones(n)), values.get("visibility", np.full(n, -1.0))
    return BoxTable(frame, identity, xyxy, flag, category, visibility)

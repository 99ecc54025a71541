"""A run's results as tables: gaps filled, one box per person and frame, text files written in large pieces.

Coordinates are written exactly as tracked: pixels, 0-based, continuous, top left corner of the top left pixel = (0, 0).
MOTChallenge's own ground truth counts pixels from 1, its public detections and most trackers' files do not correct for
it; neither do we, in reading or in writing, so figures on real data stay comparable.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mctrack.sinks.files import replacing
from mctrack.sinks.reader import StoreReader
from mctrack.sinks.schema import Boxes
from mctrack.types import FloatArray, IntArray, TrackState

CHUNK = 50_000
CSV_HEADER = "camera,frame,time_s,track_id,global_id,x,y,w,h,score,ground_x_m,ground_y_m"


@dataclass
class Written:
    """What an export did.

    Attributes:
        paths: the files, complete.
        rows: boxes written.
        warnings: lines for the user.
    """

    paths: list[Path] = field(default_factory=list)
    rows: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class CameraTable:
    """One camera's rows for export: ``boxes`` (n rows), their ``time_s`` (n,), and all frames of the camera.

    ``frame_index`` and ``frame_time_s`` are (f,); ``duplicates`` counts boxes left out because their identity has
    another box in the same frame.
    """

    camera: str
    boxes: Boxes
    time_s: FloatArray
    frame_index: IntArray
    frame_time_s: FloatArray
    duplicates: int


def fill_gaps(boxes: Boxes, frame_index: IntArray, time_s: FloatArray, fill_gap_s: float) -> Boxes:
    """Add boxes on a straight line between two sightings of a track, at the frames that lie between them.

    Args:
        boxes: n rows of one camera.
        frame_index: (f,) the camera's frames, increasing; nothing is added where there is no frame.
        time_s: (f,) their times; positions are interpolated by time, since frames need not be evenly spaced.
        fill_gap_s: sightings further apart than this, in seconds, stay unconnected.

    Returns:
        The old and new rows, sorted by frame, then track; new ones have ``filled`` set.
    """
    if len(boxes) == 0:
        return boxes
    rows = boxes.take(np.lexsort((boxes.frame_index, boxes.track_id)))
    place = np.searchsorted(frame_index, rows.frame_index)
    when = time_s[place]
    missing = np.diff(place) - 1
    missing[(np.diff(rows.track_id) != 0) | (np.diff(when) > fill_gap_s)] = 0
    before = np.repeat(np.arange(len(missing)), missing)
    # 1, 2, … within each gap
    step = np.arange(len(before)) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    between = place[before] + step
    span = when[before + 1] - when[before]
    share = (time_s[between] - when[before]) / np.where(span > 0, span, 1)
    xyxy = rows.xyxy[before] + share[:, None] * (rows.xyxy[before + 1] - rows.xyxy[before])
    score = rows.score[before] + share * (rows.score[before + 1] - rows.score[before])
    g = rows.ground_m
    ground = None if g is None else g[before] + share[:, None] * (g[before + 1] - g[before])
    new = Boxes(
        frame_index[between], rows.track_id[before], rows.global_id[before], xyxy, score,
        np.full(len(before), TrackState.CONFIRMED, np.int64), np.ones(len(before), bool), ground,
    )  # fmt: skip
    merged = _concatenate(rows, new)
    return merged.take(np.lexsort((merged.track_id, merged.frame_index)))


def one_per_identity(boxes: Boxes) -> tuple[Boxes, int]:
    """Leave each identity one box per frame: a seen one before a filled one, then the longer track's, then the surer.

    After a merge, two tracks of one camera may turn out to be one person. Nameless boxes (−1) all stay.

    Returns:
        The rows that stay, in order, and how many were left out.
    """
    named = boxes.global_id >= 0
    length = _lengths(boxes)
    order = np.lexsort((-boxes.score, -length, boxes.filled, boxes.global_id, boxes.frame_index))
    frame, name = boxes.frame_index[order], boxes.global_id[order]
    again = np.zeros(len(boxes), bool)
    again[order[1:]] = (np.diff(frame) == 0) & (np.diff(name) == 0)
    stays = ~(again & named)
    return boxes.take(stays), int((~stays).sum())


def camera_table(store: StoreReader, camera: str, fill_gap_s: float, unique: bool = True) -> CameraTable:
    """Everything an export needs to know of one camera; ``unique``: at most one box per identity and frame."""
    frame_index, frame_time = store.frame_times(camera)
    filled = fill_gaps(store.boxes(camera), frame_index, frame_time, fill_gap_s)
    boxes, duplicates = one_per_identity(filled) if unique else (filled, 0)
    time_s = frame_time[np.searchsorted(frame_index, boxes.frame_index)]
    return CameraTable(camera, boxes, time_s, frame_index, frame_time, duplicates)


def camera_tables(store: StoreReader, fill_gap_s: float, written: Written) -> Iterator[CameraTable]:
    """Each camera's table in turn, adding up rows and warnings in ``written``."""
    for camera in store.cameras():
        table = camera_table(store, camera.name, fill_gap_s)
        written.rows += len(table.boxes)
        if table.duplicates:
            written.warnings.append(
                f"camera '{camera.name}': {table.duplicates} boxes left out because their identity has another box in "
                "the same frame"
            )
        yield table


def number_nameless(table: CameraTable, start: int) -> tuple[IntArray, int]:
    """(n,) identities with each nameless track given a number of its own from ``start`` on; and the next free one.

    Formats that know only one ID per row would otherwise take all nameless tracks for one person.
    """
    boxes = table.boxes
    name = boxes.global_id.copy()
    nameless = name < 0
    tracks, place = np.unique(boxes.track_id[nameless], return_inverse=True)
    name[nameless] = start + place.reshape(-1)
    return name, start + len(tracks)


def first_free_name(store: StoreReader) -> int:
    """The lowest number above every identity of the run."""
    used = list(store.identity_map().values())
    return max(used, default=0) + 1


def write_mot(store: StoreReader, folder: Path, fill_gap_s: float = 1.0) -> Written:
    """Write ``<camera>.txt`` for every camera, in MOTChallenge's format and order.

    Lines are ``frame,id,x,y,w,h,score,-1,-1,-1``: frame from 1, ``id`` the global identity, pixels as the module says.
    A camera without people gets an empty file.
    """
    written = Written()
    free = first_free_name(store)
    for table in camera_tables(store, fill_gap_s, written):
        name, free = number_nameless(table, free)
        boxes = table.boxes
        path = folder / f"{table.camera}.txt"
        with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
            write_lines(
                file, "%d,%d,%.2f,%.2f,%.2f,%.2f,%.4f,-1,-1,-1\n",
                [boxes.frame_index + 1, name, *tlwh(boxes), boxes.score],
            )  # fmt: skip
        written.paths.append(path)
    return written


def write_csv(store: StoreReader, path: Path, fill_gap_s: float = 1.0) -> Written:
    """Write one table of all cameras with the columns of ``CSV_HEADER``.

    Frame from 0, global_id −1: none; metres on the floor are empty where the place is not known.
    """
    written = Written([path])
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(CSV_HEADER + "\n")
        for table in camera_tables(store, fill_gap_s, written):
            boxes = table.boxes
            camera = _csv_cell(table.camera).replace("%", "%%")
            write_lines(
                file, camera + ",%d,%.6f,%d,%d,%.2f,%.2f,%.2f,%.2f,%.4f,%s\n",
                [boxes.frame_index, table.time_s, boxes.track_id, boxes.global_id, *tlwh(boxes), boxes.score,
                 _floor_cells(boxes)],
            )  # fmt: skip
    return written


def write_lines(file: io.TextIOBase | Any, template: str, columns: Sequence[NDArray[Any]]) -> None:
    """Write one line per row of the columns, a large piece at a time."""
    for start in range(0, len(columns[0]), CHUNK):
        piece = zip(*(c[start : start + CHUNK].tolist() for c in columns), strict=True)
        file.write("".join(map(template.__mod__, piece)))


def tlwh(boxes: Boxes) -> list[FloatArray]:
    """Four (n,) columns: left, top, width, height in pixels."""
    x1, y1, x2, y2 = boxes.xyxy.T
    return [x1, y1, x2 - x1, y2 - y1]


def _floor_cells(boxes: Boxes) -> NDArray[np.object_]:
    """(n,) texts ``x,y`` in metres, ``,`` where the place is not known."""
    if boxes.ground_m is None:
        return np.full(len(boxes), ",", object)
    return np.array(["," if x != x or y != y else f"{x:.3f},{y:.3f}" for x, y in boxes.ground_m.tolist()], object)


def _csv_cell(text: str) -> str:
    cell = io.StringIO()
    csv.writer(cell, lineterminator="").writerow([text])
    return cell.getvalue()


def _lengths(boxes: Boxes) -> IntArray:
    """(n,) number of seen boxes of each row's track."""
    tracks, place = np.unique(boxes.track_id, return_inverse=True)
    counts = np.bincount(place.reshape(-1), weights=~boxes.filled, minlength=len(tracks))
    return counts.astype(np.int64)[place.reshape(-1)]


def _concatenate(a: Boxes, b: Boxes) -> Boxes:
    names = ("frame_index", "track_id", "global_id", "xyxy", "score", "state", "filled")
    known = a.ground_m is not None or b.ground_m is not None
    ground = np.concatenate([a.ground, b.ground]) if known else None
    return Boxes(**{n: np.concatenate([getattr(a, n), getattr(b, n)]) for n in names}, ground_m=ground)

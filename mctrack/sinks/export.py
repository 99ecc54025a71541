"""A run's results in other programs' formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from mctrack.errors import ConfigError, suggest
from mctrack.sinks.files import replacing
from mctrack.sinks.reader import StoreReader
from mctrack.sinks.schema import CameraInfo
from mctrack.sinks.store import RunStore
from mctrack.sinks.tables import (
    CameraTable,
    Written,
    camera_table,
    camera_tables,
    first_free_name,
    number_nameless,
    tlwh,
    write_csv,
    write_lines,
    write_mot,
)

_BOX = (
    '<box frame="%d" outside="%d" occluded="0" keyframe="%d" xtl="%.2f" ytl="%.2f" xbr="%.2f" ybr="%.2f" z_order="0">'
    '<attribute name="global_id">%d</attribute></box>\n'
)


def export(run_dir: str | Path, format: str, out: Path | None = None, fill_gap_s: float | None = None) -> Written:
    """Write a finished (or running) run's results in another format.

    Args:
        run_dir: the folder that ``mctrack run`` wrote, or its ``run.db``.
        format: ``mot``, ``csv``, ``parquet``, ``coco`` or ``cvat``.
        out: file to write (a folder for ``mot`` and ``cvat``); default: beside the database.
        fill_gap_s: gaps up to this long are filled; default: as the run was told.

    Raises:
        ConfigError: the format is unknown, or needs a package that is not installed.
        OutputError: there is no run, or the files cannot be written.
    """
    if format not in FORMATS:
        raise ConfigError(f"unknown export format '{format}'{suggest(format, FORMATS)}; known: {', '.join(FORMATS)}")
    default, write = FORMATS[format]
    database = Path(run_dir) if Path(run_dir).is_file() else Path(run_dir) / "run.db"
    with RunStore.open(database) as store:
        gap_s = configured_gap_s(store) if fill_gap_s is None else fill_gap_s
        return write(store, database.parent / default if out is None else Path(out), gap_s)


def configured_gap_s(store: StoreReader) -> float:
    """``output.fill_gap_s`` of the run's own configuration, or the usual second."""
    import yaml

    try:
        return float(yaml.safe_load(store.meta["config_yaml"])["output"]["fill_gap_s"])
    except (KeyError, TypeError, ValueError, yaml.YAMLError):
        return 1.0


def write_parquet(store: StoreReader, path: Path, fill_gap_s: float = 1.0) -> Written:
    """Write the CSV's columns with full precision, and ``filled``; one row group (or more) per camera."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError('parquet export needs pyarrow: pip install "mctrack[parquet]"') from error
    number, real = pa.int64(), pa.float64()
    text = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([
        ("camera", text), ("frame", number), ("time_s", real), ("track_id", number), ("global_id", number),
        ("x", real), ("y", real), ("w", real), ("h", real), ("score", real),
        ("ground_x_m", real), ("ground_y_m", real), ("filled", pa.bool_()),
    ])  # fmt: skip
    written = Written([path])
    with replacing(path) as temporary, pq.ParquetWriter(str(temporary), schema) as writer:
        for table in camera_tables(store, fill_gap_s, written):
            b = table.boxes
            camera = pa.DictionaryArray.from_arrays(np.zeros(len(b), np.int32), [table.camera])
            columns = [b.frame_index, table.time_s, b.track_id, b.global_id, *tlwh(b), b.score, *b.ground.T, b.filled]
            # what is not known on the floor is NaN, and becomes null
            arrays = [pa.array(np.ascontiguousarray(c), from_pandas=True) for c in columns]
            writer.write_table(pa.table([camera, *arrays], schema=schema))
    return written


def write_coco(store: StoreReader, path: Path, fill_gap_s: float = 1.0) -> Written:
    """Write COCO JSON with ``videos``; every frame is an image, every box an annotation with its identities.

    Annotations have ``track_id`` (per camera), ``global_id`` (nameless tracks get numbers of their own), ``score`` and
    ``filled``. ``file_name`` is where the frames would be as pictures: ``<camera>/<frame from 0>.jpg``.
    """
    written = Written([path])
    cameras = store.cameras()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        info = {"description": "people tracked by mctrack", "mctrack_version": store.meta.get("mctrack_version")}
        categories = [{"id": 1, "name": "person", "supercategory": "person"}]
        videos = [_coco_video(i, c) for i, c in enumerate(cameras, 1)]
        file.write(f'{{"info": {json.dumps(info)},\n"categories": {json.dumps(categories)},\n')
        file.write(f'"videos": {json.dumps(videos)},\n"images": [\n')
        offsets = _coco_images(file, store, cameras)
        file.write('],\n"annotations": [\n')
        _coco_annotations(file, camera_tables(store, fill_gap_s, written), offsets, first_free_name(store))
        file.write("]}\n")
    return written


def _coco_video(number: int, camera: CameraInfo) -> dict[str, Any]:
    return {
        "id": number, "name": camera.name, "width": camera.width, "height": camera.height, "fps": camera.fps,
        "source": camera.source,
    }  # fmt: skip


def _coco_images(file: Any, store: StoreReader, cameras: list[CameraInfo]) -> list[int]:
    """Write the images and return each camera's first image ID."""
    first, offsets, comma = 1, [], ""
    for video, camera in enumerate(cameras, 1):
        frame, time_s = store.frame_times(camera.name)
        folder = json.dumps(camera.name)[1:-1].replace("%", "%%")
        template = (
            f'{{"id": %d, "video_id": {video}, "frame_id": %d, "time_s": %.6f, "width": {camera.width}, '
            f'"height": {camera.height}, "file_name": "{folder}/%06d.jpg"}}'
        )
        comma = _json_rows(file, template, [first + np.arange(len(frame)), frame, time_s, frame], comma)
        offsets.append(first)
        first += len(frame)
    return offsets


def _coco_annotations(file: Any, tables: Any, offsets: list[int], free: int) -> None:
    number, comma = 1, ""
    for video, (table, first) in enumerate(zip(tables, offsets, strict=True), 1):
        b = table.boxes
        name, free = number_nameless(table, free)
        x1, y1, x2, y2 = b.xyxy.T
        image = first + np.searchsorted(table.frame_index, b.frame_index)
        template = (
            f'{{"id": %d, "image_id": %d, "video_id": {video}, "category_id": 1, "bbox": [%.2f, %.2f, %.2f, %.2f], '
            '"area": %.2f, "iscrowd": 0, "track_id": %d, "global_id": %d, "score": %.4f, "filled": %s}'
        )
        filled = np.where(b.filled, "true", "false")
        columns = [
            number + np.arange(len(b)), image, *tlwh(b), (x2 - x1) * (y2 - y1), b.track_id, name, b.score, filled,
        ]  # fmt: skip
        comma = _json_rows(file, template, columns, comma)
        number += len(b)


def _json_rows(file: Any, template: str, columns: list[Any], comma: str) -> str:
    """Write rows of a JSON list, with commas between them and after what came before; returns the next comma."""
    if len(columns[0]) == 0:
        return comma
    head = [c[:1] for c in columns]
    write_lines(file, comma + template, head)
    write_lines(file, ",\n" + template, [c[1:] for c in columns])
    return ",\n"


def write_cvat(store: StoreReader, folder: Path, fill_gap_s: float = 1.0) -> Written:
    """Write ``<camera>.xml`` for every camera: CVAT for video 1.1, one track per ``track_id``, label ``person``.

    The attribute ``global_id`` holds the identity (nameless tracks get numbers of their own). A track that is not seen
    is ``outside`` from the next frame on. Filled boxes are no keyframes.
    """
    written = Written()
    free = first_free_name(store)
    for camera in store.cameras():
        # by track, so two tracks of one identity in a frame are no conflict here, and someone can mend it in CVAT
        table = camera_table(store, camera.name, fill_gap_s, unique=False)
        name, free = number_nameless(table, free)
        path = folder / f"{camera.name}.xml"
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(_cvat_head(camera, table))
            _cvat_tracks(file, table, name)
            file.write("</annotations>\n")
        written.paths.append(path)
        written.rows += len(table.boxes)
    return written


def _cvat_head(camera: CameraInfo, table: CameraTable) -> str:
    last = int(table.frame_index[-1]) if len(table.frame_index) else 0
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta><task>'
        f"<name>{escape(camera.name)}</name><size>{last + 1}</size><mode>interpolation</mode><overlap>0</overlap>"
        f"<start_frame>0</start_frame><stop_frame>{last}</stop_frame>"
        "<labels><label><name>person</name><color>#33ddff</color><type>rectangle</type><attributes><attribute>"
        "<name>global_id</name><mutable>False</mutable><input_type>number</input_type>"
        "<default_value>-1</default_value><values>-1;1000000000;1</values></attribute></attributes></label></labels>"
        f"<original_size><width>{camera.width}</width><height>{camera.height}</height></original_size>"
        f"</task><source>{escape(camera.source)}</source></meta>\n"
    )


def _cvat_tracks(file: Any, table: CameraTable, name: Any) -> None:
    order = np.lexsort((table.boxes.frame_index, table.boxes.track_id))
    b, name = table.boxes.take(order), name[order]
    place = np.searchsorted(table.frame_index, b.frame_index)
    starts = np.flatnonzero(np.r_[True, np.diff(b.track_id) != 0]) if len(b) else np.zeros(0, int)
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(b)], strict=False):
        rows = np.arange(start, end)
        # where the next frame has no box: the same box again in that frame, as "outside"
        gap_follows = np.diff(place[rows], append=len(table.frame_index) + 1) > 1
        gone = rows[gap_follows & (place[rows] + 1 < len(table.frame_index))]
        both = np.concatenate([rows, gone])
        outside = np.r_[np.zeros(len(rows), int), np.ones(len(gone), int)]
        frame = table.frame_index[place[both] + outside]
        sort = np.lexsort((outside, frame))
        both, outside, frame = both[sort], outside[sort], frame[sort]
        keyframe = np.where(b.filled[both] & (outside == 0), 0, 1)
        file.write(f'<track id="{b.track_id[start]}" label="person" source={quoteattr("mctrack")}>\n')
        write_lines(file, _BOX, [frame, outside, keyframe, *b.xyxy[both].T, name[both]])
        file.write("</track>\n")


_Write = Callable[[StoreReader, Path, float], Written]
FORMATS: dict[str, tuple[str, _Write]] = {
    "mot": ("tracks", write_mot),
    "csv": ("tracks.csv", write_csv),
    "parquet": ("tracks.parquet", write_parquet),
    "coco": ("coco.json", write_coco),
    "cvat": ("cvat", write_cvat),
}
"""Format → default file (or folder) in the run's folder, and what writes it."""

"""The annotated videos of a finished run once more, with the names that it ended with, or that a second pass found.

While a run goes on its videos show the names as they are known then; later evidence changes some. Here the tables
that the run (or ``mctrack refine``) wrote are drawn into its recordings.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mctrack.errors import ConfigError, OutputError, SourceError
from mctrack.folder import STORE_FILE, check_folder, keep_inputs, recordings, video_files
from mctrack.types import FloatArray, Instant, InstantResult, Tracks, TrackState

if TYPE_CHECKING:
    from mctrack.config import RunConfig
    from mctrack.sinks.schema import Boxes, CameraInfo
    from mctrack.video.source import VideoSource
    from mctrack.video.spec import CameraSpec

TABLE = "tracks.csv"
_COLUMNS = ("frame", "track_id", "global_id", "x", "y", "w", "h", "score")


def redraw(
    folder: Path, out: Path | None = None, *, height_px: int | None = None, mosaic: bool = True, quiet: bool = True,
    say: Callable[[str], None] = print,
) -> list[Path]:  # fmt: skip
    """Draw a finished run's videos with the names of its tables; earlier videos stay until the new ones are whole.

    Args:
        folder: a run, or what ``mctrack refine`` wrote into a folder inside it.
        out: where the videos go; default: ``folder/video``, in place of those that the run drew.
        height_px: height of the cameras' pictures; default: as the run's.
        mosaic: draw all cameras in one picture, too.
        quiet: show no progress.
        say: gets a line for every camera that cannot be drawn.

    Returns:
        The files.

    Raises:
        OutputError: there is no such run, its table is damaged, the videos cannot be written, or they would take the
            place of its recordings.
        SourceError: none of its recordings can be read any more.
    """
    from mctrack.sinks.progress import ProgressSink
    from mctrack.sinks.video import VideoSink
    from mctrack.video.sync import instants
    from mctrack.video.writer import VideoWriter

    config, cameras, ended = _run_of(folder)
    table = read_table(folder / TABLE, [c.name for c in cameras])
    target = out or folder / "video"
    check_folder(target)
    keep_inputs(video_files(target, [c.name for c in cameras]), recordings(_recorded(config)))
    with _aside(target) as fresh, ExitStack() as stack:
        sources = _open(config, cameras, stack, say)
        names = {s.spec.name for s in sources}
        shown = [c for c in cameras if c.name in names]
        video = VideoSink(fresh, shown, VideoWriter, height_px or config.output.video_height_px,
                          mosaic=mosaic and len(shown) > 1)  # fmt: skip
        stack.callback(video.close)
        progress = ProgressSink({s.spec.name: s.frame_count for s in sources}, quiet)
        stack.callback(progress.close)
        moments, left = instants(sources, config.video), set(names)
        stack.callback(moments.close)  # type: ignore[attr-defined]
        for instant in moments:
            known = _as_far_as(instant, ended)
            left -= {f.camera for f in instant.frames if f.index >= ended[f.camera]}
            if known.frames:
                result = _result(known, table)
                video.write(result)
                progress.write(result)
            if not left:
                break
        progress.close()
        video.close()
        return _into_place(video.paths, target)


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A fresh folder beside the target, gone afterwards."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise OutputError(f"{target} cannot be made: {error.strerror}") from error
    try:
        yield fresh
    except OutputError as error:
        # The writer speaks of its own file, and of what a run can do without.
        said = str(error).replace(str(fresh), str(target)).removesuffix(" or use --no-video")
        raise OutputError(said.removesuffix(",")) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _into_place(paths: list[Path], target: Path) -> list[Path]:
    try:
        target.mkdir(parents=True, exist_ok=True)
        return [path.replace(target / path.name) for path in paths]
    except OSError as error:
        raise OutputError(f"{target}: the videos cannot be put there: {error.strerror}") from error


def read_table(path: Path, cameras: list[str]) -> dict[str, Boxes]:
    """A run's ``tracks.csv`` by camera; one that never saw anybody has no rows.

    Raises:
        OutputError: there is none, or a line that cannot be read, by its number.
    """
    rows: dict[str, list[list[float]]] = {name: [] for name in cameras}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [c for c in ("camera", *_COLUMNS) if c not in (reader.fieldnames or ())]
            if missing:
                raise OutputError(f"{path}: line 1: no column '{missing[0]}'; is this a table that mctrack run wrote?")
            for row in reader:
                rows[_camera(row["camera"], rows, path, reader.line_num)].append(_numbers(row, path, reader.line_num))
    except FileNotFoundError:
        raise OutputError(f"no table at {path}: RUN is a folder that mctrack run or mctrack refine wrote") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OutputError(f"{path} cannot be read: {error}") from error
    return {name: _boxes(np.array(found, np.float64).reshape(-1, len(_COLUMNS))) for name, found in rows.items()}


def _camera(name: str | None, known: dict[str, list[list[float]]], path: Path, line: int) -> str:
    if name not in known:
        raise OutputError(f"{path}: line {line}: camera '{name}' is not of this run, which has {', '.join(known)}")
    return name


def _numbers(row: dict[str, str], path: Path, line: int) -> list[float]:
    try:
        found = [float(row[c]) for c in _COLUMNS]
    except (TypeError, ValueError):
        found = [np.nan]
    if not np.isfinite(found).all():
        raise OutputError(f"{path}: line {line}: expected numbers for {', '.join(_COLUMNS)}")
    return found


def _boxes(rows: FloatArray) -> Boxes:
    from mctrack.sinks.schema import Boxes

    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    whole, xyxy, n = rows[:, :3].astype(np.int64), rows[:, 3:7].copy(), len(rows)
    xyxy[:, 2:] += xyxy[:, :2]
    state = np.full(n, int(TrackState.CONFIRMED))
    return Boxes(whole[:, 0], whole[:, 1], whole[:, 2], xyxy, rows[:, 7], state, np.zeros(n, bool))


def _run_of(folder: Path) -> tuple[RunConfig, list[CameraInfo], dict[str, int]]:
    """Configuration and cameras of the run in this folder, or around it; and the last frame read of each camera."""
    from mctrack.config import RunConfig, parse_config
    from mctrack.sinks.reader import StoreReader

    inside = folder / STORE_FILE
    database = inside if inside.is_file() or not (folder.parent / STORE_FILE).is_file() else folder.parent / STORE_FILE
    with closing(StoreReader(database)) as store:
        if store.meta.get("status") not in ("complete", "interrupted"):
            raise OutputError(f"{folder} is not finished: end it with 'mctrack run --resume --out {folder}' first")
        config = parse_config(RunConfig, store.meta["config_yaml"], str(database))
        cameras = store.cameras()
        ended = {c.name: int(store.frame_times(c.name)[0].max(initial=-1)) for c in cameras}
    return config, cameras, ended


def _recorded(config: RunConfig) -> Iterator[CameraSpec]:
    """The run's cameras whose recordings are still there."""
    from mctrack.video.cameras import parse_cameras

    for text in config.cams:
        with suppress(SourceError):
            yield from parse_cameras([text])


def _open(config: RunConfig, cameras: list[CameraInfo], stack: ExitStack, say: Callable[[str], None]
          ) -> list[VideoSource]:  # fmt: skip
    """The run's recordings that are still there."""
    from mctrack.video.cameras import parse_cameras
    from mctrack.video.reader import open_source

    sources: list[VideoSource] = []
    taken, lines = {c.name: c for c in cameras}, []
    for text in config.cams:
        try:
            [spec] = parse_cameras([text])
            if spec.name in taken:
                sources.append(_source(spec, taken[spec.name], config, open_source))
                stack.callback(sources[-1].close)
        except (SourceError, ConfigError) as error:
            lines.append(str(error))
    if not sources:
        raise SourceError("; ".join(lines) or "the run has no camera")
    for line in lines:
        say(f"warning: {line}")
    return sources


def _source(spec: CameraSpec, info: CameraInfo, config: RunConfig, open_source: Callable[..., VideoSource]
            ) -> VideoSource:  # fmt: skip
    if spec.live:
        raise SourceError(f"camera '{spec.name}' was live: its pictures are not there any more")
    source = open_source(spec, config.video)
    if tuple(source.size) != (info.width, info.height):
        source.close()
        raise SourceError(f"camera '{spec.name}': {spec.uri} has {source.size[0]} × {source.size[1]} pixels, the run's "
                          f"recording had {info.width} × {info.height}: is it another one?")
    return source


def _as_far_as(instant: Instant, ended: dict[str, int]) -> Instant:
    """What the run read of an instant: an interrupted one ended before its recordings."""
    return replace(instant, frames=tuple(f for f in instant.frames if f.index <= ended[f.camera]))


def _result(instant: Instant, table: dict[str, Boxes]) -> InstantResult:
    tracks, names = [], []
    for frame in instant.frames:
        boxes = table[frame.camera]
        here = slice(*np.searchsorted(boxes.frame_index, [frame.index, frame.index + 1]))
        n = len(boxes.track_id[here])
        tracks.append(Tracks(boxes.track_id[here], boxes.xyxy[here], boxes.score[here], boxes.state[here], np.zeros(n),
                             np.arange(n)))  # fmt: skip
        names.append(boxes.global_id[here])
    return InstantResult(instant, tuple(tracks), tuple(names), ())


__all__ = ["read_table", "redraw"]

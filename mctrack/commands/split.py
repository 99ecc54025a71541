"""Several cameras out of one clip with ground truth: windows of its picture, each seeing in its own way.

Every window is a camera with its own delay, frame rate, scale, colour response and mirror image. Truth goes along:
boxes are cut at the window's edges, and an identity means the same person in all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mctrack.errors import ConfigError, OutputError, SourceError, suggest

if TYPE_CHECKING:
    import numpy as np

    from mctrack.evaluation.benchmark import Benchmark
    from mctrack.evaluation.table import BoxTable
    from mctrack.types import Image

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".ts", ".webm")
COUNTS_FROM = 0.4
"""Boxes with less than this share inside the window are marked 0: neither hit nor miss."""
KEPT_FROM = 0.05
"""Boxes with less than this share inside are not there at all."""


@dataclass(frozen=True)
class Window:
    """What one camera sees of the clip, and how; the keys of a camera in a definition's ``windows``.

    Attributes:
        x, y: from and to, as shares of the picture's width and height.
        delay_s: the camera starts this much later.
        rate: share of the clip's frames that it takes, at equal distances (0…1].
        scale: its picture's size in pixels per pixel of the clip.
        gain: factors of blue, green and red.
        gamma: exponent of the brightness; above 1 is darker.
        mirror: left and right are swapped.
    """

    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)
    delay_s: float = 0.0
    rate: float = 1.0
    scale: float = 1.0
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    mirror: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in (("x", self.x), ("y", self.y)):
            if not 0 <= low < high <= 1:
                raise ValueError(f"{name} = [{low:g}, {high:g}]: expected shares 0 ≤ from < to ≤ 1")
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate = {self.rate:g}: expected more than 0 and at most 1")
        if not (self.scale > 0 and self.gamma > 0 and self.delay_s >= 0 and min(self.gain) >= 0):
            raise ValueError("scale and gamma must be positive, delay_s and gain not negative")


@dataclass(frozen=True)
class Clip:
    """The clip to cut: its video, its ground truth, and the factor from truth to pixels of the video."""

    video: Path
    truth: Path
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class View:
    """A window in a particular clip: pixels [x0, x1) × [y0, y1), output size (w, h), source frame of each own frame."""

    window: Window
    x0: int
    y0: int
    x1: int
    y1: int
    size: tuple[int, int]
    source_frame: tuple[int, ...]


def windows_of(definition: Benchmark, layout: str | None) -> tuple[str, dict[str, Window]]:
    """Name and windows of one of a definition's layouts; without a name the first.

    Raises:
        ConfigError: there is no such layout, or a window has an unknown key or a value that does not fit.
    """
    name = layout or next(iter(definition.windows))
    if name not in definition.windows:
        known = ", ".join(definition.windows)
        raise ConfigError(f"{definition.name} has no split '{name}'{suggest(name, definition.windows)}; known: {known}")
    cameras = definition.windows[name]
    if not isinstance(cameras, Mapping) or not cameras:
        raise ConfigError(f"{definition.name}: windows.{name}: expected camera: {{x: [from, to], …}} lines")
    return name, {str(camera): _window(f"windows.{name}.{camera}", keys) for camera, keys in cameras.items()}


def _window(where: str, keys: Any) -> Window:
    known = [f.name for f in fields(Window)]
    if not isinstance(keys, Mapping):
        raise ConfigError(f"{where}: expected keys such as x: [0, 0.5]")
    for key in keys:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'{suggest(str(key), known)}; known: {', '.join(known)}")
    try:
        values: dict[str, Any] = {
            k: tuple(float(x) for x in v) if isinstance(v, list | tuple) else v for k, v in keys.items()
        }
        if len(values.get("gain", (1, 1, 1))) != 3:
            raise ValueError("gain needs three factors: blue, green, red")
        return Window(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


def find_clip(root: Path, truth: Path | None, scale: float) -> Clip:
    """The clip below a root: a video file, or a folder that holds just one; its truth beside it unless given.

    Raises:
        NoDataError: there is no video, there are several, or there is no ground truth.
    """
    from mctrack.evaluation.benchmark import NoDataError

    if root.is_file():
        videos = [root]
    elif root.is_dir():
        videos = sorted(p for p in root.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    else:
        raise NoDataError(f"--root {root}: no such file or folder")
    if len(videos) != 1:
        found = ", ".join(p.name for p in videos[:5]) or "none"
        raise NoDataError(f"--root {root}: needs one video, found {found}; name the file with --root")
    folder = videos[0].parent
    near = [truth] if truth else [folder / "gt.txt", folder / "gt" / "gt.txt", videos[0].with_suffix(".txt")]
    file = next((p for p in near if p.is_file()), None)
    if file is None:
        raise NoDataError(f"no ground truth for {videos[0]} (looked for {', '.join(str(p) for p in near)}); give --gt")
    return Clip(videos[0], file, scale)


def cut(clip: Clip, windows: Mapping[str, Window], out: Path, with_video: bool = True) -> list[str]:
    """Write the cameras into a folder: ``<camera>.mp4``, ``gt/<camera>.txt`` and ``.ini``, ``calibration.json``.

    Args:
        clip: what to cut.
        windows: camera → window.
        out: the folder.
        with_video: False writes the truth only.

    Returns:
        A line per camera.

    Raises:
        SourceError: the video cannot be read. ConfigError: truth and video do not fit. OutputError: no room.
    """
    from mctrack.evaluation.motchallenge import read_ground_truth

    truth = read_ground_truth(clip.truth).scaled(clip.scale)
    fps, size, count = _measure(clip.video)
    if len(truth) and truth.frame.max() > count:
        raise ConfigError(f"{clip.truth}: has frame {truth.frame.max()}, but {clip.video} only {count} frames")
    if len(truth) and (truth.xyxy[:, :2] >= size).any(axis=1).mean() > 0.01:
        raise ConfigError(f"{clip.truth}: boxes lie outside the {size[0]} × {size[1]} picture; give --gt-scale")
    views = {name: view_of(window, size, count, fps) for name, window in windows.items()}
    try:
        (out / "gt").mkdir(parents=True, exist_ok=True)
        lines = [_write_truth(out, name, view, truth, fps) for name, view in views.items()]
        cameras = {name: _calibration(view, fps) for name, view in views.items()}
        (out / "calibration.json").write_text(json.dumps({"cameras": cameras}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}") from error
    if with_video:
        _write_videos(clip.video, views, out, fps)
    return lines


def view_of(window: Window, size: tuple[int, int], count: int, fps: float) -> View:
    """A window's pixels and frames in a clip of the given (width, height), number of frames and frame rate.

    Raises:
        ConfigError: nothing of the clip is left.
    """
    (x0, x1), (y0, y1) = ((round(a * side / 2) * 2, round(b * side / 2) * 2) for (a, b), side
                          in zip((window.x, window.y), size, strict=True))  # even, as H.264 wants it
    width, height = (max(2, round(side * window.scale / 2) * 2) for side in (x1 - x0, y1 - y0))
    first = round(window.delay_s * fps)
    frames = []
    k = 0
    while (index := first + int(k / window.rate + 1e-9)) < count:
        frames.append(index)
        k += 1
    if not frames or x1 - x0 < 2 or y1 - y0 < 2:
        raise ConfigError(f"window {window}: nothing of a clip of {count} frames and {size[0]} × {size[1]} is left")
    return View(window, x0, y0, x1, y1, (width, height), tuple(frames))


def cut_truth(truth: BoxTable, view: View) -> BoxTable:
    """The boxes that a view sees: frames from 1 of its own, pixels of its own, ``visibility`` the share inside."""
    import numpy as np

    own = np.full(max(int(truth.frame.max(initial=0)), view.source_frame[-1] + 1) + 1, -1)
    own[np.array(view.source_frame) + 1] = np.arange(len(view.source_frame)) + 1
    frame = own[truth.frame]
    low, high = np.array([view.x0, view.y0]), np.array([view.x1, view.y1])
    corner, end = np.clip(truth.xyxy[:, :2], low, high), np.clip(truth.xyxy[:, 2:], low, high)
    area = np.prod(truth.xyxy[:, 2:] - truth.xyxy[:, :2], axis=1)
    inside = np.prod(end - corner, axis=1) / np.maximum(area, 1e-9)
    factor = np.array(view.size) / (high - low)
    xyxy = np.hstack([(corner - low) * factor, (end - low) * factor])
    if view.window.mirror:
        xyxy[:, [0, 2]] = view.size[0] - xyxy[:, [2, 0]]
    kept = (frame > 0) & (inside >= KEPT_FROM)
    score = np.where(inside < COUNTS_FROM, 0.0, truth.score)
    cut_table = replace(truth, frame=np.maximum(frame, 0), xyxy=xyxy, score=score, visibility=inside)
    return cut_table.take(kept)


def as_seen(image: Image, view: View) -> Image:
    """(h, w, 3) picture of a view from the clip's whole picture."""
    import cv2
    import numpy as np

    picture: Any = image[view.y0 : view.y1, view.x0 : view.x1]
    if view.window.mirror:
        picture = picture[:, ::-1]
    if view.size != (view.x1 - view.x0, view.y1 - view.y0):
        smaller = view.window.scale < 1
        picture = cv2.resize(np.ascontiguousarray(picture), view.size,
                             interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    picture = np.ascontiguousarray(picture)
    if view.window.gamma == 1 and view.window.gain == (1, 1, 1):
        return cast("Image", picture)
    return cast("Image", cv2.LUT(picture, _response(view.window)[:, None]))


def _response(window: Window) -> np.ndarray:
    """(256, 3) output of every input value of blue, green and red."""
    import numpy as np

    value = (np.arange(256) / 255.0) ** window.gamma
    return np.clip(np.round(255 * value[:, None] * np.array(window.gain)), 0, 255).astype(np.uint8)


def _measure(video: Path) -> tuple[float, tuple[int, int], int]:
    """Frame rate, (width, height) and number of frames, by reading the video once."""
    source = _open(video)
    try:
        return source.fps, source.size, sum(1 for _ in source)
    finally:
        source.close()


def _open(video: Path) -> Any:
    from mctrack.config import VideoConfig
    from mctrack.video.cameras import parse_cameras
    from mctrack.video.reader import open_source

    [spec] = parse_cameras([f"clip={video}"])
    source = open_source(spec, VideoConfig())
    if not source.fps:
        source.close()
        raise SourceError(f"{video}: has no frame rate")
    return source


def _write_videos(video: Path, views: Mapping[str, View], out: Path, fps: float) -> None:
    from contextlib import ExitStack, closing

    from mctrack.video.writer import VideoWriter

    wanted = {name: set(view.source_frame) for name, view in views.items()}
    with ExitStack() as stack:
        source = stack.enter_context(closing(_open(video)))
        writers = {
            name: stack.enter_context(closing(
                VideoWriter(out / f"{name}.mp4", view.size, fps * view.window.rate, crf=14, preset="fast")))
            for name, view in views.items()
        }
        for frame in source:
            for name, view in views.items():
                if frame.index in wanted[name]:
                    writers[name].write(as_seen(frame.image, view), frame.index / fps)


def _write_truth(out: Path, name: str, view: View, truth: BoxTable, fps: float) -> str:
    table = cut_truth(truth, view)
    rows = []
    for frame, identity, (x0, y0, x1, y1), score, seen in zip(
            table.frame, table.track_id, table.xyxy, table.score, table.visibility, strict=True):
        box = f"{x0:.2f},{y0:.2f},{x1 - x0:.2f},{y1 - y0:.2f}"
        rows.append(f"{frame},{identity},{box},{int(score != 0)},1,{seen:.3f}\n")
    (out / "gt" / f"{name}.txt").write_text("".join(rows), encoding="utf-8")
    (out / "gt" / f"{name}.ini").write_text(
        f"[Sequence]\nname={name}\nframeRate={fps * view.window.rate:.6g}\nseqLength={len(view.source_frame)}\n"
        f"imWidth={view.size[0]}\nimHeight={view.size[1]}\n", encoding="utf-8")
    people = len(set(table.track_id[table.score != 0].tolist()))
    return (f"{name}: {len(view.source_frame)} frames of {view.size[0]} × {view.size[1]}, pixels {view.x0}–{view.x1} × "
            f"{view.y0}–{view.y1} of the clip, {int((table.score != 0).sum())} boxes of {people} people")


def _calibration(view: View, fps: float) -> dict[str, Any]:
    return {"image_size": list(view.size), "fps": fps * view.window.rate, "start_s": view.source_frame[0] / fps}

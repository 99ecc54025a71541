"""Opening cameras of every kind."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from mctrack.config import VideoConfig
from mctrack.errors import ConfigError, suggest
from mctrack.video.source import SourceReport, VideoSource
from mctrack.video.spec import CameraSpec

__all__ = ["SourceReport", "VideoSource", "check_offsets", "open_source", "open_sources"]


def open_source(spec: CameraSpec, config: VideoConfig, *, images_from: int = 0,
                clock_zero: float | None = None) -> VideoSource:
    """Open a camera and read as far as its first picture.

    Args:
        spec: the camera.
        config: what to read of it.
        images_from: frames with a lower index come without picture (their times still count, for --resume).
        clock_zero: ``time.monotonic()`` at the start of the run, the zero of all live cameras' times; default: now.

    Raises:
        SourceError: it cannot be opened or holds no video.
        ConfigError: a value of the configuration cannot be used.
    """
    _check(config)
    if spec.kind == "folder":
        from mctrack.video.folders import FolderSource

        return FolderSource(spec, config, images_from)
    if spec.kind == "sequence":
        from mctrack.video.folders import SequenceSource

        return SequenceSource(spec, config, images_from)
    if spec.live:
        from mctrack.video.live import LiveSource

        return LiveSource(spec, config, time.monotonic() if clock_zero is None else clock_zero)
    from mctrack.video.files import FileSource

    return FileSource(spec, config, images_from)


def open_sources(specs: Sequence[CameraSpec], config: VideoConfig, *,
                 images_from: Mapping[str, int] | None = None) -> list[VideoSource]:
    """Open all cameras side by side (each unreachable one costs its timeout); if one fails, close the others.

    Args:
        specs: the cameras.
        config: what to read of them.
        images_from: camera name → index of its first frame that needs a picture.

    Raises:
        SourceError, ConfigError: of the first camera, in order, that failed.
    """
    check_offsets(config, specs)
    clock_zero = time.monotonic()
    start = images_from or {}
    with ThreadPoolExecutor(max_workers=min(len(specs), 16) or 1) as pool:
        futures = [pool.submit(open_source, spec, config, images_from=start.get(spec.name, 0), clock_zero=clock_zero)
                   for spec in specs]
    errors = [error for error in (f.exception() for f in futures) if error is not None]
    if errors:
        for future in futures:
            if future.exception() is None:
                future.result().close()
        raise errors[0]
    return [future.result() for future in futures]


def check_offsets(config: VideoConfig, specs: Sequence[CameraSpec]) -> None:
    """Refuse clock offsets for cameras that do not exist.

    Raises:
        ConfigError: ``video.offset_s`` names no camera, or holds no finite number.
    """
    names = [spec.name for spec in specs]
    for name, offset_s in config.offset_s.items():
        if name not in names:
            raise ConfigError(f"video.offset_s: no camera is named '{name}'{suggest(name, names)}; "
                              f"cameras: {', '.join(names)}")
        if not math.isfinite(offset_s):
            raise ConfigError(f"video.offset_s: the offset of camera '{name}' is {offset_s}; expected seconds")


def _check(config: VideoConfig) -> None:
    tolerance = config.match_tolerance_s
    rules = (
        (config.start >= 0, "start", config.start, "0 or more"),
        (config.max_frames is None or config.max_frames >= 1, "max_frames", config.max_frames, "1 or more"),
        (config.queue >= 1, "queue", config.queue, "1 or more"),
        (0 < config.timeout_s < 1e6, "timeout_s", config.timeout_s, "seconds above 0"),
        (0 < config.folder_fps <= 1000, "folder_fps", config.folder_fps, "a rate above 0, at most 1000"),
        (tolerance is None or 0 <= tolerance < 1e6, "match_tolerance_s", tolerance, "seconds, 0 or more"),
        (config.reconnects >= -1, "reconnects", config.reconnects, "-1 (for ever), 0 or more"),
    )
    for fine, key, value, expected in rules:
        if not fine:
            raise ConfigError(f"video.{key} is {value}; expected {expected}")

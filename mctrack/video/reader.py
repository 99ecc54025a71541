"""Opening cameras of every kind."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from mctrack.config import VideoConfig
from mctrack.config_checks import check_mapping, check_section
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
    check_section(config, "video.")
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
        ConfigError: ``video.offset_s`` names no camera, or holds what cannot be meant.
    """
    names = [spec.name for spec in specs]
    for name in config.offset_s:
        if name not in names:
            raise ConfigError(f"video.offset_s: no camera is named '{name}'{suggest(name, names)}; "
                              f"cameras: {', '.join(names)}")
    check_mapping("video.offset_s", config.offset_s)

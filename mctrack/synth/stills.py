"""Single frames of filmed scenes with their boxes: what a detector learns from beside composed pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.errors import ConfigError, OutputError

_QUALITY = 92


def write_stills(scene: Path, out: Path, every: int = 1) -> int:
    """Every n-th frame of every clip of a scene as ``out/<scene>-<camera>-<frame>.jpg`` and ``.txt``.

    Args:
        scene: a folder as ``mctrack synth scene`` writes it, or any with ``*.mp4`` and ``gt/<clip>.txt``.
        every: 1 takes all frames.

    Returns:
        How many were written; each text holds a line ``left top right bottom visibility`` per person (pixels, 0…1).

    Raises:
        ConfigError: there are no clips with ground truth, or one cannot be read; ``every`` is below 1.
        OutputError: ``out`` cannot be written.
    """
    if every < 1:
        raise ConfigError(f"every: {every} is below 1")
    clips = [p for p in sorted(scene.glob("*.mp4")) if (scene / "gt" / f"{p.stem}.txt").is_file()]
    if not clips:
        raise ConfigError(f"{scene}: expected *.mp4 and gt/*.txt; write them with 'mctrack synth scene --out DIR'")
    count = 0
    try:
        out.mkdir(parents=True, exist_ok=True)
        for clip in clips:
            people = _people(scene / "gt" / f"{clip.stem}.txt")
            for number, picture in _frames(clip, every):
                name = out / f"{scene.name}-{clip.stem}-{number:06d}"
                ok, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
                if not ok:  # a picture of a decoder can always be encoded
                    raise OutputError(f"{name}.jpg: the picture cannot be encoded")
                lines = [" ".join(f"{v:.2f}" for v in row) for row in people.get(number, [])]
                name.with_suffix(".txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
                name.with_suffix(".jpg").write_bytes(code.tobytes())
                count += 1
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error
    return count


def _people(path: Path) -> dict[int, list[list[float]]]:
    """Frame from 1 → rows (left, top, right, bottom, visibility)."""
    rows: dict[int, list[list[float]]] = {}
    for line_number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            frame, _, x, y, w, h, _, _, visible = (float(v) for v in line.split(",")[:9])
            number = int(frame)
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"{path} line {line_number}: expected frame,id,left,top,width,height,flag,class,"
                              "visibility") from error  # fmt: skip
        rows.setdefault(number, []).append([x, y, x + w, y + h, visible])
    return rows


def _frames(clip: Path, every: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(frame from 1, picture) of a clip."""
    try:
        with av.open(str(clip)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index % every == 0:
                    yield index + 1, np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    except av.error.FFmpegError as error:
        raise ConfigError(f"{clip}: cannot be decoded: {error.strerror}") from error

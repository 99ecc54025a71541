"""Writing a camera's pictures as plain H.264 MP4 with true time stamps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mctrack.errors import OutputError


class ClipWriter:
    """An MP4 file whose time stamps are multiples of a frame interval; pictures are (h, w, 3) uint8 BGR."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float, crf: int) -> None:
        import av

        self._av = av
        rate = Fraction(fps).limit_denominator(1001)
        try:
            self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        except (OSError, av.FFmpegError) as error:
            raise OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
        self._stream: Any = self._container.add_stream("libx264", rate=rate)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._time_base = 1 / rate
        self._stream.codec_context.time_base = self._time_base
        self._stream.options = {"crf": str(crf), "preset": "medium", "threads": "1", "g": str(round(4 * fps))}
        self._next = 0

    def write(self, picture: NDArray[np.uint8], tick: int | None = None) -> None:
        """Append a frame at ``tick`` frame intervals from the beginning; default: one after the frame before it."""
        frame = self._av.VideoFrame.from_ndarray(picture, format="bgr24")
        at = self._next if tick is None else tick
        frame.pts, frame.time_base = at, self._time_base
        self._next = at + 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

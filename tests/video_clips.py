"""Small videos for the video tests: every picture carries its number, so that a lost or wrong one shows."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

SIZE = (64, 48)
"""(width, height) in pixels."""


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(h, w, 3) BGR picture with a number below 65536 as 4 × 4 dark and bright blocks."""
    bits = np.array([(number >> k) & 1 for k in range(16)]).reshape(4, 4)
    rows = np.arange(size[1]) * 4 // size[1]
    columns = np.arange(size[0]) * 4 // size[0]
    grey = np.where(bits[rows][:, columns] > 0, 210, 40).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def read_number(image: np.ndarray) -> int:
    """The number in a picture, read from the middle of its blocks."""
    height, width = image.shape[:2]
    rows = ((np.arange(4) + 0.5) * height / 4).astype(int)
    columns = ((np.arange(4) + 0.5) * width / 4).astype(int)
    bits = image[rows][:, columns].mean(axis=2).reshape(-1) > 125
    return int(sum(1 << k for k in range(16) if bits[k]))


def write_clip(path: Path, count: int = 40, fps: int = 25, *, times_s: Sequence[float] | None = None,
               size: tuple[int, int] = SIZE, codec: str = "libx264", first: int = 0, gop: int = 10,
               start_s: float = 0.0, mux: dict[str, str] | None = None, container: str | None = None,
               codec_options: dict[str, str] | None = None, pix_fmt: str = "yuv420p") -> Path:
    """Write pictures numbered from ``first`` at ``times_s`` (default: every 1/fps from ``start_s``)."""
    import av

    base = Fraction(1, 90_000 if times_s is not None and codec != "mpeg4" else fps)
    with av.open(str(path), "w", format=container, options=mux or {}) as output:
        stream = output.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.time_base = base
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 1
        if codec == "libx264":
            stream.codec_context.options = {"preset": "ultrafast", "crf": "10", **(codec_options or {})}
        for k in range(count):
            frame = av.VideoFrame.from_ndarray(picture(first + k, size), format="bgr24")
            at_s = times_s[k] if times_s is not None else start_s + k / fps
            frame.pts, frame.time_base = round(at_s / base), base
            for packet in stream.encode(frame):
                output.mux(packet)
        for packet in stream.encode(None):
            output.mux(packet)
    return path


def rotate_mp4(path: Path, degrees: int) -> None:
    """Set an mp4's rotation flag (clockwise, as phones write it) in its track header."""
    turns = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    a, b, c, d = (value * 65536 for value in turns)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 5 * 4 + 2 * 4 + 4 * 2  # version and flags, times and ids, reserved, layer…volume
    data[at:at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(data)

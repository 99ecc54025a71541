"""H.264 in fragmented MP4: plays in browsers, grows on disk as it goes, and opens after a ``kill -9``."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mctrack.errors import OutputError
from mctrack.types import Image
from mctrack.video.boxfile import BoxFile

_TICKS = 60_000
"""Per second: a multiple of the usual rates, and the most MPEG-4 allows is 65535."""
_KEY_EVERY_S = 0.5
ENCODERS = ("libx264", "libopenh264", "h264_videotoolbox", "h264_mf", "h264_nvenc", "h264_amf", "mpeg4")
"""In the order they are tried; all but the last are H.264."""


class VideoWriter:
    """Writes pictures with their times.

    Every fragment starts with a key frame and holds at most half a second (longer only where frames are further
    apart); it is on disk, whole, as soon as the next one begins. The encoder holds no frame back. So a killed
    process loses about half a second of video.

    Args:
        path: the .mp4 file; replaced if it exists.
        size: (width, height) in pixels of the pictures; an odd last column or row is left out.
        fps: nominal frames per second.
        crf: quality of libx264: lower is better and larger.
        encoders: names of encoders to try.

    Attributes:
        warning: one line if the video is not H.264 by libx264, else None.

    Raises:
        OutputError: the file cannot be created or no encoder works.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float, *, crf: int = 23,
                 preset: str = "veryfast", encoders: tuple[str, ...] = ENCODERS) -> None:
        self.path = Path(path)
        self.size = (max(size[0] // 2 * 2, 2), max(size[1] // 2 * 2, 2))
        self.warning: str | None = None
        self.frames = 0
        self._given = size
        self._fps = min(max(fps, 0.1), 1000.0)
        self._rate = Fraction(self._fps).limit_denominator(1001)
        self._origin_s = 0.0
        self._last_tick = -1
        self._key_tick = 0
        self._container: Any = None
        self._file: Any = None
        self._reformatter: Any = None
        self._open(encoders, crf, preset)

    def _open(self, encoders: tuple[str, ...], crf: int, preset: str) -> None:
        import av

        name = self._choose(encoders)
        try:
            self._file = BoxFile(self.path)
            # default_base_moof: browsers want it. flush_packets: a fragment must not wait in a buffer.
            self._container = av.open(self._file, "w", format="mp4", options={
                "movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"})
            self._stream = self._container.add_stream(name, rate=self._rate)
            self._set_up(self._stream.codec_context, name, crf, preset)
            self._stream.codec_context.open()
            self._container.start_encoding()
            self._file.store()
        except Exception as error:
            self._discard()
            raise self._failed(error) from None
        if name != "libx264":
            what = "not H.264, browsers may not play it" if name == "mpeg4" else "its quality may differ"
            self.warning = f"libx264 is not available: {self.path.name} is encoded with {name} ({what})"

    def _choose(self, encoders: tuple[str, ...]) -> str:
        """The first encoder that opens: one that is listed may still lack its hardware."""
        from av.codec import CodecContext

        for name in encoders:
            try:
                trial = CodecContext.create(name, "w")
                self._set_up(trial, name, 23, "veryfast")
                trial.open()
            except Exception:
                continue
            return name
        raise OutputError(f"{self.path}: no video encoder works (tried {', '.join(encoders)}); reinstall av, "
                          "or use --no-video")

    def _set_up(self, context: Any, name: str, crf: int, preset: str) -> None:
        context.width, context.height = self.size
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, _TICKS)
        context.framerate = self._rate
        context.gop_size = 9999  # write() says which frames are key frames, by time
        # Swscale converts by BT.601; said in the file, or players guess another matrix for HD.
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 6, 6, 6, 1
        context.thread_count = 1  # one writer per camera runs already
        if name == "libx264":
            context.options = {"preset": preset, "tune": "zerolatency", "crf": str(crf), "forced-idr": "1"}
        else:
            context.max_b_frames = 0
            context.bit_rate = max(int(self.size[0] * self.size[1] * self._fps * 0.1), 200_000)

    def write(self, image_bgr: Image, time_s: float) -> None:
        """Add a picture (h, w, 3) uint8 BGR; ``time_s`` counts from the first one written and has to increase.

        Raises:
            OutputError: the disk is full or the file cannot be written any more.
        """
        import av
        from av.video.frame import PictureType
        from av.video.reformatter import VideoReformatter

        if image_bgr.shape != (self._given[1], self._given[0], 3):
            raise ValueError(f"image has shape {image_bgr.shape}, expected {(self._given[1], self._given[0], 3)}")
        if self._container is None:
            raise OutputError(f"{self.path}: the video is already closed")
        if self.frames == 0:
            self._origin_s = time_s
        # Two frames within a tick, or a clock that stands still, still need increasing times.
        tick = max(round((time_s - self._origin_s) * _TICKS), self._last_tick + 1)
        # One for all frames: a frame's own reformat() sets its tables up anew each time.
        self._reformatter = self._reformatter or VideoReformatter()
        bgr = av.VideoFrame.from_ndarray(self._even(image_bgr), format="bgr24")
        frame = self._reformatter.reformat(bgr, format="yuv420p")
        frame.pts, frame.time_base = tick, Fraction(1, _TICKS)
        # By time: at a slow or uneven frame rate the encoder's own count would make fragments too long.
        if self.frames == 0 or tick - self._key_tick >= _KEY_EVERY_S * _TICKS - 1:
            frame.pict_type = PictureType.I
            self._key_tick = tick
        self._last_tick = tick
        self._mux(frame)
        self.frames += 1

    def _even(self, image: Image) -> Image:
        width, height = self.size
        if image.shape[0] < height or image.shape[1] < width:  # one pixel wide or high
            image = np.pad(image, ((0, max(height - image.shape[0], 0)), (0, max(width - image.shape[1], 0)), (0, 0)),
                           mode="edge")
        return np.ascontiguousarray(image[:height, :width])

    def _mux(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
            self._file.store()
        except Exception as error:
            self._discard()
            raise self._failed(error) from None

    def close(self) -> None:
        """Finish the file. Safe to call twice, and after an error.

        Raises:
            OutputError: the last fragment cannot be written.
        """
        if self._container is None:
            return
        self._mux(None)
        try:
            self._container.close()
            self._file.close()
        except Exception as error:
            self._discard()
            raise self._failed(error) from None
        self._container = None

    def _discard(self) -> None:
        """Let go of a container that failed; what is on disk stays."""
        for thing in (self._container, self._file):
            with suppress(Exception):  # they fail for the reason that is being reported already
                if thing is not None:
                    thing.close()
        self._container = None

    def _failed(self, error: BaseException) -> OutputError:
        why = getattr(error, "strerror", None) or type(error).__name__
        hint = "; free some space or use --no-video" if getattr(error, "errno", None) == 28 else ""
        return OutputError(f"{self.path} cannot be written: {why}{hint}")

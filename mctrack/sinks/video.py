"""Annotated video: one file per camera and a mosaic of all, drawn and encoded on a thread of its own."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from mctrack.errors import MctrackError, OutputError
from mctrack.sinks.census import Census
from mctrack.sinks.draw import Trails, draw_view
from mctrack.sinks.mosaic import FPS, Mosaic, even
from mctrack.sinks.schema import CameraInfo
from mctrack.types import Frame, Image, InstantResult, TrackState

MAX_HEIGHT_PX = 720
_QUEUE = 3  # instants; each holds a full picture of every camera


class Encoder(Protocol):
    """What :class:`VideoSink` needs of a video writer."""

    def write(self, image_bgr: Image, time_s: float) -> None:
        """Add a picture (h, w, 3) uint8 that belongs at a time in seconds."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


EncoderFactory = Callable[[Path, "tuple[int, int]", float], Encoder]
"""(path, (width, height), frames per second) → encoder."""


class VideoSink:
    """Writes ``<camera>.mp4`` for every camera that has pictures, and ``mosaic.mp4``.

    Frames without a picture are left out; nothing is shown in their place. A slow encoder makes :meth:`write` wait and
    loses nothing.

    Args:
        folder: where the files go; made when the first picture comes.
        cameras: in the run's order.
        encoder: makes a video file.
        height_px: height of the cameras' pictures; default: the source's, at most 720.
        mosaic: whether to write the mosaic.
        resume_instant: the run was interrupted after this many instants and their results come again. Until then files
            are ``<camera>.part.mp4``, so that what the first attempt left stays until there is as much again.

    Attributes:
        seconds: ``draw``, CPU seconds of drawing, and ``encode``, seconds spent in the encoders.
    """

    def __init__(
        self, folder: Path, cameras: Sequence[CameraInfo], encoder: EncoderFactory, height_px: int | None = None,
        mosaic: bool = True, resume_instant: int | None = None,
    ) -> None:  # fmt: skip
        self.seconds = {"draw": 0.0, "encode": 0.0}
        self._files = _Files(folder, encoder, bool(resume_instant), self.seconds)
        self._cameras = {c.name: c for c in cameras}
        self._height_px = height_px
        self._mosaic = Mosaic(cameras) if mosaic else None
        self._resume = resume_instant or 0
        self._trails = {c.name: Trails() for c in cameras}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._identities = Census()
        self._done = 0
        self._error: MctrackError | None = None
        self._told = False
        self._queue: queue.Queue[InstantResult | None] = queue.Queue(_QUEUE)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="video", daemon=True)
        self._thread.start()

    def write(self, result: InstantResult) -> None:
        """Hand over one instant; waits while the encoders are busy.

        Raises:
            OutputError: an earlier picture could not be written.
        """
        self._tell()
        self._queue.put(result)

    def close(self) -> None:
        """Draw what is queued and finish the files. Safe to call twice.

        Raises:
            OutputError: something could not be written and no call has said so yet.
        """
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()
        if not self._told:
            self._tell()

    @property
    def paths(self) -> list[Path]:
        """The files written so far, under their final names."""
        return self._files.paths

    def _tell(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error

    def _run(self) -> None:
        while (result := self._queue.get()) is not None:
            self._guard(lambda r=result: self._draw(r))  # type: ignore[misc]
            # this thread does nothing else, so what the encoder did not take is drawing
            self.seconds["draw"] = time.thread_time() - self._files.cpu_s
        self._guard(lambda: self._files.close(keep_old=self._done < self._resume))

    def _guard(self, job: Callable[[], None]) -> None:
        """Run a job unless one failed before; the queue is emptied all the same, or callers would wait for ever."""
        if self._error is not None:
            return
        try:
            job()
        except Exception as error:
            self._error = error if isinstance(error, MctrackError) else OutputError(
                f"{self._files.folder}: video cannot be written: {error}"
            )  # fmt: skip
            self._error.__cause__ = error.__cause__ if error is self._error else error
            self._files.abandon()

    def _draw(self, result: InstantResult) -> None:
        self._identities.learn(result)
        for frame, tracks, global_ids in zip(result.instant.frames, result.tracks, result.global_ids, strict=True):
            people = self._trails[frame.camera].people(frame, tracks, global_ids)
            if frame.image is None:
                continue
            counts = int((tracks.seen & (tracks.state == TrackState.CONFIRMED)).sum()), len(self._identities)
            camera = self._cameras[frame.camera]
            size = self._size(camera, frame)
            view = draw_view(frame.image, people, size, camera.name, frame.time_s, counts)
            self._files.write(camera.name, view, frame.time_s, camera.fps or FPS)
            if self._mosaic is not None:
                self._mosaic.show(frame, people, counts, view)
        if self._mosaic is not None:
            picture = self._mosaic.picture(result.instant.time_s)
            if picture is not None:
                self._files.write(self._mosaic.name, picture, result.instant.time_s, self._mosaic.fps)
        self._done += 1
        if self._done == self._resume:
            self._files.promote()

    def _size(self, camera: CameraInfo, frame: Frame) -> tuple[int, int]:
        """(width, height) of a camera's pictures, even as H.264 wants it; the first decides, a file has but one."""
        if camera.name not in self._sizes:
            width, height = frame.size
            target = self._height_px or min(height, MAX_HEIGHT_PX)
            self._sizes[camera.name] = even(width * target / height), even(target)
        return self._sizes[camera.name]


class _Files:
    """The open encoders and where their files are."""

    def __init__(self, folder: Path, encoder: EncoderFactory, part: bool, seconds: dict[str, float]) -> None:
        self.folder, self._encoder, self._part, self._seconds = folder, encoder, part, seconds
        self.cpu_s = 0.0
        self._open: dict[str, Encoder] = {}

    @property
    def paths(self) -> list[Path]:
        return [self.folder / f"{name}.mp4" for name in self._open]

    def write(self, name: str, picture: Image, time_s: float, fps: float) -> None:
        begin, cpu = time.perf_counter(), time.thread_time()
        if name not in self._open:
            size = picture.shape[1], picture.shape[0]
            path = self.folder / f"{name}{'.part' if self._part else ''}.mp4"
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"{self.folder} cannot be made: {error.strerror}") from error
            self._open[name] = self._encoder(path, size, fps)
        self._open[name].write(picture, time_s)
        self._seconds["encode"] += time.perf_counter() - begin
        self.cpu_s += time.thread_time() - cpu

    def promote(self) -> None:
        """Put the new files in the old ones' place; where open files cannot be renamed, closing does it."""
        if self._part and all(self._replace(name) for name in self._open):
            self._part = False

    def close(self, keep_old: bool) -> None:
        """Finish all files; ``keep_old``: partial files shorter than what is there already are thrown away."""
        for encoder in self._open.values():
            encoder.close()
        if self._part:
            for name in self._open:
                if keep_old and (self.folder / f"{name}.mp4").exists():
                    (self.folder / f"{name}.part.mp4").unlink(missing_ok=True)
                else:
                    self._replace(name)

    def abandon(self) -> None:
        """After an error: finish what can be finished, so that the other files stay playable."""
        for encoder in self._open.values():
            with suppress(Exception):  # the first error is the one to tell
                encoder.close()

    def _replace(self, name: str) -> bool:
        part = self.folder / f"{name}.part.mp4"
        try:
            if part.exists():
                os.replace(part, self.folder / f"{name}.mp4")
        except OSError:
            return False
        return True

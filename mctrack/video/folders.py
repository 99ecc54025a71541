"""Image folders and MOTChallenge sequences."""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mctrack.config import VideoConfig
from mctrack.errors import SourceError
from mctrack.types import Frame, Image
from mctrack.video.cameras import IMAGE_SUFFIXES, list_images
from mctrack.video.picture import fit
from mctrack.video.source import BaseSource
from mctrack.video.spec import CameraSpec


def read_image(path: Path) -> Image | None:
    """(h, w, 3) uint8 BGR of an image file, upright, or None where it is broken."""
    import cv2

    try:
        # Not cv2.imread: it fails on paths that are not ASCII on Windows, and prints on broken files.
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
    return None if image is None else np.asarray(image, np.uint8)


class _ImageSource(BaseSource):
    """What folders and sequences share: pictures of one size, with gaps told once."""

    def __init__(self, spec: CameraSpec, config: VideoConfig, images_from: int) -> None:
        super().__init__(spec, config, images_from)
        self._label = f"camera '{spec.name}' ({spec.uri})"
        self._broken: list[str] = []
        self._resized: list[str] = []

    def close(self) -> None:
        """End an iteration at its next frame."""
        self._stop.set()

    def _picture(self, path: Path) -> Image | None:
        image = read_image(path)
        if image is None:
            self._broken.append(path.name)
            return None
        if (image.shape[1], image.shape[0]) != self.size:
            self._resized.append(path.name)
        return fit(image, self.size)

    def _end(self, declared: int) -> range:
        """Indices of the frames to give out of ``declared``."""
        if self._config.start >= declared:
            raise SourceError(f"{self._label}: it has {declared} images, so start={self._config.start} is beyond its "
                              f"end; choose a start below {declared}")
        return range(self._config.start, self._config.start + (self._window(declared) or 0))

    def _tell(self) -> None:
        if self._resized:
            self.warn(f"{_some(self._resized)} of another size scaled to {self.size[0]}x{self.size[1]}")
        if self._broken:
            self.warn(f"{_some(self._broken)} cannot be read")


def _some(names: list[str]) -> str:
    listed = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} image{'s' if len(names) > 1 else ''} ({listed})"


class FolderSource(_ImageSource):
    """A folder of images in natural order, ``config.folder_fps`` per second; a broken image leaves a gap in time."""

    def __init__(self, spec: CameraSpec, config: VideoConfig, images_from: int = 0) -> None:
        super().__init__(spec, config, images_from)
        self._images = list_images(Path(spec.uri))
        self.fps = config.folder_fps
        self._range = self._end(len(self._images))
        self.frame_count = len(self._range)
        first = next((image for image in map(read_image, self._images) if image is not None), None)
        if first is None:
            raise SourceError(f"{self._label}: none of its {len(self._images)} images can be read")
        self.size = (first.shape[1], first.shape[0])

    def __iter__(self) -> Iterator[Frame]:
        """The frames."""
        try:
            for index in self._range:
                if self._stop.is_set():
                    return
                # Read even where no picture is wanted: whether it is broken decides if the frame exists.
                image = self._picture(self._images[index])
                if image is None:
                    continue
                self._decoded += 1
                yield Frame(self.spec.name, index, index / self.fps + self._offset_s,
                            image if self._wanted(index) else None, self.size)
            self._complete = not self._broken
        finally:
            self._tell()


class SequenceSource(_ImageSource):
    """A MOTChallenge sequence: ``seqinfo.ini`` gives rate, length and size; frame index = image number − 1.

    The timing is complete even without pictures: a missing or broken image gives a frame without picture.
    """

    def __init__(self, spec: CameraSpec, config: VideoConfig, images_from: int = 0) -> None:
        super().__init__(spec, config, images_from)
        info = self._read_info(Path(spec.uri) / "seqinfo.ini")
        self._folder = Path(spec.uri) / info.get("imDir", "img1").strip()
        suffix = info.get("imExt", "").strip().lower()
        self._images = self._numbered(suffix)
        self.fps = self._number(info, "frameRate", config.folder_fps)
        length = int(self._number(info, "seqLength", max(self._images, default=-1) + 1))
        self._range = self._end(length)
        self.frame_count = len(self._range)
        self.size = self._info_size(info)

    def _read_info(self, path: Path) -> configparser.SectionProxy:
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            parser.read_string(path.read_text(encoding="utf-8-sig"))
            return parser["Sequence"]
        except (OSError, UnicodeDecodeError, configparser.Error, KeyError):
            raise SourceError(f"{self._label}: {path} cannot be read; expected a [Sequence] section with frameRate, "
                              "seqLength, imWidth and imHeight") from None

    def _number(self, info: configparser.SectionProxy, key: str, default: float) -> float:
        text = info.get(key, str(default))
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 < value < 1e9:
            raise SourceError(f"{self._label}: seqinfo.ini has no usable {key} ('{text}'); expected a positive number")
        return value

    def _numbered(self, suffix: str) -> dict[int, Path]:
        """0-based frame index → image file."""
        if not self._folder.is_dir():
            return {}
        wanted = {suffix} if suffix in IMAGE_SUFFIXES else IMAGE_SUFFIXES
        return {int(p.stem) - 1: p for p in list_images(self._folder)
                if p.suffix.lower() in wanted and p.stem.isascii() and p.stem.isdigit() and int(p.stem) > 0}

    def _info_size(self, info: configparser.SectionProxy) -> tuple[int, int]:
        if "imWidth" in info and "imHeight" in info:
            return int(self._number(info, "imWidth", 0)), int(self._number(info, "imHeight", 0))
        first = next((i for i in map(read_image, self._images.values()) if i is not None), None)
        if first is None:
            raise SourceError(f"{self._label}: seqinfo.ini lacks imWidth and imHeight and there is no image to measure")
        return first.shape[1], first.shape[0]

    def __iter__(self) -> Iterator[Frame]:
        """The frames."""
        here = sum(index in self._images for index in self._range)
        if here < len(self._range):
            self.warn(f"{self._folder.name} holds {here} of {len(self._range)} images")
        try:
            for index in self._range:
                if self._stop.is_set():
                    return
                path = self._images.get(index)
                image = self._picture(path) if path and self._wanted(index) else None
                self._decoded += 1
                self._complete = self._decoded == self.frame_count
                yield Frame(self.spec.name, index, index / self.fps + self._offset_s, image, self.size)
        finally:
            self._tell()

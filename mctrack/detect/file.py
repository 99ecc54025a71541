"""Detections that somebody else made, from MOTChallenge files: one per camera."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mctrack.config import DetectConfig
from mctrack.detect.motchallenge import read_detections
from mctrack.detect.postprocess import finish
from mctrack.errors import ConfigError
from mctrack.types import Detections, Frame, State
from mctrack.video.spec import CameraSpec


class FileDetector:
    """Looks frames up in detection files.

    Boxes are not cut at the picture's edge: public detections reach beyond it, and so does the ground truth.
    ``score``, ``min_height_px``, ``nms_iou`` (1: off) and ``max_detections`` apply.

    Args:
        config: ``weights`` is a file (with a single camera) or a folder with ``<camera>.txt``; without it the files
            are looked for where the cameras are (:func:`find_detections`).
        cameras: whose detections to read.
        device: not used.
    """

    needs_images = False

    def __init__(self, config: DetectConfig, cameras: Sequence[CameraSpec], device: str) -> None:
        self._config = config
        paths = {camera.name: find_detections(config.weights, camera, len(cameras)) for camera in cameras}
        self._tables = {name: read_detections(path) for name, path in paths.items()}
        rules = list(dict.fromkeys(table.mapping for table in self._tables.values()))
        files = str(next(iter(paths.values()))) if len(paths) == 1 else f"{len(paths)} files"
        self.description = f"file: detections from {files}; scores {', '.join(rules) or 'none'}"

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """The rows of each frame; none for frames that the file does not mention."""
        result = []
        for frame in frames:
            table = self._tables.get(frame.camera)
            if table is None:
                raise ConfigError(f"detector 'file': no detections were read for camera '{frame.camera}'")
            xyxy, score = table.at(frame.index)
            result.append(finish(xyxy, score, frame.size, self._config, clip=False))
        return result

    def state(self) -> State:
        """No memory."""
        return {}

    def restore(self, state: State) -> None:
        """No memory."""


def find_detections(weights: str | None, camera: CameraSpec, camera_count: int) -> Path:
    """The detection file of a camera.

    Args:
        weights: a file or folder given by the user, or None to look beside the source.
        camera: whose file.
        camera_count: a single file can only serve a single camera.

    Raises:
        ConfigError: there is none; the message lists the places.
    """
    if weights is not None:
        given = Path(weights).expanduser()
        if given.is_file():
            if camera_count > 1:
                raise ConfigError(f"detections {given}: one file for {camera_count} cameras; give a folder with one "
                                  "file for each, named <camera>.txt")
            return given
        if not given.is_dir():
            raise ConfigError(f"detections {given}: no such file or folder")
        own = given / camera.name
        places = [given / f"{camera.name}.txt", own / "det" / "det.txt", own / "det.txt"]
        if camera_count == 1:
            places += [given / "det" / "det.txt", given / "det.txt"]
    else:
        places = _beside(camera, camera_count)
    for place in places:
        if place.is_file():
            return place
    if not places:
        raise ConfigError(f"camera '{camera.name}': a {camera.kind} has no detection file; use another --detector")
    shown = ", ".join(str(place) for place in places)
    raise ConfigError(f"camera '{camera.name}': no detections found; looked for {shown}; or give --weights")


def _beside(camera: CameraSpec, camera_count: int) -> list[Path]:
    """Where the detections of a source may lie."""
    if camera.live:
        return []
    source = Path(camera.uri).expanduser()
    if camera.kind in ("sequence", "folder"):
        folder = source.parent if source.name.startswith("img") else source
        return [folder / "det" / "det.txt", folder / "det.txt"]
    folder, stem = source.parent, source.stem
    places = [folder / f"{stem}.txt", folder / f"{stem}.det.txt", folder / "det" / f"{stem}.txt"]
    return [*places, folder / "det.txt"] if camera_count == 1 else places

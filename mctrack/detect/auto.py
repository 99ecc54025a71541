"""The best detector that is at hand without downloading anything."""

from __future__ import annotations

import configparser
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mctrack.config import DetectConfig
from mctrack.detect import Detector
from mctrack.detect.build import SUFFIXES, build_detector
from mctrack.detect.file import find_detections
from mctrack.errors import ConfigError
from mctrack.video.spec import CameraSpec

_PATTERNS = ("yolo*.pt", "yolo*.onnx")  # the second one covers yolox as well
_BETTER = "for better boxes give --weights yolo11n.pt or a YOLOX/YOLO .onnx file"


def build_auto(config: DetectConfig, cameras: Sequence[CameraSpec], device: str, **options: Any) -> Detector:
    """Choose a detector: the given weights', else YOLO weights on this machine, else the embedded one.

    Args:
        config: with ``weights`` its kind decides; without, nothing is ever downloaded.
        cameras: MOTChallenge sequences that bring detections but no pictures are read from their files.
        device: ``auto``, ``cpu`` or ``cuda``.
        **options: handed on to the detector that was chosen.
    """
    config = replace(config, options=options)
    if config.weights:
        return _say(build_detector(replace(config, name=_by_weights(config.weights)), cameras, device),
                    f"chosen by --weights {config.weights}")
    if cameras and all(_only_detections(camera, len(cameras)) for camera in cameras):
        return _say(build_detector(replace(config, name="file"), cameras, device), "the pictures are not here")
    found = find_weights()
    if found is not None:
        name = SUFFIXES[found.suffix]
        detector = build_detector(replace(config, name=name, weights=str(found)), cameras, device)
        return _say(detector, f"found {found}")
    return _say(build_detector(replace(config, name="embedded"), cameras, device), f"no weights here; {_BETTER}")


def find_weights() -> Path | None:
    """YOLO weights in ``$MCTRACK_WEIGHTS`` (a file or folder), the current folder or ``~/.cache/mctrack``.

    A ``.pt`` counts only where ultralytics is installed. In a folder the first by name is taken, ``.pt`` first.
    """
    places = [Path.cwd(), Path.home() / ".cache" / "mctrack"]
    told = os.environ.get("MCTRACK_WEIGHTS")
    if told:
        places.insert(0, Path(told).expanduser())
    for place in places:
        candidates = [place] if place.is_file() else [p for pattern in _PATTERNS for p in sorted(place.glob(pattern))]
        for candidate in candidates:
            name = SUFFIXES.get(candidate.suffix)
            if candidate.is_file() and (name == "onnx" or (name == "yolo" and find_spec("ultralytics"))):
                return candidate
    return None


def _by_weights(weights: str) -> str:
    path = Path(weights).expanduser()
    if path.is_dir():
        return "file"
    name = SUFFIXES.get(path.suffix.lower())
    if name is None:
        raise ConfigError(f"--weights {weights}: cannot tell which detector it is for; add --detector NAME "
                          f"(known endings: {', '.join(SUFFIXES)}, or a folder of detections)")
    return name


def _only_detections(camera: CameraSpec, camera_count: int) -> bool:
    """Whether a camera is a MOTChallenge sequence with detections but without (all of) its pictures."""
    if camera.kind != "sequence":
        return False
    try:
        find_detections(None, camera, camera_count)
    except ConfigError:
        return False
    folder = Path(camera.uri).expanduser()
    folder = folder.parent if folder.name.startswith("img") else folder
    info = configparser.ConfigParser(interpolation=None)
    try:
        info.read(folder / "seqinfo.ini", encoding="utf-8-sig")
        expected = max(info.getint("Sequence", "seqLength", fallback=1), 1)
        pictures = folder / info.get("Sequence", "imDir", fallback="img1")
    except (configparser.Error, ValueError):
        return False  # the reader of the sequence has a better message for this
    if not pictures.is_dir():
        return True
    return sum(p.suffix.lower() in (".jpg", ".jpeg", ".png") for p in pictures.iterdir()) < expected


def _say(detector: Detector, why: str) -> Detector:
    detector.description = f"{detector.description} (auto: {why})"
    return detector

"""Finding people: every detector takes the frames of all cameras in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mctrack.types import Detections, Frame, State

DETECTORS = {
    "auto": "mctrack.detect.auto:build_auto",
    "background": "mctrack.detect.subtraction:BackgroundDetector",
    "embedded": "mctrack.detect.embedded:EmbeddedDetector",
    "file": "mctrack.detect.file:FileDetector",
    "onnx": "mctrack.detect.onnx:OnnxDetector",
    "torchvision": "mctrack.detect.torchvision:TorchvisionDetector",
    "yolo": "mctrack.detect.yolo:YoloDetector",
}
"""Name → ``module:Class``, called as ``Class(config: DetectConfig, cameras: Sequence[CameraSpec], device: str)``."""


class Detector(Protocol):
    """Finds people in frames."""

    description: str
    """One line for the user and for ``run.json``: which model, which weights, how to get better."""
    needs_images: bool
    """Whether frames without a picture (``image is None``) are of no use to it."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One :class:`Detections` per frame, in order; the frames come from different cameras."""
        ...

    def state(self) -> State:
        """What :meth:`restore` needs to go on as if never stopped; ``{}`` for detectors without memory."""
        ...

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        ...

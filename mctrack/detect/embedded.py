"""The person detector that comes with the package: trained by us on rendered people, no download, any camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mctrack.config import DetectConfig
from mctrack.detect.onnx import OnnxDetector
from mctrack.errors import ConfigError
from mctrack.video.spec import CameraSpec

WEIGHTS = Path(__file__).parent / "weights" / "person.onnx"
"""Beside it lies its card, ``person.json``: data, recipe, seed and figures."""


class EmbeddedDetector(OnnxDetector):
    """A small anchor-free network through ONNX Runtime (:mod:`mctrack.detect.training` made it).

    Args:
        config: ``input_size`` is the longer side of the pictures it works on, a multiple of 32; default 512.
        cameras: not used; every camera is treated alike.
        device: ``auto`` takes CUDA where this onnxruntime has it.
        threads: CPU threads per operation; 0: as the engine likes.

    Raises:
        ConfigError: weights were named, or an option is out of range.
    """

    def __init__(self, config: DetectConfig, cameras: Sequence[CameraSpec], device: str, *, threads: int = 0) -> None:
        if config.weights:
            raise ConfigError(f"detector 'embedded' takes no weights, but --weights names {config.weights}")
        super().__init__(replace(config, weights=str(WEIGHTS)), cameras, device, threads=threads)
        size = f"{self._size[0]} px"
        self.description = f"embedded: small network trained on rendered people, {size}, {self._engine.shown}"

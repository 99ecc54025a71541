"""The two ways to run an ONNX network behind one small interface."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mctrack.detect.onnx_header import Header, read_header
from mctrack.errors import ConfigError, WeightsError

ENGINES = ("onnxruntime", "opencv")


class Engine(Protocol):
    """A network with one picture input."""

    header: Header
    shown: str

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[Any]]:
        """All outputs for a batch (n, 3, h, w)."""
        ...


def open_engine(name: str, path: Path, device: str, threads: int) -> Engine:
    """Load a network.

    Args:
        name: one of :data:`ENGINES`.
        path: the ONNX file.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: per operation; 0 leaves the choice to the engine.

    Raises:
        WeightsError: the file is no network that the engine can run.
        ConfigError: the device is not there.
    """
    header = read_header(path)
    if len(header.input_shape) != 4 or header.input_shape[1] not in (3, None):
        raise WeightsError(f"{path}: its input is {header.shown_shape()}, expected pictures (n, 3, h, w)")
    if name == "opencv":
        return OpenCvEngine(path, header, device)
    return OrtEngine(path, header, device, threads)


def onnx_runtime() -> Any:
    """ONNX Runtime; its official builds send events home from their import on, and nothing that we ship may."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # where somebody else imported it before
    onnxruntime.set_default_logger_severity(3)  # errors
    return onnxruntime


class OrtEngine:
    """ONNX Runtime."""

    def __init__(self, path: Path, header: Header, device: str, threads: int) -> None:
        ort = onnx_runtime()
        self.header = header
        cuda = "CUDAExecutionProvider" in ort.get_available_providers()
        if device == "cuda" and not cuda:
            raise ConfigError("device cuda: this onnxruntime runs on the CPU only; pip install onnxruntime-gpu")
        providers = ["CUDAExecutionProvider"] if cuda and device != "cpu" else []
        options = ort.SessionOptions()
        options.log_severity_level = 4  # its own complaints on stderr: ours carry the file's name
        options.intra_op_num_threads = threads
        # Its threads would burn a core between two batches, which decoding and tracking need
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(str(path), options, [*providers, "CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base but Exception
            raise WeightsError(f"{path}: onnxruntime cannot load it: {_first_line(error)}") from error
        used = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        if device == "cuda" and used != "CUDA":
            raise ConfigError("device cuda: onnxruntime has a CUDA provider but it does not start; check the CUDA "
                              "and cuDNN versions, or use device cpu")
        self.shown = f"onnxruntime {used}"
        self._input = self._session.get_inputs()[0]
        self._dtype = np.float16 if "float16" in self._input.type else np.float32

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[Any]]:
        return list(self._session.run(None, {self._input.name: batch.astype(self._dtype, copy=False)}))


class OpenCvEngine:
    """OpenCV's own network module, for machines without ONNX Runtime."""

    def __init__(self, path: Path, header: Header, device: str) -> None:
        import cv2

        if device == "cuda":
            raise ConfigError("device cuda: OpenCV's packages run networks on the CPU only; use engine onnxruntime")
        self.header = header
        self.shown = f"OpenCV {cv2.__version__} CPU"
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise WeightsError(f"{path}: OpenCV cannot load it: {_first_line(error)}") from error
        self._outputs = self._net.getUnconnectedOutLayersNames()

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[Any]]:
        self._net.setInput(batch)
        return list(self._net.forward(self._outputs))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__

"""YOLOX, YOLOv8, YOLO11 and end-to-end exports through ONNX Runtime or OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mctrack.config import DetectConfig
from mctrack.config_checks import check_number
from mctrack.detect.classes import class_names, find_person, literal
from mctrack.detect.decode import FAMILIES, SUPPORTED, Layout, guess_family, looks_decoded
from mctrack.detect.engines import ENGINES, open_engine
from mctrack.detect.letterbox import PAD
from mctrack.detect.network import Size, check_input_size, detect_frames, rectangle
from mctrack.errors import ConfigError, WeightsError, suggest
from mctrack.types import Detections, Frame, State
from mctrack.video.spec import CameraSpec

_DEFAULT_SIZE = 640


class OnnxDetector:
    """A detector from an ONNX file; the family, the input size and the classes are read from the file.

    Args:
        config: ``weights`` is the file; ``input_size`` counts only where the file leaves the size open.
        cameras: not used; every camera is treated alike.
        device: ``auto`` takes CUDA where this onnxruntime has it.
        engine: ``onnxruntime`` or ``opencv``.
        threads: CPU threads per operation; 0: as the engine likes.
        family: ``auto``, ``yolox``, ``yolov8`` or ``end2end``.
        decoded: whether a YOLOX export gives pixels; default: found out by running it once.
        person_class: index or name of the class to keep; default: the one called person, or the first.
    """

    needs_images = True

    def __init__(
        self, config: DetectConfig, cameras: Sequence[CameraSpec], device: str, *, engine: str = "onnxruntime",
        threads: int = 0, family: str = "auto", decoded: bool | None = None, person_class: int | str | None = None,
    ) -> None:
        if not config.weights:
            raise ConfigError("detector 'onnx' needs its weights: --weights FILE.onnx")
        _check_choice("engine", engine, ENGINES)
        _check_choice("family", family, ("auto", *FAMILIES))
        if threads < 0:
            raise ConfigError(f"detect.options.threads is {threads}, expected 0 (as many as fit) or more")
        self._config = config
        self._path = Path(config.weights).expanduser()
        self._engine = open_engine(engine, self._path, device, threads)
        self._batch = self._engine.header.input_shape[0]
        self._free_size = self._engine.header.input_shape[2:] == (None, None)
        self._stride = _positive(literal(self._engine.header.metadata.get("stride")), 32)
        self._size = self._input_size()
        self._output, self._layout = self._probe(family, decoded, person_class)
        size = f"{self._size[0]}×{self._size[1]}"
        self.description = f"onnx: {self._layout.family} {self._path.name}, {size}, {self._engine.shown}"

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """All cameras' pictures in one call (or one by one where the file fixes its batch)."""
        return detect_frames(frames, self._config, self._layout, self._target, self._forward)

    def state(self) -> State:
        """No memory."""
        return {}

    def restore(self, state: State) -> None:
        """No memory."""

    def _target(self, size: Size) -> Size:
        return rectangle(size, max(self._size), self._stride) if self._free_size else self._size

    def _forward(self, batch: NDArray[np.float32]) -> NDArray[Any]:
        """(n, a, b) outputs. A fixed batch is filled up with grey where pictures are missing."""
        if self._batch is None:
            return self._engine.run(batch)[self._output]
        parts = []
        for start in range(0, len(batch), self._batch):
            part = batch[start : start + self._batch]
            missing = self._batch - len(part)
            if missing:
                grey = np.full((missing, *part.shape[1:]), PAD * self._layout.scale, np.float32)
                part = np.concatenate([part, grey])
            parts.append(self._engine.run(part)[self._output][: self._batch - missing])
        return np.concatenate(parts)

    def _input_size(self) -> Size:
        """(width, height) of the input: the file's own, or the longer side where it leaves the size open."""
        height, width = self._engine.header.input_shape[2:]
        wanted = self._config.input_size
        if height is not None and width is not None:
            if wanted is not None and (width, height) != (wanted, wanted):
                raise ConfigError(f"detect.input_size is {wanted}, but {self._path.name} is fixed to {width}×{height}")
            return width, height
        if wanted is not None:
            check_number("detect.input_size", wanted)
        check_input_size(wanted, self._stride)
        said = literal(self._engine.header.metadata.get("imgsz"))
        said = max(said) if isinstance(said, list | tuple) and said else said
        side = wanted or _positive(said, _DEFAULT_SIZE)
        return width or side, height or side

    def _probe(self, family: str, decoded: bool | None, person_class: int | str | None) -> tuple[int, Layout]:
        """Run the network once on grey and read off which output counts and how it is laid out."""
        try:
            grey = np.full((self._batch or 1, 3, self._size[1], self._size[0]), PAD, np.float32)
            outputs = self._engine.run(grey)
        except Exception as error:  # the engines' exceptions share no base but Exception; or no memory for such a size
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise WeightsError(f"{self._path}: does not run at {self._size[0]}×{self._size[1]}: {reason}") from error
        guesses = [guess_family(o.shape, self._size) for o in outputs]
        fitting = [i for i, g in enumerate(guesses) if g is not None and family in ("auto", g)]
        if not fitting:
            found = ", ".join(str(tuple(o.shape)) for o in outputs)
            wanted = "" if family == "auto" else f", not the {family} that was asked for"
            raise WeightsError(f"{self._path}: outputs {found}{wanted}; {SUPPORTED}")
        output, name = outputs[fitting[0]], guesses[fitting[0]]
        assert name is not None
        if decoded is None:
            decoded = name == "yolox" and looks_decoded(output, self._size)
        names = class_names(literal(self._engine.header.metadata.get("names")))
        return fitting[0], make_layout(name, output.shape, names, person_class, self._path.name, decoded)


def make_layout(
    family: str, shape: tuple[int, ...], names: dict[int, str], person_class: int | str | None, shown: str,
    decoded: bool = False,
) -> Layout:
    """How to read an output of this shape (n, a, b), with the person class found by name."""
    room = {"yolox": shape[2] - 5, "yolov8": shape[1] - 4}.get(family, max(names, default=9999) + 1)
    # further columns of a YOLOv8 output are mask coefficients or key points; only the names tell
    count = min(max(names) + 1, room) if names else room
    return Layout(family, find_person(names, count, person_class, shown), count, decoded)


def _positive(value: Any, default: int) -> int:
    return value if isinstance(value, int) and value > 0 else default


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"detect.options.{name}: '{value}'{suggest(value, choices)}; one of {', '.join(choices)}")

"""Any re-identification network in an ONNX file, run by ONNX Runtime.

What the file does not say is assumed: 256 × 128 pixels where the input's size is open, RGB, values 0…1 shifted and
scaled by ImageNet's statistics. A JSON object says otherwise, next to the file (``name.json``) or in the model's
metadata under ``reid_models``; keys and defaults are those of :class:`InputOptions`. Networks that
:mod:`reid_models.export` made also carry the card of their weights (:mod:`reid_models.card`), with their calibration.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_models.calibration import Calibration
from reid_models.card import BESIDE_KEY, ONNX_KEY, card_calibration, describe, first_line, is_card, parse_card
from reid_models.crops import check_crops, resize_crop
from reid_models.errors import ReidError

_METADATA_KEY = "reid_models"
_LARGEST_BATCH = 32
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True)
class InputOptions:
    """How a network wants its pictures.

    Attributes:
        height, width: pixels; must agree with the graph where that has fixed ones.
        colour: ``rgb`` or ``bgr``.
        scale: pixel values are multiplied by it first.
        mean, std: then shifted and divided, in the order of ``colour``.
        resize: ``bilinear``, or ``area``: averaged where a crop shrinks.
        name, description: for the user.
    """

    height: int = 256
    width: int = 128
    colour: str = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    resize: str = "bilinear"
    name: str = ""
    description: str = ""


class OnnxEmbedder:
    """A network from an ONNX file; see the module's text.

    Its calibration is read from ``name.calibration.json`` beside the file, or from the card of its weights; without
    either a generic calibration stands in, and the description says so.
    """

    def __init__(self, path: str | Path, device: str = "auto", threads: int = 0, *, network: bytes | None = None,
                 card: Mapping[str, Any] | None = None) -> None:
        """Load the network and try it once.

        Args:
            path: the ``.onnx`` file.
            device: ``auto`` (a GPU where this ONNX Runtime has one), ``cpu`` or ``cuda``.
            threads: threads of a run on the CPU; 0 for one per core.
            network: what the file holds, where it has been read or is made of ``path``.
            card: of the weights, where it is known; otherwise from ``name.json`` or the network's metadata.

        Raises:
            ReidError: the file cannot be read, is not ONNX, or holds another kind of network.
        """
        self.path = Path(path)
        self._session = _session(self.path, device, threads, network)
        self._card = card or _read_card(self.path, self._session)
        self._input = self._session.get_inputs()[0]
        self._check_input()
        given = _read_options(self.path, self._session)
        self._channels_last = self._input.shape[1] != 3 and self._input.shape[3] == 3
        self.options = self._fit_size(given)
        self._type = _TYPES[self._input.type]
        batch = self._input.shape[0]
        self._fixed_batch = batch if isinstance(batch, int) and batch > 0 else None
        self._shift, self._factor = _normalisation(self.options)
        self.name = self.options.name or self.path.stem
        self.dim = self._probe()
        self.calibration = self._find_calibration()
        what = describe(self._card) if self._card else self.options.description or "network from an ONNX file"
        note = "; generic calibration, not measured for this network" if self.calibration.generic else ""
        self.description = f"{self.name} ({what}, {self.dim}-d, {self.device}{note})"

    @property
    def input_name(self) -> str:
        """What the graph calls its input."""
        return str(self._input.name)

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``: where it runs."""
        return "cuda" if "CUDAExecutionProvider" in self._session.get_providers() else "cpu"

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(n, dim) float32 unit rows for n crops, each (h, w, 3) uint8 BGR of any size of at least 1 × 1."""
        check_crops(crops)
        step = self._fixed_batch or _LARGEST_BATCH
        parts = [self._run(crops[i : i + step]) for i in range(0, len(crops), step)]
        if not parts:
            return np.zeros((0, self.dim), np.float32)
        rows = np.concatenate(parts)
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(norm).all() or not (norm > 0).all():
            raise ReidError(f"{self.path}: the network answered with rows of zeros or of values that are not finite")
        return rows / norm

    def prepare(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[Any]:
        """(n, 3, height, width) or (n, height, width, 3): crops as the network wants them."""
        o = self.options
        batch = np.zeros((len(crops), o.height, o.width, 3), np.float32)
        for row, crop in zip(batch, crops, strict=True):
            row[:] = resize_crop(crop, o.height, o.width, averaged=o.resize == "area")
        if o.colour == "rgb":
            batch = batch[..., ::-1]
        batch = (batch - self._shift) * self._factor
        if not self._channels_last:
            batch = batch.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(batch, self._type)

    def _run(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        batch = self.prepare(crops)
        size = self._fixed_batch or len(crops)
        if len(batch) < size:
            batch = np.concatenate([batch, np.zeros((size - len(batch), *batch.shape[1:]), self._type)])
        output = self._session.run([self._session.get_outputs()[0].name], {self._input.name: batch})[0]
        return np.asarray(output, np.float32).reshape(size, -1)[: len(crops)]

    def _check_input(self) -> None:
        shape, kind = self._input.shape, self._input.type
        if len(self._session.get_inputs()) != 1 or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise ReidError(f"{self.path}: input {shape}, expected one batch of colour pictures (n, 3, height, width)")
        if kind not in _TYPES:
            raise ReidError(f"{self.path}: input of type {kind}, expected {' or '.join(_TYPES)}")

    def _fit_size(self, given: Mapping[str, Any]) -> InputOptions:
        """The options, with the graph's own height and width where it has them."""
        rows = self._input.shape[1:3] if self._channels_last else self._input.shape[2:4]
        values = dict(given)
        for key, size in zip(("height", "width"), rows, strict=True):
            if isinstance(size, int) and size > 0 and values.setdefault(key, size) != size:
                raise ReidError(f"{self.path}: '{key}' is {values[key]} in its options, but {size} in the graph")
        return InputOptions(**values)

    def _probe(self) -> int:
        """Run once: the only way to learn that a network fits, and the size of its answer."""
        shape = self._session.get_outputs()[0].shape
        grey = np.full((self.options.height, self.options.width, 3), 128, np.uint8)
        try:
            rows = self._run([grey])
        except Exception as error:  # ONNX Runtime has no common class for what can go wrong
            raise ReidError(f"{self.path}: does not run on a picture: {first_line(error)}") from error
        # A detector's (1, 3549, 85) would pass as a very long vector otherwise.
        if len(shape) > 2 and any(side != 1 for side in shape[2:]):
            raise ReidError(f"{self.path}: output {shape}, expected one vector per picture: is this an embedder?")
        return rows.shape[1]

    def _find_calibration(self) -> Calibration:
        beside = self.path.with_suffix(".calibration.json")
        if beside.exists():
            return Calibration.load(beside)
        return (card_calibration(self._card, str(self.path)) if self._card else None) or Calibration.shipped("generic")


def onnx_runtime() -> Any:
    """ONNX Runtime; its official builds send events home from their import on, and nothing that we ship may."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # where somebody else imported it before
    onnxruntime.set_default_logger_severity(3)  # errors
    return onnxruntime


def _session(path: Path, device: str, threads: int, network: bytes | None) -> Any:
    onnxruntime = onnx_runtime()
    if network is None and not path.is_file():
        raise ReidError(f"{path}: no such file")
    available = onnxruntime.get_available_providers()
    if device == "cuda" and "CUDAExecutionProvider" not in available:
        raise ReidError("device 'cuda': this ONNX Runtime has no CUDA; install onnxruntime-gpu, or use --device cpu")
    wanted = ["CPUExecutionProvider"]
    if device != "cpu" and "CUDAExecutionProvider" in available:
        wanted.insert(0, "CUDAExecutionProvider")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(network or str(path), options, providers=wanted)
    except Exception as error:  # ONNX Runtime has no common class for what can go wrong
        raise ReidError(f"{path}: not an ONNX network that can be loaded: {first_line(error)}") from error
    _check_weights_beside(path, session)
    return session


def _check_weights_beside(path: Path, session: Any) -> None:
    """Where weights lie in another file, they are found by their place in it: it must be the very same file."""
    text = session.get_modelmeta().custom_metadata_map.get(BESIDE_KEY)
    if text is None:
        return
    entry = _json(text, f"{path}: metadata '{BESIDE_KEY}'")
    beside = path.parent / str(entry["file"])
    try:
        found = hashlib.sha256(beside.read_bytes()).hexdigest()
    except OSError as error:
        raise ReidError(f"{beside} cannot be read: {first_line(error)}") from error
    if found != entry["sha256"]:
        raise ReidError(f"{path}: its weights are in {beside.name}, which has changed since; get both files again, or "
                        "export it anew (mctrack export-reid --quarter --graph-only)")


def _read_options(path: Path, session: Any) -> dict[str, Any]:
    """What the sidecar or, without one, the model's metadata says."""
    text, where = session.get_modelmeta().custom_metadata_map.get(_METADATA_KEY), f"{path}: metadata '{_METADATA_KEY}'"
    given = _json(text, where) if text is not None else {}
    beside = path.with_suffix(".json")
    if beside.is_file():
        found = _json(_text(beside), str(beside))
        if not is_card(found):
            given, where = found, str(beside)
    return _check_options(given, where)


def _read_card(path: Path, session: Any) -> dict[str, Any] | None:
    """The card beside the file, unless it is of other weights than the network's; or the one in its metadata."""
    text = session.get_modelmeta().custom_metadata_map.get(ONNX_KEY)
    inside = parse_card(text, str(path)) if text is not None else None
    beside = path.with_suffix(".json")
    if beside.is_file() and is_card(_json(_text(beside), str(beside))):
        card = parse_card(_text(beside), str(beside))
        if inside is None or card["sha256"] == inside["sha256"]:
            return card
    return inside


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReidError(f"{path} cannot be read: {first_line(error)}") from error


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ReidError(f"{where}: not valid JSON") from error


def _check_options(given: Any, where: str) -> dict[str, Any]:
    known = {f.name: f for f in fields(InputOptions)}
    if not isinstance(given, dict):
        raise ReidError(f"{where}: expected a JSON object with some of {', '.join(known)}")
    for key, value in given.items():
        if key not in known:
            raise ReidError(f"{where}: unknown key '{key}'; known: {', '.join(known)}")
        if not _fits(key, value):
            raise ReidError(f"{where}: '{key}' is {value!r}, which does not fit (default {known[key].default!r})")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}


def _fits(key: str, value: Any) -> bool:
    number = (int, float)
    if isinstance(value, bool):
        return False
    if key in ("height", "width"):
        return isinstance(value, int) and 1 <= value <= 4096
    if key == "scale":
        return isinstance(value, number) and value > 0
    if key in ("mean", "std"):
        good = isinstance(value, list) and len(value) == 3 and all(isinstance(v, number) for v in value)
        return good and (key == "mean" or all(v > 0 for v in value))
    choices = {"colour": ("rgb", "bgr"), "resize": ("bilinear", "area")}
    return value in choices[key] if key in choices else isinstance(value, str)


def _normalisation(o: InputOptions) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``(pixel − shift) · factor`` for ``(pixel · scale − mean) / std``."""
    return (np.array(o.mean) / o.scale).astype(np.float32), (o.scale / np.array(o.std)).astype(np.float32)


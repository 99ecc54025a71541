"""Our trained weights as an embedder: through torch on a GPU, through ONNX Runtime on a CPU.

The first use on a CPU exports the network and keeps the export beside the weights (``.name.<checksum>.cache``), so
that the next use starts faster; where that folder cannot be written, the export is made anew each time.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from reid_models.atomic import write_atomic
from reid_models.calibration import Calibration
from reid_models.card import card_calibration, describe, read_card
from reid_models.crops import check_crops, resize_crop
from reid_models.errors import ReidError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from reid_models.embedder import Embedder

ENGINES = ("auto", "torch", "onnxruntime")
_EXPORTER = 1
"""Raised when :mod:`reid_models.export` or :mod:`reid_models.deploy` improve: kept exports are then made anew."""
_BATCH = {"cpu": 32, "cuda": 256}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class TorchEmbedder:
    """A model of ours, run by torch in float32."""

    def __init__(self, path_or_model: str | Path | nn.Module, device: str = "auto", *,
                 card: Mapping[str, Any] | None = None) -> None:
        """Load the weights.

        Args:
            path_or_model: a file of :func:`reid_models.weights.save_weights`, or a model; the model is moved to the
                device and put into evaluation mode.
            device: ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.
            card: of the weights, where a model is given.

        Raises:
            ReidError: the weights cannot be loaded, or there is no such device.
        """
        torch = _torch()
        self.device = _device(device)
        name, beside = "", None
        if isinstance(path_or_model, torch.nn.Module):
            self.model: nn.Module = path_or_model
        else:
            from reid_models.weights import load_weights

            beside = Path(cast("str | Path", path_or_model))
            self.model, card = load_weights(beside)
            name = beside.stem
        self.model = self.model.to(self.device).eval()
        self.name = name or str(self.model.name)
        self.dim = int(cast(int, self.model.dim))
        self._height, self._width = (int(side) for side in cast("tuple[int, int]", self.model.input_hw))
        scale = torch.tensor([_MEAN, _STD], device=self.device) * 255
        self._mean, self._std = scale.reshape(2, 1, 3, 1, 1)
        self.calibration = _calibration(card, beside)
        what = describe(card) if card else f"{self.model.name}, training unknown"
        note = "; generic calibration, not measured for this network" if self.calibration.generic else ""
        self.description = f"{self.name} ({what}, {self.dim}-d, {self.device}, torch{note})"

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(n, dim) float32 unit rows for n crops, each (h, w, 3) uint8 BGR of any size of at least 1 × 1."""
        torch = _torch()
        check_crops(crops)
        step = _BATCH[self.device]
        rows = np.zeros((len(crops), self.dim), np.float32)
        for i in range(0, len(crops), step):
            images = torch.from_numpy(self._resized(crops[i : i + step])).to(self.device)
            with torch.inference_mode():
                found: Tensor = self.model.descriptor_only((images.float() - self._mean) / self._std)  # type: ignore[operator]
            rows[i : i + step] = found.float().cpu().numpy()
        if not np.isfinite(rows).all():
            raise ReidError(f"{self.name}: the network answered with values that are not finite")
        return rows

    def _resized(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """(n, 3, height, width) RGB."""
        batch = np.stack([resize_crop(crop, self._height, self._width) for crop in crops])
        return np.ascontiguousarray(batch[..., ::-1].transpose(0, 3, 1, 2))


def load_trained(path: str | Path, device: str = "auto", engine: str = "auto") -> Embedder:
    """An embedder from a ``.safetensors`` file of ours.

    Args:
        path: the file.
        device: ``auto``, ``cpu`` or ``cuda``.
        engine: ``torch``, ``onnxruntime``, or ``auto``: torch on a GPU, on a CPU ONNX Runtime if the network can be
            exported, and torch otherwise.

    Raises:
        ReidError: the weights cannot be loaded, or not with this engine on this device.
    """
    if engine not in ENGINES:
        raise ReidError(f"engine '{engine}': expected one of {', '.join(ENGINES)}")
    path = Path(path)
    card = read_card(path)
    if engine == "torch" or (engine == "auto" and device != "cpu" and _device(device) == "cuda"):
        return TorchEmbedder(path, device)
    try:
        return _through_onnx(path, card, device)
    except _NoExportError as error:
        if engine == "onnxruntime":
            raise ReidError(str(error)) from error
        return TorchEmbedder(path, device)


def _through_onnx(path: Path, card: dict[str, Any], device: str) -> Embedder:
    from reid_models.onnx import OnnxEmbedder

    kept = path.with_name(f".{path.stem}.{card['sha256'][:16]}.v{_EXPORTER}.cache")
    network = _kept(kept)
    if network is None:
        network = _exported(path, card)
        _keep(kept, network, path)
    return OnnxEmbedder(path, device, network=network, card=card)


class _NoExportError(Exception):
    """The weights are good, but there is no ONNX version of them."""


def _exported(path: Path, card: Mapping[str, Any]) -> bytes:
    _torch()
    from reid_models.weights import load_weights

    model, _ = load_weights(path)
    try:
        from reid_models.export import onnx_bytes

        return onnx_bytes(model, card, name=path.stem, batches=(1, 7))[0]
    except (ReidError, ImportError) as error:
        raise _NoExportError(str(error)) from error


def _kept(kept: Path) -> bytes | None:
    """The export that lies there, unless it is damaged: its SHA-256 stands in front."""
    try:
        data = kept.read_bytes()
    except OSError:
        return None
    return data[32:] if hashlib.sha256(data[32:]).digest() == data[:32] else None


def _keep(kept: Path, network: bytes, path: Path) -> None:
    """Keep this export, and no longer those of weights that bore the name before."""
    with contextlib.suppress(ReidError):  # a folder that cannot be written costs time, no more
        write_atomic(kept, hashlib.sha256(network).digest() + network)
    for old in path.parent.glob(f".{escape(path.stem)}.{'[0-9a-f]' * 16}.v*.cache"):
        if old != kept:
            with contextlib.suppress(OSError):
                old.unlink()


def _calibration(card: Mapping[str, Any] | None, path: Path | None) -> Calibration:
    """As an ``.onnx`` file's: from beside the weights, or their card, or the generic one."""
    if path is not None and (beside := path.with_suffix(".calibration.json")).exists():
        return Calibration.load(beside)
    found = card_calibration(card, str(path or "card")) if card else None
    return found or Calibration.shipped("generic")


def _device(device: str) -> str:
    if device not in ("auto", "cpu", "cuda"):
        raise ReidError(f"device '{device}': expected auto, cpu or cuda")
    if device == "cpu":
        return device
    try:
        import torch

        available = torch.cuda.is_available()
    except ImportError:
        available = False
    if device == "cuda" and not available:
        raise ReidError("device 'cuda': torch finds no GPU here; use --device cpu")
    return "cuda" if available else "cpu"


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ReidError(f"weights in .safetensors need torch, which cannot be imported ({error}); install "
                        "mctrack[reid], or export them to ONNX elsewhere (mctrack export-reid)") from error
    return torch

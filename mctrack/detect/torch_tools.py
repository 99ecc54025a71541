"""What the torch detectors share; torch is imported only when one of them is built."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from mctrack.errors import ConfigError, WeightsError


def import_extra(module: str, extra: str) -> Any:
    """Import a package that only an extra brings.

    Raises:
        ConfigError: it is not installed; the message has the command.
    """
    try:
        return import_module(module)
    except ImportError as error:
        hint = f"pip install 'mctrack[{extra}]'"
        raise ConfigError(f"detector '{extra}' needs the package {module.partition('.')[0]}: {hint}") from error


def torch_device(device: str, torch: Any) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ConfigError: cuda was asked for and is not there.
    """
    there = bool(torch.cuda.is_available())
    if device == "cuda" and not there:
        raise ConfigError("device cuda: this torch sees no CUDA device; use device cpu or auto")
    return "cuda" if there and device != "cpu" else "cpu"


def load_state_dict(path: Path, torch: Any) -> dict[str, Any]:
    """Weights from a safetensors file or a state dict; never from an unrestricted pickle.

    Raises:
        WeightsError: the file is missing or holds anything but tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        if path.suffix.lower() == ".safetensors":
            return dict(import_extra("safetensors.torch", "torchvision").load_file(str(path)))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except ConfigError:
        raise
    except Exception as error:  # zip, pickle, JSON and I/O errors of every kind
        raise WeightsError(f"{path}: not a readable state dict (safetensors, or torch.save of tensors only)") from error
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise WeightsError(f"{path}: holds no state dict (names to tensors)")
    return found


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, without ultralytics' ornaments, cut at 160 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].encode("ascii", "ignore").decode().strip().removeprefix("ERROR").strip()[:160]

"""What an embedder is, which there are, and how to get one."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from reid_models.calibration import Calibration
from reid_models.errors import ReidError
from reid_models.shipped import shipped_names

EMBEDDERS = {
    "histogram": "reid_models.histogram:HistogramEmbedder",
} | {name: f"reid_models.shipped:{name}" for name in shipped_names()}
"""Name → ``module:Class``; each is called as ``Class(device=...)``. The path of an ``.onnx`` file, or of a
``.safetensors`` file of ours, is an embedder too."""


class Embedder(Protocol):
    """Describes how people look, so that crops of one person lie close together."""

    name: str
    dim: int
    description: str
    """One line for the user and for ``run.json``: which model, which weights, how far to trust it."""
    calibration: Calibration
    """What this embedder's distances mean."""

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(n, dim) unit rows for n crops, each (h, w, 3) uint8 BGR of any size of at least 1 × 1.

        ``n`` may be 0. A row depends on its own crop only, and is the same at every call.

        Raises:
            ReidError: a crop is not such an array.
        """
        ...


def load(name_or_path: str | Path, device: str = "auto") -> Embedder:
    """Return an embedder.

    Args:
        name_or_path: a key of :data:`EMBEDDERS`, a path to an ``.onnx`` file or to a ``.safetensors`` file that our
            training wrote, or ``package.module:Class`` for a third party's, called as ``Class(device=...)``.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ReidError: there is no such embedder, or it cannot be loaded; one line that says why.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ReidError(f"device '{device}': expected auto, cpu or cuda")
    text = str(name_or_path)
    if text.lower().endswith(".onnx"):
        from reid_models.onnx import OnnxEmbedder

        return OnnxEmbedder(text, device)
    if text.lower().endswith(".safetensors"):
        from reid_models.torch_embedder import load_trained

        return load_trained(text, device)
    target = EMBEDDERS.get(text, text if ":" in text else None)
    if target is None:
        raise ReidError(_unknown(text))
    return _make(text, _resolve(text, target), device)


def _resolve(name: str, target: str) -> Any:
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, ValueError) as error:  # ValueError: an empty module name
        raise ReidError(f"embedder '{name}' cannot be loaded from {target}: {error}") from error
    except AttributeError as error:
        raise ReidError(f"embedder '{name}': {module} has no '{attribute}'") from error


def _make(name: str, factory: Any, device: str) -> Embedder:
    try:
        signature(factory).bind(device=device)
    except (TypeError, ValueError) as error:  # nothing to call, or nothing that tells how
        raise ReidError(f"embedder '{name}' cannot be made from {factory!r}, called with a device: {error}") from error
    embedder = factory(device=device)
    if not hasattr(embedder, "embed"):
        raise ReidError(f"embedder '{name}' makes something that has no 'embed'")
    return cast(Embedder, embedder)


def _unknown(name: str) -> str:
    if Path(name).exists():
        return f"embedder {name}: only .onnx files and our own .safetensors can be loaded; export the model to ONNX"
    from reid_models.backbones import BACKBONES

    if name in BACKBONES:
        return (f"embedder '{name}': no weights of this network ship; train some (mctrack train-reid --recipe distil "
                f"--set model.name={name} …) and give the path of the .safetensors file")
    near = get_close_matches(name, EMBEDDERS, n=1, cutoff=0.5)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    known = ", ".join(EMBEDDERS)
    return f"unknown embedder '{name}'{hint}; known: {known}, or the path of an .onnx or .safetensors file"

"""Networks that come with the package: ``pretrained/<name>.safetensors``, each with its card ``<name>.json``.

What is used by default has an ``.onnx`` file, too, and needs no torch. The others are exported at their first use.

Whatever lies there is an embedder by its file's name; every attribute of this module that bears such a name is a
function ``(device) -> Embedder``, which makes ``reid_models.shipped:<name>`` an entry as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reid_models.embedder import Embedder

FOLDER = Path(__file__).resolve().parent / "pretrained"


def shipped_names(folder: Path | None = None) -> tuple[str, ...]:
    """The names, sorted."""
    files = (path for suffix in ("onnx", "safetensors") for path in (folder or FOLDER).glob(f"[!.]*.{suffix}"))
    return tuple(sorted({path.stem for path in files}))


def load_shipped(name: str, device: str = "auto") -> Embedder:
    """One of them.

    Raises:
        ReidError: it is damaged, torch is needed and not here, or there is no such device.
    """
    from reid_models.onnx import OnnxEmbedder
    from reid_models.torch_embedder import load_trained

    exported = FOLDER / f"{name}.onnx"
    return OnnxEmbedder(exported, device) if exported.is_file() else load_trained(
        exported.with_suffix(".safetensors"), device)


def __getattr__(name: str) -> Callable[..., Embedder]:
    if name not in shipped_names():
        raise AttributeError(f"module {__name__} has no '{name}'")
    return partial(load_shipped, name)

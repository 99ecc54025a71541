"""Networks that come with the package: ``pretrained/<name>.onnx``, each with its card ``<name>.json``.

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
    return tuple(sorted(path.stem for path in (folder or FOLDER).glob("[!.]*.onnx")))


def load_shipped(name: str, device: str = "auto") -> Embedder:
    """One of them.

    Raises:
        ReidError: it is damaged, or there is no such device.
    """
    from reid_models.onnx import OnnxEmbedder

    return OnnxEmbedder(FOLDER / f"{name}.onnx", device)


def __getattr__(name: str) -> Callable[..., Embedder]:
    if name not in shipped_names():
        raise AttributeError(f"module {__name__} has no '{name}'")
    return partial(load_shipped, name)

"""``run.json``: what was run, with what, on what, and how it went."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mctrack.errors import SourceError
from mctrack.sinks.files import plain, write_text

WHOLE_UP_TO_BYTES = 64 << 20
_PIECE = 1 << 20
_PACKAGES = (
    "mctrack", "numpy", "scipy", "av", "opencv-python", "onnxruntime", "omegaconf", "filterpy", "motmetrics", "torch",
    "torchvision", "ultralytics",
)  # fmt: skip


def write_run_json(path: Path, info: Mapping[str, Any]) -> None:
    """Write facts as JSON, all at once: NaN as null, arrays as lists, paths as text, no passwords."""
    write_text(path, json.dumps(plain(info), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def hash_file(path: Path) -> str:
    """Fingerprint of a file: ``sha256:<hex>`` of its content up to 64 MiB.

    Reading a long video twice would cost more than it tells, so a larger file gives ``sha256-ends:<hex>``, the hash of
    its size in bytes (as decimal text), its first and its last MiB.

    Raises:
        SourceError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size <= WHOLE_UP_TO_BYTES:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                return f"sha256:{digest.hexdigest()}"
            digest.update(str(size).encode())
            digest.update(file.read(_PIECE))
            file.seek(-_PIECE, 2)
            digest.update(file.read(_PIECE))
            return f"sha256-ends:{digest.hexdigest()}"
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


def versions() -> dict[str, str]:
    """Versions of Python and of every package that has a say in results; nothing is imported for it."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

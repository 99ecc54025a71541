"""The pictures inside ``cuhk-03.mat``, an HDF5 file of references to references to pictures."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from reid_models.errors import ReidError

CLASSIC_TESTS = "cuhk03_tests.json"
"""What the classic protocol's 20 test sets are kept as: lists of [pair of cameras, person], both from 1."""


def extract(path: Path, out: Path) -> None:
    """Write the pictures as PNG into ``out/images_detected`` and ``out/images_labeled``, and the test sets.

    A folder appears when all its pictures are written; one that is there already is left alone.

    Raises:
        ReidError: h5py is not installed, the file is something else, or ``out`` cannot be written.
    """
    try:
        import h5py
    except ImportError as error:
        raise ReidError(f"{path} can only be read with h5py: pip install h5py (or give a folder images_detected)"
                        ) from error
    try:
        with h5py.File(path, "r") as file:
            tests = [_dereference(file, ref).astype(int).tolist() for ref in np.ravel(file["testsets"][()])]
            out.mkdir(parents=True, exist_ok=True)
            for boxes in ("detected", "labeled"):
                if not (out / f"images_{boxes}").exists():
                    _pictures(file, boxes, out / f"images_{boxes}")
            part = out / f"{CLASSIC_TESTS}.{os.getpid()}.part"
            part.write_text(json.dumps(tests), encoding="utf-8")
            os.replace(part, out / CLASSIC_TESTS)
    except PermissionError as error:
        raise ReidError(f"CUHK03: {out} cannot be written; name another folder with extract_to") from error
    except (KeyError, ValueError, AttributeError, OSError) as error:
        raise ReidError(f"CUHK03: {path} cannot be read as cuhk-03.mat, or {out} not be written: {error}") from error


def _dereference(file: Any, ref: Any) -> np.ndarray:
    """MATLAB stores arrays by columns: transposed."""
    return np.asarray(file[ref][()]).T


def _pictures(file: Any, boxes: str, folder: Path) -> None:
    """All pictures of one kind of box; ten places a person, five for each view, some of them empty."""
    import cv2

    temporary = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    try:
        for pair, ref in enumerate(np.ravel(file[boxes][()]), 1):
            for person, places in enumerate(_dereference(file, ref), 1):
                for n, place in enumerate(places, 1):
                    picture = _dereference(file, place)
                    if picture.ndim == 3 and picture.size:
                        name = f"{pair}_{person:03d}_{1 if n <= 5 else 2}_{n:02d}.png"
                        done = cv2.imwrite(str(temporary / name), picture[:, :, ::-1].astype(np.uint8))
                        if not done:
                            raise OSError(f"{temporary / name} cannot be written")
        temporary.chmod(0o755)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

"""Pictures of a dataset as one array."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_models.data.types import ReidImages
from reid_models.errors import ReidError

Pixels = NDArray[np.uint8]


def load_images(images: ReidImages | Sequence[Path], hw: tuple[int, int], threads: int = 0,
                cache: Path | None = None) -> Pixels:
    """Decode and resize pictures.

    The array is allocated once and filled in place: 50,000 pictures of 256×128 take 4.9 GB and nothing beside it.

    Args:
        images: what to read.
        hw: (height, width) wanted; shrunk by averaging, enlarged bilinearly, proportions not kept (as everywhere in
            the field).
        threads: decoding threads; 0: one a core.
        cache: a folder. The pixels are kept there in a ``.npy`` file, which the next call maps instead of decoding,
            as long as the files have the same names, sizes and times; memory is then the system's to manage.

    Returns:
        (n, 3, h, w) uint8 RGB; with ``cache`` a read-only map.

    Raises:
        ReidError: a file is missing or no picture, or cut off; the message names it.
    """
    paths = images.paths if isinstance(images, ReidImages) else tuple(Path(path) for path in images)
    h, w = hw
    if h < 1 or w < 1:
        raise ReidError(f"pictures of {h}×{w} pixels: both must be at least 1")
    if cache is None:
        pixels: Pixels = np.empty((len(paths), 3, h, w), np.uint8)
        _fill(pixels, paths, hw, threads)
        return pixels
    file = Path(cache) / f"pictures-{h}x{w}-{_fingerprint(paths)}.npy"
    if not file.is_file():
        _write_cache(file, paths, hw, threads)
    try:
        return np.load(file, mmap_mode="r") if len(paths) else np.empty((0, 3, h, w), np.uint8)
    except (OSError, ValueError) as error:
        raise ReidError(f"{file} cannot be read: {error}; delete it, and it will be made anew") from error


def decode(path: Path) -> Pixels:
    """(h, w, 3) uint8 BGR, turned as its EXIF entry says.

    Raises:
        ReidError: it is missing, no picture, or cut off.
    """
    import cv2

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ReidError(f"picture {path} cannot be read: {error.strerror}") from error
    # libjpeg fills a file that was cut off with grey and only murmurs; without an end marker it is not whole
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data:
        raise ReidError(f"picture {path} is cut off: copy it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise ReidError(f"picture {path} cannot be decoded: it is damaged or no picture")
    return np.asarray(image, np.uint8)


def resize(image: NDArray[Any], hw: tuple[int, int]) -> Pixels:
    """(h, w, 3) → (*hw, 3): averaged where it shrinks, bilinear where it grows."""
    import cv2

    if image.shape[:2] == tuple(hw):
        return np.asarray(image, np.uint8)
    shrinks = image.shape[0] * image.shape[1] > hw[0] * hw[1]
    return np.asarray(cv2.resize(image, (hw[1], hw[0]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def _fill(out: Pixels, paths: Sequence[Path], hw: tuple[int, int], threads: int) -> None:
    """Decode into ``out``; an error stops the others soon."""

    def one(i: int) -> None:
        out[i] = resize(decode(paths[i]), hw)[:, :, ::-1].transpose(2, 0, 1)

    numbers = iter(range(len(paths)))
    workers = threads or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        # a few at a time: a queue of 50,000 would go on after the first damaged file
        while batch := list(islice(numbers, 64 * workers)):
            for _ in pool.map(one, batch):
                pass


def _fingerprint(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            facts = os.stat(path)
        except OSError as error:
            raise ReidError(f"picture {path} cannot be read: {error.strerror}") from error
        digest.update(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _write_cache(file: Path, paths: Sequence[Path], hw: tuple[int, int], threads: int) -> None:
    if not paths:
        return
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(paths), 3, *hw))
        _fill(pixels, paths, hw, threads)
        pixels.flush()
        os.replace(part, file)
    except OSError as error:
        raise ReidError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)

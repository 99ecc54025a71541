"""Looking at a dataset's folders, with messages that say how they must look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reid_models.data.types import ReidImages
from reid_models.errors import ReidError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


class Named(NamedTuple):
    """One picture and what its name says."""

    path: Path
    pid: int
    camid: int


def need_folders(root: Path, dataset: str, names: Sequence[str]) -> None:
    """Raise unless all these folders (or files) are in ``root``."""
    missing = [name for name in names if not (root / name).exists()]
    if missing:
        raise ReidError(f"{dataset}: {root} has no {', no '.join(missing)}; --root must be the folder that holds "
                        f"{', '.join(names)}")


def pictures(folder: Path, dataset: str, deep: bool = False) -> list[Path]:
    """The pictures of a folder by name, without hidden files; ``deep``: of those below as well.

    Raises:
        ReidError: it is no folder, or there is none in it.
    """
    if not folder.is_dir():
        raise ReidError(f"{dataset}: {folder} is not a folder")
    found = sorted(path for path in (folder.rglob("*") if deep else folder.iterdir())
                   if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    if not found:
        raise ReidError(f"{dataset}: {folder} holds no pictures ({', '.join(SUFFIXES)})")
    return found


def lines(path: Path, dataset: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not empty, numbered from 1."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReidError(f"{dataset}: {path} cannot be read: {error}") from error
    for i, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield i, line.strip()


def images_from(named: Iterable[Named | None]) -> ReidImages:
    """The pictures as arrays; None is left out."""
    rows = [row for row in named if row is not None]
    return ReidImages(tuple(row.path for row in rows), np.array([row.pid for row in rows], np.int64),
                      np.array([row.camid for row in rows], np.int64))

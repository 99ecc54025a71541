"""The ranked-retrieval picture: queries on the left, the nearest of the gallery beside them, framed green or red."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reid_models.data.images import decode, resize
from reid_models.data.types import Ints, ReidDataset
from reid_models.errors import ReidError

_RIGHT, _WRONG, _ASKED = (70, 160, 40), (45, 45, 220), (90, 90, 90)
_FRAME_PX, _GAP_PX = 4, 6


def nearest_entries(dataset: ReidDataset, distance: NDArray[Any], row: int, ranks: int) -> Ints:
    """(≤ ranks,) the gallery's nearest entries to a query, without junk and its own person in its own camera."""
    q, g = dataset.query, dataset.gallery
    counts = (g.pid >= 0) & ~((g.pid == q.pid[row]) & (g.camid == q.camid[row]))
    order = np.argsort(distance, kind="stable")
    return order[counts[order]][:ranks]


def ranked_picture(dataset: ReidDataset, query: NDArray[Any], gallery: NDArray[Any], rows: ArrayLike, ranks: int = 10,
                   hw: tuple[int, int] = (128, 64)) -> NDArray[np.uint8]:
    """Draw some queries with their nearest entries, nearest first.

    Args:
        dataset: labels and files.
        query, gallery: (q, d) and (g, d) unit rows.
        rows: which queries.
        ranks: how many entries of each.
        hw: size of a picture in it, pixels.

    Returns:
        (height, width, 3) uint8 BGR on white; under each entry its distance.
    """
    numbers = np.asarray(rows, np.int64)
    tile_h, tile_w = hw[0] + 2 * _FRAME_PX + 14 + _GAP_PX, hw[1] + 2 * _FRAME_PX + _GAP_PX
    between = 3 * _GAP_PX
    canvas = np.full((tile_h * len(numbers) + _GAP_PX, tile_w * (ranks + 1) + between + _GAP_PX, 3), 255, np.uint8)
    for line, row in enumerate(numbers.tolist()):
        distance = 1 - gallery @ query[row]
        pid = dataset.query.pid[row]
        top = line * tile_h + _GAP_PX
        _paste(canvas, dataset.query.paths[row], (top, _GAP_PX), hw, _ASKED, f"cam {dataset.query.camid[row]}")
        for place, entry in enumerate(nearest_entries(dataset, distance, row, ranks).tolist(), 1):
            colour = _RIGHT if dataset.gallery.pid[entry] == pid else _WRONG
            _paste(canvas, dataset.gallery.paths[entry], (top, _GAP_PX + place * tile_w + between), hw, colour,
                   f"{distance[entry]:.2f}")
    return canvas


def _paste(canvas: NDArray[np.uint8], path: Path, corner: tuple[int, int], hw: tuple[int, int],
           colour: tuple[int, int, int], text: str) -> None:
    import cv2

    top, left = corner
    bottom, right = top + hw[0] + 2 * _FRAME_PX, left + hw[1] + 2 * _FRAME_PX
    canvas[top:bottom, left:right] = colour
    canvas[top + _FRAME_PX : bottom - _FRAME_PX, left + _FRAME_PX : right - _FRAME_PX] = resize(decode(path), hw)
    cv2.putText(canvas, text, (left + 2, bottom + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (40, 40, 40), 1, cv2.LINE_AA)


def save_picture(picture: NDArray[np.uint8], path: Path) -> Path:
    """Write a BGR picture; the folder is made.

    Raises:
        ReidError: it cannot be written.
    """
    import cv2

    done, data = cv2.imencode(path.suffix, picture)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise ReidError(f"{path} cannot be written: {error.strerror}") from error
    assert done
    return path

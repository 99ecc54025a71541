"""A contact sheet: identities in rows of a few cameras each, to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mctrack.errors import OutputError
from mctrack.synth.reid.crops import render_crop
from mctrack.synth.reid.dataset import Plan, Recipe, place_at
from mctrack.synth.reid.people import open_people

CELL = (64, 144)
"""Width and height of a crop on the sheet, pixels."""


def contact_sheet(
    people: str, identities: int, cameras: int, seed: int, out: Path, cell: tuple[int, int] = CELL, columns: int = 8
) -> None:
    """Write a picture of ``identities`` people, each by ``cameras`` cameras of a data set with this seed.

    Raises:
        OutputError: the file cannot be written.
    """
    crowd = open_people(people, seed)
    plan = Plan(Recipe(max(identities, 2), max(60, cameras), max(2, cameras), seed, people, 0.0))
    passers = [crowd.figure(1_000_001 + 10 * k) for k in range(6)]
    rows: list[list[np.ndarray]] = [[] for _ in range(-(-identities // columns))]
    for k in range(identities):
        figure = crowd.figure(k)
        chosen = np.random.default_rng([seed, 6, k]).choice(plan.seen, cameras, replace=False)
        for camera in (plan.camera(int(c)) for c in chosen):
            rng = np.random.default_rng([seed, 7, k, camera.camid])
            crop = render_crop(figure, passers, camera, place_at(seed, camera.place), rng)
            rows[k // columns].append(_fit(crop, cell))
        rows[k // columns].append(np.full((cell[1] + 2, 4, 3), 255, np.uint8))
    widest = max(sum(c.shape[1] for c in r) for r in rows)
    lines = [
        np.hstack([*r, np.full((cell[1] + 2, widest - sum(c.shape[1] for c in r), 3), 255, np.uint8)]) for r in rows
    ]
    data = cv2.imencode(".png", np.vstack(lines))[1]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error


def _fit(crop: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """The crop stretched to the cell, as embedders see it, with a thin frame."""
    shrink = crop.shape[0] > cell[1]
    picture = cv2.resize(crop, cell, interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)
    return np.asarray(cv2.copyMakeBorder(picture, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(255, 255, 255)))

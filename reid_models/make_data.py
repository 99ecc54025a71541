"""Training data out of a tracking run: which sightings are worth a crop, and the folder they are written to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid_models.data.options import number
from reid_models.errors import ReidError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class CropChoice:
    """Which sightings become pictures.

    Attributes:
        per_camera: at most so many of one person in one camera.
        gap_s: no two of them closer in time than this: neighbours in time are nearly the same picture.
        min_quality: 0…1, what a crop must be worth (size, edges, people in front, the detector's certainty).
        min_height_px: and how high it must be.
        min_pictures: people with fewer pictures in all are left out.
    """

    per_camera: int = 8
    gap_s: float = 0.5
    min_quality: float = 0.3
    min_height_px: float = 48.0
    min_pictures: int = 2

    def __post_init__(self) -> None:
        number("per_camera", self.per_camera, 1, 1_000_000)
        number("gap_s", self.gap_s, 0, 86_400)
        number("min_quality", self.min_quality, 0, 1)
        number("min_height_px", self.min_height_px, 1, 100_000)
        number("min_pictures", self.min_pictures, 1, 1_000_000)


def choose_crops(identity: Ints, time_s: Floats, quality: Floats, height_px: Floats, choice: CropChoice) -> Ints:
    """Rows of one camera's sightings that become pictures, increasing.

    Each person's time in the camera is cut into ``per_camera`` equal parts of sightings; of each part the best one is
    taken that is far enough in time from those taken before.

    Args:
        identity: (n,) who; negative: nobody known.
        time_s, quality, height_px: (n,) when, how good (0…1), how high.
        choice: see :class:`CropChoice`.
    """
    good = (identity >= 0) & (quality >= choice.min_quality) & (height_px >= choice.min_height_px)
    chosen: list[int] = []
    for person in np.unique(identity[good]):
        rows = np.flatnonzero(good & (identity == person))
        rows = rows[np.argsort(time_s[rows], kind="stable")]
        last_s = -np.inf
        for part in np.array_split(rows, min(choice.per_camera, len(rows))):
            free = part[time_s[part] - last_s >= choice.gap_s]
            if len(free):
                best = int(free[np.argmax(quality[free])])
                last_s = time_s[best]
                chosen.append(best)
    return np.sort(np.array(chosen, np.int64))


def people_to_keep(identities: list[Ints], choice: CropChoice) -> set[int]:
    """Who has enough pictures, given the identities of the chosen sightings of every camera."""
    people, counts = np.unique(np.concatenate(identities) if identities else np.zeros(0, np.int64), return_counts=True)
    return set(people[counts >= choice.min_pictures].tolist())


def prepare_folder(out: Path) -> None:
    """Make the folder, which must be new or empty: pictures of two runs would mix two people under one number.

    Raises:
        ReidError: something is in it, or it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        full = any(out.iterdir())
    except OSError as error:
        raise ReidError(f"{out} cannot be written: {error.strerror}") from error
    if full:
        raise ReidError(f"{out} is not empty: choose a new folder")


def write_crop(out: Path, identity: int, camera: str, frame_index: int, crop: NDArray[np.uint8]) -> Path:
    """Write one crop, (h, w, 3) uint8 BGR, as ``OUT/<identity>/<camera>_<frame>.jpg`` (dataset ``folder``).

    Raises:
        ReidError: it cannot be written.
    """
    import cv2

    done, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    # what stands before the first "_" is the camera
    path = out / f"{identity:06d}" / f"{camera.replace('_', '-')}_{frame_index:08d}.jpg"
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise ReidError(f"{path} cannot be written: {error.strerror}") from error
    return path

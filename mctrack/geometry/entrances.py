"""Where people may come into sight: at the doors of a site, and at the rim of what its cameras see of the floor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mctrack.geometry.site import Site

Array = NDArray[np.float64]
DOOR_M = 1.2
"""Standard deviation of where people are first or last seen near a door: trackers need some steps."""
RIM_M = 0.8
"""Nearer than this to where no camera sees the floor, people may come from there."""
_AROUND = np.array([(np.cos(a), np.sin(a)) for a in np.arange(8) * np.pi / 4])


class Entrances:
    """Tells how likely people who appear at a place, or vanish there, come from or go out of sight.

    Args:
        site: a place with doors and cameras. Cameras without a known picture size are taken to see everywhere.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._doors = np.array(list(site.doors.values())).reshape(-1, 2)

    def __call__(self, xy: Array) -> Array:
        """(n,) in 0…1 for (n, 2) metres: 1 in a doorway or at the rim of the views, 0 in the middle of the room."""
        xy = np.asarray(xy, float).reshape(-1, 2)
        away = np.linalg.norm(xy[:, None] - self._doors, axis=2).min(axis=1, initial=np.inf)
        around = (xy[:, None] + RIM_M * _AROUND).reshape(-1, 2)
        rim = ~(self._watched(around) | ~self._site.inside(around)).reshape(len(xy), -1).all(axis=1)
        return np.where(rim, 1.0, np.exp(-0.5 * (away / DOOR_M) ** 2))

    def _watched(self, xy: Array) -> NDArray[np.bool_]:
        """(n,) whether a camera has (n, 2) places on the floor in its picture."""
        floor, seen = np.column_stack([xy, np.zeros(len(xy))]), np.zeros(len(xy), bool)
        for name, camera in self._site.cameras.items():
            size = self._site.sizes.get(name)
            if size is None:
                return np.ones(len(xy), bool)
            pixels = np.nan_to_num(camera.to_image(floor), nan=-1.0)
            seen |= (pixels >= 0).all(axis=1) & (pixels < size).all(axis=1)
        return seen

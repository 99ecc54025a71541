"""Where people in the cameras of a site stand, as the pipeline asks for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mctrack.geometry.cameras import ground_jacobian
from mctrack.geometry.entrances import Entrances
from mctrack.geometry.foot import BoxNoise, stand
from mctrack.geometry.site import Site
from mctrack.types import Frame

Array = NDArray[np.float64]
PLAUSIBLE_M = (0.9, 3.0)
"""Median height of the people in a camera's boxes that is believed."""
ENOUGH = 50


class SiteLocator:
    """Locates boxes on a site's floor.

    Args:
        site: the place.
        noise: how well boxes tell feet.

    Attributes:
        site: the place.
        warnings: what people's heights say against the calibration, one line per camera at most.
    """

    def __init__(self, site: Site, noise: BoxNoise | None = None) -> None:
        self.site, self._noise = site, noise or BoxNoise()
        self._heights: dict[str, list[float]] = {name: [] for name in site.cameras}
        self.warnings: list[str] = []

    def locate(self, frame: Frame, xyxy: Array) -> tuple[Array, Array] | None:
        """(n, 2) metres, NaN where unknown or outside all areas, and (n, 2, 2) m²; None: not calibrated."""
        camera = self.site.cameras.get(frame.camera)
        if camera is None:
            return None
        standing = stand(camera, xyxy, frame.size, self._noise)
        outside = ~self.site.inside(np.nan_to_num(standing.xy))
        standing.xy[outside] = np.nan
        heights = self._heights[frame.camera]
        if len(xyxy) and len(heights) < ENOUGH:
            self._measure(frame.camera, xyxy, heights)
        return standing.xy, standing.cov

    def entrances(self) -> Entrances | None:
        """Where people come into sight; None where the site file names no doors."""
        return Entrances(self.site) if self.site.doors else None

    def _measure(self, name: str, xyxy: Array, heights: list[float]) -> None:
        """Guess heights by the floor's scale at the feet: a wrong unit shows, whatever the view."""
        foot = np.stack([(xyxy[:, 0] + xyxy[:, 2]) / 2, xyxy[:, 3]], axis=1)
        per_px = np.linalg.norm(ground_jacobian(self.site.cameras[name], foot)[:, :, 0], axis=1)
        tall = per_px * (xyxy[:, 3] - xyxy[:, 1])
        heights.extend(tall[np.isfinite(tall)].tolist())
        if len(heights) >= ENOUGH:
            median = float(np.median(heights))
            if not PLAUSIBLE_M[0] <= median <= PLAUSIBLE_M[1]:
                self.warnings.append(f"camera '{name}': by its calibration people are about {median:.2g} m tall; "
                                     "check the unit and the points it was made from")

"""A camera's floor from pairs of pixels and places, by RANSAC, with what it is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.errors import ConfigError
from mctrack.geometry.cameras import FloorMap
from mctrack.geometry.checks import check_camera, check_homography
from mctrack.geometry.homography import apply, fit, ransac

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PointsFit:
    """A floor from point pairs.

    Attributes:
        homography: (3, 3) pixels → metres.
        camera: the same as a camera.
        residual_m: (n,) distance of each pair on the floor. inlier: (n,) whether it was used.
        spread: (k, 3, 3) the floors that the pairs would give with one of them left out each; empty with four pairs.
    """

    homography: Array
    camera: FloorMap
    residual_m: Array
    inlier: NDArray[np.bool_]
    spread: Array

    def sd_m(self, pixels: Array) -> Array:
        """(n,) standard deviation in metres of places at (n, 2) pixels: the jackknife's; NaN with four pairs."""
        k = len(self.spread)
        if k < 2:
            return np.full(len(pixels), np.nan)
        mapped = np.stack([apply(h, pixels)[0] for h in self.spread])
        return np.asarray(np.sqrt((k - 1) / k * ((mapped - mapped.mean(axis=0)) ** 2).sum(axis=(0, 2))))


def fit_points(
    pixels: Array, floor_m: Array, size: tuple[int, int], what: str, rng: np.random.Generator, threshold_m: float = 0.2
) -> PointsFit:
    """Estimate the map from pictures to floor.

    Args:
        pixels, floor_m: (n, 2) pairs.
        size: (width, height) of the picture.
        what: what messages call it.
        rng: draws RANSAC's samples.
        threshold_m: a pair within this distance on the floor is right.

    Raises:
        ConfigError: fewer than four pairs agree, or what they agree on cannot be a floor.
    """
    pixels, floor_m = np.asarray(pixels, float).reshape(-1, 2), np.asarray(floor_m, float).reshape(-1, 2)
    if len(pixels) < 4:
        raise ConfigError(f"{what}: {len(pixels)} points; four are needed, six or more are better")
    found = ransac(pixels, floor_m, threshold_m, rng)
    if found is None:
        raise ConfigError(f"{what}: no four points agree within {threshold_m:g} m; are three of them on one line, or "
                          "pixels and places in different order?")
    if len(pixels) >= 6 and found.inlier.sum() <= 0.5 * len(pixels):
        raise ConfigError(f"{what}: only {int(found.inlier.sum())} of {len(pixels)} points agree within "
                          f"{threshold_m:g} m: check the others, or raise --threshold")
    check_homography(found.homography, what)
    camera = FloorMap.of(found.homography, pixels[found.inlier].mean(axis=0))
    check_camera(camera, size, what)
    good = np.flatnonzero(found.inlier)
    spread = [fit(pixels[np.setdiff1d(good, [k])], floor_m[np.setdiff1d(good, [k])]) for k in good if len(good) > 4]
    return PointsFit(camera.image_to_ground, camera, found.residual, found.inlier,
                     np.array(spread).reshape(-1, 3, 3))


def grid_lines(camera: FloorMap, size: tuple[int, int], step_m: float, reach_m: float = 60.0) -> list[Array]:
    """Lines of a floor grid as they look in the picture: (k, 2) pixels each, cut where they leave it.

    Args:
        camera: the floor.
        size: of the picture.
        step_m: distance of the lines.
        reach_m: nothing further from the picture's bottom centre is drawn.
    """
    centre = camera.to_ground(np.array([[size[0] / 2, size[1] - 1.0]]))[0]
    middle = np.round(centre / step_m) * step_m
    across = np.arange(-reach_m, reach_m + step_m / 2, step_m)
    along = np.linspace(-reach_m, reach_m, 1201)
    lines = []
    for offset in across:
        for axis in (0, 1):
            points = np.zeros((len(along), 3))
            points[:, axis], points[:, 1 - axis] = middle[axis] + offset, middle[1 - axis] + along
            pixels = camera.to_image(points)
            inside = (np.isfinite(pixels).all(axis=1) & (np.nan_to_num(pixels, nan=-1e9) >= 0).all(axis=1)
                      & (np.nan_to_num(pixels, nan=1e9) <= size).all(axis=1))
            edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
            lines += [pixels[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1]
    return lines

"""From boxes to places on the floor, each with its covariance.

A box's bottom centre is where the feet are; its noise grows with the box and, seen at a flat angle, grows further along
the line of sight. Where the feet cannot be seen (the box is cut at the picture's edge, or too short for a person
standing there), the head at an assumed height tells the place, or the covariance gets wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.geometry.cameras import GroundCamera, ground_jacobian

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BoxNoise:
    """How well boxes tell feet and heads. Shares are of the box's height.

    Attributes:
        across, along: standard deviation of the foot point, sideways and up or down.
        floor_m: what no box can mend: lens, calibration, feet that are not under the head.
        height_m, height_sd_m: of people.
        edge_px: a box that ends this near to the picture's edge may be cut there.
        seated: share of people who sit. seated_m, seated_sd_m: how high their heads are.
        hidden: share of boxes whose feet are hidden by something in the room.
        useless_m: a place less certain than this (near the horizon) is none.
        toe_m: a box ends at the toe or heel nearest to the camera, this far before the middle between the feet.
    """

    across: float = 0.05
    along: float = 0.03
    floor_m: float = 0.07
    height_m: float = 1.7
    height_sd_m: float = 0.12
    seated: float = 0.01
    seated_m: float = 1.28
    seated_sd_m: float = 0.1
    edge_px: float = 2.0
    hidden: float = 0.05
    useless_m: float = 4.0
    toe_m: float = 0.13


@dataclass(frozen=True, eq=False)
class Standing:
    """Where n people stand.

    Attributes:
        xy: (n, 2) metres, NaN where the picture does not tell.
        cov: (n, 2, 2) m².
        how: (n,) 0 unknown, 1 by the feet, 2 by the head, 3 both were weighed.
    """

    xy: Array
    cov: Array
    how: NDArray[np.int64]


UNKNOWN, FEET, HEAD, MIXED = range(4)


def stand(camera: GroundCamera, xyxy: Array, size: tuple[int, int], noise: BoxNoise | None = None) -> Standing:
    """Where the people in boxes stand.

    Args:
        camera: its model.
        xyxy: (n, 4) pixels.
        size: (width, height) of the picture.
        noise: see :class:`BoxNoise`.
    """
    noise = noise or BoxNoise()
    xyxy = np.asarray(xyxy, float).reshape(-1, 4)
    height = np.maximum(xyxy[:, 3] - xyxy[:, 1], 1.0)
    cut_low, cut_high = xyxy[:, 3] >= size[1] - noise.edge_px, xyxy[:, 1] <= noise.edge_px
    aside = (xyxy[:, 0] <= noise.edge_px) | (xyxy[:, 2] >= size[0] - noise.edge_px)
    across = height * np.where(aside, 3 * noise.across, noise.across)
    xy, cov = _by_feet(camera, xyxy, height, across, noise, cut_low)
    how = np.where(np.isfinite(xy).all(axis=1), FEET, UNKNOWN)
    if camera.sees_height and len(xyxy):
        head_xy, head_cov = _by_head(camera, xyxy, height, across, noise, noise.height_m, noise.height_sd_m)
        usable = np.isfinite(head_xy).all(axis=1) & ~cut_high
        hidden, sits = _hidden(camera, xy, xyxy, noise)
        low = _by_head(camera, xyxy, height, across, noise, noise.seated_m, noise.seated_sd_m)
        sits = np.where(np.isfinite(low[0]).all(axis=1), sits, 0.0)
        known = sits > 0
        head_xy[known], head_cov[known] = _mix(
            head_xy[known], head_cov[known], low[0][known], low[1][known], sits[known])
        hidden = np.where(cut_low | (how == UNKNOWN), 1.0, np.where(cut_high, 0.0, hidden))
        hidden = np.where(usable, hidden, 0.0)
        mixed = hidden > 0.02
        xy[mixed], cov[mixed] = _mix(xy[mixed], cov[mixed], head_xy[mixed], head_cov[mixed], hidden[mixed])
        how = np.where(hidden > 0.98, HEAD, np.where(mixed, MIXED, how))
    lost = ~(np.trace(cov, axis1=1, axis2=2) < noise.useless_m**2) | ~np.isfinite(xy).all(axis=1)
    xy[lost], cov[lost] = np.nan, np.nan
    return Standing(xy, cov, np.where(lost, UNKNOWN, how))


def foot_points(camera: GroundCamera, xyxy: Array, height_m: float) -> Array:
    """(n, 2) pixels of the feet in boxes (n, 4): on the lower edge, but beside its middle where people seem to lean.

    Towards a picture's sides a camera that looks down sees people lean outwards: the head is over one end of the box,
    the feet over the other.
    """
    middle = (xyxy[:, 0] + xyxy[:, 2]) / 2
    foot = np.stack([middle, xyxy[:, 3]], axis=1)
    if not camera.sees_height or not len(xyxy):
        return foot
    ground = camera.to_ground(foot)
    head = camera.to_image(np.column_stack([np.nan_to_num(ground), np.full(len(ground), height_m)]))
    lean = np.nan_to_num((middle - head[:, 0]) / 2)
    known = np.isfinite(ground).all(axis=1)
    limit = 0.5 * np.maximum(xyxy[:, 2] - xyxy[:, 0], 0.0)
    foot[:, 0] += np.where(known, np.clip(lean, -limit, limit), 0.0)
    return foot


def _by_feet(
    camera: GroundCamera, xyxy: Array, height: Array, across: Array, noise: BoxNoise, cut: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Place and covariance by the bottom centre; where it is cut off, where feet would be by the box's width."""
    foot = foot_points(camera, xyxy, noise.height_m)
    along = noise.along * height
    whole = np.maximum((xyxy[:, 2] - xyxy[:, 0]) / 0.4, height)  # people are about 0.4 times as wide as high
    foot[:, 1] = np.where(cut, xyxy[:, 1] + whole, foot[:, 1])
    along = np.where(cut, 0.3 * whole, along)
    xy, J = camera.to_ground(foot), ground_jacobian(camera, foot)
    if camera.position is not None:  # a box ends at the toe or heel nearest to the camera
        away = xy - camera.position[:2]
        xy = xy + noise.toe_m * away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    return xy, _propagate(J, across, along) + noise.floor_m**2 * np.eye(2)


def _by_head(
    camera: GroundCamera, xyxy: Array, height: Array, across: Array, noise: BoxNoise, head_m: float, sd_m: float
) -> tuple[Array, Array]:
    """Place and covariance by the top centre at an assumed height."""
    head = np.stack([(xyxy[:, 0] + xyxy[:, 2]) / 2, xyxy[:, 1]], axis=1)
    xy, J = camera.to_ground(head, head_m), ground_jacobian(camera, head, head_m)
    step = 0.02
    slope = (camera.to_ground(head, head_m + step) - camera.to_ground(head, head_m - step)) / (2 * step)
    cov = _propagate(J, across, noise.along * height) + noise.floor_m**2 * np.eye(2)
    return xy, cov + sd_m**2 * slope[:, :, None] * slope[:, None, :]


def _propagate(J: Array, across: Array, along: Array) -> Array:
    """(n, 2, 2) J diag(across², along²) Jᵀ."""
    scaled = J * np.stack([across, along], axis=1)[:, None, :]
    return np.asarray(scaled @ scaled.transpose(0, 2, 1))


def _hidden(camera: GroundCamera, xy: Array, xyxy: Array, noise: BoxNoise) -> tuple[Array, Array]:
    """(n,) probability that the feet are hidden: the box is too short for who stands, or sits, at its bottom.

    And (n,) probability that somebody whose feet are hidden sits. Who is seen down to the feet is there in any case.
    """
    height, by_bottom = implied_height(camera, xy, xyxy[:, 1]), noise.along * noise.height_m
    kinds = ((1 - noise.seated, noise.height_m, noise.height_sd_m), (noise.seated, noise.seated_m, noise.seated_sd_m))
    seen = np.sum([p * _normal(height - tall_m, np.hypot(sd_m, by_bottom)) for p, tall_m, sd_m in kinds], axis=0)
    # the box of hidden feet has any height up to the whole; an unknown one (NaN) speaks against nobody
    stands, sits = (p / tall_m * ~(height >= tall_m) for p, tall_m, _ in kinds)
    odds = noise.hidden * (stands + sits) / np.maximum((1 - noise.hidden) * seen, 1e-12)
    return np.nan_to_num(odds / (1 + odds)), sits / np.maximum(stands + sits, 1e-12)


def _normal(x: Array, sd: float) -> Array:
    return np.asarray(np.exp(-0.5 * (x / sd) ** 2) / (sd * np.sqrt(2 * np.pi)))


def implied_height(camera: GroundCamera, xy: Array, top_px: Array) -> Array:
    """(n,) metres: how tall people at (n, 2) floor points are whose heads reach up to the rows ``top_px`` (n,)."""
    low, high = np.zeros(len(xy)), np.full(len(xy), 3.0)
    for _ in range(14):  # bisection: rows fall as height grows, whatever the lens
        middle = (low + high) / 2
        row = camera.to_image(np.column_stack([np.nan_to_num(xy), middle]))[:, 1]
        above = ~(row < top_px)
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(np.isfinite(xy).all(axis=1), (low + high) / 2, np.nan)


def _mix(a: Array, a_cov: Array, b: Array, b_cov: Array, weight: Array) -> tuple[Array, Array]:
    """Mean and covariance of a mixture of two normal distributions; ``weight`` (n,) is the second's."""
    whole = weight >= 0.98
    a, a_cov = np.where(whole[:, None], b, a), np.where(whole[:, None, None], b_cov, a_cov)
    w = weight[:, None, None]
    step = b - a
    mean = a + weight[:, None] * step
    return mean, (1 - w) * a_cov + w * b_cov + w * (1 - w) * step[:, :, None] * step[:, None, :]

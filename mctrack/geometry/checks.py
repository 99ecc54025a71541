"""Whether a calibration can be true: side of the horizon, handedness, and the size people would have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mctrack.errors import ConfigError
from mctrack.geometry.cameras import FloorMap, GroundCamera, ground_jacobian, picture_points
from mctrack.geometry.homography import is_singular

Array = NDArray[np.float64]
PERSON_M = 1.7
VIEW_M = (0.3, 400.0)
"""A picture whose lower half shows a narrower or wider strip of floor than this is in the wrong unit."""
PERSON_SHARE = (0.004, 30.0)
"""Height of a person as a share of the picture's, anywhere on the visible floor, that is believed."""
MAX_ROLL_DEG = 20.0
DIRECTIONS = ("image_to_ground", "ground_to_image")


def check_homography(homography: Array, what: str) -> None:
    """Refuse a matrix that cannot map a plane.

    Raises:
        ConfigError: it is not (3, 3), not finite, or singular.
    """
    if np.shape(homography) != (3, 3):
        raise ConfigError(f"{what}: a homography has 3 × 3 numbers, found {np.shape(homography)}")
    if is_singular(homography):
        raise ConfigError(f"{what}: the homography is singular: it maps the floor to a line; measure the points again")


def view_width_m(camera: GroundCamera, size: tuple[int, int]) -> Array:
    """(n,) metres of floor across the picture at those points of its lower half that see the floor."""
    points = picture_points(size)
    sideways = np.linalg.norm(ground_jacobian(camera, points)[:, :, 0], axis=1) * size[0]
    return sideways[np.isfinite(sideways)]


def handedness(camera: GroundCamera, size: tuple[int, int]) -> int:
    """−1 where floor seen from above has x right and y ahead (right-handed, z up), +1 where mirrored, 0 unknown.

    Pixels count downwards, hence the sign.
    """
    determinant = np.linalg.det(np.nan_to_num(ground_jacobian(camera, picture_points(size))))
    return int(np.sign(np.median(determinant[determinant != 0]))) if determinant.any() else 0


def believable(camera: GroundCamera, size: tuple[int, int]) -> str | None:
    """What is wrong with a camera's scale, or None.

    Half the points of the picture's lower half must see floor of a believable width, and people on it must be of
    believable size and stand upright.
    """
    width = view_width_m(camera, size)
    if len(width) < 3:
        return "the lower half of its picture sees no floor"
    typical = float(np.median(width))
    if not VIEW_M[0] <= typical <= VIEW_M[1]:
        return f"its picture would show {typical:.3g} m of floor from side to side; is the unit right?"
    if not camera.sees_height:
        return None
    ground = camera.to_ground(picture_points(size))
    ground = ground[np.isfinite(ground).all(axis=1)]
    foot, head = (camera.to_image(np.column_stack([ground, np.full(len(ground), z)])) for z in (0.0, PERSON_M))
    tall = foot[:, 1] - head[:, 1]
    tall = tall[np.isfinite(tall)]
    if not len(tall):
        return "people on its floor would have their heads behind the camera; is the unit right?"
    share = float(np.median(tall)) / size[1]
    if share < 0 and float(np.median(np.abs(tall))) / size[1] > PERSON_SHARE[0]:
        return "people would stand upside down: z must point up and the floor be z = 0"
    if not PERSON_SHARE[0] <= share <= PERSON_SHARE[1]:
        return f"a person of {PERSON_M} m would be {share * size[1]:.3g} px tall in its picture; is the unit right?"
    return None


def check_camera(camera: GroundCamera, size: tuple[int, int], what: str) -> None:
    """Refuse a camera that cannot be true.

    Raises:
        ConfigError: naming what is wrong.
    """
    wrong = believable(camera, size)
    if wrong is not None:
        raise ConfigError(f"{what}: {wrong}")


def check_handedness(cameras: dict[str, tuple[GroundCamera, tuple[int, int]]], what: str) -> None:
    """Refuse cameras whose floors are mirror images of each other.

    Raises:
        ConfigError: naming those in the minority.
    """
    sides = {name: handedness(*camera) for name, camera in cameras.items()}
    mirrored = sorted(name for name, side in sides.items() if side > 0)
    proper = sorted(name for name, side in sides.items() if side < 0)
    if mirrored and proper:
        few = min(mirrored, proper, key=len)
        raise ConfigError(f"{what}: camera {', '.join(few)}: the points are mirrored: x and y of the floor are "
                          "exchanged, or one of them points the other way, compared with the other cameras")


def _is_level(camera: FloorMap, size: tuple[int, int]) -> bool:
    """Whether the floor's horizon is level within ``MAX_ROLL_DEG`` and above the floor, as cameras are mounted.

    The last row of a map image → floor is the equation of its horizon; of a map read the wrong way it is anything.
    """
    a, b, _ = camera.image_to_ground[2]
    change = np.hypot(a * size[0], b * size[1])
    here = abs(camera.image_to_ground[2] @ [size[0] / 2, size[1], 1.0])
    straight_down = change < 0.05 * here
    return bool(straight_down or abs(np.degrees(np.arctan2(a, b))) <= MAX_ROLL_DEG)


def tell_direction(matrix: Array, size: tuple[int, int], unit_m: float, what: str) -> tuple[FloorMap, str]:
    """Find out which way a bare homography maps, by which way shows a believable floor.

    Args:
        matrix: (3, 3) homography of unknown direction.
        size: (width, height) of the picture it belongs to.
        unit_m: metres per unit of its floor.
        what: what messages call it.

    Returns:
        The camera, and the direction found: one of ``DIRECTIONS``.

    Raises:
        ConfigError: both ways, or none, would do.
    """
    check_homography(matrix, what)
    found = {d: c for d in DIRECTIONS
             if believable(c := floor_map(matrix, d, size, unit_m), size) is None and _is_level(c, size)}
    if len(found) == 1:
        direction, camera = found.popitem()
        return camera, direction
    why = "both ways show a believable floor" if found else "neither way shows a believable floor; is the unit right?"
    raise ConfigError(f"{what}: which way does the homography map? {why}; say direction: {' or '.join(DIRECTIONS)}")


def floor_map(
    matrix: Array, direction: str, size: tuple[int, int], unit_m: float,
    head: Array | None = None, head_m: float = 1.75,
) -> FloorMap:  # fmt: skip
    """A camera from one or two homographies of known direction; floor units become metres.

    People stand where the picture's bottom centre shows the floor.
    """
    scale = np.diag([unit_m, unit_m, 1.0])

    def metres(h: Array) -> Array:
        return np.asarray(scale @ (h if direction == DIRECTIONS[0] else np.linalg.inv(h)))

    foot = np.array([size[0] / 2, size[1] - 1.0])
    return FloorMap.of(metres(matrix), foot, None if head is None else metres(head), head_m)

"""Cameras from people who walk through: focal length, tilt, roll and height of each, and where they stand to another.

People are about 1.7 m tall and walk on a flat floor. How tall boxes are at every place of a picture then tells the
camera (Lv, Zhao and Nevatia 2006; here by least squares over all boxes with every track's height marginalised), and
people whom two cameras see at the same time tell how their floors lie to each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from mctrack.errors import ConfigError
from mctrack.geometry.calibrate_sync import Walks
from mctrack.geometry.cameras import Pinhole
from mctrack.geometry.foot import foot_points

Array = NDArray[np.float64]
HEIGHT_M, HEIGHT_SD_M = 1.7, 0.09
FOCAL, FOCAL_SD = 0.65, 0.3
"""Focal length in picture widths before anything is seen, and its relative spread: views of 75°, give or take."""
K1_SD = 0.05
"""Lenses are not known: radial distortion of this size must be reckoned with."""
BOX_NOISE = 0.03
"""Noise of a box's top and bottom as a share of its height."""
FOOT_M = 0.14
"""A box ends at the toe or heel nearest to the camera, this far before the middle of the feet."""
HEAD_M = 0.1
"""Radius of a head: seen from above, a box begins behind the crown."""
AGREE_M = 0.15
"""Places of one person by two cameras differ by about this."""
ENOUGH = 30
SEATED, ROUNDS = 0.9, 4
"""Boxes less tall than this share of what the same track mostly is, or most people are, sit or are half hidden; they
are left out, and the camera is found anew, so many times."""


@dataclass(frozen=True, eq=False)
class PeopleBoxes:
    """Whole boxes of one camera: (n, 4) ``xyxy``, (n,) ``track`` and ``time_s``; ``size`` of the picture."""

    xyxy: Array
    track: NDArray[np.int64]
    time_s: Array
    size: tuple[int, int]

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> PeopleBoxes:
        """Some of the boxes."""
        return PeopleBoxes(self.xyxy[index], self.track[index], self.time_s[index], self.size)

    def whole(self, edge_px: float = 2.0) -> PeopleBoxes:
        """Those that no edge of the picture may have cut, and that have a standing person's shape."""
        b, (width, height) = self.xyxy, self.size
        inside = (b[:, :2] > edge_px).all(axis=1) & (b[:, 2] < width - edge_px) & (b[:, 3] < height - edge_px)
        return self.take(inside & (b[:, 3] - b[:, 1] > 1.4 * (b[:, 2] - b[:, 0])))

    def thinned(self, step_s: float, limit: int) -> PeopleBoxes:
        """One box per track and ``step_s``, evenly thinned to ``limit``: neighbours in time say the same thing."""
        slot = np.floor(self.time_s / step_s).astype(np.int64)
        _, first = np.unique(np.stack([self.track, slot]), axis=1, return_index=True)
        first.sort()
        return self.take(first[:: max(-(-len(first) // limit), 1)])


@dataclass(frozen=True)
class Pose:
    """A camera above its own floor: at (0, 0, height), looking along y; yaw, x and y set it on a common one.

    Angles in radians, tilt downwards; focal length in picture widths; k1: radial distortion as OpenCV has it.
    """

    focal: float
    tilt: float
    roll: float
    height_m: float
    yaw: float = 0.0
    x_m: float = 0.0
    y_m: float = 0.0
    k1: float = 0.0

    def vector(self) -> Array:
        """The eight numbers as they are optimised: five of the camera alone, three of its place."""
        return np.array([np.log(self.focal), self.tilt, self.roll, np.log(self.height_m), self.k1, self.yaw, self.x_m,
                         self.y_m])

    @staticmethod
    def of(v: Array) -> Pose:
        """From the vector."""
        focal, height = float(np.exp(v[0])), float(np.exp(v[3]))
        yaw, x, y = (float(value) for value in v[5:8]) if len(v) > 5 else (0.0, 0.0, 0.0)
        return Pose(focal, float(v[1]), float(v[2]), height, yaw, x, y, float(v[4]))

    def camera(self, size: tuple[int, int]) -> Pinhole:
        """The camera for a picture size, its optical axis through the picture's centre."""
        ct, st, cr, sr = np.cos(self.tilt), np.sin(self.tilt), np.cos(self.roll), np.sin(self.roll)
        cy, sy = np.cos(self.yaw), np.sin(self.yaw)
        right, forward = np.array([cy, sy, 0.0]), np.array([-sy * ct, cy * ct, -st])
        down = np.array([sy * st, -cy * st, -ct])
        R = np.stack([cr * right + sr * down, -sr * right + cr * down, forward])
        f = self.focal * size[0]
        K = np.array([[f, 0, size[0] / 2], [0, f, size[1] / 2], [0, 0, 1.0]])
        position = np.array([self.x_m, self.y_m, self.height_m])
        return Pinhole(K, np.array([self.k1, 0.0, 0.0, 0.0, 0.0]), R, -R @ position)


@dataclass(frozen=True, eq=False)
class SelfCalibration:
    """A camera found from people.

    Attributes:
        pose: the best one. sd: (8,) standard deviations of its vector (relative for focal length and height).
        boxes: how many boxes it rests on. height_rms: relative misfit of people's heights.
    """

    pose: Pose
    sd: Array
    boxes: int
    height_rms: float


def places(pose: Pose, boxes: PeopleBoxes) -> Array:
    """(n, 2) where people stand; NaN beyond the horizon."""
    camera = pose.camera(boxes.size)
    ground = camera.to_ground(foot_points(camera, boxes.xyxy, HEIGHT_M))
    away = ground - camera.position[:2]
    return np.asarray(ground + FOOT_M * away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6))


def walks(pose: Pose, boxes: PeopleBoxes) -> Walks:
    """The tracks on the floor."""
    xy = places(pose, boxes)
    known = np.isfinite(xy).all(axis=1)
    return Walks(boxes.time_s[known], boxes.track[known], xy[known])


def heights(pose: Pose, boxes: PeopleBoxes) -> Array:
    """(n,) how tall people are, in metres from 0 to 5, if the camera hangs like that."""
    camera, b = pose.camera(boxes.size), boxes.xyxy
    xy = np.nan_to_num(places(pose, boxes), nan=1e3)
    f, cy = camera.K[0, 0], camera.K[1, 2]
    away = xy - camera.position[:2]
    distance = np.maximum(np.linalg.norm(away, axis=1), 0.1)
    down = (camera.position[2] - HEIGHT_M) / np.hypot(distance, camera.position[2] - HEIGHT_M)  # sine of the angle
    crown = xy + (HEAD_M * down / distance)[:, None] * away
    base = crown @ camera.R[:, :2].T + camera.t
    up = camera.R[:, 2]
    middle = (b[:, 0] + b[:, 2]) / 2
    slope = camera.undistort(np.stack([(middle - camera.K[0, 2]) / f, (b[:, 1] - cy) / f], axis=1))[:, 1]
    bottom = slope * up[2] - up[1]
    tall = (base[:, 1] - slope * base[:, 2]) / np.where(np.abs(bottom) < 1e-6, 1e-6, bottom)
    return np.asarray(np.clip(tall + HEAD_M * (1.0 - np.sqrt(1.0 - down**2)), 0.0, 5.0))


def _residuals(pose: Pose, boxes: PeopleBoxes) -> Array:
    """(n + tracks,) misfit in standard deviations: people's heights against their track's, and those against 1.7 m.

    The former as shares of the height: misfits in metres would shrink with the world, and be least in one too small.
    """
    tall = heights(pose, boxes)
    sd = 1.5 * BOX_NOISE * HEIGHT_M
    _, of = np.unique(boxes.track, return_inverse=True)
    near = np.clip(tall, 1.2, 2.2)  # of one that sits or is hidden the height says nothing
    count = np.bincount(of)
    share = count / sd**2 / (count / sd**2 + 1 / HEIGHT_SD_M**2)
    own = share * np.bincount(of, near) / count + (1 - share) * HEIGHT_M
    return np.concatenate([(tall / own[of] - 1.0) / (1.5 * BOX_NOISE), (own - HEIGHT_M) / HEIGHT_SD_M])


def calibrate_one(boxes: PeopleBoxes, what: str) -> SelfCalibration:
    """Find one camera's focal length, tilt, roll and height.

    Args:
        boxes: people of one camera; cut and odd ones are left out.
        what: what messages call the camera.

    Raises:
        ConfigError: too few people, or people who tell nothing (all at one distance).
    """
    used = boxes.whole().thinned(0.5, 600)
    if len(used.track) < ENOUGH:
        raise ConfigError(f"{what}: {len(used.track)} whole boxes of people at half-second steps; at least {ENOUGH} "
                          "are needed: record longer")
    best, few = None, used.take(np.arange(0, len(used.track), max(len(used.track) // 120, 1)))
    for focal in (0.55, 0.8, 1.2):
        for tilt in np.radians([8.0, 20.0, 35.0, 50.0]):
            found = _solve(Pose(focal, float(tilt), 0.0, 3.0), few)
            if best is None or found.cost < best.cost:
                best = found
    assert best is not None
    found = _solve(Pose.of(best.x), used)
    for _ in range(ROUNDS):
        standing = _standing(heights(Pose.of(found.x), used), used.track)
        if standing.all() or standing.sum() < ENOUGH:
            break
        used = used.take(standing)
        found = _solve(Pose.of(found.x), used)
    J, n_tracks = found.jac, len(np.unique(used.track))
    cov = np.linalg.pinv(J.T @ J) * max(2 * found.cost / max(len(found.fun) - 5, 1), 1.0)
    sd = np.sqrt(np.maximum(np.diag(cov), 0.0) * max(len(used.track) / (8 * n_tracks), 1.0))
    pose = Pose.of(found.x)
    if not 0.2 < pose.focal < 6 or not 0.5 < pose.height_m < 40 or sd[0] > 0.5:
        raise ConfigError(f"{what}: people do not tell the camera (focal length {pose.focal * boxes.size[0]:.0f} ± "
                          f"{100 * sd[0]:.0f}%): they must be seen standing, near and far")
    misfit = found.fun[: len(used.track)] * 1.5 * BOX_NOISE
    return SelfCalibration(pose, np.append(sd, np.zeros(3)), len(used.track), float(np.median(np.abs(misfit)) * 1.48))


def _standing(tall: Array, track: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) boxes of people who stand: as tall as the track mostly is, and that not much less than people are."""
    out = tall > 0.9 * SEATED * np.percentile(tall, 75)
    for name in np.unique(track):
        own = track == name
        out[own] &= tall[own] > SEATED * np.percentile(tall[own], 75)
    return np.asarray(out)


def _solve(start: Pose, boxes: PeopleBoxes):  # type: ignore[no-untyped-def]
    def misfit(v: Array) -> Array:
        # weak knowledge of how cameras are hung, so that few people cannot turn them over
        return np.concatenate([_residuals(Pose.of(v), boxes),
                               [(v[0] - np.log(FOCAL)) / FOCAL_SD, v[2] / 0.1, v[4] / K1_SD]])

    low, high = [np.log(0.2), -0.1, -0.6, np.log(0.5), -0.4], [np.log(6.0), 1.5, 0.6, np.log(40.0), 0.2]
    return least_squares(misfit, start.vector()[:5], bounds=(low, high), loss="soft_l1", max_nfev=60)


# ---------------------------------------------------------------------- cameras to one another


@dataclass(frozen=True)
class Alignment:
    """How a floor lies on another: turn by ``yaw`` and shift; ``support``: share of the sightings that agree."""

    yaw: float
    shift: tuple[float, float]
    support: float

    def apply(self, xy: Array) -> Array:
        """(n, 2) places moved over."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return np.asarray(xy @ np.array([[c, s], [-s, c]]) + self.shift)


def grid(tracks: Walks, step_s: float) -> dict[int, tuple[Array, Array]]:
    """Track → its steps of time on an even grid, and its (k, 2) places there."""
    out = {}
    for name in np.unique(tracks.track).tolist():
        rows = np.flatnonzero(tracks.track == name)
        rows = rows[np.argsort(tracks.time_s[rows], kind="stable")]
        t = tracks.time_s[rows] / step_s
        at = np.arange(np.ceil(t[0]), np.floor(t[-1]) + 1)
        if len(at):
            out[name] = at, np.stack([np.interp(at, t, tracks.xy[rows, k]) for k in (0, 1)], axis=1)
    return out


def align_floors(a: Walks, b: Walks, step_s: float = 0.5) -> Alignment | None:
    """Find how ``b``'s floor lies on ``a``'s from people seen by both, whoever they are; None: nobody is.

    Every pair of tracks that are seen at the same time and go somewhere proposes a motion (Procrustes); the one that
    brings most people of all moments together is refined with those.
    """
    left, right = grid(a, step_s), grid(b, step_s)
    if not left or not right:
        return None
    best, best_score = None, 0.0
    pa, pb = _moments(left), _moments(right)
    for at, xy in left.values():
        for other_at, other_xy in right.values():
            _, i, j = np.intersect1d(at, other_at, return_indices=True)
            if len(i) < 4 or np.ptp(xy[i], axis=0).max() < 1.0 or np.ptp(other_xy[j], axis=0).max() < 1.0:
                continue
            proposal = _procrustes(other_xy[j], xy[i])
            score = _support(proposal, pa, pb, 3 * AGREE_M)
            if score > best_score:
                best, best_score = proposal, score
    if best is None:
        return None
    for reach in (1.0, 0.8, 0.6, 0.6):
        i, j = _partners(best, pa, pb, reach)
        if len(i) < 4:
            break
        best = _procrustes(pb[1][j], pa[1][i])
    return replace(best, support=_support(best, pa, pb, 3 * AGREE_M))


def _moments(tracks: dict[int, tuple[Array, Array]]) -> tuple[Array, Array]:
    return np.concatenate([at for at, _ in tracks.values()]), np.concatenate([xy for _, xy in tracks.values()])


def _partners(
    motion: Alignment, pa: tuple[Array, Array], pb: tuple[Array, Array], reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sightings (of a, of b) of one moment that are each other's nearest within ``reach`` metres."""
    moved, rows, cols = motion.apply(pb[1]), [], []
    order_a, order_b = np.argsort(pa[0], kind="stable"), np.argsort(pb[0], kind="stable")
    for t in np.intersect1d(pa[0], pb[0]).tolist():
        i = order_a[np.searchsorted(pa[0][order_a], t) : np.searchsorted(pa[0][order_a], t, side="right")]
        j = order_b[np.searchsorted(pb[0][order_b], t) : np.searchsorted(pb[0][order_b], t, side="right")]
        way = np.linalg.norm(pa[1][i][:, None] - moved[j], axis=2)
        to, back = way.argmin(axis=1), way.argmin(axis=0)
        good = (back[to] == np.arange(len(i))) & (way[np.arange(len(i)), to] < reach)
        rows += i[good].tolist()
        cols += j[to[good]].tolist()
    return np.array(rows, np.int64), np.array(cols, np.int64)


def _support(motion: Alignment, pa: tuple[Array, Array], pb: tuple[Array, Array], reach: float) -> float:
    """Share of the moments' possible pairs that the motion brings together."""
    times, n_a = np.unique(pa[0], return_counts=True)
    times_b, n_b = np.unique(pb[0], return_counts=True)
    _, i, j = np.intersect1d(times, times_b, return_indices=True)
    possible = int(np.minimum(n_a[i], n_b[j]).sum())
    return len(_partners(motion, pa, pb, reach)[0]) / max(possible, 1)


def _procrustes(source: Array, target: Array) -> Alignment:
    """The turn and shift (no reflection, no scale) that bring source points nearest to target points."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    yaw = float(np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum()))
    turned = Alignment(yaw, (0.0, 0.0), 0.0).apply(source.mean(axis=0)[None])[0]
    shift = target.mean(axis=0) - turned
    return Alignment(yaw, (float(shift[0]), float(shift[1])), 0.0)

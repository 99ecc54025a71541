"""Where people stand by their boxes, and what calibration from points, people and clocks finds on made-up scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mctrack.errors import ConfigError
from mctrack.geometry.calibrate_people import PeopleBoxes, Pose, calibrate_one
from mctrack.geometry.calibrate_points import fit_points, grid_lines
from mctrack.geometry.calibrate_sync import Walks, sync_on_floor, sync_on_motion
from mctrack.geometry.calibrate_together import calibrate_people
from mctrack.geometry.cameras import FloorMap, Pinhole
from mctrack.geometry.foot import FEET, HEAD, MIXED, UNKNOWN, BoxNoise, implied_height, stand
from mctrack.geometry.homography import fit
from mctrack.geometry.locate import SiteLocator
from mctrack.geometry.site import Site
from mctrack.types import Frame

SIZE = (640, 480)
CAMERA = Pose(0.6, np.radians(25.0), 0.0, 2.8).camera(SIZE)
SOLID = BoxNoise(toe_m=0.0)


def boxes_of(camera: Pinhole, xy: np.ndarray, height_m: np.ndarray | float = 1.7, radius_m: float = 0.2) -> np.ndarray:
    """(n, 4) boxes around upright cylinders that stand at (n, 2) places."""
    turn = np.arange(12) * np.pi / 6
    rim = radius_m * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    around = xy[:, None] + rim
    z = np.broadcast_to(np.asarray(height_m, float), len(xy))
    rings = [np.concatenate([around, np.broadcast_to(level[:, None, None], (*around.shape[:2], 1))], axis=2)
             for level in (np.zeros(len(xy)), z)]
    pixels = np.stack([camera.to_image(ring.reshape(-1, 3)).reshape(*around.shape[:2], 2) for ring in rings], axis=1)
    flat = pixels.reshape(len(xy), -1, 2)
    return np.concatenate([flat.min(axis=1), flat.max(axis=1)], axis=1)


def test_whole_boxes_stand_where_people_do() -> None:
    xy = np.array([[0.0, 5.0], [-1.5, 4.0], [2.0, 7.0]])
    found = stand(CAMERA, boxes_of(CAMERA, xy, radius_m=0.13), SIZE)
    assert found.how.tolist() == [FEET] * 3
    assert np.linalg.norm(found.xy - xy, axis=1).max() < 0.05
    near, _, far = (np.linalg.eigvalsh(c) for c in found.cov)
    assert far.max() > near.max()
    line_of_sight = xy[2] / np.linalg.norm(xy[2])
    assert line_of_sight @ found.cov[2] @ line_of_sight > far.min()


def test_feet_below_the_picture_are_told_by_the_head() -> None:
    xy = np.array([[0.0, 1.6]])
    box = boxes_of(CAMERA, xy)
    assert box[0, 3] > SIZE[1]
    box[0, 3] = SIZE[1]
    found = stand(CAMERA, box, SIZE, SOLID)
    assert found.how.tolist() == [HEAD]
    assert np.linalg.norm(found.xy - xy) < 0.35


def test_who_sits_is_nearer_than_who_stands_with_hidden_feet() -> None:
    xy = np.array([[0.0, 5.0], [-1.5, 4.0]])
    boxes = boxes_of(CAMERA, xy, height_m=1.2, radius_m=0.13)
    unaware, aware, sure = (np.linalg.norm(stand(CAMERA, boxes, SIZE, BoxNoise(seated=share)).xy - xy, axis=1)
                            for share in (0.0, 0.01, 0.3))
    assert unaware.min() > 0.95
    assert aware.max() < 0.7
    assert sure.max() < 0.25


def test_who_sits_behind_a_table_may_be_where_he_is() -> None:
    """By the picture alone he may as well stand further off; the covariance covers both."""
    xy = np.array([[0.0, 5.0]])
    box = boxes_of(CAMERA, xy, height_m=1.28)
    box[:, 3] -= 0.4 * (box[:, 3] - box[:, 1])
    found = stand(CAMERA, box, SIZE, BoxNoise(seated=0.1))
    step = found.xy[0] - xy[0]
    assert step @ np.linalg.solve(found.cov[0], step) < 9.0


def test_feet_behind_a_table_move_the_place_towards_where_the_head_says() -> None:
    xy = np.array([[0.0, 5.0]])
    box = boxes_of(CAMERA, xy)
    box[0, 3] -= 0.45 * (box[0, 3] - box[0, 1])
    fooled = np.linalg.norm(CAMERA.to_ground(np.array([[320.0, box[0, 3]]])) - xy)
    nobody_sits = BoxNoise(toe_m=0.0, seated=0.0)  # else part of the way is given up, which has to stay small
    for noise, share in ((nobody_sits, 0.75), (SOLID, 0.77)):
        found = stand(CAMERA, box, SIZE, noise)
        error = found.xy[0] - xy[0]
        assert found.how.tolist() == [MIXED]  # it may be a child as well: all are weighed, and the covariance says so
        assert np.linalg.norm(error) < share * fooled
        assert error @ np.linalg.solve(found.cov[0], error) < 9


def test_cut_boxes_of_a_bare_floor_get_a_wide_covariance() -> None:
    h = np.linalg.inv(CAMERA.K @ np.column_stack([CAMERA.R[:, :2], CAMERA.t]))
    floor = FloorMap.of(h, np.array([320.0, 470.0]))
    whole, cut = np.array([[300.0, 200.0, 340.0, 380.0]]), np.array([[280.0, 300.0, 360.0, 480.0]])
    sure, wide = (float(np.trace(stand(floor, b, SIZE).cov[0])) for b in (whole, cut))
    assert wide > 2 * sure


def test_above_the_horizon_nobody_stands() -> None:
    found = stand(CAMERA, np.array([[300.0, 0.0, 320.0, 20.0]]), SIZE)
    assert found.how.tolist() == [UNKNOWN]
    assert np.isnan(found.xy).all()


def test_implied_height() -> None:
    xy = np.array([[0.0, 5.0], [1.0, 4.0]])
    top = CAMERA.to_image(np.column_stack([xy, [1.6, 1.9]]))[:, 1]
    np.testing.assert_allclose(implied_height(CAMERA, xy, top), [1.6, 1.9], atol=1e-3)


def test_locator_minds_areas_and_absurd_heights() -> None:
    site = Site(Path("s.yaml"), ("a", "b"), {"a": CAMERA, "b": Pinhole(CAMERA.K, CAMERA.dist, CAMERA.R, CAMERA.t * 4)},
                {}, areas={"left": np.array([[-9.0, 0.0], [0.0, 0.0], [0.0, 20.0], [-9.0, 20.0]])})
    locator = SiteLocator(site)
    xy = np.array([[-1.0, 5.0], [1.0, 5.0]])
    frame = Frame("a", 0, 0.0, None, SIZE)
    found = locator.locate(frame, boxes_of(CAMERA, xy))
    assert found is not None
    assert np.isfinite(found[0]).all(axis=1).tolist() == [True, False]
    assert locator.locate(Frame("c", 0, 0.0, None, SIZE), np.zeros((0, 4))) is None
    for _ in range(30):
        locator.locate(frame, boxes_of(CAMERA, xy))
        locator.locate(Frame("b", 0, 0.0, None, SIZE), boxes_of(CAMERA, xy))
    assert [line.split(":")[0] for line in locator.warnings] == ["camera 'b'"]


# ---------------------------------------------------------------------- points


def test_points_with_two_wrong_ones() -> None:
    rng = np.random.default_rng(0)
    floor = rng.uniform([-2, 3], [2, 8], (12, 2))
    pixels = CAMERA.to_image(np.column_stack([floor, np.zeros(12)])) + rng.normal(0, 0.5, (12, 2))
    floor[[3, 7]] += [[1.5, 0.0], [0.0, -2.0]]
    found = fit_points(pixels, floor, SIZE, "camera 'a'", rng)
    assert np.flatnonzero(~found.inlier).tolist() == [3, 7]
    assert np.median(found.residual_m[found.inlier]) < 0.05
    test = np.array([[-1.0, 4.0], [1.5, 6.0]])
    where = CAMERA.to_image(np.column_stack([test, np.zeros(2)]))
    error, told = np.linalg.norm(found.camera.to_ground(where) - test, axis=1), found.sd_m(where)
    assert (error < 4 * told + 0.01).all()
    assert (told < 0.3).all()
    lines = grid_lines(found.camera, SIZE, 1.0)
    assert len(lines) > 4
    assert all((line >= 0).all() and (line <= SIZE).all() for line in lines)


def test_points_that_cannot_be() -> None:
    rng = np.random.default_rng(0)
    floor = rng.uniform([-2, 3], [2, 8], (8, 2))
    pixels = CAMERA.to_image(np.column_stack([floor, np.zeros(8)]))
    with pytest.raises(ConfigError, match="3 points; four are needed"):
        fit_points(pixels[:3], floor[:3], SIZE, "camera 'a'", rng)
    with pytest.raises(ConfigError, match=r"camera 'a': (only|no four points)"):
        fit_points(pixels, rng.permutation(floor), SIZE, "camera 'a'", rng)
    line = np.column_stack([np.arange(5.0), np.arange(5.0)])
    with pytest.raises(ConfigError, match=r"no four points agree.*on one line"):
        fit_points(line * 50 + 100, line, SIZE, "camera 'a'", rng)
    with pytest.raises(ConfigError, match="is the unit right"):
        fit_points(pixels, floor * 1000, SIZE, "camera 'a'", rng, threshold_m=100.0)


@pytest.mark.parametrize(("pixels", "places"), [
    ([[0, 0], [2, 1], [1, 1], [2, 0]], [[1, 0], [1, 2], [1, 0], [1, 0]]),
    ([[1, 0], [2, 2], [0, 0], [0, 0]], [[1, 1], [1, 0], [2, 2], [1, 0]]),
])
def test_a_pair_on_the_horizon_of_the_first_guess(pixels: list[list[int]], places: list[list[int]]) -> None:
    assert np.isfinite(fit(np.array(pixels), np.array(places))).all()


# ---------------------------------------------------------------------- clocks


def walkers(n: int, seconds: float, seed: int, fps: float = 10.0) -> Walks:
    """People who walk, stop and turn in a room of 6 × 6 m."""
    rng = np.random.default_rng(seed)
    t = np.arange(0, seconds, 1 / fps)
    knots = np.arange(0, seconds + 4, 2.0)
    stops = rng.uniform(0, 6, (len(knots), n, 2))
    stops[1::3] = stops[0::3][: len(stops[1::3])]  # some stand for a while
    xy = np.stack([[np.interp(t, knots, stops[:, k, axis]) for axis in (0, 1)] for k in range(n)])
    return Walks(np.tile(t, n), np.repeat(np.arange(n), len(t)), xy.transpose(0, 2, 1).reshape(-1, 2))


@pytest.mark.parametrize("true_s", [-1.37, 0.0, 0.62])
def test_sync_finds_the_offset_within_a_frame(true_s: float) -> None:
    rng = np.random.default_rng(1)
    a = walkers(4, 40, 3)
    b = Walks(a.time_s - true_s, a.track + 100, a.xy + rng.normal(0, 0.1, a.xy.shape))
    found = sync_on_floor(a, b, 3.0, 0.1)
    assert found.offset_s == pytest.approx(true_s, abs=0.1)
    assert found.sd_s < 0.1
    assert found.contrast > 0.3
    turned = Walks(b.time_s, b.track, b.xy @ np.array([[0.0, 40.0], [-40.0, 0.0]]) + 7)
    by_motion = sync_on_motion(a, turned, 3.0, 0.1)
    assert by_motion.offset_s == pytest.approx(true_s, abs=0.1)


def test_sync_of_strangers_is_not_trusted() -> None:
    found = sync_on_floor(walkers(2, 30, 1), walkers(2, 30, 2), 3.0, 0.1)
    assert found.contrast < 0.25 or found.sd_s > 0.1


# ---------------------------------------------------------------------- people


def crowd(pose: Pose, seconds: float, seed: int = 5, people: int = 8) -> PeopleBoxes:
    walks = walkers(people, seconds, seed, 5.0)
    heights = np.random.default_rng(9).normal(1.7, 0.07, people)
    camera = pose.camera(SIZE)
    xyxy = boxes_of(camera, walks.xy, heights[walks.track], radius_m=0.13)
    xyxy += np.random.default_rng(3).normal(0, 0.01, xyxy.shape) * (xyxy[:, 3:] - xyxy[:, 1:2])
    good = np.isfinite(xyxy).all(axis=1)
    return PeopleBoxes(xyxy[good], walks.track[good], walks.time_s[good], SIZE)


def test_two_cameras_from_the_same_people() -> None:
    # both look over the room from opposite sides
    one = Pose(0.6, np.radians(24.0), 0.0, 3.0, 0.0, 3.0, -2.0)
    two = Pose(0.7, np.radians(22.0), 0.02, 3.2, np.pi, 3.5, 8.5)
    seen = {"one": crowd(one, 60), "two": crowd(two, 60)}
    alone = calibrate_one(seen["one"], "camera 'one'")
    assert abs(np.log(alone.pose.focal / one.focal)) < max(3 * alone.sd[0], 0.05)
    assert abs(alone.pose.height_m / one.height_m - 1) < 0.15
    found = calibrate_people(seen)
    assert [sorted(floor) for floor in found.floors] == [["one", "two"]]
    assert found.disagreement_m["two"] < 0.2
    test = np.array([[x, y] for x in (1.0, 3.0, 5.0) for y in (1.0, 3.0, 5.0)])
    ours, true = [], []
    for name, pose in (("one", one), ("two", two)):
        pixels = pose.camera(SIZE).to_image(np.column_stack([test, np.zeros(len(test))]))
        inside = (pixels >= 0).all(axis=1) & (pixels <= SIZE).all(axis=1)
        ours.append(found.cameras[name].pose.camera(SIZE).to_ground(pixels[inside]))
        true.append(test[inside])
    a, b = np.concatenate(ours), np.concatenate(true)
    turn = np.linalg.svd((a - a.mean(axis=0)).T @ (b - b.mean(axis=0)))
    aligned = (a - a.mean(axis=0)) @ (turn[0] @ turn[2]) + b.mean(axis=0)
    assert np.linalg.det(turn[0] @ turn[2]) > 0
    assert np.median(np.linalg.norm(aligned - b, axis=1)) < 0.25


def test_too_few_people_are_said_to_be_too_few() -> None:
    few = crowd(Pose(0.6, 0.4, 0.0, 3.0, 0.0, 3.0, -2.0), 60).take(np.arange(20))
    with pytest.raises(ConfigError, match=r"camera 'a': .* whole boxes .* at least 30 are needed"):
        calibrate_one(few, "camera 'a'")


def test_people_who_sit_do_not_shrink_the_world() -> None:
    """A quarter of the boxes are three quarters as tall, as of one who sits: the camera still hangs as high."""
    pose = Pose(0.6, np.radians(24.0), 0.0, 2.6, 0.0, 3.0, -2.0)
    boxes = crowd(pose, 60)
    seated = np.floor(boxes.time_s / 5).astype(int) % 4 == 0
    boxes.xyxy[seated, 1] += 0.25 * (boxes.xyxy[seated, 3] - boxes.xyxy[seated, 1])
    found = calibrate_one(boxes, "camera 'one'")
    assert found.pose.height_m == pytest.approx(2.6, rel=0.12)
    assert found.pose.tilt == pytest.approx(pose.tilt, abs=np.radians(3))

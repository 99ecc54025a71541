"""Projection round trips of every camera model, and what grouping sightings may never do."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mctrack.associate.ground import Places, fused, group, pair_odds
from mctrack.geometry.cameras import FloorMap, Pinhole, Tsai
from mctrack.geometry.homography import apply, fit, is_singular, jacobian
from mctrack.geometry.readers import rodrigues

SIZE = (640, 480)


@st.composite
def poses(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3) rotation and (3,) position of a camera that looks down on the floor."""
    yaw, tilt, roll = draw(st.floats(-3.1, 3.1)), draw(st.floats(0.15, 1.3)), draw(st.floats(-0.3, 0.3))
    forward = np.array([-np.sin(yaw) * np.cos(tilt), np.cos(yaw) * np.cos(tilt), -np.sin(tilt)])
    right = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    upright = np.stack([right, np.cross(forward, right), forward])
    position = np.array([draw(st.floats(-20, 20)), draw(st.floats(-20, 20)), draw(st.floats(2.2, 9.0))])
    return rodrigues(np.array([0.0, 0.0, roll])) @ upright, position


@st.composite
def pinholes(draw: st.DrawFn) -> Pinhole:
    R, position = draw(poses())
    f = draw(st.floats(250.0, 900.0))
    K = np.array([[f, 0.0, 320.0], [0.0, f * draw(st.floats(0.95, 1.05)), 240.0], [0.0, 0.0, 1.0]])
    dist = np.array([draw(st.floats(-0.12, 0.05)), draw(st.floats(-0.01, 0.01)), draw(st.floats(-1e-3, 1e-3)),
                     draw(st.floats(-1e-3, 1e-3)), 0.0])
    return Pinhole(K, dist, R, -R @ position)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.25, 1.5), st.floats(-0.5, 0.5), st.floats(-0.3, 0.3), st.floats(-0.1, 0.1),
       st.tuples(st.floats(-5e-3, 5e-3), st.floats(-5e-3, 5e-3)))
def test_any_lens_is_undone_over_the_whole_picture(
    focal: float, k1: float, k2: float, k3: float, tangential: tuple[float, float]
) -> None:
    """Wide and narrow, barrel and pincushion; ``focal`` in picture widths."""
    camera = Pinhole(np.diag([focal, focal, 1.0]), np.array([k1, k2, *tangential, k3]), np.eye(3), np.zeros(3))
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, 9), np.linspace(-0.375, 0.375, 7))
    picture = np.column_stack([x.ravel(), y.ravel()]) / focal
    np.testing.assert_allclose(camera.distort(camera.undistort(picture)), picture, atol=1e-6)


PIXELS = st.lists(st.tuples(st.floats(20, 620), st.floats(200, 470)), min_size=1, max_size=8).map(np.array)


@settings(max_examples=60, deadline=None)
@given(pinholes(), PIXELS, st.floats(0.0, 1.9))
def test_pinhole_pixels_come_back(camera: Pinhole, pixels: np.ndarray, height_m: float) -> None:
    ground = camera.to_ground(pixels, height_m)
    hit = np.isfinite(ground).all(axis=1) & (np.abs(np.nan_to_num(ground)) < 200).all(axis=1)
    assume(hit.any())
    again = camera.to_image(np.column_stack([ground[hit], np.full(int(hit.sum()), height_m)]))
    np.testing.assert_allclose(again, pixels[hit], atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(poses(), st.floats(-2e-3, 2e-3), PIXELS)
def test_tsai_pixels_come_back(pose: tuple[np.ndarray, np.ndarray], kappa1: float, pixels: np.ndarray) -> None:
    R, position = pose
    camera = Tsai(6.0, kappa1, np.array([320.0, 240.0]), np.array([0.01, 0.01]), 1.01, R, -R @ position)
    ground = camera.to_ground(pixels)
    hit = np.isfinite(ground).all(axis=1) & (np.abs(np.nan_to_num(ground)) < 200).all(axis=1)
    assume(hit.any())
    again = camera.to_image(np.column_stack([ground[hit], np.zeros(int(hit.sum()))]))
    np.testing.assert_allclose(again, pixels[hit], atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(poses(), PIXELS)
def test_floor_and_head_plane_make_the_whole_camera(pose: tuple[np.ndarray, np.ndarray], pixels: np.ndarray) -> None:
    """The homographies of two planes, each with a scale of its own, give the camera that they were taken from."""
    R, position = pose
    K = np.array([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]])
    true = Pinhole(K, np.zeros(5), R, -R @ position)
    planes = [K @ np.column_stack([R[:, 0], R[:, 1], true.t + z * R[:, 2]]) for z in (0.0, 1.75)]
    assume(np.isfinite(true.to_ground(np.array([[320.0, 479.0]]))).all())
    camera = FloorMap.of(np.linalg.inv(planes[0]) * -3.0, np.array([320.0, 479.0]), np.linalg.inv(planes[1]) * 0.2)
    assert camera.sees_height
    np.testing.assert_allclose(camera.position, position, atol=1e-6)
    for height_m in (0.0, 1.2):
        theirs = true.to_ground(pixels, height_m)
        hit = np.isfinite(theirs).all(axis=1) & (np.abs(np.nan_to_num(theirs)) < 100).all(axis=1)
        np.testing.assert_allclose(camera.to_ground(pixels, height_m)[hit], theirs[hit], rtol=1e-5, atol=1e-5)
        points = np.column_stack([theirs[hit], np.full(int(hit.sum()), height_m)])
        np.testing.assert_allclose(camera.to_image(points), pixels[hit], atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_a_homography_is_found_again_in_any_unit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    h = np.eye(3) + rng.normal(0, 0.2, (3, 3)) * [[1, 1, 1], [1, 1, 1], [0.1, 0.1, 0]]
    assume(abs(np.linalg.det(h)) > 0.2)
    source = rng.uniform(-1, 1, (9, 2))
    target, weight = apply(h, source)
    assume((weight > 0.3).all())
    found = fit(source * 1000 + 500, target * 1e4)
    np.testing.assert_allclose(apply(found, source * 1000 + 500)[0], target * 1e4, rtol=1e-6, atol=1e-3)
    assert not is_singular(found)
    step = 1e-6
    numeric = np.stack([(apply(h, source + step * e)[0] - apply(h, source - step * e)[0]) / (2 * step)
                        for e in np.eye(2)], axis=2)  # fmt: skip
    np.testing.assert_allclose(jacobian(h, source), numeric, rtol=1e-4, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_no_group_holds_two_sightings_of_one_camera(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 40))
    places = Places(rng.uniform(0, 3, (n, 2)), rng.uniform(0.005, 0.1, n)[:, None, None] * np.eye(2))
    camera = rng.integers(0, 5, n)
    label = group(places, camera, 0.05)
    assert label.shape == (n,)
    assert sorted(set(label.tolist())) == list(range(int(label.max(initial=-1)) + 1))
    assert len({(c, g) for c, g in zip(camera.tolist(), label.tolist(), strict=True)}) == n
    people = fused(places, label)
    for k in range(len(people)):
        mine = places.xy[label == k]
        assert (people.xy[k] >= mine.min(axis=0) - 1e-9).all() or len(mine) > 1
        assert np.linalg.eigvalsh(people.cov[k]).min() > 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_people_apart_are_found_whatever_the_order(seed: int) -> None:
    """Six people 2 m from each other and up to five cameras: the groups are the people, in every order."""
    rng = np.random.default_rng(seed)
    spots = np.array([[x, y] for x in (0.0, 2.0, 4.0) for y in (0.0, 2.0)])
    person, camera = np.nonzero(rng.random((6, 5)) < 0.7)
    order = rng.permutation(len(person))
    person, camera = person[order], camera[order]
    xy = spots[person] + rng.uniform(-0.12, 0.12, (len(person), 2))  # nobody beyond what the covariance allows
    label = group(Places(xy, np.tile(0.1**2 * np.eye(2), (len(person), 1, 1))), camera, 0.05)
    people = len(set(person.tolist()))
    assert len({*zip(person.tolist(), label.tolist(), strict=True)}) == people == label.max(initial=-1) + 1


def test_the_odds_fall_with_the_mahalanobis_distance() -> None:
    long = np.array([[[1.0, 0.0], [0.0, 0.01]]])
    here = Places(np.zeros((1, 2)), long)
    there = Places(np.array([[1.0, 0.0], [0.0, 1.0]]), np.repeat(long, 2, axis=0))
    along, across = pair_odds(here, there, 0.05)[0]
    assert along > 0 > across

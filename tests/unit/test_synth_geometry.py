"""The world's cameras and rasteriser against closed forms and brute force."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mctrack.synth.camera import Camera, look_at
from mctrack.synth.raster import rasterise

LENS = (-0.06, 0.01, 1e-3, -5e-4)
TILTED = look_at("c", np.array([1.0, -2.0, 2.7]), np.array([3.0, 3.0, 0.8]), (640, 360), 75, 15, LENS)


def test_plain_camera_projects_like_similar_triangles() -> None:
    camera = look_at("c", np.array([0.0, 0.0, 1.0]), np.array([5.0, 0.0, 1.0]), (640, 360), 90, 15)
    # Looking along +x with a focal length of 320 px: y to the left of the axis, z up.
    pixels, depth = camera.project(np.array([[4.0, 0.0, 1.0], [4.0, 1.0, 1.0], [2.0, 0.0, 0.5], [8.0, -2.0, 2.0]]))
    np.testing.assert_allclose(pixels, [[320, 180], [240, 180], [320, 260], [400, 140]], atol=1e-9)
    np.testing.assert_allclose(depth, [4, 4, 2, 8])


def test_projection_with_distortion_equals_opencv(rng: np.random.Generator) -> None:
    world = np.array([2.0, 2.0, 1.0]) + rng.uniform(-1, 1, (200, 3))
    rvec, _ = cv2.Rodrigues(TILTED.R)
    expected, _ = cv2.projectPoints(world, rvec, TILTED.t, TILTED.K, TILTED.dist)
    pixels, _ = TILTED.project(world)
    np.testing.assert_allclose(pixels, expected.reshape(-1, 2), atol=1e-6)


def test_rays_undo_projection(rng: np.random.Generator) -> None:
    pixels = rng.uniform([0, 0], [640, 360], (300, 2))
    world = TILTED.position + TILTED.rays(pixels) * rng.uniform(1, 9, (300, 1))
    back, depth = TILTED.project(world)
    np.testing.assert_allclose(back, pixels, atol=1e-6)
    assert (depth > 0).all()


def test_ground_homography_maps_undistorted_pixels_to_the_floor() -> None:
    ideal = Camera("c", TILTED.size, 15, TILTED.K, np.zeros(5), TILTED.R, TILTED.t)
    floor = np.array([[2.0, 2.0], [3.5, 1.0], [1.0, 4.0]])
    pixels, _ = ideal.project(np.column_stack([floor, np.zeros(3)]))
    mapped = np.column_stack([pixels, np.ones(3)]) @ TILTED.ground_homography().T
    np.testing.assert_allclose(mapped[:, :2] / mapped[:, 2:], floor, atol=1e-9)


def test_strong_distortion_does_not_fold_far_points_back() -> None:
    camera = look_at("c", np.zeros(3), np.array([1.0, 0.0, 0.0]), (640, 360), 60, 15, (-0.3,))
    wide = np.stack([np.ones(50), -np.linspace(0, 30, 50), np.zeros(50)], axis=1)
    column = camera.project(wide)[0][:, 0]
    assert (np.diff(column) > 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_rasteriser_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height, count = 23, 17, 12
    xy = rng.uniform([-6, -6], [width + 6, height + 6], (3 * count, 2))
    inverse = rng.uniform(0.1, 1.0, 3 * count)
    triangles = np.arange(3 * count).reshape(-1, 3)
    found = rasterise(xy, inverse, triangles, width, height)
    owner = np.full(width * height, -1)
    owner[found.sample] = found.triangle
    depth = np.zeros(width * height)
    depth[found.sample] = found.inverse_depth

    best, expected = np.zeros(width * height), np.full(width * height, -1)
    for index, corners in enumerate(triangles):
        matrix = np.vstack([xy[corners].T, np.ones(3)])
        if np.linalg.det(matrix) >= 0:
            continue  # turned away
        for sample in range(width * height):
            point = np.array([sample % width + 0.5, sample // width + 0.5, 1])
            weights = np.linalg.solve(matrix, point)
            if (weights >= 0).all() and weights @ inverse[corners] > best[sample]:
                best[sample], expected[sample] = weights @ inverse[corners], index
    np.testing.assert_array_equal(owner, expected)
    np.testing.assert_allclose(depth, best, atol=1e-9)
    assert len(np.unique(found.sample)) == len(found.sample)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)


def test_weights_are_perspective_correct() -> None:
    """Half-way on the screen between corners at 1 m and 3 m lies a quarter of the way in space."""
    xy = np.array([[0.5, 0.5], [0.5, 20.5], [20.5, 0.5]])
    found = rasterise(xy, np.array([1.0, 1.0, 1 / 3]), np.array([[0, 1, 2]]), 21, 21)
    weights = found.weights[found.sample == 10][0]
    np.testing.assert_allclose(weights, [0.75, 0.0, 0.25], atol=1e-12)


def test_nothing_to_draw() -> None:
    assert len(rasterise(np.zeros((3, 2)), np.ones(3), np.array([[0, 1, 2]]), 8, 8).sample) == 0
    behind = np.array([[100.0, 100], [100, 120], [120, 100]])
    assert len(rasterise(behind, np.ones(3), np.array([[0, 1, 2]]), 8, 8).sample) == 0

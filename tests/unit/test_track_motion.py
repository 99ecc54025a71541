"""The batched Kalman filter against filterpy, against a textbook loop on full matrices, and against values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

from mctrack.track.filterpy_model import FilterpyMotion
from mctrack.track.kalman import Array, KalmanMotion, MotionNoise, transition, warp

NOISE = MotionNoise()


class TextbookMotion:
    """One track at a time with 8 × 8 matrices, discretised numerically (Van Loan 1978) instead of in closed form."""

    def __init__(self, noise: MotionNoise) -> None:
        self.noise = noise

    def predict(self, mean: Array, cov: Array, dt_s: float) -> tuple[Array, Array]:
        n, height = self.noise, max(mean[3], 1.0)
        drift = np.zeros((8, 8))
        drift[:4, 4:] = np.eye(4)
        drift[4:, 4:] = -np.diag([1 / n.tau_s, 1 / n.tau_s, 1 / n.tau_size_s, 1 / n.tau_size_s])
        accel = np.array([n.accel, n.accel, n.size_accel, n.size_accel]) * height
        walk = np.array([n.position, n.position, n.size, n.size]) * height
        density = np.diag(np.concatenate([np.zeros(4), accel**2]))
        block = np.zeros((16, 16))
        block[:8, :8], block[:8, 8:], block[8:, 8:] = -drift, density, drift.T
        exponential = expm(block * dt_s)
        f = exponential[8:, 8:].T
        q = f @ exponential[:8, 8:] + np.diag(np.concatenate([walk**2 * dt_s, np.zeros(4)]))
        mean = f @ mean
        mean[2:4] = np.maximum(mean[2:4], 1.0)
        return mean, f @ cov @ f.T + q

    def update(self, mean: Array, cov: Array, xcycwh: Array, score: float) -> tuple[Array, Array]:
        n = self.noise
        share = np.array([n.measure, n.measure, n.measure_size, n.measure_size])
        r = np.diag((share * max(mean[3], 1.0) * (1 + n.score_scale * (1 - score))) ** 2)
        h = np.eye(4, 8)
        gain = cov @ h.T @ np.linalg.inv(h @ cov @ h.T + r)
        return mean + gain @ (xcycwh - h @ mean), (np.eye(8) - gain @ h) @ cov


def full(blocks: Array) -> Array:
    """(n, 8, 8) of (n, 3, 4)."""
    out = np.zeros((len(blocks), 8, 8))
    for i, (pp, pv, vv) in enumerate(blocks):
        out[i] = np.block([[np.diag(pp), np.diag(pv)], [np.diag(pv), np.diag(vv)]])
    return out


def random_boxes(n: int, rng: np.random.Generator) -> Array:
    return np.concatenate([rng.uniform(-100, 1900, (n, 2)), rng.uniform(10, 300, (n, 2))], axis=1)


@pytest.mark.parametrize("noise", [NOISE, MotionNoise(tau_s=1.0, score_scale=3.0, position=0.0, accel=2.0)])
@pytest.mark.parametrize("seed", range(4))
def test_three_filters_agree(noise: MotionNoise, seed: int) -> None:
    """Twelve steps with one interval for all, one per track, very short and very long ones."""
    rng = np.random.default_rng(seed)
    n = 7
    batched, filterpy, textbook = KalmanMotion(noise), FilterpyMotion(noise), TextbookMotion(noise)
    box, score = random_boxes(n, rng), rng.random(n)
    mean, cov = batched.initiate(box, score)
    mean_f, cov_f = filterpy.initiate(box, score)
    mean_t, cov_t = mean.copy(), full(cov)
    np.testing.assert_array_equal(cov_t, cov_f)
    for step in range(12):
        dt = [rng.uniform(0.01, 0.2), rng.uniform(0.001, 3.0, n), 1e-6, np.full(n, 0.04)][step % 4]
        box, score = box + rng.normal(0, 5, (n, 4)), rng.random(n)
        mean, cov = batched.predict(mean, cov, dt)
        mean_f, cov_f = filterpy.predict(mean_f, cov_f, dt)
        variance = batched.innovation_variance(mean, cov, score)
        np.testing.assert_allclose(variance, filterpy.innovation_variance(mean_f, cov_f, score), rtol=1e-9)
        mean, cov = batched.update(mean, cov, box, score)
        mean_f, cov_f = filterpy.update(mean_f, cov_f, box, score)
        for i in range(n):
            mean_t[i], cov_t[i] = textbook.predict(mean_t[i], cov_t[i], float(np.broadcast_to(dt, n)[i]))
            mean_t[i], cov_t[i] = textbook.update(mean_t[i], cov_t[i], box[i], score[i])
        scale = float(np.abs(cov_t).max())
        np.testing.assert_allclose(mean, mean_f, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(mean, mean_t, rtol=1e-9, atol=1e-8)
        np.testing.assert_allclose(full(cov), cov_f, rtol=1e-9, atol=1e-9 * scale)
        np.testing.assert_allclose(full(cov), cov_t, rtol=1e-9, atol=1e-9 * scale)


def test_prediction_by_hand() -> None:
    """Without noise a velocity of 50 px/s that decays with 10 s carries 50 · 10 · (1 − e^−0.1) px in one second."""
    model = KalmanMotion(MotionNoise(position=0.0, accel=0.0, size=0.0, size_accel=0.0))
    mean = np.array([[100.0, 200.0, 40.0, 80.0, 50.0, 0.0, 0.0, 0.0]])
    cov = np.zeros((1, 3, 4))
    cov[0, 2] = 4.0
    out, new = model.predict(mean, cov, 1.0)
    reach = 10 * (1 - np.exp(-0.1))
    assert out[0, 0] == pytest.approx(100 + 50 * reach, abs=1e-12)
    assert out[0, 4] == pytest.approx(50 * np.exp(-0.1), abs=1e-12)
    assert new[0, 0, 0] == pytest.approx(4 * reach**2, rel=1e-12)
    assert new[0, 1, 0] == pytest.approx(4 * reach * np.exp(-0.1), rel=1e-12)


def test_update_by_hand() -> None:
    """Prior variance 9 px² and measurement variance 25 px² (5% of 100 px) weigh 9 : 25."""
    model = KalmanMotion()
    mean = np.array([[10.0, 0, 40, 100, 1, 0, 0, 0]])
    cov = np.zeros((1, 3, 4))
    cov[0, 0, 0], cov[0, 1, 0], cov[0, 2, 0] = 9, 3, 2
    out, new = model.update(mean, cov, np.array([[44.0, 0, 40, 100]]), np.ones(1))
    assert out[0, 0] == pytest.approx(10 + 34 * 9 / 34)
    assert out[0, 4] == pytest.approx(1 + 34 * 3 / 34)
    assert new[0, :, 0] == pytest.approx([9 * 25 / 34, 3 * 25 / 34, 2 - 9 / 34])


def test_low_scores_move_a_track_less() -> None:
    model = KalmanMotion()
    mean, cov = model.initiate(np.tile([100.0, 100, 40, 100], (2, 1)), np.ones(2))
    mean, cov = model.predict(mean, cov, 0.1)
    out, _ = model.update(mean, cov, np.tile([120.0, 100, 40, 100], (2, 1)), np.array([1.0, 0.2]))
    assert 100 < out[1, 0] < out[0, 0] < 120


def test_sizes_stay_positive() -> None:
    """A box that shrinks quickly is never predicted smaller than a pixel, whatever the interval."""
    mean, cov = np.array([[0.0, 0, 5, 5, 0, 0, -100, -100]]), np.ones((1, 3, 4))
    for model in (KalmanMotion(), FilterpyMotion()):
        out, _ = model.predict(mean, cov if isinstance(model, KalmanMotion) else full(cov), 5.0)
        assert (out[:, 2:4] == 1).all()


@pytest.mark.parametrize("model", [KalmanMotion(), FilterpyMotion()])
def test_no_tracks(model: KalmanMotion | FilterpyMotion) -> None:
    mean, cov = model.empty()
    for dt in (0.1, np.zeros(0)):
        mean, cov = model.predict(mean, cov, dt)
        mean, cov = model.update(mean, cov, np.zeros((0, 4)), np.zeros(0))
    assert mean.shape == (0, 8)
    assert cov.shape == model.empty()[1].shape
    assert model.innovation_variance(mean, cov, 1.0).shape == (0, 4)
    assert len(model.initiate(np.zeros((0, 4)), np.zeros(0))[0]) == 0


@pytest.mark.parametrize("model", [KalmanMotion(), FilterpyMotion()])
def test_inputs_are_left_alone(model: KalmanMotion | FilterpyMotion, rng: np.random.Generator) -> None:
    mean, cov = model.initiate(random_boxes(3, rng), np.ones(3))
    before = mean.copy(), cov.copy()
    model.predict(mean, cov, 0.1)
    model.predict(mean, cov, np.array([0.1, 0.2, 0.1]))
    model.update(mean, cov, random_boxes(3, rng), np.ones(3))
    np.testing.assert_array_equal(mean, before[0])
    np.testing.assert_array_equal(cov, before[1])


def test_transition_for_short_and_long_times() -> None:
    """No decay within a moment (dt³/3, dt²/2, dt per unit of noise); the stationary values after very long."""
    tau = np.array([10.0, 10.0, 0.5, 0.5])
    reach, keep, noise = transition(1e-3, tau)
    np.testing.assert_allclose(reach, 1e-3, rtol=2e-3)
    np.testing.assert_allclose(keep, 1, rtol=3e-3)
    np.testing.assert_allclose(noise[1:], [[0.5e-6] * 4, [1e-3] * 4], rtol=5e-3)
    assert (noise[0] >= 0).all()
    reach, keep, noise = transition(1e4, tau)
    np.testing.assert_allclose(reach, tau)
    np.testing.assert_allclose(noise[1:], [tau**2 / 2, tau / 2], rtol=1e-9)
    assert (keep < 1e-300).all()


def test_warp_moves_turns_and_scales() -> None:
    """A quarter turn to the left at double size, then a shift: (x, y) → (−2y + 5, 2x − 3)."""
    affine = np.array([[0.0, -2, 5], [2, 0, -3]])
    mean = np.array([[10.0, 20, 4, 8, 1, 2, 3, 4]])
    cov = np.arange(12.0).reshape(1, 3, 4)
    out, new = warp(mean, cov, affine)
    np.testing.assert_allclose(out, [[-35, 17, 8, 16, -4, 2, 6, 8]])
    np.testing.assert_allclose(new, 4 * cov)


def test_warp_by_nothing_changes_nothing(rng: np.random.Generator) -> None:
    mean, cov = rng.normal(size=(5, 8)), rng.random((5, 3, 4))
    out, new = warp(mean, cov, np.eye(2, 3))
    np.testing.assert_allclose(out, mean)
    np.testing.assert_allclose(new, cov)
    assert warp(np.zeros((0, 8)), np.zeros((0, 3, 4)), np.eye(2, 3))[0].shape == (0, 8)


def test_warp_there_and_back(rng: np.random.Generator) -> None:
    angle, scale = 0.3, 1.7
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    there = np.c_[turn, [40.0, -7.0]]
    back = np.c_[np.linalg.inv(turn), -np.linalg.inv(turn) @ [40.0, -7.0]]
    mean, cov = rng.normal(size=(5, 8)), rng.random((5, 3, 4))
    out, new = warp(*warp(mean, cov, there), back)
    np.testing.assert_allclose(out, mean, atol=1e-12)
    np.testing.assert_allclose(new, cov, atol=1e-12)

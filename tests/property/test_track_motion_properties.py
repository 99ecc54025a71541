"""Properties of the motion model that hold for every time step, track and measurement."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from mctrack.track.kalman import Array, KalmanMotion, MotionNoise, transition

seconds = st.floats(1e-5, 20.0)
shares = st.floats(0.001, 3.0)
noises = st.builds(
    MotionNoise,
    position=shares, accel=shares, size=shares, size_accel=shares, measure=shares, measure_size=shares,
    score_scale=st.floats(0, 3), tau_s=st.floats(0.05, 50), tau_size_s=st.floats(0.05, 50), speed=shares,
)  # fmt: skip


def some_tracks(seed: int, model: KalmanMotion, n: int = 4) -> tuple[Array, Array]:
    """Tracks with velocities and correlated positions that a filter may really hold."""
    rng = np.random.default_rng(seed)
    box = np.concatenate([rng.uniform(-500, 2000, (n, 2)), rng.uniform(2, 400, (n, 2))], axis=1)
    mean, cov = model.initiate(box, rng.random(n))
    mean[:, 4:6] = rng.normal(0, 100, (n, 2))
    return model.predict(mean, cov, 0.2)


@given(a=seconds, b=seconds, tau=st.floats(0.05, 50))
def test_two_steps_are_one(a: float, b: float, tau: float) -> None:
    """The closed form, in its own terms: Q(a + b) = F(b) Q(a) F(b)' + Q(b)."""
    taus = np.full(4, tau)
    (reach_a, keep_a, qa), (reach_b, keep_b, qb), (reach, keep, q) = (transition(t, taus) for t in (a, b, a + b))
    np.testing.assert_allclose(keep, keep_a * keep_b, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(reach, reach_a + keep_a * reach_b, rtol=1e-9)
    np.testing.assert_allclose(q[2], qb[2] + keep_b**2 * qa[2], rtol=1e-9)
    np.testing.assert_allclose(q[1], qb[1] + keep_b * (qa[1] + reach_b * qa[2]), rtol=1e-9)
    # cancels for short times: exact to the size of its terms
    size = 1e-13 * tau**2 * (a + b + tau)
    np.testing.assert_allclose(q[0], qb[0] + qa[0] + reach_b * (2 * qa[1] + reach_b * qa[2]), rtol=1e-9, atol=size)


@given(noise=noises, a=seconds, b=seconds, seed=st.integers(0, 2**32 - 1))
def test_predicting_twice_is_predicting_once(noise: MotionNoise, a: float, b: float, seed: int) -> None:
    """Mean and covariance by a and then b seconds are those by a + b seconds, as long as the height stays."""
    model = KalmanMotion(noise)
    mean, cov = some_tracks(seed, model)
    mean[:, 6:] = 0
    twice, cov_twice = model.predict(*model.predict(mean, cov, a), b)
    once, cov_once = model.predict(mean, cov, a + b)
    np.testing.assert_allclose(twice, once, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(cov_twice, cov_once, rtol=1e-7, atol=1e-9 * np.abs(cov_once).max())


@example(  # a prior 10⁸ times the measurement's variance: a subtraction cancelled here
    noise=MotionNoise(1.0, 1.0, 1.0, 2.0, 1.0, 0.001, 0.0, 1.0, 3.0, 1.0), dt=6.0, seed=0, score=0.0
)
@given(noise=noises, dt=seconds, seed=st.integers(0, 2**32 - 1), score=st.floats(0, 1))
def test_covariances_stay_covariances(noise: MotionNoise, dt: float, seed: int, score: float) -> None:
    """Every 2 × 2 block stays positive semidefinite; a measurement never makes the position less certain."""
    model = KalmanMotion(noise)
    mean, cov = model.predict(*some_tracks(seed, model), dt)
    _, after = model.update(mean, cov, mean[:, :4] + 3, np.full(len(mean), score))
    for c in (cov, after):
        assert (c[:, 0] >= 0).all()
        assert (c[:, 2] >= 0).all()
        assert (c[:, 0] * c[:, 2] - c[:, 1] ** 2 >= -1e-9 * c[:, 0] * c[:, 2]).all()
    assert (after[:, 0] <= cov[:, 0]).all()
    assert (after[:, 0] <= model.measurement_variance(np.maximum(mean[:, 3], 1.0), score) * (1 + 1e-9)).all()


@given(seed=st.integers(0, 2**32 - 1), x=st.integers(-4000, 4000), y=st.integers(-4000, 4000), dt=st.floats(0.01, 2))
def test_moving_the_picture_moves_the_tracks(seed: int, x: int, y: int, dt: float) -> None:
    model = KalmanMotion()
    mean, cov = some_tracks(seed, model)
    shift = np.array([x, y, 0, 0, 0, 0, 0, 0], float)
    there, cov_there = model.predict(mean + shift, cov, dt)
    here, cov_here = model.predict(mean, cov, dt)
    np.testing.assert_allclose(there, here + shift, atol=1e-8)
    np.testing.assert_array_equal(cov_there, cov_here)


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.1, 10), dt=st.floats(0.01, 2))
def test_a_larger_picture_is_the_same_picture(seed: int, scale: float, dt: float) -> None:
    """All noise is in shares of the height: twice the pixels give twice the mean and four times the variance."""
    model = KalmanMotion()
    mean, cov = some_tracks(seed, model)
    mean[:, 2:4] = np.maximum(mean[:, 2:4], 30)
    large, cov_large = model.predict(mean * scale, cov * scale**2, dt)
    small, cov_small = model.predict(mean, cov, dt)
    np.testing.assert_allclose(large, small * scale, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(cov_large, cov_small * scale**2, rtol=1e-9)


@given(seed=st.integers(0, 2**32 - 1), slow=st.floats(0.1, 10), dt=st.floats(0.01, 2))
def test_slower_time_with_slower_noise_is_the_same(seed: int, slow: float, dt: float) -> None:
    """Time stretched by k, velocities by 1/k, walks by 1/√k, acceleration noise by k^−1.5: the same positions."""
    noise = MotionNoise()
    slowed = MotionNoise(
        position=noise.position / slow**0.5, accel=noise.accel / slow**1.5,
        size=noise.size / slow**0.5, size_accel=noise.size_accel / slow**1.5,
        tau_s=noise.tau_s * slow, tau_size_s=noise.tau_size_s * slow,
    )  # fmt: skip
    mean, cov = some_tracks(seed, KalmanMotion(noise))
    slow_mean = mean / np.repeat([1, slow], 4)
    slow_cov = cov / np.array([1, slow, slow**2])[:, None]
    fast, cov_fast = KalmanMotion(noise).predict(mean, cov, dt)
    out, cov_out = KalmanMotion(slowed).predict(slow_mean, slow_cov, dt * slow)
    np.testing.assert_allclose(out[:, :4], fast[:, :4], rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(cov_out[:, 0], cov_fast[:, 0], rtol=1e-8)
    np.testing.assert_allclose(cov_out[:, 2] * slow**2, cov_fast[:, 2], rtol=1e-8)


@given(seed=st.integers(0, 2**32 - 1), times=st.lists(st.floats(0.01, 2), min_size=4, max_size=4))
def test_tracks_do_not_know_each_other(seed: int, times: list[float]) -> None:
    """One call for all tracks, each with its own interval, is a call for each."""
    model = KalmanMotion()
    mean, cov = some_tracks(seed, model)
    together, cov_together = model.predict(mean, cov, np.array(times))
    for i, dt in enumerate(times):
        alone, cov_alone = model.predict(mean[i : i + 1], cov[i : i + 1], dt)
        np.testing.assert_allclose(together[i], alone[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(cov_together[i], cov_alone[0], rtol=1e-12, atol=1e-12)

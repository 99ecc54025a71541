"""From distance to probability."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reid_models import Calibration, ReidError
from reid_models.calibration import monotone


def example(rng, n=4000):
    return rng.normal(0.3, 0.08, n).clip(0, 2), rng.normal(0.6, 0.08, n).clip(0, 2)


def test_probability_is_that_of_the_two_distributions(rng):
    calibration = Calibration.fit(*example(rng, 40000), "two normal distributions")
    distance = np.array([0.35, 0.4, 0.45, 0.5, 0.55])
    odds = (0.45 - distance) * 0.3 / 0.08**2  # log-odds of two normal distributions of equal spread
    np.testing.assert_allclose(calibration.probability(distance), 1 / (1 + np.exp(-odds)), atol=0.06)


def test_probability_falls_and_keeps_shapes(rng):
    calibration = Calibration.fit(*example(rng), "test")
    p = calibration.probability(np.linspace(0, 2, 400).reshape(20, 20))
    assert p.shape == (20, 20)
    assert (np.diff(p.ravel()) <= 0).all()
    assert p.max() < 1
    assert p.min() > 0
    assert calibration.probability(0.3).shape == ()
    assert np.isnan(calibration.probability(np.nan))


def test_the_prior_moves_the_probability(rng):
    calibration = Calibration.fit(*example(rng), "test")
    even = float(calibration.probability(0.45))
    rare = float(calibration.probability(0.45, prior=0.01))
    assert rare == pytest.approx(even / (even + (1 - even) * 99))


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05, 0.5])
def test_threshold_keeps_the_false_link_rate_on_new_pairs(rng, rate):
    calibration = Calibration.fit(*example(rng, 200000), "test")
    threshold = calibration.threshold(rate)
    _, different = example(np.random.default_rng(9), 200000)
    assert (different <= threshold).mean() == pytest.approx(rate, rel=0.25)
    assert calibration.false_link_rate(threshold) == pytest.approx(rate, rel=1e-6)


def test_thresholds_at_the_ends(rng):
    same, different = example(rng)
    calibration = Calibration.fit(same, different, "test")
    assert calibration.threshold(0) <= different.min() + 1e-3
    assert calibration.threshold(1) == 2
    assert calibration.true_link_rate(2) == 1
    with pytest.raises(ReidError, match="0 to 1"):
        calibration.threshold(1.5)


def test_weights_count_like_repetition(rng):
    same, different = example(rng)
    first = np.arange(len(same)) < 1000
    repeated = Calibration.fit(np.concatenate([same, np.repeat(same[first], 4)]), different, "test")
    weighted = Calibration.fit(same, different, "test", same_weight=np.where(first, 5, 1))
    at = np.linspace(0, 1, 50)
    np.testing.assert_allclose(repeated.probability(at), weighted.probability(at), atol=0.05)
    assert repeated.true_link_rate(0.3) == pytest.approx(weighted.true_link_rate(0.3), abs=1e-6)


def test_few_pairs_do_not_make_certain(rng):
    calibration = Calibration.fit(rng.uniform(0.1, 0.2, 20), rng.uniform(0.7, 0.8, 20), "test")
    assert 0.6 < calibration.probability(0.0) < 0.995
    assert 0.005 < calibration.probability(1.0) < 0.4


def test_json_and_back(rng, tmp_path):
    calibration = Calibration.fit(*example(rng), "a source", prior=0.2, generic=True)
    path = tmp_path / "c.json"
    path.write_text(json.dumps(calibration.to_dict()))
    again = Calibration.load(path)
    at = np.linspace(0, 2, 200)
    np.testing.assert_allclose(again.probability(at), calibration.probability(at), atol=1e-5)
    assert again.threshold(0.01) == pytest.approx(calibration.threshold(0.01), abs=1e-4)
    assert (again.source, again.prior, again.generic) == ("a source", 0.2, True)


@pytest.mark.parametrize(("content", "message"), [
    ("{", "not valid JSON"), ("[]", "not a calibration"), ('{"format": "other"}', "not a calibration"),
    ('{"format": "reid-calibration-1"}', "missing"),
])
def test_a_bad_file_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(ReidError, match=message) as error:
        Calibration.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [
    {"distance": [0, 0, 2]}, {"evidence": [0, 1, 2]}, {"prior": 0}, {"same_below": [0, 1]},
    {"evidence": [1, float("nan"), 0]}, {"different_below": ["x", 0, 1]},
])
def test_inconsistent_curves_are_refused(change):
    good = {"format": "reid-calibration-1", "source": "x", "prior": 0.5, "distance": [0, 1, 2], "evidence": [2, 0, -2],
            "same_below": [0, 0.9, 1], "different_below": [0, 0.1, 1]}
    Calibration.from_dict(good)
    with pytest.raises(ReidError):
        Calibration.from_dict(good | change)


def test_missing_file_and_too_few_pairs(tmp_path):
    with pytest.raises(ReidError, match="cannot be read"):
        Calibration.load(tmp_path / "none.json")
    with pytest.raises(ReidError, match="at least 20"):
        Calibration.fit([0.1] * 5, [0.5] * 50, "test")
    with pytest.raises(ReidError, match="finite"):
        Calibration.fit([0.1] * 50, [np.nan] * 50, "test")


def test_distances_that_tell_nothing_and_two_values_that_tell_all():
    with pytest.raises(ReidError, match="all distances are 1"):
        Calibration.fit([1.0] * 30, [1.0] * 30, "collapsed")
    clear = Calibration.fit([0.0] * 30, [1.0] * 30, "test")
    assert clear.probability(np.array([0.0]))[0] > 0.9
    assert clear.probability(np.array([1.0]))[0] < 0.1


def test_monotone_is_the_least_squares_answer(rng):
    values, weight = rng.normal(size=8), rng.uniform(0.5, 2, 8)
    best = monotone(values, weight)
    assert (np.diff(best) <= 1e-12).all()

    def cost(x):
        return (weight * (x - values) ** 2).sum()

    for _ in range(2000):  # no other never-increasing sequence is nearer
        other = np.sort(best + rng.normal(0, 0.3, 8))[::-1]
        assert cost(other) >= cost(best) - 1e-9


@pytest.mark.parametrize("name", ["histogram", "generic"])
def test_shipped_calibrations(name):
    calibration = Calibration.shipped(name)
    assert calibration.generic == (name == "generic")
    assert calibration.source
    assert calibration.probability(0.05) > 0.9
    assert calibration.probability(0.8) < 0.1
    assert 0 < calibration.threshold(0.001) < calibration.threshold(0.01) < calibration.threshold(0.1) < 1

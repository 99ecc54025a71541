"""Consensus of camera motion, re-update after gaps, and the gates of re-birth, each on its own."""

from __future__ import annotations

import numpy as np
import pytest

from mctrack.config import TrackConfig
from mctrack.track.consensus import MIN_TRACKS, consensus_shift
from mctrack.track.cost import Pairs
from mctrack.track.filterpy_model import FilterpyMotion
from mctrack.track.kalman import KalmanMotion
from mctrack.track.rebirth import Rebirth, generic_probability
from mctrack.track.reupdate import MAX_STEPS, reupdate
from mctrack.track.table import TrackTable

# ---------------------------------------------------------------- consensus


def test_a_moving_camera_is_found(rng: np.random.Generator) -> None:
    residual = np.array([14.0, -6.0]) + rng.normal(0, 1, (20, 2))
    shift = consensus_shift(residual, np.full(20, 100.0))
    assert shift is not None
    np.testing.assert_allclose(shift, np.median(residual, axis=0))


def test_one_running_person_does_not_move_the_camera(rng: np.random.Generator) -> None:
    residual = rng.normal(0, 0.5, (12, 2))
    residual[0] = [80, 0]
    assert consensus_shift(residual, np.full(12, 100.0)) is None
    moved = consensus_shift(residual + np.array([10, 0]), np.full(12, 100.0))
    assert moved is not None
    np.testing.assert_allclose(moved, [10, 0], atol=0.6)


@pytest.mark.parametrize("k", range(MIN_TRACKS))
def test_too_few_tracks_agree_on_nothing(k: int) -> None:
    assert consensus_shift(np.full((k, 2), 30.0), np.full(k, 100.0)) is None
    assert consensus_shift(np.full((MIN_TRACKS, 2), 30.0), np.full(MIN_TRACKS, 100.0)) is not None


def test_a_shift_must_exceed_3_per_cent_of_a_height() -> None:
    """Sum of |x| and |y| against 0.03 · 100 px."""
    assert consensus_shift(np.tile([1.4, 1.5], (9, 1)), np.full(9, 100.0)) is None
    assert consensus_shift(np.tile([1.6, 1.5], (9, 1)), np.full(9, 100.0)) is not None


def test_independent_walkers_seldom_add_up_to_a_camera() -> None:
    """Ways of their own: two standard errors of the median leave a few per cent of false alarms per axis."""
    rng = np.random.default_rng(5)
    alarms = [consensus_shift(rng.normal(0, 8, (15, 2)), np.full(15, 100.0)) is not None for _ in range(400)]
    assert np.mean(alarms) < 0.2
    found = [consensus_shift(rng.normal([25, 0], 8, (15, 2)), np.full(15, 100.0)) is not None for _ in range(400)]
    assert np.mean(found) > 0.99


@pytest.mark.parametrize("k", [4, 5, 8, 9])
def test_consensus_is_the_median_of_numpy(k: int, rng: np.random.Generator) -> None:
    """Odd and even numbers of tracks, against the formula written with np.median."""
    for _ in range(50):
        residual, height = rng.normal([6, 3], 6, (k, 2)), rng.uniform(50, 150, k)
        median = np.median(residual, axis=0)
        spread = np.median(np.abs(residual - median).sum(axis=1))
        size = np.abs(median).sum()
        expected = size >= 0.03 * np.median(height) and size >= 2 * 1.5 * spread / np.sqrt(k)
        shift = consensus_shift(residual, height)
        assert (shift is not None) == expected
        if shift is not None:
            np.testing.assert_allclose(shift, median)


# ---------------------------------------------------------------- re-update


def lost_tracks(motion: KalmanMotion | FilterpyMotion, box: np.ndarray, seen_s: np.ndarray) -> TrackTable:
    """Tracks standing still, last seen at ``box``; their prediction has drifted off since."""
    n = len(box)
    mean, cov = motion.initiate(box, np.ones(n))
    drift = mean + np.concatenate([np.full((n, 4), 30.0), np.zeros((n, 4))], axis=1)
    return TrackTable(
        np.arange(n) + 1, np.full(n, 2), np.full(n, 9), drift, cov.copy(), mean, cov, box, np.ones(n),
        np.zeros(n), seen_s, np.full(n, -1), np.zeros((n, 0), np.float32), np.zeros(n), seen_s.copy(),
    )  # fmt: skip


@pytest.mark.parametrize("motion", [KalmanMotion(), FilterpyMotion()])
def test_the_straight_line_gives_the_velocity(motion: KalmanMotion | FilterpyMotion) -> None:
    """60 px to the right and 30 px up in half a second: nearly 120 and −60 px/s, whatever the drift was."""
    box = np.array([[100.0, 200, 40, 100]])
    found = box + np.array([60.0, -30, 0, 0])
    mean, cov = reupdate(motion, lost_tracks(motion, box, np.array([1.0])), found, 1.5, 0.1)
    mean, cov = motion.update(mean, cov, found, np.ones(1))
    assert mean[0, 4] == pytest.approx(120, rel=0.15)
    assert mean[0, 5] == pytest.approx(-60, rel=0.15)
    assert mean[0, :4] == pytest.approx(found[0], abs=5)


def test_without_a_gap_only_the_prediction_is_left() -> None:
    """One frame ago: no virtual detection fits in between."""
    motion = KalmanMotion()
    tracks = lost_tracks(motion, np.array([[100.0, 200, 40, 100]]), np.array([1.4]))
    mean, cov = reupdate(motion, tracks, np.array([[300.0, 0, 40, 100]]), 1.5, 0.1)
    expected = motion.predict(tracks.mean_seen, tracks.cov_seen, 0.1)
    np.testing.assert_allclose(mean, expected[0], atol=1e-9)
    np.testing.assert_allclose(cov, expected[1], rtol=1e-9)


@pytest.mark.parametrize("missed", [1, 3, 7, 30])
def test_walking_the_line_by_hand(missed: int) -> None:
    """The same by single calls: a virtual detection per frame, but no more than MAX_STEPS − 1."""
    motion, box = KalmanMotion(), np.array([[100.0, 200, 40, 100]])
    found = np.array([[180.0, 170, 44, 110]])
    tracks = lost_tracks(motion, box, np.array([0.0]))
    gap = 0.1 * (missed + 1)
    steps = min(missed + 1, MAX_STEPS)
    mean, cov = tracks.mean_seen, tracks.cov_seen
    for i in range(1, steps + 1):
        mean, cov = motion.predict(mean, cov, gap / steps)
        if i < steps:
            mean, cov = motion.update(mean, cov, box + (found - box) * i / steps, np.array([0.5]))
    out, out_cov = reupdate(motion, tracks, found, gap, 0.1)
    np.testing.assert_allclose(out, mean, atol=1e-6)
    np.testing.assert_allclose(out_cov, cov, rtol=1e-6)


def test_tracks_are_walked_independently(rng: np.random.Generator) -> None:
    """Gaps of different lengths in one call give what a call for each gives."""
    motion = KalmanMotion()
    box = np.concatenate([rng.uniform(0, 500, (5, 2)), rng.uniform(30, 90, (5, 2))], axis=1)
    seen_s = np.array([0.9, 0.2, 0.9, 0.7, -3.0])
    tracks, found = lost_tracks(motion, box, seen_s), box + rng.normal(0, 20, (5, 4))
    before = tracks.dump()
    mean, cov = reupdate(motion, tracks, found, 1.0, 0.05)
    for i in range(5):
        alone, cov_alone = reupdate(motion, tracks.take(np.array([i])), found[i : i + 1], 1.0, 0.05)
        np.testing.assert_allclose(mean[i], alone[0], atol=1e-9)
        np.testing.assert_allclose(cov[i], cov_alone[0], atol=1e-9)
    for name, value in tracks.dump().items():
        np.testing.assert_array_equal(value, before[name])


# ---------------------------------------------------------------- re-birth


def unit(*rows: tuple[float, float]) -> np.ndarray:
    """(n, 2) unit rows; (0, 0) stays."""
    array = np.array(rows, float)
    return (array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def turned(distance: float) -> tuple[float, float]:
    """A look at this cosine distance from (1, 0)."""
    return 1 - distance, float(np.sqrt(1 - (1 - distance) ** 2))


def dormant(looks: np.ndarray, centres: list[tuple[float, float]], seen_s: float = 0.0) -> TrackTable:
    box = np.array([[x, y, 40, 100] for x, y in centres], float)
    table = lost_tracks(KalmanMotion(), box, np.full(len(box), seen_s))
    table.embedding, table.weight = looks, np.ones(len(box))
    return table


def wake(
    looks: np.ndarray, seen: np.ndarray, way_px: float = 10, height_px: float = 100, time_s: float = 4.0
) -> list[list[int]]:
    """Pairs for people who left at (500, 300), all with height 100, and detections ``way_px`` to the right of there."""
    table = dormant(looks, [(500.0, 300.0)] * len(looks))
    box = np.array([[500 + way_px, 300, 40, height_px]] * len(seen), float)
    match = Rebirth(TrackConfig()).match(table, seen, box, np.arange(len(seen)), time_s)
    return [[int(v) for v in pair] for pair in match.pairs]


ONE = unit((1, 0))


def test_the_same_look_nearby_comes_back() -> None:
    assert wake(ONE, ONE) == [[0, 0]]


def test_gate_way_walked() -> None:
    """After 4 s at 1.5 heights per second, plus one height: 700 px and no further."""
    assert wake(ONE, ONE, way_px=699) == [[0, 0]]
    assert wake(ONE, ONE, way_px=701) == []
    assert wake(ONE, ONE, way_px=701, time_s=4.1) == [[0, 0]]


def test_gate_size() -> None:
    """Logarithm of the ratio of heights: 0.25 + 0.15 per second, at most 1."""
    assert wake(ONE, ONE, height_px=100 * np.exp(0.84)) == [[0, 0]]
    assert wake(ONE, ONE, height_px=100 * np.exp(-0.86)) == []
    assert wake(ONE, ONE, height_px=100 * np.exp(1.01), time_s=25.0) == []
    assert wake(ONE, ONE, height_px=100 * np.exp(0.99), time_s=25.0) == [[0, 0]]


def test_gate_likeness() -> None:
    """The generic calibration reaches 0.7 at a distance of 0.25 − 0.05 · ln(0.7/0.3) = 0.2076."""
    assert wake(ONE, unit(turned(0.205))) == [[0, 0]]
    assert wake(ONE, unit(turned(0.210))) == []


def test_gate_rival_detection() -> None:
    """Two people look like the one who left: neither is taken unless one is nearer by the margin."""
    assert wake(ONE, unit(turned(0.10), turned(0.14))) == []
    assert wake(ONE, unit(turned(0.10), turned(0.16))) == [[0, 0]]
    assert wake(ONE, unit(turned(0.16), turned(0.10))) == [[0, 1]]


def test_gate_rival_track() -> None:
    """Two people who left look like the one who comes."""
    assert wake(unit(turned(0.10), turned(0.14)), ONE) == []
    assert wake(unit(turned(0.10), turned(0.16)), ONE) == [[0, 0]]


def test_without_a_margin_only_mutual_favourites_come_back() -> None:
    """Both tracks look most like detection 0, and it like track 0: neither is left to take detection 1 instead."""
    rebirth = Rebirth(TrackConfig(rebirth_margin=0.0))
    pairs = Pairs(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.zeros(4))
    clear = rebirth._clear(pairs, np.array([0.10, 0.20, 0.15, 0.30]), (2, 2))
    assert clear.tolist() == [True, False, False, False]


def test_a_rival_that_cannot_have_walked_here_is_none() -> None:
    table = dormant(unit((1, 0), (1, 0)), [(500.0, 300.0), (5000.0, 300.0)])
    box = np.array([[510.0, 300, 40, 100]])
    match = Rebirth(TrackConfig()).match(table, ONE, box, np.array([0]), 4.0)
    assert match.pairs.tolist() == [[0, 0]]
    assert match.unmatched_rows.tolist() == [1]


def test_unknown_looks_never_come_back() -> None:
    """Rows of zeros mean that nothing was seen, on either side."""
    assert wake(unit((0, 0)), ONE) == []
    assert wake(ONE, unit((0, 0))) == []
    assert wake(unit((0, 0), (1, 0)), unit((1, 0), (0, 0))) == [[1, 0]]


def test_several_at_once() -> None:
    assert wake(unit((1, 0), (0, 1)), unit((0, 1), (1, 0))) == [[0, 1], [1, 0]]


def test_columns_are_positions_among_the_free() -> None:
    table = dormant(ONE, [(500.0, 300.0)])
    box, looks = np.tile([510.0, 300, 40, 100], (3, 1)), unit((0, 1), (1, 0), (1, 0))
    match = Rebirth(TrackConfig()).match(table, looks, box, np.array([0, 2]), 4.0)
    assert match.pairs.tolist() == [[0, 1]]
    assert match.unmatched_cols.tolist() == [0]


def test_calibration_decides() -> None:
    """A stricter embedder's calibration closes what the generic one opens."""
    table, box = dormant(ONE, [(500.0, 300.0)]), np.array([[510.0, 300, 40, 100]])
    strict = Rebirth(TrackConfig(), lambda distance: np.where(distance < 0.01, 0.9, 0.1))
    assert len(strict.match(table, unit(turned(0.05)), box, np.array([0]), 4.0).pairs) == 0
    assert len(strict.match(table, unit(turned(0.005)), box, np.array([0]), 4.0).pairs) == 1


def test_generic_probability_falls_with_distance() -> None:
    values = generic_probability(np.linspace(0, 2, 50))
    assert (np.diff(values) < 0).all()
    assert values[0] > 0.99
    assert values[-1] < 1e-9
    assert generic_probability(np.array(0.25)) == pytest.approx(0.5)

"""Timestamps to times."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from mctrack.video.clock import FileClock, LiveClock


def times(stamps: list[float | None], fps: float = 25) -> tuple[list[float], FileClock]:
    clock = FileClock(1 / fps)
    exact = [None if s is None else Fraction(s).limit_denominator(90_000) for s in stamps]
    result = list(clock.run(iter((s, k) for k, s in enumerate(exact))))
    assert [k for _, k in result] == list(range(len(stamps)))
    return [t for t, _ in result], clock


def test_true_times_stay_and_begin_at_zero() -> None:
    stamps = [-0.4, -0.36, -0.2, 0.5, 0.51]
    result, clock = times(stamps)
    assert result == pytest.approx([0, 0.04, 0.2, 0.9, 0.91], abs=1e-4)
    assert clock.warning() is None


def test_large_timestamps_keep_their_digits() -> None:
    result, _ = times([95443.0, 95443.04, 95443.08])
    assert result == pytest.approx([0, 0.04, 0.08], abs=1e-4)


def test_missing_times_follow_from_the_frame_rate() -> None:
    result, clock = times([0, None, None, 0.12])
    assert result == pytest.approx([0, 0.04, 0.08, 0.12])
    assert clock.warning() == "2 timestamps repaired (2 missing)"


def test_missing_first_time() -> None:
    result, _ = times([None, 7.0, 7.04])
    assert result == pytest.approx([0, 0.04, 0.08], abs=1e-4)


def test_no_times_at_all() -> None:
    result, clock = times([None] * 4, fps=10)
    assert result == pytest.approx([0, 0.1, 0.2, 0.3])
    assert clock.warning() == "the file has no timestamps: its times follow from 10 frames per second"


def test_a_repeated_time_does_not_shift_the_following_ones() -> None:
    result, clock = times([0, 0.04, 0.04, 0.08, 0.12])
    assert result == pytest.approx([0, 0.04, 0.05, 0.08, 0.12])
    assert clock.warning() == "1 timestamp repaired (1 repeated or out of order)"


def test_disorder_is_repaired_and_left_behind() -> None:
    result, _ = times([0, 0.12, 0.04, 0.08, 0.16, 0.2])
    assert np.all(np.diff(result) > 0)
    assert result[-2:] == pytest.approx([0.16, 0.2])


def test_joined_recordings_go_on_counting() -> None:
    result, clock = times([0, 0.04, 0.08, 0.0, 0.04, 0.08], fps=100)
    assert result == pytest.approx([0, 0.04, 0.08, 0.09, 0.13, 0.17])
    assert clock.warning() == "1 timestamp repaired (1 restarts of the count)"


def test_one_damaged_leap_does_not_move_the_rest() -> None:
    result, clock = times([0, 0.04, 9e4, 0.12, 0.16])
    assert result == pytest.approx([0, 0.04, 0.08, 0.12, 0.16], abs=1e-4)
    assert clock.leaps == 1


def test_a_real_gap_stays() -> None:
    result, clock = times([0, 0.04, 3600, 3600.04])
    assert result == pytest.approx([0, 0.04, 3600, 3600.04])
    assert clock.warning() is None


def test_live_times_are_smoother_than_arrivals() -> None:
    rng = np.random.default_rng(1)
    stamps = np.arange(500) / 25
    arrivals = 100 + stamps + rng.exponential(0.01, 500)
    clock = LiveClock()
    result = np.array([clock.time(a, s) for a, s in zip(arrivals, stamps, strict=True)])
    assert np.all(np.diff(result) > 0)
    assert np.all(result <= arrivals + 1e-3)
    steps = np.diff(result[50:])
    assert steps.std() < 0.25 * np.diff(arrivals[50:]).std()
    assert abs(result[-1] - arrivals[-1]) < 0.1


def test_live_clock_follows_a_camera_whose_clock_drifts() -> None:
    stamps = np.arange(20_000) / 25
    arrivals = stamps * 1.001
    clock = LiveClock()
    result = np.array([clock.time(a, s) for a, s in zip(arrivals, stamps, strict=True)])
    assert np.abs(result - arrivals).max() < 0.05


def test_live_clock_without_usable_stamps_is_the_arrival() -> None:
    clock = LiveClock()
    assert [clock.time(a, None) for a in (1.0, 1.1, 1.3)] == [1.0, 1.1, 1.3]
    # Stamps that jump by hours, or run backwards.
    assert clock.time(1.4, 5.0) == pytest.approx(1.4)
    assert clock.time(1.5, 9000.0) == pytest.approx(1.5)
    assert clock.time(1.6, 3.0) == pytest.approx(1.6)


def test_live_clock_never_stands_still() -> None:
    clock = LiveClock()
    result = [clock.time(2.0, None) for _ in range(5)]
    assert np.all(np.diff(result) > 0)

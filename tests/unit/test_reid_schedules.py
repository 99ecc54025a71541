"""Learning rates: the papers' formulas, written out again here by hand."""

from __future__ import annotations

import math

import pytest

from reid_models.errors import ReidError
from reid_models.recipe import load_recipe
from reid_models.schedules import Phase, Schedule


def lawen(t: float) -> float:
    """Eq. (1) of Robust-ReID."""
    if t <= 10:
        return 3e-2 * t / 10
    return 3e-2 if t <= 150 else 3e-3 if t <= 225 else 3e-4


def test_warm_up_and_steps_are_equation_1() -> None:
    recipe = load_recipe("robust-reid-i")
    schedule = Schedule(recipe.schedule, 7)
    assert schedule.total_steps == 350 * 7
    assert schedule.epochs == 350
    for epoch in range(1, 351):
        assert recipe.optimiser.lr * schedule.factor(epoch * 7 - 1) == pytest.approx(lawen(epoch), rel=1e-12)
    # within the warm-up it grows with every step, and never is 0
    rates = [schedule.factor(step) for step in range(70)]
    assert rates == sorted(rates)
    assert rates[0] > 0


def test_cyclic_is_fifteen_cosines_each_lower() -> None:
    schedule = Schedule(load_recipe("robust-reid-h").schedule, 4)
    assert schedule.total_steps == (350 + 525) * 4
    for cycle in range(15):
        start = (350 + 35 * cycle) * 4
        for step in range(35 * 4):
            place = (step + 1) / (35 * 4)
            expected = 0.7**cycle * 0.5 * (1 + math.cos(math.pi * place))
            assert schedule.factor(start + step) == pytest.approx(expected, abs=1e-9)
    assert schedule.factor(350 * 4 - 1) == pytest.approx(0.01)


def test_inverse_decay_counts_mini_batches() -> None:
    schedule = Schedule(load_recipe("slsr").schedule, 100)
    for i in (0, 1, 99, 100, 12_999):
        assert 0.01 * schedule.factor(i) == pytest.approx(0.01 * (1 + 0.1 * i) ** -0.025, rel=1e-9)


def test_am0bh_warms_up_from_a_hundredth() -> None:
    recipe = load_recipe("am0bh")
    schedule = Schedule(recipe.schedule, 50)
    lr = [recipe.optimiser.lr * schedule.factor(epoch * 50 - 1) for epoch in range(1, 151)]
    assert lr[0] == pytest.approx(1e-5 + (1e-3 - 1e-5) / 20)
    assert lr[19] == pytest.approx(1e-3)
    assert (lr[89], lr[90], lr[129], lr[130]) == pytest.approx((1e-3, 1e-4, 1e-4, 1e-5))


@pytest.mark.parametrize("scale", [0.1, 0.02, 3.0])
def test_a_scaled_schedule_has_the_same_shape(scale: float) -> None:
    phases = load_recipe("robust-reid-h").schedule
    one, other = Schedule(phases, 300), Schedule(phases, 300, scale)
    assert other.total_steps == round(875 * 300 * scale)
    for share in (0.003, 0.2, 0.31, 0.5, 0.77):
        a = one.factor(round(share * one.total_steps) - 1)
        b = other.factor(round(share * other.total_steps) - 1)
        assert b == pytest.approx(a, rel=0.05, abs=2e-3)


def test_every_step_has_a_rate_and_phases_follow_each_other() -> None:
    schedule = Schedule([Phase("constant", 1.5, scale=1.0), Phase("constant", 1.5, scale=0.5)], 3)
    assert schedule.total_steps == 9
    assert [schedule.factor(s) for s in range(10)] == [1.0] * 4 + [0.5] * 6


@pytest.mark.parametrize("scale", [0.04, 0.1, 0.175, 1.0])
def test_a_phase_that_ends_between_two_steps_does_not_begin_another_cycle(scale: float) -> None:
    schedule = Schedule([Phase("cyclic", 40, cycle_epochs=40, floor=0.005)], 843, scale)
    last = schedule.total_steps - 1
    assert schedule.factor(last) == pytest.approx(0.005, abs=1e-3)
    assert schedule.factor(last) <= schedule.factor(last - 1)


@pytest.mark.parametrize("kind", ["constant", "steps", "cyclic", "inverse"])
@pytest.mark.parametrize("scale", [0.001, 0.013, 0.4])
def test_however_short_every_rate_is_a_number_above_nought(kind: str, scale: float) -> None:
    schedule = Schedule([Phase(kind, 10), Phase(kind, 5, scale=0.5)], 4, scale)
    factors = [schedule.factor(step) for step in range(schedule.total_steps)]
    assert all(isinstance(f, float) and 0 <= f <= 1 for f in factors)
    assert factors[0] > 0


def test_wrong_schedules_say_so() -> None:
    with pytest.raises(ReidError, match="expected constant, steps, cyclic"):
        Phase("cosine")
    with pytest.raises(ReidError, match="have to increase"):
        Phase("steps", milestones=[40, 20])
    with pytest.raises(ReidError, match="above 0"):
        Phase("steps", epochs=0)
    with pytest.raises(ReidError, match="needs a phase"):
        Schedule([], 3)

"""The gated assignment on examples by hand, and crowds large enough to be split."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from mctrack.track import assign as module
from mctrack.track.assign import assign
from mctrack.types import Matches


def solve(pairs: dict[tuple[int, int], float], shape: tuple[int, int], limit: float) -> Matches:
    rows, cols = (np.array([p[k] for p in pairs], np.int64) for k in (0, 1))
    return assign(rows, cols, np.array(list(pairs.values()), float), shape, limit)


def dense_total(rows: np.ndarray, cols: np.ndarray, cost: np.ndarray, shape: tuple[int, int], limit: float) -> float:
    """Smallest Σ (cost − limit) by one dense problem padded so that every row and column may stay alone."""
    n, m = shape
    padded = np.zeros((n + m, n + m))
    padded[rows, cols] = np.minimum(cost - limit, 0)
    i, j = linear_sum_assignment(padded)
    return float(padded[i, j].sum())


def total(matches: Matches, rows: np.ndarray, cols: np.ndarray, cost: np.ndarray, limit: float) -> float:
    known = {(r, c): v for r, c, v in zip(rows.tolist(), cols.tolist(), cost.tolist(), strict=True)}
    return sum(known[(r, c)] - limit for r, c in matches.pairs.tolist())


def test_the_best_sum_wins_not_the_best_pair() -> None:
    """Greedy would take (0, 0) at 0.1 and leave row 1 alone."""
    found = solve({(0, 0): 0.1, (0, 1): 0.2, (1, 0): 0.3}, (2, 2), 1.0)
    assert found.pairs.tolist() == [[0, 1], [1, 0]]
    assert not len(found.unmatched_rows)
    assert not len(found.unmatched_cols)


def test_staying_alone_costs_the_limit() -> None:
    """Two pairs at 0.5 + 0.59 beat one at 0.1 and one alone only where the limit is above 0.99."""
    pairs = {(0, 0): 0.1, (0, 1): 0.5, (1, 0): 0.59}
    assert solve(pairs, (2, 2), 1.0).pairs.tolist() == [[0, 1], [1, 0]]
    found = solve(pairs, (2, 2), 0.98)
    assert found.pairs.tolist() == [[0, 0]]
    assert found.unmatched_rows.tolist() == [1]
    assert found.unmatched_cols.tolist() == [1]


def test_pairs_at_the_limit_are_never_made() -> None:
    found = solve({(0, 0): 0.5, (1, 1): 0.7, (1, 0): np.nextafter(0.5, 0)}, (2, 3), 0.5)
    assert found.pairs.tolist() == [[1, 0]]
    assert found.unmatched_rows.tolist() == [0]
    assert found.unmatched_cols.tolist() == [1, 2]


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (3, 0), (3, 4)])
def test_nothing_to_match(shape: tuple[int, int]) -> None:
    found = solve({}, shape, 1.0)
    assert found.pairs.shape == (0, 2)
    assert found.unmatched_rows.tolist() == list(range(shape[0]))
    assert found.unmatched_cols.tolist() == list(range(shape[1]))


def test_everything_forbidden() -> None:
    found = solve({(r, c): 2.0 for r in range(3) for c in range(3)}, (3, 3), 1.0)
    assert found.pairs.shape == (0, 2)


def test_zero_and_negative_costs_are_pairs_too() -> None:
    found = solve({(0, 0): 0.0, (1, 0): -0.4, (1, 1): 0.0}, (2, 2), 0.5)
    assert found.pairs.tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("dense", [1, 64, module.DENSE])
def test_crowds_split_into_components_lose_nothing(dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 × 280 with chains of rivals, whether solved whole or part by part."""
    monkeypatch.setattr(module, "DENSE", dense)
    rng = np.random.default_rng(1)
    n, m, limit = 300, 280, 0.75
    cell = rng.choice(n * m, 700, replace=False)
    rows, cols = cell // m, cell % m
    cost = rng.random(700)
    found = assign(rows, cols, cost, (n, m), limit)
    assert total(found, rows, cols, cost, limit) == pytest.approx(dense_total(rows, cols, cost, (n, m), limit))
    assert (np.diff(found.pairs[:, 0]) > 0).all()
    assert len(np.unique(found.pairs[:, 1])) == len(found.pairs)
    assert sorted([*found.pairs[:, 0], *found.unmatched_rows]) == list(range(n))
    assert sorted([*found.pairs[:, 1], *found.unmatched_cols]) == list(range(m))


def test_order_of_pairs_does_not_matter(rng: np.random.Generator) -> None:
    cell = rng.choice(400, 120, replace=False)
    rows, cols, cost = cell // 20, cell % 20, rng.random(120)
    shuffled = rng.permutation(120)
    one = assign(rows, cols, cost, (20, 20), 0.8)
    two = assign(rows[shuffled], cols[shuffled], cost[shuffled], (20, 20), 0.8)
    np.testing.assert_array_equal(one.pairs, two.pairs)

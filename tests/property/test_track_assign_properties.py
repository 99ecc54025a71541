"""The gated assignment is the optimum over all matchings, ties and forbidden pairs included."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from mctrack.track import assign as module
from mctrack.track.assign import assign

Problem = tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]


@st.composite
def problems(draw: st.DrawFn, largest: int) -> Problem:
    """Random sparse pairs in random order; costs from few values (many ties) or from many."""
    n, m = draw(st.integers(0, largest)), draw(st.integers(0, largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    there = rng.random((n, m)) < draw(st.sampled_from([0.05, 0.2, 0.5, 1.0]))
    cells = rng.permutation(np.flatnonzero(there))
    rows, cols = np.divmod(cells, max(m, 1))
    cost = rng.integers(0, 5, len(rows)) / 4 if draw(st.booleans()) else rng.random(len(rows))
    return rows, cols, cost, (n, m)


def brute_force(problem: Problem, limit: float) -> float:
    """Smallest Σ (cost − limit) over every matching there is."""
    rows, cols, cost, (n, m) = problem
    gain = np.zeros((n, m))
    gain[rows, cols] = np.minimum(cost - limit, 0)
    if n > m:
        gain, n, m = gain.T, m, n
    return min((sum(gain[i, j] for i, j in enumerate(p)) for p in permutations(range(m), n)), default=0.0)


def padded(problem: Problem, limit: float) -> float:
    rows, cols, cost, (n, m) = problem
    gain = np.zeros((n + m, n + m))
    gain[rows, cols] = np.minimum(cost - limit, 0)
    i, j = linear_sum_assignment(gain)
    return float(gain[i, j].sum())


def check(problem: Problem, limit: float, best: float) -> None:
    """A valid matching of allowed pairs whose sum is the best there is."""
    rows, cols, cost, (n, m) = problem
    found = assign(rows, cols, cost, (n, m), limit)
    known = {(int(r), int(c)): float(v) for r, c, v in zip(rows, cols, cost, strict=True)}
    made = [known[(int(r), int(c))] for r, c in found.pairs]
    assert all(v < limit for v in made)
    assert sum(v - limit for v in made) == pytest.approx(best, abs=1e-9)
    assert (np.diff(found.pairs[:, 0]) > 0).all()
    assert sorted([*found.pairs[:, 0].tolist(), *found.unmatched_rows.tolist()]) == list(range(n))
    assert sorted([*found.pairs[:, 1].tolist(), *found.unmatched_cols.tolist()]) == list(range(m))
    assert (np.diff(found.unmatched_rows) > 0).all()
    assert (np.diff(found.unmatched_cols) > 0).all()


@settings(max_examples=150, deadline=None)
@given(problem=problems(5), limit=st.sampled_from([-0.1, 0.0, 0.25, 0.5, 0.75, 2.0]))
def test_small_problems_equal_brute_force(problem: Problem, limit: float) -> None:
    check(problem, limit, brute_force(problem, limit))


@settings(max_examples=60, deadline=None)
@given(problem=problems(40), limit=st.sampled_from([0.3, 0.75, 2.0]), dense=st.sampled_from([1, 100, 65536]))
def test_large_problems_equal_the_padded_hungarian(problem: Problem, limit: float, dense: int) -> None:
    before = module.DENSE
    module.DENSE = dense
    try:
        check(problem, limit, padded(problem, limit))
    finally:
        module.DENSE = before


@settings(max_examples=60, deadline=None)
@given(problem=problems(8), seed=st.integers(0, 2**32 - 1))
def test_renaming_rows_and_columns_renames_the_matches(problem: Problem, seed: int) -> None:
    """Where the optimum is unique, as it is almost surely with costs of many digits."""
    rows, cols, cost, (n, m) = problem
    rng = np.random.default_rng(seed)
    cost = cost + rng.random(len(cost)) * 1e-3
    p, q = rng.permutation(n), rng.permutation(m)
    one = assign(rows, cols, cost, (n, m), 0.75)
    two = assign(p[rows], q[cols], cost, (n, m), 0.75)
    assert {(int(p[r]), int(q[c])) for r, c in one.pairs} == {(int(r), int(c)) for r, c in two.pairs}


def test_brute_force_itself() -> None:
    """The oracle against sets of pairs written out."""
    rng = np.random.default_rng(0)
    gain = np.minimum(rng.random((3, 3)) - 0.6, 0)
    cells = [(i, j) for i in range(3) for j in range(3)]
    best = 0.0
    for k in (1, 2, 3):
        for chosen in combinations(cells, k):
            if len({i for i, _ in chosen}) == k == len({j for _, j in chosen}):
                best = min(best, sum(gain[c] for c in chosen))
    rows, cols = (np.array([c[k] for c in cells]) for k in (0, 1))
    assert brute_force((rows, cols, gain[rows, cols] + 0.6, (3, 3)), 0.6) == pytest.approx(best)

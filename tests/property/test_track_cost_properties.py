"""The sweep over edges finds the pairs that overlap and no others."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mctrack import boxes
from mctrack.track.cost import overlapping_pairs

# few values: many equal edges
edges = st.one_of(st.integers(-3, 6).map(float), st.floats(-1e4, 1e4))


@st.composite
def some_boxes(draw: st.DrawFn) -> np.ndarray:
    raw = draw(hnp.arrays(float, st.tuples(st.integers(0, 12), st.just(4)), elements=edges))
    corners = raw.reshape(-1, 2, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


@settings(max_examples=150, deadline=None)
@given(a=some_boxes(), b=some_boxes(), buffer=st.sampled_from([0.0, 0.0, 0.25, 1.0]))
def test_pairs_equal_all_comparisons(a: np.ndarray, b: np.ndarray, buffer: float) -> None:
    found = overlapping_pairs(a, b, buffer)
    large_a, large_b = boxes.enlarge(a, buffer), boxes.enlarge(b, buffer)
    inter = boxes.intersection(large_a, large_b)
    dense = np.zeros((len(a), len(b)))
    dense[found.row, found.col] = found.overlap
    np.testing.assert_allclose(dense, boxes.iou(large_a, large_b), rtol=1e-9, atol=1e-12)
    assert {(int(r), int(c)) for r, c in np.argwhere(inter > 0)} <= {
        (int(r), int(c)) for r, c in zip(found.row, found.col, strict=True)
    }


@settings(max_examples=60, deadline=None)
@given(a=some_boxes(), b=some_boxes())
def test_overlap_does_not_care_which_is_which(a: np.ndarray, b: np.ndarray) -> None:
    one, two = overlapping_pairs(a, b, 0.0), overlapping_pairs(b, a, 0.0)
    first = {(int(r), int(c)): float(v) for r, c, v in zip(one.row, one.col, one.overlap, strict=True)}
    second = {(int(c), int(r)): float(v) for r, c, v in zip(two.row, two.col, two.overlap, strict=True)}
    assert first.keys() == second.keys()
    assert all(abs(first[k] - second[k]) < 1e-12 for k in first)

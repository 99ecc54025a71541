"""Candidate pairs and their costs against plain loops and values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mctrack import boxes
from mctrack.track.cost import (
    Pairs,
    cosine_distance,
    crowded_score,
    distinctiveness,
    overlapping_pairs,
    squared_mahalanobis,
)


def pairs_of(*cells: tuple[int, int]) -> Pairs:
    rows, cols = (np.array([c[k] for c in cells], np.int64) for k in (0, 1))
    return Pairs(rows, cols, np.zeros(len(cells)))


def random_boxes(n: int, rng: np.random.Generator, spread_px: float = 400) -> np.ndarray:
    corner = rng.uniform(0, spread_px, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(1, 150, (n, 2))], axis=1)


def dense(pairs: Pairs, shape: tuple[int, int]) -> np.ndarray:
    out = np.zeros(shape)
    assert len({(int(r), int(c)) for r, c in zip(pairs.row, pairs.col, strict=True)}) == len(pairs.row)
    out[pairs.row, pairs.col] = pairs.overlap
    return out


# ---------------------------------------------------------------- overlapping pairs


def test_overlap_by_hand() -> None:
    found = overlapping_pairs(np.array([[0.0, 0, 10, 10]]), np.array([[5.0, 0, 15, 10], [10, 0, 20, 10]]), 0.0)
    assert (found.row.tolist(), found.col.tolist()) == ([0], [0])  # boxes that only touch do not overlap
    assert found.overlap == pytest.approx([50 / 150])


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 5), (5, 0), (1, 1), (40, 60), (300, 250)])
@pytest.mark.parametrize("buffer", [0.0, 0.3, "each"])
def test_overlaps_equal_the_dense_matrix(n: int, m: int, buffer: float | str, rng: np.random.Generator) -> None:
    a, b = random_boxes(n, rng), random_boxes(m, rng)
    share = rng.uniform(0, 1, n) if buffer == "each" else buffer
    large_a = np.array([boxes.enlarge(a[i : i + 1], float(np.broadcast_to(share, n)[i]))[0] for i in range(n)])
    large_b = b if buffer == "each" else boxes.enlarge(b, buffer)
    found = overlapping_pairs(a, b, share)
    np.testing.assert_allclose(dense(found, (n, m)), boxes.iou(large_a.reshape(-1, 4), large_b), atol=1e-12)
    assert (found.overlap > 0).all()


def test_overlaps_of_boxes_with_themselves(rng: np.random.Generator) -> None:
    """Equal edges everywhere, which a sweep must not lose."""
    a = np.repeat(random_boxes(20, rng), 3, axis=0)
    a[::4] = np.round(a[::4], -1)
    np.testing.assert_allclose(dense(overlapping_pairs(a, a, 0.0), (60, 60)), boxes.iou(a, a), atol=1e-12)


def test_one_wide_box_among_many(rng: np.random.Generator) -> None:
    a, b = random_boxes(30, rng), random_boxes(40, rng)
    b[7], a[3] = [-1000, -1000, 3000, 3000], [-500, 100, 2500, 110]
    np.testing.assert_allclose(dense(overlapping_pairs(a, b, 0.0), (30, 40)), boxes.iou(a, b), atol=1e-12)


def test_empty_and_inverted_boxes_overlap_nothing() -> None:
    bad = np.array([[5.0, 5, 5, 9], [8, 8, 2, 2], [3, 9, 9, 3]])
    good = np.array([[0.0, 0, 10, 10]])
    for found in (overlapping_pairs(bad, good, 0.0), overlapping_pairs(good, bad, 0.0)):
        assert (found.overlap == 0).all()


# ---------------------------------------------------------------- distances


def test_mahalanobis_equals_a_loop(rng: np.random.Generator) -> None:
    mean, variance, seen = rng.normal(size=(6, 8)), rng.uniform(0.1, 3, (6, 4)), rng.normal(size=(5, 4))
    pairs = pairs_of(*[(i, j) for i in range(6) for j in range(5) if (i + j) % 2])
    found = squared_mahalanobis(pairs, mean, variance, seen)
    for k, (i, j) in enumerate(zip(pairs.row, pairs.col, strict=True)):
        r = seen[j] - mean[i, :4]
        assert found[k] == pytest.approx(r @ np.linalg.inv(np.diag(variance[i])) @ r, rel=1e-12)


def test_cosine_distance_is_nan_where_nothing_was_seen() -> None:
    a = np.array([[1, 0], [0.6, 0.8], [0, 0]], np.float32)
    b = np.array([[1, 0], [-1, 0], [0, 0]], np.float32)
    found = cosine_distance(pairs_of((0, 0), (0, 1), (1, 0), (2, 0), (0, 2), (2, 2)), a, b)
    np.testing.assert_allclose(found, [0, 2, 0.4, np.nan, np.nan, np.nan], atol=1e-6)


# ---------------------------------------------------------------- how distinctive a look is


def slow_distinctiveness(pairs: Pairs, distance: np.ndarray) -> np.ndarray:
    """By definition, pair by pair."""
    out = []
    for k, own in enumerate(distance):
        rivals = [
            distance[q]
            for q in range(len(distance))
            if q != k and (pairs.row[q] == pairs.row[k] or pairs.col[q] == pairs.col[k]) and not np.isnan(distance[q])
        ]
        rows = [d for q, d in enumerate(distance) if q != k and pairs.row[q] == pairs.row[k] and not np.isnan(d)]
        cols = [d for q, d in enumerate(distance) if q != k and pairs.col[q] == pairs.col[k] and not np.isnan(d)]
        if np.isnan(own) or not rivals:
            out.append(0.5)
            continue
        gaps = [min(group) - own for group in (rows, cols) if group]
        out.append(min(abs(min(gaps)) / 0.2, 1.0))
    return np.array(out)


def test_distinctiveness_by_hand() -> None:
    """Alone: 0.5. A rival as good: 0. A rival 0.1 worse: half. Far worse: 1."""
    pairs = pairs_of((0, 0), (1, 1), (1, 2), (2, 3), (2, 4), (3, 5), (3, 6))
    distance = np.array([0.1, 0.2, 0.2, 0.1, 0.2, 0.1, 0.9])
    found = distinctiveness(pairs, distance, (4, 7))
    np.testing.assert_allclose(found, [0.5, 0, 0, 0.5, 0.5, 1, 1], atol=1e-12)


def test_distinctiveness_counts_rivals_of_row_and_column() -> None:
    """(0, 0) is clear of (0, 1) by 0.5 but of (1, 0) by 0.05 only."""
    found = distinctiveness(pairs_of((0, 0), (0, 1), (1, 0)), np.array([0.1, 0.6, 0.15]), (2, 2))
    assert found[0] == pytest.approx(0.25)


@pytest.mark.parametrize("seed", range(8))
def test_distinctiveness_equals_a_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.choice(30, 14, replace=False)
    pairs = Pairs(cells // 6, cells % 6, np.zeros(14))
    distance = np.round(rng.random(14), 1)  # ties
    distance[rng.random(14) < 0.2] = np.nan
    found = distinctiveness(pairs, distance, (5, 6))
    known = ~np.isnan(distance)
    np.testing.assert_allclose(found[known], slow_distinctiveness(pairs, distance)[known], atol=1e-12)
    assert ((found >= 0) & (found <= 1)).all()


# ---------------------------------------------------------------- crowds


def test_crowded_score_equals_a_loop(rng: np.random.Generator) -> None:
    xyxy, score = random_boxes(40, rng, 200), np.round(rng.random(40), 1)
    overlap = boxes.iou(xyxy, xyxy)
    expected = []
    for i in range(40):
        rivals = [overlap[i, j] for j in range(40) if score[j] > score[i] or (score[j] == score[i] and j < i)]
        expected.append(score[i] * np.exp(-(max(rivals, default=0.0) ** 2) / 0.4))
    found = crowded_score(overlapping_pairs(xyxy, xyxy, 0.0), score, 0.4)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_crowded_score_limits(rng: np.random.Generator) -> None:
    """The best box keeps its score, twins lose one, sigma 0 turns it off, and nobody gains."""
    xyxy, score = np.array([[0.0, 0, 10, 20], [0, 0, 10, 20], [100, 0, 110, 20]]), np.array([0.9, 0.9, 0.5])
    crowd = overlapping_pairs(xyxy, xyxy, 0.0)
    np.testing.assert_allclose(crowded_score(crowd, score, 0.5), [0.9, 0.9 * np.exp(-2), 0.5])
    np.testing.assert_array_equal(crowded_score(crowd, score, 0.0), score)
    for n in (0, 1):
        few = overlapping_pairs(xyxy[:n], xyxy[:n], 0.0)
        np.testing.assert_array_equal(crowded_score(few, score[:n], 0.5), score[:n])

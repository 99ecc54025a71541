"""Figures of tiny cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from mctrack.errors import MctrackError
from mctrack.evaluation.assign import FrameAssigner, best_total
from mctrack.evaluation.preprocess import scored_overlaps, scored_tables
from mctrack.evaluation.score import figures, pooled, score, sequence_counts
from mctrack.evaluation.table import BoxTable, find_overlaps

A, B, C = [0, 0, 10, 10], [100, 0, 110, 10], [200, 0, 210, 10]


def table(*rows: tuple[int, int, list[float]]) -> BoxTable:
    return BoxTable.of([r[0] for r in rows], [r[1] for r in rows], np.array([r[2] for r in rows], float).reshape(-1, 4))


def test_one_person_with_a_switch() -> None:
    """Four frames, the result changes its name after two: HOTA by hand, α below 1."""
    gt = table(*((f, 1, A) for f in (1, 2, 3, 4)))
    result = table((1, 7, A), (2, 7, A), (3, 8, A), (4, 8, A))
    found = score(gt, result)
    assert (found["TP"], found["FP"], found["FN"], found["IDSW"], found["Frag"]) == (4, 0, 0, 1, 0)
    assert found["MOTA"] == pytest.approx(0.75)
    assert (found["IDTP"], found["IDFP"], found["IDFN"]) == (2, 2, 2)
    assert found["IDF1"] == pytest.approx(0.5)
    assert found["DetA"] == pytest.approx(1)
    # every match c: TPA = 2, FNA = 2, FPA = 0, so A(c) = 1/2
    assert found["AssA"] == pytest.approx(0.5)
    assert (found["AssRe"], found["AssPr"]) == (pytest.approx(0.5), pytest.approx(1))
    assert found["HOTA"] == pytest.approx(np.sqrt(0.5))


def test_localisation_decides_at_each_threshold() -> None:
    """One box with IoU 0.6: matched at the 12 thresholds 0.05 … 0.60 of 19."""
    found = score(table((1, 1, A)), table((1, 1, [0, 0, 10, 6])))
    assert found["DetA"] == pytest.approx(12 / 19)
    assert found["HOTA"] == pytest.approx(12 / 19)
    assert found["LocA"] == pytest.approx((12 * 0.6 + 7 * 1) / 19)
    assert found["MOTP"] == pytest.approx(0.6)


def test_iou_of_exactly_one_half_matches() -> None:
    found = score(table((1, 1, A)), table((1, 1, [0, 0, 10, 5])))
    assert (found["TP"], found["IDTP"]) == (1, 1)
    found = score(table((1, 1, A)), table((1, 1, [0, 0, 10, 4.999])))
    assert (found["TP"], found["IDTP"]) == (0, 0)


def test_pair_of_the_frame_before_is_kept() -> None:
    """The old pair still overlaps enough, a better one appears: no switch, one false box."""
    gt = table((1, 1, A), (2, 1, A))
    result = table((1, 5, A), (2, 5, [0, 0, 10, 6]), (2, 6, A))
    found = score(gt, result)
    assert (found["IDSW"], found["FP"], found["MOTP"]) == (0, 1, pytest.approx(0.8))


def test_pair_is_not_kept_over_a_missed_frame() -> None:
    """Missed for a frame in which other results exist: the better box wins, and that is a switch."""
    gt = table((1, 1, A), (2, 1, A), (3, 1, A))
    result = table((1, 5, A), (2, 9, B), (3, 5, [0, 0, 10, 6]), (3, 6, A))
    found = score(gt, result)
    assert (found["IDSW"], found["Frag"], found["FP"]) == (1, 1, 2)


def test_frame_without_results_neither_ends_nor_fragments_a_pair() -> None:
    """The official kit skips frames in which one side is empty (motmetrics counts a fragmentation)."""
    gt = table((1, 1, A), (2, 1, A), (3, 1, A))
    result = table((1, 5, A), (3, 5, [0, 0, 10, 6]), (3, 6, A))
    found = score(gt, result)
    assert (found["IDSW"], found["Frag"], found["FN"]) == (0, 0, 1)


@pytest.mark.parametrize(("tracked", "expected"), [(9, "MT"), (8, "PT"), (2, "PT"), (1, "ML")])
def test_mostly_tracked_means_more_than_80_percent(tracked: int, expected: str) -> None:
    gt = table(*((f, 1, A) for f in range(1, 11)))
    result = table(*((f, 1, A) for f in range(1, tracked + 1)), *((f, 2, C) for f in range(1, 11)))
    found = score(gt, result)
    assert {key: found[key] for key in ("MT", "PT", "ML")} == {"MT": 0, "PT": 0, "ML": 0} | {expected: 1}


def test_distractors_and_ignored_boxes() -> None:
    """A result on a distractor is removed; one on an ignored pedestrian is false, as the kit has it."""
    gt = BoxTable.of([1, 1, 1], [1, 2, 3], np.array([A, B, C], float), np.array([1, 0, 0]), np.array([1, 7, 1]))
    result = table((1, 1, A), (1, 2, B), (1, 3, C))
    found = score(gt, result, distractors=[2, 7, 8, 12])
    assert (found["TP"], found["FP"], found["FN"], found["Boxes"]) == (1, 1, 0, 2)
    assert score(gt, result)["FP"] == 2
    neutral = figures(sequence_counts(scored_overlaps(gt, result, zero_is_neutral=True)))
    assert (neutral["TP"], neutral["FP"], neutral["FN"], neutral["Boxes"]) == (1, 0, 0, 1)


def test_covered_persons_are_neither_asked_for_nor_punished() -> None:
    gt = BoxTable.of([1, 1, 1], [1, 2, 3], np.array([A, B, C], float), visibility=np.array([1.0, 0.05, 0.2]))
    found = figures(sequence_counts(scored_overlaps(gt, table((1, 1, A), (1, 2, B)), min_visibility=0.1)))
    assert (found["TP"], found["FP"], found["FN"]) == (1, 0, 1)


def test_class_out_of_range_is_an_error() -> None:
    gt = BoxTable.of([1], [1], np.array([A], float), category=np.array([17]))
    with pytest.raises(MctrackError, match="class 17"):
        score(gt, table((1, 1, A)), distractors=[2])


@pytest.mark.parametrize("empty", ["truth", "results", "both"])
def test_nothing_to_score(empty: str) -> None:
    some, none = table((1, 1, A), (2, 1, A)), BoxTable.empty()
    found = score(none if empty != "results" else some, none if empty != "truth" else some)
    expected = {"truth": (0, 2, 0), "results": (0, 0, 2), "both": (0, 0, 0)}[empty]
    assert (found["TP"], found["FP"], found["FN"]) == expected
    for key in ("HOTA", "DetA", "AssA", "MOTA", "MOTP", "IDF1", "IDP", "IDR"):
        assert found[key] == 0
    assert found["LocA"] == 1
    assert found["ML"] == (1 if empty == "results" else 0)


def test_boxes_without_area_never_match() -> None:
    found = score(table((1, 1, [5, 5, 5, 5])), table((1, 1, [5, 5, 5, 5])))
    assert (found["TP"], found["FP"], found["FN"]) == (0, 1, 1)


def test_totals_are_pooled_from_counts() -> None:
    """A long bad sequence and a short good one: the total is no mean of ratios."""
    good = sequence_counts(scored_overlaps(table((1, 1, A)), table((1, 1, A))))
    gt = table(*((f, 1, A) for f in range(1, 10)))
    bad = sequence_counts(scored_overlaps(gt, table((1, 1, B))))
    total = figures(pooled([good, bad]))
    assert total["MOTA"] == pytest.approx((1 - 1) / 10)
    assert total["IDF1"] == pytest.approx(2 * 1 / (10 + 2))
    assert total["DetA"] == pytest.approx(1 / 11)
    assert total["AssA"] == pytest.approx(1)
    assert total["GT_IDs"] == 2


def test_overlaps_against_a_plain_loop(rng: np.random.Generator) -> None:
    n, m = 120, 150
    gt, result = (
        BoxTable.of(rng.integers(1, 4, k), np.arange(k), np.concatenate([c, c + rng.uniform(0, 40, (k, 2))], axis=1))
        for k in (n, m)
        for c in [rng.uniform(0, 100, (k, 2))]
    )
    found = find_overlaps(gt, result)
    seen = {
        (int(g), int(r)): v
        for g, r, v in zip(found.gt_id[found.row], found.result_id[found.col], found.iou, strict=True)
    }
    for i in range(n):
        for j in range(m):
            a, b = gt.xyxy[i], result.xyxy[j]
            w, h = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
            both = max(w, 0) * max(h, 0) if gt.frame[i] == result.frame[j] else 0
            union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both
            assert seen.get((i, j), 0) == pytest.approx(both / union)


def test_identities_are_assigned_to_the_largest_total(rng: np.random.Generator) -> None:
    """Against SciPy on the whole matrix; groups that share nothing are solved apart."""
    for _ in range(30):
        matrix = rng.integers(1, 50, (14, 17)) * (rng.random((14, 17)) < rng.choice([0.05, 0.15, 0.5]))
        row, col = np.nonzero(matrix)
        total, used = best_total(row, col, matrix[row, col].astype(float))
        assert total == matrix[linear_sum_assignment(matrix, maximize=True)].sum()
        assert len(set(row[used])) == len(used) == len(set(col[used]))


def test_giant_frames_need_no_giant_matrix(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Only boxes that overlap anything are put into the matrix; the answer stays."""
    corner = rng.uniform(0, 300, (60, 2))
    gt = BoxTable.of(np.ones(60, int), np.arange(60), np.concatenate([corner, corner + 30], axis=1))
    result = BoxTable.of(np.ones(60, int), np.arange(60), gt.xyxy[::-1] * 0.9 + rng.normal(0, 5, (60, 4)))
    overlaps = find_overlaps(gt, result)
    everything = FrameAssigner(overlaps, np.arange(len(overlaps.iou)))
    whole = everything.solve(overlaps.iou)
    assert 0 < whole.sum() < len(whole)
    shapes = []

    def spy(matrix: np.ndarray, maximize: bool) -> tuple[np.ndarray, np.ndarray]:
        shapes.append(matrix.shape)
        return linear_sum_assignment(matrix, maximize=maximize)

    monkeypatch.setattr("mctrack.evaluation.assign._LARGEST_MATRIX", 10)
    monkeypatch.setattr("mctrack.evaluation.assign.linear_sum_assignment", spy)
    np.testing.assert_array_equal(everything.solve(overlaps.iou), whole)
    assert shapes == [(len(np.unique(overlaps.row)), len(np.unique(overlaps.col)))]
    assert shapes[0][0] < 60


def test_table_checks_its_shapes() -> None:
    with pytest.raises(ValueError, match=r"track_id has shape \(2,\), expected \(1,\)"):
        BoxTable(np.ones(1, int), np.ones(2, int), np.zeros((1, 4)), np.ones(1), np.ones(1, int), np.ones(1))
    with pytest.raises(ValueError, match="not finite"):
        table((1, 1, [0, 0, np.nan, 1]))


def test_tables_and_overlaps_that_count_belong_together(rng: np.random.Generator) -> None:
    """Row i of the tables is box i of the overlaps, in whatever order the file had them."""
    n = 60
    xyxy = np.hstack([corner := rng.uniform(0, 50, (n, 2)), corner + 20])
    frame, order = np.repeat(np.arange(1, 11), 6), rng.permutation(n)
    gt = BoxTable.of(frame[order], np.tile(np.arange(6), 10)[order], xyxy[order], (rng.random(n) < 0.8).astype(float))
    result = BoxTable.of(frame, np.tile(np.arange(6), 10), xyxy + rng.normal(0, 3, xyxy.shape))
    for neutral in (False, True):
        gt_table, result_table, overlaps = scored_tables(gt, result, zero_is_neutral=neutral)
        plain, found = scored_overlaps(gt, result, zero_is_neutral=neutral), find_overlaps(gt_table, result_table)
        for name in ("gt_id", "result_id", "row", "col", "iou"):
            np.testing.assert_array_equal(getattr(overlaps, name), getattr(plain, name))
            np.testing.assert_array_equal(getattr(overlaps, name), getattr(found, name))
        np.testing.assert_array_equal(gt_table.track_id, overlaps.gt_id)
        assert len(gt_table) < n

"""The ground plane: hand-computed cases, slow loops, motmetrics as the oracle, and what holds for every scene."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mctrack.evaluation.ground import (
    GroundProtocol,
    GroundTable,
    assign_within,
    detection_counts,
    gospa_sums,
    ground_counts,
    ground_figures,
    tracking_counts,
)
from mctrack.evaluation.positions import Grid, read_positions, write_positions
from mctrack.evaluation.text import ReadError


def table(rows: list[tuple[int, int, float, float]]) -> GroundTable:
    data = np.array(rows, float).reshape(-1, 4)
    return GroundTable(data[:, 0].astype(int), data[:, 1].astype(int), data[:, 2:])


def scene(seed: int, frames: int = 12, people: int = 5) -> tuple[GroundTable, GroundTable]:
    """Walkers close together; results with noise, misses, false positions and renamed people."""
    rng = np.random.default_rng(seed)
    start, speed = rng.uniform(0, 3, (people, 2)), rng.normal(0, 0.25, (people, 2))
    frame, who = np.repeat(np.arange(frames), people), np.tile(np.arange(people), frames)
    gt = GroundTable(frame, who, start[who] + speed[who] * frame[:, None])
    gt = gt.take(rng.random(len(gt)) < 0.85)
    seen = gt.take(rng.random(len(gt)) < 0.8)
    false = rng.uniform(0, 3, (frames, 2))
    names = seen.track_id + 10 * (rng.random(len(seen)) < 0.15)
    return gt, GroundTable(
        np.concatenate([seen.frame, np.arange(frames)]),
        np.concatenate([names, 50 + np.arange(frames) // 4]),
        np.concatenate([seen.xy_m + rng.normal(0, 0.35, seen.xy_m.shape), false]),
    )


# ---------------------------------------------------------------------- hand-computed


def test_neutral_truth_is_neither_hit_nor_miss_by_hand() -> None:
    """Somebody behind a door, once followed there and once not; a position where nobody is stays false."""
    gt = table([(0, 1, 0, 0), (0, 2, 5, 0), (1, 1, 0, 0), (1, 2, 5, 0)])
    gt = GroundTable(gt.frame, gt.track_id, gt.xy_m, np.array([False, True, False, True]))
    result = table([(0, 7, 0.1, 0), (0, 8, 5.3, 0), (1, 7, 0.1, 0), (1, 9, 9, 0)])
    counts = ground_counts(gt, result)
    assert {k: counts[k] for k in ("GT_Boxes", "Boxes", "TP", "FP", "FN", "IDTP", "GT_IDs")} == {
        "GT_Boxes": 2, "Boxes": 3, "TP": 2, "FP": 1, "FN": 0, "IDTP": 2, "GT_IDs": 1}  # fmt: skip
    everybody = ground_counts(GroundTable(gt.frame, gt.track_id, gt.xy_m), result)
    assert (everybody["GT_Boxes"], everybody["FN"], everybody["FP"]) == (4, 1, 1)


def test_a_result_near_neutral_truth_still_belongs_to_whom_it_fits() -> None:
    gt = table([(0, 1, 0, 0), (0, 2, 0.6, 0)])
    gt = GroundTable(gt.frame, gt.track_id, gt.xy_m, np.array([False, True]))
    counts = ground_counts(gt, table([(0, 7, 0.1, 0)]))
    assert (counts["TP"], counts["FP"], counts["FN"]) == (1, 0, 0)


def test_a_column_counts_marks_neutral_truth(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time_s,id,x_m,y_m,counts\n0.0,1,0,0,1\n0.1,1,0,0,0\n")
    found = read_positions(tmp_path / "a.csv", fps=10)
    assert found.neutral is not None
    assert found.neutral.tolist() == [False, True]


def test_moda_and_modp_by_hand() -> None:
    """Two people: one found 0.2 m off, one missed by 0.6 m (so a miss and a false position)."""
    gt = table([(0, 1, 0, 0), (0, 2, 5, 0)])
    result = table([(0, 7, 0.2, 0), (0, 8, 5.6, 0)])
    found = ground_figures(ground_counts(gt, result))
    assert found["MODA"] == pytest.approx(1 - (1 + 1) / 2)
    assert found["MODP"] == pytest.approx(1 - 0.2 / 0.5)
    assert (found["Rcll"], found["Prcn"]) == (0.5, 0.5)
    # both lie within the metre of MOTA
    assert found["MOTA"] == 1
    assert found["MOTP"] == pytest.approx(1 - (0.2 + 0.6) / 2)
    assert found["IDF1"] == 1


def test_the_radius_itself_is_inside() -> None:
    assert detection_counts(table([(0, 1, 0, 0)]), table([(0, 1, 0.5, 0)]))["DET_TP"] == 1
    assert detection_counts(table([(0, 1, 0, 0)]), table([(0, 1, 0.5001, 0)]))["DET_TP"] == 0


def test_pairs_count_more_than_nearness() -> None:
    """The nearest pair would leave the others without a partner."""
    gt, result = table([(0, 1, 0, 0), (0, 2, 0.5, 0)]), table([(0, 1, 0.4, 0), (0, 2, 0.9, 0)])
    counts = detection_counts(gt, result)
    assert counts["DET_TP"] == 2
    assert counts["MODP_sum"] == pytest.approx(2 * (1 - 0.4 / 0.5))


def test_a_switch_and_a_fragment_by_hand() -> None:
    gt = table([(f, 1, 0, 0) for f in range(6)])
    result = table([(0, 5, 0, 0), (1, 5, 0, 0), (3, 6, 0, 0), (4, 6, 0, 0), (5, 6, 0, 0)])
    counts = tracking_counts(gt, result)
    assert (counts["TP"], counts["FN"], counts["FP"], counts["IDSW"], counts["Frag"]) == (5, 1, 0, 1, 1)
    assert (counts["MT"], counts["PT"], counts["ML"]) == (1, 0, 0)
    found = ground_figures(ground_counts(gt, result))
    assert found["MOTA"] == pytest.approx(1 - 2 / 6)
    assert found["IDF1"] == pytest.approx(2 * 3 / (6 + 5))


def test_a_pair_is_kept_while_it_is_within_the_radius() -> None:
    """The second result comes nearer, but the first is still within a metre: no switch."""
    gt = table([(f, 1, 0, 0) for f in range(3)])
    result = table([(0, 5, 0.1, 0), (1, 5, 0.9, 0), (1, 6, 0.1, 0), (2, 5, 0.9, 0), (2, 6, 0, 0)])
    assert tracking_counts(gt, result)["IDSW"] == 0
    assert tracking_counts(gt, result, 0.5)["IDSW"] == 1


def test_gospa_by_hand() -> None:
    """One pair 0.6 m apart, one missed, two false, c = 1, p = 2: 0.36 + 3 · ½."""
    gt, result = table([(0, 1, 0, 0), (0, 2, 9, 0)]), table([(0, 1, 0.6, 0), (0, 2, 20, 0), (0, 3, 30, 0)])
    sums = gospa_sums(gt, result, 2, 1)
    assert sums["GOSPA_loc_sum"] == pytest.approx(0.36)
    assert sums["GOSPA_missed_sum"] == pytest.approx(0.5)
    assert sums["GOSPA_false_sum"] == pytest.approx(1.0)
    found = ground_figures(ground_counts(gt, result))
    assert found["GOSPA"] == pytest.approx(1.86**0.5)
    assert found["GOSPA"] ** 2 == pytest.approx(sum(found[f"GOSPA_{k}"] ** 2 for k in ("loc", "missed", "false")))


def test_without_identities_only_what_needs_none() -> None:
    gt = table([(0, -1, 0, 0), (0, -1, 1, 0)])
    found = ground_figures(ground_counts(gt, table([(0, 3, 0, 0)])))
    assert (found["MODA"], found["MOTA"], found["IDF1"], found["IDSW"]) == (0.5, None, None, None)


@pytest.mark.parametrize(("gt", "result"), [([], []), ([(0, 1, 0.0, 0.0)], []), ([], [(0, 1, 0.0, 0.0)])])
def test_nothing_on_one_side(gt: list[tuple[int, int, float, float]], result: list) -> None:
    found = ground_figures(ground_counts(table(gt), table(result)))
    assert (found["MODA"], found["IDF1"]) == (0, 0)
    assert found["GOSPA"] == pytest.approx(0.5**0.5 if gt or result else 0)


# ---------------------------------------------------------------------- slow loops and oracles


def slow_best(distance: np.ndarray, radius: float) -> tuple[int, float]:
    """Most pairs within the radius and the least total distance among those, by trying everything."""
    n, m = distance.shape
    best = (0, 0.0)
    wide = np.full((n, m + n), np.inf)  # everyone may stay alone
    wide[:, :m] = distance
    for choice in permutations(range(m + n), n):
        near = [wide[i, j] for i, j in enumerate(choice) if wide[i, j] <= radius]
        if (len(near), -sum(near)) > (best[0], -best[1]):
            best = (len(near), float(sum(near)))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_detection_counts_against_trying_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gt = GroundTable(np.zeros(3, int), np.arange(3), rng.uniform(0, 1, (3, 2)))
    result = GroundTable(np.zeros(4, int), np.arange(4), rng.uniform(0, 1, (4, 2)))
    distance = np.linalg.norm(gt.xy_m[:, None] - result.xy_m, axis=2)
    pairs, total = slow_best(distance, 0.5)
    counts = detection_counts(gt, result)
    assert counts["DET_TP"] == pairs
    assert counts["MODP_sum"] == pytest.approx(pairs - total / 0.5)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_gospa_against_trying_everything(seed: int, p: float) -> None:
    rng = np.random.default_rng(seed)
    n, m, c = 3, 2, 0.7
    gt = GroundTable(np.zeros(n, int), np.arange(n), rng.uniform(0, 1, (n, 2)))
    result = GroundTable(np.zeros(m, int), np.arange(m), rng.uniform(0, 1, (m, 2)))
    distance = np.linalg.norm(gt.xy_m[:, None] - result.xy_m, axis=2)
    best = np.inf
    for choice in permutations(range(m + n), n):
        pairs = [(i, j) for i, j in enumerate(choice) if j < m]
        best = min(best, sum(distance[i, j] ** p for i, j in pairs) + c**p / 2 * (n + m - 2 * len(pairs)))
    sums = gospa_sums(gt, result, p, c)
    assert sums["GOSPA_loc_sum"] + sums["GOSPA_missed_sum"] + sums["GOSPA_false_sum"] == pytest.approx(best)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("radius", [0.5, 1.0])
def test_tracking_counts_are_those_of_motmetrics(seed: int, radius: float) -> None:
    mm = pytest.importorskip("motmetrics")
    gt, result = scene(seed)
    accumulator = mm.MOTAccumulator(auto_id=False)
    for frame in np.union1d(gt.frame, result.frame):
        g, r = gt.take(gt.frame == frame), result.take(result.frame == frame)
        squared = ((g.xy_m[:, None] - r.xy_m) ** 2).sum(axis=2)
        accumulator.update(g.track_id, r.track_id, np.where(squared <= radius**2, squared, np.nan), frameid=int(frame))
    names = {
        "TP": "num_detections", "FP": "num_false_positives", "FN": "num_misses", "IDSW": "num_switches",
        "Frag": "num_fragmentations", "MT": "mostly_tracked", "PT": "partially_tracked", "ML": "mostly_lost",
        "IDTP": "idtp", "IDFP": "idfp", "IDFN": "idfn",
    }  # fmt: skip
    with mm.lap.set_default_solver("scipy"):
        theirs = mm.metrics.create().compute(accumulator, metrics=list(names.values()), return_dataframe=False)
    mine = tracking_counts(gt, result, radius)
    assert {k: mine[k] for k in names} == {k: theirs[v] for k, v in names.items()}
    assert mine["IDSW"] > 0


def test_cheap_pairs_never_cost_a_pair() -> None:
    cost = np.array([[0.0, 1e6], [1e6, 5.0]])
    rows, cols = assign_within(cost, np.array([[True, True], [True, False]]))
    assert sorted(zip(rows.tolist(), cols.tolist(), strict=True)) == [(0, 1), (1, 0)]


# ---------------------------------------------------------------------- properties


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_truth_as_result_is_perfect_and_names_do_not_matter(seed: int) -> None:
    gt, result = scene(seed)
    perfect = ground_figures(ground_counts(gt, gt))
    for key in ("MODA", "MODP", "MOTA", "MOTP", "IDF1", "IDP", "IDR", "Rcll", "Prcn"):
        assert perfect[key] == pytest.approx(1), key
    assert (perfect["GOSPA"], perfect["IDSW"], perfect["FP"], perfect["FN"]) == (0, 0, 0, 0)
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(len(result)), rng.permutation(200)
    disguised = GroundTable(result.frame[order], names[result.track_id[order]], result.xy_m[order])
    expected, found = (ground_figures(ground_counts(gt, r)) for r in (result, disguised))
    assert found == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.integers(1, 4))
def test_splitting_a_track_costs_identity_only(cut: int, people: int) -> None:
    frame, who = np.repeat(np.arange(10), people), np.tile(np.arange(people), 10)
    gt = GroundTable(frame, who, np.stack([3.0 * who, 0.1 * frame], axis=1))
    split = GroundTable(frame, np.where((who == 0) & (frame >= cut), 99, who), gt.xy_m)
    found = ground_figures(ground_counts(gt, split))
    assert (found["FP"], found["FN"], found["MODA"], found["IDSW"]) == (0, 0, 1, 1)
    assert found["IDF1"] < 1
    assert found["MOTA"] < 1


# ---------------------------------------------------------------------- files


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    _, result = scene(3)
    write_positions(tmp_path / "deep" / "a.txt", result)
    again = read_positions(tmp_path / "deep" / "a.txt")
    order = np.lexsort((result.track_id, result.frame))
    np.testing.assert_array_equal(again.frame, result.frame[order])
    np.testing.assert_array_equal(again.track_id, result.track_id[order])
    np.testing.assert_allclose(again.xy_m, result.xy_m[order], atol=5.1e-5)


@pytest.mark.parametrize(
    "text",
    ["3 7 1.5 -2\n", "3,7,1.5,-2", "\r\n3, 7, 1.5, -2\r\n", "\ufeff3\t7\t1.5\t-2\n", "frame,id,x_m,y_m\n3,7.0,1.5,-2\n",
     "id x_m y_m frame\n7 1.5 -2 3\n", "time_s,id,x_m,y_m\n0.1333,7,1.5,-2\n", "3,7,1.5,-2,0.9,1\n"],
)  # fmt: skip
def test_forms_of_positions(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    found = read_positions(path, fps=15)
    assert (found.frame.tolist(), found.track_id.tolist(), found.xy_m.tolist()) == ([3], [7], [[1.5, -2]])


def test_cells_of_wildtrack(tmp_path: Path) -> None:
    (tmp_path / "cells.txt").write_text("1800 308 660\n")
    found = read_positions(tmp_path / "cells.txt")
    assert found.xy_m.tolist() == [[pytest.approx(-3 + 7.7), pytest.approx(-9 + 16.5)]]
    assert not found.has_ids
    folder = tmp_path / "annotations_positions"
    folder.mkdir()
    entries = [{"personID": 4, "positionID": 660 * 480 + 308, "views": []}, {"personID": 5, "positionID": 0}]
    (folder / "00001800.json").write_text(json.dumps(entries))
    official = read_positions(folder)
    np.testing.assert_allclose(official.xy_m, [[4.7, 7.5], [-3, -9]])
    assert (official.frame.tolist(), official.track_id.tolist()) == ([1800, 1800], [4, 5])
    assert Grid(origin_m=[0, 0], cell_m=1).to_metres(np.array([[1, 2]])).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 1 0 0\n1 2 nan 0\n", "line 2: x_m is not a finite number"),
        ("1 1 0 0\n\n1 1 5 0\n", "line 3: this ID appears twice in this frame"),
        ("1 1 0 0\n1.5 2 0 0\n", "line 2: frame is not a whole number"),
        ("1 1 0 0\n1 2.5 0 0\n", "line 2: id is not a whole number"),
        ("1 1 0 0\n1 -4 0 0\n", "line 2: the ID is negative"),
        ("1 1 0 0\n-1 2 0 0\n", "line 2: the frame number is negative"),
        ("1 1 0 0\n99 2 0 0\n", "line 2: the frame lies beyond the sequence, which ends with frame 50"),
        ("1 1 0 0\n1 2 x 0\n", "line 2: not a number"),
        ("1 1 0 0\n1 2\n", "line 2: 2 columns, expected at least 4"),
        ("1 1\n", "line 1: 2 columns, expected at least 3"),
        ("frame,id,x_mm,y_m\n1,1,0,0\n", "line 1: unknown column 'x_mm' (did you mean 'x_m'?)"),
        ("frame,id,x_m\n1,1,0\n", "no positions"),
        ("time_s,id,x_m,y_m\n1,1,0,0\n", "needs ground_fps"),
    ],
)
def test_bad_positions_are_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(ReadError) as caught:
        read_positions(path, length=50)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_wildtrack_folders(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="no annotation"):
        read_positions(tmp_path)
    (tmp_path / "first.json").write_text("[]")
    with pytest.raises(ReadError, match="named by its frame"):
        read_positions(tmp_path)
    (tmp_path / "first.json").rename(tmp_path / "00000005.json")
    (tmp_path / "00000005.json").write_text('[{"personID": 1, "positionID": 2}, {"personID": 1, "positionID": 9}]')
    with pytest.raises(ReadError, match="appears twice"):
        read_positions(tmp_path)


def test_the_protocol_says_what_is_counted() -> None:
    assert "0.5 m" in GroundProtocol().line
    assert "1 m" in GroundProtocol().line

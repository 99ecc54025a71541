"""What holds for every ground truth and every result."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mctrack.evaluation.multicamera import CameraView, cross_camera_figures
from mctrack.evaluation.preprocess import scored_overlaps
from mctrack.evaluation.score import figures, hota_curves, score, sequence_counts
from mctrack.evaluation.table import BoxTable

RATIOS = ("HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr", "MOTA", "MOTP", "MODA",
          "IDF1", "IDP", "IDR", "Rcll", "Prcn")  # fmt: skip


@st.composite
def scenes(draw: st.DrawFn) -> tuple[BoxTable, BoxTable]:
    """Walkers, and results that miss some, move all a little and rename some.

    No two walkers are of one size: a box inside two equal ones overlaps both alike, and between equally good matches
    the order of the rows decides, here as in the official kit.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    people, frames = draw(st.integers(1, 6)), draw(st.integers(4, 15))
    frame, identity = np.repeat(np.arange(1, frames + 1), people), np.tile(np.arange(people), frames)
    start, speed = rng.uniform(0, 100, (people, 2)), rng.normal(0, 5, (people, 2))
    corner = start[identity] + speed[identity] * frame[:, None]
    size = np.array([20, 40]) * rng.uniform(0.8, 1.25, (people, 2))
    gt = BoxTable.of(frame, identity, np.hstack([corner, corner + size[identity]]))
    gt = gt.take(rng.random(len(gt)) < draw(st.sampled_from([0.6, 1.0])))
    seen = gt.take(rng.random(len(gt)) < draw(st.sampled_from([0.5, 0.9, 1.0])))
    renamed = seen.track_id + 10 * rng.integers(0, draw(st.sampled_from([1, 2, 3])), len(seen))
    moved = seen.xyxy + rng.normal(0, draw(st.sampled_from([0.0, 2.0, 8.0])), seen.xyxy.shape)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
    return gt, BoxTable.of(seen.frame, renamed, moved)


def same(a: dict[str, float], b: dict[str, float]) -> bool:
    return all(np.isclose(a[key], b[key], atol=1e-9) for key in a)


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_the_truth_as_result_is_perfect(scene: tuple[BoxTable, BoxTable]) -> None:
    gt, _ = scene
    found = score(gt, gt)
    if not len(gt):
        return
    for key in RATIOS:
        assert np.isclose(found[key], 1), key
    assert (found["FP"], found["FN"], found["IDSW"], found["ML"], found["PT"]) == (0, 0, 0, 0, 0)
    assert found["MT"] == len(np.unique(gt.track_id))


@settings(max_examples=60, deadline=None)
@given(scenes(), st.integers(0, 2**32 - 1))
def test_names_and_row_order_do_not_matter(scene: tuple[BoxTable, BoxTable], seed: int) -> None:
    gt, result = scene
    rng = np.random.default_rng(seed)

    def disguised(table: BoxTable) -> BoxTable:
        names = rng.permutation(1000)[: int(table.track_id.max(initial=0)) + 1]
        order = rng.permutation(len(table))
        return BoxTable.of(table.frame[order], names[table.track_id[order]], table.xyxy[order])

    assert same(score(gt, result), score(disguised(gt), disguised(result)))


@settings(max_examples=60, deadline=None)
@given(scenes(), st.floats(0.1, 10))
def test_scale_does_not_matter(scene: tuple[BoxTable, BoxTable], factor: float) -> None:
    gt, result = scene
    assert same(score(gt, result), score(gt.scaled(factor), result.scaled(factor)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0]), st.data())
def test_splitting_a_track_costs_identity_only(seed: int, noise_px: float, data: st.DataObject) -> None:
    """People who keep apart, found with misses, noise and false boxes: one track gets a second name midway."""
    rng = np.random.default_rng(seed)
    people, frames = data.draw(st.integers(1, 5)), data.draw(st.integers(3, 12))
    frame, identity = np.repeat(np.arange(1, frames + 1), people), np.tile(np.arange(people), frames)
    corner = np.stack([100.0 * identity + frame, np.zeros(len(frame))], axis=1)
    gt = BoxTable.of(frame, identity, np.hstack([corner, corner + np.array([20, 40])]))
    found = gt.take((rng.random(len(gt)) < 0.8) | (identity == 0))
    moved = found.xyxy + rng.normal(0, noise_px, found.xyxy.shape)
    false = np.stack([np.arange(frames) + 1, np.full(frames, 50)], axis=1)
    box = np.tile([5000.0, 0.0, 5010.0, 10.0], (frames, 1))
    xyxy, where = np.concatenate([moved, box]), np.concatenate([found.frame, false[:, 0]])
    names = np.concatenate([found.track_id, false[:, 1]])
    cut = data.draw(st.integers(2, frames))
    renamed = np.where((names == 0) & (where >= cut), 99, names)
    before, after = (score(gt, BoxTable.of(where, n, xyxy)) for n in (names, renamed))
    for key in ("FP", "FN", "TP", "DetA", "LocA", "MOTP", "MODA", "MT", "PT", "ML"):
        assert before[key] == after[key], key
    assert (before["IDSW"], after["IDSW"]) == (0, 1)
    for key in ("IDF1", "HOTA", "AssA", "MOTA"):
        assert after[key] < before[key] - 1e-12, key


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_figures_stay_in_their_range_and_add_up(scene: tuple[BoxTable, BoxTable]) -> None:
    gt, result = scene
    counts = sequence_counts(scored_overlaps(gt, result))
    found = figures(counts)
    for key in RATIOS:
        assert (-np.inf if key in ("MOTA", "MODA") else 0) <= found[key] <= 1 + 1e-12, key
    assert found["TP"] + found["FN"] == found["IDTP"] + found["IDFN"] == len(gt)
    assert found["TP"] + found["FP"] == found["IDTP"] + found["IDFP"] == len(result)
    assert found["MT"] + found["PT"] + found["ML"] == len(np.unique(gt.track_id))
    curves = hota_curves(counts)
    assert (np.diff(curves["DetA"]) <= 1e-12).all()
    np.testing.assert_allclose(counts["HOTA_TP"] + counts["HOTA_FN"], len(gt))


@settings(max_examples=30, deadline=None)
@given(st.lists(scenes(), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_across_cameras_truth_is_perfect_and_names_do_not_matter(
    cameras: list[tuple[BoxTable, BoxTable]], seed: int
) -> None:
    names = np.random.default_rng(seed).permutation(1000)

    def renamed(table: BoxTable) -> BoxTable:
        return BoxTable.of(table.frame, names[table.track_id], table.xyxy)

    def found(pairs: list[tuple[BoxTable, BoxTable]]) -> dict[str, Any]:
        views = {}
        for k, (gt, result) in enumerate(pairs):
            overlaps = scored_overlaps(gt, result)
            views[f"cam{k}"] = CameraView(overlaps, overlaps.frames / 10)
        return cross_camera_figures(views)

    if any(len(gt) for gt, _ in cameras):
        perfect = found([(gt, renamed(gt)) for gt, _ in cameras])
        for key in ("MC_IDF1", "MC_IDP", "MC_IDR", "CVIDF1", "CVMA", "ID_purity", "ID_completeness"):
            assert np.isclose(perfect[key], 1), key
        for key in ("HandOver", "Return"):
            assert perfect[key] in (None, 1), key
    before, after = found(cameras), found([(gt, renamed(result)) for gt, result in cameras])
    for key in ("MC_IDF1", "CVMA", "ID_purity", "ID_completeness", "HandOvers", "Returns"):
        assert np.isclose(before[key], after[key]), key


@settings(max_examples=30, deadline=None)
@given(scenes(), st.integers(1, 4))
def test_a_person_renamed_in_the_second_camera_costs_identity_across_cameras_only(
    scene: tuple[BoxTable, BoxTable], person: int
) -> None:
    gt, _ = scene
    if not (gt.track_id == person).any():
        return
    other = BoxTable.of(gt.frame, np.where(gt.track_id == person, 500, gt.track_id), gt.xyxy)
    views = {}
    for camera, result in (("a", gt), ("b", other)):
        overlaps = scored_overlaps(gt, result)
        assert score(gt, result)["IDF1"] == 1
        views[camera] = CameraView(overlaps, overlaps.frames / 10)
    found = cross_camera_figures(views)
    assert found["MC_IDF1"] < 1
    assert found["ID_completeness"] < 1
    assert found["ID_purity"] == 1

"""Figures across cameras: hand-computed cases, and MC_IDF1 and CVMA against trackeval on one long sequence."""

from __future__ import annotations

import numpy as np
import pytest

from mctrack.evaluation.multicamera import CameraView, cross_camera_figures, cross_view_clear, interleave
from mctrack.evaluation.preprocess import scored_overlaps
from mctrack.evaluation.table import BoxTable, find_overlaps

BOX = [0.0, 0.0, 10.0, 10.0]


def view(truth: dict[int, int], found: dict[int, int], fps: float = 1.0) -> CameraView:
    """A camera that sees at most one person at one place: frame → true identity, frame → result identity."""
    tables = [BoxTable.of(list(d), list(d.values()), np.tile(BOX, (len(d), 1))) for d in (truth, found)]
    overlaps = scored_overlaps(*tables)
    return CameraView(overlaps, (overlaps.frames - 1) / fps)


def frames(first: int, last: int, identity: int) -> dict[int, int]:
    return dict.fromkeys(range(first, last + 1), identity)


def test_same_name_everywhere_is_perfect() -> None:
    views = {
        "a": view(frames(1, 10, 1), frames(1, 10, 5)),
        "b": view(frames(21, 30, 1), frames(21, 30, 5)),
    }
    found = cross_camera_figures(views)
    for key in ("MC_IDF1", "MC_IDP", "MC_IDR", "CVIDF1", "CVMA", "ID_purity", "ID_completeness", "HandOver"):
        assert found[key] == 1, key
    assert found["pairs"] == {"a > b": {"right": 1, "total": 1}}
    assert (found["Return"], found["Returns"]) == (None, 0)


def test_another_name_in_the_other_camera() -> None:
    """10 + 30 boxes of one person under two names: the larger name explains 30 of 40."""
    views = {
        "a": view(frames(1, 10, 1), frames(1, 10, 5)),
        "b": view(frames(21, 50, 1), frames(21, 50, 6)),
    }
    found = cross_camera_figures(views)
    assert found["MC_IDF1"] == pytest.approx(30 / 40)
    assert found["CVMA"] == pytest.approx(1 - 1 / 40)
    assert found["ID_purity"] == 1
    assert found["ID_completeness"] == pytest.approx(30 / 40)
    assert found["HandOver"] == 0


def test_two_persons_under_one_name() -> None:
    views = {
        "a": view(frames(1, 10, 1), frames(1, 10, 5)),
        "b": view(frames(1, 30, 2), frames(1, 30, 5)),
    }
    found = cross_camera_figures(views)
    assert found["MC_IDF1"] == pytest.approx(30 / 40)
    assert found["ID_purity"] == pytest.approx(30 / 40)
    assert found["ID_completeness"] == 1
    assert (found["HandOver"], found["HandOvers"]) == (None, 0)


def test_overlapping_cameras_that_disagree_switch_at_every_instant() -> None:
    views = {"a": view(frames(1, 10, 1), frames(1, 10, 5)), "b": view(frames(1, 10, 1), frames(1, 10, 6))}
    found = cross_camera_figures(views)
    assert found["CV_IDSW"] == 19
    assert found["CVMA"] == pytest.approx(1 - 19 / 20)
    assert found["MC_IDF1"] == pytest.approx(0.5)


def test_hand_overs_and_returns_per_pair() -> None:
    """One person: a, b (renamed), a again (first name), then b unseen by the tracker."""
    views = {
        "a": view({**frames(1, 5, 1), **frames(21, 25, 1)}, {**frames(1, 5, 7), **frames(21, 25, 7)}),
        "b": view({**frames(11, 15, 1), **frames(41, 45, 1)}, frames(11, 15, 8)),
        "c": view({**frames(60, 64, 1), **frames(70, 74, 1)}, {**frames(60, 64, 9), **frames(70, 74, 9)}),
    }
    found = cross_camera_figures(views)
    assert found["pairs"] == {
        "a > b": {"right": 0, "total": 2},
        "b > a": {"right": 0, "total": 1},
        "b > c": {"right": 0, "total": 1},
        "c > c": {"right": 1, "total": 1},
    }
    assert (found["HandOver"], found["HandOvers"], found["Return"], found["Returns"]) == (0, 4, 1, 1)


def test_short_gaps_and_frame_rates_do_not_make_visits() -> None:
    """At 10 fps nine missing frames are less than a second; the other camera runs at 5 fps."""
    views = {
        "a": view({**frames(1, 5, 1), **frames(15, 20, 1)}, {**frames(1, 5, 7), **frames(15, 20, 7)}, fps=10),
        "b": view(frames(11, 15, 1), frames(11, 15, 7), fps=5),
    }
    found = cross_camera_figures(views)
    assert found["pairs"] == {"a > b": {"right": 1, "total": 1}}


def test_interleaving_orders_by_time(rng: np.random.Generator) -> None:
    """Against one sequence built by hand: frame = time step × cameras + camera."""
    cameras, parts = {}, []
    for index, fps in enumerate((10.0, 10.0, 5.0)):
        n = 200
        corner = rng.uniform(0, 60, (n, 2))
        xyxy = np.concatenate([corner, corner + 30], axis=1)
        frame, identity = np.repeat(np.arange(1, 21), 10), np.tile(np.arange(10), 20)
        gt = BoxTable.of(frame, identity, xyxy)
        keep = rng.random(n) < 0.8
        found = BoxTable.of(frame[keep], identity[keep], xyxy[keep] + rng.normal(0, 3, (int(keep.sum()), 4)))
        overlaps = find_overlaps(gt, found)
        cameras[f"c{index}"] = CameraView(overlaps, (overlaps.frames - 1) / fps)
        step = int(10 / fps)
        parts.append([BoxTable.of((t.frame - 1) * step * 3 + index, t.track_id, t.xyxy) for t in (gt, found)])
    gt, found = (
        BoxTable.of(*(np.concatenate([getattr(p[side], k) for p in parts]) for k in ("frame", "track_id", "xyxy")))
        for side in (0, 1)
    )
    expected, merged = find_overlaps(gt, found), interleave(list(cameras.values()))
    for name in ("gt_id", "result_id", "row", "col", "iou", "gt_start", "result_start", "pair_start"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(expected, name), err_msg=name)
    assert cross_view_clear(cameras)["IDSW"] > 0


def test_no_cameras_and_empty_cameras() -> None:
    assert cross_camera_figures({})["MC_IDF1"] == 0
    found = cross_camera_figures({"a": view({}, {}), "b": view(frames(1, 3, 1), {})})
    assert (found["MC_IDF1"], found["CVMA"], found["ID_purity"]) == (0, 0, 0)

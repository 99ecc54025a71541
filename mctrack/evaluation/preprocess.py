"""What the official MOTChallenge kit removes before it scores: results on distractors, unscored ground truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mctrack.errors import MctrackError
from mctrack.evaluation.assign import EPS, FrameAssigner
from mctrack.evaluation.table import BoolArray, BoxTable, Overlaps, find_overlaps
from mctrack.types import IntArray

PEDESTRIAN = 1
_CLASSES = range(1, 14)


def scored_overlaps(
    gt: BoxTable,
    result: BoxTable,
    distractors: Sequence[int] | None = None,
    threshold: float = 0.5,
    min_visibility: float = 0.0,
    zero_is_neutral: bool = False,
) -> Overlaps:
    """Overlaps of the boxes that count.

    Args:
        gt: all boxes of the ground truth, also those marked to be ignored.
        result: all boxes of the results.
        distractors: None for ground truth without classes (MOT15): only boxes with score 0 are left out. Else
            the classes (MOT16/17: 2, 7, 8, 12; MOT20 also 6) on which a result is neither right nor wrong: all
            ground truth is matched to the results in each frame, results matched to such a box are removed, and
            the ground truth keeps its pedestrians with a score other than 0.
        threshold: IoU of that matching.
        min_visibility: persons less visible than this are treated like distractors: following them through
            cover is neither asked for nor punished (0: everybody counts, as in MOTChallenge).
        zero_is_neutral: treat boxes with score 0 like distractors too. MOTChallenge does not: there a result on
            an ignored pedestrian is a false one.
    """
    overlaps, keep_gt, keep_result = _kept(gt, result, distractors, threshold, min_visibility, zero_is_neutral)
    if keep_gt.all() and keep_result.all():
        return overlaps
    return overlaps.keep(keep_gt, keep_result)


def scored_tables(
    gt: BoxTable,
    result: BoxTable,
    distractors: Sequence[int] | None = None,
    threshold: float = 0.5,
    min_visibility: float = 0.0,
    zero_is_neutral: bool = False,
) -> tuple[BoxTable, BoxTable, Overlaps]:
    """The boxes that count, in frame order, and their overlaps; arguments as :func:`scored_overlaps`."""
    overlaps, keep_gt, keep_result = _kept(gt, result, distractors, threshold, min_visibility, zero_is_neutral)
    orders = (np.argsort(t.frame, kind="stable") for t in (gt, result))
    gt_rows, result_rows = (order[keep] for order, keep in zip(orders, (keep_gt, keep_result), strict=True))
    return gt.take(gt_rows), result.take(result_rows), overlaps.keep(keep_gt, keep_result)


def _kept(
    gt: BoxTable, result: BoxTable, distractors: Sequence[int] | None, threshold: float, min_visibility: float,
    zero_is_neutral: bool,
) -> tuple[Overlaps, BoolArray, BoolArray]:
    """All overlaps, and which boxes count, in frame order."""
    overlaps = find_overlaps(gt, result)
    order = np.argsort(gt.frame, kind="stable")
    keep_gt = gt.score[order].astype(np.int64) != 0  # the kit reads the flag as an integer: 0.5 is 0
    keep_result = np.ones(len(result), bool)
    neutral = (gt.visibility[order] >= 0) & (gt.visibility[order] < min_visibility)
    if zero_is_neutral:
        neutral |= ~keep_gt
    if distractors is not None:
        _check_classes(gt)
        neutral |= np.isin(gt.category[order], list(distractors))
        keep_gt &= gt.category[order] == PEDESTRIAN
    if distractors is not None or neutral.any():
        keep_result = ~_on_neutral(overlaps, neutral, threshold)
        keep_gt &= ~neutral
    return overlaps, keep_gt, keep_result


def _on_neutral(overlaps: Overlaps, neutral: BoolArray, threshold: float) -> BoolArray:
    """(m,) results that the best assignment to all ground truth puts on a box that does not count."""
    chosen: IntArray = np.flatnonzero(overlaps.iou >= threshold - EPS)
    matched = chosen[FrameAssigner(overlaps, chosen).solve(overlaps.iou[chosen])]
    removed = np.zeros(len(overlaps.result_id), bool)
    removed[overlaps.col[matched[neutral[overlaps.row[matched]]]]] = True
    return removed


def _check_classes(gt: BoxTable) -> None:
    unknown = np.setdiff1d(gt.category, _CLASSES)
    if len(unknown):
        raise MctrackError(
            f"ground truth has class {unknown[0]} in column 8, but this benchmark needs classes 1 to 13; "
            "truth without classes is scored by --benchmark mot15"
        )

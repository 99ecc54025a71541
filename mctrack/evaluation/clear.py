"""CLEAR MOT (Bernardin & Stiefelhagen 2008) with the rules of the official kit.

Those rules, where they are not the only possible ones:
- A box matches at IoU ≥ threshold; a pair matched in the frame before is kept before anything else counts. "The
  frame before" is the last one with both truth and results: a frame without either neither ends nor keeps a pair.
- A switch compares with the identity's last match, however long ago.
- Mostly tracked: *more than* 0.8 of its boxes; mostly lost: less than 0.2 (motmetrics: from 0.8 on).
- A fragmentation is every return after not being matched, also where the person was out of the truth meanwhile
  (motmetrics: only where the truth went on).
"""

from __future__ import annotations

import numpy as np

from mctrack.evaluation.assign import EPS, FrameAssigner
from mctrack.evaluation.table import Overlaps
from mctrack.types import IntArray

_KEEP = 1000.0  # what a pair of the frame before is worth: more than any sum of overlaps


def match(overlaps: Overlaps, threshold: float = 0.5) -> IntArray:
    """(s,) sorted indices of the pairs that CLEAR matches."""
    chosen = np.flatnonzero(overlaps.iou >= threshold - EPS)
    assigner = FrameAssigner(overlaps, chosen)
    iou = overlaps.iou[chosen]
    before = _same_pair_before(overlaps, chosen, assigner.frame)

    def score(part: slice, matched: np.ndarray) -> np.ndarray:
        previous = before[part]
        return iou[part] + _KEEP * (matched[previous] & (previous >= 0))

    return chosen[assigner.solve(score)]


def _same_pair_before(overlaps: Overlaps, chosen: IntArray, frame: IntArray) -> IntArray:
    """(s,) position in ``chosen`` of the same two identities in the frame before, or −1."""
    both = (np.diff(overlaps.gt_start) > 0) & (np.diff(overlaps.result_start) > 0)
    step = np.cumsum(both)[frame]  # frames without truth or without results do not count
    gt_id, result_id = overlaps.gt_id[overlaps.row[chosen]], overlaps.result_id[overlaps.col[chosen]]
    order = np.lexsort((step, result_id, gt_id))
    gt_id, result_id, step = gt_id[order], result_id[order], step[order]
    follows = np.zeros(len(order), bool)
    follows[1:] = (gt_id[1:] == gt_id[:-1]) & (result_id[1:] == result_id[:-1]) & (step[1:] == step[:-1] + 1)
    before = np.full(len(order), -1, np.int64)
    before[order[follows]] = order[np.flatnonzero(follows) - 1]
    return before


def clear_counts(overlaps: Overlaps, matched: IntArray) -> dict[str, float]:
    """Additive counts of one sequence: TP, FP, FN, IDSW, Frag, MT, PT, ML and the sum of the matches' IoU.

    Args:
        overlaps: after preprocessing.
        matched: (s,) indices of the matched pairs, as :func:`match` gives them.
    """
    row, col = overlaps.row[matched], overlaps.col[matched]
    labels, label_of_box = np.unique(overlaps.gt_id, return_inverse=True)
    present = np.bincount(label_of_box, minlength=len(labels))
    tracked = np.bincount(label_of_box[row], minlength=len(labels))
    switches, fragments = _switches(overlaps, matched, label_of_box[row])
    ratio = tracked / np.maximum(present, 1)
    mostly = int((ratio > 0.8).sum())
    partly = int((ratio >= 0.2).sum()) - mostly
    return {
        "TP": len(matched),
        "FP": len(overlaps.result_id) - len(col),
        "FN": len(overlaps.gt_id) - len(row),
        "IDSW": switches,
        "Frag": fragments,
        "MT": mostly,
        "PT": partly,
        "ML": len(labels) - mostly - partly,
        "IoU_sum": float(overlaps.iou[matched].sum()),
    }


def _switches(overlaps: Overlaps, matched: IntArray, label: IntArray) -> tuple[int, int]:
    """Identity switches and fragmentations from the matched pairs in frame order and their truth's labels."""
    both = (np.diff(overlaps.gt_start) > 0) & (np.diff(overlaps.result_start) > 0)
    step = np.cumsum(both)[overlaps.frame_of_gt()[overlaps.row[matched]]]
    order = np.argsort(label, kind="stable")
    label, step, result_id = label[order], step[order], overlaps.result_id[overlaps.col[matched]][order]
    same = label[1:] == label[:-1]
    switches = int((same & (result_id[1:] != result_id[:-1])).sum())
    return switches, int((same & (step[1:] != step[:-1] + 1)).sum())

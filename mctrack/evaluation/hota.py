"""HOTA (Luiten et al. 2021), written from the paper: detection and association at 19 localisation thresholds α."""

from __future__ import annotations

import numpy as np

from mctrack.evaluation.assign import EPS, FrameAssigner
from mctrack.evaluation.table import Overlaps
from mctrack.types import FloatArray

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""(19,) thresholds of IoU: 0.05, 0.10, …, 0.95."""


def hota_counts(overlaps: Overlaps) -> dict[str, FloatArray]:
    """Additive sums over one sequence, each (19,) over :data:`ALPHAS`.

    ``HOTA_TP/FP/FN`` count boxes; ``LocA_sum`` sums the IoU of the matches; ``AssA_sum``, ``AssRe_sum`` and
    ``AssPr_sum`` sum A(c), its recall and its precision over the matches c (eq. 15): divided by ``HOTA_TP`` they
    give AssA, AssRe and AssPr, of one sequence and of many alike.
    """
    gt_label, gt_size = _labels(overlaps.gt_id)
    result_label, result_size = _labels(overlaps.result_id)
    width = max(len(result_size), 1)
    entry_key, entry = np.unique(
        gt_label[overlaps.row] * width + result_label[overlaps.col], return_inverse=True
    )
    gt_size, result_size = gt_size[entry_key // width], result_size[entry_key % width]
    potential = np.bincount(entry, _shares(overlaps), minlength=len(entry_key))
    alignment = potential / (gt_size + result_size - potential)

    assigner = FrameAssigner(overlaps, np.arange(len(overlaps.iou)))
    matched = assigner.solve(alignment[entry] * overlaps.iou)
    iou, entry = overlaps.iou[matched], entry[matched]

    # level: how many thresholds a match passes; sums over "level > a" are reversed cumulative sums
    level = np.searchsorted(ALPHAS - EPS, iou, side="right")
    bins = len(ALPHAS) + 1
    table = np.bincount(entry * bins + level, minlength=len(entry_key) * bins).reshape(-1, bins)
    count = _from_level(table.astype(float))
    true = count.sum(axis=0)
    union = gt_size[:, None] + result_size[:, None] - count
    return {
        "HOTA_TP": true,
        "HOTA_FN": len(overlaps.gt_id) - true,
        "HOTA_FP": len(overlaps.result_id) - true,
        "LocA_sum": _from_level(np.bincount(level, weights=iou, minlength=bins).astype(float)[None])[0],
        "AssA_sum": (count * count / np.maximum(union, 1)).sum(axis=0),
        "AssRe_sum": (count * count / gt_size[:, None]).sum(axis=0),
        "AssPr_sum": (count * count / result_size[:, None]).sum(axis=0),
    }


def _labels(identity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) labels from 0 on and the number of boxes of each label."""
    labels, label = np.unique(identity, return_inverse=True)
    return label, np.bincount(label, minlength=len(labels))


def _shares(overlaps: Overlaps) -> FloatArray:
    """(k,) each pair's overlap relative to all overlaps of its two boxes: a soft vote for the global alignment."""
    of_row = np.bincount(overlaps.row, overlaps.iou, minlength=len(overlaps.gt_id))[overlaps.row]
    of_col = np.bincount(overlaps.col, overlaps.iou, minlength=len(overlaps.result_id))[overlaps.col]
    return overlaps.iou / (of_row + of_col - overlaps.iou)


def _from_level(table: FloatArray) -> FloatArray:
    """(r, 20) values per level to (r, 19) sums over the matches that pass each threshold."""
    return table[:, :0:-1].cumsum(axis=1)[:, ::-1]

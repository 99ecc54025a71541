"""From boxes to figures: one sequence, and several pooled the official way (counts are added, never ratios)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mctrack.evaluation.clear import clear_counts, match
from mctrack.evaluation.hota import ALPHAS, hota_counts
from mctrack.evaluation.identity import identity_counts
from mctrack.evaluation.preprocess import scored_overlaps
from mctrack.evaluation.table import BoxTable, Overlaps

Counts = dict[str, Any]
"""Sums that add up over sequences: numbers, and (19,) arrays over the thresholds of HOTA."""


def sequence_counts(overlaps: Overlaps, threshold: float = 0.5) -> Counts:
    """CLEAR, ID and HOTA sums of one sequence after preprocessing: the fast engine."""
    return {
        **size_counts(overlaps),
        **clear_counts(overlaps, match(overlaps, threshold)),
        **identity_counts([overlaps], threshold),
        **hota_counts(overlaps),
    }


def size_counts(overlaps: Overlaps) -> Counts:
    """Boxes and identities that are scored."""
    return {
        "GT_Boxes": len(overlaps.gt_id),
        "Boxes": len(overlaps.result_id),
        "GT_IDs": len(np.unique(overlaps.gt_id)),
        "IDs": len(np.unique(overlaps.result_id)),
    }


def pooled(parts: Iterable[Counts]) -> Counts:
    """The sum of several sequences' counts."""
    total: Counts = {}
    for counts in parts:
        for key, value in counts.items():
            total[key] = total[key] + value if key in total else value
    return total


def figures(counts: Counts) -> dict[str, float]:
    """The field's figures from counts; ratios as fractions of 1, and 0 where there is nothing to divide by.

    LocA is 1 where nothing matched, as the official kit defines it.
    """
    true, truth, boxes = counts["TP"], counts["GT_Boxes"], counts["Boxes"]
    wrong = counts["FP"] + counts["IDSW"]
    curves = hota_curves(counts)
    result = {key: float(curve.mean()) for key, curve in curves.items()}
    result |= {
        "MOTA": (true - wrong) / truth if truth else 0.0,
        "MOTP": counts["IoU_sum"] / max(true, 1),
        "MODA": (true - counts["FP"]) / truth if truth else 0.0,
        "IDF1": 2 * counts["IDTP"] / max(truth + boxes, 1),
        "IDP": counts["IDTP"] / max(boxes, 1),
        "IDR": counts["IDTP"] / max(truth, 1),
        "Rcll": true / max(truth, 1),
        "Prcn": true / max(boxes, 1),
    }
    result |= {key: int(counts[key]) for key in COUNT_KEYS}
    return result


COUNT_KEYS = (
    "TP", "FP", "FN", "IDSW", "Frag", "MT", "PT", "ML", "IDTP", "IDFP", "IDFN", "GT_Boxes", "Boxes", "GT_IDs", "IDs",
)  # fmt: skip


def hota_curves(counts: Counts) -> dict[str, np.ndarray]:
    """(19,) curves over α of HOTA, DetA, AssA, LocA, DetRe, DetPr, AssRe and AssPr."""
    true, missed, wrong = counts["HOTA_TP"], counts["HOTA_FN"], counts["HOTA_FP"]
    per_match = np.maximum(true, 1)
    detection = true / np.maximum(true + missed + wrong, 1)
    association = counts["AssA_sum"] / per_match
    return {
        "HOTA": np.sqrt(detection * association),
        "DetA": detection,
        "AssA": association,
        "LocA": np.maximum(counts["LocA_sum"], 1e-10) / np.maximum(true, 1e-10),
        "DetRe": true / np.maximum(true + missed, 1),
        "DetPr": true / np.maximum(true + wrong, 1),
        "AssRe": counts["AssRe_sum"] / per_match,
        "AssPr": counts["AssPr_sum"] / per_match,
    }


def score(
    gt: BoxTable, result: BoxTable, distractors: Sequence[int] | None = None, threshold: float = 0.5
) -> dict[str, float]:
    """All figures of one sequence in one call; see :func:`~mctrack.evaluation.preprocess.scored_overlaps`."""
    return figures(sequence_counts(scored_overlaps(gt, result, distractors, threshold), threshold))


__all__ = [
    "ALPHAS", "COUNT_KEYS", "Counts", "figures", "hota_curves", "pooled", "score", "sequence_counts", "size_counts",
]  # fmt: skip

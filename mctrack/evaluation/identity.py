"""ID measures (Ristani et al. 2016): the one-to-one map of true to result identities that explains most boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mctrack.evaluation.assign import best_total
from mctrack.evaluation.table import Overlaps
from mctrack.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class PairCounts:
    """How often each true identity lay on each result identity: (k,) ``gt_id``, ``result_id`` and ``frames``."""

    gt_id: IntArray
    result_id: IntArray
    frames: FloatArray


def count_pairs(parts: Sequence[Overlaps], threshold: float = 0.5) -> PairCounts:
    """Frames in which two identities overlap by IoU ≥ threshold, summed over sequences that share identities."""
    gt_id = np.concatenate([p.gt_id[p.row[p.iou >= threshold]] for p in parts] or [np.zeros(0, np.int64)])
    result_id = np.concatenate([p.result_id[p.col[p.iou >= threshold]] for p in parts] or [np.zeros(0, np.int64)])
    gt_labels, row = np.unique(gt_id, return_inverse=True)
    result_labels, col = np.unique(result_id, return_inverse=True)
    width = max(len(result_labels), 1)
    key, frames = np.unique(row * width + col, return_counts=True)
    return PairCounts(gt_labels[key // width], result_labels[key % width], frames.astype(float))


def identity_map(pairs: PairCounts) -> tuple[float, IntArray]:
    """IDTP and the (s,) entries of ``pairs`` that make up the best one-to-one map of identities."""
    row = np.unique(pairs.gt_id, return_inverse=True)[1]
    col = np.unique(pairs.result_id, return_inverse=True)[1]
    return best_total(row, col, pairs.frames)


def identity_counts(parts: Sequence[Overlaps], threshold: float = 0.5) -> dict[str, float]:
    """Additive counts IDTP, IDFP, IDFN.

    Args:
        parts: one sequence, or several that share one space of identities (the cameras of a network): then an
            identity is matched once for all of them, which is the multi-camera IDF1 of MTMC challenges.
        threshold: a pair of boxes counts from this IoU on (exactly: no tolerance, like the official kit).
    """
    true = identity_map(count_pairs(parts, threshold))[0]
    truth, results = sum(len(p.gt_id) for p in parts), sum(len(p.result_id) for p in parts)
    return {"IDTP": true, "IDFP": results - true, "IDFN": truth - true}

"""CLEAR and ID figures by motmetrics 1.4: the only module that knows it.

Why it is fed the way it is:
- Its own distances (``iou_matrix``, ``compare_to_groundtruth``) call ``np.asfarray``, which NumPy 2 does not have:
  the accumulator gets our overlaps, frame by frame.
- It carries a pair on from whenever the person was last matched; the official kit only from the frame before. On
  crowded sequences that changes FP, FN and switches by a few. With ``rules="official"`` one accumulator gets just
  the pairs that the official rule matches, and a second one all pairs for the ID measures; ``rules="motmetrics"``
  is motmetrics undisturbed, for comparison with figures published with it.
- Its solver is whichever of several packages is installed: pinned to SciPy's, so that figures do not depend on it.
"""

from __future__ import annotations

from typing import Any

import motmetrics as mm
import numpy as np

from mctrack.evaluation.assign import EPS
from mctrack.evaluation.clear import match
from mctrack.evaluation.score import Counts
from mctrack.evaluation.table import Overlaps
from mctrack.types import FloatArray, IntArray

_CLEAR = ["num_objects", "num_predictions", "num_matches", "num_switches", "num_false_positives", "num_misses",
          "num_detections", "motp", "mostly_tracked", "partially_tracked", "mostly_lost", "num_fragmentations",
          "num_unique_objects", "track_ratios"]  # fmt: skip
_ID = ["idtp", "idfp", "idfn"]


def motmetrics_counts(overlaps: Overlaps, threshold: float = 0.5, rules: str = "official") -> Counts:
    """Additive CLEAR and ID counts, with the keys of the fast engine.

    Args:
        overlaps: after preprocessing.
        threshold: IoU from which boxes may match.
        rules: ``official`` (the default: equal to the official kit) or ``motmetrics``.
    """
    host = mm.metrics.create()
    near = np.flatnonzero(overlaps.iou >= threshold - EPS)
    exact = np.flatnonzero(overlaps.iou >= threshold)  # the kit has no tolerance for the ID measures
    if rules == "motmetrics":
        both = _accumulate(overlaps, near)
        values = host.compute(both, metrics=_CLEAR + _ID, return_dataframe=False)
        return _counts(values)
    clear = _accumulate(overlaps, match(overlaps, threshold))
    host.register(_official_fragments, deps=[], name="official_fragments")
    values = host.compute(clear, metrics=[*_CLEAR, "official_fragments"], return_dataframe=False)
    values |= host.compute(_accumulate(overlaps, exact), metrics=_ID, return_dataframe=False)
    ratio = values["track_ratios"].to_numpy()
    values["mostly_tracked"] = int((ratio > 0.8).sum())  # motmetrics: from 0.8 on
    values["partially_tracked"] = int(((ratio >= 0.2) & (ratio <= 0.8)).sum())
    values["num_fragmentations"] = values["official_fragments"]
    return _counts(values)


def _accumulate(overlaps: Overlaps, pairs: IntArray) -> Any:
    """A motmetrics accumulator of all frames in which only the given pairs may match."""
    accumulator = mm.MOTAccumulator(auto_id=False)
    start = np.searchsorted(pairs, overlaps.pair_start)
    with mm.lap.set_default_solver("scipy"):
        for f, frame in enumerate(overlaps.frames):
            rows = slice(overlaps.gt_start[f], overlaps.gt_start[f + 1])
            cols = slice(overlaps.result_start[f], overlaps.result_start[f + 1])
            part = pairs[start[f] : start[f + 1]]
            distance: FloatArray = np.full((rows.stop - rows.start, cols.stop - cols.start), np.nan)
            distance[overlaps.row[part] - rows.start, overlaps.col[part] - cols.start] = 1 - overlaps.iou[part]
            accumulator.update(overlaps.gt_id[rows], overlaps.result_id[cols], distance, frameid=int(frame))
    return accumulator


def _official_fragments(df: Any) -> int:
    """Returns after not being matched, over the frames that hold both truth and results."""
    events = df.noraw
    frame = events.index.get_level_values(0).to_numpy()
    truth, result = events["OId"].to_numpy(), events["HId"].to_numpy()
    frames = np.intersect1d(frame[~np.isnan(truth)], frame[~np.isnan(result)])
    matched = ~np.isnan(truth) & ~np.isnan(result)
    truth, step = truth[matched], np.searchsorted(frames, frame[matched])
    order = np.lexsort((step, truth))
    truth, step = truth[order], step[order]
    return int(((truth[1:] == truth[:-1]) & (step[1:] != step[:-1] + 1)).sum())


def _counts(values: dict[str, Any]) -> Counts:
    detections = int(values["num_detections"])
    return {
        "TP": detections,
        "FP": int(values["num_false_positives"]),
        "FN": int(values["num_misses"]),
        "IDSW": int(values["num_switches"]),
        "Frag": int(values["num_fragmentations"]),
        "MT": int(values["mostly_tracked"]),
        "PT": int(values["partially_tracked"]),
        "ML": int(values["mostly_lost"]),
        "IoU_sum": detections * (1 - float(values["motp"])) if detections else 0.0,
        "IDTP": float(values["idtp"]),
        "IDFP": float(values["idfp"]),
        "IDFN": float(values["idfn"]),
    }
